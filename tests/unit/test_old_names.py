"""Rooms of an earlier version get the names that they go by."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import structlog

from engines import opened
from hubbub.engine.batch import JournalBatch, encode_batch
from hubbub.engine.journal import Journal
from hubbub.engine.schema import MIGRATIONS
from hubbub.engine.sqlite import SqliteEngine
from hubbub.engine.tail import Row
from hubbub.testing import Clock, at_work

pytestmark = pytest.mark.anyio

# The schema before rooms had titles.
EARLIER = next(number for number, script in enumerate(MIGRATIONS) if "titles" in script)


def earlier_file(path: Path, rooms: list[str]) -> None:
    """Make a file of the last version that kept names as they were written, with a message in each room."""
    file = sqlite3.connect(path)
    for script in MIGRATIONS[:EARLIER]:
        file.executescript(script)
    file.execute(f"PRAGMA user_version = {EARLIER}")
    file.execute("INSERT INTO generations VALUES (1, 'the epoch')")
    for number, room in enumerate(rooms, 1):
        file.execute("INSERT INTO rooms (id, name) VALUES (?, ?)", (number, room))
        insert = "INSERT INTO messages (room, seq, sent, sender, type, body) VALUES (?, 1, 0, 'percy', 'said', ?)"
        file.execute(insert, (number, b'{"in":"%d"}' % number))
        file.execute("INSERT INTO marks VALUES ('percy', ?, 1)", (room,))
    file.commit()
    file.close()


async def bodies(engine: SqliteEngine, room: str) -> list[bytes]:
    return [message.body for message in (await engine.read(room, limit=10)).messages]


async def test_rooms_go_by_their_names_and_keep_what_was_said(tmp_path: Path) -> None:
    earlier_file(tmp_path / "log.db", ["general", "Ops", "Caf\u00e9 ", "dm:alice,percy"])
    for _ in range(2):
        async with opened(tmp_path / "log.db") as engine:
            assert [await bodies(engine, room) for room in ("general", "ops", "caf\u00e9", "dm:alice,percy")] == [
                [b'{"in":"1"}'],
                [b'{"in":"2"}'],
                [b'{"in":"3"}'],
                [b'{"in":"4"}'],
            ]
            titles = [await engine.title(room) for room in ("general", "ops", "caf\u00e9", "dm:alice,percy")]
            assert titles == ["", "Ops", "Caf\u00e9 ", ""]
            assert [await engine.read_mark(room, "percy") for room in ("general", "ops")] == [1, 1]
            assert (await engine.head("ops")).epoch == (await engine.head("general")).epoch


async def test_a_room_whose_name_is_taken_stays_in_the_file_and_is_told_of_once(tmp_path: Path) -> None:
    earlier_file(tmp_path / "log.db", ["OPS", "Ops", "general", "General", "p\u0430y"])
    for told in (1, 0):
        with structlog.testing.capture_logs() as logs:
            async with opened(tmp_path / "log.db") as engine:
                assert [await bodies(engine, room) for room in ("ops", "Ops", "general", "General", "p\u0430y")] == [
                    [b'{"in":"1"}'],
                    [b'{"in":"2"}'],
                    [b'{"in":"3"}'],
                    [b'{"in":"4"}'],
                    [b'{"in":"5"}'],
                ]
        lines = [line for line in logs if "earlier version" in line["event"]]
        assert len(lines) == told
        assert not told or lines[0]["rooms"] == ["Ops", "General", "p\u0430y"]


async def test_what_the_journal_of_an_earlier_version_has_goes_by_its_name_too(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    earlier_file(path, ["general"])
    journal = Journal(path, syncs=False)
    batch = JournalBatch([(2, "Ops")], [], [Row(2, 1, 0, "percy", "said", b'{"in":"2"}')], [])
    journal.current = journal.make(1)
    journal.current.write(encode_batch(batch))
    journal.current.close()
    async with opened(path) as engine:
        assert (await bodies(engine, "ops"), await engine.title("ops")) == ([b'{"in":"2"}'], "Ops")


async def test_invitations_and_closed_rooms_go_by_the_names_of_their_rooms(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    earlier_file(path, ["Team-A", "team-b", "Team-B"])
    with sqlite3.connect(path) as file:
        file.executemany(
            "INSERT INTO invitations VALUES (?, ?)",
            [("Team-A", "ann"), ("TEAM-A", "eve"), ("team-b", "bob"), ("Team-B", "eve"), ("Team-C", "cid")],
        )
        file.executemany("INSERT INTO closed_rooms VALUES (?, 0)", [("Team-A",), ("Team-D",)])
    file.close()
    async with opened(path) as engine:
        access = await engine.access()
    # Who was invited to a room that is another than the one with the name is not invited to that.
    expected = {"team-a": {"ann"}, "TEAM-A": {"eve"}, "team-b": {"bob"}, "Team-B": {"eve"}, "team-c": {"cid"}}
    assert access.invited == expected
    assert access.closed == {"team-a", "team-d"}


async def test_a_room_that_nothing_was_kept_of_leaves_no_row(tmp_path: Path) -> None:
    clock = Clock()
    engine = SqliteEngine(tmp_path / "log.db", clock=clock, wall=clock)
    async with at_work(engine=engine, clock=clock) as stage:
        percy = await stage.client("percy")
        for number in range(10):
            await percy.join(f"Room {number}")
            await percy.ask("mark_read", {"room": f"room {number}", "seq": 7})
            await percy.ask("leave_room", {"room": f"room {number}"})
    with sqlite3.connect(tmp_path / "log.db") as file:
        for table in ("rooms", "marks", "titles"):
            assert file.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    file.close()
