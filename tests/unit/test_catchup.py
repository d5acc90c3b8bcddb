"""Joining with a past, and being fed after falling behind: in order, with no hole and no repeat."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.chat import NewMessage
from hubbub.engine import Draft, Page
from hubbub.engine.memory import MemoryEngine
from hubbub.recent import RECENT
from hubbub.wire.dialects import CLASSIC, V1
from stage import Clock, FakeSocket, Stage, stage

pytestmark = pytest.mark.anyio


def seqs(events: Sequence[dict[str, Any]]) -> list[int]:
    return [event["payload"]["seq"] for event in events if event["type"] == "new_message"]


async def fill(on_stage: Stage, count: int, room: str = "general") -> None:
    await on_stage.engine.append([Draft(room, "new_message", b'{"message":"hi"}', "percy") for _ in range(count)])


async def join(on_stage: Stage, client: Any, socket: FakeSocket, **payload: Any) -> dict[str, Any]:
    """Join a room; the ack's payload."""
    socket.take()
    await on_stage.say(client, "join_room", {"room": "general", **payload}, "j")
    ack, *rest = [event for event in socket.take() if event["type"] != "member_joined"]
    assert (ack["type"], ack["id"]) == ("ack", "j"), ack
    found: dict[str, Any] = ack["payload"] | {"after": rest}
    return found


async def epoch(on_stage: Stage) -> str:
    return (await on_stage.engine.head("general")).epoch


async def test_a_join_brings_the_newest_messages(on_stage: Stage) -> None:
    await fill(on_stage, 300)
    percy, percys = await on_stage.client("percy", V1)
    joined = await join(on_stage, percy, percys)
    assert [message["seq"] for message in joined["messages"]] == list(range(251, 301))
    assert joined["seq"] == 300
    assert joined["recovered"] is False
    assert joined["members"] == ["percy"]
    for history, first in ((0, None), (1, 300), (RECENT, 101)):
        joined = await join(on_stage, percy, percys, history=history)
        assert len(joined["messages"]) == history
        assert not history or joined["messages"][0]["seq"] == first


async def test_a_join_from_nothing_said_yet_resumes_later(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    joined = await join(on_stage, percy, percys)
    assert (joined["seq"], joined["messages"]) == (0, [])
    on_stage.hub.disconnect(percy)
    await fill(on_stage, 3)
    percy, percys = await on_stage.client("percy", V1)
    joined = await join(on_stage, percy, percys, since={"epoch": joined["epoch"], "seq": 0})
    assert joined["recovered"] is True
    assert [message["seq"] for message in joined["messages"]] == [1, 2, 3]


@pytest.mark.parametrize("missed", [0, 1, RECENT, RECENT + 1, 999])
async def test_a_join_since_brings_every_later_message(on_stage: Stage, missed: int) -> None:
    await fill(on_stage, 1000)
    percy, percys = await on_stage.client("percy", V1)
    joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 1000 - missed})
    assert joined["recovered"] is True
    assert [message["seq"] for message in joined["messages"]] == list(range(1001 - missed, 1001))
    assert joined["seq"] == 1000


@pytest.mark.parametrize("since", [{"epoch": "another", "seq": 900}, {"epoch": None, "seq": 1001}])
async def test_a_since_that_means_nothing_here_is_not_recovered(on_stage: Stage, since: dict[str, Any]) -> None:
    await fill(on_stage, 1000)
    since["epoch"] = since["epoch"] or await epoch(on_stage)
    percy, percys = await on_stage.client("percy", V1)
    joined = await join(on_stage, percy, percys, since=since)
    assert joined["recovered"] is False
    assert [message["seq"] for message in joined["messages"]] == list(range(951, 1001))


async def test_a_since_older_than_the_log_is_not_recovered() -> None:
    async with stage(engine=MemoryEngine(clock=Clock(), wall=Clock(), keep=500)) as on_stage:
        await fill(on_stage, 1000)
        percy, percys = await on_stage.client("percy", V1)
        joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 499})
        assert joined["recovered"] is False
        joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 500})
        assert joined["recovered"] is True
        assert len(joined["messages"]) == 500


