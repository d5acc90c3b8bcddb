"""Signs of life of WebSockets of the second door: asked for in its own words, from `connect` on."""

from __future__ import annotations

import pytest

from hubbub.door.door import WEBSOCKET_PATH, CentrifugoDoor
from hubbub.door.settings import DoorSettings
from hubbub.heartbeat import BUCKETS, Wheel
from hubbub.policy import Places
from hubbub.tasks import Tasks
from hubbub.testing import at_work
from hubbub.wire.frames import binary_frame, text_frame
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request
from hubbub.wire.websocket import WebSocket, WireSettings, open_websocket
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

INTERVAL_S, TIMEOUT_S = 9.0, 10.0

HEADERS = {
    "host": ["chat.example"],
    "upgrade": ["websocket"],
    "connection": ["Upgrade"],
    "sec-websocket-version": ["13"],
    "sec-websocket-key": ["dGhlIHNhbXBsZSBub25jZQ=="],
}


class Connected:
    """A WebSocket of the door, and the wheel that pings it."""

    def __init__(self, door: CentrifugoDoor, tasks: Tasks, wheel: Wheel, query: str = "") -> None:
        request = Request("GET", WEBSOCKET_PATH, query, HEADERS, "10.0.0.1")
        opening = door.side_doors[WEBSOCKET_PATH].receive(request)
        self.transport = FakeTransport()
        self.socket: WebSocket = open_websocket(self.transport, opening.key, opening.entrant, opening.settings)
        opening.entrant.attach(self.socket)
        self.transport.written.clear()
        self._tasks = tasks
        self._wheel = wheel

    async def say(self, opcode: int, data: bytes) -> bytes:
        """Send a message in a frame that is masked with zeros; what is written then."""
        frame = bytes([0x80 | opcode, 0x80 | len(data)]) + bytes(4) + data
        self.socket.get_buffer(-1)[: len(frame)] = frame
        self.socket.buffer_updated(len(frame))
        await self._tasks.wait()
        return self.take()

    def take(self) -> bytes:
        written = bytes(self.transport.written)
        self.transport.written.clear()
        return written

    def go_round(self) -> bytes:
        """Let the wheel go round once; what is written meanwhile."""
        for _ in range(BUCKETS):
            self._wheel.turn()
        return self.take()


@pytest.mark.parametrize(
    ("query", "opcode", "connecting", "ping", "pong"),
    [
        ("", 1, b'{"id":1,"connect":{}}', text_frame(b"{}"), b"{}"),
        ("format=protobuf", 2, b"\x04\x08\x01\x22\x00", binary_frame(b"\0"), b"\0"),
    ],
)
async def test_pings_are_messages_and_begin_with_connect(
    query: str, opcode: int, connecting: bytes, ping: bytes, pong: bytes
) -> None:
    async with at_work() as stage:
        wheel, tasks = Wheel(INTERVAL_S, TIMEOUT_S), Tasks()
        wire = WireSettings(0, Readers(0), wheel)
        settings = DoorSettings(allow_anonymous=True)
        door = CentrifugoDoor(stage.core, settings, Places(0, 0), wire, tasks)
        connected = Connected(door, tasks, wheel, query)
        assert connected.go_round() == b"", "a stranger has a shorter time than that"
        assert await connected.say(opcode, connecting)
        for _ in range(3):
            assert connected.go_round() == ping
            assert await connected.say(opcode, pong) == b"", "nothing is said of it"
        assert connected.go_round() == ping
        assert b"\x0b\xc4" in connected.go_round() + connected.go_round(), "no pong: 3012"
        assert connected.transport.is_half_closed
        connected.socket.connection_lost(None)
        assert not wire.sockets
