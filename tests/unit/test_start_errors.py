"""What cannot be used as a database is said in one line that tells what mends it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hubbub.engine.local import Silent
from hubbub.engine.schema import advice, connect_file
from hubbub.engine.sqlite import SqliteEngine
from hubbub.engine.urls import path_of
from hubbub.errors import ConfigError
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio


async def refused(path: Path) -> str:
    """Why a server does not start on a file."""
    clock = Clock()
    with pytest.raises(ConfigError) as refusal:
        await SqliteEngine(path, clock=clock, wall=clock).open(Silent())
    told = str(refusal.value)
    assert "\n" not in told
    assert told.startswith(f"--engine sqlite:///{path}: ")
    return told.removeprefix(f"--engine sqlite:///{path}: ")


def error(code: int) -> sqlite3.Error:
    found = sqlite3.OperationalError("something")
    found.sqlite_errorcode = code
    return found


def test_each_failure_has_its_remedy() -> None:
    for full in (OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, ""), error(sqlite3.SQLITE_FULL)):
        assert advice(full) == "make room on its disk"
    assert advice(OSError(errno.EACCES, "")) == "name a file in a folder of yours"
    assert advice(error(sqlite3.SQLITE_IOERR_SHMSIZE)) == "make room on its disk, or look whether it works"
    assert advice(error(sqlite3.SQLITE_BUSY_SNAPSHOT)) == "another program has it locked, and has to end first"
    assert advice(error(sqlite3.SQLITE_CORRUPT)) == "`hubbub doctor` says what can be saved"
    assert advice(error(sqlite3.SQLITE_READONLY)) == "name a file that can be written"
    assert advice(sqlite3.Error("without a code")) == "name a file that can be written"


async def test_a_folder_and_a_text_are_no_databases(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    told = await refused(tmp_path / "text")
    assert told == "file is not a database; name a database of Hubbub's, or restore a backup of it"
    (tmp_path / "folder").mkdir()
    assert await refused(tmp_path / "folder") == "unable to open database file; name a file in a folder of yours"
    (tmp_path / "log.db.lock").mkdir()
    assert await refused(tmp_path / "log.db") == "Is a directory; name a file in a folder of yours"


async def test_a_file_that_another_program_has_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.engine.schema.BUSY_S", 0.0)
    connect_file(tmp_path / "log.db").close()
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = await refused(tmp_path / "log.db")
    assert told == "database is locked; another program has it locked, and has to end first"


async def test_a_journal_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("hubbub.engine.journal.JournalFile._put", full)
    assert await refused(tmp_path / "log.db") == "No space left on device; make room on its disk"
    monkeypatch.undo()
    clock = Clock()
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=clock)
    await engine.open(Silent())
    await engine.close()


def test_a_url_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="in the server's memory"):
        path_of("memory://")
    with pytest.raises(ConfigError, match="in Redis"):
        path_of("redis://host")
    with pytest.raises(ConfigError, match="names no engine"):
        path_of("other://")
