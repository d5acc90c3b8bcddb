"""The SQLite engine beyond the contract: what survives, what is trimmed, and a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from contract.told import Told
from engines import opened
from hubbub.accounts import Accounts
from hubbub.engine import (
    Account,
    Draft,
    Grant,
    Head,
    Receipt,
    Vault,
    health,
    lock,
    marks,
    retention,
    sqlite_vault,
)
from hubbub.engine import folding as folding_module
from hubbub.engine import sqlite as sqlite_module
from hubbub.engine.database import Database
from hubbub.engine.folding import Folding
from hubbub.engine.journal import Journal, JournalFile
from hubbub.engine.local import Silent
from hubbub.engine.logfile import TRIM_ROWS, LogFile
from hubbub.engine.retention import Retention
from hubbub.engine.schema import MIGRATIONS, connect_file
from hubbub.engine.sqlite import SqliteEngine
from hubbub.engine.tail import Row
from hubbub.engine.urls import make_engine, vault_at
from hubbub.errors import ConfigError, EngineError, NotKept, NotKnown
from hubbub.otp import OneTimePasswords
from hubbub.testing import Clock
from receipts import kept
from walls import YEAR_S, Wall

pytestmark = pytest.mark.anyio

FULL = "database or disk is full"


def drafts(count: int, room: str = "general", key: str | None = None) -> list[Draft]:
    return [Draft(room, "new_message", b'{"message":"hi"}', "percy", key) for _ in range(count)]


async def seqs(engine: SqliteEngine, room: str = "general", limit: int = 10_000) -> list[int]:
    return [message.seq for message in (await engine.read(room, after=0, limit=limit)).messages]


async def settled(engine: SqliteEngine) -> None:
    """Wait until the engine has nothing left to do by itself."""
    async with asyncio.timeout(60):
        while tasks := [*vars(retention_of(engine))["_tasks"], *running(folding_of(engine))]:
            await asyncio.wait(tasks)


def running(folding: Folding) -> list[asyncio.Task[None]]:
    task = vars(folding)["_running"]
    return [task] if task is not None else []


def folding_of(engine: SqliteEngine) -> Folding:
    folding: Folding = vars(engine)["_folding"]
    return folding


def retention_of(engine: SqliteEngine) -> Retention:
    retention: Retention = vars(engine)["_retention"]
    return retention


def database_of(engine: SqliteEngine) -> Database:
    database: Database = vars(engine)["_database"]
    return database


def unfolded(engine: SqliteEngine) -> int:
    """How many messages wait to be folded."""
    count: int = vars(engine)["_tail"].count
    return count


def failing(method: Callable[..., Any], *failures: int) -> Callable[..., Any]:
    """The method, where the calls with these numbers, from 1, find the disk full."""
    calls = 0

    def work(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in failures:
            raise sqlite3.OperationalError(FULL)
        return method(*args)

    return work


def in_table(path: Path) -> int:
    """How many messages the table has, those that nobody reads any more included."""
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    connection.close()
    return int(count)


async def test_everything_kept_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(3) + drafts(1, "other"))
        (first,) = await kept(engine.append(drafts(1, key="k")))
        head = await engine.head("general")
        await engine.put_account(Account("percy", "hash"))
        await engine.put_session(Grant("percy", "session"), 2000)
        await engine.mark_read("general", "percy", 3)
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.read_mark("general", "percy") == 3
        assert (await engine.resume("general", head, 10)).is_recovered
        assert await engine.head("general") == head
        assert await engine.append(drafts(1, key="k")) == [Receipt(first.seq, first.sent, repeated=True)]
        assert (await engine.append(drafts(1)))[0].seq == 5
        assert (await engine.append(drafts(1, "new room")))[0].seq == 1
        assert await seqs(engine) == [1, 2, 3, 4, 5]
        assert await engine.account("percy") == Account("percy", "hash")
        assert await engine.session("session") == Grant("percy", "session")
        assert await engine.has_accounts()


async def test_another_file_is_another_epoch(tmp_path: Path) -> None:
    epochs = []
    for name in ("a.db", "b.db"):
        async with opened(tmp_path / name) as engine:
            epochs.append((await engine.head("general")).epoch)
    assert epochs[0] != epochs[1]


async def test_a_second_server_on_the_file_is_refused_by_name(tmp_path: Path) -> None:
    import os

    async with opened(tmp_path / "log.db"):
        with pytest.raises(ConfigError, match=f"process id {os.getpid()} has this file"):
            async with opened(tmp_path / "log.db"):
                pass
    async with opened(tmp_path / "log.db"):
        pass


@pytest.mark.parametrize("umask", [0, 0o022])
async def test_nobody_else_can_open_the_files_or_the_folder(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "data"
    before = os.umask(umask)
    try:
        async with opened(folder / "log.db"):
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
            assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


async def test_a_lock_file_that_others_could_open_is_theirs_no_more(tmp_path: Path) -> None:
    lock = tmp_path / "log.db.lock"
    lock.touch()
    lock.chmod(0o644)
    async with opened(tmp_path / "log.db"):
        assert lock.stat().st_mode & 0o777 == 0o600


async def test_a_lock_file_that_takes_no_word_is_good_enough(tmp_path: Path) -> None:
    (tmp_path / "log.db.lock").symlink_to("/dev/full")  # a disk without a byte to spare
    async with opened(tmp_path / "log.db") as engine:
        assert engine.is_up


async def test_a_file_of_an_earlier_schema_is_migrated(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "log.db")
    old.executescript(";".join(MIGRATIONS[:2]))
    old.executescript(
        """
        PRAGMA user_version = 2;
        INSERT INTO facts VALUES ('epoch', 'the epoch');
        INSERT INTO rooms VALUES (1, 'general', 1);
        INSERT INTO messages VALUES (1, 1, 0, 'percy', 'new_message', x'7b7d', NULL);
        INSERT INTO accounts VALUES ('percy', 'hash');
        INSERT INTO sessions VALUES ('session', 'percy', 2000);
        """
    )
    old.close()
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == Head("the epoch", 1)
        assert await engine.account("percy") == Account("percy", "hash")
        assert await engine.session("session") == Grant("percy", "session")
        assert await engine.mark_read("general", "percy", 1) == 1
        assert (await engine.append(drafts(1)))[0].seq == 2


def test_two_processes_may_migrate_a_file_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.db" for number in range(5)]
    program = "import pathlib, sys; from hubbub.engine.schema import connect_file\n"
    program += "for path in sys.argv[1:]: connect_file(pathlib.Path(path)).close()"
    both = [subprocess.Popen([sys.executable, "-c", program, *map(str, files)]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


async def test_a_file_is_not_migrated_under_a_server_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", 0)
    earlier = sqlite3.connect(tmp_path / "log.db")
    earlier.executescript(";".join([*MIGRATIONS[:-1], f"PRAGMA user_version = {len(MIGRATIONS) - 1}"]))
    earlier.execute("INSERT INTO facts VALUES ('epoch', 'the epoch')")
    earlier.commit()
    earlier.close()
    server = lock.Lock(tmp_path / "log.db")
    with pytest.raises(ConfigError, match="has this file"):
        async with outside(tmp_path / "log.db"):
            pass
    server.release()
    async with outside(tmp_path / "log.db") as vault:
        assert await vault.accounts() == []


async def test_a_newer_file_than_the_program_knows_is_refused(tmp_path: Path) -> None:
    connect_file(tmp_path / "log.db").close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="schema 99"):
        connect_file(tmp_path / "log.db")


async def test_what_cannot_be_a_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and longer than a header of one " * 100)
    for path in (tmp_path, tmp_path / "text", tmp_path / "text" / "log.db"):
        with pytest.raises(ConfigError, match="--engine sqlite:///"):
            connect_file(path)


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(1))
        modes = modes_in(tmp_path)
        assert modes["log.db"] == modes["log.db-wal"] == 0o600


@pytest.mark.parametrize("count", [1, 2, 5, 16, 21, 300, 1000])
async def test_batches_of_any_size_are_kept_in_order(tmp_path: Path, count: int) -> None:
    async with opened(tmp_path / "log.db") as engine:
        receipts = await engine.append(drafts(count))
        assert [receipt.seq for receipt in receipts] == list(range(1, count + 1))
        assert await seqs(engine) == list(range(1, count + 1))


# The journal and the table


async def pages(engine: SqliteEngine, last: int) -> None:
    """Read every page around every seq, and check it against what is true of seqs 1 to `last`."""
    for limit in (1, 3, last):
        for seq in range(last + 2):
            newer = await engine.read("general", after=seq, limit=limit)
            assert [each.seq for each in newer.messages] == list(range(seq + 1, last + 1))[:limit]
            assert newer.more == (seq + limit < last)
            older = await engine.read("general", before=seq, limit=limit)
            assert [each.seq for each in older.messages] == list(range(1, seq))[-limit:]
            assert older.more == (limit < min(seq - 1, last))
            assert newer.head.seq == older.head.seq == last
    assert (await engine.read("general", limit=0)).messages == []


@pytest.mark.parametrize("folded", [0, 4, 9])
async def test_a_page_may_be_partly_of_the_table_and_partly_of_the_journal(tmp_path: Path, folded: int) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(folded) + drafts(1, "other"))
        await folding_of(engine).fold()
        await engine.append(drafts(9 - folded) + drafts(1, "other"))
        await pages(engine, 9)


async def test_reading_and_writing_go_on_while_the_journal_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 1)
    insert_rows = LogFile.insert_rows

    async with opened(tmp_path / "log.db") as engine:
        loop = asyncio.get_running_loop()
        seen: list[asyncio.Future[list[int]]] = []

        def look(self: LogFile, rows: Any) -> None:
            insert_rows(self, rows)
            loop.call_soon_threadsafe(lambda: seen.append(asyncio.ensure_future(write_and_read())))

        async def write_and_read() -> list[int]:
            await engine.append(drafts(1))
            return await seqs(engine)

        await engine.append(drafts(3, "other") + drafts(3))
        with monkeypatch.context() as watched:
            watched.setattr(LogFile, "insert_rows", look)
            await folding_of(engine).fold()
        found = [await each for each in seen]
        assert len(found) == 6
        assert all(each == list(range(1, len(each) + 1)) for each in found)
        assert (await engine.head("general")).seq == 9
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == list(range(1, 10))


async def test_a_journal_left_behind_is_folded_when_the_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(_self: Folding) -> bool:
        return False

    with monkeypatch.context() as killed:
        killed.setattr(Folding, "fold", leave)
        async with opened(tmp_path / "log.db") as engine:
            await engine.append(drafts(3) + drafts(1, "other"))
            await engine.append(drafts(1, key="k"))
    for _ in range(2):
        async with opened(tmp_path / "log.db") as engine:
            assert await seqs(engine) == [1, 2, 3, 4]
            assert (await engine.append(drafts(1, key="k")))[0].seq == 4


async def test_a_caller_that_gives_up_does_not_have_its_seq_given_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(_self: Folding) -> bool:
        return False

    with monkeypatch.context() as killed:
        killed.setattr(Folding, "fold", leave)
        async with opened(tmp_path / "log.db", durability="full") as engine:
            await engine.append(drafts(1))
            go = Event()
            vars(engine)["_journaling"].do(go.wait)
            given_up = asyncio.ensure_future(engine.append([Draft("general", "given up", b"{}")]))
            await asyncio.sleep(0)
            given_up.cancel()
            go.set()
            await asyncio.gather(given_up, return_exceptions=True)
            assert given_up.cancelled()
            await engine.append([Draft("general", "kept", b"{}")])
    async with opened(tmp_path / "log.db") as engine:
        page = await engine.read("general", limit=10)
        assert [message.type for message in page.messages] == ["new_message", "given up", "kept"]


async def test_half_a_fold_is_finished_when_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(LogFile, "end_fold", failing(LogFile.end_fold, 1, 2, 3))
        async with opened(tmp_path / "log.db") as engine:
            await engine.append(drafts(3))
            assert not await folding_of(engine).fold()
            assert await seqs(engine) == [1, 2, 3], "not twice"
            await engine.append(drafts(2))
            assert await seqs(engine) == [1, 2, 3, 4, 5]
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == [1, 2, 3, 4, 5]


async def test_a_fold_that_fails_half_way_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_MESSAGES", 50)
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 10)
    monkeypatch.setattr(folding_module, "FOLD_RETRY_S", 0)
    monkeypatch.setattr(LogFile, "insert", failing(LogFile.insert, 3, 5, 9))
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(60) + drafts(20, "other"))
        await engine.append(drafts(5))
        await settled(engine)
        assert unfolded(engine) < 50
        assert await seqs(engine) == list(range(1, 66))
        assert await seqs(engine, "other") == list(range(1, 21))
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == list(range(1, 66))


async def test_one_fold_is_under_way_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 1)
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(20))
        first = asyncio.ensure_future(folding_of(engine).fold())
        await asyncio.sleep(0)
        await engine.append(drafts(5))
        assert all(await asyncio.gather(first, folding_of(engine).fold(), folding_of(engine).fold()))
        assert unfolded(engine) == 0
        assert await seqs(engine) == list(range(1, 26))
    assert in_table(tmp_path / "log.db") == 25


async def test_a_tail_that_cannot_be_folded_takes_no_more_at_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "MOST_TAIL_MESSAGES", 99)
    async with opened(tmp_path / "log.db") as engine:
        with monkeypatch.context() as full:
            full.setattr(LogFile, "insert", failing(LogFile.insert, *range(1, 10)))
            await engine.append(drafts(100))
            with pytest.raises(NotKept, match="cannot be folded"):
                await engine.append(drafts(1))
        await engine.append(drafts(1))
        assert await seqs(engine) == list(range(1, 102))
        assert unfolded(engine) == 1


async def test_the_tail_is_folded_by_itself_and_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_MESSAGES", 50)
    async with opened(tmp_path / "log.db") as engine:
        for _ in range(20):
            await engine.append(drafts(20))
        await settled(engine)
        assert unfolded(engine) < 50
        assert await seqs(engine) == list(range(1, 401))


async def test_what_comes_during_a_fold_is_folded_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_MESSAGES", 50)
    async with opened(tmp_path / "log.db") as engine:
        go = Event()
        checkpoint = LogFile.checkpoint
        monkeypatch.setattr(LogFile, "checkpoint", lambda self: (go.wait(60), checkpoint(self)))
        await engine.append(drafts(50))
        await engine.append(drafts(300))  # the fold ends when the checkpoint does
        go.set()
        await settled(engine)
        assert unfolded(engine) < 50


async def test_a_large_tail_is_folded_in_as_few_portions_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "FOLD_MESSAGES", 64)
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 4)
    insert, portions = LogFile.insert, []

    def note(self: LogFile, rows: Sequence[Row]) -> None:
        portions.append(len(rows))
        insert(self, rows)

    monkeypatch.setattr(LogFile, "insert", note)
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(64 * 20))
        await settled(engine)
        assert sum(portions) == 64 * 20
        assert len(portions) == 16


async def test_a_place_is_not_forgotten_while_the_table_lags_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "MAX_PLACES", 0)
    async with opened(tmp_path / "log.db") as engine:
        for _ in range(3):
            await engine.append(drafts(2))
            await engine.append(drafts(1, "other"))
        assert await seqs(engine) == [1, 2, 3, 4, 5, 6]
        await folding_of(engine).fold()
        await engine.append(drafts(1, "other"))
        assert "general" not in vars(engine)["_places"]
        assert (await engine.append(drafts(1, key="k")))[0].seq == 7
        await folding_of(engine).fold()
        await engine.append(drafts(1, "other"))
        assert (await kept(engine.append(drafts(1, key="k"))))[0].repeated


# Retention


async def test_a_room_that_is_in_the_journal_alone_is_trimmed_for_good(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", keep=100) as engine:
        await engine.append(drafts(650))
        await settled(engine)
        assert in_table(tmp_path / "log.db") == 100
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert await seqs(engine) == list(range(551, 651))


async def test_a_room_keeps_its_newest_messages(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", keep=100) as engine:
        for _ in range(13):
            await engine.append(drafts(100))
        await settled(engine)
        found = await seqs(engine)
        assert found == list(range(1301 - len(found), 1301))
        assert 100 <= len(found) < 100 + TRIM_ROWS
        assert (await engine.head("general")).seq == 1300
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert (await engine.append(drafts(1)))[0].seq == 1301


async def test_a_trim_that_a_stop_comes_upon_leaves_no_hole(tmp_path: Path) -> None:
    clock = Clock()
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=clock, keep=100)
    await engine.open(Silent())
    await engine.append(drafts(100))
    await folding_of(engine).fold()
    await engine.append(drafts(550))
    go = Event()
    database_of(engine).writer.do(go.wait)
    await asyncio.sleep(0)  # the trim has begun, and what it deletes is deleted when the thread comes to it
    closing = asyncio.create_task(engine.close())
    for _ in range(10):
        await asyncio.sleep(0)
    go.set()
    await closing
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert await seqs(engine) == list(range(501, 651))


async def test_a_trim_that_fails_leaves_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "log.db", keep=100) as engine:
        await engine.append(drafts(100))
        await folding_of(engine).fold()
        monkeypatch.setattr(LogFile, "delete", failing(LogFile.delete, 1))
        await engine.append(drafts(550))
        await settled(engine)
        found = await seqs(engine)
        assert found == list(range(501, 651))
        assert [each.seq for each in (await engine.read("general", before=651, limit=999)).messages] == found
        await folding_of(engine).fold()
        assert await seqs(engine) == found
        assert [each.seq for each in (await engine.read("general", before=651, limit=999)).messages] == found
        await engine.append(drafts(5))  # the table has 1 to 100 and 501 to 650, the tail the rest
        found += range(651, 656)
        assert await seqs(engine) == found
        assert [each.seq for each in (await engine.read("general", before=656, limit=999)).messages] == found
        await engine.append(drafts(495))
        await settled(engine)
        assert await seqs(engine) == list(range(1051, 1151))
    assert in_table(tmp_path / "log.db") == 100
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert await seqs(engine) == list(range(1051, 1151))


async def test_what_was_trimmed_is_not_taken_from_the_journal_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(_self: Folding) -> bool:
        return False

    async with opened(tmp_path / "log.db", keep=100) as engine:
        await engine.append(drafts(1))
    with monkeypatch.context() as killed:
        killed.setattr(Folding, "fold", leave)
        async with opened(tmp_path / "log.db", keep=100) as engine:
            await engine.append(drafts(649))
            await settled(engine)
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert await seqs(engine) == list(range(551, 651))
    assert in_table(tmp_path / "log.db") == 100


async def test_a_room_is_trimmed_while_it_is_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_MESSAGES", 50)
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 20)
    monkeypatch.setattr(retention, "TRIM_PAUSE_S", 0)
    async with opened(tmp_path / "log.db", keep=100) as engine:
        for _ in range(60):
            await engine.append(drafts(70) + drafts(30, "other"))
            found = await seqs(engine)
            assert found == list(range(found[0], found[0] + len(found)))
        await settled(engine)
        for room, last in (("general", 4200), ("other", 1800)):
            found = await seqs(engine, room)
            assert found == list(range(last + 1 - len(found), last + 1))
            assert len(found) < 100 + TRIM_ROWS
        count = len(await seqs(engine)) + len(await seqs(engine, "other"))
    assert in_table(tmp_path / "log.db") == count


async def test_old_messages_are_deleted_and_seqs_go_on(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(700) + drafts(1, "other"))
        clock.go(50)
        await engine.append(drafts(5))
        await retention_of(engine).trim_old()
        assert len(await seqs(engine)) == 705
        clock.go(11)
        await retention_of(engine).trim_old()
        assert await seqs(engine) == [701, 702, 703, 704, 705]
        assert await seqs(engine, "other") == []
        assert (await engine.head("other")).seq == 1
        clock.go(60)
        await retention_of(engine).trim_old()
        assert await seqs(engine) == []
        assert (await engine.head("general")).seq == 705
    assert in_table(tmp_path / "log.db") == 0
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        assert (await engine.head("general")).seq == 705
        assert (await engine.append(drafts(1)))[0].seq == 706


async def test_old_messages_are_looked_for_in_every_room_from_the_start_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "OLD_ROOMS", 3)
    clock = Clock()
    async with opened(tmp_path / "log.db", clock) as engine:
        await engine.append([draft for number in range(10) for draft in drafts(2, f"room {number}")])
    clock.go(61)
    trimmed = asyncio.Event()
    trim_old = Retention.trim_old

    async def note(self: Retention) -> None:
        await trim_old(self)
        trimmed.set()

    monkeypatch.setattr(Retention, "trim_old", note)
    monkeypatch.setattr(retention, "OLD_EVERY_S", 0)
    async with opened(tmp_path / "log.db", clock, keep_s=60), asyncio.timeout(60):
        await trimmed.wait()
        assert in_table(tmp_path / "log.db") == 20, "nothing is old in the first minute"
        clock.go(60)
        while in_table(tmp_path / "log.db"):
            trimmed.clear()
            await trimmed.wait()


async def test_a_glitch_of_the_wall_clock_deletes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    wall = Wall(clock)
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=wall, keep_s=60)
    await engine.open(Silent())
    await engine.append(drafts(3))
    for _ in range(3):
        clock.go(61)
        await engine.append(drafts(2))
        wall.jump(YEAR_S)
        await retention_of(engine).trim_old()
        assert (await seqs(engine))[-2:] == [(await engine.head("general")).seq - 1, (await engine.head("general")).seq]
        wall.jump(-YEAR_S)
        await retention_of(engine).trim_old()
        assert len(await seqs(engine)) == 2
    await engine.close()


async def test_sent_does_not_go_back_when_all_messages_have_gone(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(1))
        (last,) = await kept(engine.append(drafts(1)))
        clock.go(61)
        await retention_of(engine).trim_old()
        assert await seqs(engine) == []
    async with opened(tmp_path / "log.db", Clock(10)) as engine:
        assert await engine.append(drafts(1)) == [Receipt(3, last.sent)]


async def test_a_fold_that_is_retried_brings_nothing_old_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(600))
        monkeypatch.setattr(LogFile, "insert", failing(LogFile.insert, 2, 3))
        assert not await folding_of(engine).fold()  # the table has the first portion
        clock.go(61)
        with monkeypatch.context() as interrupted:
            interrupted.setattr(LogFile, "find_old", failing(LogFile.find_old, 2))
            with pytest.raises(EngineError):
                await retention_of(engine).trim_old()  # its fold fails, and the first portion goes
        assert await seqs(engine) == list(range(257, 601))
        assert await folding_of(engine).fold()
        assert await seqs(engine) == list(range(257, 601))
    assert in_table(tmp_path / "log.db") == 600 - 256


async def test_a_journal_whose_messages_are_all_too_old_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogFile, "end_fold", failing(LogFile.end_fold, 1, 2))
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(60))
        assert not await folding_of(engine).fold()  # the table has all
        clock.go(61)
        await retention_of(engine).trim_old()
        assert await seqs(engine) == []
        assert unfolded(engine) == 0


async def test_a_trim_by_age_waits_for_the_fold_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_module, "FOLD_ROWS", 7)
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(50))
        clock.go(61)
        await engine.append(drafts(50))
        folding = asyncio.ensure_future(folding_of(engine).fold())
        await asyncio.gather(
            folding, retention_of(engine).trim_old(), engine.append(drafts(50)), retention_of(engine).trim_old()
        )
        assert await seqs(engine) == list(range(51, 151))


# A disk that is full


@contextmanager
def full_disk() -> Iterator[None]:
    """A disk on which each write finds room for half of it, and then none."""
    pwrite, halves = os.pwrite, set[int]()

    def write_half(descriptor: int, data: bytes, offset: int) -> int:
        if offset in halves:
            raise OSError(errno.ENOSPC, FULL)
        written = pwrite(descriptor, data[: len(data) // 2], offset)
        halves.add(offset + written)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", write_half)
        yield


async def test_a_full_disk_refuses_writers_lets_readers_go_on_and_heals(tmp_path: Path) -> None:
    told, clock = Told(), Clock()
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=clock)
    await engine.open(told)
    await engine.subscribe("general")
    await engine.append(drafts(10))
    with full_disk(), pytest.raises(NotKept, match="full"):
        await engine.append(drafts(2000, key=None) + drafts(1, key="k") + drafts(1, "new room"))
    assert await seqs(engine) == list(range(1, 11))
    assert (await engine.head("general")).seq == 10
    assert (await engine.head("new room")).seq == 0
    receipts = await kept(engine.append(drafts(1, key="k") + drafts(1, "new room")))
    assert [(receipt.seq, receipt.repeated) for receipt in receipts] == [(11, False), (1, False)]
    assert told.delivered == {"general": list(range(1, 12))}
    await engine.close()


async def test_it_is_down_from_a_failed_write_until_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_S", 0)
    async with opened(tmp_path / "log.db") as engine:
        up = [engine.is_up]
        with full_disk(), pytest.raises(NotKept, match="full"):
            await engine.append(drafts(2000))
        up.append(engine.is_up)
        assert up == [True, False]
        async with asyncio.timeout(60):
            while not engine.is_up:  # it looks by itself: a server that is not ready may be sent nothing to write
                await asyncio.sleep(0)  # in its own threads
        assert await seqs(engine) == []


async def test_a_write_that_the_disk_does_not_confirm_is_not_known_and_the_next_goes_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_S", 0)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with opened(tmp_path / "log.db", durability="full") as engine:
        await engine.append(drafts(1))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", fail)
            with pytest.raises(NotKnown, match="Input/output"):
                await engine.append(drafts(1, key="k"))
            with pytest.raises(NotKept):
                await engine.append(drafts(1))
        async with asyncio.timeout(60):
            while not engine.is_up:
                await asyncio.sleep(0)  # it looks in its own threads
        (receipt,) = await kept(engine.append(drafts(1, key="k")))
        assert (receipt.seq, receipt.repeated) == (2, False)
        assert await seqs(engine) == [1, 2]


async def test_it_is_not_up_while_no_other_file_of_the_journal_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail(*_args: object) -> None:
        loop.call_soon_threadsafe(tried.set)
        raise OSError(errno.EIO, "Input/output error")

    async with opened(tmp_path / "log.db", durability="full") as engine:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", fail)
            broken.setattr(Journal, "make", fail)
            with pytest.raises(NotKnown):
                await engine.append(drafts(1))
            tried.clear()
            with pytest.raises(NotKept):
                await engine._probe_journal()
            assert tried.is_set()
            assert not engine.is_up
        await engine._probe_journal()
        await engine.append(drafts(1))
        assert engine.is_up


async def test_keys_outlive_their_messages_though_the_fold_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(1))
        await folding_of(engine).fold()
        await engine.append(drafts(1, key="k"))
        await engine.clear("general")
        with monkeypatch.context() as broken:
            broken.setattr(LogFile, "end_fold", failing(LogFile.end_fold, 1))
            assert not await folding_of(engine).fold()
    async with opened(tmp_path / "log.db") as engine:
        (receipt,) = await kept(engine.append(drafts(1, key="k")))
        assert (receipt.seq, receipt.repeated) == (2, True)


# The vault, and another process


@asynccontextmanager
async def outside(path: Path) -> AsyncIterator[Vault]:
    """The vault as `hubbub user` opens it."""
    clock = Clock()
    async with vault_at(f"sqlite:///{path}", clock=clock, wall=clock) as vault:
        yield vault


async def test_no_secret_is_in_the_files(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        accounts = Accounts(engine, session_ttl_s=60.0, max_user_name=32)
        try:
            setup = await accounts.open_setup()
            await accounts.add("percy", "a password of percy's")
            found = await accounts.log_in("percy", "a password of percy's")
        finally:
            accounts.close()
        assert found is not None and setup is not None
        token, grant = found
        otp = await OneTimePasswords(engine, ttl_s=60.0, per_account=0, in_all=0).issue(grant)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"$argon2id$v=19$m=65536,t=3,p=4$" in files
        for secret in ("a password of percy's", token, otp, setup):
            assert secret.encode() not in files


async def test_accounts_are_kept_beside_a_running_server(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        async with outside(tmp_path / "log.db") as vault:
            await vault.put_account(Account("percy", "hash"))
            await vault.put_account(Account("alice", "hash"))
            assert await engine.account("percy") == Account("percy", "hash")
            assert await vault.accounts() == ["alice", "percy"]
            assert await vault.remove_account("percy")
            assert await engine.account("percy") is None
        accounts_of_another_process(tmp_path / "log.db")
        await engine.append(drafts(3))
        assert (tmp_path / "log.db-wal").exists(), "nobody has taken the log for abandoned"
        assert await engine.accounts() == ["alice", "carol"]
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == [1, 2, 3]


def accounts_of_another_process(path: Path) -> None:
    """Add an account and close the file as `hubbub user` does: SQLite's locks are between processes."""
    subprocess.run(
        [sys.executable, "-m", "hubbub", "user", "add", "carol", "--engine", f"sqlite:///{path}"],
        input=b"password",
        check=True,
    )


