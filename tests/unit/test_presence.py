"""Who comes, goes, types and reads: told to those who are there, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub import presence
from hubbub.client import Client
from hubbub.wire.dialects import CLASSIC, V1
from stage import FakeSocket, Stage, stage

pytestmark = pytest.mark.anyio


async def enter(on_stage: Stage, user: str, room: str = "general") -> tuple[Client, FakeSocket]:
    client, socket = await on_stage.client(user, V1)
    await on_stage.say(client, "join_room", {"room": room}, "join")
    socket.take()
    return client, socket


def told(socket: FakeSocket) -> list[tuple[Any, ...]]:
    events = []
    for event in socket.take():
        payload = event["payload"]
        assert payload["room"] == "general"
        events.append((event["type"], payload["user"], *(payload[key] for key in ("on", "seq") if key in payload)))
    return events


async def test_a_users_first_connection_is_announced_to_the_others(on_stage: Stage) -> None:
    _, percys = await enter(on_stage, "percy")
    await enter(on_stage, "alice")
    await enter(on_stage, "alice")
    assert told(percys) == [("member_joined", "alice")]


async def test_the_last_ones_leaving_is_announced_after_the_grace(on_stage: Stage) -> None:
    _, percys = await enter(on_stage, "percy")
    first, _ = await enter(on_stage, "alice")
    second, _ = await enter(on_stage, "alice")
    percys.take()
    on_stage.hub.disconnect(first)
    on_stage.clock.go(100)
    on_stage.hub.expire()
    on_stage.hub.disconnect(second)
    on_stage.clock.go(4.9)
    on_stage.hub.expire()
    assert told(percys) == []
    on_stage.clock.go(0.1)
    on_stage.hub.expire()
    assert told(percys) == [("member_left", "alice")]


async def test_who_comes_back_within_the_grace_was_never_away(on_stage: Stage) -> None:
    _, percys = await enter(on_stage, "percy")
    alice, _ = await enter(on_stage, "alice")
    percys.take()
    on_stage.hub.disconnect(alice)
    on_stage.clock.go(4.9)
    on_stage.hub.expire()
    await enter(on_stage, "alice")
    on_stage.clock.go(60)
    on_stage.hub.expire()
    assert told(percys) == []


async def test_typing_is_told_and_ends_by_itself_unless_renewed(on_stage: Stage) -> None:
    percy, _ = await enter(on_stage, "percy")
    _, alices = await enter(on_stage, "alice")
    await on_stage.say(percy, "typing", {"on": True})
    on_stage.clock.go(5)
    await on_stage.say(percy, "typing", {"on": True})
    on_stage.clock.go(5.9)
    on_stage.hub.expire()
    assert told(alices) == [("typing", "percy", True)] * 2
    on_stage.clock.go(0.1)
    on_stage.hub.expire()
    assert told(alices) == [("typing", "percy", False)]
    await on_stage.say(percy, "typing", {"on": True})
    await on_stage.say(percy, "typing", {"on": False})
    on_stage.clock.go(60)
    on_stage.hub.expire()
    assert told(alices) == [("typing", "percy", True), ("typing", "percy", False)]
    assert (await on_stage.engine.head("general")).seq == 0


async def test_leaving_ends_typing(on_stage: Stage) -> None:
    percy, _ = await enter(on_stage, "percy")
    _, alices = await enter(on_stage, "alice")
    await on_stage.say(percy, "typing", {"on": True})
    await on_stage.say(percy, "leave_room", {"room": "general"})
    assert told(alices) == [("typing", "percy", True), ("typing", "percy", False)]


async def test_read_marks_never_go_back_nor_past_the_end(on_stage: Stage) -> None:
    percy, percys = await enter(on_stage, "percy")
    for _ in range(3):
        await on_stage.say(percy, "send_message", {"message": "hi"})
    _, alices = await enter(on_stage, "alice")
    percys.take()
    for asked, got in ((2, 2), (1, 2), (9, 3)):
        await on_stage.say(percy, "mark_read", {"seq": asked}, 1)
        assert told(alices) == [("read", "percy", got)]
        answers = [event for event in percys.take() if event["type"] == "ack"]
        assert answers[0]["payload"] == {"room": "general", "seq": got}


async def test_presence_names_the_users_sorted(on_stage: Stage) -> None:
    for user in ("percy", "bob", "alice", "bob"):
        client, socket = await enter(on_stage, user)
    await on_stage.say(client, "presence", {"room": "general"}, 1)
    assert socket.take()[-1]["payload"] == {"room": "general", "members": ["alice", "bob", "percy"]}


async def test_a_room_of_two_is_for_the_two(on_stage: Stage) -> None:
    percy, percys = await enter(on_stage, "percy")
    bob, bobs = await enter(on_stage, "bob")
    await on_stage.say(percy, "join_room", {"room": "dm:alice,percy"}, 1)
    await on_stage.say(bob, "join_room", {"room": "dm:alice,percy"}, 2)
    await on_stage.say(bob, "join_room", {"room": "dm:percy,alice"}, 3)
    await on_stage.say(bob, "history", {"room": "dm:alice,percy"}, 4)
    assert [event["type"] for event in percys.take()][-1] == "ack"
    assert [event["payload"]["code"] for event in bobs.take()] == ["forbidden", "bad_payload", "not_in_room"]
    alice, _ = await on_stage.client("alice", CLASSIC)
    await on_stage.say(alice, "change_room", {"name": "dm:alice,percy"})
    await on_stage.say(alice, "send_message", {"message": "psst"})
    assert percys.take()[-1]["payload"]["message"] == "psst"


async def test_in_a_very_large_room_nobody_is_told(on_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MAX_ANNOUNCED", 2)
    _, percys = await enter(on_stage, "percy")
    for user in ("alice", "bob", "carol", "dave"):
        await enter(on_stage, user)
    assert told(percys) == [("member_joined", "alice"), ("member_joined", "bob")]


async def test_a_room_left_by_all_leaves_nothing_behind(on_stage: Stage) -> None:
    percy, _ = await enter(on_stage, "percy")
    alice, _ = await enter(on_stage, "alice")
    await on_stage.say(percy, "typing", {"on": True})
    on_stage.hub.disconnect(percy)
    on_stage.hub.disconnect(alice)
    on_stage.clock.go(60)
    on_stage.hub.expire()
    assert on_stage.hub.rooms == {}
    assert vars(on_stage.hub.presence)["_ends"] == []


async def test_who_joins_while_another_is_away_for_a_moment_is_told_of_both(on_stage: Stage) -> None:
    await enter(on_stage, "percy")
    alice, _ = await enter(on_stage, "alice")
    on_stage.hub.disconnect(alice)
    bob, bobs = await on_stage.client("bob", V1)
    await on_stage.say(bob, "join_room", {"room": "general"}, 1)
    assert bobs.take()[0]["payload"]["members"] == ["alice", "bob", "percy"]
    await enter(on_stage, "alice")
    on_stage.clock.go(60)
    on_stage.hub.expire()
    assert told(bobs) == []


async def test_a_connection_is_in_so_many_rooms_at_most() -> None:
    async with stage(max_rooms=2) as on_stage:
        percy, percys = await on_stage.client("percy", V1)
        for room in ("a", "b", "c", "a"):
            await on_stage.say(percy, "join_room", {"room": room}, room)
        answers = [(event["id"], event["type"]) for event in percys.take()]
        assert answers == [("a", "ack"), ("b", "ack"), ("c", "error"), ("a", "ack")]
