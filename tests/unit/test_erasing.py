"""A text that was edited away or deleted is in none of the SQLite engine's files, soon after and after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hubbub.engine import Amend, Draft, Receipt
from hubbub.engine import folding as folding_module
from hubbub.engine.local import Silent
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import EngineError, Stale
from hubbub.words import read_query

pytestmark = pytest.mark.anyio

SECRET = b"the cake is in the cellar"
BODY = b'{"message":"%b"}' % SECRET
BLANK = b'{"message":"","deleted":true}'


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteEngine]:
    engine = SqliteEngine(path, clock=time.monotonic, wall=time.time)
    await engine.open(Silent())
    try:
        yield engine
    finally:
        await engine.close()


def where_it_is(folder: Path) -> list[str]:
    """The files in a folder that have the text."""
    return [file.name for file in folder.iterdir() if SECRET in content(file)]


def content(file: Path) -> bytes:
    """What a file holds: nothing, once it is gone, as SQLite's rollback journal of the index is at any moment."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


async def say(engine: SqliteEngine, room: str, body: bytes = BODY) -> int:
    (outcome,) = await engine.append([Draft(room, "new_message", body, "percy")])
    assert isinstance(outcome, Receipt)
    return outcome.seq


async def delete(engine: SqliteEngine, room: str, seq: int) -> None:
    draft = Draft(room, "message_deleted", b'{"of":%d}' % seq, "percy", None, (Amend(seq, BODY, BLANK),))
    (outcome,) = await engine.append([draft])
    assert isinstance(outcome, Receipt)


async def erased(engine: SqliteEngine) -> None:
    """Wait until the engine has nothing left to erase."""
    erasing = engine._folding._erasing
    if erasing is not None:
        await erasing


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "ERASE_PAUSE_S", 0)


@pytest.mark.parametrize("is_folded", [False, True], ids=["in the journal", "in the table"])
async def test_a_deleted_text_is_in_no_file(tmp_path: Path, is_folded: bool) -> None:
    async with opened(tmp_path / "chat.db") as engine:
        for number in range(20):
            await say(engine, "lunch", BODY if number == 7 else b'{"message":"%d"}' % number)
        if is_folded:
            assert await engine._folding.fold()
        assert where_it_is(tmp_path)
        await delete(engine, "lunch", 8)
        assert (await engine.read("lunch", after=7, limit=1)).messages[0].body == BLANK
        await erased(engine)
        assert where_it_is(tmp_path) == []
        assert (await engine.read("lunch", after=7, limit=1)).messages[0].body == BLANK
    assert where_it_is(tmp_path) == []


@pytest.mark.parametrize("is_folded", [False, True], ids=["in the journal", "in the table"])
async def test_a_deleted_text_is_gone_when_a_killed_server_starts_again(tmp_path: Path, is_folded: bool) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    async with opened(before / "chat.db") as engine:
        await say(engine, "lunch")
        if is_folded:
            assert await engine._folding.fold()
        await delete(engine, "lunch", 1)
        # As the files are where the process is killed now; the index, which may be at work, is made again.
        shutil.copytree(before, after, ignore=shutil.ignore_patterns("*.search*"))
        await erased(engine)
    assert where_it_is(after)
    async with opened(after / "chat.db") as engine:
        assert where_it_is(after) == []
        assert [each.body for each in (await engine.read("lunch", limit=9)).messages] == [BLANK, b'{"of":1}']


async def test_a_reader_of_an_earlier_state_only_delays_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "chat.db") as engine:
        await say(engine, "lunch")
        assert await engine._folding.fold()
        with contextlib.closing(sqlite3.connect(tmp_path / "chat.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM messages").fetchone()
            await delete(engine, "lunch", 1)
            assert await engine._folding.fold()
            assert where_it_is(tmp_path)  # that reader may need it
            reader.execute("COMMIT")
        await erased(engine)
        assert where_it_is(tmp_path) == []


@pytest.mark.parametrize("is_folded", [False, True], ids=["in the journal", "in the table"])
async def test_a_deleted_text_is_not_found(tmp_path: Path, is_folded: bool) -> None:
    async with opened(tmp_path / "chat.db") as engine:
        await say(engine, "lunch")
        if is_folded:
            assert await engine._folding.fold()
            while not await found(engine):
                await asyncio.sleep(0)
        assert await found(engine) == [1]
        await delete(engine, "lunch", 1)
        assert await found(engine) == []
        await erased(engine)
        assert await found(engine) == []


async def found(engine: SqliteEngine) -> list[int]:
    while True:
        try:
            hits = await engine.search(read_query("cellar"), ["lunch"], None, 10)
        except EngineError:  # the index is not open yet
            await asyncio.sleep(0)
        else:
            return [message.seq for message in hits.messages]


async def test_what_is_not_as_it_was_read_is_stale_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "chat.db") as engine:
        await say(engine, "lunch")
        twice = [
            Draft("lunch", "message_deleted", b'{"of":1}', "percy", None, (Amend(1, BODY, BLANK),)),
            Draft("lunch", "message_edited", b'{"of":1,"message":"x"}', "percy", None, (Amend(1, BODY, b"{}"),)),
            Draft("lunch", "message_edited", b'{"of":9,"message":"x"}', "percy", None, (Amend(9, BODY, b"{}"),)),
        ]
        first, *others = await engine.append(twice)
        assert isinstance(first, Receipt)
        assert all(isinstance(outcome, Stale) for outcome in others)
        assert [each.seq for each in (await engine.read("lunch", limit=9)).messages] == [1, 2]


async def test_reads_see_amendments_while_they_are_folded(tmp_path: Path) -> None:
    async with opened(tmp_path / "chat.db") as engine:
        for _ in range(50):
            await say(engine, "lunch")
        assert await engine._folding.fold()

        async def read_on() -> None:
            while engine._folding._erasing is not None:
                page = await engine.read("lunch", after=0, limit=50)
                assert all(each.body == BLANK for each in page.messages[:seq])

        for seq in range(1, 11):
            await delete(engine, "lunch", seq)
            await asyncio.gather(read_on(), erased(engine))