async def test_one_time_passwords_of_a_session_that_another_process_has_ended_count_no_more(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "log.db", clock) as engine:
        await engine.put_account(Account("percy", "hash"))
        await engine.put_session(Grant("percy", "old"), 100)
        assert await engine.issue_otp("first", Grant("percy", "old"), ttl_s=5, per_account=1, in_all=0) is None
        async with outside(tmp_path / "log.db") as vault:
            await vault.put_account(Account("percy", "other hash"))
        assert await engine.alive(["old"]) == set()
        await engine.put_session(Grant("percy", "new"), 100)
        assert await engine.issue_otp("second", Grant("percy", "new"), ttl_s=5, per_account=1, in_all=0) is None


async def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_session, found, go = sqlite_vault.find_session, Event(), Event()

    def find_and_wait(connection: sqlite3.Connection, session: str) -> tuple[Grant, float] | None:
        session_found = find_session(connection, session)
        found.set()
        go.wait(60)
        return session_found

    async with opened(tmp_path / "log.db") as engine:
        async with outside(tmp_path / "log.db") as vault:
            await vault.put_session(Grant("percy", "session"), 2000)
        monkeypatch.setattr(sqlite_vault, "find_session", find_and_wait)
        looking = asyncio.ensure_future(engine.session("session"))
        await asyncio.to_thread(found.wait, 60)
        await engine.end_session("session")
        go.set()
        await looking
        assert await engine.session("session") is None


