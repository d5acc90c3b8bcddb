"""Who may look for words, where, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from hubbub import Hub, Refused
from hubbub.acts import Act
from hubbub.client import Client
from hubbub.engine import Hits, Spot, TooLong
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError, ErrorCode
from hubbub.search import LEAST_BYTES, MAX_SEARCHES, features
from hubbub.testing import Clock, Guest, Stage, at_work
from hubbub.words import Query

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def member(stage: Stage, user: str, *rooms: str) -> Guest:
    guest = await stage.client(user)
    for room in rooms:
        await guest.join(room)
    return guest


async def say(guest: Guest, room: str, *texts: str) -> None:
    for text in texts:
        await guest.ask("send_message", {"room": room, "message": text})


async def search(guest: Guest, text: str, **more: Any) -> list[str]:
    answer = await guest.ask("search", {"text": text, **more})
    return [f"{each['room']} {each['message']}" for each in answer["messages"]]


async def test_the_rooms_that_a_client_is_in_are_searched_and_no_others() -> None:
    async with at_work() as stage:
        percy = await member(stage, "percy", "ops", "lunch", "tea")
        eve = await member(stage, "eve", "ops", "lunch")
        for room in ("ops", "lunch", "tea"):
            await say(percy, room, "hello")
        assert sorted(await search(eve, "hello")) == ["lunch hello", "ops hello"]
        assert await search(eve, "hello", room="OPS") == ["ops hello"]
        with pytest.raises(Refused) as refused:
            await search(eve, "hello", room="tea")
        assert refused.value.code == ErrorCode.NOT_IN_ROOM
        await eve.ask("leave_room", {"room": "lunch"})
        assert await search(eve, "hello") == ["ops hello"]


async def test_what_a_client_may_not_read_is_not_searched() -> None:
    hub = Hub()
    hidden: set[Act] = set()

    @hub.policy
    def may(client: Client, act: Act, room: str | None) -> bool | None:
        return False if act in hidden and client.user == "eve" else None

    async with at_work(hub) as stage:
        percy = await member(stage, "percy", "ops")
        eve = await member(stage, "eve", "ops")
        await say(percy, "ops", "hello")
        for act in (Act.READ, Act.JOIN):
            hidden = {act}
            assert await search(eve, "hello") == []
            assert await search(percy, "hello") == ["ops hello"]
        hidden = {Act.READ}
        with pytest.raises(Refused) as refused:
            await search(eve, "hello", room="ops")
        assert refused.value.code == ErrorCode.FORBIDDEN


async def test_pages_follow_each_other() -> None:
    async with at_work() as stage:
        percy = await member(stage, "percy", "ops", "lunch")
        for number in range(7):
            await say(percy, "ops" if number % 3 else "lunch", f"hello {number}")
            stage.clock.go(1)
        listed, before = [], None
        while True:
            answer = await percy.ask("search", {"text": "hello", "limit": 3, "before": before})
            listed += [each["message"] for each in answer["messages"]]
            before = answer["next"]
            if before is None:
                break
        assert listed == [f"hello {number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("before", ["", "x", "1", "1.x.ops", "-1.2.ops", "1" * 30 + ".1.ops", "1.2." + "x" * 300])
async def test_a_spot_that_is_none_is_refused(before: str) -> None:
    async with at_work() as stage:
        percy = await member(stage, "percy", "ops")
        with pytest.raises(Refused, match=r"payload\.before"):
            await search(percy, "hello", before=before)


class SlowEngine(MemoryEngine):
    """Searches when it is told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, wall=clock)
        self.go = asyncio.Event()
        self.under_way = 0
        self.spent_s = 0.0
        self.error: Exception | None = None

    async def search(self, query: Query, rooms: Collection[str], before: Spot | None, limit: int) -> Hits:
        self.under_way += 1
        await self.go.wait()
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        hits = await super().search(query, rooms, before, limit)
        return Hits(hits.messages, hits.next, spent_s=self.spent_s)


