"""The hub: who is connected, which rooms are live, which handler gets which event."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
import typing
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import structlog

from hubbub import catchup, chat
from hubbub.client import Client, Envelope
from hubbub.engine import Engine, Head
from hubbub.errors import CloseCode, ConfigError, EngineError, ErrorCode, Refused
from hubbub.events import Event, Message, decode_payload, encode, encode_payload, rfc3339
from hubbub.policy import check_dm, check_room_name
from hubbub.presence import Presence
from hubbub.recent import HISTORY
from hubbub.room import Posting, Room, posted
from hubbub.settings import Settings

__all__ = ["Hub"]

log = structlog.get_logger("hubbub")

Handle = Callable[..., Any]
H = TypeVar("H", bound=Handle)

# A client whose asynchronous handler is at work waits in line; past this many events its socket is not read.
MAX_BACKLOG = 64

# A client that does not read but asks on is closed when the answers, too, have filled its outbox this often.
PATIENCE = 2

# No connection takes longer from taking its one-time password to being one of the hub's clients.
SESSION_RACE_S = 60.0


class Handler(msgspec.Struct, frozen=True):
    """A registered handler: how to read its event's payload, and how to call it."""

    decoder: msgspec.json.Decoder[Any]
    call: Callable[[Any, Client], Any]
    is_async: bool


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
        self._handlers: dict[str, Handler] = {}
        self._builtin: frozenset[str] = frozenset()
        self._connect_hooks: list[Handle] = []
        self._disconnect_hooks: list[Handle] = []
        self._join_hooks: list[Handle] = []
        self._engine: Engine | None = None
        self._epoch: str | None = None
        self.presence = Presence(self.cast, self.now)
        self._clock: Callable[[], float] = time.monotonic
        self._gathering: list[Posting] = []
        self._is_appending = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._dirty: dict[Room, None] = {}
        self._slow: dict[Client, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, dict[Client, None]] = {}
        self._ended: dict[str, float] = {}
        chat.install(self)
        self._builtin = frozenset(self._handlers)

    # Registering

    def on(self, handler: H) -> H:
        """Register a handler for the event type that its first parameter is annotated with.

        Raises:
            TypeError: when the annotation is no event, or the event has a handler already.
        """
        event = event_type_of(handler)
        tag = str(event.__struct_config__.tag)
        if tag in self._handlers and tag not in self._builtin:
            raise TypeError(f"{tag!r} has a handler already; one event has one handler")
        self._builtin -= {tag}
        wants_client = len(inspect.signature(handler).parameters) > 1
        call = handler if wants_client else functools.partial(without_client, handler)
        self._handlers[tag] = Handler(msgspec.json.Decoder(event), call, inspect.iscoroutinefunction(handler))
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

    def bind(self, engine: Engine, settings: Settings, clock: Callable[[], float]) -> None:
        """Take the engine and the settings to run with."""
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
            self._start(self._feed(room, client))

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
            self.presence.forget(room)

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
                self._refuse(client, None, refused, client.dialect.first_room)

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
            self._start(self._after_disconnect(client))

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
                self._start(self._feed(room, client))

    def is_slow(self, client: Client) -> bool:
        """Whether a client has yet to take what it was sent."""
        return client in self._slow

    async def _feed(self, room: Room, client: Client) -> None:
        try:
            await catchup.feed(self, room, client)
        except EngineError as error:
            log.warning("a slow client cannot be fed", user=client.user, room=room.name, error=str(error))
            client.close(CloseCode.TOO_SLOW, "the log cannot be read")

    # Receiving

    def receive(self, client: Client, text: str) -> None:
        """Handle one message of a client.  Never raises: what is wrong with it is the client's to hear."""
        if (client.rate is not None or self._slow) and not self.admit(client):
            client.error(client.dialect.id_of(text), rate_limited(client))
        elif client.backlog is not None:
            self._queue(client, text)
        else:
            self._handle(client, text)

    def receive_binary(self, client: Client) -> None:
        """Handle a binary message, which neither dialect has: v1 is told so by the close code, classic is let be."""
        if not client.dialect.takes_binary:
            client.close(CloseCode.UNSUPPORTED_DATA, "events are text frames")
        elif self.admit(client):
            self._refuse(client, None, Refused(ErrorCode.BAD_ENVELOPE, "events are text frames"), "binary frame")

    def admit(self, client: Client) -> bool:
        """Count one frame against a client's rate; a flood closes it."""
        if self._slow and client in self._slow:
            self._look_at_slow()  # answers pile up too, for one that asks and does not read
        if client.rate is None or client.rate.take(self._clock()):
            return True
        client.dropped += 1
        if client.rate.is_flooding:
            client.close(CloseCode.FLOODING, f"more than ten times {self.settings.client_rate:g} events a second")
        return False

    def _handle(self, client: Client, text: str) -> None:
        try:
            request = client.dialect.decode(text)
        except Refused as refused:
            self._refuse(client, client.dialect.id_of(text), refused, "?")
            return
        handler = self._handlers.get(request.type)
        if handler is None:
            unknown = Refused(ErrorCode.UNKNOWN_TYPE, f"nothing here handles events of type {request.type[:80]!r}")
            self._refuse(client, request.id, unknown, request.type)
            return
        before = len(self._gathering)
        try:
            event = decode_payload(handler.decoder, request.payload)
            if handler.is_async:
                self._handle_async(client, request, handler.call(event, client))
                return
            result = handler.call(event, client)
        except Refused as refused:
            self._refuse(client, request.id, refused, request.type)
        except Exception:
            self._failed(client, request)
        else:
            if request.id is not None:
                self._answer(client, request.id, result, self._gathering[before:])

    def _answer(self, client: Client, id_: str | int, result: Any, postings: Sequence[Posting]) -> None:
        """Acknowledge a request, as soon as what it posted is kept."""
        if not postings:
            client.ack(id_, ack_payload(result))
        else:
            # Postings of one handler call are in one batch: when one is kept all are.
            awaited = result if isinstance(result, Posting) else postings[-1]
            awaited.reply_with(functools.partial(self._reply, client, id_, result))

    def _reply(self, client: Client, id_: str | int, result: Any, posting: Posting) -> None:
        if posting.error is None:
            client.ack(id_, ack_payload(result))
        else:
            client.error(id_, unavailable(posting.error))

    def _handle_async(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        client.backlog = deque()
        self._start(self._work_off(client, request, work))

    async def _work_off(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        """Await a handler, then take the client's waiting events in turn."""
        await self._finish(client, request, work)
        waiting, client.backlog = client.backlog or deque(), None
        while waiting and client in self.clients:
            self._handle(client, waiting.popleft())
            if self._is_at_work(client, waiting):
                return
        client.resume()

    def _is_at_work(self, client: Client, waiting: deque[str]) -> bool:
        """Whether the next asynchronous handler has begun, with a task of its own; it gets the rest of the line."""
        if client.backlog is None:
            return False
        client.backlog.extend(waiting)
        return True

    async def _finish(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        mine: list[Posting] = []
        posted.set(mine)
        try:
            result = await work
            for posting in mine:
                await posting
        except Refused as refused:
            self._refuse(client, request.id, refused, request.type)
        except EngineError as error:
            self._refuse(client, request.id, unavailable(error), request.type)
        except Exception:
            self._failed(client, request)
        else:
            if request.id is not None:
                client.ack(request.id, ack_payload(result))

    def _queue(self, client: Client, text: str) -> None:
        assert client.backlog is not None
        client.backlog.append(text)
        if len(client.backlog) > MAX_BACKLOG:
            client.pause()

    def _refuse(self, client: Client, id_: str | int | None, refused: Refused, type_: str) -> None:
        log.debug("refused", user=client.user, type=type_[:80], code=refused.code, message=refused.message)
        client.error(id_, refused)

    def _failed(self, client: Client, request: Envelope) -> None:
        log.exception("handler failed", type=request.type, user=client.user)
        client.error(request.id, Refused(ErrorCode.INTERNAL, f"the handler of {request.type!r} failed"))

    # The tick: gather, append, acknowledge, flush

    def gather(self, posting: Posting) -> None:
        """Take a posting for this tick's batch."""
        if not self._gathering:
            self._wake.set()
        self._gathering.append(posting)

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        """Write an unkept event to a room's members."""
        live = self.rooms.get(room)
        if live is not None:
            live.cast_frames(type_, payload)

    def expire(self) -> None:
        """End what has had its time: leaves past their grace, typing that was not renewed."""
        self.presence.expire(self.rooms.get)

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        """Take messages of a room from the engine; they are flushed at the end of the tick."""
        live = self.rooms.get(room)
        if live is not None and messages:
            live.deliver(messages)
            self._dirty[live] = None

    async def pump(self) -> None:
        """Append batch after batch for ever; while one is being appended the next one gathers."""
        while True:
            self._idle.set()
            await self._wake.wait()
            self._wake.clear()
            self._idle.clear()
            await self.pump_once()

    async def pump_once(self) -> None:
        """Append what has gathered, acknowledge it, and flush."""
        batch, self._gathering = self._gathering, []
        if batch:
            await self._append(batch)
        self.flush()

    async def drained(self) -> None:
        """Wait until every posting taken so far is kept, told and flushed, and every handler at work has ended."""
        while self._tasks or self._gathering or not self._idle.is_set():
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._gathering:
                self._idle.clear()
            await self._idle.wait()
        while any(room.is_flushing for room in self.rooms.values()):  # noqa: ASYNC110  # a slice each turn
            await asyncio.sleep(0)

    async def cancel_handlers(self) -> None:
        """Stop the asynchronous handlers still at work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _append(self, batch: list[Posting]) -> None:
        try:
            receipts = await self.engine.append(batch)
        except EngineError as error:
            log.error("messages not kept", count=len(batch), error=str(error))  # noqa: TRY400  # expected; no traceback
            fail(batch, error)
        except Exception as error:
            log.exception("messages not kept", count=len(batch))
            fail(batch, EngineError(f"the engine failed: {error!r}"))
        else:
            for posting, receipt in zip(batch, receipts, strict=True):
                posting.receipt = receipt
                if posting.is_awaited:
                    posting.settle()

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
        most = self.settings.max_outbox
        for client in list(self._slow):
            size = client.socket.outbox_size if most and client.socket is not None else 0
            if size <= most:
                continue
            fell_behind = client.dialect.resumes and [
                room for room in client.rooms.values() if room.fall_behind(client)
            ]
            if not fell_behind and (not client.dialect.resumes or size > most * PATIENCE):
                self._drop(client)

    def _drop(self, client: Client) -> None:
        del self._slow[client]
        for room in list(client.rooms.values()):
            self.leave(client, room)
        client.close(CloseCode.TOO_SLOW, f"more than {self.settings.max_outbox} bytes behind")

    # Tasks

    def _start(self, work: typing.Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def event_type_of(handler: Handle) -> type[msgspec.Struct]:
    """The event type that a handler's first parameter is annotated with."""
    name = getattr(handler, "__qualname__", repr(handler))
    try:
        hints = typing.get_type_hints(handler)
    except NameError as error:
        raise TypeError(f"handler {name}: its annotations cannot be resolved: {error}") from None
    parameters = list(inspect.signature(handler).parameters)
    hint = hints.get(parameters[0]) if parameters else None
    if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint.__struct_config__.tag):
        raise TypeError(f"handler {name}: annotate its first parameter with an Event, as (vote: Vote, client: Client)")
    if len(parameters) > 2:
        raise TypeError(f"handler {name} has {len(parameters)} parameters; it is called with the event and the client")
    return hint


def without_client(handler: Handle, event: Event, _client: Client) -> Any:
    """Call a handler that only wants the event."""
    return handler(event)


async def call_hooks(hooks: list[Handle], *args: Any) -> None:
    """Call each hook, plain or asynchronous, in the order registered."""
    for hook in hooks:
        result = hook(*args)
        if inspect.isawaitable(result):
            await result


def ack_payload(result: Any) -> bytes:
    """What a handler returned, as the payload of an ack."""
    if result is None:
        return b"{}"
    if isinstance(result, Posting):
        assert result.receipt is not None
        return encode({"room": result.room, "seq": result.receipt.seq, "sent": rfc3339(result.receipt.sent).decode()})
    if isinstance(result, Event):
        return encode_payload(result)
    return encode(result)


def fail(batch: list[Posting], error: EngineError) -> None:
    """Tell whoever waits for these postings that they were not kept."""
    for posting in batch:
        posting.error = error
        posting.settle()


def rate_limited(client: Client) -> Refused:
    """Tell a client over its rate when the next event will be let in."""
    assert client.rate is not None
    return Refused(ErrorCode.RATE_LIMITED, "too many events a second", round(client.rate.retry_after, 3))


def unavailable(error: EngineError) -> Refused:
    """Tell a client that nothing was kept."""
    return Refused(ErrorCode.UNAVAILABLE, f"not kept: {error}")
