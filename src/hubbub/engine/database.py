"""A database file as the loop uses it: a thread that writes, a thread that reads, a connection for each."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from hubbub.engine.health import Health
from hubbub.engine.schema import connect_file, transaction
from hubbub.engine.worker import Worker
from hubbub.errors import EngineError, NotKept, NotKnown

__all__ = ["DAMAGED", "PROBE_BYTES", "Database", "failure_code"]

log = structlog.get_logger("hubbub.engine")

T = TypeVar("T")

# What SQLite says of a damaged file.
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# Written to find out whether a write would succeed.
PROBE_BYTES = 1 << 16


class Database:
    """One file, open.

    Args:
        path: the file; made when there is none.
        durability: `full` for an fsync with each transaction, `normal` for none.

    Attributes:
        health: whether the last write succeeded.
        lost: why nothing can be kept, because the file is not there any more; empty while it is.
        writing: the connection of the writer's thread.
        reading: the connection of the reader's thread.
    """

    writing: sqlite3.Connection
    reading: sqlite3.Connection

    def __init__(self, path: Path, durability: str) -> None:
        self._path = path
        self._durability = durability
        self._is_damage_told = False
        self._beside: dict[Path, tuple[int, int]] = {}
        self.lost = ""
        self.health = Health(self._probe)
        self.writer = Worker("sqlite-write")
        self.reader = Worker("sqlite-read")

    def open(self) -> None:
        """Open the file.

        Raises:
            ConfigError: it cannot be opened or written, is no database, or is newer than this program.
        """
        with contextlib.ExitStack() as undo:
            self.writing = undo.enter_context(contextlib.closing(connect_file(self._path, durability=self._durability)))
            self.reading = undo.enter_context(contextlib.closing(connect_file(self._path)))
            self.reading.execute("PRAGMA query_only = ON")
            undo.pop_all()

    def note_beside(self) -> None:
        """Note the files that SQLite has beside the database: they stay the same as long as it is open."""
        for ending in ("-wal", "-shm"):
            path = self._path.with_name(f"{self._path.name}{ending}")
            self._beside[path] = identity(path)

    @property
    def is_complete(self) -> bool:
        """Whether those are still there.  Another process would not see what is in them, and would damage the file."""
        try:
            return all(identity(path) == noted for path, noted in self._beside.items())
        except OSError:
            return False

    async def close(self) -> None:
        """Wait for what was asked for, and close the file."""
        await self.health.close()
        for worker in (self.writer, self.reader):
            await asyncio.to_thread(worker.close)
        for connection in (self.reading, self.writing):
            connection.close()

    async def write(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` in the writer's thread.

        Raises:
            NotKept: it has changed nothing.
            NotKnown: it has changed nothing; but after a crash all of the change may be found in the file.
        """
        if self.lost:
            raise NotKept(self.lost)
        try:
            result = await self.writer.do(work, *args)
        except sqlite3.Error as error:
            self.health.note_failure()
            raise failure(error) from error
        self.health.is_up = True
        return result

    async def read(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` in the reader's thread.

        Raises:
            EngineError: the file cannot be read.
        """
        try:
            return await self.reader.do(work, *args)
        except sqlite3.Error as error:
            if failure_code(error) in DAMAGED and not self._is_damage_told:
                self._is_damage_told = True
                log.error(  # noqa: TRY400  # expected; no traceback
                    "the file is damaged, and some of it cannot be read", error=str(error), see="hubbub doctor"
                )
            raise EngineError(str(error)) from error

    async def _probe(self) -> None:
        await self.write(probe, self.writing)


def identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def probe(connection: sqlite3.Connection) -> None:
    """Write some pages, and take them back."""
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('probe', hex(zeroblob(?)))", (PROBE_BYTES // 2,))
        connection.execute("DELETE FROM facts WHERE name = 'probe'")


def failure(error: sqlite3.Error) -> EngineError:
    """What a failed write means for what was to be kept.

    SQLite takes back a transaction that fails.  After an error of the disk the whole of it may nevertheless be in the
    write-ahead log, where the last sync failed, for instance: the next write overwrites it, but after a crash before
    that, opening the file finds it.
    """
    is_of_disk = failure_code(error) == sqlite3.SQLITE_IOERR
    return NotKnown(str(error)) if is_of_disk else NotKept(str(error))


def failure_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
