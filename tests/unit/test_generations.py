"""When a log goes on under another epoch, and what a client that names an earlier one is told."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from engines import opened
from hubbub.engine import Draft, Head, lock
from hubbub.engine.batch import JournalBatch, KeyRow, encode_batch
from hubbub.engine.journal import Journal, JournalFile, read_records
from hubbub.engine.local import Silent
from hubbub.engine.lock import ServerRun, is_continued
from hubbub.engine.logfile import MOST_GENERATIONS, LogFile
from hubbub.engine.recovery import Remains
from hubbub.engine.sqlite import SqliteEngine
from hubbub.engine.tail import Row
from hubbub.errors import ConfigError
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio

BOOT = "this boot"


@pytest.fixture(autouse=True)
def boot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machine's boot; a test changes it to let the machine die."""
    boots = [BOOT]
    monkeypatch.setattr("hubbub.engine.lock.read_boot", lambda: boots[-1])
    monkeypatch.setattr("hubbub.engine.recovery.read_boot", lambda: boots[-1])
    return boots


async def say(engine: SqliteEngine, *texts: str, room: str = "general") -> Head:
    await engine.append([Draft(room, "new_message", f'{{"message":"{text}"}}'.encode()) for text in texts])
    return await engine.head(room)


async def texts(engine: SqliteEngine, since: Head, room: str = "general") -> list[str] | None:
    """What a client at a place is told that it missed, None if it is told that it may have missed more."""
    resumed = await engine.resume(room, since, 100)
    if not resumed.is_recovered:
        return None
    return [message.body.decode()[12:-2] for message in resumed.page.messages]


def cut(folder: Path, count: int) -> None:
    """Take the last bytes from the journal: what a machine that dies has not written yet."""
    (journal,) = folder.glob("*.journal.*")
    os.truncate(journal, journal.stat().st_size - count)


async def test_a_clean_end_keeps_the_epoch(tmp_path: Path, boot: list[str]) -> None:
    async with opened(tmp_path / "log.db") as engine:
        before = await say(engine, "one")
    boot.append("another")
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == before
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"log.db.search"} == {"log.db", "log.db.lock"}, "the index may not have been begun"


async def test_a_killed_process_keeps_the_epoch_while_the_machine_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        before = await say(engine, "one")
    assert list(tmp_path.glob("*.journal.*"))
    async with opened(tmp_path / "log.db", killed=True) as engine:
        assert await engine.head("general") == before
        after = await say(engine, "two")
        assert after.epoch == before.epoch


async def test_a_resume_over_the_death_of_the_machine_hides_nothing(tmp_path: Path, boot: list[str]) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        early = await say(engine, "one")
        lost = await say(engine, "two", "three")
    cut(tmp_path, 10)
    boot.append("another")
    async with opened(tmp_path / "log.db") as engine:
        head = await engine.head("general")
        assert head.epoch != early.epoch
        assert head.seq == 1
        assert await texts(engine, early) == []
        assert await texts(engine, lost) is None
        await say(engine, "four", "five", "six")
        assert await texts(engine, early) == ["four", "five", "six"]
        assert await texts(engine, lost) is None
        assert await texts(engine, Head("unheard of", 1)) is None
        assert await texts(engine, Head(head.epoch, 2)) == ["five", "six"]
    async with opened(tmp_path / "log.db") as engine:  # the same from the file
        assert await texts(engine, early) == ["four", "five", "six"]
        assert await texts(engine, lost) is None
        await say(engine, "seven")
        assert await texts(engine, lost) is None


async def test_a_room_that_was_lost_whole_is_told_apart_from_the_one_that_follows(
    tmp_path: Path, boot: list[str]
) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        lost = await say(engine, "one", "two", room="lost")
    cut(tmp_path, 10)
    boot.append("another")
    async with opened(tmp_path / "log.db", killed=True) as engine:
        assert await texts(engine, lost, room="lost") is None
        await say(engine, "a", "b", "c", room="lost")
        assert await texts(engine, lost, room="lost") is None
    async with opened(tmp_path / "log.db") as engine:
        assert await texts(engine, lost, room="lost") is None


