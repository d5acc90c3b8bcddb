"""Every engine, one after the other.

A test asks for `engine`, perhaps for `told`, what the engine's listener was told, for `break_appends`, which makes the
engine fail, and for `restart`; a test of failures is skipped for an engine that has no way to fail, and a test of
restarts for one that keeps nothing.  Time goes by `clock`; `wall` goes with it, and jumps.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.told import BreakAppends, Lives, Restart, Told
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Engine, folding
from hubbub.engine.journal import JournalFile
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.master import NotDone, ShardCall
from hubbub.engine.redis.masters import Masters
from hubbub.engine.redis.target import is_redis, parse
from hubbub.engine.urls import make_engine
from hubbub.testing import Clock
from redis_servers import RedisCluster, needs_redis, redis_cluster, redis_single
from walls import Wall

__all__ = ["redis_single"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wall(clock: Clock) -> Wall:
    return Wall(clock)


@pytest.fixture
def told() -> Told:
    return Told()


# The last SQLite folds its journal after every batch, a message at a time.
ENGINES = [
    "memory://",
    "sqlite:///{}/log.db",
    "sqlite:///{}/log.db?durability=full",
    "sqlite:///{}/folding.db",
    pytest.param("redis", marks=needs_redis),
    pytest.param("redis cluster", marks=[needs_redis, pytest.mark.thorough]),
]

prefixes = itertools.count()


@pytest.fixture(scope="session")
def redis_cluster_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster of 3 masters and 3 replicas for all tests, each with a prefix of its own."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine's URL; what it names is empty."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_single")
        return f"{server.url}?prefix=t{next(prefixes)}"
    if request.param == "redis cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster_for_all")
        return f"{cluster.url}?prefix=t{next(prefixes)}"
    if "folding" in request.param:
        monkeypatch.setattr(folding, "FOLD_MESSAGES", 1)
        monkeypatch.setattr(folding, "FOLD_ROWS", 1)
    return str(request.param).format(tmp_path)


@pytest.fixture
def keep() -> int:
    """How many messages a room keeps; a test parametrizes it where that matters."""
    return 0


@pytest.fixture
def keep_s() -> float:
    """How many seconds a message is kept; a test parametrizes it where that matters."""
    return 0


@pytest.fixture
async def lives(url: str, keep: int, keep_s: float, clock: Clock, wall: Wall, told: Told) -> AsyncIterator[Lives]:
    async def make() -> Engine:
        if is_redis(url):
            return await make_redis_engine(parse(url), clock=clock, wall=wall, keep=keep, keep_s=keep_s)
        return await make_engine(url, clock=clock, wall=wall, keep=keep, keep_s=keep_s)

    lives = Lives(make, told)
    await lives.restart()
    yield lives
    await lives.close()


@pytest.fixture
def engine(lives: Lives) -> Engine:
    """An open engine that tells `told`."""
    return lives.engine


@pytest.fixture
def restart(url: str, lives: Lives) -> Restart:
    """`await restart()` closes the engine and opens another one on what it has kept."""
    if url.startswith("memory"):
        pytest.skip("it keeps nothing")
    return lives.restart


@pytest.fixture
def break_appends(url: str, monkeypatch: pytest.MonkeyPatch) -> BreakAppends:
    """`break_appends(count)` makes the next batches fail."""
    if is_redis(url):
        return break_redis(monkeypatch)
    if not url.startswith("sqlite"):
        pytest.skip("it cannot fail")
    failing, write = 0, JournalFile.write

    def write_or_fail(self: JournalFile, payload: bytes) -> None:
        nonlocal failing
        if failing:
            failing -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, payload)

    def break_appends(count: int) -> None:
        nonlocal failing
        failing = count

    monkeypatch.setattr(JournalFile, "write", write_or_fail)
    return break_appends


def break_redis(monkeypatch: pytest.MonkeyPatch) -> BreakAppends:
    """Let Redis refuse batches as one does whose memory is full."""
    failing, run = 0, Masters.run

    async def run_or_fail(self: Masters, call: ShardCall, *, within_s: float) -> Any:
        nonlocal failing
        if failing and call.script.name == "append":
            failing -= 1
            raise NotDone("OOM command not allowed", may_be=False)
        return await run(self, call, within_s=within_s)

    def break_appends(count: int) -> None:
        nonlocal failing
        failing = count

    monkeypatch.setattr(Masters, "run", run_or_fail)
    return break_appends
