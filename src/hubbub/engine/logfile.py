"""The log in a database file, as one connection sees it.  Everything here waits for the file: it is for threads."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from hubbub.engine.batch import AmendRow, GenerationEnd, JournalBatch, KeyRow
from hubbub.engine.damage import crc_of, decode_loosely, is_good
from hubbub.engine.schema import FIRST_GENERATION, snapshot, transaction
from hubbub.engine.stamp import KeyEntry, Position
from hubbub.engine.tail import Row

__all__ = ["END", "TRIM_ROWS", "Fields", "JournalGap", "LogFile", "RoomPlace"]

log = structlog.get_logger("hubbub.engine")

Fields = tuple[Any, ...]

# Rows to a statement.  One statement for each size is prepared once and used again.
CHUNKS = (256, 64, 16, 4, 1)

# A trim deletes this many rows, then lets the log go on.
TRIM_ROWS = 500

# How long a checkpoint waits for readers; writers wait meanwhile.
TRUNCATE_MS = 50

# Generations whose ends are known.  A place of an earlier one is not recovered.
MOST_GENERATIONS = 16

# Damaged messages, of which each gets a line in the log once.
MOST_TOLD = 100

# Beyond any seq.
END = 1 << 62

SELECT = "SELECT seq, sent, sender, type, body, crc FROM messages WHERE room = ?"
COLUMNS = "room, seq, sent, sender, type, body, crc"
INSERT = {
    size: f"INSERT OR IGNORE INTO messages ({COLUMNS}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * size)}"  # noqa: S608  # marks only
    for size in CHUNKS
}

# Whether the message in the middle between two seqs, or the next one that is there, was sent before a time.
IS_EARLIER = """
    coalesce((
        SELECT sent < :sent FROM messages
        WHERE room = (SELECT id FROM place) AND seq BETWEEN (low + high) / 2 AND high - 1 ORDER BY seq LIMIT 1
    ), 0)
"""
# `sent` never goes back in a room, so halving finds the seq; one statement, because the loop is waited for after each.
FIRST_SINCE = f"""
    WITH RECURSIVE
    place (id, first, last) AS (
        SELECT id, first, coalesce((SELECT max(seq) FROM messages WHERE room = rooms.id), 0) FROM rooms
        WHERE name = :room
    ),
    halves (low, high) AS (
        SELECT first, max(last + 1, first) FROM place
        UNION ALL
        SELECT iif({IS_EARLIER}, (low + high) / 2 + 1, low), iif({IS_EARLIER}, high, (low + high) / 2)
        FROM halves WHERE low < high
    )
    SELECT coalesce(max(low), 1) FROM halves
