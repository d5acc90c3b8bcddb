"""The index of a SQLite engine: what leaves it, what it is made of again, and what a search may cost."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from engines import opened
from hubbub.engine import Draft
from hubbub.engine import index as index_module
from hubbub.engine import sqlite_search as search_module
from hubbub.engine.backup import back_up, restore
from hubbub.engine.checkup import examine
from hubbub.engine.index import Index, changing, index_files, index_path
from hubbub.engine.local import Silent
from hubbub.engine.searching import Spot
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import EngineError
from hubbub.events import encode
from hubbub.testing import Clock
from hubbub.words import read_query

pytestmark = pytest.mark.anyio

SECRET = "xyzzyplugh"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def say(engine: SqliteEngine, room: str, *texts: str) -> None:
    await engine.append([Draft(room, "new_message", encode({"message": text}), "percy") for text in texts])


async def indexed(engine: SqliteEngine) -> None:
    """Fold, and wait until there is nothing left to be indexed."""
    assert await engine._folding.fold()
    await engine._index.is_idle.wait()


async def seqs(engine: SqliteEngine, text: str, *rooms: str) -> list[int]:
    found = await engine.search(read_query(text), rooms or ["ops"], None, 50)
    assert not found.is_partial
    return [message.seq for message in found.messages]


def amend(path: Path, seq: int, body: bytes) -> None:
    """Put another body in the place of a message's in the file."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE messages SET body = ?, crc = NULL WHERE seq = ?", (body, seq))
    connection.close()


def has_secret(path: Path) -> bool:
    """Whether the index's files have a word, as far as one is written whole."""
    return any(SECRET[2:].encode() in file.read_bytes() for file in index_files(path) if file.exists())


# What leaves the index


@pytest.mark.parametrize("type_", ["message_edited", "message_deleted"])
async def test_a_text_that_was_changed_leaves_the_files_of_the_index(path: Path, type_: str) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello", f"hello {SECRET}", "hello")
        await indexed(engine)
        assert has_secret(path)
        amend(path, 2, b'{"message":""}')
        await engine.append([Draft("ops", type_, encode({"of": 2}), "percy")])
        await indexed(engine)
        assert not has_secret(path)
        assert await seqs(engine, SECRET) == []
        assert await seqs(engine, "hello") == [3, 1]


async def test_a_change_that_the_index_was_not_made_anew_for_is_made_up_for_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", f"hello {SECRET}")
        await indexed(engine)
        monkeypatch.setattr(engine._index, "_wake_up", lambda: None)
        amend(path, 1, b'{"message":""}')
        await engine.append([Draft("ops", "message_deleted", b'{"of":1}', "percy")])
    assert has_secret(path)
    async with opened(path) as engine:
        await indexed(engine)
        assert not has_secret(path)


async def test_a_cleared_room_leaves_the_files_of_the_index(path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", f"hello {SECRET}")
        await say(engine, "lunch", "hello")
        await indexed(engine)
        await engine.clear("ops")
        await indexed(engine)
        assert not has_secret(path)
        assert await seqs(engine, "hello", "ops", "lunch") == [1]


async def test_what_retention_has_dropped_leaves_the_files_of_the_index(path: Path) -> None:
    clock = Clock()
    async with opened(path, clock, keep_s=100) as engine:
        await say(engine, "ops", f"hello {SECRET}")
        clock.go(60)
        await say(engine, "ops", "hello")
        await indexed(engine)
        clock.go(60)
        await engine._retention.trim_old()
    assert has_secret(path)
    async with opened(path, clock, keep_s=100) as engine:
        await indexed(engine)
        assert not has_secret(path)
        assert await seqs(engine, "hello") == [2]


async def test_changes_of_what_is_not_in_the_index_are_forgotten(path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        bodies = [b'{"of":99}', b'{"of":"x"}', b"{}", b'{"of":1}']
        await engine.append([Draft("ops", "message_deleted", body) for body in bodies])
        await indexed(engine)
        assert engine._index._index._connection.execute("SELECT count(*) FROM changed").fetchone() == (0,)


# Of what it is made


async def test_a_file_that_was_there_before_the_index_is_indexed_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "PORTION", 3 * search_module.ROOMS_AT_ONCE)
    async with opened(path) as engine:
        for room in ("ops", "lunch"):
            await say(engine, room, *["hello"] * 10)
    for file in index_files(path):
        file.unlink(missing_ok=True)
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        await indexed(engine)
        assert await seqs(engine, "hello") == list(range(11, 0, -1))
        assert await seqs(engine, "hello", "lunch") == list(range(10, 0, -1))


async def test_what_is_not_kept_any_more_and_still_there_holds_nothing_up(path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", *["hello"] * 5)
    for file in index_files(path):
        file.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rooms SET first = 4")
    connection.close()
    async with opened(path) as engine:
        await engine._index.is_idle.wait()
        assert await seqs(engine, "hello") == [5, 4]


async def test_while_something_is_not_indexed_a_search_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as engine:
        await engine._index.is_idle.wait()
        monkeypatch.setattr(search_module, "MOST_AT_ONCE", 2)
        monkeypatch.setattr(engine._index, "_wake_up", lambda: None)
        await say(engine, "ops", "hello", "hello", "hello")
        assert await engine._folding.fold()
        found = await engine.search(read_query("hello"), ["ops"], None, 10)
        assert (found.messages, found.next, found.is_partial) == ([], None, True)
        monkeypatch.undo()
        engine._index._wake_up()
        await indexed(engine)
        assert await seqs(engine, "hello") == [3, 2, 1]


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096, b""])
async def test_an_index_that_cannot_be_used_is_made_again(path: Path, damage: bytes) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        await indexed(engine)
    index_path(path).write_bytes(damage)
    async with opened(path) as engine:
        await indexed(engine)
        assert await seqs(engine, "hello") == [1]


