"""Who comes, goes, types and reads: told to those who are there, and to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gates import Gate
from hubbub import presence
from hubbub.engine import UserList
from hubbub.engine.memory import MemoryEngine
from hubbub.events import encode
from hubbub.presence import Attended, Presence, Roster
from hubbub.testing import Clock, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


async def enter(stage: Stage, user: str, room: str = "general") -> Guest:
    """A client in a room that has nothing left to hear."""
    guest = await stage.client(user)
    await guest.join(room)
    guest.take()
    return guest


def told(guest: Guest) -> list[tuple[Any, ...]]:
    """What a guest was told of users in the room `general`."""
    events = []
    for event in guest.take():
        payload = event["payload"]
        assert payload["room"] == "general"
        events.append((event["type"], payload["user"], *(payload[key] for key in ("on", "seq") if key in payload)))
    return events


# Coming and going


async def test_a_users_first_connection_is_announced_to_the_others(stage: Stage) -> None:
    percy = await enter(stage, "percy")
    await enter(stage, "alice")
    await enter(stage, "alice")
    assert told(percy) == [("member_joined", "alice")]


async def test_the_last_ones_leaving_is_announced_after_the_grace(stage: Stage) -> None:
    percy, first, second = [await enter(stage, user) for user in ("percy", "alice", "alice")]
    percy.take()
    first.hang_up()
    await stage.pass_time(100)
    second.hang_up()
    await stage.pass_time(4.9)
    assert told(percy) == []
    await stage.pass_time(0.1)
    assert told(percy) == [("member_left", "alice")]


async def test_who_comes_back_within_the_grace_was_never_away(stage: Stage) -> None:
    percy, alice = await enter(stage, "percy"), await enter(stage, "alice")
    percy.take()
    alice.hang_up()
    await stage.pass_time(4.9)
    await enter(stage, "alice")
    await stage.pass_time(60)
    assert told(percy) == []


async def test_who_joins_while_another_is_away_for_a_moment_is_told_of_both(stage: Stage) -> None:
    await enter(stage, "percy")
    alice = await enter(stage, "alice")
    alice.hang_up()
    bob = await stage.client("bob")
    joined = await bob.join("general")
    assert (joined["members"], joined["count"]) == (["alice", "bob", "percy"], 3)
    await enter(stage, "alice")
    await stage.pass_time(60)
    assert told(bob) == []


async def test_in_a_very_large_room_nobody_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MAX_ANNOUNCED", 2)
    percy = await enter(stage, "percy")
    for user in ("alice", "bob", "carol", "dave"):
        guest = await enter(stage, user)
    guest.say("typing", {"on": True})
    guest.say("mark_read", {"seq": 0})
    await stage.settle()
    assert told(percy) == [("member_joined", "alice"), ("member_joined", "bob")]


# Typing


async def test_typing_is_told_and_ends_by_itself_unless_renewed(stage: Stage) -> None:
    percy, alice = await enter(stage, "percy"), await enter(stage, "alice")
    percy.say("typing", {"on": True})
    await stage.pass_time(5)
    percy.say("typing", {"on": True})
    await stage.pass_time(5.9)
    assert told(alice) == [("typing", "percy", True)] * 2
    await stage.pass_time(0.1)
    assert told(alice) == [("typing", "percy", False)]
    percy.say("typing", {"on": True})
    percy.say("typing", {"on": False})
    await stage.pass_time(60)
    assert told(alice) == [("typing", "percy", True), ("typing", "percy", False)]
    assert (await stage.engine.head("general")).seq == 0


async def test_leaving_ends_typing(stage: Stage) -> None:
    percy, alice = await enter(stage, "percy"), await enter(stage, "alice")
    percy.say("typing", {"on": True})
    percy.say("leave_room", {"room": "general"})
    await stage.settle()
    assert told(alice) == [("typing", "percy", True), ("typing", "percy", False)]


# Reading


async def test_read_marks_never_go_back_nor_past_the_end(stage: Stage) -> None:
    percy = await enter(stage, "percy")
    for _ in range(3):
        await percy.ask("send_message", {"message": "hi"})
    alice = await enter(stage, "alice")
    for asked, got in ((2, 2), (1, 2), (9, 3)):
        assert await percy.ask("mark_read", {"seq": asked}) == {"room": "general", "seq": got}
        assert told(alice) == [("read", "percy", got)]


async def test_a_read_mark_outlives_the_connection_and_the_room(stage: Stage) -> None:
    percy = await enter(stage, "percy")
    for _ in range(3):
        await percy.ask("send_message", {"message": "hi"})
    await percy.ask("mark_read", {"seq": 2})
    percy.hang_up()
    assert stage.core.rooms.find("general") is None
    percy = await stage.client("percy")
    assert (await percy.join("general"))["read"] == 2
    assert await percy.ask("mark_read", {"seq": 1}) == {"room": "general", "seq": 2}
    alice = await stage.client("alice")
    assert (await alice.join("general"))["read"] == 0


# Asking


async def test_presence_names_the_users_sorted(stage: Stage) -> None:
    for user in ("percy", "bob", "alice", "bob"):
        guest = await enter(stage, user)
    assert await guest.ask("presence", {"room": "general"}) == {
        "room": "general",
        "members": ["alice", "bob", "percy"],
        "count": 3,
    }


async def test_presence_follows_every_change(stage: Stage) -> None:
    percy = await enter(stage, "percy")

    async def present() -> tuple[list[str], int]:
        answer = await percy.ask("presence", {})
        percy.take()
        return answer["members"], answer["count"]

    assert await present() == (["percy"], 1)
    alice = await enter(stage, "alice")
    assert await present() == (["alice", "percy"], 2)
    other = await enter(stage, "alice")
    alice.hang_up()
    assert await present() == (["alice", "percy"], 2)
    other.hang_up()
    assert await present() == (["alice", "percy"], 2)
    await stage.pass_time(5)
    assert await present() == (["percy"], 1)
    await enter(stage, "alice")
    await enter(stage, "bob")
    assert await present() == (["alice", "bob", "percy"], 3)


class Pausing(MemoryEngine):
    """An engine that is slow to tell who is in a room, and counts the questions."""

    def __init__(self) -> None:
        clock = Clock()
        super().__init__(clock=clock, wall=clock)
        self.gate = Gate()

    async def members(self, room: str, limit: int) -> UserList:
        found = await super().members(room, limit)
        await self.gate.enter()
        return found


async def test_who_comes_while_the_engine_is_asked_is_named_by_the_next_answer() -> None:
    engine = Pausing()
    async with at_work(engine=engine) as stage:
        percy, alice = await enter(stage, "percy"), await stage.client("alice")
        engine.gate.close()
        percy.say("presence", {}, 1)
        await engine.gate.reached()
        await stage.hub.join(alice.client, "general")
        engine.gate.open()
        await percy.hear()
        assert (await percy.ask("presence", {}))["members"] == ["alice", "percy"]


async def test_who_comes_while_another_joins_is_named_by_the_answer_to_that() -> None:
    engine = Pausing()
    async with at_work(engine=engine) as stage:
        await enter(stage, "bob")
        percy, alice = await stage.client("percy"), await stage.client("alice")
        engine.gate.close()
        joining = asyncio.create_task(percy.ask("join_room", {"room": "general"}))
        await engine.gate.reached()
        await stage.hub.join(alice.client, "general")
        engine.gate.open()
        answer = await joining
        assert (answer["members"], answer["count"]) == (["alice", "bob", "percy"], 3)


async def test_the_engine_is_asked_once_for_all_who_ask_between_two_changes() -> None:
    engine = Pausing()
    async with at_work(engine=engine) as stage:
        guests = [await enter(stage, f"user {number}") for number in range(3)]
        asked = engine.gate.passed
        for guest in guests * 3:
            await guest.ask("presence", {})
        assert engine.gate.passed == asked + 1


async def test_so_many_names_are_told_and_the_number_of_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MAX_NAMES", 3)
    users = [f"user {number}" for number in range(5)]
    for user in reversed(users[1:]):
        guest = await enter(stage, user)
    newcomer = await stage.client(users[0])
    joined = await newcomer.join("general")
    assert (joined["members"], joined["count"]) == (users[:3], 5)
    answer = await guest.ask("presence", {})
    assert (answer["members"], answer["count"]) == (users[:3], 5)
    newcomer.hang_up()
    answer = await guest.ask("presence", {})
    assert (answer["members"], answer["count"]) == (users[:3], 5), "it may be back in a moment"
    await stage.pass_time(5)
    answer = await guest.ask("presence", {})
    assert (answer["members"], answer["count"]) == (users[1:4], 4)


# By itself


class SmallRoom:
    """A room, as far as presence asks."""

    name = "general"
    is_live = True

    def __init__(self) -> None:
        self.roster = Roster()
        self.members = ["somebody"]
        self.told: list[tuple[str, bytes]] = []

    def announce(self, type_: str, payload: bytes) -> None:
        self.told.append((type_, payload))


async def test_what_has_ended_is_looked_for_no_more() -> None:
    clock = Clock()
    engine = MemoryEngine(clock=clock, wall=clock)
    presence, room = Presence(engine, engine, clock), SmallRoom()
    found: list[str] = []

    def find(name: str) -> Attended | None:
        found.append(name)
        return room

    for user in ("percy", "alice"):
        presence.heard(room, "typing", encode({"room": "general", "user": user, "on": True}))
    presence.went(room, "percy")
    clock.go(100)
    presence.expire(find)
    assert [type_ for type_, _ in room.told] == ["typing", "typing", "typing", "member_left", "typing"]
    assert not room.roster.typing
    assert not room.roster.lingering
    found.clear()
    presence.expire(find)
    assert found == []


async def test_an_applications_own_event_called_typing_is_passed_on(stage: Stage) -> None:
    percy = await enter(stage, "percy")
    stage.core.listener.heard("general", "typing", b'{"fast":true}')
    assert percy.take() == [{"type": "typing", "payload": {"fast": True}}]
    await stage.pass_time(60)
    assert percy.take() == []


async def test_a_room_left_by_all_leaves_nothing_behind(stage: Stage) -> None:
    percy, alice = await enter(stage, "percy"), await enter(stage, "alice")
    percy.say("typing", {"on": True})
    percy.hang_up()
    alice.hang_up()
    assert stage.core.rooms.find("general") is None
    bob = await enter(stage, "bob")
    await stage.pass_time(60)
    assert told(bob) == []
    assert (await bob.ask("presence", {}))["members"] == ["bob"]
