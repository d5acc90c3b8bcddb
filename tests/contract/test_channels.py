"""Channels of the second door, whose names have what names of rooms have not, and who is in them, on every engine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest

from contract.told import Told
from doors import OPEN, Caller, DoorStage, door_at_work
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Draft, Engine, Head, UserList
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.target import is_redis, parse
from hubbub.engine.urls import make_engine
from hubbub.presence import SHADOW
from hubbub.testing import Clock
from redis_nodes import new_prefix
from redis_servers import needs_redis
from walls import Wall

pytestmark = pytest.mark.anyio

NAMES = [
    "chat:a",
    "General",
    "{a}b{c}",
    "{}",
    "$x:y#1,2",
    "a/b?c=%20&d",
    "*[a-z]",
    "~`'\"\\<>",
    "-",
    "=",
    "x" * 255,
]

NAMED = msgspec.structs.replace(OPEN, name="ns")

# As connections are known: JSON, whose texts may be of any characters.
PERCY = '{"user":"percy","client":"1","conn_info":{"a":[1,"+\\u0000-"]}}'
ZOE = '{"user":"Zoë, \\"the\\" 🦊","client":"2"}'


async def test_a_log_may_have_any_name(engine: Engine, told: Told) -> None:
    for name in NAMES:
        await engine.subscribe(name)
        await engine.append([Draft(name, "publication", b'{"data":1}'), Draft(name + "!", "tally", b"{}")])
        head = await engine.head(name)
        page = await engine.read(name, limit=10)
        assert [(message.room, message.seq) for message in page.messages] == [(name, 1)]
        assert (await engine.resume(name, Head(head.epoch, 0), 10)).is_recovered
    assert told.delivered == {name: [1] for name in NAMES}
    assert await engine.room_names(limit=100) == sorted({*NAMES, *(name + "!" for name in NAMES)})
    for name in NAMES:
        engine.cast(name, "tally", b"{}")
    await told.exactly(*(("heard", name, "tally", b"{}") for name in NAMES))


async def test_connections_come_and_go_beside_a_room_of_any_name(engine: Engine, told: Told) -> None:
    expected: list[tuple[str, ...]] = []
    for name in NAMES:
        shadow = SHADOW + name
        await engine.subscribe(shadow)
        engine.enter(shadow, PERCY)
        engine.enter(name, "percy")
        engine.enter(shadow, ZOE)
        assert await engine.members(shadow, 10) == UserList(sorted([PERCY, ZOE]), 2)
        assert await engine.members(name, 10) == UserList(["percy"], 1)
        engine.leave(shadow, PERCY)
        expected += [("came", shadow, PERCY), ("came", shadow, ZOE), ("went", shadow, PERCY)]
        await told.exactly(*expected)
        assert await engine.members(shadow, 10) == UserList([ZOE], 1)
        engine.leave(shadow, ZOE)
        assert await engine.members(shadow, 10) == UserList([], 0)
        expected.append(("went", shadow, ZOE))
    assert await engine.room_names(limit=10) == []


async def test_a_client_finds_again_what_it_has_missed(url: str, clock: Clock, wall: Wall) -> None:
    engine = (
        await make_redis_engine(parse(url), clock=clock, wall=wall)
        if is_redis(url)
        else await make_engine(url, clock=clock, wall=wall)
    )
    async with door_at_work(NAMED, engine=engine, clock=clock) as stage:
        alice, bob = await stage.caller("alice"), await stage.caller("bob")
        first = await alice.subscribe("ns:{a}#1", recoverable=True)
        for number in range(3):
            await bob.reply(publish={"channel": "ns:{a}#1", "data": number})
        assert await alice.publications() == [0, 1, 2]
        await alice.reply(unsubscribe={"channel": "ns:{a}#1"})
        await bob.reply(publish={"channel": "ns:{a}#1", "data": 3})
        place = {"recover": True, "offset": 2, "epoch": first["epoch"]}
        back = await alice.subscribe("ns:{a}#1", recoverable=True, **place)
        assert back["recovered"] is True
        assert [each["data"] for each in back["publications"]] == [2, 3]
        answer = await alice.reply(history={"channel": "ns:{a}#1", "limit": 2, "reverse": True})
        assert [each["offset"] for each in answer["history"]["publications"]] == [4, 3]
        answer = await alice.reply(presence={"channel": "ns:{a}#1"})
        assert list(answer["presence"]["presence"]) == [alice.id]


# Several nodes

DEADLINE_S = 10.0


async def comes(caller: Caller, kind: str) -> str:
    """Wait for a push of a kind that is about a connection; that connection."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for push in await caller.pushes():
                if kind in push:
                    found: str = push[kind]["info"]["client"]
                    return found
            await asyncio.sleep(0.01)


@needs_redis
async def test_who_is_on_another_node_is_seen_and_told_of(redis_single: RedisServer, clock: Clock, wall: Wall) -> None:
    url = f"{redis_single.url}?prefix={new_prefix()}"
    async with AsyncExitStack() as stack:

        async def node() -> DoorStage:
            engine = await make_redis_engine(parse(url), clock=clock, wall=wall)
            return await stack.enter_async_context(door_at_work(engine=engine, clock=clock))

        here, there = await node(), await node()
        alice, bob = await here.caller("alice"), await there.caller("bob", info=b'{"n":1}')
        await alice.subscribe("chat", join_leave=True)
        assert await comes(alice, "join") == alice.id
        await bob.subscribe("chat", join_leave=True)
        assert await comes(alice, "join") == await comes(bob, "join") == bob.id
        answer = await alice.reply(presence={"channel": "chat"})
        assert answer["presence"]["presence"][bob.id] == {"user": "bob", "client": bob.id, "conn_info": {"n": 1}}
        await bob.reply(publish={"channel": "chat", "data": 1})
        bob.hang_up()
        assert await comes(alice, "leave") == bob.id
