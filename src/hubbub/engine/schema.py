"""The SQLite file itself: opened and migrated."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from hubbub.errors import ConfigError

__all__ = [
    "BUSY_S",
    "FIRST_GENERATION",
    "MIGRATIONS",
    "advice",
    "connect_file",
    "create_file",
    "is_outdated",
    "migrate",
    "open_to_read",
    "snapshot",
    "transaction",
]

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
    # The next server takes over what was in the table `journal`, and in `messages.key`; neither is used any more.
    """
    CREATE TABLE generations (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE);
    INSERT INTO generations SELECT 1, value FROM facts WHERE name = 'epoch';
    CREATE TABLE ends (
        room INTEGER NOT NULL, generation INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (room, generation)
    ) WITHOUT ROWID;
    CREATE TABLE keys (
        at INTEGER NOT NULL, room INTEGER NOT NULL, seq INTEGER NOT NULL, sent INTEGER NOT NULL,
        sender TEXT, key TEXT NOT NULL, digest INTEGER, PRIMARY KEY (at, room, seq)
    ) WITHOUT ROWID;
    ALTER TABLE messages ADD COLUMN crc INTEGER;
    ALTER TABLE rooms ADD COLUMN sent INTEGER NOT NULL DEFAULT 0
    """,
    """
    ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
    ALTER TABLE accounts ADD COLUMN is_blocked INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE invitations (room TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (room, user)) WITHOUT ROWID;
    CREATE TABLE closed_rooms (room TEXT PRIMARY KEY, is_doomed INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO facts VALUES ('access', '0');
    """,
    # The next server gives its rooms the names that they go by.
    "CREATE TABLE titles (room TEXT PRIMARY KEY, title TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE follows (
        user TEXT NOT NULL, room TEXT NOT NULL, is_muted INTEGER NOT NULL, PRIMARY KEY (user, room)
    ) WITHOUT ROWID;
    CREATE INDEX follows_by_room ON follows (room, user)
    """,
    # What the names of accounts look like is worked out as in `looks.key_of_user`.
    """
    ALTER TABLE accounts ADD COLUMN name TEXT NOT NULL DEFAULT '';
    ALTER TABLE accounts ADD COLUMN since INTEGER;
    CREATE TABLE looks (key TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (key, user)) WITHOUT ROWID;
    INSERT INTO looks SELECT replace(replace(replace(user, '0', 'o'), '1', 'l'), 'm', 'rn'), user FROM accounts;
    CREATE INDEX looks_by_user ON looks (user);
    CREATE TABLE links (
        secret TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, maker TEXT NOT NULL, role TEXT NOT NULL,
        uses INTEGER NOT NULL, ends REAL NOT NULL, note TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "ALTER TABLE sessions ADD COLUMN terms BLOB NOT NULL DEFAULT x''",
    "CREATE TABLE api_keys (secret TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE shown (user TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
]

FIRST_GENERATION = 1

# The first bytes of a WAL that is kept for the next transactions; a larger one is cut off.
MOST_IDLE_WAL_BYTES = 4 << 20

BUSY_S = 5.0


def connect_file(path: Path, *, durability: str = "normal") -> sqlite3.Connection:
    """Open a database file, made and migrated as needed.

    Raises:
        ConfigError: it cannot be opened or written, is no database, or is newer than this program.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_file(path)
        with contextlib.ExitStack() as undo:
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            undo.callback(connection.close)
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only forgotten
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {MOST_IDLE_WAL_BYTES}")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            migrate(connection, path)
            undo.pop_all()
    except OSError as error:
        raise ConfigError(f"--engine sqlite:///{path}: {error.strerror}; {advice(error)}") from None
    except sqlite3.Error as error:
        raise ConfigError(f"--engine sqlite:///{path}: {error}; {advice(error)}") from None
    return connection


def advice(error: OSError | sqlite3.Error) -> str:
    """What mends a file that cannot be used."""
    if isinstance(error, OSError):
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "make room on its disk" if is_full else "name a file in a folder of yours"
    return ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "name a file that can be written")


ADVICE = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "make room on its disk, or look whether it works",
    sqlite3.SQLITE_BUSY: "another program has it locked, and has to end first",
    sqlite3.SQLITE_CORRUPT: "`hubbub doctor` says what can be saved",
    sqlite3.SQLITE_NOTADB: "name a database of Hubbub's, or restore a backup of it",
    sqlite3.SQLITE_CANTOPEN: "name a file in a folder of yours",
}


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database file of this program's schema or an earlier one, and change nothing in it.

    Raises:
        ConfigError: it is not there, cannot be read, is no database of Hubbub's, or is newer than this program.
    """
    try:
        check_readable(path)
        with contextlib.ExitStack() as undo:
            # One that may not write could not remove what SQLite puts beside a file that is open; where nothing is
            # beside it, nothing has to be.
            mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
            if mode == "ro" and not path.with_name(f"{path.name}-wal").exists():
                mode = "ro&immutable=1"
            name = f"file:{urllib.parse.quote(str(path))}?mode={mode}"
            connection = sqlite3.connect(name, uri=True, timeout=BUSY_S, isolation_level=None)
            undo.callback(connection.close)
            connection.execute("PRAGMA query_only = ON")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('facts', 'rooms', 'messages', 'accounts')"
            if not version or connection.execute(tables).fetchone() != (4,):
                raise ConfigError(f"{path} is no database of Hubbub's; name one that `hubbub serve` has made")
            check_version(version, str(path))
            undo.pop_all()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a database that you may read") from None
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read: {error}; {advice(error)}") from None
    return connection


def check_readable(path: Path) -> None:
    """Raise what the operating system says of a file that cannot be read; SQLite says less.

    The file is not opened: see `create_file`.
    """
    if stat.S_ISDIR(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def create_file(path: Path) -> None:
    """Make the file where there is none, readable by its owner alone: password hashes are in it.

    SQLite gives its other files the mode of this one.  A file that is there must not be opened here: closing it would
    drop the locks that SQLite holds on it in this process, and another process would take the log for abandoned.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def is_outdated(path: Path) -> bool:
    """Whether a file has an earlier schema than this program's, or is not there; False for what is no database."""
    if not os.path.exists(path):  # noqa: PTH110  # unlike Path.exists, it raises nothing where nobody may look
        return True
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        return False  # whoever opens it says what it is
    return bool(version < len(MIGRATIONS))


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file forward to this program's schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    check_version(version, f"--engine sqlite:///{path}")
    if version == len(MIGRATIONS):
        return
    with transaction(connection):
        # Asked again: another process may have migrated the file in the meantime.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number in range(version, len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO generations VALUES (?, ?)", (FIRST_GENERATION, secrets.token_hex(8)))
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def check_version(version: int, name: str) -> None:
    """Refuse a file that is newer than this program."""
    if version > len(MIGRATIONS):
        raise ConfigError(f"{name} has schema {version}, and this Hubbub knows {len(MIGRATIONS)}; update Hubbub")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of it or nothing.

    Args:
        begin: the statement that begins it; `BEGIN` locks no database before it is written.
    """
    connection.execute(begin)
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
