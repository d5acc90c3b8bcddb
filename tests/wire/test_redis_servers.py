"""Redis servers of our own: they start, stop, die, pause and come back, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.cluster import redis as redis_module
from hubbub.cluster.command import CommandFailed
from hubbub.cluster.port import free_port
from hubbub.cluster.redis import NoRedis, RedisServer, find_server
from hubbub.errors import ConfigError
from redis_servers import RedisCluster, needs_redis, redis_cluster, redis_pair, redis_sentinels, redis_server, role

pytestmark = needs_redis

# Starts a server, tells its process, and waits to be killed.
STARTER = """
import sys, threading
from pathlib import Path
from hubbub.cluster.redis import RedisServer

server = RedisServer(Path(sys.argv[1]))
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_keeps_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    with redis_server(tmp_path / "r") as server:
        assert server.ask("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
        server.ask("SET", "a", 1)
        port = server.port
        server.restart()
        assert server.port == port
        assert server.ask("GET", "a") is None


@pytest.mark.parametrize("appending", ["everysec", "always"])
def test_a_killed_server_comes_back_with_what_it_kept(tmp_path: Path, appending: redis_module.Appending) -> None:
    with redis_server(tmp_path / "r", appending=appending) as server:
        server.ask("SET", "a", 1)
        server.kill()
        assert not server.is_running
        with pytest.raises(OSError, match="refused"):
            server.ask("GET", "a")
        server.start()
        assert server.ask("GET", "a") == b"1"


def test_a_paused_server_answers_later(tmp_path: Path) -> None:
    with redis_server(tmp_path / "r") as server:
        server.pause()
        with pytest.raises(TimeoutError):
            server.ask("PING", timeout_s=0.05)
        server.go_on()
        assert server.ask("PING") == b"PONG"
        server.pause()
        server.stop()
        assert not server.is_running


def test_a_full_memory_refuses_writes(tmp_path: Path) -> None:
    with redis_server(tmp_path / "r", max_memory=1) as server, pytest.raises(CommandFailed) as caught:
        server.ask("SET", "a", 1)
    assert caught.value.code == "OOM"


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    with redis_server(tmp_path / "r", password="secret") as server:
        assert server.ask("PING") == b"PONG"
        assert server.url == f"redis://:secret@127.0.0.1:{server.port}"
        server._password = None
        with pytest.raises(CommandFailed, match="NOAUTH"):
            server.ask("PING")


def test_a_taken_port_is_given_up_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server(tmp_path / "one") as one:
        ports = iter([one.port, free_port()])
        monkeypatch.setattr(redis_module, "free_port", lambda: next(ports))
        with redis_server(tmp_path / "two") as two:
            assert two.port != one.port
            assert two.facts("server")["process_id"] == str(two.pid)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "r", settings={"no-such-setting": 1})
    with pytest.raises(ConfigError, match=r"has not started: .*Bad directive"):
        server.start()


def test_there_may_be_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoRedis, match="apt-get install redis-server"):
        find_server()


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    # A thread started it, and has ended: that alone must not kill it.
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    with starter.stdin, starter.stdout:
        pid = int(starter.stdout.readline())
        assert is_alive(pid)
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        deadline = time.monotonic() + 10
        while is_alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended, and that nobody has waited for yet, is in the list still.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


# Several


def test_a_replica_follows_and_is_promoted(tmp_path: Path) -> None:
    with redis_pair(tmp_path) as pair:
        pair.master.ask("SET", "a", 1)
        pair.wait_in_step()
        pair.master.kill()
        pair.promote()
        assert pair.replica.ask("GET", "a") == b"1"
        pair.replica.ask("SET", "a", 2)


def test_sentinels_promote_a_replica_of_a_dead_master(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path) as group:
        before = group.master
        before.kill()
        assert group.wait_for_another(before) is group.servers[1]


def test_sentinels_promote_a_replica_when_they_are_asked_to(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path) as group:
        group.fail_over()
        assert group.master is group.servers[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def test_a_slot_moves_with_its_keys(cluster: RedisCluster) -> None:
    slot = cluster.servers[0].ask("CLUSTER", "KEYSLOT", "a")
    assert isinstance(slot, int)
    source = cluster.master_of(slot)
    source.ask("SET", "a", 1)
    target = next(server for server in cluster.servers[:3] if server is not source)
    cluster.move(slot, target)
    assert cluster.master_of(slot) is target
    assert target.ask("GET", "a") == b"1"
    cluster.flush()
    assert target.ask("GET", "a") is None


def test_a_dead_master_of_a_cluster_is_replaced(cluster: RedisCluster) -> None:
    before = cluster.master_of(0)
    [replica] = cluster.replicas_of(before)
    before.kill()
    cluster.wait_for_another(0, before)
    assert cluster.master_of(0) is replica
    before.start()
    cluster.wait_until_well()
    assert role(before) == "slave"


def test_a_replica_of_a_cluster_takes_over(cluster: RedisCluster) -> None:
    [replica] = cluster.replicas_of(cluster.master_of(16_000))
    cluster.fail_over(replica)
    assert cluster.master_of(16_000) is replica
