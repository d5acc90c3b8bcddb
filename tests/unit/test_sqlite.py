"""The SQLite engine beyond the contract: what survives, what is trimmed, and a disk that is full."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from hubbub.engine import Account, Draft, Grant
from hubbub.engine import sqlite as sqlite_module
from hubbub.engine.logfile import LogFile
from hubbub.engine.schema import AccountFile, connect_file
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import ConfigError, EngineError
from hubbub.events import Message
from stage import Clock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(path: Path, clock: Clock | None = None, **options: Any) -> AsyncIterator[SqliteEngine]:
    clock = clock or Clock()
    engine = SqliteEngine(path, clock=clock, wall=clock, **options)
    await engine.open(lambda _room, _messages: None)
    try:
        yield engine
    finally:
        await engine.close()


def drafts(count: int, room: str = "general", key: str | None = None) -> list[Draft]:
    return [Draft(room, "new_message", b'{"message":"hi"}', "percy", key) for _ in range(count)]


async def seqs(engine: SqliteEngine, room: str = "general", limit: int = 10_000) -> list[int]:
    return [message.seq for message in (await engine.read(room, after=0, limit=limit)).messages]


async def test_everything_kept_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(3) + drafts(1, "other"))
        (first,) = await engine.append(drafts(1, key="k"))
        head = await engine.head("general")
        await engine.put_account(Account("percy", "hash"))
        await engine.put_session(Grant("percy", "session"), 2000)
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == head
        assert (await engine.append(drafts(1, key="k")))[0] == type(first)(first.seq, first.sent, repeated=True)
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
        await engine.fold()
        await engine.append(drafts(9 - folded) + drafts(1, "other"))
        await pages(engine, 9)


async def test_reading_and_writing_go_on_while_the_journal_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "FOLD_ROWS", 1)
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
            await engine.fold()
        found = [await each for each in seen]
        assert len(found) == 6
        assert all(each == list(range(1, len(each) + 1)) for each in found)
        assert (await engine.head("general")).seq == 9
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == list(range(1, 10))


async def test_a_journal_left_behind_is_folded_when_the_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(_self: SqliteEngine) -> None: ...

    with monkeypatch.context() as killed:
        killed.setattr(SqliteEngine, "fold", leave)
        async with opened(tmp_path / "log.db") as engine:
            await engine.append(drafts(3) + drafts(1, "other"))
            await engine.append(drafts(1, key="k"))
    for _ in range(2):
        async with opened(tmp_path / "log.db") as engine:
            assert await seqs(engine) == [1, 2, 3, 4]
            assert (await engine.append(drafts(1, key="k")))[0].seq == 4


async def test_half_a_fold_is_finished_when_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_args: object) -> None:
        raise EngineError("killed here")

    with monkeypatch.context() as killed:
        killed.setattr(LogFile, "clear_journal", die)
        async with opened(tmp_path / "log.db") as engine:
            await engine.append(drafts(3))
            await engine.fold()
            assert await seqs(engine) == [1, 2, 3], "not twice"
            await engine.append(drafts(2))
            assert await seqs(engine) == [1, 2, 3, 4, 5]
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == [1, 2, 3, 4, 5]


async def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(1))
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("INSERT INTO journal (batch) VALUES (x'c1')")
    other.close()
    with pytest.raises(ConfigError, match="journal is damaged"):
        async with opened(tmp_path / "log.db"):
            pass


async def test_the_tail_is_folded_by_itself_and_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "FOLD_MESSAGES", 50)
    async with opened(tmp_path / "log.db") as engine:
        for _ in range(20):
            await engine.append(drafts(20))
        tail = vars(engine)["_tail"]
        async with asyncio.timeout(20):
            while sum(len(tail.after(room, 0, 1000)) for room in ("general",) if room in tail) > 100:
                await asyncio.sleep(0.01)
        assert await seqs(engine) == list(range(1, 401))


async def test_large_batches_do_not_outrun_the_folding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "FOLD_MESSAGES", 64)
    monkeypatch.setattr(sqlite_module, "FOLD_ROWS", 4)
    async with opened(tmp_path / "log.db") as engine:
        tail, most = vars(engine)["_tail"], 0
        for _ in range(300):
            await engine.append(drafts(40))
            if "general" in tail:
                most = max(most, tail.last("general") - tail.first("general"))
        assert most < 300 * 40 / 2


async def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.put_session(Grant("percy", "session"), 2000)
        await asyncio.gather(engine.session("session"), engine.end_session("session"))
        assert await engine.session("session") is None


# Retention


async def until(engine: SqliteEngine, expected: list[int]) -> None:
    async with asyncio.timeout(20):
        while await seqs(engine) != expected:  # a background task trims
            await asyncio.sleep(0.01)


async def test_a_room_keeps_its_newest_messages(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", keep=100) as engine:
        for _ in range(13):
            await engine.append(drafts(100))
        await until(engine, list(range(1201, 1301)))
        assert (await engine.head("general")).seq == 1300
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert (await engine.append(drafts(1)))[0].seq == 1301


async def test_a_trim_that_a_stop_comes_upon_leaves_no_hole(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", keep=100) as engine:
        await engine.append(drafts(100))
        await engine.fold()
        await engine.append(drafts(550))
        go = Event()
        vars(engine)["_writer"].do(go.wait)
        await asyncio.sleep(0)  # the trim has begun, and what it deletes is deleted when the thread comes to it
        closing = asyncio.create_task(engine.close())
        for _ in range(10):
            await asyncio.sleep(0)
        go.set()
        await closing
    async with opened(tmp_path / "log.db", keep=100) as engine:
        assert await seqs(engine) == list(range(501, 651))


async def test_old_messages_are_deleted_and_seqs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "OLD_EVERY_S", 0.01)
    clock = Clock()
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        await engine.append(drafts(700))
        clock.go(50)
        await engine.append(drafts(5))
        assert len(await seqs(engine)) == 705
        clock.go(11)
        await until(engine, [701, 702, 703, 704, 705])
        clock.go(60)
        await until(engine, [])
        assert (await engine.head("general")).seq == 705
    async with opened(tmp_path / "log.db", clock, keep_s=60) as engine:
        assert (await engine.head("general")).seq == 705
        assert (await engine.append(drafts(1)))[0].seq == 706


# A disk that is full


def fill_disk(engine: SqliteEngine, *, is_full: bool) -> None:
    """Let the file grow no more: SQLite's own way to pretend a full disk."""
    connection = vars(engine)["_write"]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages if is_full else 1 << 30}")


