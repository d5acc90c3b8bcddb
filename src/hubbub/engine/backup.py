"""Copies of a database: one file that holds one moment of it, whether a server is running on it or not.

The database and its journal change while they are copied.  The copy is of a snapshot of the database, which knows the
last file of the journal that it has all of; the later ones are opened, and if nothing more was folded up to then, none
of them is missing.  A file is read before those that precede it: what is in it then was written after all that they
have, so what is read of them is whole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from hubbub.engine.batch import JournalBatch, decode_batch
from hubbub.engine.disk import sync
from hubbub.engine.index import remove_index
from hubbub.engine.journal import journal_files, records_of
from hubbub.engine.lock import Lock
from hubbub.engine.logfile import LogFile
from hubbub.engine.older import adopt_older
from hubbub.engine.schema import advice, create_file, migrate, open_to_read
from hubbub.errors import ConfigError

__all__ = [
    "JournalData",
    "back_up",
    "copy_moment",
    "new_file",
    "remove",
    "restore",
    "saying_what_failed",
    "write_facts",
]

# A fold ends between two looks a few times in a second at most, and the looks are milliseconds apart.
MOST_TRIES = 100

# Pages to a step of a copy.  After each, the disk is left to others for as long as the step took.
STEP_PAGES = 256
MOST_PAUSE_S = 0.1

# While a snapshot is copied, SQLite's write-ahead log grows by all that the server writes.
MOST_WAL_GROWTH = 1 << 30

SIDE_FILES = ("-wal", "-shm", "-journal")


class JournalData(NamedTuple):
    """A file of the journal, as it was when it was read."""

    number: int
    name: str
    data: bytes


def back_up(path: Path, target: Path) -> None:
    """Write all that a database has to a new file; a server may be running on the database.

    Nothing that was acknowledged before the call is missing.  Sessions are left out.

    Args:
        path: the database.
        target: a file that is not there yet.

    Raises:
        ConfigError: it cannot be done, and `target` is not there.
    """
    with new_file(target) as copy, saying_what_failed(target):
        journal = copy_moment(path, copy)
        finish(copy, path, journal)


def restore(path: Path, source: Path) -> Path | None:
    """Put a copy of a database in the place of the one that is there, which is kept under another name.

    The log goes on as another generation, and all sessions end.

    Args:
        path: the database; no server is running on it.
        source: a backup, or any other database; only read.

    Returns:
        Where the database is that was there; None for none.

    Raises:
        ConfigError: it cannot be done, and nothing was changed.
    """
    with contextlib.closing(open_to_read(source)):
        pass  # before anything is made
    if source.resolve() == path:
        raise ConfigError(f"{source} is the database itself; name a backup of it")
    lock = Lock(path)
    try:
        if path.exists():
            lock.lock_database()
        staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.restoring")
        aside = path.with_name(f"{path.name}.before-restore.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        with new_file(staged) as copy, saying_what_failed(path):
            journal = copy_moment(source, copy)
            finish(copy, source, journal)
            check_whole(copy, source)
        try:
            return exchange(path, staged, aside)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; look for it and its journal at {aside}") from None
        finally:
            staged.unlink(missing_ok=True)
    finally:
        lock.release()


# Copying


def copy_moment(path: Path, copy: Path) -> list[JournalData]:
    """Copy a database as it is at one moment.

    Args:
        copy: a file that is there, and empty.

    Returns:
        What its journal has that the copy may not have, in the order of the files' numbers.

    Raises:
        ConfigError: there is no such database, or its journal changes all the time.
    """
    for _ in range(MOST_TRIES):
        with contextlib.closing(open_to_read(path)) as source:
            source.execute("BEGIN")
            folded = LogFile(source).folded
            with contextlib.ExitStack() as opened:
                files = open_files(path, folded, opened)
                if files is None or folded_now(path) != folded:
                    continue
                journal = [
                    JournalData(number, name, os.pread(file, os.fstat(file).st_size, 0))
                    for number, name, file in files[::-1]
                ]
            copy_pages(source, copy, CopyPace(path))
            return journal[::-1]
    raise ConfigError(f"{path}: its journal was folded each time that it was read; try again")


def open_files(path: Path, folded: int, opened: contextlib.ExitStack) -> list[tuple[int, str, int]] | None:
    """Descriptors of the journal's files after one, with their numbers and names; None where one has gone meanwhile."""
    files = []
    for number, file in journal_files(path):
        if number <= folded:
            continue
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        opened.callback(os.close, descriptor)
        files.append((number, file.name, descriptor))
    return files


def folded_now(path: Path) -> int:
    with contextlib.closing(open_to_read(path)) as connection:
        return LogFile(connection).folded


class CopyPace:
    """Keeps a copy from being in the way: pauses between its steps, and a bound to the write-ahead log.

    Args:
        path: the database that is copied.
    """

    def __init__(self, path: Path) -> None:
        self._wal = path.with_name(f"{path.name}-wal")
        self._most = self._size() + MOST_WAL_GROWTH
        self._began = time.monotonic()

    def __call__(self, _status: int, _remaining: int, _total: int) -> None:
        if self._size() > self._most:
            raise ConfigError(f"{self._wal} grows too large meanwhile; copy to a quicker disk, or when less is said")
        time.sleep(min(time.monotonic() - self._began, MOST_PAUSE_S))  # a server has the disk half of the time
        self._began = time.monotonic()

    def _size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0


