"""What the log and the bus on Redis do when publications are lost, come wrong, or meet rooms that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from contract.told import DEADLINE_S, Told
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Draft
from hubbub.engine.redis.engine import RedisEngine, make_redis_engine
from hubbub.engine.redis.target import parse
from hubbub.testing import Clock
from redis_nodes import new_prefix
from redis_servers import needs_redis, redis_single

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]


class Ears(Told):
    """A listener that counts flushes, and can be waited for.

    Attributes:
        flushed: how many messages of all rooms were delivered when the last flush came.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flushed = 0

    def flush(self) -> None:
        self.flushed = sum(map(len, self.delivered.values()))
        self._changed.set()

    async def heard_up_to(self, room: str, seq: int) -> None:
        """Wait until all up to a seq were delivered and flushed."""
        async with asyncio.timeout(DEADLINE_S):
            while self.delivered.get(room, [0])[-1] < seq or self.flushed < sum(map(len, self.delivered.values())):
                self._changed.clear()
                await self._changed.wait()


class Peer:
    """An engine and its listener; publications that it does not hear can be lost on the way."""

    def __init__(self, engine: RedisEngine) -> None:
        self.engine = engine
        self.ears = Ears()
        self.is_deaf = False
        self._take = engine._bus._on_message
        engine._bus._on_message = self._hear  # type: ignore[method-assign]  # a spy
        self.heard = asyncio.Event()

    def _hear(self, channel: bytes, data: bytes) -> None:
        if not self.is_deaf:
            self._take(channel, data)
        self.heard.set()

    async def misses(self, other: Peer, *drafts: Draft) -> None:
        """Miss what another one appends."""
        self.heard.clear()
        self.is_deaf = True
        await other.engine.append(drafts)
        await self.heard.wait()
        self.is_deaf = False


@pytest.fixture
def url(redis_single: RedisServer) -> str:
    return f"{redis_single.url}?prefix={new_prefix()}"


@asynccontextmanager
async def peer_at(url: str) -> AsyncIterator[Peer]:
    peer = Peer(await make_redis_engine(parse(url), clock=Clock()))
    await peer.engine.open(peer.ears)
    try:
        yield peer
    finally:
        await peer.engine.close()


@pytest.fixture
async def peers(url: str) -> AsyncIterator[list[Peer]]:
    """Two on an empty Redis."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(peer_at(url)) for _ in range(2)]


def draft(room: str = "a", body: bytes = b"{}") -> Draft:
    return Draft(room, "new_message", body, "percy")


async def settled(peer: Peer, tasks: int) -> None:
    """Wait until no more tasks of the engine run than these."""
    async with asyncio.timeout(DEADLINE_S):
        while len(peer.engine._tasks) > tasks:
            await asyncio.sleep(0.001)


async def test_a_room_that_is_left_with_a_hole_is_not_seen_to_any_more(peers: list[Peer]) -> None:
    one, other = peers
    tasks = len(one.engine._tasks)
    await one.engine.subscribe("a")
    await one.misses(other, draft())
    await one.engine.append([draft("b")])
    appending = asyncio.ensure_future(one.engine.append([draft()]))  # it waits until the hole is filled
    while not one.engine._bus._gates["a"].is_holding:
        await asyncio.sleep(0)
    one.engine.unsubscribe("a")
    await appending
    await settled(one, tasks)


async def test_a_room_that_was_left_with_a_hole_is_whole_when_it_is_entered_again(peers: list[Peer]) -> None:
    one, other = peers
    await one.engine.subscribe("a")
    for entered in range(3):
        if entered:
            one.engine.unsubscribe("a")
            await one.engine.subscribe("a")
        await one.misses(other, draft())
        await other.engine.append([draft()])
        async with asyncio.timeout(DEADLINE_S):
            while not one.engine._bus._gates["a"].is_holding:
                await asyncio.sleep(0)
    await one.ears.heard_up_to("a", 6)
    assert one.ears.delivered["a"][-2:] == [5, 6]
