"""The log in a database file, as one connection sees it.  Everything here waits for the file: it is for threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hubbub.engine.schema import snapshot, transaction
from hubbub.engine.stamp import KeyEntry, Position, digest_of
from hubbub.engine.tail import Row
from hubbub.errors import ConfigError

__all__ = ["END", "TRIM_ROWS", "Fields", "LogFile", "RoomPlace", "encode_rows"]

Fields = tuple[Any, ...]

# Rows to a statement.  One statement for each size is prepared once and used again.
CHUNKS = (256, 64, 16, 4, 1)

# A trim deletes this many rows, then lets the log go on.
TRIM_ROWS = 500

# Beyond any seq.
END = 1 << 62

SELECT = "SELECT seq, sent, sender, type, body FROM messages WHERE room = ?"
INSERT = {
    size: f"INSERT OR IGNORE INTO messages VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * size)}"  # noqa: S608  # marks only
    for size in CHUNKS
}

encode_rows = msgspec.msgpack.Encoder().encode
decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


class RoomPlace(Position):
    """Where a room stands in the file.

    Attributes:
        id: its number there.
        kept: the seq of the newest message that is kept; `seq` is ahead of it while a batch is being written.
        first: the seq of the oldest message that is kept.
        is_new: not in the file yet; the next batch puts it there.
    """

    __slots__ = ("first", "id", "is_new", "kept")

    def __init__(self, id_: int, seq: int, sent: int, first: int, *, is_new: bool) -> None:
        super().__init__(seq, sent)
        self.id = id_
        self.kept = seq
        self.first = first
        self.is_new = is_new


class LogFile:
    """Rooms, their messages, and the journal.

    Messages before a room's `first` are not kept any more: nobody reads them, deleted or not.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last_journaled: int | None = None

    def journal(self, new_rooms: list[tuple[int, str]], batch: bytes) -> int:
        """Keep a batch; the number that the journal gives it."""
        self._last_journaled = None
        insert = "INSERT INTO journal (batch) VALUES (?)"
        if new_rooms:
            with transaction(self._connection):
                self._connection.executemany("INSERT INTO rooms (id, name) VALUES (?, ?)", new_rooms)
                number = self._connection.execute(insert, (batch,)).lastrowid or 0
        else:  # one statement is a transaction of its own
            number = self._connection.execute(insert, (batch,)).lastrowid or 0
        self._last_journaled = number
        return number

    def last_journaled(self) -> int | None:
        """The number of the last batch, None if it was not kept."""
        return self._last_journaled

    def checkpoint(self) -> None:
        """Copy SQLite's write-ahead log into the file; others may write meanwhile.  It waits for the disk."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def insert(self, rows: Sequence[Row]) -> None:
        """Put messages into the table; those that are there already stay as they are."""
        with transaction(self._connection):
            self.insert_rows(rows)

    def insert_rows(self, rows: Sequence[Row]) -> None:
        """The same, within a transaction."""
        start = 0
        for size in CHUNKS:
            while len(rows) - start >= size:
                values = [value for row in rows[start : start + size] for value in row]
                self._connection.execute(INSERT[size], values)
                start += size

    def clear_journal(self, up_to: int, firsts: Iterable[tuple[int, int]]) -> None:
        """Delete the batches that the journal has numbered so far as `up_to`.

        Args:
            firsts: numbers of rooms with a `first` that the file may not have.  What the journal alone had before it
                goes now, and the table must not be taken to have all that comes after its own messages.
        """
        with transaction(self._connection):
            for room, first in firsts:
                self._connection.execute("UPDATE rooms SET first = max(first, ?) WHERE id = ?", (first, room))
            self._connection.execute("DELETE FROM journal WHERE id <= ?", (up_to,))

    def recover(self, path: Path) -> None:
        """Copy to the table what an earlier process has left in the journal."""
        with transaction(self._connection):
            firsts = dict(self._connection.execute("SELECT id, first FROM rooms"))
            for (batch,) in self._connection.execute("SELECT batch FROM journal ORDER BY id").fetchall():
                try:
                    rows = decode_rows(batch)
                except msgspec.DecodeError as error:
                    raise ConfigError(f"--engine sqlite:///{path}: its journal is damaged: {error}") from None
                self.insert_rows([row for row in rows if row.seq >= firsts[row.room]])
            self._connection.execute("DELETE FROM journal")

    def find_rooms(self, rooms: set[str], since: int, at: int) -> tuple[dict[str, RoomPlace], list[KeyEntry]]:
        """Where the rooms in the file stand, and the keys of their messages sent after `since`, newest first.

        Args:
            at: the log's own time, from which on the keys are remembered.
        """
        found: dict[str, RoomPlace] = {}
        keys: list[KeyEntry] = []
        with snapshot(self._connection):
            for room in rooms:
                row = self._connection.execute("SELECT id, first FROM rooms WHERE name = ?", (room,)).fetchone()
                if row is not None:
                    number, first = row
                    found[room] = RoomPlace(number, *self._last(number, first), first, is_new=False)
                    keys += self._keys_of(room, number, since, at)
        return found, keys

    def _keys_of(self, room: str, number: int, since: int, at: int) -> list[KeyEntry]:
        keys = []
        sql = "SELECT sender, key, seq, sent, type, body FROM messages WHERE room = ? ORDER BY seq DESC"
        for sender, key, seq, sent, type_, body in self._connection.execute(sql, (number,)):
            if sent <= since:
                break
            if key is not None:
                keys.append(KeyEntry(room, sender, key, seq, sent, at, digest_of(type_, body)))
        return keys

    def _last(self, room: int, first: int) -> tuple[int, int]:
        """The seq of a room's newest message in the table, and when it was sent; 0 where that is not known any more."""
        sql = "SELECT seq, sent FROM messages WHERE room = ? ORDER BY seq DESC LIMIT 1"
        row = self._connection.execute(sql, (room,)).fetchone()
        return (row[0], row[1]) if row is not None else (first - 1, 0)

    def last_seq(self, room: int, first: int) -> int:
        """The seq of a room's newest message in the table."""
        (last,) = self._connection.execute("SELECT max(seq) FROM messages WHERE room = ?", (room,)).fetchone()
        return int(last) if last is not None else first - 1

    def page(self, room: str, after: int | None, before: int, limit: int) -> tuple[int, list[Fields]]:
        """The last seq of a room that the table has all of, and messages of it."""
        with snapshot(self._connection):
            row = self._connection.execute("SELECT id, first FROM rooms WHERE name = ?", (room,)).fetchone()
            if row is None:
                return 0, []
            number, first = row
            if after is None:
                found = self.older(number, first, before, limit)
            else:
                found = self.newer(number, max(after, first - 1), END, limit)
            return self.last_seq(number, first), found

    def newer(self, number: int, after: int, before: int, limit: int) -> list[Fields]:
        """The oldest messages between two seqs."""
        sql = f"{SELECT} AND seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        return self._connection.execute(sql, (number, after, before, limit)).fetchall()

    def older(self, number: int, first: int, before: int, limit: int) -> list[Fields]:
        """The newest messages from the seq `first` on and before another, in order."""
        sql = f"{SELECT} AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return self._connection.execute(sql, (number, first, before, limit)).fetchall()[::-1]

    def find_old(self, cutoff: int, after: int, limit: int) -> tuple[list[tuple[str, int, int]], int]:
        """Rooms with messages from before `cutoff`, among the `limit` rooms with a number above `after`.

        Returns:
            For each its name, its number, and a seq to trim it to; the number to go on after, `END` at the end.
        """
        old = []
        rooms = self._connection.execute(
            "SELECT id, name, first FROM rooms WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        ).fetchall()
        for number, room, first in rooms:
            oldest = self._connection.execute(
                "SELECT seq, sent FROM messages WHERE room = ? AND seq >= ? ORDER BY seq LIMIT ?",
                (number, first, TRIM_ROWS),
            )
            last = None
            for seq, sent in oldest:
                if sent >= cutoff:
                    break
                last = seq
            if last is not None:
                old.append((room, number, last + 1))
        return old, rooms[-1][0] if len(rooms) == limit else END

    def delete(self, room: int, first: int) -> None:
        """Delete a room's messages before the seq `first`."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM messages WHERE room = ? AND seq < ?", (room, first))
            self._connection.execute("UPDATE rooms SET first = max(first, ?) WHERE id = ?", (first, room))
