"""An echo server on the wire layer alone: what the conformance suite talks to.

`python echo_server.py PORT` echoes every message at ws://127.0.0.1:PORT until it is stopped; port 0 takes a free one.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import uvloop

from hubbub.wire.common import Common
from hubbub.wire.connection import HttpShared
from hubbub.wire.door import check_handshake
from hubbub.wire.frames import text_frame
from hubbub.wire.http import HttpServer
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request, Response
from hubbub.wire.websocket import WebSocket, WireSettings, open_websocket

MAX_FRAME = 16 * 1024 * 1024
WIRE = WireSettings(MAX_FRAME, Readers(MAX_FRAME))


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
    echo = Echo()
    echo.socket = open_websocket(transport, check_handshake(request), echo, WIRE)


async def serve(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port))
    shared = HttpShared(answer, let_in, Common(b"", time.monotonic), timeout_s=10)
    await HttpServer(shared).start([listening], None)
    print(f"echoes at ws://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