async def test_far_behind_the_rest_follows_live() -> None:
    async with stage() as on_stage:
        await fill(on_stage, 6000)
        percy, percys = await on_stage.client("percy", V1)
        joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 10})
        heard = [message["seq"] for message in joined["messages"]] + seqs(joined["after"])
        assert joined["messages"][-1]["seq"] == joined["seq"]
        await on_stage.say(percy, "send_message", {"message": "hi"})
        assert heard + seqs(percys.take()) == list(range(11, 6002))


async def test_own_events_come_back_with_their_type(on_stage: Stage) -> None:
    await on_stage.engine.append([Draft("general", "tally", b'{"count":1}')])
    percy, percys = await on_stage.client("percy", V1)
    (listed,) = (await join(on_stage, percy, percys))["messages"]
    assert (listed["type"], listed["count"], listed["seq"]) == ("tally", 1, 1)


async def test_history_pages_both_ways_for_members_only(on_stage: Stage) -> None:
    await fill(on_stage, 30)
    percy, percys = await on_stage.client("percy", V1)
    await on_stage.say(percy, "history", {"room": "general"}, 0)
    assert percys.take()[0]["payload"]["code"] == "not_in_room"
    await join(on_stage, percy, percys, history=0)

    async def page(**where: int) -> tuple[list[int], bool]:
        await on_stage.say(percy, "history", where, 1)
        (answer,) = percys.take()
        return [message["seq"] for message in answer["payload"]["messages"]], answer["payload"]["more"]

    assert await page(before=11, limit=10) == (list(range(1, 11)), False)
    assert await page(after=25, limit=3) == ([26, 27, 28], True)
    assert await page() == (list(range(1, 31)), False)
    for bad in ({"limit": 0}, {"limit": 201}, {"before": -1}, {"before": 2, "after": 1}):
        await on_stage.say(percy, "history", bad, 2)
        assert percys.take()[0]["payload"]["code"] == "bad_payload"


async def test_joining_again_moves_to_where_the_client_says_it_is(on_stage: Stage) -> None:
    await fill(on_stage, 10)
    percy, percys = await on_stage.client("percy", V1)
    await join(on_stage, percy, percys)
    joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 7})
    assert [message["seq"] for message in joined["messages"]] == [8, 9, 10]
    await on_stage.say(percy, "send_message", {"message": "hi"})
    assert seqs(percys.take()) == [11]
    assert on_stage.hub.rooms["general"].users == {"percy": 1}


class SlowLog(MemoryEngine):
    """A log where much is said while one reads in it."""

    stage: Stage | None = None

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        page = await super().read(room, after=after, before=before, limit=limit)
        if self.stage is not None:
            for _ in range(random.Random(page.head.seq).randrange(4)):
                self.stage.hub.room(room).post(NewMessage("meanwhile"))
            await self.stage.hub.pump.once()
        return page


@pytest.mark.parametrize("behind", [0, 10, 150, 199, 200, 201, 700])
async def test_what_is_said_during_a_join_comes_once_and_in_order(behind: int) -> None:
    engine = SlowLog(clock=Clock(), wall=Clock())
    async with stage(engine=engine) as on_stage:
        await fill(on_stage, 1000)
        await on_stage.client("alice", CLASSIC)
        engine.stage = on_stage
        percy, percys = await on_stage.client("percy", V1)
        joined = await join(on_stage, percy, percys, since={"epoch": await epoch(on_stage), "seq": 1000 - behind})
        await on_stage.say(percy, "send_message", {"message": "hi"})
        heard = [message["seq"] for message in joined["messages"]] + seqs(joined["after"]) + seqs(percys.take())
        assert heard == list(range(1001 - behind, heard[-1] + 1))
        assert heard[-1] == (await engine.head("general")).seq


