"""A mounted hub under servers that others have made: held to the protocol, the application's own routes beside it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hubbub.check.promises import PROMISES
from mounted_servers import SERVERS, MountedServer, mounted
from servers import HUBBUB

pytestmark = pytest.mark.anyio

QUICK = [promise for promise in PROMISES if not promise.patience_s]

# Those that end a connection with broken frames, and send no code.
WITHOUT_CODES = ("hypercorn", "granian")
BROKEN = ["close-rsv", "close-unmasked", "close-opcode", "close-control", "close-utf8"]


def check(folder: Path, server: MountedServer) -> list[list[str]]:
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
    with mounted(tmp_path, name) as server:
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


async def v1(server: MountedServer) -> ClientConnection:
    offered = ["hubbub.v1", f"otp.{server.login()['otp']}"]
    client = await connect(server.ws_url, subprotocols=offered)  # type: ignore[arg-type]  # NewType
    assert json.loads(await client.recv())["type"] == "welcome"
    return client


@pytest.mark.parametrize("name", ["uvicorn", "fast path"])
async def test_a_stop_of_uvicorn_ends_in_order(tmp_path: Path, name: str) -> None:
    with mounted(tmp_path, name) as server:
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
    with mounted(tmp_path, "fast path") as server:
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