@pytest.mark.parametrize("is_removed", [False, True])
async def test_sessions_that_another_process_ends_are_dead_after_the_next_look(
    tmp_path: Path, is_removed: bool
) -> None:
    async with opened(tmp_path / "log.db") as engine:
        for user in ("percy", "alice"):
            await engine.put_account(Account(user, "hash"))
            await engine.put_session(Grant(user, f"{user}'s"), 2000)
            await engine.issue_otp(f"{user}'s otp", Grant(user, f"{user}'s"), ttl_s=9, per_account=0, in_all=0)
            assert await engine.session(f"{user}'s") is not None
        async with outside(tmp_path / "log.db") as vault:
            await (vault.remove_account("percy") if is_removed else vault.put_account(Account("percy", "new")))
        assert await engine.alive(["alice's"]) == {"alice's"}, "the look is at those that nobody asks about, too"
        assert await engine.session("percy's") is None
        assert await engine.take_otp("percy's otp") is None
        assert await engine.session("alice's") == Grant("alice", "alice's")
        assert await engine.take_otp("alice's otp") == Grant("alice", "alice's")


async def test_a_vault_that_no_other_process_can_have_is_refused() -> None:
    for url in ("memory://", "sqlite:///", "other://host"):
        with pytest.raises(ConfigError, match="--engine"):
            async with vault_at(url, clock=Clock(), wall=Clock()):
                pass


