"""Bringing a client to a room's present: what a join answers, and how one that fell behind is fed.

The newest messages of a live room are at hand (`recent.Recent`), and whatever is at hand can be handed over without
waiting.  So catching up is: read from the log until what is at hand follows without a hole, then take the rest and
become an ordinary member in the same turn of the loop.  Nothing can come between, and nothing has to be merged.  What
is here reads and encodes; `rooms.Rooms` lets clients in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hubbub.dialect import Dialect
from hubbub.engine import Head, Log, Page
from hubbub.events import Message, encode
from hubbub.recent import Recent

__all__ = ["PAGE", "Caught", "Missed", "View", "catch_up", "follows", "gap", "page_texts", "read_missed"]

# What one answer to `join_room` holds at most, and about how many bytes; a client further behind gets the rest as live
# messages, at its own pace.
MAX_ANSWER = 2000
MAX_ANSWER_BYTES = 1 << 20

PAGE = 200


class Caught(NamedTuple):
    """What a joining client is told of the past.

    Attributes:
        epoch: names the log that the seqs belong to.
        messages: as a list in the client's dialect (`Dialect.array`), oldest first.
        heard: the seq of the last one, from which live delivery goes on.
        is_recovered: they are all that the client has missed.
        is_present: `heard` is the room's last seq; a client for which it is not enters behind.
    """

    epoch: str
    messages: bytes
    heard: int
    is_recovered: bool
    is_present: bool


class Missed(NamedTuple):
    """The messages after the place that a client named, as far as they were read from the log."""

    epoch: str
    after: int
    messages: list[Message]

    def begun(self) -> Missed:
        """The same with the first message alone; the others are to be read again."""
        return self._replace(messages=self.messages[:1])


class View(NamedTuple):
    """How far back a client may look; what is before that is as good as lost to it.

    Attributes:
        size: so many of the newest messages.
        oldest_ms: when they were said at the earliest, in milliseconds since 1970.
    """

    size: int
    oldest_ms: float

    def reaches(self, missed: Missed, recent: Recent) -> bool:
        """Whether all that was missed is in it."""
        if recent.last_seq - missed.after > self.size:
            return False
        first = missed.messages[:1] or recent.after(missed.after)[:1]
        return all(message.sent >= self.oldest_ms for message in first)


async def read_missed(log: Log, room: str, recent: Recent, since: Head) -> Missed | None:
    """Read what is missing between a client's place and what is at hand; None where the log does not have it all.

    Raises:
        EngineError: the log cannot be read.
    """
    epoch = recent.epoch
    if since.epoch == epoch and recent.first_seq - 1 <= since.seq <= recent.last_seq:
        return Missed(epoch, since.seq, [])  # thousands that come back at once are judged without a question to the log
    resumed = await log.resume(room, since, PAGE)
    if not resumed.is_recovered:
        return None
    found = resumed.page.messages
    if not is_whole(since.seq, found):
        return None
    size = sum(len(message.body) for message in found)
    while found and found[-1].seq + 1 < recent.first_seq and len(found) < MAX_ANSWER and size < MAX_ANSWER_BYTES:
        page = await log.read(room, after=found[-1].seq, limit=PAGE)
        if not page.messages or not is_whole(found[-1].seq, page.messages):
            return None
        found = found + page.messages
        size += sum(len(message.body) for message in page.messages)
    return Missed(epoch, since.seq, found)


def catch_up(recent: Recent, dialect: Dialect, missed: Missed | None, history: int) -> Caught:
    """Put what was missed together with what is at hand; without it, the `history` newest messages."""
    if missed is None or missed.epoch != recent.epoch:
        newest = recent.joined_after(recent.last_seq - history, dialect)
        return Caught(recent.epoch, newest, recent.last_seq, is_recovered=False, is_present=True)
    heard = missed.messages[-1].seq if missed.messages else missed.after
    # What was read a moment ago may have been changed since.
    older = [dialect.listed(message) for message in recent.changed(missed.messages)]
    if heard + 1 < recent.first_seq:
        return Caught(recent.epoch, dialect.array(older), heard, is_recovered=True, is_present=False)
    messages = dialect.extended(older, recent.joined_after(heard, dialect))
    # The log may be ahead of what it has delivered to the room.
    return Caught(recent.epoch, messages, max(heard, recent.last_seq), is_recovered=True, is_present=True)


def page_texts(room: str, dialect: Dialect, page: Page, cursor: int) -> tuple[list[bytes], int]:
    """What a member that has heard everything up to `cursor` is told of a page read after it, and where it is then.

    Wherever the log has lost messages, it is told so in their place.
    """
    texts = []
    for message in page.messages:
        if message.seq > cursor + 1:
            texts.append(gap(room, dialect, cursor + 1, message.seq - 1))
        texts.append(dialect.message(message))
        cursor = message.seq
    if not page.messages and page.head.seq > cursor:
        texts.append(gap(room, dialect, cursor + 1, page.head.seq))
        cursor = page.head.seq
    return texts, cursor


def gap(room: str, dialect: Dialect, first: int, last: int) -> bytes:
    """Tells of messages that the log does not hold."""
    return dialect.event("gap", encode({"room": room, "from": first, "to": last}))


def follows(page: Page, cursor: int) -> bool:
    """Whether a page read after a seq goes on from there with no hole, as far as the log is known to go."""
    return is_whole(cursor, page.messages) if page.messages else page.head.seq <= cursor


def is_whole(after: int, messages: Sequence[Message]) -> bool:
    """Whether messages follow a seq with no hole before them or between them: a log may have lost some anywhere."""
    return not messages or messages[-1].seq - after == len(messages)
