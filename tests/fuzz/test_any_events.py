"""Events: whatever a client says, each request gets one answer, and whoever else is in the room hears what was said."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import mutate, mutations
from fuzz.effort import effort
from fuzz.watch import run, work
from hubbub import Event, Hub
from hubbub.client import Client
from hubbub.errors import ErrorCode
from hubbub.testing import CLASSIC, V1, Guest, Stage, at_work

# Events that the server may send to a client that asks for nothing but what this file asks for.
EVENTS = {"ack", "error", "new_message", "member_joined", "member_left", "typing", "read", "gap", "epoch", "removed"}
CODES = set(ErrorCode) - {ErrorCode.INTERNAL}
CLOSES = {1002, 1003, 1007, 1009, 1012, *range(4000, 4002), *range(4100, 4103)}
MAX_FRAME = 16384

STEPS_PER_BYTE, STEPS_PER_EVENT, STEPS = 8, 3000, 3000

ROOMS = ["general", "lunch", "Köln", "Ko\u0308ln", "dm:alice,mallory", "dm:alice,bob", "", " ", "dm:", "a" * 65]
SEQS = [0, 1, 2, -1, 2**31, 2**53 + 1, 2**62, 2**62 + 1, 2**63, 2**64, 10**400, 1.0, 1.5, True, "1", None, [], {}]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
rooms = st.sampled_from(ROOMS) | st.text(max_size=70)
seqs = st.sampled_from(SEQS) | st.integers(-1, 2**64)
texts = st.text(min_size=1, max_size=30) | st.sampled_from(["", "x" * 4000, "x" * 4001, "\0", "\ufeff", "\u202e"])
sinces = st.fixed_dictionaries({"epoch": st.text(max_size=20), "seq": seqs}) | anything


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A payload with some of these fields, each of which may also be anything."""
    return st.fixed_dictionaries({}, optional={name: values | anything for name, values in fields.items()})


payloads: dict[str, st.SearchStrategy[Any]] = {
    "send_message": some_of(
        room=rooms, message=texts, key=st.sampled_from(["", "k", "l", "k" * 129]), **{"from": texts}
    ),
    "join_room": some_of(room=rooms, since=sinces, history=seqs),
    "leave_room": some_of(room=rooms),
    "change_room": some_of(name=rooms),
    "history": some_of(room=rooms, before=seqs, after=seqs, limit=seqs),
    "presence": some_of(room=rooms),
    "typing": some_of(room=rooms, on=st.booleans()),
    "mark_read": some_of(room=rooms, seq=seqs),
    "wave": some_of(at=texts),
    "slow_wave": some_of(at=texts),
    "admin_block": some_of(user=st.sampled_from(["bob", "mallory", "", "nobody"])),
    "admin_delete_room": some_of(room=rooms),
    "admin_role": some_of(user=st.sampled_from(["bob", "mallory"]), role=st.sampled_from(["admin", "guest"])),
}
good_joins = st.sampled_from([{"room": "general"}, {"room": "general", "since": {"epoch": "", "seq": 0}, "history": 3}])
good_messages = st.builds(lambda text: {"room": "general", "message": text}, st.text(min_size=1, max_size=10))


def says(type_: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type_), "payload": payloads[type_]})


requests = st.one_of(
    st.sampled_from(sorted(payloads)).flatmap(says),
    st.fixed_dictionaries({"type": st.just("join_room"), "payload": good_joins}),
    st.fixed_dictionaries({"type": st.just("send_message"), "payload": good_messages}),
    st.fixed_dictionaries({"type": st.text(max_size=90) | st.just("welcome"), "payload": anything}),
)
# A text that may be no event, and one that is an event with a fault in its bytes.
broken = st.one_of(
    st.text(max_size=60),
    st.integers(1, 9000).map(lambda deep: '{"type":"history","payload":' + "[" * deep),
    st.builds(lambda said: json.dumps(said), anything),
    st.builds(
        lambda said, id_, faults: mutate(json.dumps(said | {"id": id_}).encode(), faults).decode(errors="replace"),
        requests,
        st.integers(0, 3) | anything,
        mutations,
    ),
)
scripts = st.lists(requests | requests | requests | broken, min_size=1, max_size=12)


class Wave(Event, tag="wave"):
    at: str = ""


class SlowWave(Event, tag="slow_wave"):
    at: str = ""


def waving() -> Hub:
    """A hub with handlers of its own, one of which may wait."""
    hub = Hub()

    @hub.on
    def wave(event: Wave, client: Client) -> Wave:
        return event

    @hub.on
    async def slow_wave(event: SlowWave, client: Client) -> dict[str, str]:
        return {"at": event.at}

    return hub


def text_of(said: Any, id_: object) -> str:
    """What a client sends: a request with an id, or a text as it is."""
    return said if isinstance(said, str) else json.dumps(said | {"id": id_})


