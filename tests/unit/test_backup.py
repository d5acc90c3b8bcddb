"""Backups of a database in use, and what becomes of a log whose database is put back."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines import opened
from hubbub.acts import Role
from hubbub.engine import Account, Draft, Grant, Head, Receipt, SignUpLink, backup
from hubbub.engine.backup import back_up, restore
from hubbub.engine.journal import Journal
from hubbub.engine.schema import MIGRATIONS
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import ConfigError

pytestmark = pytest.mark.anyio


async def say(engine: SqliteEngine, *texts: str, room: str = "general", key: str | None = None) -> Head:
    await engine.append(
        [Draft(room, "new_message", f'{{"message":"{text}"}}'.encode(), "percy", key) for text in texts]
    )
    return await engine.head(room)


async def said(engine: SqliteEngine, room: str = "general") -> list[str]:
    page = await engine.read(room, after=0, limit=10_000)
    return [message.body.decode()[12:-2] for message in page.messages]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_backup_of_a_log_in_use_has_all_of_it_in_one_file(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "folded", "too")
        await vars(engine)["_folding"].fold()
        await say(engine, "in the journal", key="k1")
        await say(engine, "in a room of the journal", room="new")
        await engine.put_account(Account("percy", "hash"))
        await engine.put_session(Grant("percy", "session"), 1000)
        await engine.set_name("percy", "P", ("p",))
        await engine.put_link("secret", SignUpLink("first", "percy", Role.MEMBER, 1, 1000))
        await engine.mark_read("general", "percy", 2)
        back_up(tmp_path / "log.db", copies / "one.db")
        await say(engine, "later")
    assert names_in(copies) == ["one.db"]
    assert stat.S_IMODE((copies / "one.db").stat().st_mode) == 0o600
    async with opened(copies / "one.db") as engine:
        assert await said(engine) == ["folded", "too", "in the journal"]
        assert await said(engine, "new") == ["in a room of the journal"]
        assert await engine.accounts() == ["percy"]
        assert await engine.session("session") is None
        assert (await engine.profiles(["percy"]))["percy"].name == "P"
        assert await engine.links() == []  # it may have been used up since
        assert await engine.read_mark("general", "percy") == 2
        (again,) = await engine.append(
            [Draft("general", "new_message", b'{"message":"in the journal"}', "percy", "k1")]
        )
        assert isinstance(again, Receipt)
        assert again.repeated


async def test_a_backup_is_taken_of_a_log_that_is_closed_and_changes_nothing_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        before = await say(engine, "one")
    names = names_in(tmp_path)
    back_up(tmp_path / "log.db", tmp_path / "copy.db")
    assert names_in(tmp_path) == ["copy.db", *names]
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == before


async def back_up_elsewhere(path: Path, target: Path) -> None:
    """Back up in another process."""
    program = "import sys, pathlib, hubbub.engine.backup as b; b.back_up(*map(pathlib.Path, sys.argv[1:]))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, path, target)
    assert await process.wait() == 0


@pytest.mark.thorough
async def test_whatever_is_folded_while_a_backup_is_taken_nothing_acked_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubbub.engine.folding.FOLD_MESSAGES", 8)
    is_over = False

    async def talk(engine: SqliteEngine) -> None:
        number = 0
        while not is_over:
            rooms = [f"room {number % 5}", "general"]
            await engine.append([Draft(room, "new_message", b'{"message":"%d"}' % number) for room in rooms])
            number += 1

    async with opened(tmp_path / "log.db") as engine:
        talking = asyncio.create_task(talk(engine))
        acked = []
        for number in range(3):
            while (await engine.head("general")).seq < 20 * (number + 1):
                await asyncio.sleep(0)  # the copy goes on in its thread
            acked.append((await engine.head("general")).seq)
            await back_up_elsewhere(tmp_path / "log.db", tmp_path / f"copy{number}.db")
        is_over = True
        await talking
    for number, seq in enumerate(acked):
        with closing(sqlite3.connect(tmp_path / f"copy{number}.db")) as copy:
            counts = dict(copy.execute("SELECT name, count(*) FROM messages JOIN rooms ON id = room GROUP BY name"))
            holes = copy.execute("SELECT room FROM messages GROUP BY room HAVING count(*) != max(seq)").fetchall()
        assert holes == []
        assert counts["general"] >= seq
        assert sum(counts.values()) == 2 * counts["general"], "half a batch"


async def test_a_fold_between_the_database_and_the_journal_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
        loop = asyncio.get_running_loop()
        folds: list[int] = []

        def open_late(path: Path, folded: int, opened: Any) -> Any:
            if len(folds) < 2:
                folds.append(folded)
                asyncio.run_coroutine_threadsafe(fold(), loop).result()
            return open_files(path, folded, opened)

        async def fold() -> None:
            assert await vars(engine)["_folding"].fold()
            await say(engine, "more")

        open_files = backup.open_files
        monkeypatch.setattr(backup, "open_files", open_late)
        await asyncio.to_thread(back_up, tmp_path / "log.db", tmp_path / "copy.db")
    assert len(folds) == 2
    async with opened(tmp_path / "copy.db") as engine:
        assert await said(engine) == ["one", "more", "more"]


async def test_a_batch_that_comes_between_two_files_of_the_journal_leaves_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
        journal: Journal = vars(engine)["_journal"]
        following = journal.make(journal.current.number + 1)  # a fold is about to begin
        loop = asyncio.get_running_loop()
        pread = os.pread
        reads = 0

        def read_slowly(descriptor: int, size: int, place: int) -> bytes:
            nonlocal reads
            reads += 1
            data = pread(descriptor, size, place)
            if reads == 1:
                asyncio.run_coroutine_threadsafe(go_on(), loop).result()
            return data

        async def go_on() -> None:
            await say(engine, "two")
            journal.turn_to(following)
            await say(engine, "three")

        monkeypatch.setattr("os.pread", read_slowly)
        await asyncio.to_thread(back_up, tmp_path / "log.db", tmp_path / "copy.db")
        assert reads == 2
    async with opened(tmp_path / "copy.db") as engine:
        assert await said(engine) == ["one", "two"]


async def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
    (tmp_path / "copy.db").write_text("precious")
    (tmp_path / "link.db").symlink_to("nowhere")
    for name in ("copy.db", "log.db", "link.db"):
        with pytest.raises(ConfigError, match=r"is there already; name a new file"):
            back_up(tmp_path / "log.db", tmp_path / name)
    assert (tmp_path / "copy.db").read_text() == "precious"
    with pytest.raises(ConfigError, match=r"copy\.db: No such file or directory"):
        back_up(tmp_path / "log.db", tmp_path / "nowhere" / "copy.db")


async def test_a_backup_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
    names = names_in(tmp_path)

    def full(*_args: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    def unsynced(_path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name, fail, told in (
        ("copy_pages", full, "disk is full; make room"),
        ("sync", unsynced, "No space left on device"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backup, name, fail)
            with pytest.raises(ConfigError, match=told):
                back_up(tmp_path / "log.db", tmp_path / "copy.db")
        assert names_in(tmp_path) == names


async def test_a_write_ahead_log_that_grows_too_large_ends_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "MOST_WAL_GROWTH", -1)
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
        with pytest.raises(ConfigError, match=r"log\.db-wal grows too large"):
            back_up(tmp_path / "log.db", tmp_path / "copy.db")
    assert set(names_in(tmp_path)) - {"log.db.search"} == {"log.db", "log.db.lock"}


async def test_damage_is_named_and_not_backed_up(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        for _ in range(3):
            await say(engine, "one")
        (journal,) = tmp_path.glob("*.journal.*")
        shutil.copytree(tmp_path, tmp_path / "killed")
    journal = tmp_path / "killed" / journal.name
    data = bytearray(journal.read_bytes())
    data[60] ^= 1
    journal.write_bytes(data)
    with pytest.raises(ConfigError, match=r"log\.db\.journal\.\d+ is damaged at byte \d+; `hubbub doctor`"):
        back_up(tmp_path / "killed" / "log.db", tmp_path / "copy.db")
    journal.rename(journal.with_name("log.db.journal.77"))
    with pytest.raises(ConfigError, match=r"a file of its journal is missing before log\.db\.journal\.77"):
        back_up(tmp_path / "killed" / "log.db", tmp_path / "copy.db")
    data = bytearray((tmp_path / "log.db").read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    (tmp_path / "log.db").write_bytes(data)
    with pytest.raises(ConfigError, match=r"log\.db is damaged: .*`hubbub doctor`"):
        back_up(tmp_path / "log.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


# Putting back


async def test_a_restore_takes_the_log_back_and_hides_it_from_nobody(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        shown = await say(engine, "one", "two")
        await engine.put_account(Account("percy", "hash"))
        await engine.put_session(Grant("percy", "session"), 1000)
        back_up(path, tmp_path / "copy.db")
        lost = await say(engine, "three", "four")
        elsewhere = await say(engine, "five", room="new")
    aside = restore(path, tmp_path / "copy.db")
    assert aside is not None
    async with opened(path) as engine:
        assert await said(engine) == ["one", "two"]
        head = await engine.head("general")
        assert (head.epoch != shown.epoch, head.seq) == (True, 2)
        assert await engine.session("session") is None
        assert await engine.accounts() == ["percy"]
        for _ in range(2):
            assert (await engine.resume("general", shown, 10)).is_recovered
            assert not (await engine.resume("general", lost, 10)).is_recovered
            assert not (await engine.resume("new", elsewhere, 10)).is_recovered
            await say(engine, "six", "seven", "eight")
            await say(engine, "nine", room="new")
    async with opened(aside) as engine:
        assert await said(engine) == ["one", "two", "three", "four"]
    async with opened(path) as engine:  # a place under the new epoch is as good as ever
        assert (await engine.resume("general", Head(head.epoch, 3), 10)).is_recovered
        assert not (await engine.resume("general", lost, 10)).is_recovered


async def test_nothing_of_the_database_that_was_there_gets_into_the_one_that_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
        back_up(path, tmp_path / "copy.db")
        await say(engine, "two")
        shutil.copytree(tmp_path, tmp_path / "killed")
    path = tmp_path / "killed" / "log.db"
    assert {"log.db-wal", "log.db.journal.1"} <= set(names_in(path.parent))
    aside = restore(path, tmp_path / "copy.db")
    assert aside is not None
    assert [name for name in names_in(path.parent) if not name.startswith(aside.name)] == [
        "copy.db",
        "log.db",
        "log.db.lock",
    ]
    async with opened(path) as engine:
        assert await said(engine) == ["one"]
    async with opened(aside) as engine:
        assert await said(engine) == ["one", "two"]


async def test_a_database_in_use_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
        back_up(path, tmp_path / "copy.db")
        with pytest.raises(ConfigError, match=rf"the server with process id {os.getpid()} has this file"):
            restore(path, tmp_path / "copy.db")
        (tmp_path / "log.db.lock").unlink()
        with pytest.raises(ConfigError, match=r"has this file"):
            restore(path, tmp_path / "copy.db")
        assert (await say(engine, "two")).seq == 2
    with pytest.raises(ConfigError, match=r"is the database itself"):
        restore(path, path)


async def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
    back_up(path, tmp_path / "newer.db")
    back_up(path, tmp_path / "torn.db")
    with closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("PRAGMA user_version = 99")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as foreign:
        foreign.execute("CREATE TABLE messages (id)")
    data = (tmp_path / "torn.db").read_bytes()
    (tmp_path / "torn.db").write_bytes(data[: len(data) - 5000])
    (tmp_path / "text.db").write_text("hello" * 1000)
    (tmp_path / "empty.db").touch()
    (tmp_path / "folder.db").mkdir()
    names = names_in(tmp_path)
    before = path.read_bytes()
    for name, told in (
        ("newer.db", "newer.db has schema 99, and this Hubbub knows"),
        ("foreign.db", "is no database of Hubbub's"),
        ("torn.db", r"torn.db( is damaged|: database disk image is malformed| cannot be read)"),
        ("text.db", "text.db cannot be read: file is not a database"),
        ("empty.db", "is no database of Hubbub's"),
        ("folder.db", "folder.db: Is a directory"),
        ("none.db", "none.db: No such file or directory"),
    ):
        with pytest.raises(ConfigError, match=told):
            restore(path, tmp_path / name)
        assert names_in(tmp_path) == names
    assert path.read_bytes() == before


async def test_a_backup_of_an_earlier_version_is_brought_forward(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1")
        old.execute("INSERT INTO facts VALUES ('epoch', 'old')")
        old.execute("INSERT INTO rooms VALUES (1, 'general', 1)")
        old.execute("""INSERT INTO messages VALUES (1, 1, 5, 'percy', 'new_message', '{"message":"one"}', NULL)""")
        old.commit()
    path = tmp_path / "fresh" / "log.db"
    assert restore(path, tmp_path / "old.db") is None
    async with opened(path) as engine:
        page = await engine.read("general", limit=10)
        assert [message.seq for message in page.messages] == [1]
        assert page.head.epoch != "old"
        assert (await engine.resume("general", Head("old", 1), 10)).is_recovered


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_the_database_still_belongs_to_the_server_when_root_has_put_it_back(tmp_path: Path) -> None:
    path = tmp_path / "data" / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
    back_up(path, tmp_path / "copy.db")
    for file in (path.parent, *path.parent.iterdir()):
        os.chown(file, 65534, 65534)
    restore(path, tmp_path / "copy.db")
    assert {file.stat().st_uid for file in path.parent.iterdir()} == {65534}
