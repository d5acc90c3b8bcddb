"""Reading what can be read of a database that may be damaged, and writing it to a new one.

Damage is a message that is not as it was written, a page that SQLite cannot read, or a record of the journal that is
not whole.  Reading goes on behind it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from hubbub.engine.backup import JournalData, copy_moment, new_file, remove, saying_what_failed, write_facts
from hubbub.engine.batch import JournalBatch, decode_batch
from hubbub.engine.damage import is_good
from hubbub.engine.journal import FILE_HEAD, mark_of, records_from
from hubbub.engine.logfile import END, Fields, LogFile
from hubbub.engine.older import adopt_older
from hubbub.engine.schema import migrate, transaction
from hubbub.engine.tail import Row

__all__ = ["Damage", "Saved", "Survey", "save"]

# Messages to a question: each is a moment of its own, so that a server's write-ahead log does not grow meanwhile.
CHUNK = 500

# Tables beside those of messages, with what orders them.
TABLES = {
    "accounts": "user",
    "marks": "user, room",
    "generations": "number",
    "ends": "room, generation",
    "keys": "at, room, seq",
    "invitations": "room, user",
    "closed_rooms": "room",
    "titles": "room",
    "follows": "user, room",
    "looks": "key, user",
    "shown": "user",
}


class Damage(NamedTuple):
    """Messages of a room that cannot be read: those from one seq to another, both included; `END` for the rest."""

    room: str
    first: int
    last: int


class Saved(NamedTuple):
    """What was saved: how many messages and accounts, and which messages were left out."""

    messages: int
    accounts: int
    damage: list[Damage]


class Survey:
    """Goes through the messages of a database, whatever is damaged in it.

    Args:
        connection: is only read.

    Attributes:
        damage: what could not be read of the rooms gone through so far.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        LogFile(connection)  # reads text loosely
        self._connection = connection
        self.damage: list[Damage] = []

    def rooms(self) -> dict[int, tuple[str, int]]:
        """The rooms by their numbers: name, and the seq of the oldest message.  One whose name is lost gets another."""
        found = {
            number: (name, first)
            for number, name, first in both_ways(self._connection, "SELECT id, name, first FROM rooms", "id")
            if isinstance(name, str) and isinstance(first, int)
        }
        after = 0
        with contextlib.suppress(sqlite3.Error):
            sql = "SELECT room FROM messages WHERE room > ? ORDER BY room LIMIT 1"
            while (row := self._connection.execute(sql, (after,)).fetchone()) and isinstance(row[0], int):
                after = row[0]
                found.setdefault(after, (f"saved {after}", 1))
        return found

    def messages(self, number: int, room: str, first: int) -> Iterator[list[Row]]:
        """The good messages of a room, some at a time."""
        after = max(first - 1, 0)
        while True:
            rows, is_readable = self._rows(number, after)
            good = [Row(number, *fields[:5]) for fields in rows if is_good(*fields)]
            bad = [fields[0] for fields in rows if not is_good(*fields) and isinstance(fields[0], int)]
            self.damage += [Damage(room, seq, seq) for seq in bad]
            if good:
                yield good
            if rows:
                last = rows[-1][0]
                after = max(after + 1, last) if isinstance(last, int) else after + 1
            if is_readable and len(rows) < CHUNK:
                return
            if not is_readable:
                start = self._readable_from(number, after)
                self.damage.append(Damage(room, after + 1, start - 1 if start < END else END))
                after = start - 1
                if start >= END:
                    return

    def _rows(self, number: int, after: int) -> tuple[list[Fields], bool]:
        """The next messages after a seq, as far as they can be read; whether that is all of those asked for."""
        sql = "SELECT seq, sent, sender, type, body, crc FROM messages WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?"
        rows: list[Fields] = []
        try:
            for fields in self._connection.execute(sql, (number, after, CHUNK)):
                rows.append(fields)  # noqa: PERF402  # those before an error are wanted
        except sqlite3.Error:
            return rows, False
        return rows, True

    def _readable_from(self, number: int, after: int) -> int:
        """The first seq after one from which on something can be read again; `END` for none."""
        bad, step = after + 1, 1
        while not self._is_readable(number, bad + step):
            bad, step = bad + step, step * 2
            if bad >= END:
                return END
        good = bad + step
        while good - bad > 1:
            middle = (good + bad) // 2
            if self._is_readable(number, middle):
                good = middle
            else:
                bad = middle
        sql = "SELECT seq FROM messages WHERE room = ? AND seq >= ? ORDER BY seq LIMIT 1"
        row = self._connection.execute(sql, (number, good)).fetchone()
        return int(row[0]) if row is not None else END

    def _is_readable(self, number: int, seq: int) -> bool:
        sql = "SELECT seq FROM messages WHERE room = ? AND seq >= ? ORDER BY seq LIMIT 1"
        try:
            self._connection.execute(sql, (number, min(seq, END))).fetchone()
        except sqlite3.Error:
            return False
        return True


