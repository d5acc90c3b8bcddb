"""How far each user has read each room, in a database file.

Readers move their marks often, and a transaction for each would be dear.  So one is written at a time, and while it is
being written the next one gathers.
"""

from __future__ import annotations

import asyncio
import sqlite3

import msgspec

from hubbub.engine.database import Database
from hubbub.engine.schema import transaction
from hubbub.errors import EngineError

__all__ = ["Marks"]

# Marks to a statement, and to a transaction: batches of messages wait for it.  Each row that a statement returns would
# be a step, and after each step the thread waits for Python's lock; so all that was written comes back as one row.
CHUNKS = (256, 32, 4, 1)
MOST_MARKS = 512

WRITE = {
    size: f"INSERT INTO marks VALUES {', '.join(['(?, ?, ?)'] * size)} "  # noqa: S608  # marks only
    "ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq"
    for size in CHUNKS
}
LOOK = {
    size: f"WITH asked (user, room) AS (VALUES {', '.join(['(?, ?)'] * size)}) "  # noqa: S608  # marks only
    "SELECT json_group_array(json_array(user, room, seq)) FROM asked JOIN marks USING (user, room)"
    for size in CHUNKS
}

Key = tuple[str, str]

decode_rows = msgspec.json.Decoder(list[tuple[str, str, int]]).decode


class Gathering:
    """Marks that are written together.

    Attributes:
        marks: by user and room.
        outcome: how far each was read after the write, or why it failed; None until then.
    """

    __slots__ = ("marks", "outcome")

    def __init__(self) -> None:
        self.marks: dict[Key, int] = {}
        self.outcome: dict[Key, int] | EngineError | None = None


class Marks:
    """Read marks in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathering = Gathering()
        self._turn = asyncio.Lock()

    async def move(self, user: str, room: str, seq: int) -> int:
        """Keep how far a user has read, unless it was further; the furthest.

        Raises:
            EngineError: it could not be kept.
        """
        if not seq:
            return await self.find(user, room)  # the mark of a room in which nothing was said is no row
        key = user, room
        gathering = self._gathering
        gathering.marks[key] = max(seq, gathering.marks.get(key, 0))
        if len(gathering.marks) >= MOST_MARKS:
            self._gathering = Gathering()
        async with self._turn:
            if gathering.outcome is None:  # the first of those who wait writes for all
                if gathering is self._gathering:
                    self._gathering = Gathering()
                await self._write(gathering)
        if isinstance(gathering.outcome, dict):
            return gathering.outcome[key]
        raise EngineError(str(gathering.outcome))

    async def find(self, user: str, room: str) -> int:
        """How far a user has read; 0 before the first mark."""
        return await self._database.read(find_mark, self._database.reading, user, room)

    async def _write(self, gathering: Gathering) -> None:
        try:
            gathering.outcome = await self._database.write(write_marks, self._database.writing, gathering.marks)
        except EngineError as error:
            gathering.outcome = error


def write_marks(connection: sqlite3.Connection, marks: dict[Key, int]) -> dict[Key, int]:
    """Write marks, and say how far each is now."""
    rows = [(user, room, seq) for (user, room), seq in marks.items()]
    furthest: dict[Key, int] = {}
    start = 0
    with transaction(connection):
        for size in CHUNKS:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                connection.execute(WRITE[size], [value for row in chunk for value in row])
                (found,) = connection.execute(LOOK[size], [value for row in chunk for value in row[:2]]).fetchone()
                furthest.update(((user, room), seq) for user, room, seq in decode_rows(found))
                start += size
    return furthest


def find_mark(connection: sqlite3.Connection, user: str, room: str) -> int:
    row = connection.execute("SELECT seq FROM marks WHERE user = ? AND room = ?", (user, room)).fetchone()
    return int(row[0]) if row else 0
