"""A mounted hub under servers that others have made: held to the protocol, the application's own routes beside it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hubbub.check.promises import PROMISES
from servers import HUBBUB, ServerProcess, free_port, stop, wait_until_healthy

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parents[1]
QUICK = [promise for promise in PROMISES if not promise.patience_s]

SERVERS: dict[str, Callable[[str], list[str]]] = {
    "uvicorn": lambda port: ["uvicorn", "asgi_apps:app", "--port", port, "--ws", "websockets-sansio"],
    "fast path": lambda port: ["uvicorn", "asgi_apps:app", "--port", port, "--ws", "hubbub.uvicorn:FastPath"],
    "hypercorn": lambda port: ["hypercorn", "asgi_apps:beside", "--bind", f"127.0.0.1:{port}"],
    "granian": lambda port: ["granian", "--interface", "asgi", "asgi_apps:beside", "--port", port],
}
# Those that end a connection with broken frames, and send no code.
WITHOUT_CODES = ("hypercorn", "granian")
BROKEN = ["close-rsv", "close-unmasked", "close-opcode", "close-control", "close-utf8"]


class Mounted(ServerProcess):
    """A server whose hub is below a path."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.root = self.origin
        self.origin += "/chat"
        self.ws_url = self.ws_url.replace("/ws", "/chat/ws")

    def page(self, path: str) -> tuple[int, bytes]:
        """What the application itself answers."""
        self.origin, mounted = self.root, self.origin
        try:
            return self.get(path)
        finally:
            self.origin = mounted


@contextmanager
def serving(folder: Path, name: str) -> Iterator[Mounted]:
    """The application, served by one of them."""
    port = free_port()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    env = clean | {"DATA": str(folder), "PYTHONPATH": str(TESTS)}
    log_file = folder / "server.log"
    command = [sys.executable, "-m", *SERVERS[name](str(port))]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    server = Mounted(process, port, log_file, None)
    try:
        wait_until_healthy(server, process)
        yield server
    finally:
        stop(process)


def check(folder: Path, server: ServerProcess) -> list[list[str]]:
    """Hold a server to the protocol; each verdict and its promise."""
    result = subprocess.run(
        [*HUBBUB, "check", server.origin, "--other", "alice"],
        cwd=folder,
        env={**os.environ, "HUBBUB_PASSWORD": "123", "HUBBUB_OTHER_PASSWORD": "123"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [line.split(":")[0].rsplit(maxsplit=1) for line in result.stdout.splitlines()[:-1]]


@pytest.mark.parametrize("name", SERVERS)
async def test_a_mounted_hub_keeps_every_promise(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, name) as server:
        not_offered = BROKEN if name in WITHOUT_CODES else []
        assert check(tmp_path, server) == [
            ["not offered" if promise.name in not_offered else "pass", promise.name] for promise in QUICK
        ]
        # The application's own routes and WebSockets are as they were.
        assert server.page("/hello") == (200, b"hello")
        async with connect(f"{server.root.replace('http', 'ws')}/echo") as socket:
            await socket.send("as ever")
            assert await socket.recv() == "as ever"
    log = server.log()
    # uvicorn shows where it met a text that is not UTF-8.
    assert not re.search(r"Exception in ASGI|connection failed|upgrade failed|\bhubbub/mount", log), log


async def v1(server: ServerProcess) -> ClientConnection:
    offered = ["hubbub.v1", f"otp.{server.login()['otp']}"]
    client = await connect(server.ws_url, subprotocols=offered)  # type: ignore[arg-type]  # NewType
    assert json.loads(await client.recv())["type"] == "welcome"
    return client


@pytest.mark.parametrize("name", ["uvicorn", "fast path"])
async def test_a_stop_of_uvicorn_ends_in_order(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, name) as server:
        client = await v1(server)
        await client.send('{"type":"join_room","id":1,"payload":{"room":"general"}}')
        while json.loads(await client.recv()).get("id") != 1:
            pass
        await client.send('{"type":"sleep","id":2,"payload":{}}')
        await client.send('{"type":"presence","id":3,"payload":{"room":"nowhere"}}')
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        heard = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                heard.append(json.loads(await client.recv()))
        assert await stopping == -signal.SIGTERM  # uvicorn raises it again, once all is done
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        if name == "fast path":  # uvicorn closes its own before the application knows
            kinds = [event["type"] for event in heard]
            assert kinds[-1] == "reconnect"
            assert [event["id"] for event in heard if event["type"] == "ack"] == [2]
    assert "Traceback" not in server.log()


async def test_the_fast_path_pings_as_the_hub_says_and_gives_back_what_has_gone(tmp_path: Path) -> None:
    with serving(tmp_path, "fast path") as server:
        offered = ["hubbub.v1", f"otp.{server.login()['otp']}"]
        async with connect(server.ws_url, subprotocols=offered) as client:  # type: ignore[arg-type]  # NewType
            assert json.loads(await client.recv())["payload"]["heartbeat"]["interval"] == 9
            assert server.get("/debug") == (200, b"1")
        refused = ["hubbub.v1", "otp.none"]
        with pytest.raises(InvalidStatus) as no:
            await connect(server.ws_url, subprotocols=refused)  # type: ignore[arg-type]  # NewType
        assert no.value.response.status_code == 401
        assert b"one-time password" in no.value.response.body
        assert server.get("/debug") == (200, b"0")
        # Nothing is left that a stop would wait for.
        assert server.stop() == -signal.SIGTERM
    assert "Waiting for connections" not in server.log()