async def test_a_full_disk_refuses_writers_lets_readers_go_on_and_heals(tmp_path: Path) -> None:
    delivered: list[int] = []

    def deliver(_room: str, messages: Sequence[Message]) -> None:
        delivered.extend(message.seq for message in messages)

    clock = Clock()
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=clock)
    await engine.open(deliver)
    engine.subscribe("general")
    await engine.append(drafts(10))
    fill_disk(engine, is_full=True)
    with pytest.raises(EngineError, match="full"):
        await engine.append(drafts(2000, key=None) + drafts(1, key="k") + drafts(1, "new room"))
    assert await seqs(engine) == list(range(1, 11))
    assert (await engine.head("general")).seq == 10
    assert (await engine.head("new room")).seq == 0
    fill_disk(engine, is_full=False)
    receipts = await engine.append(drafts(1, key="k") + drafts(1, "new room"))
    assert [(receipt.seq, receipt.repeated) for receipt in receipts] == [(11, False), (1, False)]
    assert delivered == list(range(1, 12))
    await engine.close()


# Accounts from outside


async def test_accounts_are_kept_beside_a_running_server(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        connection = connect_file(tmp_path / "log.db")
        accounts = AccountFile(connection)
        accounts.put(Account("percy", "hash"))
        accounts.put(Account("alice", "hash"))
        assert await engine.account("percy") == Account("percy", "hash")
        await engine.put_session(Grant("percy", "session"), 2000)
        assert accounts.names() == ["alice", "percy"]
        accounts.remove("percy")
        assert await engine.account("percy") is None
        assert await engine.session("session") is None
        connection.close()
        accounts_of_another_process(tmp_path / "log.db")
        await engine.append(drafts(3))
        assert (tmp_path / "log.db-wal").exists(), "nobody has taken the log for abandoned"
    async with opened(tmp_path / "log.db") as engine:
        assert await seqs(engine) == [1, 2, 3]


def accounts_of_another_process(path: Path) -> None:
    """Open and close the file as `hubbub user` does: SQLite's locks are between processes."""
    program = (
        "import pathlib, sys; from hubbub.engine import schema; schema.connect_file(pathlib.Path(sys.argv[1])).close()"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)


async def test_a_page_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(5))
        await engine.fold()
        last_seq = LogFile.last_seq

        def late(self: LogFile, room: int, first: int) -> int:
            with sqlite3.connect(tmp_path / "log.db") as other:
                other.execute("INSERT INTO messages VALUES (1, 6, 0, NULL, 'x', x'7b7d', NULL)")
            other.close()
            return last_seq(self, room, first)

        monkeypatch.setattr(LogFile, "last_seq", late)
        page = await engine.read("general", limit=10)
        assert page.head.seq == page.messages[-1].seq == 5


async def test_whatever_goes_wrong_leaves_no_seq_and_no_key_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise MemoryError

    async with opened(tmp_path / "log.db") as engine:
        await engine.append(drafts(1))
        with monkeypatch.context() as broken:
            broken.setattr(LogFile, "journal", fail)
            with pytest.raises(MemoryError):
                await engine.append(drafts(1, key="k"))
        (receipt,) = await engine.append(drafts(1, key="k"))
        assert (receipt.seq, receipt.repeated) == (2, False)
        assert await seqs(engine) == [1, 2]


async def test_a_link_to_the_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
    async with opened(tmp_path / "log.db"):
        with pytest.raises(ConfigError, match="has this file"):
            async with opened(tmp_path / "link.db"):
                pass


async def test_sessions_ended_from_outside_take_their_one_time_passwords_with_them(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await engine.put_account(Account("percy", "hash"))
        for session in ("a", "b"):
            await engine.put_session(Grant("percy", session), 2000)
            await engine.put_otp(f"otp {session}", Grant("percy", session), 2000)
        connection = connect_file(tmp_path / "log.db")
        connection.execute("DELETE FROM sessions WHERE session = 'a'")
        connection.close()
        assert await engine.live_sessions() == {"b"}
        assert await engine.take_otp("otp a") is None
        assert await engine.take_otp("otp b") == Grant("percy", "b")
