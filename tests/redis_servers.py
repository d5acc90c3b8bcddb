"""Redis servers for tests: one, a master with replicas, watched by Sentinels, and a cluster.

All are processes on free ports of 127.0.0.1 in folders of their own, and end with the block that they are used in, or
with the process of the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub.cluster.command import CommandFailed
from hubbub.cluster.port import HOST
from hubbub.cluster.redis import HOW_TO_GET_IT, NoRedis, RedisServer, find_server

__all__ = [
    "MASTER_NAME",
    "SLOTS",
    "RedisCluster",
    "RedisPair",
    "SentinelGroup",
    "needs_redis",
    "redis_cluster",
    "redis_pair",
    "redis_sentinels",
    "redis_server",
    "redis_single",
    "role",
    "until",
]

WAIT_S = 30.0
SLOTS = 16_384
# Sentinels' name of the master.
MASTER_NAME = "hubbub"

# How soon servers miss each other: milliseconds.
NODE_TIMEOUT_MS = 2_000
DOWN_AFTER_MS = 1_000
# A replica gets its copy at once: by default a master waits 5 seconds for more replicas.
REPLICATION = {"repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
CLUSTER = REPLICATION | {
    "cluster-enabled": "yes",
    "cluster-node-timeout": NODE_TIMEOUT_MS,
    "cluster-config-file": "nodes.conf",
}


def has_server() -> bool:
    try:
        find_server()
    except NoRedis:
        return False
    return True


needs_redis = pytest.mark.skipif(not has_server(), reason=HOW_TO_GET_IT)


def until(what: str, is_so: Callable[[], bool], limit_s: float = WAIT_S) -> None:
    """Wait until something is so; what a server that is not up yet answers counts as no."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if is_so():
                return
        except (OSError, CommandFailed):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"after {limit_s:g} s it is not so: {what}")
        # Servers tell nobody of these things: there is no event to wait for.
        time.sleep(0.02)


@contextmanager
def redis_server(folder: Path, **options: Any) -> Iterator[RedisServer]:
    """A server that is up; the options are those of `RedisServer`."""
    server = RedisServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def redis_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that only want one, each with a prefix of its own or after FLUSHALL."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


# A master and its replicas


class RedisPair:
    """A master and a replica that follows it.

    Attributes:
        master, replica: as they were at the start, whatever has been promoted since.
    """

    def __init__(self, master: RedisServer, replica: RedisServer) -> None:
        self.master = master
        self.replica = replica

    def follow(self) -> None:
        """Let the replica follow the master, and wait until it is in step."""
        follow(self.replica, self.master)
        self.wait_in_step()

    def promote(self) -> None:
        """Make the replica a master, whatever it has got by now."""
        self.replica.ask("REPLICAOF", "NO", "ONE")

    def wait_in_step(self) -> None:
        """Wait until the replica has all that the master has now."""
        wanted = int(self.master.facts("replication")["master_repl_offset"])
        until("the replica is in step", lambda: offset(self.replica) >= wanted)


@contextmanager
def redis_pair(folder: Path, **options: Any) -> Iterator[RedisPair]:
    """A master and its replica, in step; the options are those of `RedisServer`, for both."""
    with ExitStack() as running:
        master, replica = (
            running.enter_context(redis_server(folder / name, **with_settings(options, REPLICATION)))
            for name in ("master", "replica")
        )
        pair = RedisPair(master, replica)
        pair.follow()
        yield pair


def follow(replica: RedisServer, master: RedisServer) -> None:
    replica.ask("REPLICAOF", HOST, master.port)
    until("the replica has its copy", lambda: replica.facts("replication")["master_link_status"] == "up")


def offset(replica: RedisServer) -> int:
    return int(replica.facts("replication").get("slave_repl_offset", -1))


# Sentinels


