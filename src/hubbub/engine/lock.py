"""One server to a database file, and what the last one left behind, which tells whether the file is still its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

import msgspec

from hubbub.errors import ConfigError

__all__ = ["Lock", "ServerRun", "is_continued", "lock_path", "read_boot", "read_run"]

# How long a lock is waited for: `hubbub user` has it for a moment where it brings a file forward.
PATIENCE_S = 1.0
RETRY_S = 0.05

MOST_BYTES = 1 << 16

# A run is filled up to this with spaces, so that another one covers all of it.
RUN_BYTES = 512


class ServerRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server's time with a file, as it is kept in the lock file.

    Attributes:
        pid: the server's process id.
        token: random; the database has the same.
        boot: the machine's boot, empty where that has no name.
        device: where the database was, with `inode`.
        closed: the database's size in bytes and its time of change in ns after a clean end, None before.
    """

    pid: int
    token: str = ""
    boot: str = ""
    device: int = 0
    inode: int = 0
    closed: tuple[int, int] | None = None


class Lock:
    """The lock on a database file.  It goes with the process, however that ends.

    Two files are locked: one beside the database, which is there before it, and the database itself, which keeps its
    lock when the other is deleted.

    Args:
        path: the database.

    Attributes:
        previous: what the last server left behind, None for nothing that can be read.
        touched: which file it was left in, and when that was last changed.

    Raises:
        ConfigError: another server has it, or there can be no lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"--engine sqlite:///{path}: {error.strerror}; name a file in a folder of yours"
            ) from None
        self.previous = read_run(self._file)
        if not take(self._file):
            owner = self.previous
            os.close(self._file)
            raise refusal(path, owner)
        found = os.fstat(self._file)
        self.touched = touch_of(found)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(self._file, 0o600)  # one that an older version has made: whoever can read it could lock it

    def lock_database(self) -> None:
        """Lock the database itself, once it is there.

        Its descriptor stays open as long as the database is: closing one drops the locks that SQLite has on the file.

        Raises:
            ConfigError: another server has it.
        """
        self._database = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if not take(self._database):
            raise refusal(self._path, self.previous)

    @property
    def is_there(self) -> bool:
        """Whether the database's name still leads to the file that is locked.  Waits for the disk."""
        try:
            return self._database is not None and os.path.samestat(self._path.stat(), os.fstat(self._database))
        except OSError:
            return False

    def note_open(self, token: str) -> None:
        """Leave behind that the file is in use, and with which token."""
        assert self._database is not None
        found = os.fstat(self._database)
        write_run(self._file, ServerRun(os.getpid(), token, read_boot(), found.st_dev, found.st_ino))
        self.touched = touch_of(os.fstat(self._file))

    def note_closed(self, token: str) -> None:
        """Leave behind that the file was closed, and holds all that was ever shown of it."""
        assert self._database is not None
        found = os.fstat(self._database)
        closed = (found.st_size, found.st_ctime_ns)
        write_run(self._file, ServerRun(os.getpid(), token, read_boot(), found.st_dev, found.st_ino, closed))

    def release(self) -> None:
        if self._database is not None:
            os.close(self._database)
        os.close(self._file)


def is_continued(previous: ServerRun | None, token: str, found: os.stat_result, boot: str) -> bool:
    """Whether a database holds all that its last server showed of it.

    It does if it is the file that this server left, by its place and its token, and the server ended cleanly with
    nobody changing the file since, or was killed while the machine went on.

    Args:
        token: the one in the database.
        found: the database's file.
        boot: the machine's present boot.
    """
    if previous is None or not token or previous.token != token:
        return False
    if (previous.device, previous.inode) != (found.st_dev, found.st_ino):
        return False
    if previous.closed is not None:
        return previous.closed == (found.st_size, found.st_ctime_ns)
    return bool(boot) and previous.boot == boot


def touch_of(found: os.stat_result) -> str:
    return f"{found.st_ino} {found.st_ctime_ns}"


def read_boot() -> str:
    """The name of the machine's present boot (proc(5), random/boot_id), empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def take(descriptor: int) -> bool:
    """Lock an open file, if nobody else has it for longer than a moment.  Filesystems without locks let everyone in."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(RETRY_S)  # somebody may have it for a moment
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
            return True
        else:
            return True


def refusal(path: Path, owner: ServerRun | None) -> ConfigError:
    name = owner.pid if owner is not None else "unknown"
    return ConfigError(
        f"--engine sqlite:///{path}: the server with process id {name} has this file; one server to a file: "
        "stop that one, or name another --data-dir; processes that share their rooms need --engine redis://HOST"
    )


def read_run(descriptor: int) -> ServerRun | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, MOST_BYTES, 0), type=ServerRun)
    except (OSError, msgspec.DecodeError):
        return None


def write_run(descriptor: int, run: ServerRun) -> None:
    # Not worth failing for: without it, the next server takes the file for one that may hold less than was shown.
    with contextlib.suppress(OSError):
        # In one write: one that is killed leaves the run of before, or this one.
        text = msgspec.json.encode(run).ljust(RUN_BYTES)
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        os.fsync(descriptor)
