"""Publishing through the engine, from programs that share it with servers and are none: `hubbub.publisher`."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from hubbub.engine import Draft, Engine, Head
from hubbub.engine.urls import is_shared_url, shared_engine, shown_url
from hubbub.errors import ConfigError, ErrorCode, Refused, Rejected
from hubbub.events import Event, Message, encode, encode_payload
from hubbub.naming import DM, RoomName, fold, read_room_name
from hubbub.policy import check_key
from hubbub.publications import body_of, said_by
from hubbub.published import Published, RoomHistory, SaidInRoom
from hubbub.rules import Pattern

__all__ = ["AsyncMessenger", "BlockingMessenger", "Messenger", "publisher"]

T = TypeVar("T")

# As over HTTP: messages of a room, unless it is said how many, and at most; users that are named; rooms to a page.
HISTORY = 50
MAX_HISTORY = 300
MAX_PRESENCE = 1000
ROOMS = 1000
# Bytes of what is said: what servers let a client say.
MAX_EVENT = 16 * 1024


def publisher(url: str, *, keep_messages: int = 0) -> Messenger:
    """Publish through a Redis that servers run on, without asking one of them.

    >>> with hubbub.publisher("redis://localhost") as publisher:
    ...     publisher.publish("news", {"headline": "It works"})

    `with` gives a publisher whose methods wait, `async with` one whose methods are to be awaited.

    Args:
        url: as for `hubbub serve --engine`.
        keep_messages: messages kept of a room that this program speaks in, the same number as the servers'; 0 leaves it
            to them to delete the oldest, which they do when they say something there.

    Raises:
        ConfigError: the URL is none of a Redis, or, when it is entered, that cannot be used.
    """
    if not is_shared_url(url):
        raise ConfigError(
            f"{shown_url(url)} is for one process, its server: publish with hubbub.Publisher(URL, KEY) and a key of "
            "`hubbub key add`, or in the server's own process with hub.from_thread; a redis://HOST is shared"
        )
    return Messenger(url, keep_messages)


class Messenger:
    """What `publisher` returns: it is opened by `with` or `async with`, once."""

    def __init__(self, url: str, keep_messages: int) -> None:
        self._url = url
        self._keep = keep_messages
        self._stack = AsyncExitStack()
        self._loop: LoopThread | None = None

    def __repr__(self) -> str:
        return f"<Messenger {shown_url(self._url)}>"

    async def __aenter__(self) -> AsyncMessenger:
        engine = shared_engine(self._url, clock=time.monotonic, keep=self._keep)
        return AsyncMessenger(await self._stack.enter_async_context(engine))

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __enter__(self) -> BlockingMessenger:
        self._loop = LoopThread()
        try:
            return BlockingMessenger(self._loop.run(self.__aenter__()), self._loop)
        except BaseException:
            self._loop.close()
            raise

    def __exit__(self, *_error: object) -> None:
        assert self._loop is not None
        try:
            self._loop.run(self._stack.aclose())
        finally:
            self._loop.close()


class AsyncMessenger:
    """Says things in rooms and asks about them, through an engine that is open.

    What is turned down raises `Rejected`, as of `hubbub.Publisher`; where the engine does not do it in time,
    `EngineError`: `NotKept` where nothing was kept, `NotKnown` where nobody can tell.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def publish(
        self,
        room: str,
        event: object,
        *,
        type: str | None = None,  # noqa: A002
        key: str | None = None,
    ) -> Published:
        """Say something in a room; it is kept when this returns.

        Args:
            event: an `Event`, or anything that JSON can say.
            type: of an event of the application, whose fields `event` has; without one it is a `publication`.
            key: a name for it: within five minutes, one is kept once.
        """
        name = room_named(room)
        if name.identity.startswith(DM):
            raise Rejected(ErrorCode.FORBIDDEN, "rooms of two users are for servers: use hubbub.Publisher")
        draft = draft_of(name.identity, event, type, key)
        [outcome] = await self._engine.append([draft])
        if isinstance(outcome, Exception):
            raise Rejected(ErrorCode.CONFLICT, str(outcome))
        if outcome.seq == 1 and name.title != name.identity:
            await self._engine.put_title(name.identity, name.title)
        head = await self._engine.head(name.identity)
        return Published(name.identity, outcome.seq, head.epoch)

    async def history(
        self, room: str, *, limit: int = HISTORY, after: int | None = None, before: int | None = None
    ) -> RoomHistory:
        """What was said in a room, oldest first: after a seq, before one, or the newest; 300 messages at most."""
        if after is not None and before is not None:
            raise ValueError("history is after a seq, or before one, not both")
        limit = max(1, min(limit, MAX_HISTORY))
        page = await self._engine.read(room_named(room).identity, after=after, before=before, limit=limit)
        return history_of(page.head, page.messages)

    async def presence(self, room: str) -> list[str]:
        """The users in a room, sorted; the first 1,000 of them."""
        return (await self._engine.members(room_named(room).identity, MAX_PRESENCE)).users

    async def rooms(self, pattern: str = "*") -> dict[str, int]:
        """The rooms in which something was said, by name, with how many users are in each.

        Those of two users are left out.
        """
        fits = Pattern(pattern).fits
        prefix, after = fold(pattern.partition("*")[0]), ""
        found: dict[str, int] = {}
        while names := await self._engine.room_names(prefix=prefix, after=after, limit=ROOMS):
            after = names[-1]
            some = [name for name in names if fits(name) and not name.startswith(DM)]
            outlines = await self._engine.outlines(some)
            held = [name for name in some if outlines[name].sent]
            counts = await asyncio.gather(*(self._engine.members(name, 0) for name in held))
            found.update((name, members.count) for name, members in zip(held, counts, strict=True))
        return found


