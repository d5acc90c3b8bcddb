"""What every engine finds: messages by when they were sent, and by their words, where it can."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from contract.told import Restart
from hubbub.engine import Draft, Engine
from hubbub.engine.searching import Hits, Spot
from hubbub.engine.sqlite import SqliteEngine
from hubbub.errors import EngineError, Refused
from hubbub.events import encode
from hubbub.testing import Clock
from hubbub.words import read_query
from walls import Wall

pytestmark = pytest.mark.anyio


class Said(NamedTuple):
    room: str
    seq: int


def draft(room: str, text: str, type_: str = "new_message") -> Draft:
    return Draft(room, type_, encode({"message": text}), "percy")


async def say(engine: Engine, room: str, *texts: str) -> None:
    await engine.append([draft(room, text) for text in texts])


async def settle(engine: Engine) -> None:
    """Wait until all that is to be indexed is."""
    if isinstance(engine, SqliteEngine):
        await engine._index.is_idle.wait()


async def find(engine: Engine, text: str, *rooms: str, before: Spot | None = None, limit: int = 50) -> Hits:
    if not engine.can_search:
        pytest.skip("this engine has no index")
    await settle(engine)
    return await engine.search(read_query(text), rooms, before, limit)


async def found(engine: Engine, text: str, *rooms: str) -> list[Said]:
    return [Said(each.room, each.seq) for each in (await find(engine, text, *rooms)).messages]


# By time


async def test_the_first_message_since_a_time(engine: Engine, clock: Clock, wall: Wall) -> None:
    times = []
    for _ in range(40):
        times.append(int(wall() * 1000))
        await say(engine, "ops", "a", "b", "c")
        clock.go(10)
    for index, at in enumerate(times):
        assert await engine.first_since("ops", at) == 3 * index + 1
        assert await engine.first_since("ops", at - 1) == 3 * index + 1
        assert await engine.first_since("ops", at + 1) == 3 * index + 4
    assert await engine.first_since("ops", 0) == 1
    assert await engine.first_since("ops", 1 << 60) == 121


async def test_a_room_in_which_nothing_was_said_has_nothing_since_any_time(engine: Engine) -> None:
    assert await engine.first_since("ops", 0) == 1
    assert await engine.first_since("ops", 1 << 60) == 1


async def test_the_first_message_since_a_time_after_a_restart(
    engine: Engine, restart: Restart, clock: Clock, wall: Wall
) -> None:
    await say(engine, "ops", "a", "b")
    clock.go(10)
    at = int(wall() * 1000)
    await say(engine, "ops", "c")
    engine = await restart()
    assert await engine.first_since("ops", at) == 3
    await say(engine, "ops", "d")
    assert await engine.first_since("ops", at) == 3
    assert await engine.first_since("ops", at + 1) == 5


@pytest.mark.parametrize("keep_s", [100])
async def test_what_is_too_old_is_not_the_first_since_a_time(engine: Engine, clock: Clock) -> None:
    await say(engine, "ops", "a", "b")
    clock.go(60)
    await say(engine, "ops", "c")
    clock.go(60)
    if isinstance(engine, SqliteEngine):
        await engine._retention.trim_old()
    assert await engine.first_since("ops", 0) == 3


async def test_a_cleared_room_goes_on_after_its_last_seq(engine: Engine) -> None:
    await say(engine, "ops", "a", "b")
    await engine.clear("ops")
    assert await engine.first_since("ops", 0) == 3


# By words


async def test_an_engine_without_an_index_says_so(engine: Engine) -> None:
    if engine.can_search:
        pytest.skip("this engine has one")
    with pytest.raises(EngineError, match="not indexed"):
        await engine.search(read_query("hello"), ["ops"], None, 10)


async def test_messages_have_all_words_and_the_last_may_go_on(engine: Engine) -> None:
    await say(engine, "ops", "Hello big world", "hello WORLDS", "world", "say hello, wörld!", "help")
    assert await found(engine, "hello world", "ops") == [("ops", 4), ("ops", 2), ("ops", 1)]
    assert await found(engine, "world hello", "ops") == [("ops", 4), ("ops", 1)]
    assert await found(engine, "hel", "ops") == [("ops", 5), ("ops", 4), ("ops", 2), ("ops", 1)]
    assert await found(engine, "nothing", "ops") == []


async def test_only_the_rooms_asked_for_are_searched(engine: Engine) -> None:
    for room in ("ops", "lunch", "secret"):
        await say(engine, room, f"hello {room}")
    assert await found(engine, "hello", "lunch", "ops", "nowhere") == [("ops", 1), ("lunch", 1)]
    assert await found(engine, "hello") == []


async def test_the_newest_come_first_whatever_the_room_and_each_page_once(
    engine: Engine, clock: Clock, restart: Restart
) -> None:
    order: list[Said] = []
    seqs = dict.fromkeys(("ops", "lunch", "tea"), 0)
    for step in range(30):
        room = ("ops", "lunch", "tea", "ops")[step % 4]
        await say(engine, room, "hello" if step % 5 else "bye")
        seqs[room] += 1
        if step % 5:
            order.append(Said(room, seqs[room]))
        if step % 3:
            clock.go(1)
        if step == 20 and not engine.can_search:
            pytest.skip("this engine has no index")
    listed, before = [], None
    while True:
        page = await find(engine, "hello", "ops", "lunch", "tea", before=before, limit=4)
        listed += page.messages
        before = page.next
        if before is None:
            break
    assert {(each.room, each.seq) for each in listed} == set(order)
    assert len(listed) == len(order)
    sent = [each.sent for each in listed]
    assert sent == sorted(sent, reverse=True)


SYNTAX = [
    *[
        '"',
        "'",
        "a AND",
        "NOT hello",
        "hello OR bye",
        "NEAR(hello bye)",
        "text:hello",
        "hello -bye",
        "{a b}:c",
        "a + b",
    ],
    *["\\", "%", "hello\x00bye", "-- x", "';drop table slices", "hello AND bye"],
]


async def test_nothing_that_is_looked_for_is_syntax(engine: Engine) -> None:
    await say(engine, "ops", "hello", "bye", "he lo")
    for text in SYNTAX:
        try:
            assert await found(engine, text, "ops") == []
        except Refused as refused:
            assert "no word" in refused.message
    for text in ("^hello", "hello*", "(hello", '"hello"', "hello:"):
        assert await found(engine, text, "ops") == [("ops", 1)]
    assert await found(engine, "he_lo", "ops") == [("ops", 3)]


async def test_other_events_are_not_found(engine: Engine) -> None:
    await engine.append([draft("ops", "hello", "note"), Draft("ops", "new_message", b"[1]"), draft("ops", "hello")])
    assert await found(engine, "hello", "ops") == [("ops", 3)]


async def test_what_was_said_before_a_restart_is_found(engine: Engine, restart: Restart) -> None:
    await say(engine, "ops", "hello")
    engine = await restart()
    await say(engine, "ops", "hello again")
    assert await found(engine, "hello", "ops") == [("ops", 2), ("ops", 1)]


async def test_a_cleared_room_has_nothing_to_find(engine: Engine) -> None:
    await say(engine, "ops", "hello", "hello")
    await say(engine, "lunch", "hello")
    await engine.clear("ops")
    await say(engine, "ops", "hello anew")
    assert await found(engine, "hello", "ops", "lunch") == [("ops", 3), ("lunch", 1)]


@pytest.mark.parametrize("keep_s", [100])
async def test_what_retention_has_dropped_is_not_found(engine: Engine, clock: Clock) -> None:
    await say(engine, "ops", "hello", "hello")
    clock.go(60)
    await say(engine, "ops", "hello")
    clock.go(60)
    if isinstance(engine, SqliteEngine):
        await engine._retention.trim_old()
    assert await found(engine, "hello", "ops") == [("ops", 3)]
