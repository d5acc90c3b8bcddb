"""uvicorn's connection until the hub takes it: what it hands over, and what it keeps."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from uvicorn.server import ServerState

import hubbub
from gates import turns
from hubbub import Hub, Settings
from hubbub.engine import Grant
from hubbub.http.site import read_site
from hubbub.mount.service import MountedService
from hubbub.uvicorn import FastPath
from hubbub.wire.frames import close_frame
from hubbub.wire.websocket import WebSocket
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

FRAME = b"\x81\x82\0\0\0\0{}"


class Served(NamedTuple):
    """A hub below uvicorn."""

    config: uvicorn.Config
    state: ServerState
    service: MountedService

    async def request(self, *headers: bytes) -> tuple[FastPath, FakeTransport]:
        """A connection whose request for a WebSocket has come, with more headers."""
        otp = await self.service._credentials._otps.issue(Grant("percy", "s", is_kept=False))
        transport = FakeTransport()
        path = FastPath(self.config, self.state, {})
        path.connection_made(transport)
        transport.protocol = path
        path.data_received(
            b"GET /ws HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: hubbub.v1, otp.%b\r\n%b\r\n"
            % (otp.encode(), b"".join(b"%b\r\n" % header for header in headers))
        )
        return path, transport


@pytest.fixture(params=[False])
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Served]:
    monkeypatch.setattr("hubbub.service.read_site", functools.cache(read_site))
    monkeypatch.setattr("hubbub.mount.mounted.tell_setup", lambda _service: None)
    chat = hubbub.asgi(Hub(), Settings(engine="memory://", data_dir=tmp_path, compression=request.param))
    config = uvicorn.Config(chat, lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    async with chat.at_work() as service:
        assert isinstance(service, MountedService)
        yield Served(config, ServerState(), service)


async def ended(state: ServerState) -> None:
    """Wait until the application has returned."""
    while state.tasks:
        await asyncio.wait(state.tasks)
    await turns(3)


async def test_the_transport_is_the_hubs_from_its_answer_on(served: Served) -> None:
    path, transport = await served.request()
    await ended(served.state)
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    assert b'"welcome"' in transport.written
    assert isinstance(transport.protocol, WebSocket)
    assert not transport.is_closed
    assert path in served.state.connections, "a stop is to wait for it"
    assert not {"conn", "queue", "scope"} & vars(path).keys(), "it keeps nothing that an idle client would pay for"
    path.shutdown()
    await turns(100)
    assert b'"reconnect"' in transport.written
    assert transport.written.endswith(close_frame(1012, "the server is restarting"))
    transport.protocol.connection_lost(None)
    assert not served.state.connections


async def test_who_does_not_wait_for_the_answer_gets_none(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    path, transport = await served.request()
    path.data_received(FRAME)
    await ended(served.state)
    assert transport.is_cut
    assert transport.written == b""
    assert not served.state.connections
    assert served.service.clients == 0
    assert served.service._upgrades.door.places._taken == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_who_has_gone_meanwhile_leaves_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    _path, transport = await served.request()
    transport.abort()
    await ended(served.state)
    assert served.service.clients == 0
    assert served.service._upgrades.door.places._taken == 0
    assert not served.state.connections
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("served", [False, True], indirect=True, ids=["off", "on"])
async def test_compression_is_agreed_on_as_by_a_server_of_our_own(
    served: Served, request: pytest.FixtureRequest
) -> None:
    _path, transport = await served.request(b"Sec-WebSocket-Extensions: permessage-deflate")
    await ended(served.state)
    head, _, frames = bytes(transport.written).partition(b"\r\n\r\n")
    is_on = request.node.callspec.id == "on"
    assert (b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover" in head) is is_on
    assert (frames[0] == 0xC1) is is_on, "a welcome is long enough to be compressed"
    transport.protocol.connection_lost(None)
