"""Joining with a past, and being fed after falling behind: in order, with no hole and no repeat."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates import GatedEngine, turns
from heard import seqs
from hubbub import Refused, catchup
from hubbub.catchup import Missed, catch_up, page_texts, read_missed
from hubbub.chat import NewMessage
from hubbub.client import Participant
from hubbub.dialect import V1
from hubbub.engine import Draft, Head, Page
from hubbub.engine.memory import MemoryEngine
from hubbub.events import Message
from hubbub.recent import RECENT, Recent
from hubbub.room import LiveRoom
from hubbub.testing import CLASSIC, Clock, Guest, Stage, at_work

pytestmark = pytest.mark.anyio

HI = b'{"message":"hi"}'


async def fill(stage: Stage, count: int, body: bytes = HI) -> None:
    await stage.engine.append([Draft("general", "new_message", body, "percy") for _ in range(count)])


async def epoch(stage: Stage) -> str:
    return (await stage.engine.head("general")).epoch


async def since(stage: Stage, seq: int) -> dict[str, Any]:
    """A place in the room's log."""
    return {"epoch": await epoch(stage), "seq": seq}


def listed(joined: dict[str, Any]) -> list[int]:
    """The seqs of the messages in the answer to a join."""
    return [message["seq"] for message in joined["messages"]]


# What a join answers


async def test_a_join_brings_the_newest_messages(stage: Stage) -> None:
    await fill(stage, 300)
    percy = await stage.client("percy")
    joined = await percy.join("general")
    assert listed(joined) == list(range(251, 301))
    assert joined["seq"] == 300
    assert joined["recovered"] is False
    assert (joined["members"], joined["count"]) == (["percy"], 1)
    assert joined["read"] == 0
    for history, first in ((0, None), (1, 300), (RECENT, 101)):
        joined = await percy.join("general", history=history)
        assert len(joined["messages"]) == history
        assert not history or joined["messages"][0]["seq"] == first


async def test_a_join_from_nothing_said_yet_resumes_later(stage: Stage) -> None:
    percy = await stage.client("percy")
    joined = await percy.join("general")
    assert (joined["seq"], joined["messages"]) == (0, [])
    percy.hang_up()
    await fill(stage, 3)
    percy = await stage.client("percy")
    joined = await percy.join("general", since={"epoch": joined["epoch"], "seq": 0})
    assert joined["recovered"] is True
    assert listed(joined) == [1, 2, 3]


@pytest.mark.parametrize("missed", [0, 1, RECENT, RECENT + 1, 999])
async def test_a_join_since_brings_every_later_message(stage: Stage, missed: int) -> None:
    await fill(stage, 1000)
    percy = await stage.client("percy")
    joined = await percy.join("general", since=await since(stage, 1000 - missed))
    assert joined["recovered"] is True
    assert listed(joined) == list(range(1001 - missed, 1001))
    assert joined["seq"] == 1000


@pytest.mark.parametrize("place", [{"epoch": "another", "seq": 900}, {"epoch": None, "seq": 1001}])
async def test_a_since_that_means_nothing_here_is_not_recovered(stage: Stage, place: dict[str, Any]) -> None:
    await fill(stage, 1000)
    percy = await stage.client("percy")
    joined = await percy.join("general", since=place | {"epoch": place["epoch"] or await epoch(stage)})
    assert joined["recovered"] is False
    assert listed(joined) == list(range(951, 1001))


@pytest.mark.parametrize("seq", [-1, (1 << 62) + 1, 1 << 63, 1 << 200])
async def test_a_since_that_no_log_can_count_to_is_refused(stage: Stage, seq: int) -> None:
    await fill(stage, 3)
    percy = await stage.client("percy")
    with pytest.raises(Refused, match=r"payload\.since\.seq") as refused:
        await percy.join("general", since={"epoch": "another", "seq": seq})
    assert refused.value.code == "bad_payload"