def copy_pages(source: sqlite3.Connection, copy: Path, pace: CopyPace) -> None:
    """Copy the pages of a snapshot."""
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = OFF")  # it is synced when it is whole
        target.execute("PRAGMA journal_mode = OFF")
        source.backup(target, pages=STEP_PAGES, progress=pace)


# Finishing


def finish(copy: Path, path: Path, journal: list[JournalData]) -> None:
    """Fold a journal into a copy, and make it a file that stands for itself.

    Args:
        path: what it is a copy of.

    Raises:
        ConfigError: the database or the journal is damaged.
    """
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA secure_delete = ON")  # what its journal has amended is not to be found in it
        connection.execute("PRAGMA journal_mode = DELETE")  # so that no other file belongs to it
        connection.execute("PRAGMA journal_mode = MEMORY")
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise ConfigError(f"{path} is damaged: {' '.join(damage.split())}; {WHAT_TO_DO}")
        migrate(connection, copy)
        file = LogFile(connection)
        adopt_older(connection)
        last = journal[-1].number if journal else file.folded
        numbers = [each.number for each in journal]
        if numbers != list(range(file.folded + 1, last + 1)):
            raise ConfigError(f"{path}: a file of its journal is missing before {journal[0].name}; {WHAT_TO_DO}")
        if not file.recover(batches_of(journal), last):
            raise ConfigError(f"{path}: its journal has a gap; {WHAT_TO_DO}")
        write_facts(connection)


WHAT_TO_DO = "`hubbub doctor` says what can be saved"


def batches_of(journal: list[JournalData]) -> Iterator[JournalBatch]:
    for each in journal:
        records = records_of(each.data)
        if records.is_damaged or not records.is_cut:
            raise ConfigError(f"{each.name} is damaged at byte {records.end}; {WHAT_TO_DO}")
        for payload in records.payloads:
            try:
                yield decode_batch(payload)
            except msgspec.DecodeError as error:
                raise ConfigError(f"{each.name} is damaged: {error}; {WHAT_TO_DO}") from None


def write_facts(connection: sqlite3.Connection) -> None:
    """Make a copy one that no server has used: the next one begins another generation, and all have to log in anew.

    Invitation links and keys of other programs end, too: what was used up or revoked since the copy was made would be
    good again.
    """
    # A token of no server: the file is none that a server left, wherever it is put and whatever is beside it.
    LogFile(connection).put_fact("token", secrets.token_hex(8))
    connection.execute("DELETE FROM sessions")
    connection.execute("DELETE FROM links")
    connection.execute("DELETE FROM api_keys")


def check_whole(copy: Path, source: Path) -> None:
    """Refuse what SQLite finds damaged in any way."""
    with contextlib.closing(open_to_read(copy)) as connection:
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if damage != "ok":
        raise ConfigError(f"{source} is damaged: {' '.join(damage.split())}; {WHAT_TO_DO}")


# Files


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A file to be written, which gets its name when it is whole and on the disk, or is removed.

    Raises:
        ConfigError: there is a file of that name, or there can be none.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        if os.path.lexists(target):
            raise ConfigError(f"{target} is there already; name a new file")
        create_file(partial)
        yield partial
        sync(partial)
        try:
            os.link(partial, target)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise ConfigError(f"{target} is there already; name a new file") from None
        except OSError:  # a filesystem without links
            partial.rename(target)
        partial.unlink(missing_ok=True)
        sync(target.parent)
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}; {advice(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            remove(partial)


def remove(path: Path) -> None:
    """Remove a database that nobody needs, with what SQLite puts beside it."""
    for ending in ("", *SIDE_FILES):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)


@contextlib.contextmanager
def saying_what_failed(target: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise ConfigError(f"the database is damaged: {error}; {WHAT_TO_DO}") from None
        raise ConfigError(f"{target}: {error}; {advice(error)}") from None


def exchange(path: Path, staged: Path, aside: Path) -> Path | None:
    """Give a file the name of a database, and the database with all that belongs to it another one.

    A write-ahead log or a journal of the old database must never be found beside the new one, so they go first.
    """
    is_there = path.exists()
    belonging = [path.with_name(f"{path.name}{ending}") for ending in SIDE_FILES]
    belonging += [file for _, file in journal_files(path)]
    give_to_owner(staged, path if is_there else path.parent)
    if is_there:
        try:
            os.link(path, aside)
        except OSError:  # a filesystem without links
            path.rename(aside)
    remove_index(path)  # the next server makes one of what the new database has
    for file in belonging:
        with contextlib.suppress(FileNotFoundError):
            file.rename(file.with_name(aside.name + file.name.removeprefix(path.name)))
    sync(path.parent)
    staged.replace(path)
    give_to_owner(path.with_name(f"{path.name}.lock"), path)
    sync(path.parent)
    return aside if is_there else None


def give_to_owner(path: Path, like: Path) -> None:
    """Let a file that root has made belong to whom another one belongs to: the server need not be root."""
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)
