"""Dispatch: each client's events in order, each to its handler, and what is answered when."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from gates import BrokenEngine, FullDisk, GatedEngine, turns
from heard import codes, texts, types
from hubbub import Client, Event, Hub, Posting, Refused, dispatch
from hubbub.dialect import Dialect
from hubbub.engine.memory import MemoryEngine
from hubbub.testing import CLASSIC, V1, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


class Vote(Event, tag="vote"):
    poll: str
    option: int = 1


class Tally(Event, tag="tally"):
    poll: str
    count: int = 1


class Shout(Event, tag="send_message"):
    message: str


# In order


async def test_events_of_one_client_are_handled_in_the_order_sent(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    percy.say("send_message", {"message": "first"})
    percy.say("change_room", {"name": "kitchen"})
    percy.say("send_message", {"message": "second"})
    percy.say("change_room", {"name": "cellar"})
    percy.say("send_message", {"message": "third"})
    assert texts(await percy.hear())[-1] == "third"
    assert list(percy.client.rooms) == ["cellar"]
    heads = [await stage.engine.head(room) for room in ("general", "kitchen", "cellar")]
    assert [head.seq for head in heads] == [1, 1, 1]


async def test_a_client_with_a_handler_at_work_waits_in_line_and_is_not_read_for_ever() -> None:
    hub = Hub()
    gate = asyncio.Event()

    @hub.on
    async def count(vote: Vote, client: Client) -> int:
        await gate.wait()
        return vote.option

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        for number in range(100):
            percy.say("vote", {"poll": "lunch", "option": number}, number)
        assert not percy.is_reading
        gate.set()
        assert [event["payload"] for event in await percy.hear()] == list(range(100))
        assert percy.is_reading


async def test_a_handler_holds_up_its_own_client_and_nobody_else() -> None:
    hub = Hub()
    gate = asyncio.Event()

    @hub.on
    async def count(vote: Vote, client: Client) -> int:
        if client.user == "percy":
            await gate.wait()
        return vote.option

    async with at_work(hub) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        for guest in (percy, alice):
            guest.say("vote", {"poll": "lunch"}, 1)
        await turns()
        assert (types(percy.take()), types(alice.take())) == ([], ["ack"])
        gate.set()
        assert types(await percy.hear()) == ["ack"]


async def test_a_client_that_goes_while_its_events_wait_in_line_is_handled_no_more() -> None:
    hub = Hub()
    gate = asyncio.Event()
    handled: list[int] = []

    @hub.on
    async def count(vote: Vote) -> None:
        handled.append(vote.option)
        await gate.wait()

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        for number in range(3):
            percy.say("vote", {"poll": "lunch", "option": number})
        await turns()
        percy.hang_up()
        gate.set()
        await stage.settle()
        assert handled == [0]


# What cannot be read


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"message": ""}, "bad_payload"),
        ({"message": "x" * 4001}, "too_large"),
        ({"message": 5}, "bad_payload"),
        ({}, "bad_payload"),
        ({"message": "hi", "room": "elsewhere"}, "not_in_room"),
    ],
)
async def test_a_message_that_cannot_be_is_refused(stage: Stage, payload: object, code: str) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    percy.say("send_message", payload, "c1")
    assert codes(await percy.hear()) == [("c1", code)]


async def test_bad_payloads_never_reach_a_handler() -> None:
    hub = Hub()
    seen: list[Vote] = []

    @hub.on
    def count(vote: Vote) -> None:
        seen.append(vote)

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        payloads: list[Any] = [{"poll": 1, "option": 1}, {"option": 1}, [], None, "x", {"poll": "x", "option": 1.5}]
        for payload in payloads:
            percy.say("vote", payload)
        assert [code for _, code in codes(await percy.hear())] == ["bad_payload"] * len(payloads)
        assert seen == []


async def test_a_classic_client_never_hears_of_its_errors(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    for text in ("{", "[]", '{"type": 5}', '{"type": "vote", "payload": {}}', '{"type": "send_message"}'):
        percy.say_text(text)
    percy.say_binary()
    await stage.settle()
    assert percy.writes == []
    assert percy.close_code is None
    assert percy.refused == 6


async def test_a_v1_client_that_sends_binary_is_closed(stage: Stage) -> None:
    percy = await stage.client("percy")
    percy.say_binary()
    assert percy.close_code == 1003


# Answers


async def test_a_request_without_an_id_gets_no_ack_and_an_error_without_id(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    percy.say("send_message", {"message": "hi"})
    (message,) = await percy.hear()
    assert message["type"] == "new_message"
    percy.say("nonsense", {})
    (error,) = await percy.hear()
    assert codes([error]) == [(None, "unknown_type")]
    assert "id" not in error


async def test_what_a_handler_returns_is_the_payload_of_the_ack() -> None:
    hub = Hub()

    @hub.on
    def count(vote: Vote, client: Client) -> Tally:
        tally = Tally(poll=vote.poll)
        hub.room(vote.poll).post(tally)
        return tally

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await hub.join(percy.client, "lunch")
        percy.say("vote", {"poll": "lunch"}, "v1")
        ack, tally = await percy.hear()
        assert ack == {"type": "ack", "id": "v1", "payload": {"poll": "lunch", "count": 1}}
        assert tally["type"] == "tally"
        assert set(tally["payload"]) == {"room", "seq", "sent", "poll", "count"}


async def test_a_handler_may_await_its_posting() -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> dict[str, int]:
        receipt = await hub.room(vote.poll).post(Tally(poll=vote.poll))
        return {"place": receipt.seq}

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        assert await percy.ask("vote", {"poll": "lunch"}) == {"place": 1}


async def test_a_handler_may_refuse_and_may_fail_and_the_client_stays() -> None:
    hub = Hub()

    @hub.on
    def count(vote: Vote) -> None:
        if vote.option == 3:
            raise Refused("bad_payload", "option is 1 or 2")
        raise ZeroDivisionError

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        percy.say("vote", {"poll": "lunch", "option": 3}, "v1")
        percy.say("vote", {"poll": "lunch"}, "v2")
        percy.say("vote", {"option": 1}, "v3")
        refused, failed, bad = await percy.hear()
        assert refused["payload"] == {"code": "bad_payload", "message": "option is 1 or 2"}
        assert failed["payload"]["code"] == "internal"
        assert bad["payload"]["code"] == "bad_payload"
        assert "poll" in bad["payload"]["message"]
        assert percy.close_code is None


class Unencodable:
    """Nothing that JSON knows."""


async def test_an_answer_that_cannot_be_encoded_is_the_handlers_failure_and_no_more() -> None:
    hub = Hub()

    @hub.on
    def plain(vote: Vote) -> Unencodable:
        if vote.option == 1:
            hub.room("lunch").post(Tally(poll="lunch"))
        return Unencodable()

    @hub.on
    async def asynchronous(shout: Shout) -> Unencodable:
        if shout.message == "cancelled":
            raise asyncio.CancelledError
        return Unencodable()

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        for option in (1, 2):
            percy.say("vote", {"poll": "lunch", "option": option}, option)
            await stage.settle()
        percy.say("send_message", {"message": "hi"}, 3)
        percy.say("send_message", {"message": "cancelled"}, 4)
        percy.say("presence", {}, 5)
        assert codes(await percy.hear()) == [
            (1, "internal"),
            (2, "internal"),
            (3, "internal"),
            (4, "internal"),
            (5, "not_in_room"),
        ]
        assert percy.close_code is None


# What an answer waits for


@pytest.mark.parametrize("engine", [FullDisk, BrokenEngine])
async def test_what_is_not_kept_is_not_acked(engine: Callable[[], MemoryEngine]) -> None:
    async with at_work(engine=engine()) as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        for id_ in ("c1", "c2"):
            percy.say("send_message", {"message": "hi"}, id_)
            await stage.settle()
        assert codes(await percy.hear()) == [("c1", "unavailable"), ("c2", "unavailable")]


@pytest.mark.parametrize("way", ["returns it", "awaits it", "posts another"])
async def test_a_handler_that_posts_in_conflict_is_answered_so(way: str) -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> Posting | None:
        posting = hub.room("lunch").post(Tally(poll=vote.poll), sender=client, key="k")
        if way == "awaits it":
            await posting
        elif way == "posts another":
            hub.room("lunch").post(Tally(poll=vote.poll))
            return None
        return posting

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.ask("vote", {"poll": "one"})
        percy.say("vote", {"poll": "two"}, "v2")
        assert codes(await percy.hear()) == [("v2", "conflict")]


async def test_an_asynchronous_handlers_ack_waits_for_what_it_posted() -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> Tally:
        tally = Tally(poll=vote.poll)
        hub.room(vote.poll).post(tally)
        return tally

    async with at_work(hub, engine=FullDisk()) as stage:
        percy = await stage.client("percy")
        percy.say("vote", {"poll": "lunch"}, "v1")
        assert codes(await percy.hear()) == [("v1", "unavailable")]


def hub_that_returns_kept_postings(*, is_async: bool) -> tuple[Hub, list[Posting]]:
    """A hub whose votes are answered with the last posting of the list, whoever made it."""
    hub = Hub()
    made: list[Posting] = []

    def plain(vote: Vote) -> Posting:
        return made[-1]

    async def asynchronous(vote: Vote) -> Posting:
        return made[-1]

    hub.on(asynchronous if is_async else plain)
    return hub, made


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_posting_that_another_call_made_and_is_kept_acks_with_its_place(is_async: bool) -> None:
    hub, made = hub_that_returns_kept_postings(is_async=is_async)
    async with at_work(hub) as stage:
        made.append(hub.room("lunch").post(Tally(poll="lunch")))
        await stage.settle()
        percy = await stage.client("percy")
        assert (await percy.ask("vote", {"poll": "lunch"}))["seq"] == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_posting_that_another_call_made_and_was_not_kept_is_an_error(is_async: bool) -> None:
    hub, made = hub_that_returns_kept_postings(is_async=is_async)
    async with at_work(hub, engine=FullDisk()) as stage:
        made.append(hub.room("lunch").post(Tally(poll="lunch")))
        await stage.settle()
        percy = await stage.client("percy")
        with pytest.raises(Refused, match="not kept"):
            await percy.ask("vote", {"poll": "lunch"})


@pytest.mark.parametrize("is_async", [False, True])
async def test_two_calls_that_return_the_same_posting_both_wait_for_it(is_async: bool) -> None:
    hub, made = hub_that_returns_kept_postings(is_async=is_async)
    engine = GatedEngine()
    async with at_work(hub, engine=engine) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        engine.appends[0].close()
        made.append(hub.room("lunch").post(Tally(poll="lunch")))
        for guest in (percy, alice):
            guest.say("vote", {"poll": "lunch"}, "v1")
        await turns()
        assert percy.take() == alice.take() == []
        engine.appends[0].open()
        (percys,), (alices,) = await percy.hear(), await alice.hear()
        assert percys == alices
        assert (percys["id"], percys["payload"]["seq"]) == ("v1", 1)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_ack_waits_for_the_posting_returned_and_for_those_made(is_async: bool) -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    def plain(vote: Vote) -> Posting:
        hub.room("right").post(Tally(poll="lunch"))
        return others

    async def asynchronous(vote: Vote) -> Posting:
        return plain(vote)

    hub.on(asynchronous if is_async else plain)
    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        for gate in engine.appends:
            gate.close()
        others = hub.room("left").post(Tally(poll="lunch"))
        percy.say("vote", {"poll": "lunch"}, 1)
        for gate in engine.appends:
            await turns()
            assert percy.take() == []
            gate.open()
        (ack,) = await percy.hear()
        assert (ack["payload"]["room"], ack["payload"]["seq"]) == ("left", 1)


# Rates


async def test_over_the_rate_classic_is_dropped_and_v1_is_told_when_to_come_back() -> None:
    async with at_work(client_burst=2) as stage:
        percy = await stage.client("percy", CLASSIC, rate=10)
        alice = await stage.client("alice", rate=10)
        await stage.hub.join(alice.client, "general")
        for guest in (percy, alice):
            for number in range(3):
                guest.say("send_message", {"message": "hi"}, number)
            await stage.settle()
        assert len(percy.take()) == 4
        assert percy.dropped == 1
        (error,) = [event for event in alice.take() if event["type"] == "error"]
        assert codes([error]) == [(2, "rate_limited")]
        assert error["payload"]["retry_after"] == 0.1
        stage.clock.go(0.1)
        alice.say("send_message", {"message": "hi"}, 4)
        assert types(await alice.hear()) == ["ack", "new_message"]


async def test_a_flood_is_closed() -> None:
    async with at_work(client_burst=10) as stage:
        percy = await stage.client("percy", CLASSIC, rate=10)
        for _ in range(3000):
            stage.clock.go(1 / 90)
            percy.say("send_message", {"message": "under ten times the rate"})
        assert percy.close_code is None
        for _ in range(3000):
            stage.clock.go(1 / 200)
            percy.say("send_message", {"message": "over ten times the rate"})
        assert percy.close_code == 4102


# Clients that do not read


async def test_one_that_asks_and_does_not_read_is_answered_when_it_does(stage: Stage) -> None:
    percy = await stage.client("percy")
    percy.read_slowly()
    for number in range(100):
        percy.say("nonsense", {}, number)
    assert percy.take() == []
    assert not percy.is_reading
    percy.read_on()
    assert codes(percy.take()) == [(number, "unknown_type") for number in range(100)]
    assert percy.is_reading


async def test_one_that_stops_reading_again_is_answered_no_further() -> None:
    hub = Hub()
    percy: Guest

    @hub.on
    def count(vote: Vote) -> int:
        if vote.option == 3:
            percy.read_slowly()
        return vote.option

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        percy.read_slowly()
        for number in range(6):
            percy.say("vote", {"poll": "lunch", "option": number}, number)
        percy.read_on()
        assert [event["id"] for event in percy.take()] == [0, 1, 2, 3]
        percy.read_on()
        assert [event["id"] for event in percy.take()] == [4, 5]


async def test_refusals_do_not_pile_up_for_one_that_floods_and_does_not_read() -> None:
    async with at_work(client_burst=2) as stage:
        percy = await stage.client("percy", rate=10)
        percy.read_slowly()
        for number in range(100):
            percy.say("nonsense", {}, number)
        await stage.settle()
        assert percy.writes == []
        assert percy.dropped == 98
        percy.read_on()
        assert codes(percy.take()) == [(0, "unknown_type"), (1, "unknown_type")]


async def test_frames_are_not_answered_over_the_rate_nor_to_one_that_does_not_read() -> None:
    async with at_work(client_burst=2) as stage:
        percy = await stage.client("percy", rate=10)
        (participant,) = stage.core.clients
        admit = stage.core.dispatch.admit
        percy.read_slowly()
        assert not admit(participant)
        percy.read_on()
        assert admit(participant)
        assert not admit(participant), "the one that was not answered was counted"
        assert percy.dropped == 1


@pytest.mark.parametrize("dialect", [CLASSIC, V1])
async def test_what_a_clients_frame_costs_does_not_grow_with_the_number_of_slow_ones(dialect: Dialect) -> None:
    async def calls(slow: int) -> int:
        async with at_work() as stage:
            percy = await stage.client("percy", dialect)
            (participant,) = stage.core.clients
            await stage.hub.join(percy.client, "general")
            for number in range(slow):
                sleeper = await stage.client(f"sleeper {number}")
                await sleeper.join("general")
                sleeper.read_slowly()
            percy.say("send_message", {"message": "they fall behind"})
            await stage.settle()

            def one_frame() -> None:
                percy.say("send_message", {"message": ""})
                stage.core.dispatch.admit(participant)

            one_frame()
            return min(calls_in(one_frame) for _ in range(5))  # a collection of garbage in between adds to one

    assert await calls(2) == await calls(40)


def calls_in(work: Callable[[], object]) -> int:
    """How many functions are called for a piece of work."""
    count = 0

    def note(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


# Tasks that a handler leaves behind


async def test_what_a_task_posts_that_outlives_its_handler_is_not_kept_in_mind() -> None:
    hub = Hub()
    background: list[asyncio.Task[None]] = []
    gate = asyncio.Event()

    async def count_for_ever() -> None:
        while True:
            await gate.wait()
            await hub.room("lunch").post(Tally(poll="lunch"))

    @hub.on
    async def count(vote: Vote) -> None:
        background.append(asyncio.create_task(count_for_ever()))

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.ask("vote", {"poll": "lunch"})
        gate.set()
        while (await stage.engine.head("lunch")).seq < 500:
            await turns(1)
        gate.clear()
        await turns()
        gc.collect()
        alive = [found for found in gc.get_objects() if isinstance(found, Posting)]
        assert len(alive) < 5
        background[0].cancel()


async def test_a_handler_that_was_cut_off_answers_nobody() -> None:
    hub = Hub()
    ended: list[str] = []

    @hub.on
    async def count(vote: Vote) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(vote.poll)

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        percy.say("vote", {"poll": "lunch"}, 1)
        await turns()
        await stage.core.cancel_handlers()
        assert ended == ["lunch"]
        assert percy.take() == []
        percy.say("nonsense", {}, 2)
        assert codes(percy.take()) == [(2, "unknown_type")]


async def test_a_hub_that_is_about_to_stop_drops_what_clients_send(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    stage.core.start_draining()
    percy.say("send_message", {"message": "hi"})
    assert await percy.hear() == []
    assert (await stage.engine.head("general")).seq == 0


# Frames that say nothing


def reads(guest: Guest) -> bool:
    """Whether the hub reads from a connection now."""
    return guest.is_reading


async def test_one_that_pings_over_its_rate_is_not_read_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "REST_S", 0)
    async with at_work(client_burst=2) as stage:
        percy = await stage.client("percy", rate=10)
        assert [percy.ping() for _ in range(2)] == [True, True]
        assert not percy.ping()
        assert not percy.ping(), "it had been read already"
        assert reads(percy) is False
        await turns()
        assert reads(percy) is True


async def test_one_that_rests_and_has_a_long_line_is_read_when_both_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "REST_S", 0)
    gate = asyncio.Event()
    hub = Hub()

    @hub.on
    async def count(vote: Vote) -> None:
        await gate.wait()

    async with at_work(hub, client_burst=100) as stage:
        percy = await stage.client("percy", rate=10)
        for _ in range(100):
            percy.say("vote", {"poll": "lunch"})
        assert not percy.ping()
        await turns()
        assert not reads(percy), "its line is long"
        gate.set()
        await stage.settle()
        assert reads(percy)
        assert not percy.ping()
        percy.say("vote", {"poll": "lunch"})
        await turns(1)
        assert not reads(percy), "it rests, though its line is empty"
        await turns()
        assert reads(percy)


async def test_one_that_is_gone_rests_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "REST_S", 0)
    async with at_work(client_burst=1) as stage:
        percy = await stage.client("percy", rate=10)
        assert [percy.ping() for _ in range(2)] == [True, False]
        percy.hang_up()
        await turns()
        assert not reads(percy)
