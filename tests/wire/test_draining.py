"""A server that is told to stop while everybody talks: nothing is lost, and nothing comes twice.

The members here share no code with the server or its Python client.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from redis_servers import needs_redis, redis_server
from servers import ServerProcess, free_port, running
from wire.raw_clients import Raw, Tickets, ask, page, wait_until

pytestmark = pytest.mark.anyio

PATIENT = ("--otp-ttl", "120", "--max-otps-per-account", "0", "--client-rate", "0")
ROOM = "lunch"
# Reached only where something is broken.
DEADLINE_S = 60.0
# How often the server is stopped; by hand, a hundred times.
STOPS = int(os.environ.get("HUBBUB_STOPS", "2"))


class Member:
    """One that talks without end, comes back when it is closed, and repeats what has no answer."""

    def __init__(self, name: str, ports: Sequence[int], token: str) -> None:
        self.name = name
        self.heard: dict[int, str] = {}
        self.heard_in_order: list[int] = []
        self.acked: dict[str, int] = {}
        self.said: list[str] = []
        self.close_codes: list[int] = []
        self.within: list[int] = []
        self.has_to_end = False
        self.moves = False
        self.moved = 0
        self._nodes = itertools.cycle(ports)
        self._port = next(self._nodes)
        self._token = token
        self._place: dict[str, object] | None = None

    async def otp(self) -> str:
        """Ask for a one-time password, by a request of three lines."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            head = f"POST /otp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError("not now")
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["otp"])

    async def live(self) -> None:
        while not self.is_done:
            try:
                otp = await self.otp()
                url = f"ws://127.0.0.1:{self._port}/ws"
                offered = [Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")]
                # Without a limit: one that does not read does not see the end either.
                async with connect(url, subprotocols=offered, ping_interval=None, max_queue=None) as line:
                    await self._use(line)
            except ConnectionClosed as closed:
                self.close_codes.append(closed.rcvd.code if closed.rcvd else 1006)
            except (OSError, EOFError, InvalidHandshake):
                await asyncio.sleep(0.05)
            self._port = next(self._nodes)

    @property
    def is_done(self) -> bool:
        """Whether it has said all that it wants to, and has heard it."""
        return self.has_to_end and len(self.acked) == len(self.said) and set(self.said) <= set(self.heard.values())

    async def _use(self, line: ClientConnection) -> None:
        since = {"since": self._place} if self._place else {}
        await self._send(line, "join", "join_room", {"room": ROOM, **since})
        for text in self.said:
            if text not in self.acked:
                await self._say(line, text)
        async for frame in line:
            self._take(json.loads(frame))
            if self.moves and self.within and len(self.said) == len(self.acked):
                self.moved += 1
                self.within.clear()
                return
            if self.is_done:
                return
            if len(self.said) - len(self.acked) < 5 and not self.has_to_end and not (self.moves and self.within):
                self.said.append(f"{self.name} {len(self.said)}")
                await self._say(line, self.said[-1])

    def _take(self, event: dict[str, Any]) -> None:
        payload = event["payload"]
        match event["type"]:
            case "ack" if event["id"] == "join":
                assert payload["recovered"] is (self._place is not None)
                self._place = {"epoch": payload["epoch"], "seq": payload["seq"]}
                for each in payload["messages"]:
                    self._hear(each)
            case "ack":
                assert self.acked.setdefault(event["id"], payload["seq"]) == payload["seq"]
            case "new_message":
                self._hear(payload)
                assert self._place is not None
                self._place["seq"] = payload["seq"]
            case "reconnect":
                self.within.append(payload["within"])

    def _hear(self, payload: dict[str, Any]) -> None:
        assert payload["seq"] not in self.heard
        self.heard[payload["seq"]] = payload["message"]
        self.heard_in_order.append(payload["seq"])

    async def _say(self, line: ClientConnection, text: str) -> None:
        await self._send(line, text, "send_message", {"room": ROOM, "message": text, "key": text})

    async def _send(self, line: ClientConnection, id_: str, type_: str, payload: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # what it has to say before its end is still to be read
            await line.send(json.dumps({"type": type_, "id": id_, "payload": payload}))


async def test_nothing_is_lost_and_nothing_comes_twice_over_a_stop(tmp_path: Path) -> None:
    port = free_port()
    flags = (*PATIENT, "--port", str(port), "--engine", f"sqlite:///{tmp_path / 'kept.db'}")
    with ExitStack() as stack:
        server: ServerProcess = stack.enter_context(running(tmp_path, *flags))
        tokens = Tickets(server)
        members = [Member(user, [port], tokens.token(user)) for user in ("percy", "alice", "bob")]
        async with asyncio.timeout(DEADLINE_S * STOPS):
            lives = [asyncio.create_task(member.live()) for member in members]
            for _ in range(STOPS):
                at_least = len(members[0].heard) + 200
                while min(len(member.heard) for member in members) < at_least:
                    await asyncio.sleep(0.01)
                os.kill(server.pid, signal.SIGTERM)
                assert await asyncio.to_thread(server._process.wait) == 0
                server = await asyncio.to_thread(stack.enter_context, running(tmp_path, *flags))
            for member in members:
                member.has_to_end = True
            await asyncio.gather(*lives)
    assert_each_once_and_in_order(members)
    for member in members:
        assert member.close_codes == [1012] * STOPS
        assert len(member.within) == STOPS


def assert_each_once_and_in_order(members: list[Member]) -> None:
    """All that was said is kept once, as it was acknowledged, and all have heard it without a hole."""
    kept = {seq: text for member in members for seq, text in member.heard.items()}
    assert sorted(kept.values()) == sorted(text for member in members for text in member.said), "each once"
    for member in members:
        assert member.heard_in_order == list(range(1, len(member.heard) + 1)), "in order, with no hole"
        assert all(kept[seq] == text for text, seq in member.acked.items())
        assert all(kept[seq] == text for seq, text in member.heard.items())


@needs_redis
async def test_nothing_is_lost_and_nothing_comes_twice_when_a_node_goes_and_others_stay(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path / "redis"))

        def start(port: int) -> ServerProcess:
            flags = (*PATIENT, "--port", str(port), "--engine", redis.url)
            folder = tmp_path / str(port)
            folder.mkdir(exist_ok=True)
            return stack.enter_context(running(folder, *flags))

        nodes = [await asyncio.to_thread(start, port) for port in ports]
        tokens = Tickets(nodes[0])
        # Two go by themselves when they are asked to, as they are on any node; the third one waits for its end.
        members = [Member(user, ports, tokens.token(user)) for user in ("percy", "alice", "bob")]
        members[0].moves = members[1].moves = True
        async with asyncio.timeout(DEADLINE_S * STOPS):
            lives = [asyncio.create_task(member.live()) for member in members]
            for number in range(STOPS):
                at_least = len(members[0].heard) + 200
                while min(len(member.heard) for member in members) < at_least:
                    await asyncio.sleep(0.01)
                os.kill(nodes[number % 2].pid, signal.SIGTERM)
                assert await asyncio.to_thread(nodes[number % 2]._process.wait) == 0
                nodes[number % 2] = await asyncio.to_thread(start, ports[number % 2])
            for member in members:
                member.has_to_end = True
            await asyncio.gather(*lives)
    assert_each_once_and_in_order(members)
    assert [member.moved for member in members] == [STOPS, STOPS, 0]
    assert [member.close_codes for member in members] == [[], [], [1012] * STOPS]


def test_for_as_long_as_a_load_balancer_needs_only_the_answer_to_whether_it_is_ready_changes(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT, "--drain-delay", "3") as server, ExitStack() as stack:
        tickets = Tickets(server)
        assert ask(server, "GET", "/readyz").status == 200
        first = stack.enter_context(page(server, tickets.otp("alice"), "alice"))
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: ask(server, "GET", "/readyz").status == 503)
        assert ask(server, "GET", "/readyz").body.startswith(b"draining")
        assert ask(server, "GET", "/healthz").status == 200
        second = stack.enter_context(page(server, tickets.otp("bob"), "bob"))
        second.say("hello")
        first.assert_hears("hello", "bob")
        first.assert_closed(1012)
        second.assert_closed(1012)
        assert server._process.wait(15) == 0


def test_while_clients_are_told_the_server_still_says_that_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        # A peer that does not answer keeps the drain open for as long as it is waited for.
        silent = stack.enter_context(Raw.websocket(server, Tickets(server).otp()))
        os.kill(server.pid, signal.SIGTERM)
        silent.assert_closed(1012)
        assert ask(server, "GET", "/healthz").body == b"ok"
        assert ask(server, "GET", "/readyz").status == 503
        assert server._process.wait(15) == 0
