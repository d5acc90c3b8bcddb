"""A hub at work: who is connected, and the parts that move what they say.

`hub.Hub` is what an application sees of it; transports (`wire/`) and the server see this.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import structlog

from hubbub import chat
from hubbub.admin import Admin
from hubbub.admin_events import install_admin
from hubbub.audit import Audit, Unwritten
from hubbub.budgets import Budgets
from hubbub.changing import install_changing
from hubbub.client import Participant
from hubbub.connections import Connections
from hubbub.counts import HubCounts
from hubbub.direct import DirectMessages
from hubbub.directory import Directory
from hubbub.dispatch import Dispatch
from hubbub.engine import Engine
from hubbub.errors import CloseCode, EngineError, ErrorCode, Refused
from hubbub.events import encode
from hubbub.expiry import Expiry
from hubbub.following import Follows
from hubbub.following_events import install_following
from hubbub.handlers import Handlers, call_hooks
from hubbub.ledger import Ledger
from hubbub.notices import Notices
from hubbub.oversight import Oversight, install_oversight
from hubbub.people import People
from hubbub.people_events import install_people
from hubbub.permissions import Permissions
from hubbub.pump import Pump
from hubbub.rooms import Rooms
from hubbub.rules import Rules
from hubbub.search import install_search
from hubbub.sessions import Sessions
from hubbub.settings import Settings
from hubbub.tasks import Tasks
from hubbub.threads import HomeThread

if TYPE_CHECKING:
    from hubbub.tokens import Tokens

__all__ = ["Core", "Doorkeeper", "Listening", "ServiceState"]

log = structlog.get_logger("hubbub")

# How long clients take to come back after a stop, all together: no more of them a second than a server can let in.
MIN_RETURN_MS = 500
RETURN_MS_PER_CLIENT = 2
MAX_RETURN_MS = 20_000

# Clients that are told of the end in one turn of the loop: at 30 us for each, 100 under TLS, a few milliseconds.
TOLD_AT_ONCE = 50


class ServiceState(IntEnum):
    """How near the end of its work a hub is.  It only goes forward, and may leave out a state."""

    SERVING = 0
    """Everything is served."""
    LEAVING = 1
    """Everything is served; whoever asks whether the server is ready is told that it is about to go."""
    CLOSED = 2
    """Nobody is let in any more; those who are in are served."""
    DRAINING = 3
    """What clients send is dropped; what they have sent before is kept, and told."""


SERVING, LEAVING, CLOSED, DRAINING = ServiceState


class Doorkeeper(Protocol):
    """Lets clients of the second door into rooms, and takes them out, for the application."""

    async def put_in(self, client: Participant, room: str) -> None:
        """Subscribe a client, which is told.

        Raises:
            Refused: it may not be there.
            EngineError: the room cannot be entered.
        """
        ...

    def put_out(self, client: Participant, room: str) -> None:
        """End a client's subscription, if it has one, and tell it."""
        ...


class Listening:
    """What the engine tells, handed to the part that it concerns (`engine.Listener`)."""

    __slots__ = ("came", "deliver", "ended", "flush", "heard", "hole", "rewound", "went")

    def __init__(self, rooms: Rooms, notices: Notices, ended: Callable[[str], None]) -> None:
        self.deliver = rooms.deliver
        self.flush = rooms.flush
        self.hole = rooms.hole
        self.rewound = rooms.rewound
        self.heard = notices.heard
        self.came = rooms.came
        self.went = rooms.went
        self.ended = ended


