"""An echo server on the wire layer alone: what the conformance suite talks to.

`python echo_server.py PORT` echoes every message at ws://127.0.0.1:PORT until it is stopped; port 0 takes a free one.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import uvloop

from hubbub.client import Frame
from hubbub.wire.common import Common
from hubbub.wire.connection import HttpShared
from hubbub.wire.deflated import Compression
from hubbub.wire.door import check_handshake
from hubbub.wire.frames import BINARY, TEXT, text_frame
from hubbub.wire.http import HttpServer
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request, Response
from hubbub.wire.websocket import WebSocket, WireSettings, open_websocket

MAX_FRAME = 16 * 1024 * 1024
WIRE = WireSettings(MAX_FRAME, Readers(MAX_FRAME))
COMPRESSION = Compression()


def binary_frame(payload: bytes) -> bytes:
    """A binary message: our server never sends one, so it has no frame for it.  The opcode is all that differs."""
    return bytes([0x80 | BINARY]) + text_frame(payload)[1:]


class Echo:
    """A peer that says back what it hears."""

    def __init__(self, text: Frame, binary: Frame) -> None:
        self.socket: WebSocket | None = None
        self._text = text
        self._binary = binary

    def receive_text(self, text: str) -> None:
        assert self.socket is not None
        self.socket.write(self._text(text.encode()))

    def receive_binary(self, data: bytes) -> None:
        assert self.socket is not None
        self.socket.write(self._binary(data))

    def admit(self, _count: int) -> bool:
        return True

    def is_too_much(self, _size: int) -> bool:
        return False

    def writing_paused(self) -> None: ...

    def writing_resumed(self) -> None: ...

    def closing(self) -> None: ...

    def closed(self, code: int, reason: str, *, by_us: bool) -> None: ...


async def answer(_request: Request) -> Response:
    return Response(404)


def let_in(transport: asyncio.Transport, request: Request) -> None:
    """Open a WebSocket for everyone."""
    text = COMPRESSION.frame_for(request, TEXT) or text_frame
    binary = COMPRESSION.frame_for(request, BINARY) or binary_frame
    echo = Echo(text, binary)
    settings = COMPRESSION.settings_for(request, WIRE)
    echo.socket = open_websocket(transport, check_handshake(request), echo, settings)


async def serve(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port))
    shared = HttpShared(answer, let_in, Common(b"", time.monotonic), timeout_s=10)
    await HttpServer(shared).start([listening], None)
    print(f"echoes at ws://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
