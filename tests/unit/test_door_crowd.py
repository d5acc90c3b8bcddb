"""Who is in a channel of the door, by connection: presence, and joins and leaves."""

from __future__ import annotations

from typing import Any

import pytest

from doors import OPEN, Caller, DoorStage, door_at_work
from gates import turns
from hubbub.door import crowd as crowd_module
from hubbub.door.crowd import info_of
from hubbub.door.namespaces import Namespace, Override
from hubbub.door.tokens import TokenSub
from hubbub.engine.local import Users
from hubbub.errors import EngineError
from hubbub.presence import MAX_ANNOUNCED
from hubbub.testing import CLASSIC, V1

pytestmark = pytest.mark.anyio

BARE = Namespace(name="bare", allow_subscribe_for_client=True)
SEEN = Namespace(name="seen", allow_subscribe_for_client=True, presence=True, allow_presence_for_subscriber=True)
TOLD = Namespace(name="told", allow_subscribe_for_client=True, join_leave=True, force_push_join_leave=True)


async def presence(caller: Caller, channel: str) -> dict[str, Any]:
    answer = await caller.reply(presence={"channel": channel})
    found: dict[str, Any] = answer["presence"]["presence"]
    return found


async def comings(caller: Caller) -> list[tuple[str, str]]:
    """Who has come and gone, since the last look, as a client was told."""
    return [
        (kind, push[kind]["info"]["client"])
        for push in await caller.pushes()
        for kind in ("join", "leave")
        if kind in push
    ]


# Asking


async def test_each_connection_is_there_with_what_is_told_of_it() -> None:
    async with door_at_work(SEEN) as stage:
        alice = await stage.caller("alice", info=b'{"n":1}')
        again = await stage.caller("alice")
        sub = {"seen:a": TokenSub(b'{"role":"x"}')}
        await stage.floor.subscribing.at_connect(again.client, sub, {})
        await alice.subscribe("seen:a")
        assert await presence(alice, "seen:a") == {
            alice.id: {"user": "alice", "client": alice.id, "conn_info": {"n": 1}},
            again.id: {"user": "alice", "client": again.id, "chan_info": {"role": "x"}},
        }
        answer = await alice.reply(presence_stats={"channel": "seen:a"})
        assert answer == {"presence_stats": {"num_clients": 2, "num_users": 1}}
        again.hang_up()
        assert list(await presence(alice, "seen:a")) == [alice.id]


async def test_clients_of_other_kinds_and_anonymous_ones_are_there_too() -> None:
    async with door_at_work(without=OPEN) as stage:
        nobody = await stage.caller("")
        await stage.floor.subscribing.put_in(nobody.client, "general")
        alice, zoe, old = await stage.caller("alice"), await stage.client("zoe", V1), await stage.client("old", CLASSIC)
        await alice.subscribe("general")
        await zoe.join("general")
        found = await presence(alice, "general")
        assert sorted(each["user"] for each in found.values()) == ["", "alice", "old", "zoe"]
        assert (await zoe.ask("presence", {"room": "general"}))["members"] == ["alice", "old", "zoe"]
        zoe.hang_up()
        nobody.hang_up()
        old.say("change_room", {"name": "other"})
        await stage.settle()
        assert list(await presence(alice, "general")) == [alice.id]


async def test_a_client_of_another_kind_has_one_name_wherever_it_is() -> None:
    async with door_at_work() as stage:
        alice, zoe = await stage.caller("alice"), await stage.client("zoe", V1)
        await zoe.join("one")
        await zoe.join("two")
        assert list(await presence(alice, "one")) == list(await presence(alice, "two"))


@pytest.mark.parametrize("request_", ["presence", "presence_stats"])
@pytest.mark.parametrize(
    ("channel", "number"), [("nowhere:a", 102), ("two words", 107), ("bare:a", 108), ("seen:a", 103), ("shut", 103)]
)
async def test_what_may_not_be_seen_is_refused(request_: str, channel: str, number: int) -> None:
    async with door_at_work(SEEN, BARE) as stage:
        await stage.hub.close_room("shut")
        alice = await stage.caller("alice")
        assert await alice.turned_down(**{request_: {"channel": channel}}) == number


async def test_nothing_is_known_of_channels_that_nobody_asks_about() -> None:
    async with door_at_work(BARE) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("bare:a")
        users: dict[str, Users] = stage.engine._users  # type: ignore[attr-defined]
        assert list(users) == ["bare:a"]


async def test_an_answer_has_so_many_connections_and_the_number_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "MAX_PRESENT", 3)
    async with door_at_work() as stage:
        callers = [await stage.caller(f"user-{number % 4}") for number in range(8)]
        for caller in callers:
            await caller.subscribe("chat")
        assert len(await presence(callers[0], "chat")) == 3
        answer = await callers[0].reply(presence_stats={"channel": "chat"})
        assert answer == {"presence_stats": {"num_clients": 8, "num_users": 4}}


