"""The hub: who is connected, which rooms are live, which handler gets which event."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import structlog

from hubbub import catchup, chat
from hubbub.client import Client
from hubbub.dispatch import Dispatch
from hubbub.engine import Engine, Head
from hubbub.errors import CloseCode, ConfigError, EngineError, ErrorCode, Refused
from hubbub.events import Message, encode
from hubbub.handlers import Handle, Handler, call_hooks, handler_of, rate_limited
from hubbub.policy import check_dm, check_room_name
from hubbub.presence import Presence
from hubbub.pump import Pump
from hubbub.recent import HISTORY
from hubbub.room import Room
from hubbub.settings import Settings

__all__ = ["Hub"]

log = structlog.get_logger("hubbub")

H = TypeVar("H", bound=Handle)

# How long clients take to come back after a stop, all together: no more of them a second than a server can let in.
MIN_RETURN_MS = 500
RETURN_MS_PER_CLIENT = 2
MAX_RETURN_MS = 20_000

# No connection takes longer from taking its one-time password to being one of the hub's clients.
SESSION_RACE_S = 60.0


class Hub:
    """Connected clients, live rooms, and the handlers of an application's events.

    >>> hub = Hub()
    >>> @hub.on
    ... def count(vote: Vote, client: Client) -> Tally:
    ...     hub.room(vote.poll).post(tally)
    ...     return tally

    A handler gets one event type, named by its annotation, and the client that sent it.  It may be a plain
    function or a coroutine function.  What it returns is the payload of the ack: an event, anything msgspec
    can encode as an object, a `Posting` (`room`, `seq` and `sent` once it is kept), or None for an empty one.
    The ack waits until everything that the handler posted is kept.

    The events of one client are handled one at a time, in the order sent; those of different clients concurrently.
    """

    def __init__(self) -> None:
        self.clients: dict[Client, None] = {}
        self.rooms: dict[str, Room] = {}
        self.settings = Settings()
        self.is_draining = False
        self.handlers: dict[str, Handler] = {}
        self._builtin: frozenset[str] = frozenset()
        self._connect_hooks: list[Handle] = []
        self._disconnect_hooks: list[Handle] = []
        self._join_hooks: list[Handle] = []
        self._engine: Engine | None = None
        self._epoch: str | None = None
        self.presence = Presence(self.cast, self.now)
        self._clock: Callable[[], float] = time.monotonic
        self._wall: Callable[[], float] = time.time
        self.pump = Pump(lambda: self.engine, self.flush)
        self._dispatch = Dispatch(self)
        self._dirty: dict[Room, None] = {}
        self._slow: dict[Client, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, dict[Client, None]] = {}
        self._ended: dict[str, float] = {}
        chat.install(self)
        self._builtin = frozenset(self.handlers)

    # Registering

    def on(self, handler: H) -> H:
        """Register a handler for the event type that its first parameter is annotated with.

        Raises:
            TypeError: when the annotation is no event, or the event has a handler already.
        """
        tag, made = handler_of(handler)
        if tag in self.handlers and tag not in self._builtin:
            raise TypeError(f"{tag!r} has a handler already; one event has one handler")
        self._builtin -= {tag}
        self.handlers[tag] = made
        return handler

    def on_connect(self, hook: H) -> H:
        """Call `hook(client)` before a connection is accepted; raise `Refused` in it to answer 403 instead."""
        self._connect_hooks.append(hook)
        return hook

    def on_disconnect(self, hook: H) -> H:
        """Call `hook(client)` after a connection is gone and has left its rooms."""
        self._disconnect_hooks.append(hook)
        return hook

    def on_join(self, hook: H) -> H:
        """Call `hook(room_name, client)` before a client enters a room; raise `Refused` in it to keep it out."""
        self._join_hooks.append(hook)
        return hook

    # Running

    def run(self) -> None:
        """Serve this hub, with the command line, environment and file settings of `hubbub serve`.  Does not return."""
        from hubbub.cli import run_hub

        run_hub(self)

    def bind(
        self, engine: Engine, settings: Settings, clock: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        """Take the engine, the settings and the clocks to run with."""
        self._wall = wall
        self._engine = engine
        self.settings = settings
        self._clock = clock

    def now(self) -> float:
        """Seconds by the hub's clock."""
        return self._clock()

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise ConfigError("the hub is not running: serve it with `hubbub serve MODULE:HUB` or hub.run()")
        return self._engine

    # Rooms

    def room(self, name: str) -> Room:
        """A room by its name.  It need not have members; it is live while it has.

        Raises:
            Refused: `bad_payload` for what is not a room name.
        """
        found = self.rooms.get(name)
        if found is None:
            name = check_room_name(name, self.settings.max_room_name)
            found = self.rooms.get(name) or Room(name, self)
        return found

    async def join(self, client: Client, name: str) -> Room:
        """Let a client into a room; it hears what is said from now on.

        Raises:
            Refused: by an `on_join` hook, `forbidden` for a room of two others, or `bad_payload` for what is not a
                room name.
        """
        room = await self._may_join(client, name)
        if client.dialect.resumes:
            with self._arriving(room):
                await room.filled()  # or nobody would know where to feed it from, should it fall behind
                self.enter(client, room, room.recent.last_seq)
        else:
            self.enter(client, room, room.recent.last_seq)
        return room

    async def join_with_history(
        self, client: Client, name: str, since: Head | None = None, history: int = HISTORY
    ) -> msgspec.Raw:
        """Let a client into a room and bring it up to date; the payload of the ack, which `join_room` describes.

        Raises:
            Refused: as `join` does.
            EngineError: the log cannot be read.
        """
        room = await self._may_join(client, name)
        with self._arriving(room):
            await room.filled()
            return await catchup.answer_join(self, room, client, since, history)

    @contextmanager
    def _arriving(self, room: Room) -> Iterator[None]:
        """Keep a room live while a client is on the way in."""
        self._make_live(room)
        room.arrivals += 1
        try:
            yield
        finally:
            room.arrivals -= 1
            self._drop_if_empty(room)

    def _make_live(self, room: Room) -> None:
        if not room.is_live:
            self.rooms[room.name] = room
            self.engine.subscribe(room.name)

    async def _may_join(self, client: Client, name: str) -> Room:
        room = self.room(name)
        check_dm(room.name, client.user)
        if not self._join_hooks:
            return room
        await call_hooks(self._join_hooks, room.name, client)
        return self.room(name)  # others may have come or gone while a hook was waiting

    def enter(self, client: Client, room: Room, heard: int) -> None:
        """Make a client a member that has heard everything up to the seq `heard`."""
        if self._enters(client, room):
            room.enter(client, heard)

    def enter_behind(self, client: Client, room: Room, heard: int) -> None:
        """Make a client a member that is fed from the log until it has caught up."""
        if self._enters(client, room):
            room.enter_behind(client, heard)
            self.start(self._feed(room, client))

    def _enters(self, client: Client, room: Room) -> bool:
        if client not in self.clients:
            return False  # it went while it was being brought up to date
        if room.name in client.rooms:
            room.leave(client)  # it joins again, from where it says it is
        else:
            self._make_live(room)
            self.presence.entering(room, client)
        client.rooms[room.name] = room
        return True

    def leave(self, client: Client, room: Room) -> None:
        """Take a client out of a room; an empty room is dropped."""
        if client.rooms.pop(room.name, None) is None:
            return
        room.leave(client)
        self.presence.left(room, client)
        self._drop_if_empty(room)

    def _drop_if_empty(self, room: Room) -> None:
        """Forget a room that nobody is in or on the way into."""
        if not room.is_live and self.rooms.get(room.name) is room:
            del self.rooms[room.name]
            self.engine.unsubscribe(room.name)

    async def epoch(self) -> str:
        """What makes the log's seqs comparable with earlier ones: it changes when the log was begun anew."""
        if self._epoch is None:
            self._epoch = (await self.engine.head("")).epoch
        return self._epoch

    # Clients

    async def connect(self, client: Client) -> None:
        """Let a client in.

        Raises:
            Refused: by an `on_connect` hook.
        """
        await call_hooks(self._connect_hooks, client)
        if client.session in self._ended:
            raise Refused(ErrorCode.FORBIDDEN, "this session has just ended")
        self.clients[client] = None
        self._sessions.setdefault(client.session, {})[client] = None
        if client.dialect.first_room is not None:
            try:
                await self.join(client, client.dialect.first_room)
            except Refused as refused:
                self._dispatch.refuse(client, None, refused, client.dialect.first_room)
            except Exception:
                self.disconnect(client)
                raise

    def disconnect(self, client: Client) -> None:
        """Forget a client whose connection is gone."""
        if client not in self.clients:
            return
        del self.clients[client]
        for room in list(client.rooms.values()):
            self.leave(client, room)
        self._slow.pop(client, None)
        of_session = self._sessions[client.session]
        del of_session[client]
        if not of_session:
            del self._sessions[client.session]
        if self._disconnect_hooks:
            self.start(self._after_disconnect(client))

    async def _after_disconnect(self, client: Client) -> None:
        try:
            await call_hooks(self._disconnect_hooks, client)
        except Exception:
            log.exception("on_disconnect failed", user=client.user)

    def end_session(self, session: str) -> None:
        """Close every connection that a login opened, those just being opened included."""
        now = self._clock()
        self._ended = {ended: at for ended, at in self._ended.items() if now - at < SESSION_RACE_S} | {session: now}
        for client in list(self._sessions.get(session, ())):
            client.close(CloseCode.SESSION_ENDED, "session ended")

    def mark_slow(self, client: Client) -> None:
        """Note that a client takes its frames slower than they come; its outbox is watched from now on."""
        self._slow[client] = None

    def mark_caught_up(self, client: Client) -> None:
        """Note that a slow client has taken what it was sent; what it has missed since follows."""
        self._slow.pop(client, None)
        for room in client.rooms.values():
            if client in room.behind:
                self.start(self._feed(room, client))
        if client.is_stuck:
            client.is_stuck = False
            self._dispatch.move_line(client)

    def is_slow(self, client: Client) -> bool:
        """Whether a client has yet to take what it was sent."""
        return client in self._slow

    def is_full(self, client: Client) -> bool:
        """Whether a client has as much waiting for it as it may."""
        most = self.settings.max_outbox
        return bool(most) and client in self._slow and client.socket is not None and client.socket.outbox_size > most

    async def _feed(self, room: Room, client: Client) -> None:
        try:
            await catchup.feed(self, room, client)
        except EngineError as error:
            log.warning("a slow client cannot be fed", user=client.user, room=room.name, error=str(error))
            client.close(CloseCode.TOO_SLOW, "the log cannot be read")

    # Receiving

    def receive(self, client: Client, text: str) -> None:
        """Handle one message of a client.  Never raises: what is wrong with it is the client's to hear."""
        if self.is_draining:
            return  # or one that talks without end would never let the server stop
        if (client.rate is not None or self._slow) and not self.admit(client):
            if not self.is_full(client):  # or its refusals would pile up
                client.error(client.dialect.id_of(text), rate_limited(client))
        elif client.backlog is not None:
            self._dispatch.wait_in_line(client, text)
        elif self._slow and client.dialect.resumes and self.is_full(client):
            # It does not read what it asks for: its answers would pile up.
            client.backlog = deque([text])
            client.is_stuck = True
        else:
            self._dispatch.handle(client, text)

    def receive_binary(self, client: Client) -> None:
        """Handle a binary message, which neither dialect has: v1 is told so by the close code, classic is let be."""
        if not client.dialect.takes_binary:
            client.close(CloseCode.UNSUPPORTED_DATA, "events are text frames")
        elif self.admit(client):
            self._dispatch.refuse(
                client, None, Refused(ErrorCode.BAD_ENVELOPE, "events are text frames"), "binary frame"
            )

    def admit(self, client: Client) -> bool:
        """Count one frame against a client's rate; a flood closes it."""
        if self._slow and client in self._slow:
            self._look_at_slow()  # pongs pile up too, for one that does not read them
        if client.rate is None or client.rate.take(self._clock()):
            return True
        client.dropped += 1
        if client.rate.is_flooding:
            client.close(CloseCode.FLOODING, f"more than ten times {self.settings.client_rate:g} events a second")
        return False

    # What leaves

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        """Write an unkept event to a room's members."""
        live = self.rooms.get(room)
        if live is not None:
            live.cast_frames(type_, payload)

    def expire(self) -> None:
        """End what has had its time: leaves past their grace, typing that was not renewed, messages kept too long."""
        self.presence.expire(self.rooms.get)
        if self.settings.keep_seconds:
            oldest_ms = int((self._wall() - self.settings.keep_seconds) * 1000)
            for room in self.rooms.values():
                room.recent.drop_older(oldest_ms)

    async def end_dead_sessions(self) -> None:
        """Close the connections of sessions that have expired, or whose account was changed or removed from outside."""
        mine = set(self._sessions)
        live = await self.engine.live_sessions()
        for session in mine - live:
            self.end_session(session)

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        """Take messages of a room from the engine; they are flushed at the end of the tick."""
        live = self.rooms.get(room)
        if live is not None and messages:
            live.deliver(messages)
            self._dirty[live] = None

    def say_goodbye(self) -> None:
        """Close every client because the server stops; v1 clients are told how long to spread their return over."""
        within_ms = min(MAX_RETURN_MS, MIN_RETURN_MS + RETURN_MS_PER_CLIENT * len(self.clients))
        payload = encode({"within": within_ms, "reason": "restart"})
        for client in list(self.clients):
            client.write_frame(client.dialect.event("reconnect", payload))
            client.close(CloseCode.RESTART, "the server is restarting")

    async def drained(self) -> None:
        """Wait until all that was posted is kept, told and flushed, and every handler at work has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            await self.pump.emptied()
        await self.pump.emptied()
        while any(room.is_flushing for room in self.rooms.values()):  # noqa: ASYNC110  # a slice each turn
            await asyncio.sleep(0)

    async def cancel_handlers(self) -> None:
        """Stop the asynchronous handlers still at work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def flush(self) -> None:
        """Write what the tick brought to each room's members, then look at those who cannot keep up."""
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            try:
                room.flush()
            except Exception:
                log.exception("flush failed", room=room.name)
        if self._slow:
            self._look_at_slow()

    def _look_at_slow(self) -> None:
        """Stop writing to who is over its outbox: v1 is fed from the log later, classic has nothing to resume by."""
        for client in [client for client in self._slow if self.is_full(client)]:
            if client.dialect.resumes:
                for room in client.rooms.values():
                    room.fall_behind(client)
            else:
                self._drop(client)

    def _drop(self, client: Client) -> None:
        del self._slow[client]
        for room in list(client.rooms.values()):
            self.leave(client, room)
        client.close(CloseCode.TOO_SLOW, f"more than {self.settings.max_outbox} bytes behind")

    # Tasks

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work of the hub's own in a task that `drained` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