async def test_a_since_older_than_the_log_is_not_recovered() -> None:
    async with at_work(engine=MemoryEngine(clock=Clock(), wall=Clock(), keep=500)) as stage:
        await fill(stage, 1000)
        percy = await stage.client("percy")
        assert (await percy.join("general", since=await since(stage, 499)))["recovered"] is False
        joined = await percy.join("general", since=await since(stage, 500))
        assert joined["recovered"] is True
        assert len(joined["messages"]) == 500


async def test_own_events_come_back_with_their_type(stage: Stage) -> None:
    await stage.engine.append([Draft("general", "tally", b'{"count":1}')])
    percy = await stage.client("percy")
    (own,) = (await percy.join("general"))["messages"]
    assert (own["type"], own["count"], own["seq"]) == ("tally", 1, 1)


async def test_joining_again_moves_to_where_the_client_says_it_is(stage: Stage) -> None:
    await fill(stage, 10)
    percy = await stage.client("percy")
    await percy.join("general")
    assert listed(await percy.join("general", since=await since(stage, 7))) == [8, 9, 10]
    percy.say("send_message", {"message": "hi"})
    assert seqs(await percy.hear()) == [11]
    assert stage.hub.room("general").users == ["percy"]
    assert len(stage.hub.room("general").members) == 1


# Far behind


async def all_heard(stage: Stage, percy: Guest, joined: dict[str, Any]) -> list[int]:
    """What a join has answered, what followed, and one more message."""
    percy.say("send_message", {"message": "hi"})
    return listed(joined) + seqs(await percy.hear())


async def test_far_behind_the_answer_has_so_many_messages_and_the_rest_follows_live(stage: Stage) -> None:
    await fill(stage, 6000)
    percy = await stage.client("percy")
    joined = await percy.join("general", since=await since(stage, 10))
    assert len(joined["messages"]) == catchup.MAX_ANSWER == 2000
    assert joined["recovered"] is True
    assert listed(joined)[-1] == joined["seq"]
    assert await all_heard(stage, percy, joined) == list(range(11, 6002))