# Falling behind


async def slow_client(on_stage: Stage) -> tuple[Any, FakeSocket]:
    percy, percys = await on_stage.client("percy", V1)
    await join(on_stage, percy, percys)
    on_stage.hub.mark_slow(percy)
    percys.outbox_size = on_stage.settings.max_outbox + 1
    return percy, percys


async def say_as_alice(on_stage: Stage, alice: Any, count: int) -> None:
    for _ in range(count):
        await on_stage.say(alice, "send_message", {"message": "hi"})


@pytest.mark.parametrize("missed", [1, 50, 300, 900])
async def test_a_slow_reader_gets_nothing_while_it_is_slow_and_everything_after(missed: int) -> None:
    async with stage() as on_stage:
        percy, percys = await slow_client(on_stage)
        alice, alices = await on_stage.client("alice", CLASSIC)
        await say_as_alice(on_stage, alice, 1)
        heard = seqs(percys.take())
        await say_as_alice(on_stage, alice, missed)
        assert percys.take() == []
        assert len(alices.take()) == missed + 1
        percys.outbox_size = 0
        on_stage.hub.mark_caught_up(percy)
        await on_stage.settle()
        heard += seqs(percys.take())
        await say_as_alice(on_stage, alice, 2)
        assert heard + seqs(percys.take()) == list(range(1, missed + 4))
        assert percys.close_code() is None


async def test_past_the_logs_retention_a_slow_reader_is_told_of_the_gap() -> None:
    async with stage(engine=MemoryEngine(clock=Clock(), wall=Clock(), keep=300)) as on_stage:
        percy, percys = await slow_client(on_stage)
        alice, _ = await on_stage.client("alice", CLASSIC)
        await say_as_alice(on_stage, alice, 1)
        await fill(on_stage, 1000)
        await on_stage.settle()
        percys.take()
        percys.outbox_size = 0
        on_stage.hub.mark_caught_up(percy)
        await on_stage.settle()
        gap, *rest = percys.take()
        assert gap == {"type": "gap", "payload": {"room": "general", "from": 2, "to": 701}}
        assert seqs(rest) == list(range(702, 1002))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["say", "say much", "slow", "drained", "rejoin", "other joins"]), max_size=30))
def test_however_slow_and_quick_it_gets_nothing_is_missed_or_repeated(steps: list[str]) -> None:
    async def play() -> None:
        async with stage() as on_stage:
            percy, percys = await on_stage.client("percy", V1)
            alice, _ = await on_stage.client("alice", CLASSIC)
            joined = await join(on_stage, percy, percys)
            heard: list[int] = []
            for number, step in enumerate(steps):
                heard += seqs(percys.take())
                if step == "say":
                    await say_as_alice(on_stage, alice, 1)
                elif step == "say much":
                    await fill(on_stage, RECENT + 50)
                    on_stage.hub.flush()
                elif step == "slow":
                    on_stage.hub.mark_slow(percy)
                    percys.outbox_size = on_stage.settings.max_outbox + 1
                elif step == "drained":
                    percys.outbox_size = 0
                    on_stage.hub.mark_caught_up(percy)
                    on_stage.hub.mark_caught_up(percy)
                elif step == "rejoin" and percys.outbox_size == 0:  # one that does not read gets no answer either
                    since = {"epoch": joined["epoch"], "seq": heard[-1] if heard else 0}
                    answer = await join(on_stage, percy, percys, since=since)
                    heard += [message["seq"] for message in answer["messages"]] + seqs(answer["after"])
                elif step == "other joins":
                    await on_stage.client(f"user{number}", V1)
                await on_stage.settle()
            percys.outbox_size = 0
            on_stage.hub.mark_caught_up(percy)
            await on_stage.settle()
            heard += seqs(percys.take())
            assert heard == list(range(1, (await on_stage.engine.head("general")).seq + 1))

    import asyncio

    asyncio.run(play())
