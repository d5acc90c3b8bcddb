"""How many messages a user has not read, counted from what is at hand, or from one bounded read that serves all.

Thousands that come back at once follow the same rooms.  What was read of a room's end is kept as long as nothing is
said in the room, and those who ask at the same time wait for one read.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from functools import partial

from hubbub.engine import Log, RoomOutline
from hubbub.events import Message
from hubbub.recent import RECENT

__all__ = ["MAX_UNREAD", "Unread", "count_unread"]

# A greater number is told as this one.
MAX_UNREAD = 100

# What is read where it is enough: most rooms have a few unread messages, or very many.
SHORT = 32

# How the body of a message ends that was deleted; in a text a quote has a backslash before it.
DELETED = b',"deleted":true}'

# Ends of rooms that are kept, at 2 to 4 KiB each.
MOST_ENDS = 1000


class RoomEnd:
    """The end of a room's log: who has said what is said, and nothing more of it.

    Attributes:
        epoch: of the log, and
        seq: its last one when it was read.
        first: the seq from which on it was read.
    """

    __slots__ = ("_senders", "_seqs", "epoch", "first", "seq")

    def __init__(self, outline: RoomOutline, first: int, messages: Sequence[Message]) -> None:
        self.epoch = outline.epoch
        self.seq = outline.seq
        self.first = first
        said = [message for message in messages if is_said(message)]
        self._seqs = array("Q", [message.seq for message in said])
        self._senders = tuple(message.sender for message in said)

    def count(self, user: str, read: int) -> int:
        """Messages by others after a seq."""
        count = 0
        for seq, sender in zip(reversed(self._seqs), reversed(self._senders), strict=True):
            if seq <= read or count == MAX_UNREAD:
                break
            count += sender != user
        return count


class Unread:
    """Counts what users have not read.

    Args:
        log: where what is not at hand is read.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ends: dict[str, RoomEnd] = {}
        self._reading: dict[tuple[str, int], asyncio.Task[int]] = {}

    async def prepare(self, room: str, outline: RoomOutline, read: int) -> int:
        """Read what `count` needs of a room; the bytes that this has read.

        Raises:
            EngineError: it cannot be read.
        """
        wanted = outline.seq - read
        if wanted <= 0 or not outline.sent or self._find(room, outline, read) is not None:
            return 0
        limit = SHORT if wanted <= SHORT else RECENT
        reading = self._reading.get((room, limit))
        if reading is not None:
            await asyncio.shield(reading)  # what it has read may be older than the outline; `count` makes do with it
            return 0
        reading = self._reading[room, limit] = asyncio.get_running_loop().create_task(self._read(room, limit))
        reading.add_done_callback(partial(self._end_reading, room, limit))
        return await asyncio.shield(reading)

    def _end_reading(self, room: str, limit: int, reading: asyncio.Task[int]) -> None:
        del self._reading[room, limit]
        if not reading.cancelled():
            reading.exception()  # everyone who waits may have given up

    def count(self, room: str, outline: RoomOutline, user: str, read: int) -> int:
        """Messages by others that a user has not read, `MAX_UNREAD` at most; of what `prepare` has read."""
        if outline.seq <= read or not outline.sent:
            return 0
        end = self._ends.get(room)
        return end.count(user, read) if end is not None and end.epoch == outline.epoch else 0

    def _find(self, room: str, outline: RoomOutline, read: int) -> RoomEnd | None:
        """What is known of a room's end, where it reaches from a read mark to the last message."""
        end = self._ends.get(room)
        if end is None or end.epoch != outline.epoch or end.seq < outline.seq:
            return None
        return end if end.first <= max(read + 1, outline.seq - RECENT + 1) else None

    async def _read(self, room: str, limit: int) -> int:
        page = await self._log.read(room, limit=limit)
        outline = RoomOutline("", page.head.epoch, page.head.seq, 1)
        if len(self._ends) >= MOST_ENDS:
            del self._ends[next(iter(self._ends))]
        self._ends.pop(room, None)
        self._ends[room] = RoomEnd(outline, page.head.seq - limit + 1, page.messages)
        return sum(len(message.body) for message in page.messages)


def count_unread(messages: Sequence[Message], user: str) -> int:
    """Messages by others, `MAX_UNREAD` at most."""
    return min(MAX_UNREAD, sum(message.sender != user and is_said(message) for message in messages))


def is_said(message: Message) -> bool:
    """Whether it is a message that somebody reads."""
    return message.type == "new_message" and not message.body.endswith(DELETED)
