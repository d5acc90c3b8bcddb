"""The newest messages of the log: the SQLite engine has them in its journal, and not yet in its table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Row", "Tail"]


class Row(NamedTuple):
    """A message as the file has it; `room` is its room's number there."""

    room: int
    seq: int
    sent: int
    sender: str | None
    type: str
    body: bytes


def seq_of(row: Row) -> int:
    return row.seq


class Tail:
    """Messages in memory, by room and in order.  Those of a room are always the end of its log.

    Attributes:
        count: messages in the journal, without those of the fold that has begun.
        size: bytes in their bodies.
        folding_count: messages of that fold.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, list[Row]] = {}
        self.count = 0
        self.size = 0
        # The fold that has begun: the last seq of each room, and what it takes off `count` and `size`.
        self._folding: dict[str, int] = {}
        self._is_folding = False
        self.folding_count = 0
        self._folding_size = 0

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def is_larger_than(self, count: int, size: int) -> bool:
        """Whether there are more messages here, those of the fold that has begun included, or bytes in them."""
        return self.count + self.folding_count > count or self.size + self._folding_size > size

    def add(self, room: str, rows: list[Row]) -> None:
        """Add messages to a room."""
        of_room = self._rooms.get(room)
        if of_room is None:
            self._rooms[room] = rows
        else:
            of_room += rows
        self.count += len(rows)
        for row in rows:
            self.size += len(row.body)

    def rows(self, room: str) -> Sequence[Row]:
        """All of a room's messages here, oldest first."""
        return self._rooms[room]

    def amend(self, room: str, seq: int, body: bytes) -> None:
        """Give a message another body, if it is here.  The fold that has begun may have taken it as it was."""
        rows = self._rooms.get(room, [])
        index = bisect_left(rows, seq, key=seq_of)
        if index < len(rows) and rows[index].seq == seq:
            rows[index] = rows[index]._replace(body=body)

    def first(self, room: str) -> int:
        """The seq of a room's oldest message here."""
        return self._rooms[room][0].seq

    def last(self, room: str) -> int:
        """The seq of a room's newest message."""
        return self._rooms[room][-1].seq

    def after(self, room: str, seq: int, limit: int) -> list[Row]:
        """The oldest messages after `seq`, at most `limit`."""
        rows = self._rooms[room]
        start = bisect_left(rows, seq + 1, key=seq_of)
        return rows[start : start + limit]

    def before(self, room: str, seq: int, limit: int) -> list[Row]:
        """The newest messages before `seq`, at most `limit`, in order."""
        rows = self._rooms[room]
        stop = bisect_left(rows, seq, key=seq_of)
        return rows[max(0, stop - limit) : stop]

    def trim(self, room: str, first: int) -> None:
        """Drop a room's messages before `first`.  They count until a fold has passed: the journal still has them."""
        rows = self._rooms.get(room)
        if rows is not None:
            del rows[: bisect_left(rows, first, key=seq_of)]
            if not rows:
                del self._rooms[room]

    # Folding

    @property
    def is_folding(self) -> bool:
        """Whether a fold has begun and not ended; one that failed goes on with the same messages."""
        return self._is_folding

    def begin_fold(self) -> None:
        """Note all that is here now: it is about to be copied to the table.

        There may be no messages: rooms, keys and ends of those that were trimmed have to be copied all the same.
        """
        self._is_folding = True
        self._folding = {room: rows[-1].seq for room, rows in self._rooms.items()}
        self.folding_count, self._folding_size = self.count, self.size
        self.count = self.size = 0

    def portions(self, size: int) -> Iterator[list[Row]]:
        """What the fold takes and has not been trimmed since, in the order of the table, `size` messages at a time."""
        portion: list[Row] = []
        rooms = [(rows[0].room, room) for room, rows in self._rooms.items() if room in self._folding]
        for _, room in sorted(rooms):
            seq, last = 0, self._folding[room]
            while seq < last and room in self._rooms:
                rows = self.after(room, seq, min(size - len(portion), last - seq))
                portion += (row for row in rows if row.seq <= last)
                seq = rows[-1].seq if rows else last
                if len(portion) >= size:
                    yield portion
                    portion = []
        if portion:
            yield portion

    def folding_lasts(self) -> dict[int, int]:
        """The last seqs that the fold takes, by the numbers of their rooms; trimmed rooms are left out."""
        return {rows[0].room: self._folding[room] for room, rows in self._rooms.items() if room in self._folding}

    def end_fold(self) -> None:
        """Drop what the fold took: the table has it."""
        for room, seq in self._folding.items():
            self.trim(room, seq + 1)
        self._folding = {}
        self._is_folding = False
        self.folding_count = self._folding_size = 0