def assert_answered(events: list[dict[str, Any]], asked: list[Any]) -> None:
    """Every request with an id has one answer, and nothing else has any."""
    assert {event["type"] for event in events} <= EVENTS
    errors = [event["payload"]["code"] for event in events if event["type"] == "error"]
    assert set(errors) <= CODES
    answers = Counter(event["id"] for event in events if event["type"] in ("ack", "error") and "id" in event)
    broken_texts = sum(isinstance(said, str) for said in asked)
    for index, said in enumerate(asked):
        if not isinstance(said, str):
            assert answers[f"id {index}"] == 1
    others = sum(answers.values()) - (len(asked) - broken_texts)
    without = sum(event["type"] == "error" and "id" not in event for event in events)
    assert others + without <= broken_texts


async def attack(stage: Stage, mallory: Guest, asked: list[Any], *, at_once: bool) -> list[dict[str, Any]]:
    """Say all of it, and hear what comes of it."""
    events = []
    for index, said in enumerate(asked):
        mallory.say_text(text_of(said, f"id {index}"))
        if not at_once:
            events += await mallory.hear()
    return events + await mallory.hear()


async def assert_unharmed(stage: Stage, alice: Guest, heard: list[dict[str, Any]]) -> None:
    """An honest client still has its connection, hears every message once and in order, and another one comes in."""
    assert alice.closed is None
    bob = await stage.client("bob")
    joined = await bob.join("general", history=200)
    seqs = [event["payload"]["seq"] for event in heard if event["type"] == "new_message"]
    assert seqs == list(range(1, joined["seq"] + 1))
    sent = await bob.ask("send_message", {"message": "still here"})
    assert sent["seq"] == joined["seq"] + 1
    [message] = [event for event in await alice.hear() if event["type"] == "new_message"]
    assert message["payload"]["from"] == "bob"


@effort(120)
@given(scripts, st.booleans(), st.sampled_from([0.0, 5.0]))
def test_each_request_has_one_answer_and_nobody_else_is_harmed(asked: list[Any], at_once: bool, rate: float) -> None:
    async def scene() -> None:
        async with at_work(waving(), max_frame=MAX_FRAME) as stage:
            alice = await stage.client("alice")
            await alice.join("general")
            mallory = await stage.client("mallory", rate=rate)
            alice.take()
            events = await attack(stage, mallory, asked, at_once=at_once)
            assert mallory.close_code is None or mallory.close_code in CLOSES
            if mallory.closed is None:
                assert_answered(events, asked)
            heard = await alice.hear()
            assert {event["payload"].get("from", "mallory") for event in heard} <= {"mallory"}
            await assert_unharmed(stage, alice, heard)

    run(scene())


@effort(50)
@given(scripts)
def test_a_classic_client_hears_messages_and_nothing_else(asked: list[Any]) -> None:
    async def scene() -> None:
        async with at_work(waving()) as stage:
            alice = await stage.client("alice")
            await alice.join("general")
            mallory = await stage.client("mallory", CLASSIC)
            for index, said in enumerate(asked):
                mallory.say_text(text_of(said, index))
                mallory.say_binary()
                await stage.settle()
            assert mallory.closed is None
            heard = mallory.take()
            assert {event["type"] for event in heard} <= {"new_message"}
            assert all(set(event["payload"]) == {"message", "from", "sent"} for event in heard)
            assert {event["payload"]["from"] for event in heard} <= {"mallory"}
            await assert_unharmed(stage, alice, await alice.hear())

    run(scene())


@effort(40)
@given(scripts, st.sampled_from([V1, CLASSIC]))
def test_the_work_and_the_answers_are_in_proportion_to_what_is_asked(asked: list[Any], dialect: Any) -> None:
    async def scene() -> None:
        async with at_work(waving()) as stage:
            mallory = await stage.client("mallory", dialect)
            sent = 0
            with work() as done:
                for index, said in enumerate(asked):
                    text = text_of(said, index)
                    sent += len(text.encode())
                    mallory.say_text(text)
                await stage.settle()
            assert done.steps <= STEPS + STEPS_PER_EVENT * len(asked) + STEPS_PER_BYTE * sent
            # A join is answered with what was said before, which all comes from here.
            assert sum(map(len, mallory.writes)) <= (len(asked) + 1) * (sent * 6 + 600)

    run(scene())


@pytest.mark.parametrize("dialect", [V1, CLASSIC], ids=["v1", "classic"])
def test_deep_and_wide_json_is_refused(dialect: Any) -> None:
    async def scene() -> None:
        async with at_work() as stage:
            mallory = await stage.client("mallory", dialect)
            for opened in ("[", '{"a":', '{"type":"join_room","payload":', '{"type":"join_room","id":'):
                mallory.say_text(opened * (MAX_FRAME // len(opened)))
            mallory.say_text("[" + "[]," * 5000 + "[]]")
            mallory.say_text('{"id":1' + ',"a":0' * 2500 + "}")
            codes = {event["payload"]["code"] for event in await mallory.hear()}
            assert codes == (set() if dialect is CLASSIC else {"bad_json", "bad_envelope"})
            assert mallory.closed is None

    run(scene())
