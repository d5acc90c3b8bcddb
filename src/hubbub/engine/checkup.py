"""What is wrong with a database, and with what is beside it.  Nothing is changed; a server may be running on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hubbub.engine.index import index_files
from hubbub.engine.journal import journal_files, read_records
from hubbub.engine.lock import lock_path, read_run
from hubbub.engine.logfile import END, LogFile
from hubbub.engine.salvage import Damage, Survey
from hubbub.engine.schema import MIGRATIONS, open_to_read

__all__ = ["Finding", "describe", "examine"]

# Findings of one kind that are told one by one.
MOST_TOLD = 10

# Less room than this on the disk is worth a word: a fold, a checkpoint and a backup need some.
LEAST_FREE = 256 << 20

SAVE = "`hubbub doctor --save FILE` saves what can be read, and `hubbub restore FILE` puts it in place"


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        text: one line; where it is bad, with what to do.
    """

    is_bad: bool
    text: str


def examine(path: Path) -> Iterator[Finding]:
    """Look at a database and the files beside it.

    Raises:
        ConfigError: there is none, it cannot be read, or is newer than this program.
    """
    with contextlib.closing(open_to_read(path)) as connection:
        yield from look_at_server(path)
        yield from look_at_schema(connection)
        yield from look_at_pages(connection)
        with saying_what_is_unreadable() as unreadable:
            yield from look_at_messages(connection)
            yield from look_at_journal(path, connection)
        yield from unreadable
    yield from look_at_files(path)


@contextlib.contextmanager
def saying_what_is_unreadable() -> Iterator[list[Finding]]:
    found: list[Finding] = []
    try:
        yield found
    except sqlite3.Error as error:
        found.append(bad(f"some of the database cannot be read: {error}; {SAVE}"))


def good(text: str) -> Finding:
    return Finding(is_bad=False, text=text)


def bad(text: str) -> Finding:
    return Finding(is_bad=True, text=text)


def look_at_server(path: Path) -> Iterator[Finding]:
    """Who has the database."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield good("no server is running on it")
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        run = read_run(descriptor)
        yield good(f"the server with process id {run.pid if run is not None else 'unknown'} is running on it")
    except OSError:
        yield good("whether a server is running on it is not known: its filesystem has no locks")
    else:
        yield good("no server is running on it")
    finally:
        os.close(descriptor)


def look_at_schema(connection: sqlite3.Connection) -> Iterator[Finding]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < len(MIGRATIONS):
        yield good(f"schema {version}; the next start brings it to {len(MIGRATIONS)}")
    else:
        yield good(f"schema {version}")


def look_at_pages(connection: sqlite3.Connection) -> Iterator[Finding]:
    """What SQLite says."""
    try:
        told = [" ".join(row[0].split()) for row in connection.execute(f"PRAGMA integrity_check({MOST_TOLD})")]
    except sqlite3.Error as error:
        told = [str(error)]
    if told == ["ok"]:
        yield good("SQLite finds nothing wrong")
    for text in told:
        if text != "ok":
            yield bad(f"SQLite: {text}; {SAVE}")


def look_at_messages(connection: sqlite3.Connection) -> Iterator[Finding]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < len(MIGRATIONS):
        yield good("messages of an earlier schema are not looked at; start the server once, or back it up")
        return
    survey = Survey(connection)
    generations = LogFile(connection).generations()
    messages = 0
    rooms = survey.rooms()
    for number, (room, first) in rooms.items():
        for rows in survey.messages(number, room, first):
            messages += len(rows)
    yield good(f"{messages} good messages in {len(rooms)} rooms, {len(generations)} generations of the log")
    for damage in survey.damage[:MOST_TOLD]:
        yield bad(f"{describe(damage)} damaged; readers are told of a gap; {SAVE}")
    if len(survey.damage) > MOST_TOLD:
        yield bad(f"messages are damaged in {len(survey.damage) - MOST_TOLD} places more; {SAVE}")


def describe(damage: Damage) -> str:
    """The messages that are damaged, as the subject of a sentence."""
    if damage.first == damage.last:
        return f"message {damage.first} of the room {damage.room!r} is"
    last = "the end" if damage.last == END else damage.last
    return f"messages {damage.first} to {last} of the room {damage.room!r} are"


def look_at_journal(path: Path, connection: sqlite3.Connection) -> list[Finding]:
    file = LogFile(connection)
    while True:
        folded = file.folded
        found = list(look_at_journal_after(path, folded))
        if file.folded == folded:
            return found  # nothing was folded and removed meanwhile


def look_at_journal_after(path: Path, folded: int) -> Iterator[Finding]:
    expected = folded + 1
    for number, file in journal_files(path):
        if number <= folded:
            continue
        try:
            records = read_records(file)
        except FileNotFoundError:
            continue  # folded in the meantime
        except OSError as error:
            yield bad(f"{file.name} cannot be read: {error.strerror}; {SAVE}")
            continue
        if number != expected:
            yield bad(f"the journal has no file {expected}, and goes on with {file.name}; {SAVE}")
        expected = number + 1
        if records.is_damaged or not records.is_cut:
            yield bad(f"{file.name} is damaged at byte {records.end}; {SAVE}")
        else:
            cut_off = records.size - records.end
            rest = f"; the last write was cut off, {cut_off} bytes" if cut_off else ""
            yield good(f"{file.name}: {len(records.payloads)} batches{rest}")


def look_at_files(path: Path) -> Iterator[Finding]:
    """The modes of the files, what was set aside, and the disk."""
    beside = [path, lock_path(path), *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))]
    for file in (*beside, *index_files(path), *(file for _, file in journal_files(path))):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & 0o077:
                yield bad(f"{file.name} has the mode {mode:04o}, so that others may use it; chmod 600 {file}")
    for file in sorted(path.parent.glob(f"{path.name}.aside.*")):
        yield good(f"{file.name} did not go on from the database, and was set aside at a start; delete it at will")
    free = shutil.disk_usage(path.parent).free
    text = f"{free >> 20} MiB free on its disk"
    yield bad(f"{text}; make room") if free < LEAST_FREE else good(text)
