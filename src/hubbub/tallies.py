"""What several processes of one server have counted, added up: each writes its numbers to a file of its own.

Prometheus's own way (`prometheus_client.multiprocess`) has each counter live in a mapped file, where adding to it costs
ten times as much, and keeps the files of every process that there ever was.  Here numbers are copied once a second, and
those of a dead process are added to one file for all.  No counter ever falls, whichever process is asked.

The parent has a folder made (`new_folder`), passes its path on to the workers in the environment (`VARIABLE`), and
buries each that has ended (`bury`); the workers need do nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

__all__ = ["VARIABLE", "Shown", "Tallies", "Tally", "add_up", "bury", "new_folder"]

# The environment variable that names the folder to the workers.
VARIABLE = "HUBBUB_TALLIES"

# In memory, where there is such a place: nothing here outlives the server, and no disk is waited for.
MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp's, below
PREFIX = "hubbub-metrics-"
# A folder that nobody holds may have been made just now.  A worker writes to its folder each second.
ABANDONED_S = 60.0

GONE = "gone.json"
NEW = ".new"
# Files of dead processes that may still be there although their numbers are among those of the gone.
MAX_BURIED = 256

# Numbers by the name of their metric, in the order of its labels and buckets.
Tally = dict[str, list[float]]


class Shown(msgspec.Struct):
    """What one process has counted: what counts when it has ended, too, and what is only now."""

    lasting: Tally
    passing: Tally


class Gone(msgspec.Struct):
    """What processes that are gone have counted, and the names of their files."""

    tally: Tally = {}
    files: list[str] = []


decode_shown = msgspec.json.Decoder(Shown).decode
decode_gone = msgspec.json.Decoder(Gone).decode
encode = msgspec.json.Encoder().encode


class Tallies:
    """One process's file, and those of the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A pid may be given again before the process that had it is buried.
        self._file = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"

    def write(self, shown: Shown) -> None:
        """Show the others what this process has counted.

        Raises:
            OSError: the folder is gone, or full.
        """
        write_whole(self._file, encode(shown))

    def read(self) -> Tally:
        """What all have counted, the dead included; this process's as it was last written.

        Raises:
            OSError: the folder is gone.
        """
        found = {}
        for file in self._folder.glob("*-*.json"):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):  # buried just now; another version's
                found[file.name] = decode_shown(file.read_bytes())
        # Last, so that whoever was buried meanwhile is in it; and not twice, if its file was still there.
        gone = read_gone(self._folder)
        for name in gone.files:
            found.pop(name, None)
        return add_up([gone.tally, *(tally for shown in found.values() for tally in (shown.lasting, shown.passing))])


def add_up(tallies: Iterable[Mapping[str, list[float]]]) -> Tally:
    """The sum of tallies; what another version of this program has counted in another way is left out."""
    total: Tally = {}
    for tally in tallies:
        for name, numbers in tally.items():
            before = total.get(name)
            if before is None:
                total[name] = list(numbers)
            elif len(before) == len(numbers):
                total[name] = [a + b for a, b in zip(before, numbers, strict=True)]
    return total


# What the parent does


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder for this user alone, which is there while the block runs.

    Raises:
        OSError: it cannot be made.
    """
    within = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    remove_abandoned(within, time.time())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def remove_abandoned(within: Path, now: float) -> None:
    """Remove folders whose parents were killed: nobody holds them."""
    for folder in within.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # others' folders, and those that are held
            if now - folder.stat().st_mtime < ABANDONED_S:
                continue
            held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(held)


def bury(folder: Path, pid: int) -> None:
    """Keep what a process that has ended has counted, and forget what it had.

    Raises:
        OSError: the folder is gone, or full; nothing is lost then, and it may be tried again.
    """
    for file in folder.glob(f"{pid}-*.json"):
        gone = read_gone(folder)
        if file.name not in gone.files:
            with contextlib.suppress(msgspec.DecodeError):
                lasting = decode_shown(file.read_bytes()).lasting
                total = Gone(add_up([gone.tally, lasting]), [*gone.files, file.name][-MAX_BURIED:])
                write_whole(folder / GONE, encode(total))
        file.unlink()
        file.with_suffix(NEW).unlink(missing_ok=True)  # it may have died while it wrote


def read_gone(folder: Path) -> Gone:
    try:
        return decode_gone((folder / GONE).read_bytes())
    except FileNotFoundError:
        return Gone()


def write_whole(file: Path, content: bytes) -> None:
    """Write a file in one step, for those who read it meanwhile."""
    beside = file.with_suffix(NEW)
    beside.write_bytes(content)
    beside.replace(file)