class SentinelGroup:
    """A master, replicas and Sentinels that watch over them, under the name `MASTER_NAME`.

    Attributes:
        servers: the first master and its replicas.
        sentinels: they agree when two of them do.
    """

    def __init__(self, servers: Sequence[RedisServer], sentinels: Sequence[RedisServer]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def master(self) -> RedisServer:
        """The one that the first Sentinel says is master."""
        found = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        assert isinstance(found, list)
        port = int(text(found[1]))
        return next(server for server in self.servers if server.port == port)

    def fail_over(self) -> None:
        """Let the Sentinels promote a replica of a master that is well, and wait until they have."""
        before = self.master
        self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER_NAME)
        self.wait_for_another(before)

    def wait_for_another(self, before: RedisServer) -> RedisServer:
        """Wait until another one than `before` is master for all Sentinels, and says so itself; it."""
        until("there is another master", lambda: self.master is not before and role(self.master) == "master")
        return self.master

    def wait_until_ready(self) -> None:
        """Wait until each Sentinel knows the other ones and every replica."""
        until("Sentinels know all", lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def _knows_all(self, sentinel: RedisServer) -> bool:
        reply = sentinel.ask("SENTINEL", "MASTER", MASTER_NAME)
        assert isinstance(reply, list)
        words = [text(word) for word in reply]
        known = dict(zip(words[::2], words[1::2], strict=True))
        return (
            int(known["num-slaves"]) == len(self.servers) - 1
            and int(known["num-other-sentinels"]) == len(self.sentinels) - 1
        )


@contextmanager
def redis_sentinels(folder: Path, *, replicas: int = 1, sentinels: int = 3, **options: Any) -> Iterator[SentinelGroup]:
    """A master with replicas, watched by Sentinels; the options are those of `RedisServer`, for master and replicas."""
    with ExitStack() as running:
        servers = [
            running.enter_context(redis_server(folder / f"server{number}", **with_settings(options, REPLICATION)))
            for number in range(replicas + 1)
        ]
        for replica in servers[1:]:
            follow(replica, servers[0])
        watch = {
            "sentinel monitor": f"{MASTER_NAME} {HOST} {servers[0].port} {sentinels // 2 + 1}",
            "sentinel down-after-milliseconds": f"{MASTER_NAME} {DOWN_AFTER_MS}",
            "sentinel failover-timeout": f"{MASTER_NAME} 5000",
        }
        if (password := options.get("password")) is not None:
            watch["sentinel auth-pass"] = f"{MASTER_NAME} {password}"
        watchers = [
            running.enter_context(redis_server(folder / f"sentinel{number}", settings=watch, is_sentinel=True))
            for number in range(sentinels)
        ]
        group = SentinelGroup(servers, watchers)
        group.wait_until_ready()
        yield group


# A cluster


class RedisCluster:
    """Masters that share the slots, and their replicas.

    Attributes:
        servers: first the masters of the start, then a replica for each.
    """

    def __init__(self, servers: Sequence[RedisServer], masters: int) -> None:
        self.servers = servers
        self._masters = masters

    @property
    def url(self) -> str:
        """The cluster, by the masters of the start."""
        return "redis://" + ",".join(f"{HOST}:{server.port}" for server in self.servers[: self._masters])

    def form(self) -> None:
        """Make a cluster of them, and wait until all say that it is well."""
        first, *others = self.servers
        for number, server in enumerate(self.servers[: self._masters]):
            low, high = (SLOTS * each // self._masters for each in (number, number + 1))
            server.ask("CLUSTER", "ADDSLOTSRANGE", low, high - 1)
            # They agree sooner when no two begin with the same number.
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in others:
            server.ask("CLUSTER", "MEET", HOST, first.port, bus_port(first))
        for master, replica in zip(self.servers, self.servers[self._masters :], strict=False):
            until("the replica knows its master", lambda: self._replicate(replica, master))  # noqa: B023  # ends here
        self.wait_until_well()

    def wait_until_well(self) -> None:
        """Wait until every slot is served, replicas follow, and all servers that run agree on who serves what."""
        running = [server for server in self.servers if server.is_running]
        until("the cluster is well", lambda: all(map(self._is_well, running)) and len(set(map(view, running))) == 1)

    def master_of(self, slot: int) -> RedisServer:
        """The one that serves a slot now, as a server knows it that runs."""
        witness = next(server for server in self.servers if server.is_running)
        for low, high, port in view(witness):
            if low <= slot <= high:
                return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody serves slot {slot}")

    def wait_for_another(self, slot: int, before: RedisServer) -> RedisServer:
        """Wait until another one than `before` serves a slot, and all is well; it."""
        until("the slot has another master", lambda: self.master_of(slot) is not before)
        self.wait_until_well()
        return self.master_of(slot)

    def replicas_of(self, master: RedisServer) -> list[RedisServer]:
        """Those that follow a master now."""
        return [
            server
            for server in self.servers
            if server.is_running
            and (said := server.facts("replication"))["role"] == "slave"
            and int(said["master_port"]) == master.port
        ]

    def fail_over(self, replica: RedisServer, *words: str) -> None:
        """Make a replica the master of its slots (`CLUSTER FAILOVER`, with FORCE or TAKEOVER), and wait until it is."""
        replica.ask("CLUSTER", "FAILOVER", *words)
        until("the replica is master", lambda: role(replica) == "master")
        self.wait_until_well()

    def start_moving(self, slot: int, target: RedisServer) -> RedisServer:
        """Begin to move a slot to another master, with its keys where they are; the master that it leaves."""
        source = self.master_of(slot)
        assert source is not target
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
        return source

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer, most: int = 100) -> int:
        """Move so many keys of a slot that is being moved; how many there were."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, most)
        assert isinstance(keys, list)
        if keys:
            # Keys of this project are text.
            source.ask("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *(text(key) for key in keys))
        return len(keys)

    def finish_moving(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move what is left of a slot, and hand it over."""
        while self.move_keys(slot, source, target):
            pass
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))

    def move(self, slot: int, target: RedisServer) -> None:
        """Move a slot with its keys to another master."""
        source = self.start_moving(slot, target)
        self.finish_moving(slot, source, target)
        self.wait_until_well()

    def flush(self) -> None:
        """Forget all keys."""
        for server in self.servers:
            if server.is_running and role(server) == "master":
                server.ask("FLUSHALL")

    def _replicate(self, replica: RedisServer, master: RedisServer) -> bool:
        replica.ask("CLUSTER", "REPLICATE", node_id(master))
        return True

    def _is_well(self, server: RedisServer) -> bool:
        reply = server.ask("CLUSTER", "INFO")
        assert isinstance(reply, bytes)
        said = server.facts("replication")
        return (
            b"cluster_state:ok" in reply
            and f"cluster_known_nodes:{len(self.servers)}".encode() in reply
            and said.get("master_link_status", "up") == "up"
            # A replica is no master yet that was not told so.
            and (said["role"] == "slave" or b"cluster_slots_assigned:16384" in reply)
        )


