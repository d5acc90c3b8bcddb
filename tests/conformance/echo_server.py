"""An echo server on the wire layer alone: what the conformance suite talks to.

`python echo_server.py PORT` echoes every message at ws://127.0.0.1:PORT until it is stopped; port 0 takes a free one.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from hubbub.wire.frames import text_frame
from hubbub.wire.upgrade import check_handshake, parse_head
from hubbub.wire.websocket import WebSocket, WireSettings, open_websocket

WIRE = WireSettings(max_frame=16 * 1024 * 1024)


class Echo:
    """A peer that says back what it hears."""

    def __init__(self) -> None:
        self.socket: WebSocket | None = None

    def receive_text(self, text: str) -> None:
        assert self.socket is not None
        self.socket.write(text_frame(text.encode()))

    def receive_binary(self, data: bytes) -> None:
        assert self.socket is not None
        # Our server never sends binary messages, so it has no frame for them: the opcode is all that differs.
        self.socket.write(b"\x82" + text_frame(data)[1:])

    def admit(self) -> bool:
        return True

    def writing_paused(self) -> None: ...

    def writing_resumed(self) -> None: ...

    def closing(self) -> None: ...

    def closed(self, code: int, reason: str, *, by_us: bool) -> None: ...


class Door(asyncio.Protocol):
    """Reads one request head and lets everyone in."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        self._transport.pause_reading()
        key = check_handshake(parse_head(lower_names(self._head)))
        echo = Echo()
        echo.socket = open_websocket(self._transport, key, echo, WIRE)


def lower_names(head: bytes) -> bytes:
    """The head as uvicorn's parser hands it over."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    return b"\r\n".join(name.lower() + colon + value if colon else name for name, colon, value in lines)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Door, "127.0.0.1", port)
    print(f"echoes at ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
