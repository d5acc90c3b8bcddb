"""The SQLite file itself: opened, migrated, locked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hubbub.errors import ConfigError

__all__ = ["connect_file", "lock_file", "snapshot", "transaction"]

# Each script brings a file from the version of its place in this list to the next.
MIGRATIONS = [
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE messages (
        room INTEGER NOT NULL, seq INTEGER NOT NULL, sent INTEGER NOT NULL,
        sender TEXT, type TEXT NOT NULL, body BLOB NOT NULL, key TEXT,
        PRIMARY KEY (room, seq)
    ) WITHOUT ROWID;
    CREATE TABLE accounts (user TEXT PRIMARY KEY, password_hash TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE sessions (session TEXT PRIMARY KEY, user TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
    """,
    "CREATE TABLE journal (id INTEGER PRIMARY KEY, batch BLOB NOT NULL)",
    """
    CREATE TABLE marks (
        user TEXT NOT NULL, room TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (user, room)
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_user ON sessions (user);
    CREATE INDEX sessions_by_expiry ON sessions (expires);
    """,
]

BUSY_S = 5.0


def connect_file(path: Path, *, durability: str = "normal") -> sqlite3.Connection:
    """Open a database file, made and migrated as needed.

    Raises:
        ConfigError: it cannot be opened or written, is no database, or is newer than this program.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_file(path)
        with contextlib.ExitStack() as undo:
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            undo.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            migrate(connection, path)
            undo.pop_all()
    except OSError as error:
        raise ConfigError(f"--engine sqlite:///{path}: {error.strerror}; name a file in a folder of yours") from None
    except sqlite3.Error as error:
        raise ConfigError(f"--engine sqlite:///{path}: {error}; name a file that can be written") from None
    return connection


def create_file(path: Path) -> None:
    """Make the file where there is none, readable by its owner alone: password hashes are in it.

    SQLite gives its other files the mode of this one.  A file that is there must not be opened here: closing it would
    drop the locks that SQLite holds on it in this process, and another process would take the log for abandoned.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file forward to this program's schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"--engine sqlite:///{path} has schema {version}, and this Hubbub knows {len(MIGRATIONS)}; update Hubbub"
        )
    if version == len(MIGRATIONS):
        return
    with transaction(connection):
        # Asked again: another process may have migrated the file in the meantime.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number in range(version, len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO facts VALUES ('epoch', ?)", (secrets.token_hex(8),))
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Several reads of one moment: another's commit in between is not seen."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def lock_file(path: Path) -> IO[str]:
    """Make this the one server on a database file; its lock goes with the process, however that ends.

    Raises:
        ConfigError: another server has it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("a+")
    except OSError as error:
        raise ConfigError(f"--engine sqlite:///{path}: {error.strerror}; name a file in a folder of yours") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise ConfigError(
            f"--engine sqlite:///{path}: the server with process id {owner} has this file; one server to a file"
        ) from None
    # For people to read, and not worth failing for: a full disk is found by whoever opens the database.
    with contextlib.suppress(OSError):
        os.truncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock
