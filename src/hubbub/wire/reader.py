"""Reading frames with picows: what it has to be told so that it only reads, and never more than it should.

It turns bytes into frames and checks part of RFC 6455; it is never let near the transport.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Protocol, cast

import structlog
from picows import WSAutoPingStrategy, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in the stubs: see new_reader

from hubbub.errors import CloseCode

__all__ = ["LARGE_FRAME", "Drain", "Owner", "new_reader"]

log = structlog.get_logger("hubbub.wire")

# picows' read buffer starts small, doubles whenever a read fills it, and never shrinks: a burst would cost its
# connection megabytes for life.  So one read takes at most this much, which leaves only a large frame to make the
# buffer grow; and a buffer that has held a large frame is traded for a new one as soon as it is empty.
BUFFER = 2048
ONE_READ = 1536
LARGE_FRAME = 4096


class Owner(Protocol):
    """The connection that a reader reads for."""

    @property
    def max_frame(self) -> int: ...

    def fail_by_library(self, code: int, reason: str) -> None: ...

    def on_ws_disconnected(self, transport: WSTransport | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Drain(asyncio.BufferedProtocol):
    """What a failed connection's transport is given: takes bytes and drops them until the peer has gone as well.

    One scrap of memory for all: nobody reads it.
    """

    __slots__ = ("_socket",)
    _scrap: ClassVar = bytearray(64 * 1024)

    def __init__(self, socket: Owner) -> None:
        self._socket = socket

    def get_buffer(self, _size_hint: int) -> bytearray:
        return self._scrap

    def buffer_updated(self, _size: int) -> None: ...

    def pause_writing(self) -> None:
        self._socket.pause_writing()

    def resume_writing(self) -> None:
        self._socket.resume_writing()

    def connection_lost(self, _error: Exception | None) -> None:
        self._socket.on_ws_disconnected(None)


class LibraryLog:
    """Stands in for picows' logger.

    picows makes a child logger for each connection, which costs more memory than the connection; and when it
    closes one for a broken rule, its log line is the only notice that the listener gets.
    """

    __slots__ = ("_socket",)

    def __init__(self, socket: Owner) -> None:
        self._socket = socket

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802  # logging's name
        return False

    def log(self, *_args: object) -> None: ...

    debug = info = warning = log

    def error(self, _message: str, arguments: object = (), *_more: object) -> None:
        """`arguments` are those of the WSProtocolError: the close code and the reason."""
        code, reason = arguments if isinstance(arguments, tuple) and len(arguments) == 2 else (1011, "")
        self._socket.fail_by_library(int(code), str(reason))

    def exception(self, message: str, *_args: object) -> None:
        log.exception("picows failed", what=message)
        self._socket.fail_by_library(CloseCode.INTERNAL_ERROR, "")


class Nowhere:
    """The transport that picows is told to write to.  It only has to look like one.

    All writes are ours.  That keeps what we write in one order with what is written to many, and lets a connection
    change its reader in mid-life: the new one believes that it answers a handshake.
    """

    def get_extra_info(self, name: str) -> object:
        return self if name == "socket" else None

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_args: object) -> None: ...

    def getsockopt(self, *_args: object) -> int:
        return 0

    def get_write_buffer_size(self) -> int:
        return 1  # not empty, or picows would write to the descriptor itself

    def write(self, _data: object) -> None: ...

    writelines = write

    def close(self) -> None: ...

    abort = close


NOWHERE = Nowhere()

# The request was checked before it came here; picows gets one that it cannot find fault with, always the same.
HEAD = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Reader(WSProtocol):  # type: ignore[misc]  # not in the stubs
    """picows' protocol, with reads of a bounded size."""

    def get_buffer(self, size_hint: int) -> memoryview:
        buffer: memoryview = super().get_buffer(size_hint)
        return buffer[:ONE_READ]


def new_reader(socket: Owner) -> asyncio.BaseProtocol:
    """A picows protocol past its handshake that hands its frames to `socket`.

    Its constructor is undocumented: pyproject.toml pins picows to the minor version that this one call fits.
    """
    reader: Any = Reader(
        host_port=None,
        ws_path=None,
        is_client_side=False,
        ws_listener_factory=lambda _request: socket,
        logger=LibraryLog(socket),
        disconnect_on_exception=True,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=0,
        auto_ping_reply_timeout=0,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=False,
        max_frame_size=socket.max_frame,
        extra_headers=None,
        read_buffer_init_size=BUFFER,
    )
    reader.connection_made(NOWHERE)
    reader.get_buffer(len(HEAD))[: len(HEAD)] = HEAD
    reader.buffer_updated(len(HEAD))
    return cast(asyncio.BaseProtocol, reader)