async def test_with_long_messages_the_answer_has_so_many_bytes_and_the_rest_follows_live(stage: Stage) -> None:
    await fill(stage, 1500, b'{"message":"%b"}' % (b"x" * 4000))
    percy = await stage.client("percy")
    joined = await percy.join("general", since=await since(stage, 10))
    assert joined["recovered"] is True
    pages = -(-catchup.MAX_ANSWER_BYTES // (catchup.PAGE * 4014))
    assert len(joined["messages"]) == pages * catchup.PAGE == 400
    assert listed(joined)[-1] == joined["seq"]
    assert await all_heard(stage, percy, joined) == list(range(11, 1502))


async def test_one_that_joins_far_behind_and_does_not_read_is_fed_when_it_does(stage: Stage) -> None:
    await fill(stage, 6000)
    percy = await stage.client("percy")
    place = await since(stage, 10)
    percy.say("join_room", {"room": "general", "since": place}, "j")
    percy.read_slowly()
    (ack,) = await percy.hear()
    percy.read_on()
    assert await all_heard(stage, percy, ack["payload"]) == list(range(11, 6002))


async def test_one_that_is_behind_in_many_rooms_is_fed_one_in_a_turn_of_the_loop(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    percy = await stage.client("percy")
    for number in range(100):
        await percy.join(f"room {number}")
    percy.read_slowly()
    await stage.hub.room("room 0").post(NewMessage("hi"))
    percy.say("leave_room", {"room": "room 99"})  # what it says is where it is seen that its outbox is over the limit
    looks = 0
    behind = LiveRoom.behind

    def count(room: LiveRoom, client: Participant) -> int | None:
        nonlocal looks
        looks += 1
        return behind(room, client)

    monkeypatch.setattr(LiveRoom, "behind", count)
    percy.read_on()
    most = 0
    for _ in range(120):
        before = looks
        await turns(1)
        most = max(most, looks - before)
    assert seqs(percy.take()) == [1]
    assert most <= 101  # once through all of them to see that none is left
    assert looks < 600  # not once through all of them for each


# What is said during a join


class Busy(GatedEngine):
    """A log where much is said while one reads in it."""

    stage: Stage | None = None

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        page = await super().read(room, after=after, before=before, limit=limit)
        if self.stage is not None:
            count = random.Random(page.head.seq).randrange(4)
            if count:
                await self.append([Draft(room, "new_message", HI, "percy") for _ in range(count)])
                self.stage.core.listener.flush()
        return page


@pytest.mark.parametrize("behind", [0, 10, 150, 199, 200, 201, 700, 3000])
async def test_what_is_said_during_a_join_comes_once_and_in_order(behind: int) -> None:
    engine = Busy()
    async with at_work(engine=engine) as stage:
        await fill(stage, 4000)
        await stage.client("alice", CLASSIC)
        engine.stage = stage
        percy = await stage.client("percy")
        joined = await percy.join("general", since=await since(stage, 4000 - behind))
        heard = await all_heard(stage, percy, joined)
        assert heard == list(range(4001 - behind, heard[-1] + 1))
        assert heard[-1] == (await engine.head("general")).seq


async def test_a_log_that_loses_messages_while_they_are_read_is_not_recovered_from() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        await fill(stage, 1000)
        await (await stage.client("alice")).join("general")
        percy = await stage.client("percy")
        engine.reads.close()
        percy.say("join_room", {"room": "general", "since": await since(stage, 10)}, "j")
        await engine.reads.reached()
        pages = 0
        while engine.reads.waiting:
            pages += 1
            if pages == 3:
                await fill(stage, 10_000)  # as many as a log in memory keeps
            engine.reads.open()
            engine.reads.close()
            await turns(3)
        (ack,) = [event for event in await percy.hear() if event["type"] == "ack"]
        assert ack["payload"]["recovered"] is False
        assert listed(ack["payload"]) == list(range(10_951, 11_001))


# Falling behind


async def slow(stage: Stage) -> Guest:
    percy = await stage.client("percy")
    await percy.join("general")
    percy.read_slowly()
    return percy


async def talk(stage: Stage, count: int) -> None:
    for _ in range(count):
        stage.hub.room("general").post(NewMessage("hi"))
        await stage.settle()


@pytest.mark.parametrize("missed", [1, 50, 300, 900])
async def test_a_slow_reader_gets_nothing_while_it_is_slow_and_everything_after(stage: Stage, missed: int) -> None:
    percy, alice = await slow(stage), await stage.client("alice", CLASSIC)
    await talk(stage, 1)
    heard = seqs(percy.take())
    await talk(stage, missed)
    assert percy.take() == []
    assert len(alice.take()) == missed + 1
    percy.read_on()
    heard += seqs(await percy.hear())
    await talk(stage, 2)
    assert heard + seqs(percy.take()) == list(range(1, missed + 4))
    assert percy.close_code is None


async def test_past_the_logs_retention_a_slow_reader_is_told_of_the_gap() -> None:
    async with at_work(engine=MemoryEngine(clock=Clock(), wall=Clock(), keep=300)) as stage:
        percy = await slow(stage)
        await talk(stage, 1)
        await fill(stage, 1000)
        await percy.hear()
        percy.read_on()
        gap, *rest = await percy.hear()
        assert gap == {"type": "gap", "payload": {"room": "general", "from": 2, "to": 701}}
        assert seqs(rest) == list(range(702, 1002))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["say", "say much", "slow", "drained", "rejoin", "other joins"]), max_size=30))
def test_however_slow_and_quick_it_gets_nothing_is_missed_or_repeated(steps: list[str]) -> None:
    async def play() -> None:
        async with at_work() as stage:
            percy = await stage.client("percy")
            joined = await percy.join("general")
            heard: list[int] = []
            for number, step in enumerate(steps):
                heard += seqs(percy.take())
                if step == "say":
                    await talk(stage, 1)
                elif step == "say much":
                    await fill(stage, RECENT + 50)
                    stage.core.listener.flush()
                elif step == "slow":
                    percy.read_slowly()
                elif step == "drained":
                    percy.read_on()
                    percy.read_on()
                elif step == "rejoin" and percy.outbox_size == 0:  # one that does not read gets no answer either
                    heard += seqs(await percy.hear())
                    place = {"epoch": joined["epoch"], "seq": heard[-1] if heard else 0}
                    heard += listed(await percy.join("general", since=place))
                elif step == "other joins":
                    await stage.client(f"user{number}")
                await stage.settle()
            percy.read_on()
            heard += seqs(await percy.hear())
            assert heard == list(range(1, (await stage.engine.head("general")).seq + 1))

    asyncio.run(play())


