"""Subscriptions of the door: what they begin with, what they may ask for, what they recover, and how they end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import jwt
import msgspec
import pytest

from doors import OPEN, SECRET, DoorStage, door_at_work
from gates import Gate, GatedEngine, turns
from hubbub import Act, Client, Hub, Refused
from hubbub import feeding as feeding_module
from hubbub.chat import NewMessage
from hubbub.door import subscribing as subscribing_module
from hubbub.door.client import DoorClient, Subscription
from hubbub.door.commands import StreamPosition, SubscribeRequest
from hubbub.door.namespaces import Namespace, Override
from hubbub.door.settings import PersonalChannel
from hubbub.door.tokens import TokenSub
from hubbub.engine import Draft, Head
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError
from hubbub.testing import CLASSIC, V1, Clock

pytestmark = pytest.mark.anyio

PLAIN = Namespace(allow_subscribe_for_client=True)
# Nothing is told unless it is asked for.
ASKED = Namespace(
    name="asked",
    history_size=10,
    history_ttl=100.0,
    allow_subscribe_for_client=True,
    allow_history_for_subscriber=True,
    allow_presence_for_subscriber=True,
    join_leave=True,
)
FORCED = Namespace(
    name="forced",
    history_size=10,
    history_ttl=100.0,
    allow_subscribe_for_client=True,
    force_recovery=True,
    force_positioning=True,
    join_leave=True,
    force_push_join_leave=True,
)
CLOSED = Namespace(name="closed", history_size=10, history_ttl=100.0)


def token(**claims: Any) -> str:
    """A token that is good for a subscription, if nothing else is said."""
    return jwt.encode({"sub": "alice", "channel": "closed:a", **claims}, SECRET, "HS256")


async def say(stage: DoorStage, channel: str, count: int = 1) -> None:
    """Say something in a channel, with nobody there: its number."""
    for _ in range(count):
        stage.core.rooms.publish(channel, "publication", b'{"data":1}')
    await stage.settle()


async def epoch(stage: DoorStage, channel: str) -> str:
    return (await stage.engine.head(channel)).epoch


# What a subscription begins with


async def test_one_that_asks_for_nothing_is_told_nothing() -> None:
    async with door_at_work(without=PLAIN) as stage:
        alice = await stage.caller("alice")
        assert await alice.subscribe("chat") == {}


async def test_what_is_asked_for_is_given_where_it_may_be() -> None:
    async with door_at_work(ASKED, without=PLAIN) as stage:
        alice = await stage.caller("alice")
        await say(stage, "asked:a", 3)
        wanted = {"positioned": True, "recoverable": True, "join_leave": True}
        named = {"epoch": await epoch(stage, "asked:a"), "offset": 3}
        assert await alice.subscribe("plain", **wanted) == {}
        assert await alice.subscribe("asked:a", **wanted) == {"positioned": True, "recoverable": True, **named}
        assert alice.client.subscriptions["asked:a"].tells_joins
        bob = await stage.caller("bob")
        assert await bob.subscribe("asked:a", positioned=True) == {"positioned": True, **named}
        carol = await stage.caller("carol")
        assert await carol.subscribe("asked:a") == {}


async def test_what_is_forced_is_given_to_everybody() -> None:
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        await say(stage, "forced:a")
        named = {"epoch": await epoch(stage, "forced:a"), "offset": 1}
        assert await alice.subscribe("forced:a") == {"positioned": True, "recoverable": True, **named}
        assert alice.client.subscriptions["forced:a"].tells_joins


async def test_without_a_history_there_are_no_offsets_and_nothing_is_recovered() -> None:
    bare = Namespace(name="bare", allow_subscribe_for_client=True, allow_recovery=True, allow_publish_for_client=True)
    async with door_at_work(bare) as stage:
        alice = await stage.caller("alice")
        await say(stage, "bare:a", 2)
        named = {"epoch": await epoch(stage, "bare:a"), "positioned": True, "recoverable": True}
        place = {"recover": True, "epoch": named["epoch"]}
        assert await alice.subscribe("bare:a", recoverable=True, **place) == {**named, "was_recovering": True}
        await alice.reply(publish={"channel": "bare:a", "data": 1})
        (push,) = await alice.pushes()
        assert "offset" not in push["pub"]
        assert (await stage.engine.head("bare:a")).seq == 3


async def test_what_a_token_says_comes_with_a_subscription() -> None:
    async with door_at_work(CLOSED, clock=Clock(time.time())) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        ends = int(stage.clock()) + 60
        said = {"info": {"role": "x"}, "override": {"force_recovery": {"value": True}}, "exp": ends}
        result = await alice.subscribe("closed:a", token=token(**said))
        assert result.pop("epoch")
        assert result.pop("ttl") in (59, 60)
        assert result == {"expires": True, "recoverable": True, "positioned": True}
        assert stage.ends == [(alice.client, "closed:a")]
        assert alice.client.subscriptions["closed:a"].chan_info == b'{"role":"x"}'
        assert await bob.turned_down(subscribe={"channel": "closed:a"}) == 103


# What is refused, in the order in which it is looked at


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({"channel": "a" * 256}, 107),
        ({"channel": "here"}, 105),
        ({"channel": "nowhere:a"}, 102),
        ({"channel": "dm:alice,bob"}, 102),
        ({"channel": "closed:a"}, 103),
        ({"channel": "closed:a", "token": "no token"}, 103),
        ({"channel": "$private"}, 103),
        ({"channel": "two words"}, 107),
        ({"channel": "café"}, 107),
        ({"channel": "line\nbreak"}, 107),
        ({"channel": "chat", "tf": {"key": "a"}}, 107),
        ({"channel": "chat", "type": 1}, 103),
        ({"channel": "nowhere:a", "type": 3}, 102),
        ({"channel": "here", "type": 2}, 105),
        ({"channel": "chat", "type": 4}, 108),
        ({"channel": "chat", "type": 7}, 107),
    ],
)
async def test_what_is_no_subscription_is_refused(request_: dict[str, Any], number: int) -> None:
    async with door_at_work(CLOSED, without=PLAIN) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("here")
        assert await alice.turned_down(subscribe=request_) == number
        assert list(alice.client.subscriptions) == list(alice.client.rooms) == ["here"]
        assert alice.closed is None


@pytest.mark.parametrize("request_", [{}, {"channel": "chat", "delta": "unknown"}])
async def test_what_no_client_sends_closes(request_: dict[str, Any]) -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        alice.send(subscribe=request_)
        await stage.settle()
        assert alice.closed == (3501, "bad request")


async def test_an_expired_token_is_to_be_renewed() -> None:
    async with door_at_work(CLOSED, clock=Clock(time.time())) as stage:
        alice = await stage.caller("alice")
        expired = token(exp=int(stage.clock()) - 60)
        assert await alice.turned_down(subscribe={"channel": "closed:a", "token": expired}) == 109


@pytest.mark.parametrize("claims", [{"sub": "bob"}, {"channel": "closed:b"}, {"client": "another"}])
async def test_a_token_for_something_else_closes_for_good(claims: dict[str, str]) -> None:
    async with door_at_work(CLOSED) as stage:
        alice = await stage.caller("alice")
        alice.send(subscribe={"channel": "closed:a", "token": token(**claims)})
        await stage.settle()
        assert alice.closed == (3500, "invalid token")
        assert not alice.client.subscriptions


async def test_a_client_has_so_many_subscriptions_and_no_more() -> None:
    async with door_at_work(door={"channel_limit": 2}) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("a")
        await alice.subscribe("b")
        assert await alice.turned_down(subscribe={"channel": "c"}) == 106
        assert await alice.turned_down(subscribe={"channel": "b"}) == 105
        await alice.reply(unsubscribe={"channel": "a"})
        await alice.subscribe("c")


async def test_the_house_keeps_out_whom_it_keeps_out() -> None:
    hub = Hub()

    @hub.on_join
    def check(room: str, client: Client) -> None:
        if room == "hooked":
            raise Refused("no_such_room", "go away")

    async with door_at_work(hub=hub) as stage:
        alice = await stage.caller("alice")
        await hub.close_room("shut")
        assert await alice.turned_down(subscribe={"channel": "hooked"}) == 103
        assert await alice.turned_down(subscribe={"channel": "shut"}) == 103
        assert not alice.client.subscriptions
        assert stage.core.rooms.count == 0


async def test_joins_are_counted_as_those_of_others_are() -> None:
    async with door_at_work(client_rate=1.0, client_burst=1.0, account_share=1.0) as stage:
        alice = await stage.caller("alice")
        numbers = []
        for _ in range(80):
            answer = await alice.reply(subscribe={"channel": "a"})
            numbers.append(answer.get("error", {}).get("code"))
            await alice.reply(unsubscribe={"channel": "a"})
        assert numbers[:64] == [None] * 64
        assert numbers[-1] == 111


# Recovery


async def test_what_was_missed_comes_with_the_answer_and_the_offset_is_the_one_asked_for() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await say(stage, "chat", 3)
        result = await alice.subscribe(
            "chat", recoverable=True, recover=True, offset=1, epoch=await epoch(stage, "chat")
        )
        assert result.pop("epoch")
        assert result == {
            "recoverable": True,
            "positioned": True,
            "was_recovering": True,
            "recovered": True,
            "offset": 1,
            "publications": [{"data": 1, "offset": 2}, {"data": 1, "offset": 3}],
        }
        await say(stage, "chat")
        (push,) = await alice.pushes()
        assert push["pub"]["offset"] == 4


@pytest.mark.parametrize("place", [{"offset": 3}, {"offset": 3, "epoch": "this"}])
async def test_nothing_was_missed_at_the_end_of_the_log(place: dict[str, Any]) -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await say(stage, "chat", 3)
        if "epoch" in place:
            place = {**place, "epoch": await epoch(stage, "chat")}
        result = await alice.subscribe("chat", recoverable=True, recover=True, **place)
        assert result["recovered"] is True
        assert result["offset"] == 3
        assert "publications" not in result


async def test_no_offset_is_the_beginning() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        assert (await alice.subscribe("empty", recoverable=True, recover=True))["recovered"] is True
        await say(stage, "chat", 2)
        result = await alice.subscribe("chat", recoverable=True, recover=True)
        assert [each["offset"] for each in result["publications"]] == [1, 2]
        assert "offset" not in result


@pytest.mark.parametrize(
    "place",
    [
        {"offset": 9},
        {"offset": 2, "epoch": "another"},
        {"offset": 1, "epoch": "another"},
        {"offset": 1 << 60},
        {"offset": -5},
        {"offset": 10**30},
    ],
)
async def test_a_place_that_is_not_of_this_log_is_not_recovered(place: dict[str, Any]) -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await say(stage, "chat", 2)
        named = {"epoch": await epoch(stage, "chat"), "offset": 2, "recoverable": True, "positioned": True}
        asked: dict[str, Any] = {"channel": "chat", "recoverable": True, "recover": True, **place}
        assert await alice.turned_down(subscribe={**asked, "flag": 2}) == 112
        assert "chat" not in alice.client.subscriptions
        assert await alice.subscribe(**asked) == {**named, "was_recovering": True}


async def test_what_the_log_does_not_hold_any_more_is_not_recovered() -> None:
    clock = Clock()
    async with door_at_work(engine=MemoryEngine(clock=clock, wall=clock, keep=3), clock=clock) as stage:
        alice = await stage.caller("alice")
        await say(stage, "chat", 5)
        asked: dict[str, Any] = {"channel": "chat", "recoverable": True, "recover": True}
        assert await alice.turned_down(subscribe={**asked, "offset": 1, "flag": 2}) == 112
        assert "recovered" not in await alice.subscribe(**asked, offset=1)
        await alice.reply(unsubscribe={"channel": "chat"})
        assert len((await alice.subscribe(**asked, offset=2, flag=2))["publications"]) == 3


async def test_the_namespace_limits_how_much_is_recovered() -> None:
    async with door_at_work(ASKED) as stage:
        alice = await stage.caller("alice")
        await say(stage, "asked:a", 15)
        asked: dict[str, Any] = {"channel": "asked:a", "recoverable": True, "recover": True}
        assert await alice.turned_down(subscribe={**asked, "offset": 4, "flag": 2}) == 112
        assert len((await alice.subscribe(**asked, offset=5))["publications"]) == 10


@pytest.mark.parametrize("is_occupied", [False, True])
async def test_the_namespace_limits_for_how_long_something_is_recovered(is_occupied: bool) -> None:
    async with door_at_work(ASKED) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        if is_occupied:
            await bob.subscribe("asked:a")
        await say(stage, "asked:a", 2)
        stage.clock.go(60)
        await say(stage, "asked:a")
        asked: dict[str, Any] = {"channel": "asked:a", "recoverable": True, "recover": True}
        assert len((await alice.subscribe(**asked))["publications"]) == 3
        await alice.reply(unsubscribe={"channel": "asked:a"})
        stage.clock.go(60)
        assert await alice.turned_down(subscribe={**asked, "offset": 1, "flag": 2}) == 112
        assert len((await alice.subscribe(**asked, offset=2))["publications"]) == 1


async def test_three_thousand_missed_publications_all_come_in_order() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        for _ in range(30):
            await say(stage, "chat", 100)
        result = await alice.subscribe("chat", recoverable=True, recover=True, epoch=await epoch(stage, "chat"))
        assert result["recovered"] is True
        answered = [each["offset"] for each in result["publications"]]
        pushed = [push["pub"]["offset"] for push in await alice.pushes()]
        assert answered + pushed == list(range(1, 3001))
        assert 0 < len(answered) <= 2000
        await say(stage, "chat")
        assert [push["pub"]["offset"] for push in await alice.pushes()] == [3001]


@pytest.mark.parametrize("is_occupied", [False, True])
@pytest.mark.parametrize(("most", "answered"), [(35, 3), (5, 0), (10_000, 299)])
async def test_much_that_was_missed_follows_the_answer(
    monkeypatch: pytest.MonkeyPatch, is_occupied: bool, most: int, answered: int
) -> None:
    monkeypatch.setattr(subscribing_module, "MAX_ANSWER_BYTES", most)
    async with door_at_work() as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        if is_occupied:
            await bob.subscribe("chat")
        await say(stage, "chat", 300)  # more than are at hand
        for after in (1, 200):
            result = await alice.subscribe("chat", recoverable=True, recover=True, offset=after)
            assert (result["recovered"], result["offset"]) == (True, after)
            missed = [each["offset"] for each in result.get("publications", ())]
            assert len(missed) == min(answered, 300 - after)
            assert missed + [push["pub"]["offset"] for push in await alice.pushes()] == list(range(after + 1, 301))
            await alice.reply(unsubscribe={"channel": "chat"})


@pytest.mark.parametrize("after", [1, 200])
async def test_what_follows_comes_in_parts(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(subscribing_module, "MAX_ANSWER_BYTES", 35)
    monkeypatch.setattr(feeding_module, "FEED_BYTES", 100)
    fed: list[int] = []
    write = DoorClient.write_texts

    def note(self: DoorClient, texts: list[bytes]) -> None:
        fed.append(len(texts))
        write(self, texts)

    monkeypatch.setattr(DoorClient, "write_texts", note)
    async with door_at_work() as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await bob.subscribe("chat")
        await say(stage, "chat", 300)
        fed.clear()
        await alice.subscribe("chat", recoverable=True, recover=True, offset=after)
        heard = [push["pub"]["offset"] for push in await alice.pushes()]
        assert heard == list(range(after + 4, 301))
        assert sum(fed) == len(heard)
        assert max(fed) == 10
        await say(stage, "chat")
        assert await alice.publications() == [1]


async def test_who_may_not_read_what_was_said_before_hears_only_what_comes() -> None:
    hub = Hub()

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> bool | None:
        return False if act.name == "READ" else None

    async with door_at_work(hub=hub) as stage:
        alice = await stage.caller("alice")
        await say(stage, "chat", 2)
        result = await alice.subscribe("chat", recoverable=True, recover=True)
        assert "recovered" not in result
        assert "publications" not in result
        await say(stage, "chat")
        assert await alice.publications() == [1]


# Holes, which must never be hidden


class Holed(MemoryEngine):
    """A log that has lost something before anybody was told of it."""

    async def lose(self, channel: str, count: int) -> None:
        first = (await self.head(channel)).seq + 1
        self.unsubscribe(channel)
        await self.append([Draft(channel, "publication", b'{"data":"lost"}') for _ in range(count)])
        await self.append([Draft(channel, "publication", b'{"data":"kept"}')])
        await self.subscribe(channel)
        last = (await self.head(channel)).seq
        self._listener.hole(channel, first, last - 1)
        self._listener.deliver(channel, (await self.read(channel, limit=1)).messages)
        self._listener.flush()


@pytest.mark.parametrize("is_slow", [False, True])
async def test_who_has_missed_something_is_put_out_and_comes_back(is_slow: bool) -> None:
    clock = Clock()
    engine = Holed(clock=clock, wall=clock, keep=1)
    async with door_at_work(engine=engine, clock=clock) as stage:
        alice = await stage.caller("alice")
        named = await alice.subscribe("chat", recoverable=True)
        await say(stage, "chat", 2)
        await stage.settle()
        if is_slow:
            alice.read_slowly()
        await engine.lose("chat", 3)
        await stage.settle()
        if is_slow:
            alice.read_on()
        pushes = await alice.pushes()
        assert [push["pub"]["offset"] for push in pushes[:-1]] == [1, 2]
        assert pushes[-1]["unsubscribe"] == {"code": 2500, "reason": "insufficient state"}
        assert not alice.client.subscriptions
        assert not alice.client.rooms
        await say(stage, "chat")
        assert await alice.pushes() == []
        back = await alice.subscribe("chat", recoverable=True, recover=True, offset=2, epoch=named["epoch"])
        assert "recovered" not in back
        assert back["offset"] == 7


async def test_who_has_heard_what_the_log_has_lost_is_put_out_of_that_channel_alone() -> None:
    async with door_at_work() as stage:
        alice, zoe = await stage.caller("alice"), await stage.client("zoe", V1)
        await alice.subscribe("chat", recoverable=True)
        await alice.subscribe("other")
        await zoe.join("chat")
        await say(stage, "chat", 3)
        await alice.pushes()
        stage.core.listener.rewound("chat", Head("next", 1))
        assert [push["unsubscribe"]["code"] for push in await alice.pushes()] == [2500]
        assert list(alice.client.subscriptions) == ["other"]
        assert alice.closed is None
        assert zoe.close_code == 4001


async def test_another_epoch_after_which_nothing_is_lost_is_no_news() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat", recoverable=True)
        await say(stage, "chat", 3)
        await alice.pushes()
        stage.core.listener.rewound("chat", Head("next", 3))
        assert await alice.pushes() == []
        assert "chat" in alice.client.subscriptions


# Its end


async def test_to_unsubscribe_is_answered_whatever_there_was() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        for channel in ("chat", "chat", "nowhere:a", "two words"):
            assert await alice.reply(unsubscribe={"channel": channel}) == {"unsubscribe": {}}
        await say(stage, "chat")
        assert await alice.pushes() == []
        assert stage.core.rooms.count == 0


async def test_who_may_not_be_there_any_more_is_put_out_for_good() -> None:
    async with door_at_work(CLOSED) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        await alice.subscribe("closed:a", token=token())
        await stage.hub.close_room("chat")
        (push,) = await alice.pushes()
        assert (push["channel"], push["unsubscribe"]["code"]) == ("chat", 2000)
        assert list(alice.client.subscriptions) == list(alice.client.rooms) == ["closed:a"]
        await stage.hub.delete_room("closed:a")
        (push,) = await alice.pushes()
        assert (push["channel"], push["unsubscribe"]["code"]) == ("closed:a", 2000)
        assert not alice.client.subscriptions


async def test_a_policy_that_changes_its_mind_puts_out() -> None:
    hub, shut = Hub(), set[str]()

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> bool | None:
        return False if room in shut else None

    async with door_at_work(hub=hub) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        shut.add("chat")
        hub.review()
        assert [push["unsubscribe"]["code"] for push in await alice.pushes()] == [2000]
        assert await alice.turned_down(subscribe={"channel": "chat"}) == 103


async def test_a_connection_that_goes_leaves_nothing_behind() -> None:
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("forced:a")
        await alice.subscribe("chat", join_leave=True)
        alice.hang_up()
        await turns()
        assert not alice.client.subscriptions
        assert stage.core.rooms.count == 0
        for name in ("forced:a", "chat", "\nforced:a", "\nchat"):
            assert (await stage.engine.members(name, 10)).count == 0
        assert not [name for name in stage.engine._subscribed if name.startswith("\n")]  # type: ignore[attr-defined]


async def test_one_that_goes_while_it_subscribes_is_nowhere() -> None:
    engine = GatedEngine()
    async with door_at_work(FORCED, engine=engine) as stage:
        alice = await stage.caller("alice")
        engine.reads = Gate(is_open=False)
        alice.send(subscribe={"channel": "forced:a"})
        await engine.reads.reached()
        alice.hang_up()
        engine.reads.open()
        await stage.settle()
        await turns()
        assert not alice.client.subscriptions
        assert stage.core.rooms.count == 0
        assert (await engine.members("\nforced:a", 10)).count == 0
        assert "\nforced:a" not in engine._subscribed


async def test_one_whose_channel_is_deleted_while_it_subscribes_is_nowhere() -> None:
    engine = GatedEngine()
    async with door_at_work(FORCED, engine=engine) as stage:
        alice = await stage.caller("alice")
        engine.reads = Gate(is_open=False)
        id_ = alice.send(subscribe={"channel": "forced:a"})
        await engine.reads.reached()
        stage.core.rooms.drop("forced:a")
        engine.reads.open()
        await stage.settle()
        (answer,) = alice.take()
        assert (answer["id"], answer["error"]["code"], answer["error"]["temporary"]) == (id_, 100, True)
        assert not alice.client.subscriptions
        assert "\nforced:a" not in engine._subscribed
        assert (await alice.subscribe("forced:a"))["recoverable"] is True


async def test_what_cannot_be_read_now_is_to_be_asked_for_again() -> None:
    engine = GatedEngine()
    async with door_at_work(FORCED, engine=engine) as stage:
        alice = await stage.caller("alice")
        for what in ("read", "subscribe"):
            engine.failing[what] = EngineError("the engine is not there")
            answer = await alice.reply(subscribe={"channel": "forced:a"})
            assert answer["error"]["code"] == 100
            assert answer["error"]["temporary"] is True
            assert not alice.client.subscriptions
            assert stage.core.rooms.count == 0
        assert (await alice.subscribe("forced:a"))["recoverable"] is True


async def test_of_two_that_subscribe_a_client_one_is_too_late() -> None:
    engine = GatedEngine()
    async with door_at_work(FORCED, engine=engine) as stage:
        alice = await stage.caller("alice")
        engine.reads = Gate(is_open=False)
        id_ = alice.send(subscribe={"channel": "forced:a"})
        put_in = asyncio.create_task(stage.hub.join(alice.client, "forced:a"))
        await engine.reads.reached()
        await turns()
        engine.reads.open()
        await stage.settle()
        answers = {text["id"]: text for text in alice.take() if "id" in text}
        outcomes = [
            "error" in answers[id_],
            isinstance((await asyncio.gather(put_in, return_exceptions=True))[0], Refused),
        ]
        assert sorted(outcomes) == [False, True]
        await alice.reply(unsubscribe={"channel": "forced:a"})
        await turns()
        assert "\nforced:a" not in engine._subscribed


# Refreshing


async def test_a_subscription_goes_on_by_another_token() -> None:
    async with door_at_work(CLOSED, clock=Clock(time.time())) as stage:
        alice = await stage.caller("alice")
        now = int(stage.clock())
        await alice.subscribe("closed:a", token=token(exp=now + 10))
        answer = await alice.reply(sub_refresh={"channel": "closed:a", "token": token(exp=now + 100, info={"n": 2})})
        assert answer["sub_refresh"].pop("ttl") in (99, 100)
        assert answer == {"sub_refresh": {"expires": True}}
        assert alice.client.subscriptions["closed:a"].expires_at == now + 100
        assert alice.client.subscriptions["closed:a"].chan_info == b'{"n":2}'
        assert stage.ends == [(alice.client, "closed:a")] * 2


async def test_a_subscription_for_ever_and_a_day_lasts_as_long_as_both_formats_can_tell() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        far = token(sub="alice", channel="room", exp=time.time() + 1e12)
        assert (await alice.subscribe("room", token=far))["ttl"] == (1 << 31) - 1
        refreshed = await alice.reply(sub_refresh={"channel": "room", "token": far})
        assert refreshed["sub_refresh"]["ttl"] == (1 << 31) - 1


async def test_what_is_no_refresh_is_refused() -> None:
    async with door_at_work(CLOSED) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("closed:a", token=token())
        assert await alice.turned_down(sub_refresh={"channel": "closed:b", "token": token()}) == 103
        assert await alice.turned_down(sub_refresh={"channel": "closed:a"}) == 107


@pytest.mark.parametrize(
    ("claims", "code"), [({"sub": "bob"}, 3500), ({"channel": "closed:b"}, 3500), ({"exp": 1000}, 3006)]
)
async def test_a_refresh_by_a_token_that_is_not_good_closes(claims: dict[str, Any], code: int) -> None:
    async with door_at_work(CLOSED, clock=Clock(time.time())) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("closed:a", token=token())
        alice.send(sub_refresh={"channel": "closed:a", "token": token(**claims)})
        await stage.settle()
        assert alice.close_code == code


async def test_a_subscription_that_was_not_refreshed_ends() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        stage.floor.subscribing.end(alice.client, "chat")
        (push,) = await alice.pushes()
        assert push["unsubscribe"]["code"] == 2501
        assert not alice.client.subscriptions


# What the server decides


async def test_the_application_subscribes_a_client_and_takes_it_out() -> None:
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        await say(stage, "forced:a")
        room = await stage.hub.join(alice.client, "forced:a")
        assert room.name == "forced:a"
        first, second = await alice.pushes()
        assert first["subscribe"].pop("epoch")
        assert first == {
            "channel": "forced:a",
            "subscribe": {"recoverable": True, "positioned": True, "offset": 1},
        }
        assert second["join"]["info"]["client"] == alice.id
        stage.hub.leave(alice.client, room)
        stage.hub.leave(alice.client, room)
        (push,) = await alice.pushes()
        assert push == {"channel": "forced:a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}


async def test_what_was_missed_follows_the_push() -> None:
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        await say(stage, "forced:a", 3)
        since = StreamPosition(1, await epoch(stage, "forced:a"))
        await stage.floor.subscribing.put_in(
            alice.client, "forced:a", since=since, data=b'{"x":1}', override=Override(force_push_join_leave=False)
        )
        pushes = await alice.pushes()
        assert pushes[0]["subscribe"]["offset"] == 1
        assert pushes[0]["subscribe"]["data"] == {"x": 1}
        assert [push["pub"]["offset"] for push in pushes[1:]] == [2, 3]


async def test_the_application_cannot_put_a_client_where_there_is_no_channel() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        for name in ("nowhere:a", "dm:alice,bob", "two words"):
            with pytest.raises(Refused):
                await stage.hub.join(alice.client, name)
        await stage.hub.join(alice.client, "here")
        with pytest.raises(Refused):
            await stage.hub.join(alice.client, "here")


async def test_what_a_token_names_comes_with_connect() -> None:
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        await say(stage, "forced:a", 3)
        await stage.hub.close_room("forced:shut")
        subs = {"forced:a": TokenSub(b'{"n":1}', b'{"x":2}'), "forced:b": TokenSub(), "forced:shut": TokenSub()}
        places = {"forced:a": SubscribeRequest(recover=True, offset=1), "forced:c": SubscribeRequest(recover=True)}
        replies = await stage.floor.subscribing.at_connect(alice.client, subs, places)
        assert list(replies) == list(alice.client.subscriptions) == ["forced:a", "forced:b"]
        first, second = replies.values()
        assert (first.recovered, first.was_recovering, first.offset) == (True, True, 1)
        assert first.data == msgspec.Raw(b'{"x":2}')
        assert (second.recovered, second.was_recovering, second.offset) == (False, False, 0)
        assert not first.expires
        subscription: Subscription = alice.client.subscriptions["forced:a"]
        assert subscription.is_server_side
        assert subscription.chan_info == b'{"n":1}'


async def test_a_client_is_subscribed_to_its_own_channel() -> None:
    own = PersonalChannel(enabled=True, personal_channel_namespace="forced")
    async with door_at_work(FORCED, door={"personal": own}) as stage:
        alice, nobody = await stage.caller("alice"), await stage.caller("")
        at_connect = stage.floor.subscribing.at_connect
        assert list(await at_connect(alice.client, {}, {})) == ["forced:#alice"]
        assert await at_connect(nobody.client, {}, {}) == {}


async def test_much_that_was_missed_follows_what_connect_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing_module, "MAX_ANSWER_BYTES", 100)
    async with door_at_work(FORCED) as stage:
        alice = await stage.caller("alice")
        for channel in ("forced:a", "forced:b", "forced:c"):
            await say(stage, channel, 8)
        channels = ("forced:a", "forced:b", "forced:c")
        replies = await stage.floor.subscribing.at_connect(
            alice.client,
            dict.fromkeys(channels, TokenSub()),
            {channel: SubscribeRequest(recover=True, offset=1) for channel in channels},
        )
        assert [reply.recovered for reply in replies.values()] == [True] * 3
        heard: dict[str, list[int]] = {channel: [] for channel in channels}
        for channel, reply in replies.items():
            heard[channel] += [each["offset"] for each in decoded(reply.publications)]
        assert not all(heard.values())
        for push in await alice.pushes():
            if "pub" in push:
                heard[push["channel"]].append(push["pub"]["offset"])
        assert heard == {channel: list(range(2, 9)) for channel in channels}


def decoded(array: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [] if isinstance(array, msgspec.UnsetType) else msgspec.json.decode(array)
    return found


# The others in a room


async def test_all_kinds_of_clients_share_a_room_each_with_its_own_view() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        zoe, old = await stage.client("zoe", V1), await stage.client("old", CLASSIC)
        await alice.subscribe("general")
        await zoe.join("general")
        await alice.pushes()
        zoe.take()
        await alice.reply(publish={"channel": "general", "data": {"n": 1}})
        stage.hub.room("general").post(NewMessage("hi"))
        zoe.say("typing", {"on": True})
        await stage.settle()
        said, told = await alice.pushes()
        assert said["pub"]["data"] == {"n": 1}
        assert told["pub"]["data"] == {"message": "hi"}
        assert told["pub"]["tags"] == {"type": "new_message"}
        heard = zoe.take()
        assert [event["type"] for event in heard if event["type"] != "typing"] == ["publication", "new_message"]
        assert heard[0]["payload"]["from"] == "alice"
        assert heard[0]["payload"]["info"] == {"user": "alice", "client": alice.id}
        assert [event["type"] for event in old.take()] == ["new_message"]


async def test_others_see_users_of_the_door_but_no_anonymous_ones() -> None:
    async with door_at_work(without=OPEN, door={}) as stage:
        zoe = await stage.client("zoe", V1)
        await zoe.join("general")
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await alice.subscribe("general")
        await bob.subscribe("general")
        joined = [event["payload"]["user"] for event in await zoe.hear() if event["type"] == "member_joined"]
        assert sorted(joined) == ["alice", "bob"]
        assert (await zoe.ask("presence", {"room": "general"}))["members"] == ["alice", "bob", "zoe"]
