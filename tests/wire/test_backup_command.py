"""`hubbub backup`, `restore` and `doctor` beside a server, from other processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from servers import ServerProcess, running

pytestmark = pytest.mark.anyio

BURST = 1500


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def hubbub(folder: Path, *args: str) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    command = [sys.executable, "-m", "hubbub", *args, "--engine", f"sqlite:///{folder}/log.db"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


class Speaker:
    """A v1 client in a room, that waits for its acks."""

    def __init__(self, server: ServerProcess) -> None:
        protocols: Any = ["hubbub.v1", f"otp.{server.login()['otp']}"]
        self._connecting = connect(server.ws_url, subprotocols=protocols, max_size=None)

    async def __aenter__(self) -> Speaker:
        self._connection = await self._connecting.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)

    async def join(self, since: dict[str, Any] | None = None) -> dict[str, Any]:
        payload = {"room": "general"} | ({"since": since} if since else {"history": 0})
        await self._connection.send(json.dumps({"type": "join_room", "id": "join", "payload": payload}))
        return await self._answer("join")

    async def say(self, count: int) -> int:
        """Say so many things; the seq of the last one."""
        for number in range(count):
            request = {"type": "send_message", "id": number, "payload": {"message": f"text {number}"}}
            await self._connection.send(json.dumps(request))
        return int((await self._answer(count - 1))["seq"])

    async def _answer(self, id_: object) -> dict[str, Any]:
        async for frame in self._connection:
            event = json.loads(frame)
            if event.get("id") == id_:
                assert event["type"] == "ack", event
                payload: dict[str, Any] = event["payload"]
                return payload
        raise AssertionError("the connection was closed")


async def test_a_backup_that_was_taken_under_load_is_put_back_and_hides_nothing(tmp_path: Path) -> None:
    engine = ("--engine", f"sqlite:///{tmp_path}/log.db", "--client-rate", "0")
    with running(tmp_path, *engine) as server:
        async with Speaker(server) as percy, Speaker(server) as alice:
            await percy.join()
            await alice.join()
            acked = await percy.say(BURST)
            talking = asyncio.create_task(alice.say(BURST))
            code, told = await asyncio.to_thread(hubbub, tmp_path, "backup", str(tmp_path / "copy.db"))
            assert (code, told) == (0, f"backed up {tmp_path}/log.db to {tmp_path}/copy.db\n")
            assert await talking > acked
            joined = await percy.join()
            epoch = joined["epoch"]
            last = await percy.say(1)
            code, told = await asyncio.to_thread(hubbub, tmp_path, "doctor")
            assert (code, told.count("bad: ")) == (0, 0)
            assert f"the server with process id {server.pid} is running on it" in told
            code, told = await asyncio.to_thread(hubbub, tmp_path, "restore", str(tmp_path / "copy.db"))
            assert (code, told.count("\n")) == (2, 1)
            assert f"the server with process id {server.pid} has this file" in told
    code, told = hubbub(tmp_path, "restore", str(tmp_path / "copy.db"))
    assert code == 0
    assert "what was there is kept as" in told
    with running(tmp_path, *engine) as server:
        async with Speaker(server) as percy:
            joined = await percy.join({"epoch": epoch, "seq": acked})
            assert joined["recovered"] is True
            new_epoch = joined["epoch"]
            first = await percy.say(1)
            assert acked < first <= last
            assert new_epoch != epoch
            assert (await percy.join({"epoch": epoch, "seq": last}))["recovered"] is False
            assert await percy.say(last - first + 10) == last + 10
            assert (await percy.join({"epoch": epoch, "seq": last}))["recovered"] is False
            assert (await percy.join({"epoch": epoch, "seq": acked}))["recovered"] is True
            assert (await percy.join({"epoch": new_epoch, "seq": last}))["recovered"] is True


@pytest.mark.parametrize("command", [["backup", "copy.db"], ["restore", "copy.db"], ["doctor"]])
def test_what_has_no_file_is_refused_in_one_line(tmp_path: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hubbub", *command, "--engine", "memory://"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "what it has is in the server's memory" in done.stderr
    code, told = hubbub(tmp_path, *command)
    assert (code, told.count("\n")) == (2, 1)
    assert "No such file or directory" in told