# The reading and encoding itself


def message(seq: int) -> Message:
    return Message("general", seq, 0, "percy", "new_message", b'{"message":"%d"}' % seq)


def recent(first: int, last: int) -> Recent:
    """What is at hand of a log with the epoch `e`."""
    found = Recent()
    found.fill(Page(Head("e", last), [message(seq) for seq in range(first, last + 1)], more=True))
    return found


def seqs_in(array: bytes) -> list[int]:
    return [listed["seq"] for listed in json.loads(array)]


def test_without_a_past_the_newest_of_what_is_at_hand_are_told() -> None:
    caught = catch_up(recent(5, 9), V1, None, history=3)
    assert seqs_in(caught.messages) == [7, 8, 9]
    assert (caught.epoch, caught.heard, caught.is_recovered, caught.is_present) == ("e", 9, False, True)
    assert seqs_in(catch_up(recent(5, 9), V1, None, history=0).messages) == []


def test_what_was_read_is_put_before_what_is_at_hand() -> None:
    missed = Missed("e", 2, [message(3), message(4), message(5)])
    caught = catch_up(recent(5, 9), V1, missed, history=50)
    assert seqs_in(caught.messages) == [3, 4, 5, 6, 7, 8, 9]
    assert (caught.heard, caught.is_recovered, caught.is_present) == (9, True, True)


def test_where_what_was_read_does_not_reach_what_is_at_hand_the_client_is_behind() -> None:
    caught = catch_up(recent(5, 9), V1, Missed("e", 1, [message(2), message(3)]), history=50)
    assert seqs_in(caught.messages) == [2, 3]
    assert (caught.heard, caught.is_recovered, caught.is_present) == (3, True, False)


def test_what_was_read_under_another_epoch_is_not_told() -> None:
    caught = catch_up(recent(5, 9), V1, Missed("another", 2, [message(3)]), history=2)
    assert seqs_in(caught.messages) == [8, 9]
    assert not caught.is_recovered


def test_a_log_that_is_ahead_of_what_it_has_delivered_repeats_nothing() -> None:
    caught = catch_up(recent(5, 9), V1, Missed("e", 8, [message(9), message(10), message(11)]), history=50)
    assert seqs_in(caught.messages) == [9, 10, 11]
    assert (caught.heard, caught.is_present) == (11, True)


async def test_a_place_that_is_at_hand_is_judged_without_the_log() -> None:
    engine = GatedEngine()
    for seq in (4, 6, 9):
        assert await read_missed(engine, "general", recent(5, 9), Head("e", seq)) == Missed("e", seq, [])
    assert engine.reads.passed == 0


def test_a_page_says_first_what_is_missing_before_it() -> None:
    page = Page(Head("e", 9), [message(8), message(9)], more=False)
    texts, cursor = page_texts("general", V1, page, 5)
    assert cursor == 9
    assert texts[0] == b'{"type":"gap","payload":{"room":"general","from":6,"to":7}}'
    assert len(texts) == 3
    assert page_texts("general", V1, page, 7) == (texts[1:], 9)


def test_a_page_with_nothing_left_says_that_all_is_missing() -> None:
    empty = Page(Head("e", 9), [], more=False)
    assert page_texts("general", V1, empty, 5) == (
        [b'{"type":"gap","payload":{"room":"general","from":6,"to":9}}'],
        9,
    )
    assert page_texts("general", V1, empty, 9) == ([], 9)
    assert page_texts("general", V1, empty, 12) == ([], 12)