class Core:
    """The connected clients, and the parts behind them.

    Args:
        handlers: what the application has registered; the chat is added to it.
        engine: to be opened with `listener` before anybody connects, and closed by whoever opened it.
        clock: seconds that never go back.
        wall: seconds since 1970.
        audit: what logins, refusals and the acts of admins are noted in; nowhere, without one.
        dispatch, pump: what events go through.

    Attributes:
        admin: what admins do.
        audit: as given.
        budgets: what accounts and addresses may use.
        check: the application's own answer to who signs in, in place of the accounts.
        clients: those connected.
        connections: those of them that are told what concerns their users.
        counts: what has happened.
        engine: as given.
        settings: what it runs with.
        rooms: who is in which room.
        sessions: which connections which login has opened.
        dispatch: takes the clients' events.
        doorkeeper: lets clients of the second door into rooms; None without one.
        expiry: which connections last until a moment.
        follows: who follows which room.
        handlers: as given, with the built-in ones.
        home: the thread that it runs in.
        ledger: roles, blocks, invitations and closed rooms.
        notices: tells all nodes of what concerns users.
        listener: what the engine is opened with.
        people: how users are shown.
        oversight: what admins are shown.
        permissions: who may do what.
        state: how near the end it is.
        tokens: reads tokens that others have signed; None where none are taken.
        now, wall: the clocks, as given.
    """

    def __init__(
        self,
        handlers: Handlers,
        engine: Engine,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        audit: Audit | None = None,
        *,
        dispatch: type[Dispatch] = Dispatch,
        pump: type[Pump] = Pump,
    ) -> None:
        self.budgets = Budgets(settings)
        self.audit: Audit = audit or Unwritten()
        self.clients: dict[Participant, None] = {}
        self.counts = counts = HubCounts()
        self.settings = settings
        self.now = clock
        self.wall = wall
        self.state = SERVING
        self.doorkeeper: Doorkeeper | None = None
        self.handlers = handlers
        handlers.holding.clock = clock
        self.engine = engine
        self._tasks = Tasks()
        self.home = HomeThread(self._tasks)
        self._pump = pump(engine, counts, clock)
        self.ledger = Ledger(engine)
        self.permissions = Permissions(handlers, self.ledger, Rules(settings.permissions, settings.private_rooms))
        self.rooms = Rooms(engine, self._pump, handlers, self.permissions, settings, self._tasks, counts, clock, wall)
        self.dispatch = dispatch(
            handlers, self.permissions, self.rooms, self._pump, self._tasks, counts, clock, self.audit
        )
        self.connections = Connections()
        self.notices = Notices(engine, self.rooms.heard)
        self.check = handlers.check
        self.tokens = tokens_for(settings, wall)
        self.expiry = Expiry(clock, wall)
        self.sessions = Sessions(engine, self.notices, self.clients, clock)
        self._direct = DirectMessages(
            engine,
            self._pump.gather,
            self.rooms.entrance.is_user,
            lambda users, room: self.follows.tell_added(users, room),
            self._tasks,
        )
        self.rooms.gather_direct = self._direct.gather
        self.follows = Follows(
            engine,
            self.rooms,
            self.permissions,
            self.notices,
            self.connections,
            self._tasks,
            clock,
            self._direct.forget,
        )
        self.admin = Admin(
            engine,
            self.ledger,
            self.rooms,
            self.follows,
            self._pump,
            self._tasks,
            self.clients,
            self.audit,
            self.notices,
            self.sessions.sign_out,
        )
        self._has_said_goodbye = False
        self.listener = Listening(self.rooms, self.notices, self.sessions.end)
        self.people = People(engine, self.notices, self.rooms, self.connections.of, self._tasks, clock)
        chat.install(handlers, self.rooms, self.follows, engine, settings)
        directory = Directory(engine, self.rooms, self.permissions, self.ledger, handlers, self.notices)
        install_following(handlers, self.follows, directory, settings)
        install_changing(handlers, self.rooms, engine, self.permissions, settings, self.audit)
        install_search(handlers, self.rooms, engine, self.permissions, clock)
        self.oversight = Oversight(engine, self.ledger, directory, self.clients, settings.audit_path)
        install_oversight(handlers, self.oversight, self.permissions)
        install_admin(handlers, self.admin, self.permissions, settings)
        install_people(handlers, self.people)
        if self.tokens is not None:
            from hubbub.renewal import install_renewal

            install_renewal(handlers, self.tokens, self.sessions, self.expiry, self.admin)

    async def open(self) -> None:
        """Take note of what the engine, which is open now, keeps; to be called before anybody connects.

        Raises:
            EngineError: it cannot be read.
        """
        self.home.move_in()
        await self.notices.open()
        await self.refresh_access()

    async def run(self) -> None:
        """Move what is posted into the log, for ever."""
        await self._pump.run(self.rooms.flush)

    # Rooms

    async def join(self, client: Participant, name: str) -> str:
        """Let a client into a room, for the application; what the room goes by.

        Raises:
            Refused, EngineError: as `Rooms.join` does.
        """
        if self.doorkeeper is None or not client.uses_channels:
            return await self.rooms.join(client, name)
        room = self.rooms.read_name(name).identity
        await self.doorkeeper.put_in(client, room)
        return room

    def leave_room(self, client: Participant, room: str) -> None:
        """Take a client out of a room, for the application; one that it is not in is ignored."""
        if self.doorkeeper is None or not client.uses_channels:
            self.rooms.leave(client, room)
        else:
            self.doorkeeper.put_out(client, room)

    # Clients

    async def connect(self, client: Participant, greeting: bytes = b"", known_at: float = math.inf) -> None:
        """Let a client in.

        Args:
            known_at: before it was found out who the client is; infinite where that does not matter.
            greeting: the payload of its welcome without the end, which is its user's rooms; empty for no welcome.

        Raises:
            Refused: by an `on_connect` hook, because its account is blocked, or because its session has just ended.
            EngineError: the room that its dialect begins in cannot be entered, its user's rooms cannot be read, or the
                server stops.
        """
        client.role = self.ledger.role_in(client)
        if self.handlers.connect_hooks:
            await call_hooks(self.handlers.connect_hooks, client)
            client.role = self.ledger.role_in(client)
        self._check_entrance(client, known_at)
        self.connections.add(client)  # what happens to its user's rooms from now on follows its welcome
        try:
            if greeting:
                rooms = await self.follows.entries(client)
                client.greet(client.dialect.event("welcome", b'%b,"rooms":%b}' % (greeting, rooms)))
                client.role = self.ledger.role_in(client)
                self._check_entrance(client, known_at)
        except BaseException:
            self.connections.remove(client)
            raise
        self._take_up(client)
        if client.dialect.first_room is not None:
            try:
                await self.rooms.join(client, client.dialect.first_room)
            except Refused as refused:
                self.dispatch.refuse_room(client, refused)
            except BaseException:
                self.disconnect(client)
                raise

    def _check_entrance(self, client: Participant, known_at: float) -> None:
        """Refuse a client that may not be let in, as it is known now."""
        if self.ledger.is_blocked(client.user):
            raise Refused(ErrorCode.FORBIDDEN, "this account is blocked")
        if self._has_said_goodbye:
            raise EngineError("the server is restarting")  # nobody would tell this client, or close its connection
        self.sessions.check(client, known_at)

    def _take_up(self, client: Participant) -> None:
        self.clients[client] = None
        client.is_connected = True
        self.counts.connections[client.dialect.name] += 1
        self.counts.opened[client.dialect.name] += 1
        for purse in client.purses:
            purse.connections += 1
        self.sessions.add(client)
        if client.terms is not None:
            self.expiry.set(client)

    def disconnect(self, client: Participant) -> None:
        """Forget a client whose connection is gone."""
        if not client.is_connected:
            return
        client.is_connected = False
        del self.clients[client]
        self.connections.remove(client)
        self.counts.connections[client.dialect.name] -= 1
        for purse in client.purses:
            purse.connections -= 1
        self.rooms.forget(client)
        self.dispatch.forget(client)
        self.sessions.remove(client)
        if client.terms is not None:
            self.expiry.forget(client)
        if self.handlers.disconnect_hooks:
            self._tasks.start(self._after_disconnect(client))

    async def _after_disconnect(self, client: Participant) -> None:
        try:
            await call_hooks(self.handlers.disconnect_hooks, client)
        except Exception:
            log.exception("on_disconnect failed", user=client.user)

    def mark_caught_up(self, client: Participant) -> None:
        """Go on with a client that has taken what it was sent: what it has missed, then what it has asked."""
        self.rooms.feeding.mark_caught_up(client)
        self.dispatch.read_on(client)

    # Sessions, and who may do what

    async def refresh_access(self) -> None:
        """Act on what another process, or a login, has changed of who may do what.

        Raises:
            EngineError: it cannot be read.
        """
        self.audit.tick()
        version = self.ledger.access.version
        await self.admin.refresh()
        if self.ledger.access.version != version:
            self._direct.forget_all()

    # Time, and the end

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let in any more, because the server is about to stop."""
        return self.state >= CLOSED

    @property
    def keeps_messages(self) -> bool:
        """Whether what is posted can be kept, as of the last thing that was kept or was to be."""
        return self.engine.is_up

    def expire(self) -> None:
        """End what has had its time; to be called a few times a second."""
        self.rooms.expire()
        self.expiry.close_expired()
        self.follows.pass_marks()
        self.budgets.forget_idle(self.now())

    @property
    def can_move_clients(self) -> bool:
        """Whether a client that leaves finds the same rooms on another node."""
        return self.engine.is_shared

    def leave(self) -> None:
        """Say from now on that the server is not ready; it goes on as before."""
        self.state = max(self.state, LEAVING)

    def close(self) -> None:
        """Let nobody in any more."""
        self.state = max(self.state, CLOSED)

    def start_draining(self) -> None:
        """Take nothing more from clients."""
        self.state = DRAINING
        self.dispatch.is_draining = True

    async def drained(self) -> None:
        """Wait until all that was posted is kept, told and flushed, and every handler at work has ended."""
        while self._tasks:
            await self._tasks.wait()
            await self._pump.emptied()
        await self._pump.emptied()
        while self.rooms.is_flushing:  # noqa: ASYNC110  # a slice each turn
            await asyncio.sleep(0)

    async def cancel_handlers(self) -> None:
        """Stop the asynchronous handlers still at work; one that ignores it is left behind."""
        await self._tasks.cancel()
        if self._tasks:
            log.warning("handlers ignore their cancellation", count=len(self._tasks))

    def cut(self) -> None:
        """Stop at once, without waiting for anything."""
        self.start_draining()
        self._tasks.cancel_soon()
        for _ in self.goodbyes(self.return_ms):
            pass

    @property
    def return_ms(self) -> int:
        """How long clients are to spread their return over."""
        return min(MAX_RETURN_MS, MIN_RETURN_MS + RETURN_MS_PER_CLIENT * len(self.clients))

    def moves(self, within_ms: int) -> Iterator[None]:
        """Ask each client to come back on another connection, at a moment of its own; some of them with each step."""
        payload = reconnect(within_ms)
        for some in in_slices(list(self.clients)):
            for client in some:
                client.write_text(client.dialect.event("reconnect", payload))
            yield

    def goodbyes(self, within_ms: int) -> Iterator[None]:
        """Close each client because the server stops, and tell it when to come back; some of them with each step."""
        self._has_said_goodbye = True
        payload = reconnect(within_ms)
        for some in in_slices(list(self.clients)):
            for client in some:  # one that has gone meanwhile is not written to
                client.write_text(client.dialect.event("reconnect", payload))
                client.close(CloseCode.RESTART, "the server is restarting")
            yield


def tokens_for(settings: Settings, wall: Callable[[], float]) -> Tokens | None:
    """What reads the tokens that others sign; None where the settings name no key.

    Raises:
        ConfigError: the key cannot be used.
    """
    if not settings.jwt_key:
        return None
    # Cryptography takes longer to load than all of a hub, which most programs need without it.
    from hubbub.tokens import tokens_by

    return tokens_by(settings, settings.jwt_key, wall)


def reconnect(within_ms: int) -> bytes:
    """The payload that asks a client to come back."""
    return encode({"within": within_ms, "reason": "restart"})


def in_slices(clients: list[Participant]) -> Iterator[list[Participant]]:
    """Some clients at a time."""
    left = iter(clients)
    while some := list(islice(left, TOLD_AT_ONCE)):
        yield some
