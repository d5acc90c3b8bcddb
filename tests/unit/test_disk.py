"""Who writes to the disk: the loop while it is quick, a thread while it is not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engines import opened
from hubbub.engine import Draft
from hubbub.engine.disk import SLOW_FOR_S, SLOW_S, DiskPace, sync
from hubbub.engine.journal import JournalFile
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio

DRAFTS = [Draft("general", "new_message", b'{"message":"hi"}')]


def test_a_disk_is_slow_for_a_while_after_a_write_that_took_long() -> None:
    clock = Clock()
    pace = DiskPace(clock)
    began = clock()
    clock.go(SLOW_S)
    pace.note(began)
    assert not pace.is_slow(clock())
    clock.go(SLOW_S / 2)
    pace.note(began)
    assert pace.is_slow(clock())
    clock.go(SLOW_FOR_S - 0.001)
    assert pace.is_slow(clock())
    clock.go(0.001)
    assert not pace.is_slow(clock())


async def test_a_thread_writes_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, takes_s, writers = Clock(), iter((0.0, 0.3, 0.3, 0.0, 0.0)), list[str]()
    write = JournalFile.write

    def note(self: JournalFile, payload: bytes) -> None:
        writers.append(threading.current_thread().name)
        clock.go(next(takes_s))
        write(self, payload)

    monkeypatch.setattr(JournalFile, "write", note)
    async with opened(tmp_path / "log.db", clock) as engine:
        for _ in range(4):
            await engine.append(DRAFTS)
        clock.go(SLOW_FOR_S)
        await engine.append(DRAFTS)
        assert [message.seq for message in (await engine.read("general", limit=9)).messages] == [1, 2, 3, 4, 5]
    assert writers == ["MainThread", "MainThread", "journal", "journal", "MainThread"]


async def test_a_thread_writes_where_each_write_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = list[str]()
    write = JournalFile.write

    def note(self: JournalFile, payload: bytes) -> None:
        writers.append(threading.current_thread().name)
        write(self, payload)

    monkeypatch.setattr(JournalFile, "write", note)
    async with opened(tmp_path / "log.db", durability="full") as engine:
        await engine.append(DRAFTS)
    assert writers == ["journal"]


def test_files_and_folders_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sync(tmp_path / "file")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")
