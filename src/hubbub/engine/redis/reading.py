"""Reading the logs of rooms: pages, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from hubbub.engine import Head, Page, Resumed, RoomOutline
from hubbub.engine.redis.calls import Script, load
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.link import Part
from hubbub.engine.redis.master import NotDone, ShardCall
from hubbub.engine.redis.masters import Masters
from hubbub.errors import EngineError
from hubbub.events import Message

__all__ = ["ReadPage", "Reading", "messages_of"]

# A reader waits no longer than this.
READ_S = 5.0

READ = load("read")
HEADS = load("heads")
OUTLINES = load("outlines")
SINCE = load("since")

Element = tuple[int, str | None, str, bytes]  # sent, sender, type, body

_element = msgspec.msgpack.Decoder(Element).decode
_elements = msgspec.msgpack.Decoder(list[Element]).decode


class ReadPage(NamedTuple):
    """What was read of a room, at one moment.

    Attributes:
        shared: up to which seq the log of the generation that was named is part of this one.
        more: whether the log has others beyond the limit.
    """

    generation: int
    last: int
    shared: int
    is_resumed: bool
    messages: list[Message]
    more: bool


class Reading:
    """Reads logs.

    Args:
        cutoff_ms: tells before when what was sent is too old, in milliseconds since 1970; 0 for nothing.
        now: tells tests' time in milliseconds since 1970; None for the server's.
        on_log_time: is told a partition's log time, where it was read.
    """

    def __init__(
        self,
        keys: Keyspace,
        masters: Masters,
        cutoff_ms: Callable[[], int],
        now: Callable[[], int] | None,
        on_log_time: Callable[[int, int], None],
    ) -> None:
        self._keys = keys
        self._masters = masters
        self._cutoff_ms = cutoff_ms
        self._now = now
        self._on_log_time = on_log_time

    async def place(self, room: str) -> tuple[int, int]:
        """The generation and the last seq of a room.

        Raises:
            EngineError: it cannot be read.
        """
        partition = self._keys.partition_of(room)
        generation, ((last, _shared),) = await self.heads(partition, [(room, 0)])
        return generation, last

    async def heads(self, partition: int, rooms: Sequence[tuple[str, int]]) -> tuple[int, list[tuple[int, int]]]:
        """The generation of a partition; and of rooms, each with a generation, the last seq and what is shared with it.

        Raises:
            EngineError: it cannot be read.
        """
        keys: list[Part] = [self._keys.in_partition(partition, "f")]
        keys += (self._keys.of_room("p", room) for room, _ in rooms)
        answer = await self._run(partition, HEADS, keys, [generation for _, generation in rooms])
        generation, at, *heads = answer
        self._on_log_time(partition, at)
        return generation, list(zip(heads[::2], heads[1::2], strict=True))

    async def outlines(self, partition: int, rooms: Sequence[str]) -> dict[str, RoomOutline]:
        """How rooms of a partition stand.

        Raises:
            EngineError: it cannot be read.
        """
        keys: list[Part] = [self._keys.in_partition(partition, "f")]
        keys += (self._keys.of_room(kind, room) for room in rooms for kind in ("p", "l"))
        generation, at, *answer = await self._run(partition, OUTLINES, keys, [])
        self._on_log_time(partition, at)
        cutoff = self._cutoff_ms()
        found = {}
        for room, seq, sent, title, count in zip(rooms, *(answer[place::4] for place in range(4)), strict=True):
            is_held = count and sent >= cutoff
            found[room] = RoomOutline(title.decode(), str(generation), seq, sent if is_held else 0)
        return found

    async def after(self, room: str, generation: int, seq: int, limit: int) -> ReadPage:
        """What comes after a place in a generation.

        Raises:
            EngineError: it cannot be read.
        """
        return await self._read(room, "after", seq, limit, str(generation))

    async def read(self, room: str, *, after: int | None, before: int | None, limit: int) -> Page:
        """As the log promises it."""
        if after is not None:
            found = await self._read(room, "after", after, limit, "")
        else:
            found = await self._read(room, "before", before if before is not None else 1 << 53, limit, "")
        return page_of(found)

    async def resume(self, room: str, since: Head, limit: int) -> Resumed:
        """As the log promises it."""
        # Whatever a client calls an epoch, a generation is a number.
        generation = since.epoch if since.epoch.isascii() and since.epoch.isdigit() else ""
        found = await self._read(room, "resume", min(since.seq, 1 << 53), limit, generation)
        return Resumed(page_of(found), is_recovered=found.is_resumed)

    async def first_since(self, room: str, sent_ms: int) -> int:
        """As the log promises it."""
        partition = self._keys.partition_of(room)
        keys = (
            self._keys.in_partition(partition, "f"),
            self._keys.of_room("p", room),
            self._keys.of_room("l", room),
        )
        return int(await self._run(partition, SINCE, keys, [self._cutoff_ms(), sent_ms]))

    async def _read(self, room: str, direction: str, seq: int, limit: int, generation: str) -> ReadPage:
        partition = self._keys.partition_of(room)
        keys = (
            self._keys.in_partition(partition, "f"),
            self._keys.of_room("p", room),
            self._keys.of_room("l", room),
        )
        cutoff = self._cutoff_ms()
        answer = await self._run(partition, READ, keys, [cutoff, direction, seq, max(limit, 0), generation])
        generation_now, last, shared, is_resumed, first, more, elements = answer
        messages = [Message(room, place, *element) for place, element in enumerate(map(_element, elements), first)]
        return ReadPage(generation_now, last, shared, bool(is_resumed), messages, bool(more))

    async def _run(self, partition: int, script: Script, keys: Sequence[Part], rest: Sequence[Part]) -> Any:
        def args(identity: bytes) -> Sequence[Part]:
            return [identity, self._now() if self._now is not None else b"", *rest]

        try:
            return await self._masters.run(ShardCall(partition, script, keys, args), within_s=READ_S)
        except NotDone as error:
            raise EngineError(str(error)) from None


def page_of(found: ReadPage) -> Page:
    return Page(Head(str(found.generation), found.last), found.messages, found.more)


def messages_of(room: str, first: int, packed: bytes) -> list[Message]:
    """Messages that were published together."""
    return [Message(room, seq, *element) for seq, element in enumerate(_elements(packed), first)]
