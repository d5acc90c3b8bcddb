"""A file with damaged messages: nobody is sent one, nobody is closed for one, and what is missing is told."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heard import codes, seqs
from hubbub.engine import Draft, Head
from hubbub.engine.local import Silent
from hubbub.engine.sqlite import SqliteEngine
from hubbub.testing import Clock, Guest, Stage, at_work

pytestmark = pytest.mark.anyio

COUNT = 600


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A database whose room `general` has messages."""
    path = tmp_path / "log.db"
    engine = new_engine(path)
    await engine.open(Silent())
    await engine.append([Draft("general", "new_message", b'{"message":"hi"}', "percy") for _ in range(COUNT)])
    await engine.close()
    return path


def new_engine(path: Path) -> SqliteEngine:
    clock = Clock()
    return SqliteEngine(path, clock=clock, wall=clock)


def damage(path: Path, seqs: Iterable[int]) -> None:
    """Change a byte in the bodies of messages, so that they are no UTF-8 either."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for seq in seqs:
            connection.execute("UPDATE messages SET body = ? WHERE seq = ?", (b'{"message":"h\xff"}', seq))


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Stage]:
    async with at_work(engine=new_engine(path)) as stage:
        yield stage


async def place(stage: Stage, seq: int) -> dict[str, Any]:
    return {"epoch": (await stage.engine.head("general")).epoch, "seq": seq}


def listed(answer: dict[str, Any]) -> list[int]:
    return [message["seq"] for message in answer["messages"]]


async def test_a_page_has_as_many_messages_as_were_asked_for_whatever_is_damaged(log: Path) -> None:
    damage(log, [3, 4, *range(100, 400), 599])
    async with served(log) as stage:
        read = stage.engine.read
        for after, first, last, more in ((0, 1, 12, True), (98, 99, 408, True), (590, 591, 600, False)):
            page = await read("general", after=after, limit=10)
            found = [message.seq for message in page.messages]
            assert (found[0], found[-1], len(found), page.more) == (first, last, 10 - (after == 590), more)
        page = await read("general", before=401, limit=5)
        assert [message.seq for message in page.messages] == [96, 97, 98, 99, 400]
        assert page.more
        page = await read("general", before=7, limit=4)
        assert ([message.seq for message in page.messages], page.more) == ([1, 2, 5, 6], False)
        assert (await stage.engine.head("general")).seq == COUNT


async def test_a_join_shows_what_is_there_and_closes_nobody(log: Path) -> None:
    damage(log, [595, 600])
    async with served(log) as stage:
        percy = await stage.client("percy")
        joined = await percy.join("general", history=10)
        assert (listed(joined), joined["seq"], joined["recovered"]) == (
            [591, 592, 593, 594, 596, 597, 598, 599],
            600,
            False,
        )
        percy.say("send_message", {"message": "hi"})
        assert seqs(await percy.hear()) == [601]
        assert listed(await percy.join("general", since=await place(stage, 600))) == [601]
        assert percy.close_code is None


@pytest.mark.parametrize(
    ("damaged", "since", "is_recovered"),
    [
        ([300], 100, False),
        ([300], 299, False),
        ([300], 300, True),
        ([300], 301, True),
        ([101], 100, False),
        ([330], 290, False),
        ([600], 599, False),
        ([600], 600, True),
        ([500], 450, False),
        (range(401, 601), 400, False),
        (range(1, 601), 0, False),
        ([], 0, True),
    ],
)
async def test_a_resume_over_a_damaged_message_is_not_recovered(
    log: Path, damaged: Iterable[int], since: int, is_recovered: bool
) -> None:
    damage(log, damaged)
    async with served(log) as stage:
        percy = await stage.client("percy")
        joined = await percy.join("general", since=await place(stage, since))
        assert joined["recovered"] is is_recovered
        if is_recovered:
            assert listed(joined) == list(range(since + 1, COUNT + 1))
        # All the same with what is at hand.
        alice = await stage.client("alice")
        assert (await alice.join("general", since=await place(stage, since)))["recovered"] is is_recovered


async def fallen_behind(stage: Stage, seq: int) -> Guest:
    """A client that has heard everything up to a seq, and is fed from there."""
    percy = await stage.client("percy")
    await percy.join("general")
    room = stage.core.rooms.find("general")
    assert room is not None
    vars_of = next(iter(room.members))
    room.leave(vars_of)
    room.enter_behind(vars_of, seq)
    return percy


@pytest.mark.parametrize(
    "damaged",
    [[300], [201, 202], range(150, 451), [599, 600], [600], range(101, 601), [1], [400, 401, 399, 598]],
)
async def test_a_slow_reader_is_told_of_what_is_damaged_and_fed_past_it(log: Path, damaged: Iterable[int]) -> None:
    damage(log, damaged)
    async with served(log) as stage:
        percy = await fallen_behind(stage, 100)
        percy.read_on()
        events = await percy.hear()
        missing = {seq for event in events if event["type"] == "gap" for seq in whole(event["payload"])}
        assert missing == {seq for seq in damaged if seq > 100}
        assert seqs(events) == [seq for seq in range(101, COUNT + 1) if seq not in missing]
        in_order = [
            whole(event["payload"]) if event["type"] == "gap" else [event["payload"]["seq"]] for event in events
        ]
        assert [seq for some in in_order for seq in some] == list(range(101, COUNT + 1))
        percy.say("send_message", {"message": "hi"})
        assert seqs(await percy.hear()) == [COUNT + 1]
        assert percy.close_code is None


def whole(gap: dict[str, Any]) -> list[int]:
    return list(range(gap["from"], gap["to"] + 1))


async def test_history_pages_past_what_is_damaged(log: Path) -> None:
    damage(log, [*range(50, 500), 510])
    async with served(log) as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        found: list[int] = []
        before, more = COUNT + 1, True
        while more:
            answer = await percy.ask("history", {"room": "general", "before": before, "limit": 60})
            found = listed(answer) + found
            before, more = listed(answer)[0], answer["more"]
        assert found == [seq for seq in range(1, COUNT + 1) if seq not in (*range(50, 500), 510)]


async def test_a_damaged_time_holds_no_later_message_back(log: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET sent = 1 << 60 WHERE seq = ?", (COUNT,))
    engine = new_engine(log)
    await engine.open(Silent())
    (receipt,) = await engine.append([Draft("general", "new_message", b'{"message":"hi"}', "percy")])
    assert receipt.sent < 1 << 50  # type: ignore[union-attr]  # a conflict fails here, too
    assert (await engine.resume("general", Head((await engine.head("general")).epoch, COUNT), 10)).is_recovered
    await engine.close()


def damage_page(path: Path, room: str) -> None:
    """Overwrite a page of the table with messages of a room, and no others."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (sender,) = connection.execute(
            "SELECT sender FROM messages JOIN rooms ON id = room WHERE name = ? LIMIT 1", (room,)
        ).fetchone()
    data = path.read_bytes()
    place = data.rindex(sender.encode() + b"new_message") // size * size
    path.write_bytes(data[:place] + b"\x00" * size + data[place + size :])


async def test_what_is_on_a_malformed_page_is_unavailable_and_all_else_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    engine = new_engine(path)
    await engine.open(Silent())
    for room in ("lost", "other"):
        await engine.append([Draft(room, "new_message", b'{"message":"hi"}', f"of {room}") for _ in range(COUNT)])
    await engine.close()
    damage_page(path, "lost")
    with capture_logs() as lines:
        async with served(path) as stage:
            percy = await stage.client("percy")
            await percy.join("other")
            percy.say("join_room", {"room": "lost", "since": await place(stage, 0)}, "l1")
            percy.say("join_room", {"room": "lost", "since": await place(stage, 0)}, "l2")
            assert codes(await percy.hear()) == [("l1", "unavailable"), ("l2", "unavailable")]
            percy.say("send_message", {"message": "hi", "room": "other"})
            assert seqs(await percy.hear()) == [COUNT + 1]
            assert percy.close_code is None
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "the file is damaged, and some of it cannot be read"
    ]