"""  # noqa: S608  # ours


class JournalGap(Exception):
    """The journal does not go on where the log was."""


class RoomPlace(Position):
    """Where a room stands in the file.

    Attributes:
        id: its number there.
        kept: the seq of the newest message that is kept; `seq` is ahead of it while a batch is being written.
        first: the seq of the oldest message that is kept.
        ends: the last seq before each generation in which the room has messages, oldest first; none for the first one.
        is_new: not in the file yet; the next batch puts it there.
    """

    __slots__ = ("ends", "first", "id", "is_new", "kept")

    def __init__(self, id_: int, seq: int, first: int, *, sent: int = 0, is_new: bool = False) -> None:
        super().__init__(seq, sent)
        self.id = id_
        self.kept = seq
        self.first = first
        self.ends: list[GenerationEnd] = []
        self.is_new = is_new

    def is_of(self, generation: int) -> bool:
        """Whether the room has a message of a generation, or needs no end to tell so."""
        return (self.ends[-1].generation if self.ends else FIRST_GENERATION) == generation


class LogFile:
    """Rooms, their messages, and what tells generations and keys apart.

    Messages before a room's `first` are not kept any more: nobody reads them, deleted or not.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Text that is damaged need not be UTF-8; the check of the message tells.
        connection.text_factory = decode_loosely
        self._told: set[tuple[int, int]] = set()

    # Facts

    def fact(self, name: str) -> str:
        """A fact about the file, empty where it has none of that name."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def put_fact(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def put_token(self, token: str, *, before: str) -> None:
        """Note the token of a server that begins to use the file, and what it found, both or neither."""
        with transaction(self._connection):
            self.put_fact("token", token)
            self.put_fact("before", before)

    @property
    def folded(self) -> int:
        """The number of the last file of the journal that the table has all of."""
        return int(self.fact("folded") or 0)

    def generations(self) -> dict[str, int]:
        """The generations of the log that are known, by their epochs; the present one is last."""
        return dict(self._connection.execute("SELECT epoch, number FROM generations ORDER BY number"))

    def begin_generation(self) -> None:
        """Go on under another epoch: the file may hold less than was shown of it."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO generations SELECT max(number) + 1, ? FROM generations", (secrets.token_hex(8),)
            )
            forgotten = "SELECT max(number) - ? FROM generations"
            self._connection.execute(f"DELETE FROM generations WHERE number <= ({forgotten})", (MOST_GENERATIONS,))  # noqa: S608  # ours
            # The end of a generation tells how far those before it go.
            oldest = "SELECT min(number) FROM generations"
            self._connection.execute(f"DELETE FROM ends WHERE generation <= ({oldest})")  # noqa: S608  # ours

    # Folding

    def insert_rooms(self, rooms: Iterable[tuple[int, str]]) -> None:
        """Put rooms into their table; those that are there already stay as they are."""
        self._connection.executemany("INSERT OR IGNORE INTO rooms (id, name) VALUES (?, ?)", rooms)

    def insert(self, rows: Sequence[Row]) -> None:
        """Put messages into the table; those that are there already stay as they are."""
        with transaction(self._connection):
            self.insert_rows(rows)

    def insert_rows(self, rows: Sequence[Row]) -> None:
        """The same, within a transaction."""
        start = 0
        for size in CHUNKS:
            while len(rows) - start >= size:
                values: list[Any] = []
                for row in rows[start : start + size]:
                    values += row
                    values.append(crc_of(*row[1:]))
                self._connection.execute(INSERT[size], values)
                start += size

    def replace_rows(self, rows: Sequence[Row]) -> None:
        """Put messages into the table, in the place of others with their seqs."""
        replace = f"INSERT OR REPLACE INTO messages ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # marks only
        self._connection.executemany(replace, [(*row, crc_of(*row[1:])) for row in rows])

    def amend(self, rows: Sequence[AmendRow]) -> None:
        """Give messages of the table other bodies; those that are not there are left out.

        This and `insert` are where a fold changes what the table says.
        """
        with transaction(self._connection):
            self.amend_rows(rows)

    def amend_rows(self, rows: Iterable[AmendRow]) -> None:
        """The same, within a transaction."""
        execute = self._connection.execute
        for room, seq, _, body in rows:
            found = execute(
                "SELECT sent, sender, type FROM messages WHERE room = ? AND seq = ?", (room, seq)
            ).fetchone()
            if found is not None:
                sent, sender, type_ = found
                crc = crc_of(seq, sent, sender, type_, body)
                execute("UPDATE messages SET body = ?, crc = ? WHERE room = ? AND seq = ?", (body, crc, room, seq))

    def end_fold(
        self,
        folded: int,
        firsts: Iterable[tuple[int, int]] = (),
        ends: Iterable[GenerationEnd] = (),
        keys: Iterable[KeyRow] = (),
        oldest_key: int = 0,
    ) -> None:
        """Note that the table has all that the journal has up to a file.

        Args:
            folded: the file's number.
            firsts: numbers of rooms with a `first` that the file may not have.  What the journal alone had before it
                goes now, and the table must not be taken to have all that comes after its own messages.
            ends: those that the journal had.
            keys: those that the journal had.
            oldest_key: older keys are dropped, by the log's own time.
        """
        with transaction(self._connection):
            execute, many = self._connection.execute, self._connection.executemany
            for room, first in firsts:
                execute("UPDATE rooms SET first = max(first, ?) WHERE id = ?", (first, room))
            many("INSERT OR IGNORE INTO ends VALUES (?, ?, ?)", ends)
            many("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", keys)
            execute("DELETE FROM keys WHERE at < ?", (oldest_key,))
            self.put_fact("folded", str(folded))

    def checkpoint(self) -> None:
        """Copy SQLite's write-ahead log into the file; others may write meanwhile.  It waits for the disk."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def truncate(self) -> bool:
        """Do the same, and empty SQLite's write-ahead log; whether it is empty.

        It is not where somebody reads an earlier state, such as a backup.
        """
        self._connection.execute(f"PRAGMA busy_timeout = {TRUNCATE_MS}")
        (is_busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def recover(self, batches: Iterable[JournalBatch], folded: int, *, is_same: bool = False) -> bool:
        """Copy to the table what an earlier process has left in the journal, up to its file with the number `folded`.

        Args:
            is_same: whether nothing may be missing.

        Returns:
            Whether each batch goes on where the log was.  From the first one on that does not, they are left out.

        Raises:
            JournalGap: one does not, and nothing may be missing; the table is as it was.
        """
        with transaction(self._connection):
            firsts = dict(self._connection.execute("SELECT id, first FROM rooms"))
            lasts: dict[int, int] = {}
            highest: dict[int, int] = {}
            amends: list[AmendRow] = []
            is_whole = True
            for batch in batches:
                if not self._is_next(batch, firsts, lasts):
                    if is_same:
                        raise JournalGap
                    is_whole = False
                    break
                self.insert_rooms(batch.rooms)
                self._connection.executemany("INSERT OR IGNORE INTO ends VALUES (?, ?, ?)", batch.ends)
                # A batch whose seqs were taken back, because the disk had not confirmed it, may be in front of the one
                # that got them.  Its keys are not those of the other's messages.
                # Nor does what it has amended count.
                again = [(row.room, row.seq) for row in batch.rows if row.seq <= highest.get(row.room, 0)]
                taken_back = set(again)
                amends = [row for row in amends if (row.room, row.by) not in taken_back]
                amends += batch.amends
                self._connection.executemany("DELETE FROM keys WHERE room = ? AND seq = ?", again)
                self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", batch.keys)
                highest.update((row.room, row.seq) for row in batch.rows)
                self.replace_rows([row for row in batch.rows if row.seq >= firsts.get(row.room, 1)])
            self.amend_rows(amends)
            self.put_fact("folded", str(folded))
        return is_whole

    def _is_next(self, batch: JournalBatch, firsts: dict[int, int], lasts: dict[int, int]) -> bool:
        """Whether the messages of a batch follow the last ones, or are there already, in each room of it."""
        for row in batch.rows:
            last = lasts.get(row.room)
            if last is None:
                last = self.last_seq(row.room, firsts.get(row.room, 1))
            if row.seq > last + 1 and row.seq >= firsts.get(row.room, 1):
                return False
            lasts[row.room] = max(last, row.seq)
        return True

    # Reading

    def keys(self) -> list[KeyEntry]:
        """The keys that are kept, in the order of their time."""
        rows = self._connection.execute(
            "SELECT name, sender, key, seq, keys.sent, at, digest FROM keys"
            " JOIN rooms ON rooms.id = keys.room ORDER BY at"
        )
        return [KeyEntry(*row) for row in rows]

    def last_room(self) -> int:
        """The highest number of a room."""
        (last,) = self._connection.execute("SELECT max(id) FROM rooms").fetchone()
        return int(last or 0)

    def find_rooms(self, rooms: Iterable[str]) -> dict[str, RoomPlace]:
        """Where the rooms that are in the file stand."""
        found: dict[str, RoomPlace] = {}
        with snapshot(self._connection):
            for room in rooms:
                row = self._connection.execute("SELECT id, first, sent FROM rooms WHERE name = ?", (room,)).fetchone()
                if row is not None:
                    number, first, sent = row
                    last = self._connection.execute(f"{SELECT} ORDER BY seq DESC LIMIT 1", (number,)).fetchone()
                    seq = last[0] if last is not None else first - 1
                    sent = last[1] if last is not None and is_good(*last) else sent
                    found[room] = place = RoomPlace(number, max(seq, first - 1), first, sent=sent)
                    place.ends = self._ends_of(number)
        return found

    def ends(self, room: str) -> list[GenerationEnd]:
        """The ends of a room, oldest first."""
        with snapshot(self._connection):
            row = self._connection.execute("SELECT id FROM rooms WHERE name = ?", (room,)).fetchone()
            return self._ends_of(row[0]) if row is not None else []

    def _ends_of(self, number: int) -> list[GenerationEnd]:
        sql = "SELECT room, generation, seq FROM ends WHERE room = ? ORDER BY generation"
        return list(map(GenerationEnd._make, self._connection.execute(sql, (number,))))

    def last_seq(self, room: int, first: int) -> int:
        """The seq of a room's newest message in the table."""
        (last,) = self._connection.execute("SELECT max(seq) FROM messages WHERE room = ?", (room,)).fetchone()
        return max(int(last or 0), first - 1)

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

    def first_since(self, room: str, sent: int) -> int:
        """The seq of a room's first message here that was sent at a time or later; one past the last for none."""
        (seq,) = self._connection.execute(FIRST_SINCE, {"room": room, "sent": sent}).fetchone()
        return int(seq)

    def newer(self, number: int, after: int, before: int, limit: int) -> list[Fields]:
        """The oldest messages between two seqs; damaged ones are left out."""
        sql = f"{SELECT} AND seq > ? AND seq < ? ORDER BY seq LIMIT ?"
        found: list[Fields] = []
        while (wanted := limit - len(found)) > 0:
            rows = self._connection.execute(sql, (number, after, before, wanted)).fetchall()
            found += self._checked(number, rows)
            if len(rows) < wanted:
                break
            after = rows[-1][0]
        return found

    def older(self, number: int, first: int, before: int, limit: int) -> list[Fields]:
        """The newest messages from the seq `first` on and before another, in order; damaged ones are left out."""
        sql = f"{SELECT} AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        found: list[Fields] = []
        while (wanted := limit - len(found)) > 0:
            rows = self._connection.execute(sql, (number, first, before, wanted)).fetchall()
            found += self._checked(number, rows)
            if len(rows) < wanted:
                break
            before = rows[-1][0]
        return found[::-1]

    def _checked(self, number: int, rows: list[Fields]) -> list[Fields]:
        """The fields of those messages that are as they were written."""
        good = []
        for fields in rows:
            if is_good(*fields):
                good.append(fields[:5])
            else:
                self._tell_damage(number, fields[0])
        return good

    def _tell_damage(self, number: int, seq: int) -> None:
        if (number, seq) not in self._told and len(self._told) < MOST_TOLD:
            self._told.add((number, seq))
            log.error("a message in the file is damaged and is left out", room=number, seq=seq, see="hubbub doctor")

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

    def delete(self, room: int, first: int, sent: int) -> None:
        """Delete a room's messages before the seq `first`.

        Args:
            sent: when the last message of the room was sent, as far as that is known; no later one is sent before that.
        """
        with transaction(self._connection):
            gone = "SELECT coalesce(max(sent), 0) FROM messages WHERE room = ? AND seq < ?"
            (latest,) = self._connection.execute(gone, (room, first)).fetchone()
            self._connection.execute("DELETE FROM messages WHERE room = ? AND seq < ?", (room, first))
            self._connection.execute(
                "UPDATE rooms SET first = max(first, ?), sent = max(sent, ?, ?) WHERE id = ?",
                (first, sent, latest, room),
            )
