"""Reading frames with picows: what it has to be told so that it only reads, and that many connections can share it.

It turns bytes into frames and checks part of RFC 6455; it is never let near a transport.
"""

from __future__ import annotations

from typing import Any, Protocol

import structlog
from picows import WSAutoPingStrategy, WSFrame, WSListener, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in the stubs: see new_protocol

from hubbub.errors import CloseCode
from hubbub.wire.turnstile import Turnstile

__all__ = ["NARROW_READ", "Reader", "Readers"]

log = structlog.get_logger("hubbub.wire")

# picows' buffer doubles when a read fills nine tenths of it, and never shrinks.  One that a frame has made larger than
# this is not kept.
BUFFER = 4096 + 256
LARGEST_BUFFER = 64 * 1024
# What is read at once, all frames in it handled before anything else is; and what of a connection that has to wait for
# its turns: 100 of the smallest frames instead of 597.
ONE_READ = 3584
NARROW_READ = 600
# Readers kept for the next frame that comes in parts.
MAX_SPARE = 16
UNLIMITED_FRAME = 1 << 40


class Owner(Protocol):
    """The connection that a reader reads for."""

    def receive_frame(self, frame: WSFrame) -> None:
        """Take a frame.  Nothing may be raised."""
        ...

    def fail(self, code: int, reason: str) -> None:
        """Close, because a frame breaks a rule."""
        ...


class Reader(WSListener):
    """picows' state and buffer, 6 KiB, between two frames ready to read for any connection.

    Attributes:
        is_between_frames: nothing of a frame has been read and not delivered.
        is_worn: it has grown, or found a broken frame; it can read for no other connection.
    """

    __slots__ = ("_fault", "_most", "_one_read", "_owner", "_protocol", "_view", "is_between_frames", "is_worn")

    _owner: Owner  # while it reads

    def __init__(self, max_frame: int, one_read: int = ONE_READ) -> None:
        self._fault: tuple[int, str] | None = None
        self._protocol = new_protocol(self, max_frame)
        self._one_read = self._most = one_read
        self._view: memoryview | None = self._protocol.get_buffer(-1)[:one_read]
        self.is_between_frames = True
        self.is_worn = False

    @property
    def buffer(self) -> memoryview:
        """Where the next bytes belong."""
        # Made once: the memory stays where it is until a frame comes in parts.
        view = self._view
        return view if view is not None else self._protocol.get_buffer(-1)[: self._most]

    def read(self, owner: Owner, size: int) -> None:
        """Hand the frames in the next `size` bytes of the buffer to their connection."""
        self._owner = owner
        self.is_between_frames = False
        self._protocol.buffer_updated(size)
        del self._owner
        if not self.is_between_frames:
            self._view = None
        if self._protocol.transport.close_handshake is not None:
            # Its transport knows of a CLOSE, and would take the next connection's for a second one.
            self._protocol.connection_made(NOWHERE)
        if self._fault is not None:
            # It looks one frame ahead: the good frame before the broken one has been delivered, and counts.
            owner.fail(*self._fault)

    def narrow(self) -> None:
        """Read little at once, until it is renewed."""
        self._most = NARROW_READ
        if self._view is not None:
            self._view = self._view[:NARROW_READ]

    def renew(self) -> None:
        """Get ready for another connection."""
        if self._view is None or self._most != self._one_read:
            view = self._protocol.get_buffer(-1)
            self.is_worn = self.is_worn or len(view) > LARGEST_BUFFER
            self._most = self._one_read
            self._view = view[: self._one_read]

    def discard(self) -> None:
        """Be of no more use.  It and picows hold each other, and their buffer would wait for the collector."""
        self.is_worn = True
        self._view = None
        self._protocol = None

    # What picows calls

    def on_ws_connected(self, _transport: WSTransport) -> None: ...

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        self.is_between_frames = not frame.tail_size
        self._owner.receive_frame(frame)

    def fail(self, code: int, reason: str) -> None:
        """Take note of a broken rule.  picows' own CLOSE has gone nowhere."""
        self.is_worn = True
        if self._fault is None:
            self._fault = (code, reason)


class Readers:
    """The readers of one server.  Whoever has only whole frames to read shares one with all others.

    Args:
        one_read: bytes to read at once.

    Attributes:
        shared: the reader that is between two frames.
        turnstile: where a connection waits that takes more than its share.
        pongs: those of the present read, which are counted together after it: nothing costs its sender less.
        inflated: bytes that the messages of the present read were inflated to.
    """

    def __init__(self, max_frame: int, turnstile: Turnstile | None = None, one_read: int = ONE_READ) -> None:
        self.turnstile = turnstile or Turnstile()
        self.pongs = 0
        self.inflated = 0
        self._one_read = one_read
        self._max_frame = max_frame or UNLIMITED_FRAME
        self._spare: list[Reader] = []
        self._shared: Reader | None = None

    @property
    def shared(self) -> Reader:
        # Made late: picows wants a running loop.
        if self._shared is None:
            self._shared = self.take()
        return self._shared

    def take(self) -> Reader:
        """A reader for one connection alone; `give_back` takes it."""
        return self._spare.pop() if self._spare else Reader(self._max_frame, self._one_read)

    def keep_shared(self) -> None:
        """Leave the shared reader to the connection that it has begun a frame of, or has been worn by."""
        self._shared = None

    def give_back(self, reader: Reader) -> None:
        """Take a reader that a connection has had for itself."""
        reader.renew()
        if reader.is_worn or len(self._spare) >= MAX_SPARE:
            reader.discard()
        else:
            self._spare.append(reader)


class LibraryLog:
    """Stands in for picows' logger.

    When it closes a connection for a broken rule, its log line is the only notice that the listener gets.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802  # logging's name
        return False

    def log(self, *_args: object) -> None: ...

    debug = info = warning = log

    def error(self, _message: str, arguments: object = (), *_more: object) -> None:
        """`arguments` are those of the WSProtocolError: the close code and the reason."""
        code, reason = arguments if isinstance(arguments, tuple) and len(arguments) == 2 else (1011, "")
        self._reader.fail(int(code), str(reason))

    def exception(self, message: str, *_args: object) -> None:
        log.exception("picows failed", what=message)
        self._reader.fail(CloseCode.INTERNAL_ERROR, "")


class Nowhere:
    """The transport that picows is told to write to.  It only has to look like one: all writes are ours."""

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


def new_protocol(reader: Reader, max_frame: int) -> Any:
    """A picows protocol past its handshake that hands its frames to `reader`.

    Its constructor is undocumented: pyproject.toml pins picows to the minor version that this one call fits.
    """
    protocol = WSProtocol(
        host_port=None,
        ws_path=None,
        is_client_side=False,
        ws_listener_factory=lambda _request: reader,
        logger=LibraryLog(reader),
        disconnect_on_exception=True,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        auto_ping_idle_timeout=0,
        auto_ping_reply_timeout=0,
        auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
        enable_auto_pong=False,
        max_frame_size=max_frame,
        extra_headers=None,
        read_buffer_init_size=BUFFER,
    )
    protocol.connection_made(NOWHERE)
    protocol.get_buffer(-1)[: len(HEAD)] = HEAD
    protocol.buffer_updated(len(HEAD))
    return protocol
