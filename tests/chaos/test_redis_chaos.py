"""Nodes and their Redis fail while a hundred clients talk: nothing untold is lost, nothing comes twice or out of order.

HUBBUB_CHAOS=20 runs each scenario twenty times, the long ones too, and prints what was counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

from chaos.crowd import PRESENCE_S, Crowd
from chaos.redis_stage import Load, Nodes, nodes
from chaos.witness import ANSWER_S
from hubbub.cluster.port import HOST
from hubbub.cluster.redis import Appending, RedisServer
from hubbub.engine.redis.keys import Keyspace
from redis_servers import (
    MASTER_NAME,
    RedisCluster,
    SentinelGroup,
    needs_redis,
    redis_cluster,
    redis_pair,
    redis_sentinels,
    redis_server,
    until,
)
from tcp_proxy import TcpProxy, tcp_proxy

ROUNDS = int(os.environ.get("HUBBUB_CHAOS", "0"))
# Nodes have nothing to do but to try again while their Redis is away: of a core, all together.
IDLE_SHARE = 0.6
# A shorter time than this is no measure of it.
MEASURED_S = 2.0

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@dataclass
class Stage:
    """What a fault can be made of.

    Attributes:
        busiest: how much of a core all nodes together have used at most while their Redis was away.
        slowest_s: how long it has taken at most until all knew who was there.
    """

    nodes: Nodes
    crowd: Crowd
    busiest: float = 0.0
    slowest_s: float = 0.0
    visits: list[asyncio.Task[None]] = field(default_factory=list)


Fault = Callable[[Stage], Awaitable[None]]


@dataclass
class Scene:
    """What runs before anything fails.

    Attributes:
        urls: the engine of each node.
        fault: makes something fail, and work again.
        args: more flags of the nodes.
        may_lose: whether acked messages may be lost, where those concerned are told.
    """

    urls: Sequence[str]
    fault: Fault
    may_lose: bool = False
    rooms: int = 5
    args: Sequence[str] = field(default_factory=tuple)


async def away(stage: Stage, seconds: float) -> None:
    """Let some time pass in which the servers are away: who asks is answered, and nobody is busy."""
    stage.visits.append(asyncio.create_task(stage.crowd.come_elsewhere()))
    with Load(stage.nodes) as load:
        await asyncio.sleep(seconds)  # the length of the fault, which is what is tested
    if seconds >= MEASURED_S:
        stage.busiest = max(stage.busiest, load.share)
        assert load.share < IDLE_SHARE


# One server


@contextmanager
def node_killed(folder: Path) -> Iterator[Scene]:
    async def fault(stage: Stage) -> None:
        await asyncio.to_thread(stage.nodes.kill, 0)
        await stage.crowd.until_some_are_acked()
        await asyncio.to_thread(stage.nodes.start, 0)

    with redis_server(folder / "redis", appending="everysec") as server:
        yield Scene([server.url] * 2, fault)


@contextmanager
def redis_killed(folder: Path, appending: Appending, seconds: float = 0.3) -> Iterator[Scene]:
    with redis_server(folder / "redis", appending=appending) as server:

        async def fault(stage: Stage) -> None:
            await asyncio.to_thread(server.kill)
            await away(stage, seconds)
            await asyncio.to_thread(server.start)

        yield Scene([server.url] * 2, fault)


@contextmanager
def scripts_flushed(folder: Path) -> Iterator[Scene]:
    with redis_server(folder / "redis", appending="everysec") as server:

        async def fault(stage: Stage) -> None:
            for _ in range(20):
                await asyncio.to_thread(server.ask, "SCRIPT", "FLUSH")
                await stage.crowd.until_some_are_acked(5)

        yield Scene([server.url] * 2, fault)


@contextmanager
def memory_full(folder: Path) -> Iterator[Scene]:
    with redis_server(folder / "redis", appending="everysec") as server:

        async def fault(stage: Stage) -> None:
            crowd = stage.crowd
            await asyncio.to_thread(server.ask, "CONFIG", "SET", "maxmemory", 1)
            try:
                await crowd.until_counted("unavailable", 20)
                for number in range(len(stage.nodes.ports)):
                    await asyncio.to_thread(until, "it is not ready", lambda: not stage.nodes.is_ready(number))  # noqa: B023  # ends here
                witness = crowd.witnesses[0]
                answer = await witness.ask("history", {"room": next(iter(witness.views)), "limit": 50})
                assert answer["type"] == "ack"
                await crowd.hear_each_other()
            finally:
                await asyncio.to_thread(server.ask, "CONFIG", "SET", "maxmemory", 0)
            for number in range(len(stage.nodes.ports)):
                await asyncio.to_thread(until, "it is ready", lambda: stage.nodes.is_ready(number))  # noqa: B023  # ends here

        yield Scene([server.url] * 2, fault)


# Links


@contextmanager
def link_cut(folder: Path, seconds: float, cut: Callable[[TcpProxy], None] = TcpProxy.cut) -> Iterator[Scene]:
    with redis_server(folder / "redis", appending="everysec") as server, tcp_proxy(server.port) as proxy:

        async def fault(stage: Stage) -> None:
            before = sum(witness.visits for witness in stage.crowd.witnesses)
            cut(proxy)
            await away(stage, seconds)
            is_ready = await asyncio.to_thread(stage.nodes.is_ready, 0)
            proxy.heal()
            assert is_ready == (cut is slow_down)
            assert sum(witness.visits for witness in stage.crowd.witnesses) == before, "clients stay"

        yield Scene([f"redis://{HOST}:{proxy.port}", server.url], fault)


def slow_down(proxy: TcpProxy) -> None:
    proxy.delay(0.5)


@contextmanager
def node_paused(folder: Path, seconds: float) -> Iterator[Scene]:
    with redis_server(folder / "redis", appending="everysec") as server:

        async def fault(stage: Stage) -> None:
            port = stage.nodes.ports[0]
            for witness in stage.crowd.witnesses:
                witness.patience_s = ANSWER_S + seconds
            os.kill(stage.nodes.pid(0), signal.SIGSTOP)
            try:
                others = [witness for witness in stage.crowd.witnesses if witness.port != port]
                took = await stage.crowd.until_presence_is_right(others)
                stage.slowest_s = max(stage.slowest_s, took)
                await asyncio.sleep(max(0.0, seconds - took))  # the length of the fault, which is what is tested
            finally:
                os.kill(stage.nodes.pid(0), signal.SIGCONT)

        yield Scene([server.url] * 2, fault)


# A master and a replica


@contextmanager
def master_replaced(folder: Path, *, is_behind: bool) -> Iterator[Scene]:
    """The master dies and its replica is promoted by hand; the nodes reach them by a proxy in front."""
    with (
        redis_pair(folder / "redis", appending="everysec") as pair,
        tcp_proxy(pair.master.port) as front,
        tcp_proxy(pair.master.port) as link,
    ):
        servers = [pair.master, pair.replica]
        servers[1].ask("REPLICAOF", HOST, link.port)
        until("it follows", lambda: follows(servers[1]))

        async def fault(stage: Stage) -> None:
            old, new = servers
            if is_behind:
                link.hold()
                await stage.crowd.until_some_are_acked(20)
            await asyncio.to_thread(old.kill)
            await asyncio.to_thread(new.ask, "REPLICAOF", "NO", "ONE")
            front.point_at(new.port)
            front.drop()
            link.drop()
            link.heal()
            link.point_at(new.port)
            await asyncio.to_thread(old.start)
            await asyncio.to_thread(old.ask, "REPLICAOF", HOST, link.port)
            await asyncio.to_thread(until, "it follows", lambda: follows(old))
            servers.reverse()

        yield Scene([f"redis://{HOST}:{front.port}"] * 2, fault, may_lose=True)


def follows(server: RedisServer) -> bool:
    return server.facts("replication").get("master_link_status") == "up"


@contextmanager
def sentinel(
    folder: Path, replace: Callable[[SentinelGroup], None], settings: Mapping[str, int] = MappingProxyType({})
) -> Iterator[Scene]:
    with redis_sentinels(folder / "redis", appending="everysec", settings=dict(settings)) as group:
        hosts = ",".join(f"{HOST}:{each.port}" for each in group.sentinels)

        async def fault(_stage: Stage) -> None:
            await asyncio.to_thread(replace, group)

        yield Scene([f"redis+sentinel://{hosts}/{MASTER_NAME}"] * 2, fault, may_lose=True)


# A master that was replaced, and comes back before it knows, takes nothing.
RECOMMENDED = {"min-replicas-to-write": 1, "min-replicas-max-lag": 2}


def by_killing(group: SentinelGroup) -> None:
    old = group.master
    old.kill()
    group.wait_for_another(old)
    old.start()
    until("it follows", lambda: follows(old))
    group.wait_until_ready()


def by_pausing(group: SentinelGroup) -> None:
    old = group.master
    old.pause()
    group.wait_for_another(old)
    old.go_on()
    until("it follows", lambda: follows(old))
    group.wait_until_ready()


def by_asking(group: SentinelGroup) -> None:
    old = group.master
    group.fail_over()
    until("it follows", lambda: follows(old))
    group.wait_until_ready()


# A cluster


@contextmanager
def cluster(folder: Path, change: Callable[[RedisCluster, Crowd], None], *, may_lose: bool) -> Iterator[Scene]:
    with redis_cluster(folder / "redis", appending="everysec") as servers:
        hosts = ",".join(f"{HOST}:{each.port}" for each in servers.servers)

        async def fault(stage: Stage) -> None:
            await asyncio.to_thread(change, servers, stage.crowd)

        yield Scene([f"redis://{hosts}"] * 2, fault, may_lose=may_lose, rooms=20)


def move_slots(servers: RedisCluster, crowd: Crowd) -> None:
    """Move the slots of all rooms, one after the other."""
    keys = Keyspace("hubbub", 256)
    masters = [each for each in servers.servers if each.facts("replication")["role"] == "master"]
    for slot in sorted({keys.slot(keys.partition_of(room)) for room in crowd.rooms}):
        source = servers.master_of(slot)
        target = masters[(masters.index(source) + 1) % len(masters)]
        servers.start_moving(slot, target)
        for _ in range(3):
            servers.move_keys(slot, source, target, 2)
        servers.finish_moving(slot, source, target)


def kill_master(servers: RedisCluster, crowd: Crowd) -> None:
    """Kill the master that has the first room, and start it again when its replica has taken over."""
    keys = Keyspace("hubbub", 256)
    slot = keys.slot(keys.partition_of(crowd.rooms[0]))
    old = servers.master_of(slot)
    old.kill()
    until("another one has its slots", lambda: servers.master_of(slot) is not old)
    old.start()
    until("it follows", lambda: follows(old))
    servers.wait_until_well()


# Workers


@contextmanager
def workers_replaced(folder: Path) -> Iterator[Scene]:
    async def fault(stage: Stage) -> None:
        said = "all workers are replaced"
        before = stage.nodes.log(0).count(said)
        refused = stage.crowd.count("refused")
        os.kill(stage.nodes.pid(0), signal.SIGHUP)
        await asyncio.to_thread(until, said, lambda: stage.nodes.log(0).count(said) > before)
        assert stage.crowd.count("refused") == refused

    with redis_server(folder / "redis", appending="everysec") as server:
        yield Scene([server.url], fault, args=("--workers", "2"))


# All of them

Opening = Callable[[Path], AbstractContextManager[Scene]]

SHORT: dict[str, Opening] = {
    "a node killed": node_killed,
    "Redis killed, everysec": lambda folder: redis_killed(folder, "everysec"),
    "a lagging replica promoted": lambda folder: master_replaced(folder, is_behind=True),
    "Sentinel, master killed": lambda folder: sentinel(folder, by_killing),
    "the link of a node cut for 2 s": lambda folder: link_cut(folder, 2.0),
    "scripts flushed": scripts_flushed,
    "memory full": memory_full,
    "workers replaced": workers_replaced,
}
LONG: dict[str, Opening] = {
    "slots moved": lambda folder: cluster(folder, move_slots, may_lose=False),
    "a node paused for 15 s": lambda folder: node_paused(folder, PRESENCE_S),
    "Redis killed, always": lambda folder: redis_killed(folder, "always"),
    "Redis away for 15 s": lambda folder: redis_killed(folder, "everysec", 15.0),
    "a replica promoted": lambda folder: master_replaced(folder, is_behind=False),
    "Sentinel, master killed, a replica needed": lambda folder: sentinel(folder, by_killing, RECOMMENDED),
    "Sentinel, master paused": lambda folder: sentinel(folder, by_pausing),
    "Sentinel, asked to, a replica needed": lambda folder: sentinel(folder, by_asking, RECOMMENDED),
    "Sentinel, asked to": lambda folder: sentinel(folder, by_asking),
    "the link of a node cut for 10 s": lambda folder: link_cut(folder, 10.0),
    "the link of a node silent for 10 s": lambda folder: link_cut(folder, 10.0, TcpProxy.hold),
    "the link of a node delayed by 500 ms": lambda folder: link_cut(folder, 10.0, slow_down),
    "a node paused for 30 s": lambda folder: node_paused(folder, 30.0),
    "a master of a cluster killed": lambda folder: cluster(folder, kill_master, may_lose=True),
}
ONLY_WHEN_ASKED = pytest.mark.skipif(not ROUNDS, reason="takes long: HUBBUB_CHAOS=1, or 20, runs it")


@pytest.mark.parametrize(
    "opening",
    [
        *(pytest.param(opening, id=name) for name, opening in SHORT.items()),
        *(pytest.param(opening, id=name, marks=ONLY_WHEN_ASKED) for name, opening in LONG.items()),
    ],
)
async def test_what_is_promised_holds(opening: Opening, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with ExitStack() as running:
        scene = await asyncio.to_thread(running.enter_context, opening(tmp_path))
        some = await asyncio.to_thread(running.enter_context, nodes(tmp_path, scene.urls, *scene.args))
        async with Crowd(some.ports, scene.rooms) as crowd:
            stage = Stage(some, crowd)
            for round_ in range(max(1, ROUNDS)):
                await crowd.until_some_are_acked()
                await scene.fault(stage)
                stage.slowest_s = max(stage.slowest_s, await crowd.until_presence_is_right())
                await asyncio.gather(*stage.visits)
                await crowd.until_some_are_acked()
                await crowd.settle(may_lose=scene.may_lose)
                some.assert_logs_are_clean()
                figures = f"presence {stage.slowest_s:.1f} s, busy {stage.busiest:.0%}, {dict(crowd.figures)}"
                print(f"\n{request.node.name} round {round_ + 1}: {figures}")
