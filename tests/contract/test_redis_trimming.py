"""Rooms that nobody reads, on Redis: what is too old goes from them all the same."""

from __future__ import annotations

import pytest

from hubbub.cluster.redis import RedisServer
from hubbub.engine import Draft, Head
from hubbub.engine.local import Silent
from hubbub.engine.redis.engine import RedisEngine, make_redis_engine
from hubbub.engine.redis.target import parse
from hubbub.testing import Clock
from redis_nodes import new_prefix
from redis_servers import needs_redis, redis_single

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def prefix() -> str:
    return new_prefix()


async def engine_at(server: RedisServer, prefix: str, clock: Clock) -> RedisEngine:
    engine = await make_redis_engine(parse(f"{server.url}?prefix={prefix}"), clock=clock, wall=clock, keep_s=60)
    await engine.open(Silent())
    return engine


def kept(server: RedisServer, prefix: str, room: str) -> int:
    (key,) = [key for key in keys(server, prefix) if key.endswith(f":l:{room}")] or [""]
    count = server.ask("LLEN", key)
    assert isinstance(count, int)
    return count


def keys(server: RedisServer, prefix: str) -> list[str]:
    found = server.ask("KEYS", f"{prefix}*")
    assert isinstance(found, list)
    return [key.decode() for key in found if isinstance(key, bytes)]


async def test_messages_too_old_go_from_rooms_that_nobody_reads(redis_single: RedisServer, prefix: str) -> None:
    clock = Clock()
    engine = await engine_at(redis_single, prefix, clock)
    other = await engine_at(redis_single, prefix, clock)
    try:
        for room, count in (("idle", 1200), ("both", 700)):
            await engine.append([Draft(room, "m", b"{}") for _ in range(count)])
        clock.go(59)
        await engine.append([Draft("both", "m", b"{}") for _ in range(3)])
        clock.go(30)
        engine._cutoff_ms()  # the clock has to be believed first
        clock.go(31)
        await engine.trimming.sweep()
        assert [kept(redis_single, prefix, room) for room in ("idle", "both")] == [0, 0]
        assert (await engine.head("both")).seq == 703
    finally:
        await engine.close()
        await other.close()


async def test_a_page_begins_with_the_first_that_is_not_too_old(redis_single: RedisServer, prefix: str) -> None:
    clock = Clock()
    engine = await engine_at(redis_single, prefix, clock)
    try:
        await engine.append([Draft("a", "m", b"{}") for _ in range(900)])
        clock.go(61)
        engine._cutoff_ms()
        await engine.append([Draft("a", "m", b"{}") for _ in range(5)])
        generation = (await engine.head("a")).epoch
        for _ in range(3):  # as many reads as it takes to drop what is too old
            page = await engine.read("a", after=0, limit=100)
            assert ([message.seq for message in page.messages], page.more) == ([901, 902, 903, 904, 905], False)
            resumed = await engine.resume("a", Head(generation, 700), 2)
            assert ([message.seq for message in resumed.page.messages], resumed.is_recovered) == ([904, 905], False)
            assert (await engine.resume("a", Head(generation, 900), 10)).is_recovered
    finally:
        await engine.close()
