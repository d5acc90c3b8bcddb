"""The power is cut while many talk: what the durability promises is there, and nobody is told that nothing was lost.

A filesystem is shut down without a flush, and the server is then let believe in another boot of the machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from chaos.killable import Killable
from chaos.power import Disk, program_in_boot, why_not
from chaos.resuming import ROOM, Resuming

CLIENTS = 12
ACKED = 600
MORE = 10
QUIET_S = 60.0

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be cut")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Surviving(Resuming):
    """A client that starts over where it is told that it may have missed something.

    Attributes:
        returns: whether each of its resumptions was recovered.
    """

    returns: list[bool] = field(default_factory=list)

    def _joined(self, payload: dict[str, Any]) -> None:
        messages = payload["messages"]
        if self.epoch:
            self.returns.append(payload["recovered"])
            if not payload["recovered"]:
                self.heard.clear()
                self.last_seq = messages[0]["seq"] - 1 if messages else payload["seq"]
        else:
            self.last_seq = payload["seq"]
        self.epoch = payload["epoch"]
        for message in messages:
            self._note(message)


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_a_cut_of_the_power_loses_what_it_may_and_hides_nothing(tmp_path: Path, durability: str) -> None:
    await cut_once(tmp_path, durability, ACKED)


async def cut_once(folder: Path, durability: str, count: int) -> str:
    """Let clients talk until so many messages are acked, cut the power, go on, and compare.  What became of them."""
    boot = folder / "boot"
    boot.write_text("00000000-0000-0000-0000-000000000001\n")
    with Disk(folder) as disk:
        engine = f"sqlite:///{disk.folder}/log.db?durability={durability}"
        limits = ("--client-rate", "0", "--max-otps-per-account", "0")
        server = Killable(folder, *limits, engine=engine, program=program_in_boot(boot))
        with server:
            clients = [Surviving(server, f"client {number}", "") for number in range(CLIENTS)]
            tasks = await start(server, clients)
            await until(clients, lambda: sum(len(client.acked) for client in clients) >= count)
            # A sync that is under way while the filesystem shuts down may be confirmed for nothing: what is acked later
            # does not count.
            acked = {text: seq for client in clients for text, seq in client.acked.items()}
            disk.cut()
            await asyncio.to_thread(server.kill)
            await stop(tasks)
            disk.unmount()
            disk.mount()
            boot.write_text("00000000-0000-0000-0000-000000000002\n")
            await asyncio.to_thread(server.start)
            said = {client.name: client.said for client in clients}
            tasks = await start(server, clients)
            await until(clients, lambda: all(client.said >= said[client.name] + MORE for client in clients))
            for client in clients:
                client.is_talking = False
            await until(clients, lambda: not any(client.unacked for client in clients))
            kept = await whole_log(server, clients[0].token)
            await until(clients, lambda: all(client.last_seq == len(kept) for client in clients))
            await stop(tasks)
        # A server whose disk has gone says so until it goes itself; those messages are sent again.
        faults = [fault for client in clients for fault in client.faults if "'unavailable'" not in fault]
        assert faults == []
        return judge(kept, acked, clients, durability)


def judge(kept: Sequence[str], acked: dict[str, int], clients: Sequence[Surviving], durability: str) -> str:
    """Compare the log after the cut with what was acked before it, and with what each client believes."""
    assert len(set(kept)) == len(kept), "a key is kept twice"
    place = {text: seq for seq, text in enumerate(kept, 1)}
    lost = {text: seq for text, seq in acked.items() if text not in place}
    survived = {text: seq for text, seq in acked.items() if text in place}
    assert {text: place[text] for text in survived} == survived
    assert durability == "normal" or not lost, f"lost {sorted(lost.values())} of {len(acked)}"
    assert min(lost.values(), default=1 << 62) > max(survived.values(), default=0), "more than the end was lost"
    for client in clients:
        assert len(client.returns) == 1
        # Who was told that nothing is missing has heard what the log has; and so has who began anew.
        assert [(seq, kept[seq - 1]) for seq, _ in client.heard] == client.heard
        if client.returns == [True]:
            assert client.heard[-1][0] - client.heard[0][0] + 1 == len(client.heard)
    recovered = sum(client.returns == [True] for client in clients)
    return (
        f"{len(acked)} acked, {len(lost)} lost, {recovered} of {len(clients)} clients recovered, {len(kept)} in the log"
    )


async def start(server: Killable, clients: Sequence[Surviving]) -> list[asyncio.Task[None]]:
    token = (await asyncio.to_thread(server.now.login))["token"]
    for client in clients:
        client.token = token
    return [asyncio.create_task(client.live()) for client in clients]


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(clients: Sequence[Surviving], is_so: Any) -> None:
    async with asyncio.timeout(QUIET_S):
        while not is_so():
            await asyncio.sleep(0.02)  # between two looks


async def whole_log(server: Killable, token: str) -> list[str]:
    """The texts of all messages, in order."""
    otp = await asyncio.to_thread(server.otp, token)
    protocols: Any = ["hubbub.v1", f"otp.{otp}"]
    kept: list[str] = []
    async with connect(server.ws_url, subprotocols=protocols, close_timeout=0.1, max_size=None) as connection:
        await connection.send(json.dumps({"type": "join_room", "id": "j", "payload": {"room": ROOM, "history": 0}}))
        more, number = True, 0
        while more:
            number += 1
            request = {"room": ROOM, "after": len(kept), "limit": 200}
            await connection.send(json.dumps({"type": "history", "id": number, "payload": request}))
            async for frame in connection:
                event = json.loads(frame)
                if event.get("id") == number:
                    break
            page = event["payload"]
            assert [message["seq"] for message in page["messages"]] == list(
                range(len(kept) + 1, len(kept) + len(page["messages"]) + 1)
            )
            kept += [message["message"] for message in page["messages"]]
            more = page["more"]
    return kept
