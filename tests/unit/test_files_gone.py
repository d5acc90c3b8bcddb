"""The SQLite engine when files that it uses are taken away under it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hubbub.engine import Account, Draft, sqlite
from hubbub.engine.local import Silent
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import EngineError
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio

DRAFTS = [Draft("general", "new_message", b'{"message":"hi"}')]


async def until_up_is(engine: SqliteEngine, *, is_up: bool) -> None:
    async with asyncio.timeout(60):
        while engine.is_up is not is_up:
            await asyncio.sleep(0)  # the engine looks in its own thread


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
async def test_nothing_at_all_is_kept_while_a_file_of_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_S", 0)
    path = tmp_path / "log.db"
    gone, away = path.with_name(f"log.db{ending}"), tmp_path / "away"
    engine = SqliteEngine(path, clock=Clock(), wall=Clock())
    await engine.open(Silent())
    try:
        await engine.append(DRAFTS)
        gone.rename(away)
        await until_up_is(engine, is_up=False)
        with pytest.raises(EngineError, match="deleted or replaced"):
            await engine.append(DRAFTS)
        with pytest.raises(EngineError, match="deleted or replaced"):
            await engine.mark_read("general", "bob", 1)
        with pytest.raises(EngineError, match="deleted or replaced"):
            await engine.put_account(Account("bob", "hash"))
        away.rename(gone)
        await until_up_is(engine, is_up=True)
        await engine.append(DRAFTS)
        assert await engine.mark_read("general", "bob", 1) == 1
    finally:
        await engine.close()


async def test_what_a_lost_journal_had_is_kept_by_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOOK_S", 0)
    engine = SqliteEngine(tmp_path / "log.db", clock=Clock(), wall=Clock())
    await engine.open(Silent())
    await engine.append(DRAFTS)
    (journal,) = tmp_path.glob("*.journal.*")
    journal.unlink()
    await until_up_is(engine, is_up=False)
    await engine.close()
    engine = SqliteEngine(tmp_path / "log.db", clock=Clock(), wall=Clock())
    await engine.open(Silent())
    try:
        assert (await engine.head("general")).seq == 1
    finally:
        await engine.close()


async def test_a_journal_that_alone_is_lost_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOOK_S", 0)
    engine = SqliteEngine(tmp_path / "log.db", clock=Clock(), wall=Clock())
    await engine.open(Silent())
    try:
        await engine.append(DRAFTS)
        (lost,) = tmp_path.glob("*.journal.*")
        lost.unlink()
        await until_up_is(engine, is_up=False)
        await until_up_is(engine, is_up=True)
        assert [path.name for path in tmp_path.glob("*.journal.*")] != [lost.name]
        await engine.append(DRAFTS)
        assert [message.seq for message in (await engine.read("general", limit=9)).messages] == [1, 2]
        assert vars(engine)["_tail"].first("general") == 2, "the first is in the table"
    finally:
        await engine.close()