def both_ways(connection: sqlite3.Connection, select: str, order: str) -> list[Fields]:
    """The rows of a table from either end, up to what cannot be read in between."""
    backwards = ", ".join(f"{column} DESC" for column in order.split(", "))
    found: dict[Fields, None] = {}
    for ordering in (order, backwards):
        try:
            for fields in connection.execute(f"{select} ORDER BY {ordering}"):
                found[fields] = None
        except sqlite3.Error:
            continue
        break
    return list(found)


def save(path: Path, target: Path) -> Saved:
    """Write all that can be read of a database to a new file; a server may be running on the database.

    Raises:
        ConfigError: nothing can be read, or the file cannot be written.
    """
    with new_file(target) as partial, saying_what_failed(target):
        # Read at leisure, and brought forward if it is of an earlier version.
        raw = partial.with_name(f"{partial.name}-raw")
        with new_file(raw) as copy:
            journal = copy_moment(path, copy)
        try:
            with (
                contextlib.closing(sqlite3.connect(raw, isolation_level=None)) as source,
                contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as written,
            ):
                for connection in (source, written):
                    connection.execute("PRAGMA synchronous = OFF")
                    connection.execute("PRAGMA journal_mode = DELETE")
                    connection.execute("PRAGMA journal_mode = MEMORY")
                    migrate(connection, raw)
                adopt_older(source)
                return write_all(source, written, journal)
        finally:
            remove(raw)


def every_batch(journal: list[JournalData]) -> Iterator[JournalBatch]:
    """The batches of a journal that can be read."""
    for each in journal:
        for payload in every_record(each.data):
            with contextlib.suppress(msgspec.DecodeError):
                yield decode_batch(payload)


def every_record(data: bytes) -> Iterator[bytes]:
    """The payloads of all good records of a file of the journal."""
    start = FILE_HEAD.size
    mark = mark_of(data)
    if mark is None:  # the first record has the same
        mark = int.from_bytes(data[start : start + 4], "little")
    sought = mark.to_bytes(4, "little")
    while (start := data.find(sought, start)) >= 0:
        stop = start + 1
        for payload, end in records_from(data, start, mark):
            yield payload
            stop = end
        start = stop


def write_all(source: sqlite3.Connection, target: sqlite3.Connection, journal: list[JournalData]) -> Saved:
    survey = Survey(source)
    file = LogFile(target)
    rooms = survey.rooms()
    with transaction(target):
        for table, order in TABLES.items():
            copy_table(source, target, table, order)
        many = target.executemany
        names: set[str] = set()
        for number, (name, first) in rooms.items():
            many(
                "INSERT INTO rooms (id, name, first) VALUES (?, ?, ?)",
                [(number, name if name not in names else f"saved {number}", first)],
            )
            names.add(name)
        sent = both_ways(source, "SELECT sent, id FROM rooms", "id")
        many("UPDATE rooms SET sent = ? WHERE id = ?", [fields for fields in sent if isinstance(fields[0], int)])
        for number, (name, first) in rooms.items():
            for rows in survey.messages(number, name, first):
                file.insert_rows(rows)
        for batch in every_batch(journal):
            file.insert_rooms(batch.rooms)
            many("INSERT OR IGNORE INTO ends VALUES (?, ?, ?)", batch.ends)
            many("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", batch.keys)
            file.replace_rows([row for row in batch.rows if row.seq >= rooms.get(row.room, ("", 1))[1]])
            file.amend_rows(batch.amends)
        folded = journal[-1].number if journal else folded_of(source)
        file.put_fact("folded", str(folded))
        write_facts(target)
    (messages,) = target.execute("SELECT count(*) FROM messages").fetchone()
    (accounts,) = target.execute("SELECT count(*) FROM accounts").fetchone()
    return Saved(messages, accounts, survey.damage)


def folded_of(source: sqlite3.Connection) -> int:
    try:
        return LogFile(source).folded
    except (sqlite3.Error, ValueError):
        return 0


def copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, order: str) -> None:
    """Copy the rows of a table that can be read and kept."""
    rows = both_ways(source, f"SELECT * FROM {table}", order)  # noqa: S608  # ours
    if rows and table == "generations":
        target.execute("DELETE FROM generations")
    for fields in rows:
        marks = ", ".join("?" * len(fields))
        with contextlib.suppress(sqlite3.IntegrityError):
            target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", fields)  # noqa: S608  # ours