async def test_an_account_searches_once_at_a_time_and_all_of_them_a_few_times() -> None:
    clock = Clock()
    engine = SlowEngine(clock)
    async with at_work(engine=engine, clock=clock) as stage:
        guests = [await member(stage, f"user{number}", "ops") for number in range(MAX_SEARCHES + 1)]
        again = await member(stage, "user0", "ops")
        for guest in guests[:-1]:
            guest.say("search", {"text": "hello"}, 1)
        while engine.under_way < MAX_SEARCHES:
            await asyncio.sleep(0)
        for guest in (again, guests[-1]):
            guest.take()
            guest.say("search", {"text": "hello"}, 1)
        while not (again.writes and guests[-1].writes):
            await asyncio.sleep(0)
        for guest, whose in ((again, "of this account"), (guests[-1], "of others")):
            (error,) = guest.take()
            assert error["payload"]["code"] == ErrorCode.RATE_LIMITED
            assert whose in error["payload"]["message"]
        engine.go.set()
        await stage.settle()
        assert [event["type"] for event in guests[0].take()][-1] == "ack"
        assert await search(again, "hello") == []


async def test_an_index_that_cannot_be_read_is_told_and_the_next_search_is_let_in() -> None:
    clock = Clock()
    engine = SlowEngine(clock)
    engine.go.set()
    engine.error = EngineError("no disk")
    async with at_work(engine=engine, clock=clock) as stage:
        percy = await member(stage, "percy", "ops")
        for _ in range(2):
            with pytest.raises(Refused, match="cannot be searched now: no disk") as refused:
                await search(percy, "hello")
            assert refused.value.code == ErrorCode.UNAVAILABLE
        engine.error = None
        assert await search(percy, "hello") == []


async def test_searching_is_paid_for_by_the_time_that_it_takes() -> None:
    clock = Clock()
    engine = SlowEngine(clock)
    engine.go.set()
    async with at_work(engine=engine, clock=clock, replay_rate=LEAST_BYTES, replay_burst=3 * LEAST_BYTES) as stage:
        percy = await member(stage, "percy", "ops")
        for _ in range(3):
            await search(percy, "hello")
        with pytest.raises(Refused) as refused:
            await search(percy, "hello")
        assert refused.value.code == ErrorCode.RATE_LIMITED
        clock.go(4)
        engine.spent_s = 1.0
        await search(percy, "hello")
        clock.go(2)
        with pytest.raises(Refused):
            await search(percy, "hello")


async def test_a_search_that_takes_far_too_long_is_paid_for_too() -> None:
    clock = Clock()
    engine = SlowEngine(clock)
    engine.go.set()
    engine.error = TooLong(10.0)
    async with at_work(engine=engine, clock=clock, replay_rate=LEAST_BYTES, replay_burst=3 * LEAST_BYTES) as stage:
        percy = await member(stage, "percy", "ops")
        for code in (ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED):
            with pytest.raises(Refused) as refused:
                await search(percy, "hello")
            assert refused.value.code == code


async def test_an_engine_that_cannot_search_says_so() -> None:
    clock = Clock()
    engine = SlowEngine(clock)
    assert features(engine) == ["search"]
    engine.can_search = False
    assert features(engine) == []
    async with at_work(engine=engine, clock=clock) as stage:
        percy = await member(stage, "percy", "ops")
        with pytest.raises(Refused, match="cannot be searched here") as refused:
            await search(percy, "hello")
        assert refused.value.code == ErrorCode.UNAVAILABLE


async def test_history_begins_at_a_time() -> None:
    async with at_work() as stage:
        percy = await member(stage, "percy", "ops")
        for number in range(4):
            await say(percy, "ops", str(number))
            stage.clock.go(0.0015)
        newest = (await percy.ask("history", {"room": "ops"}))["messages"]
        for index, message in enumerate(newest):
            page = await percy.ask("history", {"room": "ops", "at": message["sent"], "limit": 2})
            assert [each["message"] for each in page["messages"]] == [str(index), str(index + 1)][: 4 - index]
            assert page["more"] == (index < 2)
        later = newest[1]["sent"].replace("Z", "1Z")
        assert (await percy.ask("history", {"room": "ops", "at": later}))["messages"][0]["message"] == "2"
        assert len((await percy.ask("history", {"room": "ops", "at": "0001-01-01T00:00:00Z"}))["messages"]) == 4
        nothing = await percy.ask("history", {"room": "ops", "at": "9999-12-31T23:59:59+00:00"})
        assert (nothing["messages"], nothing["more"]) == ([], False)
        for wrong in ({"at": "yesterday"}, {"at": "2026-01-01T00:00:00"}, {"at": newest[0]["sent"], "before": 3}):
            with pytest.raises(Refused) as refused:
                await percy.ask("history", {"room": "ops", **wrong})
            assert refused.value.code == ErrorCode.BAD_PAYLOAD
