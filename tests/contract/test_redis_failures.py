"""What a Redis does that fails, moves, fills up or is another one than it was; and those that cannot be used."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.certs import Names, local_certificate
from hubbub.cluster.port import free_port
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Grant
from hubbub.engine.redis import servers as starting
from hubbub.engine.redis.calls import MOST_CONNECTIONS
from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.servers import connect
from hubbub.engine.redis.target import parse
from hubbub.engine.redis.vault import open_vault
from hubbub.errors import ConfigError, EngineError, NotKept, NotKnown
from hubbub.testing import Clock
from redis_nodes import Node, new_prefix, node_at
from redis_servers import (
    MASTER_NAME,
    RedisCluster,
    needs_redis,
    redis_cluster,
    redis_pair,
    redis_sentinels,
    redis_server,
    redis_single,
)

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]

PERCY = Grant("percy", "session")


@pytest.fixture
def url(redis_single: RedisServer) -> str:
    return f"{redis_single.url}?prefix={new_prefix()}"


async def works(node: Node) -> bool:
    """Whether sessions are kept and found, and users are."""
    await node.vault.put_session(PERCY, 1000)
    node.attendance.enter("a", "percy")
    users = (await node.attendance.members("a", 10)).users
    return await node.vault.session("session") == PERCY and users == ["percy"]


# Failing for a while


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(redis_single: RedisServer, url: str) -> None:
    async with node_at(url) as node:
        for _ in range(3):
            redis_single.ask("SCRIPT", "FLUSH")
            assert await works(node)


async def test_a_call_waits_for_a_server_that_is_started_again(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", appending="always") as server:
        async with node_at(server.url) as node:
            assert await works(node)
            server.kill()
            asked = asyncio.ensure_future(node.vault.session("session"))
            marked = asyncio.ensure_future(node.marks.mark_read("a", "percy", 5))
            await asyncio.to_thread(server.start)
            assert await asked == PERCY
            assert await marked == 5
            assert node.calls.is_up


async def test_what_was_not_sent_was_not_kept(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with node_at(server.url) as node:
            assert await works(node)
            node.calls.patience_s = 0.1
            server.kill()
            with pytest.raises(EngineError):  # on a connection whose end nobody has seen yet
                await node.vault.has_accounts()
            with pytest.raises(NotKept):
                await node.vault.put_session(PERCY, 1000)
            assert not node.calls.is_up
            server.start()
            node.calls.patience_s = 10
            await node.vault.has_accounts()
            assert node.calls.is_up


async def test_what_was_sent_and_not_answered_is_not_known(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with node_at(server.url) as node:
            assert await works(node)
            await node.vault.issue_otp("otp", PERCY, ttl_s=60, per_account=0, in_all=0)
            await asyncio.gather(*(node.vault.has_accounts() for _ in range(2)))  # two connections
            node.calls.patience_s = 0.1
            server.pause()
            for call in (node.vault.take_otp("otp"), node.vault.put_session(Grant("percy", "other"), 1000)):
                with pytest.raises(NotKnown):
                    await call
            server.go_on()
            node.calls.patience_s = 10
            assert await node.vault.take_otp("otp") in (PERCY, None)
            await node.vault.put_session(Grant("percy", "other"), 1000)
            assert await node.vault.session("other") == Grant("percy", "other")


async def test_what_cannot_be_repeated_is_not_known_when_its_answer_is_lost(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", appending="always") as server:
        async with node_at(server.url) as node:
            assert await works(node)
            await node.vault.issue_otp("otp", PERCY, ttl_s=60, per_account=0, in_all=0)
            server.pause()
            taking = asyncio.ensure_future(node.vault.take_otp("otp"))
            while not node.calls._pools or all(
                pool._free._value == MOST_CONNECTIONS for pool in node.calls._pools.values()
            ):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            server.kill()
            await asyncio.to_thread(server.start)
            with pytest.raises(NotKnown):
                await taking


async def test_a_full_memory_refuses_what_adds_and_lets_what_removes_be_done(redis_single: RedisServer) -> None:
    async with node_at(f"{redis_single.url}?prefix={new_prefix()}") as node:
        assert await works(node)
        redis_single.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(NotKept, match="memory is full"):
                await node.vault.put_session(Grant("percy", "other"), 1000)
            assert not node.calls.is_up
            assert await node.vault.session("session") == PERCY
            await node.attendance.leases.renew()
            node.attendance.leave("a", "percy")
            assert (await node.attendance.members("a", 10)).users == []
            await node.vault.end_session("session")
            assert await node.vault.session("session") is None
            with pytest.raises(NotKept):
                await node.calls.probe_if_full()
        finally:
            redis_single.ask("CONFIG", "SET", "maxmemory", 0)
        await node.calls.probe_if_full()
        assert node.calls.is_up


async def test_a_call_that_is_given_up_leaves_the_others_alone(url: str) -> None:
    async with node_at(url) as node:
        await node.vault.put_session(PERCY, 1000)
        for turns in range(8):
            calls = [asyncio.ensure_future(node.vault.session("session")) for _ in range(30)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[::3]:
                call.cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert done.count(PERCY) >= 20


# Masters that are others than they were


async def test_of_several_hosts_the_master_is_used(tmp_path: Path) -> None:
    with redis_pair(tmp_path) as pair:
        hosts = f"127.0.0.1:{pair.replica.port},127.0.0.1:{pair.master.port}"
        async with node_at(f"redis://{hosts}") as node:
            assert await works(node)
            pair.wait_in_step()
            pair.promote()
            pair.master.ask("REPLICAOF", "127.0.0.1", pair.replica.port)
            assert await works(node)
            pair.master.kill()
            assert await works(node)


async def test_a_failover_by_sentinel_is_followed(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path, password="hidden") as group:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in group.sentinels)
        async with node_at(f"redis+sentinel://:hidden@{hosts}/{MASTER_NAME}") as node:
            assert await works(node)
            await asyncio.to_thread(group.fail_over)
            assert await works(node)
            master = group.master
            master.kill()
            waiting = asyncio.ensure_future(works(node))
            await asyncio.to_thread(group.wait_for_another, master)
            await asyncio.gather(waiting, return_exceptions=True)
            assert await works(node)


# A cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def url_of(cluster: RedisCluster) -> str:
    return f"redis://127.0.0.1:{cluster.servers[4].port}?prefix={new_prefix()}"


async def test_a_cluster_has_the_vault_and_the_users_of_many_rooms(cluster: RedisCluster, clock: Clock) -> None:
    url = url_of(cluster)
    async with node_at(url, clock) as one, node_at(url, clock) as other:
        assert one.calls.servers.is_cluster
        assert await works(one)
        rooms = [f"room {number}" for number in range(300)]
        for room in rooms:
            one.attendance.enter(room, "percy")
            other.attendance.enter(room, "alice")
        for node in (one, other):
            await asyncio.gather(*(node.attendance.members(room, 10) for room in rooms))
        for room in rooms:
            assert (await other.attendance.members(room, 10)).users == ["alice", "percy"]
        await one.die()
        clock.go(7)
        await other.attendance.beat()
        await other.attendance.leases.swept()
        for room in rooms:
            assert (await other.attendance.members(room, 10)).users == ["alice"]
        assert await other.marks.mark_read("room 1", "percy", 7) == 7
        await other.marks.forget_user("percy")
        assert await other.marks.read_mark("room 1", "percy") == 0


async def test_calls_go_on_while_a_slot_is_moved(cluster: RedisCluster) -> None:
    async with node_at(url_of(cluster)) as node:
        assert await works(node)
        source = cluster.master_of(VAULT_SLOT)
        target = next(server for server in cluster.servers[:3] if server is not source)
        for here, there in ((source, target), (target, source)):
            cluster.start_moving(VAULT_SLOT, there)
            issued = [
                asyncio.ensure_future(
                    node.vault.issue_otp(f"{here.port} {n}", PERCY, ttl_s=60, per_account=0, in_all=0)
                )
                for n in range(50)
            ]
            await asyncio.to_thread(cluster.finish_moving, VAULT_SLOT, here, there)
            assert await asyncio.gather(*issued) == [None] * 50
            taken = await asyncio.gather(*(node.vault.take_otp(f"{here.port} {n}") for n in range(50)))
            assert taken == [PERCY] * 50


async def test_a_key_that_has_moved_before_its_slot_is_found(cluster: RedisCluster) -> None:
    async with node_at(url_of(cluster)) as node:
        keys = node.calls.servers.keys
        slot = keys.slot(keys.partition_of("a"))
        await node.marks.mark_read("a", "percy", 5)
        source = cluster.master_of(slot)
        target = next(server for server in cluster.servers[:3] if server is not source)
        cluster.start_moving(slot, target)
        await asyncio.to_thread(cluster.move_keys, slot, source, target)
        assert await node.marks.read_mark("a", "percy") == 5
        assert await node.marks.mark_read("a", "percy", 7) == 7
        await asyncio.to_thread(cluster.finish_moving, slot, source, target)
        assert await node.marks.read_mark("a", "percy") == 7


async def test_a_failover_in_a_cluster_is_followed(cluster: RedisCluster) -> None:
    async with node_at(url_of(cluster)) as node:
        assert await works(node)
        master = cluster.master_of(VAULT_SLOT)
        replica = cluster.replicas_of(master)[0]
        await asyncio.to_thread(cluster.fail_over, replica)
        assert await works(node)
        assert await asyncio.to_thread(cluster.wait_for_another, VAULT_SLOT, master) is replica
        assert await works(node)


# Those that cannot be used


async def refused(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        await connect(parse(url))
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    return str(caught.value)


async def test_a_wrong_or_missing_password_is_said(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", password="hidden") as server:
        where = f"127.0.0.1:{server.port}"
        assert "the user or the password is wrong" in await refused(f"redis://:hiddenhidden@{where}")
        assert "the user or the password is wrong" in await refused(f"redis://someone:hidden@{where}")
        assert "a password is needed" in await refused(f"redis://{where}")
        server.ask("ACL", "SETUSER", "app", "on", ">hidden", "~hubbub:*", "&hubbub:*", "+@all", "-info")
        assert "may not do what is needed" in await refused(f"redis://app:hidden@{where}")
        server.ask("ACL", "SETUSER", "app", "+info")
        await connect(parse(f"redis://app:hidden@{where}"))
        assert "may not do what is needed" in await refused(f"redis://app:hidden@{where}?prefix=other")


async def test_a_user_of_the_acl_with_one_prefix_does(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", password="hidden") as server:
        server.ask(
            "ACL", "SETUSER", "app", "on", ">p@ss:/word", "~hubbub:*", "&hubbub:*", "+@all", "-@dangerous", "+info"
        )
        async with node_at(f"redis://app:p%40ss%3A%2Fword@127.0.0.1:{server.port}") as node:
            assert await works(node)


async def test_a_replica_an_evicting_one_and_a_strange_key_are_refused(tmp_path: Path) -> None:
    with redis_pair(tmp_path) as pair:
        said = await refused(pair.replica.url)
        assert f"is a replica of 127.0.0.1:{pair.master.port}" in said
        pair.master.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert "has maxmemory-policy allkeys-lru" in await refused(pair.master.url)
        pair.master.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        pair.master.ask("SET", "mine:{0}:about", "something else")
        assert "is not Hubbub's" in await refused(f"{pair.master.url}?prefix=mine")
        pair.master.ask("SET", "old:{0}:about", '{"format":1,"partitions":256}')
        assert "format 1 with 256 partitions" in await refused(f"{pair.master.url}?prefix=old")
        pair.master.ask("LPUSH", "list:{0}:about", "x")
        assert "is not Hubbub's" in await refused(f"{pair.master.url}?prefix=list")


async def test_a_server_that_does_not_come_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "START_S", 0.1)
    said = await refused(f"redis://:hidden@127.0.0.1:{free_port()}")
    assert "was not there within" in said


async def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    server.stop()
    connecting = asyncio.ensure_future(connect(parse(server.url)))
    await asyncio.to_thread(server.start)
    try:
        assert (await connecting).keys.partitions == 1
    finally:
        server.kill()


async def test_nodes_that_start_at_once_on_an_empty_server_all_start(url: str) -> None:
    found = await asyncio.gather(*(connect(parse(url)) for _ in range(10)))
    assert {servers.keys.partitions for servers in found} == {1}


# TLS


async def test_over_tls_the_authority_that_is_named_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = local_certificate(tmp_path / "certs", Names(["localhost", "127.0.0.1"]), datetime.datetime.now(datetime.UTC))
    port = free_port()
    settings = {
        "tls-port": port,
        "tls-cert-file": str(made.chain),
        "tls-key-file": str(made.key),
        "tls-auth-clients": "no",
    }
    monkeypatch.setattr(starting, "START_S", 0.1)
    with redis_server(tmp_path / "redis", settings=settings):
        async with open_vault(parse(f"rediss://localhost:{port}?ca={made.ca}"), clock=Clock()) as vault:
            await vault.put_session(PERCY, 10)
            assert await vault.session("session") == PERCY
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(f"rediss://localhost:{port}")
        assert "no such file" in await refused(f"rediss://localhost:{port}?ca={tmp_path}/none.pem")
