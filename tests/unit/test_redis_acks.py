"""What a node's bus tells its listener, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from contract.told import DEADLINE_S, Told
from hubbub.engine import Draft
from hubbub.engine.redis import bus as bus_module
from hubbub.engine.redis.bus import RedisBus
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.lane import Kept
from hubbub.engine.redis.masters import Masters
from hubbub.engine.redis.reading import Reading, ReadPage
from hubbub.tasks import Tasks

OWN, OTHER = b"o" * 16, b"x" * 16
GENERATION = 7

pytestmark = pytest.mark.anyio


class Shelf:
    """A log whose rooms are empty until something is put there.

    Attributes:
        reads: the rooms that were read.
    """

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.reads: list[str] = []

    async def place(self, room: str) -> tuple[int, int]:
        return GENERATION, self.last.get(room, 0)

    async def after(self, room: str, _generation: int, _seq: int, _limit: int) -> ReadPage:
        self.reads.append(room)
        return ReadPage(GENERATION, self.last.get(room, 0), 0, True, [], False)


class Bus(RedisBus):
    """A bus without servers: whatever is subscribed to is confirmed at once."""

    def __init__(self, told: Told, shelf: Shelf) -> None:
        self.keys = Keyspace("test", 1)

        @asynccontextmanager
        async def quiet(_partition: int) -> AsyncIterator[None]:
            yield

        super().__init__(OWN, self.keys, cast("Reading", shelf), Tasks(), quiet, lambda _room, _data: None)
        link = SimpleNamespace(say=self._say)
        counts = SimpleNamespace(heard=0, repairs=0)
        self.attach(cast("Masters", SimpleNamespace(of=lambda _: SimpleNamespace(bus=link), counts=counts)), told)

    def _say(self, verb: bytes, *channels: bytes) -> None:
        for channel in channels:
            asyncio.get_running_loop().call_soon(self.on_push, [verb.lower(), channel, 1])

    def publish(self, room: str, first: int, *bodies: bytes) -> None:
        """Let another node have said something."""
        elements = msgspec.msgpack.encode([(1, "percy", "new_message", body) for body in bodies])
        data = OTHER + GENERATION.to_bytes(8) + first.to_bytes(8) + elements
        self.on_push([b"message", self.keys.of_room("c", room), data])


def kept(room: str, before: int, *bodies: bytes) -> Kept:
    return Kept(room, GENERATION, before, 1, [Draft(room, "new_message", body) for body in bodies])


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def bus(told: Told, shelf: Shelf) -> AsyncIterator[Bus]:
    bus = Bus(told, shelf)
    await bus.subscribe("a")
    await bus.subscribe("b")
    yield bus
    bus.detach()
    await bus._tasks.cancel()


async def test_nothing_of_an_append_is_delivered_while_some_of_it_is_held_back(bus: Bus, told: Told) -> None:
    batch = [kept("a", 0, b"mine"), kept("b", 1, b"mine")]
    [waiter] = bus.show(batch)
    assert told.delivered == {}
    bus.publish("a", 2, b"another")
    bus.publish("b", 1, b"another")
    assert waiter.done()
    assert told.delivered == {}, "the append has not returned yet"
    bus.note_returned(batch)
    assert told.delivered == {"a": [1, 2], "b": [1, 2]}


async def test_an_append_of_which_nothing_is_held_back_is_delivered_at_once(bus: Bus, told: Told) -> None:
    assert not bus.show([kept("a", 0, b"mine"), kept("b", 0, b"mine")])
    assert told.delivered == {"a": [1], "b": [1]}


async def test_a_room_that_was_left_while_it_held_back_is_repaired_when_it_is_listened_to_again(
    bus: Bus, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PATIENCE_S", 0.0)
    shelf.last["a"] = 2
    bus.publish("a", 3, b"early")  # its repair begins
    bus.unsubscribe("a")
    await bus.subscribe("a")
    bus.publish("a", 4, b"early again")
    shelf.last["a"] = 4
    async with asyncio.timeout(DEADLINE_S):
        while not shelf.reads:
            await asyncio.sleep(0)
    assert bus.is_open("a")
    await told.exactly(("hole", "a", 3, 4))
