"""Workers are replaced and killed while many talk: nothing acked is lost, and nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from chaos.killable import Killable
from chaos.test_kill import assert_one_history, start_talking, until_all_have_heard_all, until_all_have_said_enough
from redis_servers import needs_redis, redis_server

WORKERS = 3
ROUNDS = int(os.environ.get("HUBBUB_CHAOS_ROUNDS", "1"))
REPLACED_S = 120.0

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_nothing_is_lost_and_nothing_comes_twice_while_workers_change(tmp_path: Path) -> None:
    flags = ("--workers", str(WORKERS), "--client-rate", "0", "--max-otps-per-account", "0", "--otp-ttl", "120")
    with redis_server(tmp_path / "redis") as redis, Killable(tmp_path, *flags, engine=redis.url) as server:
        await until_logged(server, "all workers serve", 1)
        clients = await start_talking(server)
        tasks = [asyncio.create_task(client.live()) for client in clients]
        for number in range(1, ROUNDS + 1):
            os.kill(server.now.pid, signal.SIGHUP)
            await until_logged(server, "all workers are replaced", number)
            complete = server.now.log().count("all workers serve")
            os.kill(max(children(server.now.pid)), signal.SIGKILL)
            await until_logged(server, "all workers serve", complete + 1)
        await until_all_have_said_enough(clients)
        await until_all_have_heard_all(clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.to_thread(server.now.stop) == 0
    assert [fault for client in clients for fault in client.faults] == []
    assert_one_history(clients)


async def until_logged(server: Killable, line: str, times: int) -> None:
    """Wait until the parent has logged a line so often."""
    async with asyncio.timeout(REPLACED_S):
        while server.now.log().count(line) < times:
            await asyncio.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
