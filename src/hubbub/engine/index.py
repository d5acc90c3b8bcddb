"""The index of words, in a file of its own beside the database.  Everything here waits for the file: it is for threads.

All that it has comes from the database, so it is in no backup: where it is not there, is damaged, or is of another
generation of the log, it is made again.

FTS5 keeps the words of a deleted row until its segments are merged, in SQLite before 3.42 at any rate.  So the index is
in *slices*, a table of FTS5 for some ten thousand messages each.  Where a text was deleted or changed, its slice is
made again from what the log has now, and the old one dropped: `secure_delete` overwrites its pages with zeros.  Slices
also bound how long a statement takes.

Rows are named by room and seq (`ROOM_BITS`).  Reading and writing are single statements over many messages: SQLite lets
go of Python's interpreter lock for each, and waits for it after each.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hubbub.engine.scanning import SEARCHED
from hubbub.engine.schema import BUSY_S, create_file, transaction
from hubbub.events import encode

__all__ = [
    "SEQ_BITS",
    "SEQ_MASK",
    "SLICE",
    "Backlog",
    "Index",
    "changing",
    "connect",
    "index_files",
    "index_path",
    "remove_index",
]

# Messages in a slice.
SLICE = 32_768

# A row of FTS5 has one number: the room's in the file, and the seq in so many bits.
SEQ_BITS = 36
SEQ_MASK = (1 << SEQ_BITS) - 1

# Events that change what an earlier one has said; their payload names it by its seq.
CHANGING = ("message_edited", "message_deleted")

VERSION = "1"
TABLES = """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE slices (
        id INTEGER PRIMARY KEY, count INTEGER NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
        is_open INTEGER NOT NULL
    );
    CREATE TABLE places (room INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
    CREATE TABLE parts (
        slice INTEGER NOT NULL, room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (slice, room)
    ) WITHOUT ROWID;
    CREATE INDEX parts_by_room ON parts (room, last);
    CREATE TABLE changed (room INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (room, seq)) WITHOUT ROWID;
"""

# The text of a message `m` of the log; null for what has none.
TEXT = "CASE WHEN json_valid(CAST(m.body AS TEXT)) THEN json_extract(CAST(m.body AS TEXT), '$.message') END"

# Not before a room's `first`: nobody reads that.
ROWS = f"""
    SELECT m.room << {SEQ_BITS} | m.seq, {TEXT} FROM {{ranges}} p
    CROSS JOIN log.messages m ON m.room = p.room AND m.seq BETWEEN p.first AND p.last
    WHERE m.type = '{SEARCHED}' AND m.seq >= (SELECT first FROM log.rooms WHERE id = m.room)
    ORDER BY m.room, m.seq
"""  # noqa: S608  # ours


def index_path(database: Path) -> Path:
    """Where the index of a database is."""
    return database.with_name(f"{database.name}.search")


def index_files(database: Path) -> list[Path]:
    """The files of an index, whether they are there or not."""
    path = index_path(database)
    return [path, *(path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm", "-journal"))]


def remove_index(database: Path) -> None:
    """Remove the index of a database; the next server makes another."""
    for file in index_files(database):
        file.unlink(missing_ok=True)


def connect(database: Path) -> sqlite3.Connection:
    """Open an index, with its database beside it as `log`, which is only read.

    A database that was moved away is not made anew: SQLite would drop the write-ahead log that it finds beside it.
    """
    with contextlib.ExitStack() as undo:
        path = index_path(database)
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        undo.callback(connection.close)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("ATTACH ? AS log", (f"{database.absolute().as_uri()}?mode=rw",))
        connection.execute("CREATE TEMP TABLE ranges (room INTEGER PRIMARY KEY, first INTEGER, last INTEGER)")
        connection.execute("CREATE TEMP TABLE wanted (room INTEGER PRIMARY KEY, name TEXT, stop INTEGER)")
        undo.pop_all()
    return connection


def changing(connection: sqlite3.Connection) -> AbstractContextManager[None]:
    """Change the index: all of it or nothing.

    Not BEGIN IMMEDIATE, which would lock the database beside it, too, and hold up the log.
    Nobody else writes the index.
    """
    return transaction(connection, "BEGIN")


class Backlog(NamedTuple):
    """What is to be indexed of a room: about how many messages, and when the first and the last of them were sent."""

    room: int
    left: int
    oldest: int
    newest: int


class Index:
    """The index, as its writer's thread sees it.

    Each method raises `sqlite3.Error` where the index, or the database, cannot be used.

    Args:
        database: the file that has the log; there, and migrated.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._connection: sqlite3.Connection
        self._opened: list[sqlite3.Connection] = []

    def open(self, epoch: str) -> None:
        """Open the index of the log that goes by an epoch; one of another log is removed, and so is a damaged one."""
        with contextlib.suppress(sqlite3.DatabaseError):
            self._connect()
            if self._is_of(epoch):
                return
        self.close()
        remove_index(self._database)
        self._connect()
        with changing(self._connection):
            for statement in TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.executemany("INSERT INTO facts VALUES (?, ?)", [("version", VERSION), ("epoch", epoch)])
            self._add_slice()

    def _is_of(self, epoch: str) -> bool:
        try:
            facts = dict(self._connection.execute("SELECT name, value FROM main.facts"))
        except sqlite3.DatabaseError:  # it has no tables yet, or is damaged
            return False
        return facts == {"version": VERSION, "epoch": epoch}

    def _connect(self) -> None:
        create_file(index_path(self._database))
        self._connection = connect(self._database)
        self._opened.append(self._connection)

    def close(self) -> None:
        """Close it, if it was opened."""
        while self._opened:
            self._opened.pop().close()

    # Adding

    def behind(self) -> list[Backlog]:
        """Rooms with messages in the file that are not in the index."""
        sql = """
            SELECT json_group_array(json_array(id, last - place, oldest, newest)) FROM (
                SELECT r.id, max(coalesce(p.seq, 0), r.first - 1) AS place,
                (SELECT max(seq) FROM log.messages WHERE room = r.id) AS last,
                (SELECT sent FROM log.messages WHERE room = r.id AND seq > coalesce(p.seq, 0) ORDER BY seq) AS oldest,
                (SELECT sent FROM log.messages WHERE room = r.id ORDER BY seq DESC) AS newest
                FROM log.rooms r LEFT JOIN places p ON p.room = r.id
            ) WHERE last > place AND oldest IS NOT NULL
        """
        return msgspec.convert(self._ask(sql), list[Backlog])

    def add(self, rooms: Mapping[int, int]) -> bool:
        """Index some rooms, each up to a seq of it that the file has; whether slices are outdated by what they say."""
        connection = self._connection
        with changing(connection):
            connection.execute("DELETE FROM ranges")
            connection.execute(
                """
                INSERT INTO ranges
                SELECT key, max(coalesce(p.seq + 1, 1), r.first), value FROM json_each(?)
                JOIN log.rooms r ON r.id = CAST(key AS INTEGER) LEFT JOIN places p ON p.room = r.id
                """,
                (encode(rooms).decode(),),
            )
            connection.execute(
                "INSERT INTO places SELECT room, last FROM ranges WHERE true"
                " ON CONFLICT (room) DO UPDATE SET seq = max(seq, excluded.seq)"
            )
            connection.execute("DELETE FROM ranges WHERE last < first")
            self._index_ranges()
        return connection.execute("SELECT 1 FROM changed LIMIT 1").fetchone() is not None

    def add_some(self, rooms: Sequence[int], limit: int, until: int) -> list[int]:
        """Index some messages of each of some rooms, the oldest that are not indexed; the rooms that have more.

        Args:
            limit: messages of a room.
            until: in milliseconds since 1970; what was sent then or later is left for another time.
        """
        seqs = """
            SELECT json_group_array(json_array(value, (
                SELECT max(seq) FROM (
                    SELECT seq, sent FROM log.messages WHERE room = value
                    AND seq > coalesce((SELECT seq FROM places WHERE room = value), 0) ORDER BY seq LIMIT :limit
                ) WHERE sent < :until
            ), (
                SELECT count(*) FROM (
                    SELECT seq, sent FROM log.messages WHERE room = value
                    AND seq > coalesce((SELECT seq FROM places WHERE room = value), 0) ORDER BY seq LIMIT :limit
                ) WHERE sent < :until
            ))) FROM json_each(:rooms)
        """
        found = self._ask(seqs, {"rooms": encode(rooms).decode(), "limit": limit, "until": until})
        self.add({room: last for room, last, count in found if count})
        return [room for room, _, count in found if count == limit]

    def _index_ranges(self) -> None:
        execute = self._connection.execute
        slice_ = self._open_slice()
        execute(f"INSERT INTO slice_{slice_} (rowid, text) {ROWS.format(ranges='ranges')}")
        marks = ", ".join("?" * len(CHANGING))
        execute(
            "INSERT OR IGNORE INTO changed SELECT m.room, json_extract(CAST(m.body AS TEXT), '$.of') FROM ranges p"  # noqa: S608  # marks only
            " CROSS JOIN log.messages m ON m.room = p.room AND m.seq BETWEEN p.first AND p.last"
            f" WHERE m.type IN ({marks}) AND json_valid(CAST(m.body AS TEXT))"
            " AND json_type(CAST(m.body AS TEXT), '$.of') = 'integer'",
            CHANGING,
        )
        execute(
            "INSERT INTO parts SELECT ?, room, first, last FROM ranges WHERE true"
            " ON CONFLICT (slice, room) DO UPDATE SET last = excluded.last",
            (slice_,),
        )
        execute(
            """
            UPDATE slices SET count = count + n, oldest = min(oldest, low), newest = max(newest, high) FROM (
                SELECT count(*) n, coalesce(min(sent), 1 << 62) low, coalesce(max(sent), 0) high FROM ranges p
                CROSS JOIN log.messages m ON m.room = p.room AND m.seq BETWEEN p.first AND p.last
            ) WHERE id = ?
            """,
            (slice_,),
        )

    def _open_slice(self) -> int:
        """The slice that is added to."""
        slice_, count = self._connection.execute("SELECT id, count FROM slices WHERE is_open").fetchone()
        if count < SLICE:
            return int(slice_)
        self._connection.execute(f"INSERT INTO slice_{slice_} (slice_{slice_}) VALUES ('optimize')")  # noqa: S608  # a number
        self._connection.execute("UPDATE slices SET is_open = 0")
        return self._add_slice()

    def _add_slice(self, *, is_open: bool = True) -> int:
        (slice_,) = self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM slices").fetchone()
        self._connection.execute(
            f"CREATE VIRTUAL TABLE slice_{slice_} USING fts5("
            "text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2')"
        )
        self._connection.execute("INSERT INTO slices VALUES (?, 0, 1 << 62, 0, ?)", (slice_, is_open))
        return int(slice_)

    # Removing

    def outdated(self) -> list[int]:
        """Slices with texts that were deleted, or that are others now."""
        sql = """
            SELECT json_group_array(DISTINCT p.slice) FROM changed c
            JOIN parts p ON p.room = c.room AND c.seq BETWEEN p.first AND p.last
        """
        return list(self._ask(sql))

    def trimmed(self, room: int | None = None) -> list[int]:
        """Slices with messages of a room, or of any, which the log does not keep any more."""
        sql = """
            SELECT json_group_array(DISTINCT p.slice) FROM parts p JOIN log.rooms r ON r.id = p.room
            WHERE p.first < r.first AND (:room IS NULL OR p.room = :room)
        """
        return list(self._ask(sql, {"room": room}))

    def remake(self, slice_: int) -> None:
        """Make a slice again, of what the log has now."""
        connection = self._connection
        with changing(connection):
            found = connection.execute("SELECT is_open, oldest, newest FROM slices WHERE id = ?", (slice_,)).fetchone()
            if found is None:
                return
            is_open, oldest, newest = found
            execute = connection.execute
            execute(
                "DELETE FROM changed WHERE EXISTS (SELECT 1 FROM parts p WHERE p.slice = ?"
                " AND p.room = changed.room AND changed.seq BETWEEN p.first AND p.last)",
                (slice_,),
            )
            first = "(SELECT first FROM log.rooms WHERE id = parts.room)"
            execute(f"DELETE FROM parts WHERE slice = ? AND last < {first}", (slice_,))  # noqa: S608  # ours
            execute(f"UPDATE parts SET first = max(first, {first}) WHERE slice = ?", (slice_,))  # noqa: S608  # ours
            (count,) = execute("SELECT total(last - first + 1) FROM parts WHERE slice = ?", (slice_,)).fetchone()
            if count or is_open:
                new = self._add_slice(is_open=bool(is_open))
                execute("UPDATE parts SET slice = ? WHERE slice = ?", (new, slice_))
                ranges = f"(SELECT * FROM parts WHERE slice = {new})"  # noqa: S608  # a number
                execute(f"INSERT INTO slice_{new} (rowid, text) {ROWS.format(ranges=ranges)}")
                execute(
                    "UPDATE slices SET count = ?, oldest = ?, newest = ? WHERE id = ?",
                    (int(count), oldest, newest, new),
                )
            execute("DELETE FROM slices WHERE id = ?", (slice_,))
            execute(f"DROP TABLE slice_{slice_}")

    def forget_changes(self) -> None:
        """Drop notes of changes to what the index does not have."""
        with changing(self._connection):
            self._connection.execute(
                "DELETE FROM changed WHERE NOT EXISTS (SELECT 1 FROM parts p WHERE p.room = changed.room"
                " AND changed.seq BETWEEN p.first AND p.last)"
            )

    def truncate(self) -> bool:
        """Empty the write-ahead log, which still has what was removed; whether nobody who reads was in the way."""
        (is_busy, _, _) = self._connection.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    def _ask(self, sql: str, values: Mapping[str, Any] | None = None) -> Any:
        """What a statement says that answers with one row of JSON."""
        return msgspec.json.decode(self._connection.execute(sql, values or {}).fetchone()[0])
