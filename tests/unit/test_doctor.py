"""What is found wrong with a database, and what is saved of it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engines import opened
from hubbub.engine import Account, Draft, Followed, Head
from hubbub.engine.backup import restore
from hubbub.engine.checkup import Finding, examine
from hubbub.engine.journal import FILE_HEAD
from hubbub.engine.salvage import Survey, save
from hubbub.engine.schema import MIGRATIONS
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import ConfigError

pytestmark = pytest.mark.anyio

COUNT = 3000


async def fill(engine: SqliteEngine, count: int, room: str = "general") -> None:
    await engine.append([Draft(room, "new_message", b'{"message":"hi"}', "percy") for _ in range(count)])


async def seqs(path: Path, room: str = "general") -> list[int]:
    async with opened(path) as engine:
        return [message.seq for message in (await engine.read(room, after=0, limit=10_000)).messages]


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A database that was closed."""
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await fill(engine, COUNT)
        await fill(engine, 10, "other")
        await engine.put_account(Account("percy", "hash"))
        await engine.mark_read("general", "percy", 7)
    return path


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A database whose server was killed: three messages are in the table, three in the journal."""
    async with opened(tmp_path / "live" / "log.db") as engine:
        await fill(engine, 3)
        assert await vars(engine)["_folding"].fold()
        for _ in range(3):
            await fill(engine, 1)
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    return tmp_path / "killed" / "log.db"


def bad(path: Path) -> list[str]:
    """What is found wrong."""
    return [finding.text for finding in examine(path) if finding.is_bad]


def damage(path: Path, *seqs: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for seq in seqs:
            connection.execute("UPDATE messages SET body = ? WHERE room = 1 AND seq = ?", (b'{"message":"h\xff"}', seq))


def pages_with(path: Path, text: bytes) -> list[int]:
    """Where the pages begin that have a text."""
    data = path.read_bytes()
    return [start for start in range(0, len(data), 4096) if text in data[start : start + 4096]]


def overwrite(path: Path, start: int, count: int = 4096) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(count))


async def test_all_is_well_with_a_log_whether_it_is_in_use_or_not(log: Path) -> None:
    for text in (
        "no server is running",
        f"{COUNT + 10} good messages in 2 rooms, 1 generations",
        "SQLite finds nothing",
    ):
        assert any(text in finding.text for finding in examine(log))
    assert bad(log) == []
    async with opened(log) as engine:
        await fill(engine, 3)
        found = list(examine(log))
        assert await engine.head("general")
    assert [finding for finding in found if finding.is_bad] == []
    assert any("the server with process id" in finding.text for finding in found)
    assert any("log.db.journal.2: 1 batches" in finding.text for finding in found)


async def test_damaged_messages_are_named_and_left_out_of_what_is_saved(log: Path, tmp_path: Path) -> None:
    async with opened(log) as engine:
        before = await engine.head("general")
    damage(log, 5, 6, 2000)
    told = bad(log)
    assert [text.split(" damaged; ")[0] for text in told] == [
        "message 5 of the room 'general' is",
        "message 6 of the room 'general' is",
        "message 2000 of the room 'general' is",
    ]
    saved = save(log, tmp_path / "saved.db")
    assert (saved.messages, saved.accounts, len(saved.damage)) == (COUNT + 7, 1, 3)
    restore(log, tmp_path / "saved.db")
    assert bad(log) == []
    assert await seqs(log) == [seq for seq in range(1, COUNT + 1) if seq not in (5, 6, 2000)]
    async with opened(log) as engine:
        assert (await engine.head("general")).epoch != before.epoch
        assert not (await engine.resume("general", Head(before.epoch, 1999), 10)).is_recovered
        assert (await engine.resume("general", Head(before.epoch, 2000), 10)).is_recovered
        assert await engine.read_mark("general", "percy") == 7
        assert await engine.accounts() == ["percy"]


async def test_what_users_follow_is_saved(log: Path, tmp_path: Path) -> None:
    async with opened(log) as engine:
        await engine.follow("percy", "general")
        await engine.mute("percy", "general", is_muted=True)
    save(log, tmp_path / "saved.db")
    async with opened(tmp_path / "saved.db") as engine:
        assert await engine.followed("percy") == [Followed("general", True, 7)]


async def test_what_is_on_pages_that_cannot_be_read_is_left_out_and_all_else_saved(log: Path, tmp_path: Path) -> None:
    pages = pages_with(log, b"percynew_message")
    for start in (pages[4], pages[9], pages[10]):
        overwrite(log, start)
    assert any("SQLite: " in text for text in bad(log))
    saved = save(log, tmp_path / "saved.db")
    lost = [seq for each in saved.damage for seq in range(each.first, each.last + 1)]
    assert 3 <= len(lost) < 1000
    assert await seqs(tmp_path / "saved.db") == [seq for seq in range(1, COUNT + 1) if seq not in lost]
    assert await seqs(tmp_path / "saved.db", "other") == list(range(1, 11))
    assert bad(tmp_path / "saved.db") == []


async def test_the_end_of_a_room_that_cannot_be_read_is_left_out(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("DELETE FROM messages WHERE room = 2")
        connection.execute("VACUUM")
    overwrite(log, pages_with(log, b"percynew_message")[-1])
    saved = save(log, tmp_path / "saved.db")
    found = await seqs(tmp_path / "saved.db")
    assert found == list(range(1, len(found) + 1))
    assert COUNT > len(found) > COUNT - 200
    assert [each.first for each in saved.damage if each.room == "general"] == [len(found) + 1]


async def test_a_room_whose_name_is_lost_is_saved_under_another(log: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("DELETE FROM rooms WHERE name = 'other'")
        assert Survey(connection).rooms() == {1: ("general", 1), 2: ("saved 2", 1)}
    save(log, tmp_path / "saved.db")
    assert await seqs(tmp_path / "saved.db", "saved 2") == list(range(1, 11))


async def test_what_is_good_in_a_damaged_journal_is_saved(killed: Path, tmp_path: Path) -> None:
    (journal,) = killed.parent.glob("*.journal.*")
    assert bad(killed) == []
    data = bytearray(journal.read_bytes())
    second = data.index(data[FILE_HEAD.size : FILE_HEAD.size + 4], FILE_HEAD.size + 4)
    data[second + 20] ^= 1
    journal.write_bytes(data)
    assert [text.split(";")[0] for text in bad(killed)] == [f"{journal.name} is damaged at byte {second}"]
    save(killed, tmp_path / "saved.db")
    assert await seqs(tmp_path / "saved.db") == [1, 2, 3, 4, 6]
    data[0] ^= 1  # its head
    journal.write_bytes(data)
    save(killed, tmp_path / "saved2.db")
    assert await seqs(tmp_path / "saved2.db") == [1, 2, 3, 4, 6]
    journal.rename(journal.with_name("log.db.journal.9"))
    assert any("the journal has no file" in text for text in bad(killed))


async def test_a_write_that_was_cut_off_is_no_damage(killed: Path) -> None:
    (journal,) = killed.parent.glob("*.journal.*")
    journal.write_bytes(journal.read_bytes()[:-3])
    assert bad(killed) == []
    assert any("2 batches; the last write was cut off" in finding.text for finding in examine(killed))


async def test_files_that_others_may_read_and_a_full_disk_are_told_of(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.chmod(0o644)
    (log.parent / "log.db.lock").chmod(0o666)
    (log.parent / "log.db.aside.7").touch()
    assert [text.split(",")[0] for text in bad(log)] == [
        "log.db has the mode 0644",
        "log.db.lock has the mode 0666",
    ]
    assert any("log.db.aside.7 did not go on" in finding.text for finding in examine(log))
    monkeypatch.setattr("hubbub.engine.checkup.LEAST_FREE", 1 << 62)
    assert any("make room" in text for text in bad(log))


async def test_what_is_no_database_is_not_examined(log: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    for path, told in (
        (tmp_path / "none.db", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "text", "not a"),
    ):
        with pytest.raises(ConfigError, match=told):
            list(examine(path))
        with pytest.raises(ConfigError, match=told):
            save(path, tmp_path / "saved.db")
        assert not (tmp_path / "saved.db").exists()


async def test_a_database_of_an_earlier_version_is_saved_in_this_ones(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1")
        old.execute("INSERT INTO rooms VALUES (1, 'general', 1)")
        old.execute("INSERT INTO messages VALUES (1, 1, 5, 'percy', 'new_message', ?, NULL)", (b'{"message":"one"}',))
        old.execute("INSERT INTO messages VALUES (1, 2, 5, 'percy', 'new_message', ?, NULL)", (b'{"message":"o\xff"}',))
        old.commit()
    newest = f"schema 1; the next start brings it to {len(MIGRATIONS)}"
    assert Finding(is_bad=False, text=newest) in list(examine(tmp_path / "old.db"))
    assert save(tmp_path / "old.db", tmp_path / "saved.db").messages == 1
    assert await seqs(tmp_path / "saved.db") == [1]
