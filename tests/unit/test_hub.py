"""The hub: routing, replies, order, and what a handler's or a client's fault costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hubbub import Client, Event, Hub, Posting, Refused
from hubbub.engine import Draft, Grant, Receipt
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError
from hubbub.wire.dialects import CLASSIC, V1
from stage import Clock, Stage, stage

pytestmark = pytest.mark.anyio


class Vote(Event, tag="vote"):
    poll: str
    option: int


class Tally(Event, tag="tally"):
    poll: str
    count: int


class Shout(Event, tag="send_message"):
    message: str


def types(events: Sequence[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


# The chat


async def test_a_message_reaches_everyone_in_the_room_its_sender_too(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy")
    _, alices = await on_stage.client("alice")
    await on_stage.say(percy, "send_message", {"message": "hi", "from": "the pope"})
    for socket in (percys, alices):
        (event,) = socket.take()
        assert event["type"] == "new_message"
        assert event["payload"]["message"] == "hi"
        assert event["payload"]["from"] == "percy"


async def test_a_client_without_echo_does_not_hear_its_user(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", echo=False)
    _, percys_other = await on_stage.client("percy", echo=False)
    _, alices = await on_stage.client("alice", echo=False)
    await on_stage.say(percy, "send_message", {"message": "hi"})
    assert percys.take() == []
    assert percys_other.take() == []
    assert len(alices.take()) == 1


async def test_rooms_are_apart(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy")
    alice, alices = await on_stage.client("alice")
    await on_stage.say(alice, "change_room", {"name": "kitchen"})
    await on_stage.say(percy, "send_message", {"message": "in general"})
    await on_stage.say(alice, "send_message", {"message": "in the kitchen"})
    assert [event["payload"]["message"] for event in percys.take()] == ["in general"]
    assert [event["payload"]["message"] for event in alices.take()] == ["in the kitchen"]


async def test_empty_rooms_are_dropped(on_stage: Stage) -> None:
    percy, _ = await on_stage.client("percy")
    await on_stage.say(percy, "change_room", {"name": "kitchen"})
    assert list(on_stage.hub.rooms) == ["kitchen"]
    on_stage.hub.disconnect(percy)
    assert on_stage.hub.rooms == {}
    assert on_stage.hub.clients == {}


async def test_messages_of_one_client_are_handled_in_the_order_sent(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy")
    on_stage.send(percy, "send_message", {"message": "first"})
    on_stage.send(percy, "change_room", {"name": "kitchen"})
    on_stage.send(percy, "send_message", {"message": "second"})
    on_stage.send(percy, "change_room", {"name": "cellar"})
    on_stage.send(percy, "send_message", {"message": "third"})
    await on_stage.settle()
    assert list(percy.rooms) == ["cellar"]
    heads = [await on_stage.engine.head(room) for room in ("general", "kitchen", "cellar")]
    assert [head.seq for head in heads] == [1, 1, 1]
    assert [event["payload"]["message"] for event in percys.take()][-1] == "third"


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
async def test_a_message_that_cannot_be_is_refused(on_stage: Stage, payload: object, code: str) -> None:
    percy, percys = await on_stage.client("percy", V1)
    await on_stage.hub.join(percy, "general")
    await on_stage.say(percy, "send_message", payload, "c1")
    (event,) = percys.take()
    assert (event["type"], event["id"], event["payload"]["code"]) == ("error", "c1", code)


async def test_a_classic_client_never_hears_of_its_errors(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy")
    for text in ("{", "[]", '{"type": 5}', '{"type": "vote", "payload": {}}', '{"type": "send_message"}'):
        on_stage.hub.receive(percy, text)
    on_stage.hub.receive_binary(percy)
    await on_stage.settle()
    assert percys.written == []
    assert percys.close_code() is None
    assert percy.refused == 6


async def test_a_v1_client_that_sends_binary_is_closed(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    on_stage.hub.receive_binary(percy)
    assert percys.close_code() == 1003


# Replies


async def test_the_ack_precedes_the_senders_own_copy(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    await on_stage.hub.join(percy, "general")
    await on_stage.say(percy, "send_message", {"message": "hi"}, "c1")
    ack, copy = percys.take()
    assert (ack["type"], ack["id"]) == ("ack", "c1")
    assert ack["payload"]["seq"] == copy["payload"]["seq"] == 1
    assert ack["payload"]["room"] == copy["payload"]["room"] == "general"
    assert ack["payload"]["sent"] == copy["payload"]["sent"]


async def test_a_request_without_an_id_gets_no_ack_and_an_error_without_id(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    await on_stage.hub.join(percy, "general")
    await on_stage.say(percy, "send_message", {"message": "hi"})
    await on_stage.say(percy, "nonsense", {})
    message, error = percys.take()
    assert message["type"] == "new_message"
    assert error["type"] == "error"
    assert error["payload"]["code"] == "unknown_type"
    assert "id" not in error


async def test_a_repeated_key_is_kept_once_and_acked_with_the_first_seq(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    await on_stage.hub.join(percy, "general")
    await on_stage.say(percy, "send_message", {"message": "hi", "key": "k"}, 1)
    await on_stage.say(percy, "send_message", {"message": "hi", "key": "k"}, 2)
    events = percys.take()
    assert types(events) == ["ack", "new_message", "ack"]
    assert events[0]["payload"] == events[2]["payload"]


class FullDisk(MemoryEngine):
    """A log that cannot keep anything."""

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        raise EngineError("the disk is full")


class BrokenEngine(MemoryEngine):
    """A log with a bug."""

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        raise ZeroDivisionError


@pytest.mark.parametrize("engine", [FullDisk, BrokenEngine])
async def test_what_is_not_kept_is_not_acked(engine: type[MemoryEngine]) -> None:
    async with stage(engine=engine(clock=Clock(), wall=Clock())) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.hub.join(percy, "general")
        await on_stage.say(percy, "send_message", {"message": "hi"}, "c1")
        await on_stage.say(percy, "send_message", {"message": "hi"}, "c2")
        events = percys.take()
        assert [(event["type"], event["id"], event["payload"]["code"]) for event in events] == [
            ("error", "c1", "unavailable"),
            ("error", "c2", "unavailable"),
        ]


# Handlers


async def test_what_a_handler_returns_is_the_payload_of_the_ack() -> None:
    hub = Hub()

    @hub.on
    def count(vote: Vote, client: Client) -> Tally:
        tally = Tally(poll=vote.poll, count=1)
        hub.room(vote.poll).post(tally)
        return tally

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await hub.join(percy, "lunch")
        await on_stage.say(percy, "vote", {"poll": "lunch", "option": 1}, "v1")
        ack, tally = percys.take()
        assert ack == {"type": "ack", "id": "v1", "payload": {"poll": "lunch", "count": 1}}
        assert tally["type"] == "tally"
        assert set(tally["payload"]) == {"room", "seq", "sent", "poll", "count"}


async def test_an_asynchronous_handlers_ack_waits_for_what_it_posted() -> None:
    hub = Hub()
    gate = asyncio.Event()

    @hub.on
    async def count(vote: Vote, client: Client) -> Tally:
        tally = Tally(poll=vote.poll, count=1)
        hub.room(vote.poll).post(tally)
        await gate.wait()
        return tally

    async with stage(hub, FullDisk(clock=Clock(), wall=Clock())) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        on_stage.send(percy, "vote", {"poll": "lunch", "option": 1}, "v1")
        gate.set()
        await on_stage.settle()
        (error,) = percys.take()
        assert (error["type"], error["payload"]["code"]) == ("error", "unavailable")


async def test_a_handler_may_await_its_posting() -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> dict[str, int]:
        receipt = await hub.room(vote.poll).post(Tally(poll=vote.poll, count=1))
        return {"place": receipt.seq}

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.say(percy, "vote", {"poll": "lunch", "option": 1}, "v1")
        assert percys.take() == [{"type": "ack", "id": "v1", "payload": {"place": 1}}]


async def test_a_handler_may_refuse_and_may_fail_and_the_client_stays() -> None:
    hub = Hub()

    @hub.on
    def count(vote: Vote) -> None:
        if vote.option == 3:
            raise Refused("bad_payload", "option is 1 or 2")
        raise ZeroDivisionError

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.say(percy, "vote", {"poll": "lunch", "option": 3}, "v1")
        await on_stage.say(percy, "vote", {"poll": "lunch", "option": 1}, "v2")
        await on_stage.say(percy, "vote", {"poll": "lunch"}, "v3")
        refused, failed, bad = percys.take()
        assert refused["payload"] == {"code": "bad_payload", "message": "option is 1 or 2"}
        assert failed["payload"]["code"] == "internal"
        assert bad["payload"]["code"] == "bad_payload"
        assert "option" in bad["payload"]["message"]
        assert percys.close_code() is None


async def test_bad_payloads_never_reach_a_handler() -> None:
    hub = Hub()
    seen: list[Vote] = []

    @hub.on
    def count(vote: Vote) -> None:
        seen.append(vote)

    async with stage(hub) as on_stage:
        percy, _ = await on_stage.client("percy", V1)
        payloads: list[Any] = [{"poll": 1, "option": 1}, {"poll": "x"}, [], None, "x", {"poll": "x", "option": 1.5}]
        for payload in payloads:
            await on_stage.say(percy, "vote", payload)
        assert seen == []


async def test_a_client_with_a_handler_at_work_waits_in_line_and_is_not_read_for_ever() -> None:
    hub = Hub()
    gate = asyncio.Event()

    @hub.on
    async def count(vote: Vote, client: Client) -> int:
        await gate.wait()
        return vote.option

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        for number in range(100):
            on_stage.send(percy, "vote", {"poll": "lunch", "option": number}, number)
        assert not percys.is_reading
        gate.set()
        await on_stage.settle()
        assert [event["payload"] for event in percys.take()] == list(range(100))
        assert percys.is_reading


async def test_a_posting_returned_by_an_asynchronous_handler_acks_with_its_place() -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> Posting:
        return hub.room(vote.poll).post(Tally(poll=vote.poll, count=1))

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.say(percy, "vote", {"poll": "lunch", "option": 1}, "v1")
        (ack,) = percys.take()
        assert ack["payload"]["seq"] == 1


async def test_an_application_can_take_over_a_built_in_event_but_not_twice() -> None:
    hub = Hub()

    @hub.on
    def shout(event: Shout, client: Client) -> dict[str, str]:
        return {"heard": event.message.upper()}

    with pytest.raises(TypeError, match="has a handler already"):
        hub.on(shout)
    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.say(percy, "send_message", {"message": "hi"}, 1)
        assert percys.take()[0]["payload"] == {"heard": "HI"}


def test_a_handler_must_name_its_event() -> None:
    hub = Hub()

    def no_annotation(vote, client):  # type: ignore[no-untyped-def]  # on purpose
        pass

    def no_event(vote: int, client: Client) -> None:
        pass

    def too_many(vote: Vote, client: Client, more: int) -> None:
        pass

    for handler in (no_annotation, no_event, too_many):
        with pytest.raises(TypeError, match=handler.__name__):
            hub.on(handler)


# Hooks


async def test_hooks_may_refuse_a_connection_and_a_room() -> None:
    hub = Hub()

    @hub.on_connect
    async def no_bob(client: Client) -> None:
        if client.user == "bob":
            raise Refused("forbidden", "not you")

    @hub.on_join
    def no_cellar(room: str, client: Client) -> None:
        if room == "cellar":
            raise Refused("forbidden", "not there")

    async with stage(hub) as on_stage:
        with pytest.raises(Refused, match="not you"):
            await on_stage.client("bob")
        percy, percys = await on_stage.client("percy", V1)
        await on_stage.say(percy, "change_room", {"name": "kitchen"}, 1)
        await on_stage.say(percy, "change_room", {"name": "cellar"}, 2)
        assert types(percys.take()) == ["ack", "error"]
        assert list(percy.rooms) == ["kitchen"]


async def test_the_disconnect_hook_is_told_and_its_failure_is_its_own() -> None:
    hub = Hub()
    gone: list[str] = []

    @hub.on_disconnect
    async def note(client: Client) -> None:
        gone.append(client.user)
        raise ZeroDivisionError

    async with stage(hub) as on_stage:
        percy, _ = await on_stage.client("percy")
        hub.disconnect(percy)
        hub.disconnect(percy)
        await on_stage.settle()
        assert gone == ["percy"]


async def test_what_is_sent_before_the_connection_stands_is_written_when_it_does() -> None:
    hub = Hub()

    @hub.on_connect
    def greet(client: Client) -> None:
        client.send(Tally(poll="lunch", count=0))

    async with stage(hub) as on_stage:
        _, percys = await on_stage.client("percy", V1)
        assert percys.take() == [{"type": "tally", "payload": {"poll": "lunch", "count": 0}}]


# Sessions, rates, outboxes


async def test_ending_a_session_closes_its_connections_and_no_others(on_stage: Stage) -> None:
    _, first = await on_stage.client("percy", session="a")
    _, second = await on_stage.client("percy", session="a")
    _, other = await on_stage.client("percy", session="b")
    on_stage.hub.end_session("a")
    assert [socket.close_code() for socket in (first, second, other)] == [4100, 4100, None]


async def test_a_session_that_ends_while_its_connection_opens_is_not_let_in(on_stage: Stage) -> None:
    on_stage.hub.end_session("a")
    with pytest.raises(Refused, match="session"):
        await on_stage.client("percy", session="a")


async def test_over_the_rate_classic_is_dropped_and_v1_is_told_when_to_come_back() -> None:
    async with stage(client_burst=2) as on_stage:
        percy, percys = await on_stage.client("percy", CLASSIC, rate=10)
        alice, alices = await on_stage.client("alice", V1, rate=10)
        await on_stage.hub.join(alice, "general")
        for client in (percy, alice):
            for number in range(3):
                await on_stage.say(client, "send_message", {"message": "hi"}, number)
        assert len(percys.take()) == 4
        assert percy.dropped == 1
        errors = [event for event in alices.take() if event["type"] == "error"]
        assert [(e["id"], e["payload"]["code"], e["payload"]["retry_after"]) for e in errors] == [
            (2, "rate_limited", 0.1)
        ]
        on_stage.clock.go(0.1)
        await on_stage.say(alice, "send_message", {"message": "hi"}, 4)
        assert types(alices.take()) == ["ack", "new_message"]


async def test_a_flood_is_closed() -> None:
    async with stage(client_burst=10) as on_stage:
        percy, percys = await on_stage.client("percy", rate=10)
        for _ in range(3000):
            on_stage.clock.go(1 / 90)
            on_stage.send(percy, "send_message", {"message": "under ten times the rate"})
        assert percys.close_code() is None
        for _ in range(3000):
            on_stage.clock.go(1 / 200)
            on_stage.send(percy, "send_message", {"message": "over ten times the rate"})
        assert percys.close_code() == 4102


async def test_a_client_over_its_outbox_is_closed_and_hears_no_more() -> None:
    async with stage(max_outbox=1000) as on_stage:
        percy, percys = await on_stage.client("percy")
        alice, alices = await on_stage.client("alice")
        on_stage.hub.mark_slow(percy)
        percys.outbox_size = 1000
        await on_stage.say(alice, "send_message", {"message": "not over yet"})
        assert percys.close_code() is None
        percys.outbox_size = 1001
        await on_stage.say(alice, "send_message", {"message": "over"})
        assert percys.close_code() == 4001
        percys.take()
        await on_stage.say(alice, "send_message", {"message": "without him"})
        assert percys.take() == []
        assert len(alices.take()) == 3


async def test_one_that_asks_and_does_not_read_is_answered_when_it_does() -> None:
    async with stage(max_outbox=1000) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        on_stage.hub.mark_slow(percy)
        percys.outbox_size = 1001
        for number in range(100):
            on_stage.send(percy, "nonsense", {}, number)
        assert percys.take() == []
        assert not percys.is_reading
        percys.outbox_size = 0
        on_stage.hub.mark_caught_up(percy)
        assert [event["id"] for event in percys.take()] == list(range(100))
        assert percys.is_reading


class Unencodable:
    """Nothing that JSON knows."""


async def test_an_answer_that_cannot_be_encoded_is_the_handlers_failure_and_no_more() -> None:
    hub = Hub()

    @hub.on
    def plain(vote: Vote) -> Unencodable:
        if vote.option == 1:
            hub.room("lunch").post(Tally(poll="lunch", count=1))
        return Unencodable()

    @hub.on
    async def asynchronous(shout: Shout) -> Unencodable:
        if shout.message == "cancelled":
            raise asyncio.CancelledError
        return Unencodable()

    async with stage(hub) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        for option in (1, 2):
            await on_stage.say(percy, "vote", {"poll": "lunch", "option": option}, option)
        await on_stage.say(percy, "send_message", {"message": "hi"}, 3)
        await on_stage.say(percy, "send_message", {"message": "cancelled"}, 4)
        await on_stage.say(percy, "presence", {}, 5)
        errors = [(event["id"], event["payload"]["code"]) for event in percys.take()]
        assert errors == [(1, "internal"), (2, "internal"), (3, "internal"), (4, "internal"), (5, "not_in_room")]
        assert percys.close_code() is None


async def test_a_hook_that_fails_leaves_no_ghost() -> None:
    hub = Hub()

    @hub.on_join
    def fail(room: str, client: Client) -> None:
        raise ZeroDivisionError

    async with stage(hub) as on_stage:
        with pytest.raises(ZeroDivisionError):
            await on_stage.client("percy", CLASSIC)
        assert hub.clients == {}


async def test_a_broken_socket_in_the_room_is_nobody_elses_trouble(on_stage: Stage) -> None:
    _, percys = await on_stage.client("percy")
    alice, alices = await on_stage.client("alice")
    _, bobs = await on_stage.client("bob")
    percys.is_broken = True
    await on_stage.say(alice, "send_message", {"message": "hi"})
    assert len(alices.take()) == len(bobs.take()) == 1


async def test_a_cast_reaches_v1_members_and_is_not_kept(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    _, alices = await on_stage.client("alice", CLASSIC)
    await on_stage.hub.join(percy, "general")
    on_stage.hub.room("general").cast(Tally(poll="x", count=1))
    assert types(percys.take()) == ["tally"]
    assert alices.take() == []
    assert (await on_stage.engine.head("general")).seq == 0


async def test_classic_and_v1_share_a_room_and_each_hears_its_dialect(on_stage: Stage) -> None:
    percy, percys = await on_stage.client("percy", V1)
    _, alices = await on_stage.client("alice", CLASSIC)
    await on_stage.hub.join(percy, "general")
    await on_stage.say(percy, "send_message", {"message": "hi"})
    on_stage.hub.room("general").post(Tally(poll="x", count=1))
    await on_stage.settle()
    assert [set(event["payload"]) for event in percys.take()] == [
        {"room", "seq", "from", "sent", "message"},
        {"room", "seq", "sent", "poll", "count"},
    ]
    assert [set(event["payload"]) for event in alices.take()] == [{"from", "sent", "message"}]


async def test_at_a_stop_v1_is_told_when_to_come_back_and_all_are_closed(on_stage: Stage) -> None:
    _, percys = await on_stage.client("percy", V1)
    _, alices = await on_stage.client("alice", CLASSIC)
    on_stage.hub.say_goodbye()
    (event,) = percys.take()
    assert event == {"type": "reconnect", "payload": {"within": 504, "reason": "restart"}}
    assert alices.take() == []
    assert percys.close_code() == alices.close_code() == 1012


async def test_a_session_that_another_hand_has_ended_loses_its_connections(on_stage: Stage) -> None:
    await on_stage.engine.put_session(Grant("percy", "alive"), on_stage.clock() + 10)
    _, alive = await on_stage.client("percy", session="alive")
    _, dead = await on_stage.client("percy", session="dead")
    await on_stage.hub.end_dead_sessions()
    assert (alive.close_code(), dead.close_code()) == (None, 4100)
    on_stage.clock.go(10)
    await on_stage.hub.end_dead_sessions()
    assert alive.close_code() == 4100
