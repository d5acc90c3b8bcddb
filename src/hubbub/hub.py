"""The hub, as an application sees it: handlers of events, hooks, and rooms."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hubbub.client import Client, Participant
from hubbub.core import Core
from hubbub.engine import Engine
from hubbub.errors import ConfigError
from hubbub.handle import Room
from hubbub.handlers import Handle, Handlers
from hubbub.policy import check_room_name
from hubbub.rooms import Rooms
from hubbub.settings import Settings

__all__ = ["Hub", "put_to_work"]

H = TypeVar("H", bound=Handle)

DEFAULTS = Settings()


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

    def on(self, handler: H) -> H:
        """Register a handler for the event type that its first parameter is annotated with.

        Raises:
            TypeError: when the annotation is no event, or the event has a handler already.
        """
        return self._handlers.on(handler)

    def on_connect(self, hook: H) -> H:
        """Call `hook(client)` before a connection is accepted; raise `Refused` in it to answer 403 instead."""
        self._handlers.connect_hooks.append(hook)
        return hook

    def on_disconnect(self, hook: H) -> H:
        """Call `hook(client)` after a connection is gone and has left its rooms."""
        self._handlers.disconnect_hooks.append(hook)
        return hook

    def on_join(self, hook: H) -> H:
        """Call `hook(room_name, client)` before a client enters a room; raise `Refused` in it to keep it out."""
        self._handlers.join_hooks.append(hook)
        return hook

    # Rooms

    def room(self, name: str) -> Room:
        """A room by its name.  It needs no making, and need not have members; what it is told needs the hub to run.

        Raises:
            Refused: `bad_payload` for what is not a room name.
        """
        settings = self._core.settings if self._core else DEFAULTS
        return Room(check_room_name(name, settings.max_room_name, settings.max_user_name), self._rooms)

    def room_of(self, client: Client, name: str | None = None) -> Room:
        """A room that a client is in; without a name, its only one.

        Raises:
            Refused: `not_in_room`, or `bad_payload` where the name was needed.
        """
        return Room(self._rooms().name_of(participant(client), name), self._rooms)

    async def join(self, client: Client, name: str) -> Room:
        """Let a client into a room; it hears what is said from now on.

        Raises:
            Refused: by an `on_join` hook, `forbidden` for a room of two others, or `bad_payload` for what is not a
                room name.
            EngineError: the engine cannot be reached.
        """
        return Room(await self._rooms().join(participant(client), name), self._rooms)

    def leave(self, client: Client, room: Room | str) -> None:
        """Take a client out of a room; one that it is not in is ignored.

        Raises:
            Refused: `bad_payload` for what is not a room name.
        """
        self._rooms().leave(participant(client), (room if isinstance(room, Room) else self.room(room)).name)

    # Being at work

    def _rooms(self) -> Rooms:
        if self._core is None:
            raise ConfigError("the hub is not running: serve it with `hubbub serve MODULE:HUB` or hubbub.run(hub)")
        return self._core.rooms


def put_to_work(
    hub: Hub,
    engine: Engine,
    settings: Settings,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> Core:
    """Give a hub an engine and settings to run with; the parts that then move its events."""
    hub._core = Core(hub._handlers, engine, settings, clock, wall)
    return hub._core


def participant(client: Client) -> Participant:
    """A client that an application hands back, as the hub knows it."""
    assert isinstance(client, Participant), "clients come from the hub"
    return client
