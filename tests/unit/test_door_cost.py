"""What the second door costs, counted as the path of a message of our own protocol is (`test_hot_path_cost`)."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack
from typing import Any, NamedTuple

import pytest

from hubbub.dialect import V1
from hubbub.door.door import WEBSOCKET_PATH, CentrifugoDoor
from hubbub.door.namespaces import Namespace, Namespaces
from hubbub.door.settings import DoorSettings, Hidden, TokenSettings
from hubbub.wire.request import Request
from unit.hot_path import Bytecodes, Calls, Line, Memory, Scene, set_up, traced, turns
from unit.knocking import SECRET, token

pytestmark = pytest.mark.anyio

in_numbers = pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11),
    reason="another Python has other bytecodes, and other numbers",
)

CHANNEL = "chat"


class DoorCost(NamedTuple):
    """Bytecodes, where nothing else is said; see `test_hot_path_cost.Cost`.

    Attributes:
        connect: from the upgrade request to the answer to `connect`.
        subscribe: one subscription of a channel that others are in.
    """

    alone: int
    message: int
    member: int
    calls: int
    json_read: int
    json_written: int
    connect: int
    subscribe: int
    idle_blocks: int
    idle_bytes: int


NOW = DoorCost(
    alone=1956,
    message=1122,
    member=10,
    calls=45,
    json_read=2,
    json_written=4,
    connect=3433,
    subscribe=3032,
    idle_blocks=31,
    idle_bytes=2828,
)

SLACK = 1.10


def assert_no_dearer(**found: float) -> None:
    """Hold what was counted against the table."""
    now = NOW._asdict()
    dearer = [f"{name}: {count:g}, was {now[name]}" for name, count in found.items() if count > now[name] * SLACK]
    assert not dearer, f"the second door has become dearer: {', '.join(dearer)}"


class DoorLine(Line):
    """A connection of the second door."""

    def __init__(self, number: int) -> None:
        super().__init__(number, CHANNEL, V1)
        self.says = text_of(id=3, publish={"channel": CHANNEL, "data": {"message": "Hello, all of you!"}})
        self.connecting = text_of(id=1, connect={"token": token(sub=self.user)})
        self.subscribing = text_of(id=2, subscribe={"channel": CHANNEL})

    def knock(self) -> Request:
        """The request to upgrade, without anything that says who it is."""
        request = self.request()
        del request.headers["sec-websocket-protocol"]
        return Request("GET", WEBSOCKET_PATH, "", request.headers, self.address)


def text_of(**command: Any) -> bytes:
    """The frame of a command, masked with zeros."""
    text = json.dumps(command, separators=(",", ":")).encode()
    if len(text) < 126:
        return pack("!BBI", 0x81, 0x80 | len(text), 0) + text
    return pack("!BBHI", 0x81, 0x80 | 126, len(text), 0) + text


class DoorScene:
    """A scene whose connections come by the second door."""

    def __init__(self, scene: Scene) -> None:
        namespace = Namespace(
            allow_subscribe_for_client=True, allow_publish_for_client=True, history_size=100, history_ttl=60.0
        )
        settings = DoorSettings(namespaces=Namespaces(namespace), tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)))
        upgrades = scene.upgrades
        self.scene = scene
        self.door = CentrifugoDoor(scene.core, settings, upgrades.door.places, upgrades.sockets, upgrades.tasks)
        upgrades.side_doors = self.door.side_doors
        self.lines = scene.lines

    async def connect(self, line: DoorLine, request: Request) -> None:
        """Come in, and say who it is."""
        self.scene.upgrades.begin(line, request)
        line.feed(line.connecting)
        await turns()

    async def subscribe(self, line: DoorLine) -> None:
        """Subscribe to the channel."""
        line.feed(line.subscribing)
        await self.scene.core.drained()
        await turns()

    async def enter(self, count: int) -> list[DoorLine]:
        """Let so many in, and subscribe them."""
        lines = [DoorLine(number) for number in range(len(self.lines), len(self.lines) + count)]
        for line in lines:
            await self.connect(line, line.knock())
            await self.subscribe(line)
            assert b'"subscribe"' in line.last
        self.lines += lines
        await self.scene.say(list(lines[:1]))
        return lines

    async def bytecodes(self, speakers: list[DoorLine]) -> int:
        """Bytecodes for a publication of each, in one batch, delivered to everybody."""
        self.scene.clear()
        with Bytecodes() as counted:
            await self.scene.say(list(speakers))
        self.assert_delivered()
        return counted.count

    async def calls(self, speakers: list[DoorLine]) -> Calls:
        """Calls for a publication of each."""
        self.scene.clear()
        with Calls() as counted:
            await self.scene.say(list(speakers))
        self.assert_delivered()
        return counted

    def assert_delivered(self) -> None:
        assert all(line.writes for line in self.lines), "it takes more turns of the loop than were counted"


@asynccontextmanager
async def behind_the_door() -> AsyncIterator[DoorScene]:
    """A hub whose connections come by the second door."""
    async with set_up() as scene:
        yield DoorScene(scene)


def each(many: int, few: int, count: int) -> int:
    """What each of `count` more costs."""
    cost, rest = divmod(many - few, count)
    assert rest == 0, f"{many - few} is not {count} times the same"
    return cost


@in_numbers
async def test_a_publication_costs_no_more_than_it_did() -> None:
    async with behind_the_door() as scene:
        lines = await scene.enter(2)
        assert_no_dearer(alone=await scene.bytecodes(lines[:1]))


@in_numbers
async def test_publications_and_members_cost_no_more_than_they_did() -> None:
    async with behind_the_door() as scene:
        lines = await scene.enter(50)
        two, sixteen = await scene.bytecodes(lines[:2]), await scene.bytecodes(lines[:16])
        few, many = await scene.calls(lines[:2]), await scene.calls(lines[:16])
        await scene.enter(50)
        two_to_more = await scene.bytecodes(lines[:2])
    assert_no_dearer(
        message=each(sixteen, two, 14),
        member=each(two_to_more, two, 50),
        calls=each(many.python.total(), few.python.total(), 14),
        json_read=each(many.c["Decoder.decode"], few.c["Decoder.decode"], 14),
        json_written=each(many.c["Encoder.encode"], few.c["Encoder.encode"], 14),
    )


async def test_a_batch_is_one_write_for_each_member() -> None:
    async with behind_the_door() as scene:
        lines = await scene.enter(10)
        scene.scene.clear()
        await scene.scene.say(list(lines[:4]))
        assert [line.writes for line in lines] == [2] * 4 + [1] * 6, "an answer is a write of its own"
        assert len({id(line.last) for line in lines}) == 1


@in_numbers
async def test_the_way_in_costs_no_more_than_it_did() -> None:
    async with behind_the_door() as scene:
        await scene.enter(3)
        line = DoorLine(3)
        request = line.knock()
        with Bytecodes() as connecting:
            await scene.connect(line, request)
        assert b'"connect"' in line.last, "it takes more turns of the loop than were counted"
        with Bytecodes() as subscribing:
            line.feed(line.subscribing)
            await turns()
        assert b'"subscribe"' in line.last
        assert_no_dearer(connect=connecting.count, subscribe=subscribing.count)


@in_numbers
async def test_an_idle_connection_keeps_no_more_than_it_did() -> None:
    with traced():
        async with behind_the_door() as scene:
            lines = [DoorLine(number) for number in range(300)]
            requests = [(line, line.knock()) for line in lines]
            for line, request in requests[:180]:
                await scene.connect(line, request)
                await scene.subscribe(line)
            with Memory() as kept:
                for line, request in requests[180:]:
                    await scene.connect(line, request)
                    await scene.subscribe(line)
    assert_no_dearer(idle_blocks=kept.blocks / 120, idle_bytes=kept.size / 120)
