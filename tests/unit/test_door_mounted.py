"""The second door of a hub within another application: over the server's WebSockets, and over their transports."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

import hubbub
from asgi_server import AsgiMessage, AsgiSocket
from gates import turns
from hubbub import Hub, Settings
from hubbub.door.commands import Empty
from hubbub.door.protobuf_dialect import ProtobufDialect
from hubbub.http.site import read_site
from hubbub.mount.mounted import Mounted
from hubbub.mount.service import MountedService
from hubbub.uvicorn import FastPath
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

PATH = "/connection/websocket"
CONFIGURATION = {
    "client": {"allow_anonymous_connect_without_token": True, "allowed_origins": ["https://*.example.org"]},
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
            "allow_publish_for_client": True,
            "allow_publish_for_anonymous": True,
        }
    },
}


@pytest.fixture(autouse=True)
def one_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the pages once for all tests."""
    monkeypatch.setattr("hubbub.service.read_site", functools.cache(read_site))


def mount(folder: Path) -> Mounted:
    return hubbub.asgi(Hub(), Settings(engine="memory://", data_dir=folder, centrifugo=CONFIGURATION))


class BinarySocket(AsgiSocket):
    """A client's WebSocket that hears bytes."""

    async def _send(self, message: AsgiMessage) -> None:
        if message["type"] == "websocket.send":
            message = {**message, "text": json.dumps({"bytes": message["bytes"].hex()})}
        await super()._send(message)


async def test_clients_come_by_the_servers_own_websockets(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with chat.at_work() as service:
        socket = await AsgiSocket(chat, PATH).opened()
        assert socket.accepted is None
        socket.say_text('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"chat"}}')
        found = (await socket.hear())["connect"]
        assert "ping" not in found, "the server pings"
        assert "subscribe" in await socket.hear()
        socket.say_text('{"id":3,"publish":{"channel":"chat","data":1}}')
        assert await socket.hear() == {"id": 3, "publish": {}}
        assert (await socket.hear())["push"]["pub"]["data"] == 1
        assert service.clients == 1
        socket.say_text('{"id":4,"connect":{}}')
        await socket.task
        assert socket.closed == (3501, "bad request")
        assert service.clients == 0
        assert not service._wire.sockets


async def test_protobuf_goes_in_binary_messages(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with chat.at_work():
        socket = await BinarySocket(chat, PATH, subprotocols=["centrifuge-protobuf"]).opened()
        assert socket.accepted == "centrifuge-protobuf"
        socket.say_binary(b"\x04\x08\x01\x22\x00\x04\x08\x02\x5a\x00")
        assert bytes.fromhex((await socket.hear())["bytes"]).find(b"Hubbub") > 0
        dialect = ProtobufDialect(lambda _channel: True)
        pong = dialect.ack(2, bytes(dialect.result("ping", Empty())))
        assert (await socket.hear())["bytes"] == pong.hex()
        await socket.leave()


async def test_foreign_pages_are_refused_and_listed_ones_are_not(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with chat.at_work() as service:
        refused = await AsgiSocket(chat, PATH, headers={"origin": "https://example.net"}).opened()
        assert refused.refused is not None
        assert refused.refused.status == 403
        listed = await AsgiSocket(chat, PATH, headers={"origin": "https://app.example.org"}).opened()
        assert listed.refused is None
        await listed.leave()
        assert service._upgrades.door.places._taken == 0


async def test_a_stop_ends_strangers_and_clients(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with chat.at_work():
        stranger, client = await AsgiSocket(chat, PATH).opened(), await AsgiSocket(chat, PATH).opened()
        client.say_text('{"id":1,"connect":{}}')
        await client.hear()
    assert stranger.closed is not None
    assert client.closed is not None
    assert (stranger.closed[0], client.closed[0]) == (3001, 3001)


# Over the transport


async def test_uvicorn_hands_the_transport_over(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    config = uvicorn.Config(chat, lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    state = ServerState()
    async with chat.at_work() as service:
        assert isinstance(service, MountedService)
        path, transport = knock(config, state)
        while state.tasks:
            await turns(1)
        await turns(3)
        assert transport.written.startswith(b"HTTP/1.1 101 ")
        say(transport, b'{"id":1,"connect":{}}')
        await turns(10)
        assert b'"ping":9,"pong":true' in transport.written
        assert path in state.connections
        say(transport, b'{"id":2,"connect":{}}')
        transport.protocol.connection_lost(None)
        assert path not in state.connections
        assert service.clients == 0
        assert not service._wire.sockets


def knock(config: uvicorn.Config, state: ServerState) -> tuple[FastPath, FakeTransport]:
    """A connection whose request for a WebSocket of the second door has come."""
    transport = FakeTransport()
    path = FastPath(config, state, {})
    path.connection_made(transport)
    transport.protocol = path
    path.data_received(
        b"GET /connection/websocket HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return path, transport


def say(transport: Any, text: bytes) -> None:
    """Receive a text, in a frame that is masked with zeros."""
    frame = bytes([0x81, 0x80 | len(text)]) + bytes(4) + text
    transport.protocol.get_buffer(-1)[: len(frame)] = frame
    transport.protocol.buffer_updated(len(frame))
