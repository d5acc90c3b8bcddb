"""Opening the log again: what the journal still has goes to the table, and a new generation begins where it must.

The log's epoch stands for what was shown of it.  A file that may hold less than that (a machine that died, a backup
that was put back) goes on under another one, and keeps where each earlier one ended; so a place that a client names is
part of the log, or is known not to be.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from hubbub.engine.batch import JournalBatch, decode_batch
from hubbub.engine.folding import sync_wal
from hubbub.engine.journal import Journal, read_records
from hubbub.engine.lock import Lock, ServerRun, is_continued, read_boot
from hubbub.engine.logfile import JournalGap, LogFile
from hubbub.errors import ConfigError

__all__ = ["recover"]

log = structlog.get_logger("hubbub.engine")

# The token of the run that the lock file told of, and the boot, as a server begins to use a database.
BEFORE = "{} {}"


def recover(path: Path, lock: Lock, file: LogFile, journal: Journal) -> str:
    """Bring a database that is locked up to what was kept, and begin to use it.

    Args:
        path: the database.
        file: its log.
        journal: its journal; gets a current file.

    Returns:
        The token of this server's time with the file.

    Raises:
        ConfigError: it is damaged.
        OSError: the disk is full, or cannot be read.
        sqlite3.Error: the same, for the database.
    """
    token, boot = file.fact("token"), read_boot()
    is_same = is_continued(lock.previous, token, path.stat(), boot) or is_interrupted(lock.previous, file, boot)
    if is_put_back(lock, file):
        is_same = False
    found = Remains(path, journal, file.folded)
    if found.is_apart:
        is_same = False
        log.warning("the journal does not go on where the file ends, and is set aside", files=found.set_aside())
    left = found.read(is_same=is_same)
    is_missing = lock.previous is not None and lock.previous.closed is None and not found.files
    # Made before the others go: one that is killed in between must find a file of the journal.
    journal.current = journal.make(found.last + 1)
    try:
        is_whole = file.recover(left.batches, found.last, is_same=is_same)
    except JournalGap:
        journal.current.close()
        journal.current.path.unlink(missing_ok=True)
        raise damaged(path, "its journal has a gap") from None
    if left.lost:
        log.warning("the end of the log was not written before the machine stopped", bytes=left.lost)
    if left.is_damaged or not is_whole or (is_same and not left.is_cut):
        is_same = False
        log.warning("some of the journal could not be used, and is set aside", files=found.set_aside())
    if token and (is_missing or not is_same):
        file.begin_generation()
    token = secrets.token_hex(8)
    file.put_token(token, before=BEFORE.format(lock.previous.token, boot) if lock.previous is not None else "")
    file.truncate()  # with what was amended, the text before it goes
    sync_wal(path)
    found.remove()
    lock.note_open(token)
    file.put_fact("lock", f"{token} {lock.touched}")
    return token


def is_put_back(lock: Lock, file: LogFile) -> bool:
    """Whether the lock file of a server that was killed was written by somebody else.

    Nobody does, but who puts a copy of the whole folder into the place of its files: then all else looks as it was.
    """
    noted, _, touched = file.fact("lock").partition(" ")
    previous = lock.previous
    return previous is not None and previous.closed is None and previous.token == noted and touched != lock.touched


def is_interrupted(previous: ServerRun | None, file: LogFile, boot: str) -> bool:
    """Whether the last server was killed in this boot between the database's new token and that of the lock file.

    It had looked at what the one before had left, and begun a generation if there had to be one.
    """
    return previous is not None and bool(boot) and file.fact("before") == BEFORE.format(previous.token, boot)


class Unfolded(NamedTuple):
    """What the journal has that the table may not have.

    Attributes:
        lost: bytes in the files that are no batches.
        is_damaged: whether there are batches among those.
        is_cut: whether those may be of a write that was cut off, and never acknowledged.
    """

    batches: list[JournalBatch]
    lost: int
    is_damaged: bool
    is_cut: bool


class Remains:
    """The files of a journal that were there when the database was opened.

    Attributes:
        files: those that the table may not have all of.
        last: the number of the last file.
    """

    def __init__(self, path: Path, journal: Journal, folded: int) -> None:
        everything = journal.found()
        self._path = path
        self._folded = [file for number, file in everything if number <= folded]
        self._first = folded + 1
        self.files = [(number, file) for number, file in everything if number > folded]
        self.last = max([number for number, _ in everything], default=folded)

    @property
    def is_apart(self) -> bool:
        """Whether files are missing between the database and those that are there: it is of another time than they."""
        numbers = [number for number, _ in self.files]
        return numbers != list(range(self._first, self._first + len(numbers)))

    def read(self, *, is_same: bool) -> Unfolded:
        """The batches in the files.

        Args:
            is_same: whether nothing but a write that was cut off may be missing.

        Raises:
            ConfigError: a file is damaged.
        """
        batches: list[JournalBatch] = []
        lost, is_damaged, is_cut = 0, False, True
        for _, file in self.files:
            records = read_records(file)
            if records.is_damaged and is_same:
                raise damaged(file, f"at byte {records.end}")
            lost += 0 if is_same else records.size - records.end
            is_damaged |= records.is_damaged
            is_cut &= records.is_cut
            for payload in records.payloads:
                try:
                    batches.append(decode_batch(payload))
                except msgspec.DecodeError as error:
                    raise damaged(file, str(error)) from None
        return Unfolded(batches, lost, is_damaged, is_cut)

    def set_aside(self) -> list[str]:
        """Keep the files under other names, for people to look at."""
        names = []
        for number, file in self.files:
            aside = file.with_name(f"{self._path.name}.aside.{number}")
            while aside.exists():  # of a time before a backup was put back
                aside = aside.with_name(f"{aside.name}+")
            file.rename(aside)
            names.append(aside.name)
        self.files = []
        return names

    def remove(self) -> None:
        """Remove the files: the database has what is in them, and the disk has the database."""
        for file in (*self._folded, *(file for _, file in self.files)):
            file.unlink(missing_ok=True)


def damaged(path: Path, how: str) -> ConfigError:
    return ConfigError(f"--engine: {path} is damaged: {how}; `hubbub doctor` says what can be saved")
