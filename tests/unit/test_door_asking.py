"""What clients of the door publish and ask: channels, and the application."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from doors import Caller, door_at_work
from gates import FullDisk, Gate, GatedEngine, turns
from hubbub import Act, Client, Event, Hub, Posting, Refused
from hubbub.chat import NewMessage
from hubbub.door import asking as asking_module
from hubbub.door.namespaces import Namespace
from hubbub.door.protobuf_dialect import ProtobufDialect
from hubbub.engine.memory import MemoryEngine
from hubbub.testing import V1, Clock
from unit.hot_path import Bytecodes

pytestmark = pytest.mark.anyio

FOR_SUBSCRIBERS = Namespace(
    name="sub",
    presence=True,
    history_size=10,
    history_ttl=100.0,
    allow_subscribe_for_client=True,
    allow_publish_for_subscriber=True,
    allow_history_for_subscriber=True,
    allow_presence_for_subscriber=True,
)
BARE = Namespace(name="bare", allow_subscribe_for_client=True, allow_publish_for_client=True)
FLEETING = Namespace(name="fleeting", history_size=0, allow_subscribe_for_client=True, allow_publish_for_client=True)


class Vote(Event, tag="vote"):
    poll: str
    option: int = 0


class Tally(Event, tag="tally"):
    count: int


class Look(msgspec.Struct, tag="look"):
    room: str


class Fail(Event, tag="fail"):
    pass


class Refuse(Event, tag="refuse"):
    pass


# Publishing


async def test_the_answer_comes_before_what_is_published_and_when_it_is_kept() -> None:
    engine = GatedEngine()
    async with door_at_work(engine=engine) as stage:
        alice = await stage.caller("alice", info=b'{"name":"Alice"}')
        await alice.subscribe("chat")
        engine.appends[0] = Gate(is_open=False)
        id_ = alice.send(publish={"channel": "chat", "data": {"text": "hi"}})
        await engine.appends[0].reached()
        assert alice.take() == []
        engine.appends[0].open()
        answer, push = await alice.hear()
        assert answer == {"id": id_, "publish": {}}
        info = {"user": "alice", "client": alice.id, "conn_info": {"name": "Alice"}}
        assert push == {"push": {"channel": "chat", "pub": {"data": {"text": "hi"}, "info": info, "offset": 1}}}


@pytest.mark.parametrize("data", [0, "", None, False, [], {}, "line\nbreak", {"a": [1, {"b": None}]}])
async def test_any_json_is_published_as_it_is(data: Any) -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        await alice.reply(publish={"channel": "chat", "data": data})
        assert await alice.publications() == [data]


@pytest.mark.parametrize("data", [b'{\n "a": [1,\r\n 2]\r}', b'{"a":\r[1,2]}', b'{"a":[1,\n2]}'])
async def test_line_breaks_between_tokens_are_taken_out(data: bytes) -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("chat")
        binary = ProtobufDialect(lambda _: True)
        (asked,) = binary.read(protobuf_publish("chat", data))
        stage.core.dispatch.receive(alice.client, asked)  # type: ignore[arg-type]
        assert await alice.publications() == [{"a": [1, 2]}]


def protobuf_publish(channel: str, data: bytes) -> bytes:
    """A command in a frame of Protobuf: fields 1 (id) and 7 (publish), of which 1 is the channel and 2 the data."""
    request = b"\x0a%c%b\x12%c%b" % (len(channel), channel.encode(), len(data), data)
    command = b"\x08\x01\x3a%c%b" % (len(request), request)
    return b"%c%b" % (len(command), command)


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({"channel": "chat"}, 107),
        ({"channel": "nowhere:a", "data": 1}, 102),
        ({"channel": "two words", "data": 1}, 107),
        ({"channel": "dm:alice,bob", "data": 1}, 102),
        ({"channel": "sub:a", "data": 1}, 103),
        ({"channel": "sub:a"}, 107),
        ({"channel": "shut", "data": 1}, 103),
    ],
)
async def test_what_may_not_be_published_is_refused(request_: dict[str, Any], number: int) -> None:
    async with door_at_work(FOR_SUBSCRIBERS) as stage:
        await stage.hub.close_room("shut")
        alice = await stage.caller("alice")
        assert await alice.turned_down(publish=request_) == number
        assert (await stage.engine.head(request_["channel"])).seq == 0


async def test_subscribers_may_publish_where_only_they_may() -> None:
    async with door_at_work(FOR_SUBSCRIBERS) as stage:
        alice, nobody = await stage.caller("alice"), await stage.caller("")
        await alice.subscribe("sub:a")
        assert await alice.reply(publish={"channel": "sub:a", "data": 1}) == {"publish": {}}
        await alice.reply(unsubscribe={"channel": "sub:a"})
        assert await alice.turned_down(publish={"channel": "sub:a", "data": 1}) == 103
        assert await nobody.turned_down(publish={"channel": "sub:a", "data": 1}) == 103


async def test_a_command_without_a_channel_closes() -> None:
    for request in ("publish", "unsubscribe", "history", "presence", "presence_stats", "sub_refresh"):
        async with door_at_work() as stage:
            alice = await stage.caller("alice")
            alice.send(**{request: {}})
            await stage.settle()
            assert alice.closed == (3501, "bad request"), request


async def test_what_is_not_kept_is_to_be_tried_again() -> None:
    async with door_at_work(engine=FullDisk()) as stage:
        alice = await stage.caller("alice")
        answer = await alice.reply(publish={"channel": "chat", "data": 1})
        assert (answer["error"]["code"], answer["error"]["temporary"]) == (100, True)


async def test_a_history_of_no_size_keeps_nothing() -> None:
    async with door_at_work(FLEETING, BARE) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        await bob.subscribe("fleeting:a")
        await bob.subscribe("bare:a")
        await alice.reply(publish={"channel": "fleeting:a", "data": 1})
        await alice.reply(publish={"channel": "bare:a", "data": 2})
        info = {"user": "alice", "client": alice.id}
        assert await bob.pushes() == [
            {"channel": "fleeting:a", "pub": {"data": 1, "info": info}},
            {"channel": "bare:a", "pub": {"data": 2, "info": info}},
        ]
        assert (await stage.engine.head("fleeting:a")).seq == 0
        assert (await stage.engine.head("bare:a")).seq == 1


async def test_an_anonymous_client_publishes_without_a_name() -> None:
    for_all = Namespace(name="all", allow_publish_for_client=True, allow_publish_for_anonymous=True)
    async with door_at_work(for_all) as stage:
        nobody = await stage.caller("")
        await nobody.reply(publish={"channel": "all:a", "data": 1})
        (message,) = (await stage.engine.read("all:a", limit=1)).messages
        assert message.sender is None
        assert message.body == b'{"data":1,"info":{"user":"","client":"%b"}}' % nobody.id.encode()


async def test_what_an_account_publishes_counts_as_what_others_post() -> None:
    async with door_at_work(daily_bytes=20_000, limits="enforce") as stage:
        alice = await stage.caller("alice")
        numbers = []
        for _ in range(60):
            answer = await alice.reply(publish={"channel": "chat", "data": "x" * 1000})
            numbers.append(answer.get("error", {}).get("code"))
        assert numbers[0] is None
        assert numbers[-1] == 111


@pytest.mark.parametrize("is_there", [False, True])
async def test_the_rooms_that_a_client_makes_are_counted_whether_it_is_in_them(is_there: bool) -> None:
    async with door_at_work(daily_rooms=5, limits="enforce") as stage:
        alice = await stage.caller("alice")
        numbers = []
        for number in range(12):
            if is_there:
                await alice.subscribe(f"room-{number}")
            answer = await alice.reply(publish={"channel": f"room-{number}", "data": 1})
            numbers.append(answer.get("error", {}).get("code"))
        assert numbers[:5] == [None] * 5
        assert numbers[-6:] == [111] * 6


# History


@pytest.fixture(params=["nobody", "somebody"])
def is_occupied(request: pytest.FixtureRequest) -> bool:
    """Whether somebody is in the channel that is looked at."""
    return bool(request.param == "somebody")


async def offsets(caller: Caller, **request: Any) -> list[int]:
    """The offsets of a part of the history."""
    answer = await caller.reply(history={"channel": "chat", **request})
    return [each["offset"] for each in answer["history"]["publications"]]


async def test_a_history_is_read_from_either_end_and_from_any_place(is_occupied: bool) -> None:
    async with door_at_work() as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        if is_occupied:
            await bob.subscribe("chat")
        for number in range(1, 6):
            await alice.reply(publish={"channel": "chat", "data": number})
        epoch = (await stage.engine.head("chat")).epoch
        answer = await alice.reply(history={"channel": "chat"})
        assert answer == {"history": {"publications": [], "epoch": epoch, "offset": 5}}
        assert await offsets(alice, limit=-1) == [1, 2, 3, 4, 5]
        assert await offsets(alice, limit=2) == [1, 2]
        assert await offsets(alice, limit=2, reverse=True) == [5, 4]
        assert await offsets(alice, limit=-1, reverse=True) == [5, 4, 3, 2, 1]
        since = {"offset": 3, "epoch": epoch}
        assert await offsets(alice, limit=-1, since=since) == [4, 5]
        assert await offsets(alice, limit=1, since=since) == [4]
        assert await offsets(alice, limit=-1, since=since, reverse=True) == [2, 1]
        assert await offsets(alice, limit=0, since=since) == []
        assert await offsets(alice, limit=-1, since={"offset": 3}) == [4, 5]
        assert await offsets(alice, limit=-1, since={"epoch": epoch}) == [1, 2, 3, 4, 5]
        assert await offsets(alice, limit=-1, since={"offset": 5, "epoch": epoch}) == []
        assert await offsets(alice, limit=-1, since={"offset": 10**30, "epoch": epoch}) == []
        assert await offsets(alice, limit=-1, since={"offset": 10**30}, reverse=True) == []
        assert await offsets(alice, limit=10**30) == [1, 2, 3, 4, 5]


async def test_an_empty_channel_has_a_place_too() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        epoch = (await stage.engine.head("chat")).epoch
        for limit in (0, -1):
            answer = await alice.reply(history={"channel": "chat", "limit": limit})
            assert answer == {"history": {"publications": [], "epoch": epoch, "offset": 0}}


@pytest.mark.parametrize("is_reverse", [False, True])
async def test_a_history_has_so_many_bytes_at_once(monkeypatch: pytest.MonkeyPatch, is_reverse: bool) -> None:
    monkeypatch.setattr(asking_module, "MAX_ANSWER_BYTES", 100)
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        for size in (1, 30, 30, 200, 10):
            stage.core.rooms.publish("chat", "publication", b'{"data":"%b"}' % (b"x" * size))
        await stage.settle()
        seen: list[int] = []
        answers = 0
        while len(seen) < 5:
            since = {"since": {"offset": seen[-1]}} if seen else {}
            seen += await offsets(alice, limit=-1, reverse=is_reverse, **since)
            answers += 1
        assert seen == ([5, 4, 3, 2, 1] if is_reverse else [1, 2, 3, 4, 5])
        assert answers == 3


async def test_a_history_has_so_many_publications_at_once() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        for _ in range(4):
            for number in range(100):
                stage.core.rooms.publish("chat", "publication", b'{"data":%d}' % number)
            await stage.settle()
        assert len(await offsets(alice, limit=-1)) == 300
        assert await offsets(alice, limit=1000, reverse=True) == list(range(400, 100, -1))


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({"channel": "nowhere:a"}, 102),
        ({"channel": "two words"}, 107),
        ({"channel": "bare:a"}, 108),
        ({"channel": "sub:a"}, 103),
        ({"channel": "shut"}, 103),
        ({"channel": "chat", "since": {"offset": 1, "epoch": "another"}}, 112),
        ({"channel": "chat", "since": {"offset": 1, "epoch": "another"}, "limit": 1}, 112),
        ({"channel": "chat", "since": {"offset": 0}, "reverse": True}, 107),
        ({"channel": "chat", "since": {"offset": -1}}, 107),
    ],
)
async def test_what_may_not_be_read_is_refused(request_: dict[str, Any], number: int) -> None:
    async with door_at_work(FOR_SUBSCRIBERS, BARE) as stage:
        await stage.hub.close_room("shut")
        alice = await stage.caller("alice")
        assert await alice.turned_down(history=request_) == number


async def test_the_namespace_limits_how_far_back_one_looks(is_occupied: bool) -> None:
    short = Namespace(
        history_size=3,
        history_ttl=100.0,
        allow_subscribe_for_client=True,
        allow_publish_for_client=True,
        allow_history_for_client=True,
    )
    async with door_at_work(without=short) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        if is_occupied:
            await bob.subscribe("chat")
        for number in range(1, 6):
            await alice.reply(publish={"channel": "chat", "data": number})
            stage.clock.go(30)
        # At 0, 30, 60, 90 and 120 seconds; it is 150 now.
        assert await offsets(alice, limit=-1) == [3, 4, 5]
        assert await offsets(alice, limit=2) == [3, 4]
        assert await offsets(alice, limit=-1, reverse=True) == [5, 4, 3]
        assert await offsets(alice, limit=-1, since={"offset": 1}) == [3, 4, 5]
        stage.clock.go(20)
        assert await offsets(alice, limit=-1) == [4, 5]
        assert await offsets(alice, limit=1) == [4]
        assert await offsets(alice, limit=-1, reverse=True) == [5, 4]
        stage.clock.go(1000)
        assert await offsets(alice, limit=-1) == []
        assert (await alice.reply(history={"channel": "chat"}))["history"]["offset"] == 5


async def test_what_the_log_has_trimmed_is_left_out() -> None:
    clock = Clock()
    async with door_at_work(engine=MemoryEngine(clock=clock, wall=clock, keep=2), clock=clock) as stage:
        alice = await stage.caller("alice")
        for number in range(5):
            await alice.reply(publish={"channel": "chat", "data": number})
        assert await offsets(alice, limit=-1, since={"offset": 1}) == [4, 5]
        assert await offsets(alice, limit=-1, since={"offset": 3}, reverse=True) == []


async def test_other_events_are_a_part_of_the_history() -> None:
    async with door_at_work() as stage:
        alice, zoe = await stage.caller("alice"), await stage.client("zoe", V1)
        await zoe.join("general")
        await zoe.ask("send_message", {"message": "hi"})
        answer = await alice.reply(history={"channel": "general", "limit": 1})
        info = {"user": "zoe", "client": ""}
        assert answer["history"]["publications"] == [
            {"data": {"message": "hi"}, "tags": {"type": "new_message"}, "info": info, "offset": 1}
        ]


# The application


async def test_the_application_answers_its_own_events() -> None:
    hub = Hub()

    @hub.on
    def count(vote: Vote, client: Client) -> Tally:
        hub.room(vote.poll).post(Tally(vote.option), sender=client)
        return Tally(vote.option)

    @hub.on
    async def tell(tally: Tally, client: Client) -> Posting:
        return hub.room("chat").post(tally, sender=client)

    async with door_at_work(hub=hub) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("lunch")
        await alice.subscribe("chat")
        answer = await alice.reply(rpc={"method": "vote", "data": {"poll": "lunch", "option": 2}})
        assert answer == {"rpc": {"data": {"count": 2}}}
        (push,) = await alice.pushes()
        assert push["pub"]["data"] == {"count": 2}
        answer = await alice.reply(rpc={"method": "tally", "data": {"count": 3}})
        assert answer["rpc"]["data"]["seq"] == 1
        assert await alice.publications() == [{"count": 3}]


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ({"method": "nothing"}, 104),
        ({"method": "send_message", "data": {"message": "hi", "room": "general"}}, 104),
        ({"method": "join_room", "data": {"room": "general"}}, 104),
        ({}, 104),
        ({"method": "tally", "data": {"count": "many"}}, 107),
        ({"method": "tally"}, 107),
        ({"method": "look", "data": {"room": "Shut"}}, 103),
        ({"method": "look", "data": {"room": "dm:alice,bob"}}, 103),
        ({"method": "look", "data": {"room": "two  words"}}, 107),
        ({"method": "fail"}, 100),
        ({"method": "refuse"}, 111),
    ],
)
async def test_what_the_application_does_not_answer_is_refused(request_: dict[str, Any], number: int) -> None:
    hub = Hub()

    @hub.on(act=Act.READ)
    def look(look: Look, client: Client) -> None: ...

    @hub.on
    def fail(fail: Fail, client: Client) -> None:
        raise ZeroDivisionError

    @hub.on
    def refuse(refuse: Refuse, client: Client) -> None:
        raise Refused("rate_limited", "later", 1.0)

    @hub.on
    def tally(tally: Tally, client: Client) -> None: ...

    async with door_at_work(hub=hub) as stage:
        await hub.close_room("shut")
        alice = await stage.caller("alice")
        assert await alice.turned_down(rpc=request_) == number


async def test_without_an_application_there_is_nothing_to_call() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        assert await alice.turned_down(rpc={"method": "send_message"}) == 108
        alice.send(send={"data": {}})
        await stage.settle()
        assert alice.closed == (3508, "not available")


async def test_what_is_sent_is_handled_without_an_answer() -> None:
    hub, votes = Hub(), list[int]()

    @hub.on
    def count(vote: Vote, client: Client) -> None:
        votes.append(vote.option)

    async with door_at_work(hub=hub) as stage:
        alice = await stage.caller("alice")
        for data in ({"type": "vote", "payload": {"poll": "a", "option": 7}}, {"type": "nothing"}, 1, "x", {}):
            alice.send(send={"data": data})
        alice.send(send={})
        assert await alice.hear() == []
        assert votes == [7]


async def test_an_application_names_channels_as_its_rooms() -> None:
    async with door_at_work(FOR_SUBSCRIBERS) as stage:
        alice = await stage.caller("alice")
        await alice.subscribe("sub:a")
        room = stage.hub.room("sub:a")
        assert [client.user for client in room.members] == ["alice"]
        await room.post(NewMessage("hi"))
        assert await alice.publications() == [{"message": "hi"}]
        room.cast(Tally(1))
        (push,) = await alice.pushes()
        assert push["pub"] == {"data": {"count": 1}, "tags": {"type": "tally"}}
        assert stage.hub.room("General").name == "general"
        with pytest.raises(Refused):
            stage.hub.room("two  words")


# What others cannot reach


CHANNELS = ("sub:a", "General", "$private", "a#1,2", "x" * 65)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_no_other_client_reaches_a_channel(channel: str) -> None:
    async with door_at_work(FOR_SUBSCRIBERS) as stage:
        zoe = await stage.client("zoe", V1)
        bob = await stage.caller("bob")
        await stage.floor.subscribing.put_in(bob.client, channel)
        stage.core.rooms.publish(channel, "publication", b'{"data":1}')
        await stage.settle()
        for type_, payload in (
            ("join_room", {"room": channel}),
            ("change_room", {"name": channel}),
            ("send_message", {"room": channel, "message": "hi"}),
            ("history", {"room": channel}),
            ("presence", {"room": channel}),
            ("mark_read", {"room": channel, "seq": 1}),
            ("follow", {"room": channel}),
            ("search", {"text": "hi", "room": channel}),
        ):
            try:
                answer = await zoe.ask(type_, payload)
            except Refused:
                continue
            assert answer.get("room", channel.lower()) == channel.lower() != channel, type_
        assert channel not in zoe.client.rooms
        assert ("general" in zoe.client.rooms) == (channel == "General")
        listed = (await zoe.ask("list_rooms", {}))["rooms"]
        assert channel not in [each["room"] for each in listed]
        assert not stage.hub.may(zoe.client, Act.READ, channel) or channel.lower() != channel
        assert await bob.publications() == [1]


async def test_both_formats_are_answered_in_their_own() -> None:
    async with door_at_work() as stage:
        alice = await stage.caller("alice")
        binary = ProtobufDialect(lambda _: True)
        bob = await stage.caller("bob", dialect=binary)
        (asked,) = binary.read(protobuf_publish("chat", b"1"))
        await alice.reply(publish={"channel": "chat", "data": 1})
        stage.core.dispatch.receive(bob.client, asked)  # type: ignore[arg-type]
        await stage.settle()
        assert b"".join(bob.writes) == b"\x04\x08\x01\x42\x00\n"


# What it costs


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="another Python has other bytecodes")
async def test_to_publish_costs_no_more_than_to_send_a_message() -> None:
    async with door_at_work() as stage:
        alice, zoe = await stage.caller("alice"), await stage.client("zoe", V1)
        await alice.subscribe("chat")
        await zoe.join("room")
        (asked,) = alice.client.dialect.read('{"id":7,"publish":{"channel":"chat","data":{"message":"Hello!"}}}')
        sent = '{"type":"send_message","id":"c1","payload":{"message":"Hello!","room":"room"}}'
        costs = []
        for client, text in ((alice.client, asked), (zoe.client, sent)):

            async def cost(count: int, client: Any = client, text: Any = text) -> int:
                with Bytecodes() as counted:
                    for _ in range(count):
                        stage.core.dispatch.receive(client, text)
                    await turns()
                return counted.count

            await cost(2)
            costs.append(await cost(16) - await cost(2))
        assert costs[0] < costs[1] * 1.1