async def test_each_of_many_deaths_is_told_apart(tmp_path: Path, boot: list[str]) -> None:
    places = []
    for number in range(4):
        async with opened(tmp_path / "log.db", killed=True) as engine:
            kept = await say(engine, f"kept {number}")
            await say(engine, "lost")
            places.append((kept, await engine.head("general")))
        cut(tmp_path, 10)
        boot.append(f"boot {number}")
    async with opened(tmp_path / "log.db") as engine:
        for number, (kept, lost) in enumerate(places):
            assert await texts(engine, kept) == [f"kept {later}" for later in range(number + 1, 4)]
            assert await texts(engine, lost) is None


async def test_no_more_generations_are_kept_than_are_known(tmp_path: Path, boot: list[str]) -> None:
    places = []
    for number in range(MOST_GENERATIONS + 3):
        async with opened(tmp_path / "log.db", killed=True) as engine:
            places.append(await say(engine, str(number)))
        boot.append(f"boot {number}")
    async with opened(tmp_path / "log.db") as engine:
        found = [await texts(engine, place) is not None for place in places]
        assert found == [False] * 4 + [True] * (MOST_GENERATIONS - 1)
    with sqlite3.connect(tmp_path / "log.db") as connection:
        assert connection.execute("SELECT count(*) FROM generations").fetchone() == (MOST_GENERATIONS,)
        assert connection.execute("SELECT count(*) FROM ends").fetchone()[0] < MOST_GENERATIONS
    connection.close()