async def test_the_index_of_another_log_is_not_used(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello old")
        await indexed(engine)
    back_up(path, tmp_path / "copy.db")
    async with opened(path) as engine:
        await say(engine, "ops", f"hello {SECRET}")
        await indexed(engine)
    restore(path, tmp_path / "copy.db")
    assert not any(file.exists() for file in index_files(path))
    async with opened(path) as engine:
        await say(engine, "ops", "hello new")
        await indexed(engine)
        assert await seqs(engine, "hello") == [2, 1]
        assert await seqs(engine, SECRET) == []


async def test_a_killed_server_leaves_an_index_that_goes_on(path: Path) -> None:
    async with opened(path, killed=True) as engine:
        await say(engine, "ops", "hello")
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        await indexed(engine)
        assert await seqs(engine, "hello") == [2, 1]


async def test_the_files_of_the_index_are_their_owners_and_looked_at(path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        await indexed(engine)
        assert {file.stat().st_mode & 0o777 for file in index_files(path) if file.exists()} == {0o600}
        index_path(path).chmod(0o644)
        assert any(f"chmod 600 {index_path(path)}" in finding.text for finding in examine(path) if finding.is_bad)


async def test_a_change_of_the_index_does_not_hold_up_the_log(path: Path) -> None:
    async with opened(path) as engine:
        await engine._index.is_idle.wait()
        index = engine._index._index._connection
        with changing(index):
            index.execute("INSERT INTO changed VALUES (1, 1)")
            index.execute("SELECT count(*) FROM log.messages").fetchone()
            other = sqlite3.connect(path, timeout=0, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            other.close()


async def test_a_message_that_is_damaged_is_not_found(path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "ops", "hello", "hello")
        await indexed(engine)
        with sqlite3.connect(path) as connection:
            connection.execute("""UPDATE messages SET body = '{"message":"hellO"}' WHERE seq = 1""")
        connection.close()
        assert await seqs(engine, "hello") == [2]


async def test_without_fts5_the_log_works_and_says_that_it_cannot_be_searched(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "has_fts5", lambda: False)
    async with opened(path) as engine:
        await say(engine, "ops", "hello")
        assert await engine._folding.fold()
        assert not engine.can_search
        with pytest.raises(EngineError, match="not open"):
            await engine.search(read_query("hello"), ["ops"], None, 10)


# What a search costs


async def pages(engine: SqliteEngine, text: str, limit: int, *rooms: str) -> list[list[Spot]]:
    """Each page of a search to its end."""
    listed, before = [], None
    while True:
        found = await engine.search(read_query(text), rooms, before, limit)
        listed.append([Spot(each.sent, each.room, each.seq) for each in found.messages])
        before = found.next
        if before is None:
            return listed


async def fill(engine: SqliteEngine, clock: Clock) -> list[Spot]:
    """Say something in three rooms, over many slices; the places, newest first."""
    places = []
    seq = dict.fromkeys(("ops", "lunch", "tea"), 0)
    for step in range(60):
        room = ("ops", "lunch", "tea")[step % 7 % 3]
        await say(engine, room, "hello")
        seq[room] += 1
        places.append(Spot(int(clock() * 1000), room, seq[room]))
        if step % 3 == 0:
            clock.go(1)
        if step % 4 == 0 and step < 50:
            await indexed(engine)
    return sorted(places, reverse=True)


@pytest.mark.parametrize("limit", [1, 4, 7, 100])
async def test_over_slices_and_the_tail_each_message_is_found_once_and_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(index_module, "SLICE", 5)
    clock = Clock()
    async with opened(path, clock) as engine:
        places = await fill(engine, clock)
        listed = await pages(engine, "hello", limit, "ops", "lunch", "tea")
        assert [place for page in listed for place in page] == places
        assert max(map(len, listed)) <= limit


async def test_an_index_that_was_made_room_by_room_is_searched_in_order_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SLICE", 5)
    monkeypatch.setattr(search_module, "PORTION", 4 * search_module.ROOMS_AT_ONCE)
    monkeypatch.setattr(search_module, "ROOMS_AT_ONCE", 2)
    clock = Clock()
    async with opened(path, clock) as engine:
        places = await fill(engine, clock)
    for file in index_files(path):
        file.unlink(missing_ok=True)
    async with opened(path, clock) as engine:
        await indexed(engine)
        listed = await pages(engine, "hello", 4, "ops", "lunch", "tea")
        assert [place for page in listed for place in page] == places


async def test_a_search_that_has_taken_its_time_tells_where_to_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SLICE", 5)
    clock = Clock()
    async with opened(path, clock) as engine:
        places = await fill(engine, clock)
        await indexed(engine)
        ticks = iter(range(10_000))
        monkeypatch.setattr(engine._index._reader, "_clock", lambda: next(ticks) * 0.4)
        listed = await pages(engine, "hello", 50, "ops", "lunch", "tea")
        assert len(listed) > 2
        assert [place for page in listed for place in page] == places


async def test_a_log_that_is_closed_at_once_leaves_no_connection_of_the_index(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    for turns in range(20):
        engine = SqliteEngine(path, clock=Clock(), wall=Clock())
        await engine.open(Silent())
        for _ in range(turns):
            await asyncio.sleep(0)
        await engine.close()
        left = {each.name for each in tmp_path.iterdir()}
        assert left - {"log.db.search"} == {"log.db", "log.db.lock"}, "SQLite's files go with the last connection"


async def test_a_database_that_was_moved_away_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    index = Index(path)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        index.open("an epoch")
    index.close()
    assert not path.exists()