async def test_the_url_of_a_vault_may_name_a_durability(tmp_path: Path) -> None:
    async with vault_at(f"sqlite:///{tmp_path}/log.db?durability=full", clock=Clock(), wall=Clock()) as vault:
        assert await vault.accounts() == []
    with pytest.raises(ConfigError, match="names no engine"):
        await make_engine(f"sqlite:///{tmp_path}/log.db?durability=none", clock=Clock(), wall=Clock())


async def test_marks_of_many_readers_are_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "log.db") as engine:
        written: list[int] = []
        write_marks = marks.write_marks

        def note(connection: sqlite3.Connection, gathered: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
            written.append(len(gathered))
            return write_marks(connection, gathered)

        monkeypatch.setattr(marks, "write_marks", note)
        await asyncio.gather(*(engine.mark_read("general", f"user {number}", 1) for number in range(400)))
        assert written == [1, 399]
        await asyncio.gather(*(engine.mark_read("general", "percy", number) for number in range(400)))
        assert written[2:] == [1, 1]
        await asyncio.gather(*(engine.mark_read("general", f"user {number}", 2) for number in range(1200)))
        assert max(written) == marks.MOST_MARKS


async def test_who_waits_for_a_mark_that_is_not_kept_is_told_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        connection = database_of(engine).writing
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to pretend a full disk
        waiting = [engine.mark_read("general", f"user {number}", 1) for number in range(2000)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert any(isinstance(each, EngineError) for each in found)
        for number, each in enumerate(found):
            mark = await engine.read_mark("general", f"user {number}")
            assert mark == (0 if isinstance(each, EngineError) else 1)


async def test_a_page_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(5))
        await folding_of(engine).fold()
        last_seq = LogFile.last_seq

        def late(self: LogFile, room: int, first: int) -> int:
            with sqlite3.connect(tmp_path / "log.db") as other:
                other.execute("INSERT INTO messages (room, seq, sent, type, body) VALUES (1, 6, 0, 'x', x'7b7d')")
            other.close()
            return last_seq(self, room, first)

        monkeypatch.setattr(LogFile, "last_seq", late)
        page = await engine.read("general", limit=10)
        assert page.head.seq == page.messages[-1].seq == 5


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_whatever_goes_wrong_leaves_no_seq_and_no_key_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    def fail(*_args: object) -> None:
        raise MemoryError

    async with opened(tmp_path / "log.db", durability=durability) as engine:
        await engine.append(drafts(1))
        with monkeypatch.context() as broken:
            broken.setattr(JournalFile, "write", fail)
            with pytest.raises(MemoryError):
                await engine.append(drafts(1, key="k"))
        (receipt,) = await kept(engine.append(drafts(1, key="k")))
        assert (receipt.seq, receipt.repeated) == (2, False)
        assert await seqs(engine) == [1, 2]


async def test_a_link_to_the_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
    async with opened(tmp_path / "log.db"):
        with pytest.raises(ConfigError, match="has this file"):
            async with opened(tmp_path / "link.db"):
                pass
