"""The server is killed again and again while many talk: nothing acked is lost, and nothing comes twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from chaos.killable import Killable
from chaos.resuming import Resuming

CLIENTS = 50
KILLS = 20
QUIET_S = 60.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_nothing_acked_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    with Killable(tmp_path, "--client-rate", "0", "--max-otps-per-account", "0") as server:
        clients = await start_talking(server)
        tasks = [asyncio.create_task(client.live()) for client in clients]
        moments = random.Random(6455)
        for _ in range(KILLS):
            await asyncio.sleep(moments.uniform(0.05, 0.6))  # any moment will do: that is what is tested
            await asyncio.to_thread(server.restart)
        await until_all_have_said_enough(clients)
        await until_all_have_heard_all(clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [fault for client in clients for fault in client.faults] == []
    assert_one_history(clients)


async def start_talking(server: Killable) -> list[Resuming]:
    tokens = {user: (await asyncio.to_thread(server.now.login, user))["token"] for user in ("percy", "alice", "bob")}
    users = list(tokens)
    return [Resuming(server, f"client {n}", tokens[users[n % len(users)]]) for n in range(CLIENTS)]


async def until_all_have_said_enough(clients: list[Resuming]) -> None:
    async with asyncio.timeout(QUIET_S):
        while any(client.said <= KILLS for client in clients):
            await asyncio.sleep(0.05)


async def until_all_have_heard_all(clients: list[Resuming]) -> None:
    for client in clients:
        client.is_talking = False
    async with asyncio.timeout(QUIET_S):
        while any(client.unacked for client in clients) or len({client.last_seq for client in clients}) > 1:
            await asyncio.sleep(0.05)


def assert_one_history(clients: list[Resuming]) -> None:
    history = max((client.heard for client in clients), key=len)
    texts = [text for _, text in history]
    assert len(set(texts)) == len(texts), "each text once"
    place = {text: seq for seq, text in history}
    for client in clients:
        assert client.heard == history[-len(client.heard) :]
        assert {text: place.get(text) for text in client.acked} == client.acked
        assert len(client.acked) == client.said
