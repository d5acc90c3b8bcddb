"""The hub, as an application sees it: handlers of events, hooks, and rooms."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, ParamSpec, TypeVar, overload

from hubbub.acts import Act, Role
from hubbub.audit import Audit
from hubbub.client import Client, Participant
from hubbub.core import Core
from hubbub.dispatch import Dispatch
from hubbub.engine import Engine, Receipt
from hubbub.errors import ConfigError
from hubbub.handle import Room
from hubbub.handlers import Handle, Handlers
from hubbub.naming import check_room_name
from hubbub.posting import Posting
from hubbub.pump import Pump
from hubbub.rooms import Rooms
from hubbub.settings import Settings
from hubbub.threads import wrong_thread

__all__ = ["Hub", "handlers_of", "put_to_work"]

H = TypeVar("H", bound=Handle)
P = ParamSpec("P")
T = TypeVar("T")

DEFAULTS = Settings()

# Who acts in the audit log, where the application does.
APPLICATION = "(application)"


class Hub:
    """Handlers of an application's events, and the rooms that they speak in.

    >>> hub = Hub()
    >>> @hub.on
    ... def count(vote: Vote, client: Client) -> Tally:
    ...     hub.room(vote.poll).post(tally)
    ...     return tally

    A handler gets one event type, named by its annotation, and the client that sent it.  It may be a plain
    function or a coroutine function.  What it returns is the payload of the ack: an event, anything msgspec
    can encode as an object, a `Posting` (`room`, `seq` and `sent` once it is kept), or None for an empty one.
    The ack waits until everything that the handler posted is kept, and precedes the client's own copy of it.

    The events of one client are handled one at a time, in the order sent; those of different clients concurrently.
    """

    def __init__(self) -> None:
        self._handlers = Handlers()
        self._core: Core | None = None

    # Registering

    @overload
    def on(self, handler: H, /) -> H: ...

    @overload
    def on(self, handler: None = None, /, *, act: Act | None) -> Callable[[H], H]: ...

    def on(self, handler: H | None = None, /, *, act: Act | None = Act.POST) -> H | Callable[[H], H]:
        """Register a handler for the event type that its first parameter is annotated with.

        Args:
            act: what a client has to be allowed to do to send the event, to post unless `@hub.on(act=...)` says
                otherwise; None for what everybody may send.

        Raises:
            TypeError: when the annotation is no event, the function takes something else than the event and the client,
                or the event has a handler already.
        """
        if handler is None:
            return lambda handler: self._handlers.on(handler, act)
        return self._handlers.on(handler, act)

    def policy(self, policy: H) -> H:
        """Ask `policy(client, act, room)` whether a client may do something, before the rules of the settings are.

        It is a plain function, and answers True, False, or None to leave it to the rules.  `room` is None where it does
        not matter in which room.  It is asked often, so it has to be quick; one that raises, or answers anything else,
        refuses.  What no policy can allow: the rooms of two others, a closed room, and the acts of admins.

        Raises:
            TypeError: it cannot be called like that, is a coroutine function, or there is a policy already.
        """
        return self._handlers.decide(policy)

    def authenticate(self, check: H) -> H:
        """Ask `check(credentials, request)` who signs in, in place of the accounts.

        It gives the user's name, a `hubbub.User`, or None for nobody, and may leave out the second parameter.  A plain
        function is called in a thread, a coroutine function on the loop; either has ten seconds.

        Raises:
            TypeError: it cannot be called like this, or there is a check already.
        """
        return self._handlers.authenticate(check)

    def on_connect(self, hook: H) -> H:
        """Call `hook(client)` before a connection is accepted; raise `Refused` in it to turn the client away.

        A v1 client is told the message (4103), a classic one is answered 403; either is answered 503 for `unavailable`.

        Raises:
            TypeError: the hook cannot be called like that, as for the other hooks.
        """
        return self._handlers.on_connect(hook)

    def on_disconnect(self, hook: H) -> H:
        """Call `hook(client)` after a connection is gone and has left its rooms."""
        return self._handlers.on_disconnect(hook)

    def on_join(self, hook: H) -> H:
        """Call `hook(room_name, client)` before a client enters a room; raise `Refused` in it to keep it out."""
        return self._handlers.on_join(hook)

    # Rooms

    def room(self, name: str) -> Room:
        """A room by its name, however that is written.

        It needs no making, and need not have members; what it is told needs the hub to run.  Where Centrifugo's clients
        are served, a hub that runs has their channels, too: one whose name is also that of a room is that room.

        Raises:
            Refused: `bad_payload` for what is not a room name.
        """
        core = self._core
        identity = (
            check_room_name(name, DEFAULTS.max_room_name) if core is None else core.rooms.read_name(name).identity
        )
        return Room(identity, self._rooms)

    def room_of(self, client: Client, name: str | None = None) -> Room:
        """A room that a client is in; without a name, its only one.

        Raises:
            Refused: `not_in_room`, or `bad_payload` where the name was needed.
        """
        return Room(self._rooms().name_of(participant(client), name), self._rooms)

    async def join(self, client: Client, name: str) -> Room:
        """Let a client into a room; it hears what is said from now on.

        Raises:
            Refused: by an `on_join` hook, `forbidden` or `no_such_room` for a room that it may not enter or make, or
                `bad_payload` for what is not a room name.
            EngineError: the engine cannot be reached.
        """
        return Room(await self._at_work().join(participant(client), name), self._rooms)

    def leave(self, client: Client, room: Room | str) -> None:
        """Take a client out of a room; one that it is not in is ignored.

        Raises:
            Refused: `bad_payload` for what is not a room name.
        """
        self._at_work().leave_room(participant(client), (room if isinstance(room, Room) else self.room(room)).name)

    # Who may do what

    def may(self, client: Client, act: Act, room: str | None = None) -> bool:
        """Whether a client may do something, in a room or, without one, where it does not matter in which."""
        core = self._at_work()
        return core.permissions.may(client, act, core.rooms.identity(room) if room is not None else None)

    def review(self) -> None:
        """Ask anew what every client may do in the rooms that it is in; for an application whose policy says otherwise.

        A client that may not be in a room any more is told, and is out of it on return.
        """
        self._at_work().admin.review()

    def disconnect(self, user: str) -> int:
        """Close a user's connections (4101), on every node.  The user may log in again.  How many there were here."""
        return self._at_work().admin.disconnect(user, APPLICATION)

    async def revoke(self, user: str) -> int:
        """End a user's sessions; their connections are closed (4100), on every node.  How many sessions were kept here.

        A user whom the application or a token vouches for can come back for as long as that does.

        Raises:
            EngineError: it could not be kept, as for all that follow.
        """
        return await self._at_work().admin.revoke(user, APPLICATION)

    async def block(self, user: str) -> None:
        """Block an account: its connections are closed, and it cannot log in.

        Raises:
            Refused: `bad_payload` where there is no such account, `conflict` for the last admin.
        """
        await self._at_work().admin.set_blocked(user, APPLICATION, is_blocked=True)

    async def unblock(self, user: str) -> None:
        """Let an account log in again; raises as `block` does."""
        await self._at_work().admin.set_blocked(user, APPLICATION, is_blocked=False)

    async def set_role(self, user: str, role: Role) -> None:
        """Give an account a role; raises as `block` does."""
        await self._at_work().admin.set_role(user, Role(role), APPLICATION)

    async def invite(self, room: str, user: str) -> None:
        """Invite a user to a room.

        Raises:
            Refused: `bad_payload` where there is no such account, or for what is not a room name; `conflict` for more
                invitations than are kept.
        """
        await self._at_work().admin.invite(self.room(room).name, user, APPLICATION)

    async def uninvite(self, room: str, user: str) -> None:
        """Take an invitation back: a user that was in the room by it is out of it on return."""
        await self._at_work().admin.uninvite(self.room(room).name, user, APPLICATION)

    async def close_room(self, room: str) -> None:
        """Close a room: everybody is out of it on return, and no client enters it or says anything there."""
        await self._at_work().admin.close_room(self.room(room).name, APPLICATION)

    async def reopen_room(self, room: str) -> None:
        """Open a closed room."""
        await self._at_work().admin.reopen_room(self.room(room).name, APPLICATION)

    async def delete_room(self, room: str) -> None:
        """Delete a room: everybody is out of it, what was said in it is gone, and its name is free."""
        await self._at_work().admin.delete_room(self.room(room).name, APPLICATION)

    # Other threads

    @overload
    def from_thread(self, function: Callable[P, Posting], /, *args: P.args, **kwargs: P.kwargs) -> Receipt: ...

    @overload
    def from_thread(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def from_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    def from_thread(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function in the hub's thread, from any other one, and wait for what it returns.

        >>> receipt = hub.from_thread(hub.room("ops").post, alarm)

        Of a coroutine function it is the result, of one that returns a `Posting` the receipt, once it is kept.  What
        the function raises is raised here.

        Raises:
            WrongThread: this is the hub's own thread.
            ConfigError: the hub does not run.
            NotKnown: it has stopped meanwhile.
        """
        return self._running().home.call(functools.partial(function, *args, **kwargs))

    # Being at work

    def _rooms(self) -> Rooms:
        return self._at_work().rooms

    def _at_work(self) -> Core:
        core = self._running()
        if get_ident() != core.home.ident:
            raise wrong_thread()
        return core

    def _running(self) -> Core:
        if self._core is None:
            raise ConfigError("the hub is not running: serve it with `hubbub serve MODULE:HUB` or hubbub.run(hub)")
        return self._core


def put_to_work(
    hub: Hub,
    engine: Engine,
    settings: Settings,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    audit: Audit | None = None,
    *,
    dispatch: type[Dispatch] = Dispatch,
    pump: type[Pump] = Pump,
) -> Core:
    """Give a hub an engine and settings to run with; the parts that then move its events."""
    hub._core = Core(hub._handlers, engine, settings, clock, wall, audit, dispatch=dispatch, pump=pump)
    return hub._core


def handlers_of(hub: Hub) -> Handlers:
    """What handles a hub's events: the application's handlers, and once it is at work the built-in ones."""
    return hub._handlers


def participant(client: Client) -> Participant:
    """A client that an application hands back, as the hub knows it."""
    assert isinstance(client, Participant), "clients come from the hub"
    return client