@pytest.mark.parametrize("request_", ["presence", "presence_stats"])
async def test_whoever_asks_all_the_time_is_asked_to_wait(request_: str) -> None:
    async with door_at_work(replay_rate=1000.0, replay_burst=1000.0, limits="enforce") as stage:
        callers = [await stage.caller(f"user-{number}") for number in range(20)]
        for caller in callers:
            await caller.subscribe("chat")
        answers = [await callers[0].reply(**{request_: {"channel": "chat"}}) for _ in range(4)]
        assert "error" not in answers[0]
        assert answers[-1]["error"]["code"] == 111


async def test_to_count_connections_is_paid_for_as_if_they_were_told() -> None:
    async with door_at_work(replay_rate=1.0, replay_burst=10_000.0, limits="enforce") as stage:
        callers = [await stage.caller(f"user-{number}") for number in range(20)]
        for caller in callers:
            await caller.subscribe("chat")
        answers = [await callers[0].reply(presence_stats={"channel": "chat"}) for _ in range(10)]
        assert "error" not in answers[0]
        assert answers[-1]["error"]["code"] == 111


# Being told


async def test_who_comes_and_goes_is_told_to_those_that_want_to_know() -> None:
    async with door_at_work(TOLD) as stage:
        alice, bob, carol = [await stage.caller(user) for user in ("alice", "bob", "carol")]
        await alice.subscribe("told:a")
        assert await comings(alice) == [("join", alice.id)]
        await bob.subscribe("told:a")
        assert await comings(alice) == await comings(bob) == [("join", bob.id)]
        await carol.subscribe("chat", join_leave=True)
        assert await comings(carol) == [("join", carol.id)]
        await alice.subscribe("chat")
        assert await comings(alice) == []
        assert await comings(carol) == [("join", alice.id)]
        await bob.reply(unsubscribe={"channel": "told:a"})
        assert await comings(alice) == [("leave", bob.id)]
        assert await comings(bob) == []
        alice.hang_up()
        assert await comings(carol) == [("leave", alice.id)]


async def test_its_own_join_comes_after_the_answer() -> None:
    async with door_at_work(TOLD) as stage:
        alice = await stage.caller("alice")
        id_ = alice.send(subscribe={"channel": "told:a"})
        await stage.settle()
        await turns()
        answer, push = alice.take()
        assert answer["id"] == id_
        assert push["push"]["join"] == {"info": {"user": "alice", "client": alice.id}}


async def test_one_that_is_back_at_once_does_not_hear_that_it_has_left() -> None:
    async with door_at_work(TOLD) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await bob.subscribe("told:a")
        await alice.subscribe("told:a")
        await comings(alice)
        await comings(bob)
        alice.send(unsubscribe={"channel": "told:a"})
        alice.send(subscribe={"channel": "told:a"})
        assert await comings(alice) == [("join", alice.id)]
        assert await comings(bob) == [("leave", alice.id), ("join", alice.id)]


async def test_nobody_hears_that_it_has_left_itself() -> None:
    async with door_at_work(TOLD) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await alice.subscribe("told:a")
        await bob.subscribe("told:a")
        await comings(alice)
        await comings(bob)
        # As another node is told late, when it is back already.
        stage.core.listener.went("\ntold:a", info_of(alice.client, "told:a").decode())
        assert await comings(alice) == []
        assert await comings(bob) == [("leave", alice.id)]


async def test_a_subscription_may_say_otherwise_than_its_namespace() -> None:
    async with door_at_work(TOLD, BARE) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        at_connect = stage.floor.subscribing.at_connect
        seen = Override(presence=True, join_leave=True, force_push_join_leave=True)
        await at_connect(alice.client, {"bare:a": TokenSub(override=seen)}, {})
        await at_connect(bob.client, {"told:a": TokenSub(override=Override(force_push_join_leave=False))}, {})
        assert await comings(alice) == [("join", alice.id)]
        assert await comings(bob) == []
        await alice.subscribe("told:a")
        assert await comings(bob) == []


async def fill(stage: DoorStage, count: int) -> list[Caller]:
    callers = [await stage.caller(f"user-{number}") for number in range(count)]
    for caller in callers:
        await caller.subscribe("told:a")
    return callers


async def test_of_a_large_channel_nobody_is_told() -> None:
    async with door_at_work(TOLD) as stage:
        callers = await fill(stage, MAX_ANNOUNCED)
        assert (await comings(callers[0]))[-1] == ("join", callers[-1].id)
        late = await stage.caller("late")
        await late.subscribe("told:a")
        assert await comings(callers[0]) == []
        assert await comings(late) == []


async def test_who_is_behind_has_enough_to_do() -> None:
    async with door_at_work(TOLD) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await alice.subscribe("told:a")
        await comings(alice)
        alice.read_slowly()
        stage.core.rooms.publish("told:a", "publication", b'{"data":1}')
        await stage.settle()
        await bob.subscribe("told:a")
        assert await comings(alice) == []


async def test_what_cannot_be_known_now_is_to_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(room: str, limit: int) -> Any:
        raise EngineError("the engine is not there")

    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        monkeypatch.setattr(stage.engine, "members", fail)
        assert await alice.turned_down(presence={"channel": "chat"}) == 100
        assert await alice.turned_down(presence_stats={"channel": "chat"}) == 100
