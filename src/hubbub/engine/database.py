"""A database file as the loop uses it: a thread that writes, a thread that reads, a connection for each."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hubbub.engine.schema import connect_file, transaction
from hubbub.engine.worker import Worker
from hubbub.errors import EngineError, NotKept, NotKnown

__all__ = ["Database", "failure"]

T = TypeVar("T")

# After a failed write, whether another one would succeed is looked at this often.
PROBE_S = 2.0
PROBE_BYTES = 1 << 16


class Database:
    """One file, open.

    Args:
        path: the file; made when there is none.
        durability: `full` for an fsync with each transaction, `normal` for none.

    Attributes:
        is_up: whether the last write succeeded.
        writing: the connection of the writer's thread.
        reading: the connection of the reader's thread.
    """

    writing: sqlite3.Connection
    reading: sqlite3.Connection

    def __init__(self, path: Path, durability: str) -> None:
        self._path = path
        self._durability = durability
        self.is_up = True
        self.writer = Worker("sqlite-write")
        self.reader = Worker("sqlite-read")
        self._probing: asyncio.Task[None] | None = None

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

    async def close(self) -> None:
        """Wait for what was asked for, and close the file."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
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
        try:
            result = await self.writer.do(work, *args)
        except sqlite3.Error as error:
            self.note_failure()
            raise failure(error) from error
        self.is_up = True
        return result

    async def read(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` in the reader's thread.

        Raises:
            EngineError: the file cannot be read.
        """
        try:
            return await self.reader.do(work, *args)
        except sqlite3.Error as error:
            raise EngineError(str(error)) from error

    def note_failure(self) -> None:
        """A write has failed: the database is down until one succeeds, and somebody has to try."""
        self.is_up = False
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        # A server that is not ready may be sent nothing to write, so waiting for the next write is not enough.
        while not self.is_up:
            await asyncio.sleep(PROBE_S)
            with contextlib.suppress(EngineError):
                await self.write(probe, self.writing)


def probe(connection: sqlite3.Connection) -> None:
    """Write some pages, and take them back."""
    with transaction(connection):
        insert = "INSERT INTO journal (batch) VALUES (zeroblob(?))"
        row = connection.execute(insert, (PROBE_BYTES,)).lastrowid
        connection.execute("DELETE FROM journal WHERE id = ?", (row,))


def failure(error: sqlite3.Error) -> EngineError:
    """What a failed write means for what was to be kept.

    SQLite takes back a transaction that fails.  After an error of the disk the whole of it may nevertheless be in the
    write-ahead log, where the last sync failed, for instance: the next write overwrites it, but after a crash before
    that, opening the file finds it.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    is_of_disk = code & 0xFF == sqlite3.SQLITE_IOERR
    return NotKnown(str(error)) if is_of_disk else NotKept(str(error))