async def test_a_file_that_was_put_back_is_another_generation(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        early = await say(engine, "one")
    shutil.copy(path, tmp_path / "backup")
    async with opened(path) as engine:
        late = await say(engine, "two", "three")
    with path.open("r+b") as over:  # the same file, by its place on the disk
        over.write((tmp_path / "backup").read_bytes())
        over.truncate()
    async with opened(path) as engine:
        assert await texts(engine, late) is None
        await say(engine, "a", "b", "c")
        assert await texts(engine, early) == ["a", "b", "c"]
        assert await texts(engine, late) is None


async def test_a_folder_that_was_put_back_is_another_generation(tmp_path: Path) -> None:
    live, backup = tmp_path / "live", tmp_path / "backup"
    async with opened(live / "log.db") as engine:
        early = await say(engine, "one")
    shutil.copytree(live, backup)
    async with opened(live / "log.db") as engine:
        late = await say(engine, "two", "three")
    shutil.rmtree(live)
    shutil.copytree(backup, live)
    async with opened(live / "log.db") as engine:
        await say(engine, "a", "b", "c")
        assert await texts(engine, early) == ["a", "b", "c"]
        assert await texts(engine, late) is None


async def test_files_that_were_put_back_into_their_places_are_another_generation(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    async with opened(live / "log.db", killed=True) as engine:
        early = await say(engine, "one")
        # The index of words is made in the background, and its files come and go meanwhile.
        shutil.copytree(live, copy, ignore=shutil.ignore_patterns("*.search*"))
        lost = await say(engine, "two")
    for path in copy.iterdir():
        (live / path.name).write_bytes(path.read_bytes())  # in the same boot, and the files stay the same ones
    async with opened(live / "log.db") as engine:
        await say(engine, "three", "four")
        assert await texts(engine, early) == ["three", "four"]
        assert await texts(engine, lost) is None


async def test_a_file_put_back_beside_a_later_journal_is_another_generation(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
    shutil.copy(path, tmp_path / "backup")
    for number in range(2):
        async with opened(path, killed=True) as engine:
            late = await say(engine, f"two {number}")
    shutil.copy(tmp_path / "backup", path)
    async with opened(path) as engine:
        assert await texts(engine, late) is None
        await say(engine, "a", "b", "c")
        assert await texts(engine, late) is None
    assert list(tmp_path.glob("*.aside.*"))


async def test_what_was_set_aside_is_not_replaced_by_another(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with opened(path) as engine:
        await say(engine, "one")
    shutil.copy(path, tmp_path / "backup")
    counts = []
    for text in ("first", "second"):
        for number in range(2):
            async with opened(path, killed=True) as engine:
                await say(engine, f"{text} {number}")
        shutil.copy(tmp_path / "backup", path)
        async with opened(path):
            counts.append(len(list(tmp_path.glob("*.aside.*"))))
    assert counts == [1, 2]


async def test_a_journal_that_is_gone_is_another_generation(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        late = await say(engine, "one")
    for journal in tmp_path.glob("*.journal.*"):
        journal.unlink()
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "a", "b")
        assert await texts(engine, late) is None


async def test_a_journal_that_is_damaged_within_is_not_opened_but_named(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        await say(engine, "one")
        await say(engine, "two")
    (journal,) = tmp_path.glob("*.journal.*")
    data = journal.read_bytes()
    journal.write_bytes(data.replace(b"one", b"eno"))
    with pytest.raises(ConfigError, match=r"log\.db\.journal\.\d+ is damaged: at byte \d+; `hubbub doctor`"):
        async with opened(tmp_path / "log.db"):
            pass
    assert journal.exists()


async def test_a_key_that_was_taken_back_is_not_that_of_the_message_that_got_its_seq(tmp_path: Path) -> None:
    """Of two batches with one seq, the disk had not confirmed the first, and has it nevertheless."""

    def batch(at: int, text: str, key: str) -> bytes:
        body = f'{{"message":"{text}"}}'.encode()
        row, entry = Row(2, 1, 1, "percy", "new_message", body), KeyRow(at, 2, 1, 1, "percy", key, 7)
        return encode_batch(JournalBatch([(2, "general")], [], [row], [entry]))

    async with opened(tmp_path / "log.db", killed=True) as engine:
        await say(engine, "one", room="another")
    (path,) = tmp_path.glob("*.journal.*")
    (another,) = read_records(path).payloads
    path.unlink()
    file = JournalFile(path, 1, syncs=False)
    file.write(another)
    file.write(batch(1, "taken back", "a"))
    file.write(batch(2, "kept", "b"))
    file.close()
    async with opened(tmp_path / "log.db") as engine:
        assert [entry.key for entry in engine._keys] == ["b"]


async def test_a_journal_with_a_gap_is_not_opened_however_often(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        for text in ("one", "two", "three"):
            await say(engine, text)
    (path,) = tmp_path.glob("*.journal.*")
    first, _, third = read_records(path).payloads
    path.unlink()
    file = JournalFile(path, 1, syncs=False)
    file.write(first)
    file.write(third)
    file.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match="its journal has a gap"):
            async with opened(tmp_path / "log.db"):
                pass
    assert list(tmp_path.glob("*.journal.*")) == [path]


async def test_a_journal_whose_end_is_damaged_is_another_generation(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        early = await say(engine, "one")
        lost = await say(engine, "two")
    (path,) = tmp_path.glob("*.journal.*")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "three", "four")
        assert await texts(engine, early) == ["three", "four"]
        assert await texts(engine, lost) is None
    assert list(tmp_path.glob("*.aside.*"))


async def test_a_journal_that_the_machine_damaged_in_dying_is_kept_aside(tmp_path: Path, boot: list[str]) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        early = await say(engine, "one")
        await say(engine, "two")
        await say(engine, "three")
    (journal,) = tmp_path.glob("*.journal.*")
    journal.write_bytes(journal.read_bytes().replace(b"two", b"owt"))
    boot.append("another")
    async with opened(tmp_path / "log.db") as engine:
        assert (await engine.head("general")).seq == 1
        assert await texts(engine, early) == []
    assert list(tmp_path.glob("*.aside.*"))


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (LogFile, "recover"),
        (Journal, "make"),
        (LogFile, "put_token"),
        (LogFile, "truncate"),
        (Remains, "remove"),
        (lock.Lock, "note_open"),
    ],
)
async def test_a_process_that_is_killed_while_it_opens_the_file_keeps_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, moment: str
) -> None:
    async with opened(tmp_path / "log.db", killed=True) as engine:
        before = await say(engine, "one", "two")
    real = getattr(owner, name)

    def killed(*args: Any, **options: Any) -> None:
        if moment == "after":
            real(*args, **options)
        raise KilledError

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(owner, name, killed)
            async with opened(tmp_path / "log.db"):
                pass
    async with opened(tmp_path / "log.db", killed=True) as engine:
        assert await engine.head("general") == before
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == before


@pytest.mark.parametrize("name", ["note_closed", "remove_retired"])
async def test_a_process_that_is_killed_while_it_closes_the_file_keeps_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine = SqliteEngine(tmp_path / "log.db", clock=Clock(), wall=Clock())
    await engine.open(Silent())
    before = await say(engine, "one", "two")
    await engine._folding.fold()  # so that only the close removes a file

    def killed(*_args: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(lock.Lock if name == "note_closed" else Journal, name, killed)
        await engine.close()
    engine._lock.release()
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.head("general") == before


def test_what_is_left_behind_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ServerRun(1, "a" * 300), ServerRun(2, "b")
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        lock.write_run(descriptor, first)

        def killed(*_args: Any) -> None:
            raise KilledError

        for name in ("ftruncate", "fsync"):
            with monkeypatch.context() as patch, pytest.raises(KilledError):
                patch.setattr(f"hubbub.engine.lock.os.{name}", killed)
                lock.write_run(descriptor, second)
            assert lock.read_run(descriptor) in (first, second)
        lock.write_run(descriptor, second)
        assert lock.read_run(descriptor) == second
    finally:
        os.close(descriptor)


async def test_without_a_name_for_the_boot_a_kill_is_taken_for_the_death_of_the_machine(
    tmp_path: Path, boot: list[str]
) -> None:
    boot.append("")
    async with opened(tmp_path / "log.db", killed=True) as engine:
        before = await say(engine, "one")
    async with opened(tmp_path / "log.db") as engine:
        assert (await engine.head("general")).epoch != before.epoch
        assert await texts(engine, before) == []


async def test_a_lock_file_that_is_lost_or_broken_costs_an_epoch_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as engine:
        before = await say(engine, "one")
    (tmp_path / "log.db.lock").write_bytes(b"\xff")
    async with opened(tmp_path / "log.db") as engine:
        assert (await engine.head("general")).epoch != before.epoch
        assert await texts(engine, before) == []
        (tmp_path / "log.db.lock").unlink()


def test_continued_is_only_the_file_that_was_left(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"some")
    found = (tmp_path / "log.db").stat()
    place = found.st_dev, found.st_ino
    assert is_continued(ServerRun(1, "token", "boot", *place), "token", found, "boot")
    assert is_continued(ServerRun(1, "token", "boot", *place, (4, found.st_ctime_ns)), "token", found, "later")
    for other in (
        None,
        ServerRun(1, "other", "boot", *place),
        ServerRun(1, "token", "later", *place),
        ServerRun(1, "token", "boot", found.st_dev + 1, found.st_ino),
        ServerRun(1, "token", "boot", found.st_dev, found.st_ino + 1),
        ServerRun(1, "token", "boot", *place, (5, found.st_ctime_ns)),
        ServerRun(1, "token", "boot", *place, (4, found.st_ctime_ns + 1)),
    ):
        assert not is_continued(other, "token", found, "boot")
    assert not is_continued(ServerRun(1, "", "boot", *place), "", found, "boot")
    assert not is_continued(ServerRun(1, "token", "", *place), "token", found, "")


async def test_the_lock_outlives_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", 0)
    async with opened(tmp_path / "log.db") as engine:
        await say(engine, "one")
        (tmp_path / "log.db.lock").unlink()
        program = (
            "import sys; from pathlib import Path; from hubbub.engine.lock import Lock; "
            "Lock(Path(sys.argv[1])).lock_database()"
        )
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(tmp_path / "log.db"), stderr=asyncio.subprocess.PIPE
        )
        _, errors = await other.communicate()
        assert b"has this file; one server to a file" in errors
        await say(engine, "two")