class BlockingMessenger:
    """The same for a program without an event loop: its methods wait.  Threads may share it."""

    def __init__(self, messenger: AsyncMessenger, loop: LoopThread) -> None:
        self._messenger = messenger
        self._run = loop.run

    def publish(self, room: str, event: object, *, type: str | None = None, key: str | None = None) -> Published:  # noqa: A002
        """As `AsyncMessenger.publish`."""
        return self._run(self._messenger.publish(room, event, type=type, key=key))

    def history(
        self, room: str, *, limit: int = HISTORY, after: int | None = None, before: int | None = None
    ) -> RoomHistory:
        """As `AsyncMessenger.history`."""
        return self._run(self._messenger.history(room, limit=limit, after=after, before=before))

    def presence(self, room: str) -> list[str]:
        """As `AsyncMessenger.presence`."""
        return self._run(self._messenger.presence(room))

    def rooms(self, pattern: str = "*") -> dict[str, int]:
        """As `AsyncMessenger.rooms`."""
        return self._run(self._messenger.rooms(pattern))


class LoopThread:
    """An event loop in a thread of its own, for a program that has none."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hubbub.publisher", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine run there, and wait for it.

        Raises:
            ConfigError: this is a fork of the process that has the thread.
        """
        if os.getpid() != self._process:
            work.close()
            raise ConfigError("this process was forked from the one that has opened the publisher: open one here")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def room_named(name: str) -> RoomName:
    """A room by its name; how long that may be is for the servers to say."""
    try:
        return read_room_name(name, 0)
    except Refused as refused:
        raise Rejected(refused.code, refused.message) from None


def draft_of(room: str, event: object, type_: str | None, key: str | None) -> Draft:
    """What is to be kept."""
    if isinstance(event, Event):
        type_, data = type(event).tag, encode_payload(event)
    else:
        data = encode(event)
    try:
        if key is not None:
            check_key(key)
        kept_type, body = body_of(type_ or "", data, {}, 0)
    except Refused as refused:
        raise Rejected(refused.code, refused.message) from None
    if len(body) > MAX_EVENT:
        raise Rejected(ErrorCode.TOO_LARGE, f"what is said has at most {MAX_EVENT} bytes, as JSON")
    return Draft(room, kept_type, body, None, key)


def history_of(head: Head, messages: list[Message]) -> RoomHistory:
    """Messages as other programs read them."""
    return RoomHistory([as_said(message) for message in messages], head.seq, head.epoch)


def as_said(message: Message) -> SaidInRoom:
    said = said_by(message)
    tags = said.tags if said.type == "publication" else {}
    sent = datetime.fromtimestamp(message.sent / 1000, UTC)
    return SaidInRoom(message.seq, sent, msgspec.json.decode(said.data), said.type, message.sender, tags)