@contextmanager
def redis_cluster(folder: Path, *, masters: int = 3, **options: Any) -> Iterator[RedisCluster]:
    """A cluster of masters with a replica each; the options are those of `RedisServer`, for all."""
    with ExitStack() as running:
        servers = [
            running.enter_context(redis_server(folder / f"server{number}", **with_settings(options, CLUSTER)))
            for number in range(2 * masters)
        ]
        cluster = RedisCluster(servers, masters)
        cluster.form()
        yield cluster


# What the servers say


def role(server: RedisServer) -> str:
    """`master` or `slave`."""
    return server.facts("replication")["role"]


def node_id(server: RedisServer) -> str:
    return text(server.ask("CLUSTER", "MYID"))


def view(server: RedisServer) -> tuple[tuple[int, int, int], ...]:
    """Who serves what, as a server of a cluster knows it: the first and the last slot, and the master's port."""
    ranges = server.ask("CLUSTER", "SLOTS")
    assert isinstance(ranges, list)
    # Each is [first, last, [address, port, ...], replicas ...].
    found: list[Any] = ranges
    return tuple(sorted((low, high, master[1]) for low, high, master, *_replicas in found))


def bus_port(server: RedisServer) -> int:
    reply = server.ask("CONFIG", "GET", "cluster-port")
    assert isinstance(reply, list)
    return int(text(reply[1]))


def text(word: object) -> str:
    assert isinstance(word, bytes)
    return word.decode()


def with_settings(options: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The options of a server with more settings below its own."""
    return options | {"settings": settings | options.get("settings", {})}
