"""The fast path: a WebSocket connection on a transport that HTTP has let go of.

A reader (picows) turns bytes into frames and checks part of RFC 6455; joining frames to messages, UTF-8, the closing
handshake and the other duties are done here.  Nothing here knows JSON: a connection hands whole messages to its
`Receiver`.  All writes are prepared frames, made here and written straight to the transport.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import structlog
from picows import WSFrame

from hubbub.errors import CloseCode
from hubbub.heartbeat import Wheel
from hubbub.wire.fragments import BadMessage, Fragments
from hubbub.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, control_frame
from hubbub.wire.reader import Reader, Readers

__all__ = [
    "CLOSE_TIMEOUT_S",
    "DEAD",
    "HIGH_WATER",
    "NO_CLOSE",
    "SHORT_READ",
    "SLOW_BYTE_S",
    "End",
    "Extension",
    "Receiver",
    "WebSocket",
    "WireSettings",
    "open_websocket",
]

log = structlog.get_logger("hubbub.wire")

# How long a peer may take to answer our CLOSE, or to take it, before its connection is cut.
CLOSE_TIMEOUT_S = 2.0

HIGH_WATER = 64 * 1024

# A read of at most this many bytes is not looked into: most messages are smaller.  After a longer one, such as every
# full one, a connection waits for its turn if it is over its rate, or if each byte took this long.  Those of messages
# of a hundred bytes take a quarter of it, those of tiny frames several times as much.
SHORT_READ = 512
SLOW_BYTE_S = 3e-7

PING_FRAME = control_frame(PING)

# Takes the bytes of connections that are not listened to any more.  All share it: nobody reads it.
SCRAP = memoryview(bytearray(64 * 1024))


class Life(IntEnum):
    """What a connection has come to.  It only goes forward, and may leave out a state."""

    OPEN = 0
    """Messages go both ways."""
    CLOSING = 1
    """Our CLOSE has been written; of the peer only its CLOSE is heard."""
    DEAD = 2
    """Nothing more is heard: the peer's CLOSE came, or it has broken a rule.  What it sends is dropped."""
    GONE = 3
    """The transport is gone."""


OPEN, CLOSING, DEAD, GONE = Life

# A connection's end, as `Receiver.closed` is told it: code, reason, whether it was by us.
End = tuple[int, str, bool]
NO_CLOSE: End = (1006, "", False)


class Receiver(Protocol):
    """What a connection hands its messages to."""

    def receive_text(self, text: str) -> None:
        """Take a whole text message."""
        ...

    def receive_binary(self, data: bytes) -> None:
        """Take a whole binary message."""
        ...

    def admit(self, count: int) -> bool:
        """Count frames that are no messages, or parts of one; whether a PING may be answered now.

        It may close the connection, or stop the reading.
        """
        ...

    def is_too_much(self, size: int) -> bool:
        """Count a long read, in bytes; whether more has come lately than the client may send.

        It may stop the reading.
        """
        ...

    def writing_paused(self) -> None:
        """The connection takes frames slower than they are written."""
        ...

    def writing_resumed(self) -> None:
        """The connection has taken what was written."""
        ...

    def closing(self) -> None:
        """A CLOSE has been written: nothing may be written after it (RFC 6455 section 5.5.1)."""
        ...

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        """The connection is gone.  The code is the first CLOSE's, ours or the peer's; 1006 where there was none."""
        ...


class Extension(Protocol):
    """What connections do besides RFC 6455, as agreed in their opening (section 9)."""

    @property
    def answer(self) -> str:
        """What is answered as Sec-WebSocket-Extensions."""
        ...

    def new_socket(self, transport: asyncio.Transport, receiver: Receiver, settings: WireSettings) -> WebSocket:
        """Make such a connection."""
        ...


@dataclass(frozen=True)
class WireSettings:
    """What connections share that speak the same protocol with the same extension, if any.

    Attributes:
        ping_frame: asks for a sign of life.
        closes: close codes of ours that this protocol has others for.
        watches_at_once: whether the heartbeat begins with the connection, and not when its receiver says so.
    """

    max_frame: int
    readers: Readers
    wheel: Wheel | None = None
    sockets: dict[object, None] = field(default_factory=dict)
    ping_frame: bytes = PING_FRAME
    closes: Mapping[int, int] = field(default_factory=dict)
    watches_at_once: bool = True
    extension: Extension | None = None


class WebSocket(asyncio.BufferedProtocol):
    """One connection, the protocol of its transport: frames in, messages out, and the closing handshake.

    `Life` names its states.
    """

    __slots__ = (
        "_end",
        "_fragments",
        "_is_waiting",
        "_life",
        "_reader",
        "_readers",
        "_receiver",
        "_settings",
        "_timer",
        "_transport",
        "bucket",
        "is_alive",
        "is_reading_paused",
        "pinged_at",
        "write",
    )

    def __init__(self, transport: asyncio.Transport, receiver: Receiver, settings: WireSettings) -> None:
        self._transport = transport
        self._receiver = receiver
        self._settings = settings
        self._life = OPEN
        self._end = NO_CLOSE
        self._fragments: Fragments | None = None
        self._readers = settings.readers
        # Its own while a frame comes in parts.
        self._reader: Reader | None = None
        # At the turnstile.
        self._is_waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self.write: Callable[[bytes], None] = transport.write
        self.is_alive = True
        self.is_reading_paused = False
        self.pinged_at = 0
        self.bucket = 0

    # Receiving

    def get_buffer(self, _size_hint: int) -> memoryview:
        if self._life >= DEAD:
            return SCRAP
        return (self._reader or self._readers.shared).buffer

    def buffer_updated(self, size: int) -> None:
        if self._life >= DEAD:
            self._drop(size)
            return
        readers, reader = self._readers, self._reader
        started = readers.turnstile.clock() if size > SHORT_READ else 0.0
        readers.pongs = 0
        if reader is None:
            reader = readers.shared
            reader.read(self, size)
            if not reader.is_between_frames or reader.is_worn:
                self._reader = reader
                readers.keep_shared()
        else:
            reader.read(self, size)
            if reader.is_between_frames:
                self._reader = None
                readers.give_back(reader)
        if readers.pongs:
            self._receiver.admit(readers.pongs)
        if started:
            seconds = readers.turnstile.clock() - started
            if self._life is not OPEN or self._receiver.is_too_much(size) or seconds > size * SLOW_BYTE_S:
                self._wait(seconds)

    def _drop(self, size: int) -> None:
        """Read nothing of what has come, until the peer has gone as well."""
        if size > SHORT_READ:
            self._wait(0.0)

    def receive_frame(self, frame: WSFrame) -> None:
        """Take a frame from the reader."""
        if self._life is not OPEN:
            self._receive_late(frame)
            return
        self.is_alive = True
        try:
            kind: Any = frame.msg_type  # an IntEnum, whatever the stubs say
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                self._receive_reserved(frame, kind)
            elif kind == TEXT and frame.fin and self._fragments is None:
                # The usual case, one text message in one frame: picows has checked its size.
                self._receiver.receive_text(frame.get_payload_as_utf8_text())
            else:
                self._receive(frame, kind)
        except UnicodeDecodeError:
            self.fail(CloseCode.INVALID_TEXT, "text is not UTF-8")
        except BadMessage as bad:
            self.fail(bad.code, bad.reason)
        except BaseException:
            # A handler's cancellation, too: past the reader it would leave the rest of this read to another connection.
            log.exception("connection failed")
            self.fail(CloseCode.INTERNAL_ERROR, "")

    def _receive_late(self, frame: WSFrame) -> None:
        """Take a frame after the end has begun: of what follows our CLOSE only the peer's matters."""
        kind: Any = frame.msg_type
        if kind == CLOSE and self._life is CLOSING:
            self._receive_close(frame)

    def _receive(self, frame: WSFrame, kind: int) -> None:
        if kind == CLOSE:
            self._receive_close(frame)
        elif kind == PING:
            if self._receiver.admit(1):
                self.write(control_frame(PONG, frame.get_payload_as_bytes()))
        elif kind == PONG:
            self._readers.pongs += 1
        elif kind == BINARY and frame.fin and self._fragments is None:
            self._receiver.receive_binary(frame.get_payload_as_bytes())
        else:
            self._receive_part(frame, kind)

    def _receive_part(self, frame: WSFrame, kind: int) -> None:
        """Take a binary message, or a part of a message in fragments."""
        fragments = self._fragments
        if (kind == CONTINUATION) != (fragments is not None):
            self.fail(CloseCode.PROTOCOL_ERROR, "a fragment out of turn")
            return
        if fragments is None:
            fragments = self._fragments = Fragments(is_text=kind == TEXT)
        self._gather(frame, fragments)

    def _receive_reserved(self, _frame: WSFrame, _kind: int) -> None:
        """Take a frame with reserved bits, which are for extensions (section 5.2)."""
        self.fail(CloseCode.PROTOCOL_ERROR, "reserved bits are set")

    def _gather(self, frame: WSFrame, fragments: Fragments) -> None:
        """Add a part to the message that it belongs to, and hand that on when it is whole."""
        most = self._settings.max_frame
        if most and fragments.size + frame.payload_size > most:
            self.fail(CloseCode.TOO_LARGE, f"a message has at most {most} bytes")
            return
        fragments.add(frame.get_payload_as_bytes())
        if fragments.is_in_too_many:
            self._receiver.admit(1)
        if frame.fin and self._life is OPEN:
            self._fragments = None
            self._hand_over(fragments)

    def _hand_over(self, fragments: Fragments) -> None:
        message = fragments.message()
        if isinstance(message, str):
            self._receiver.receive_text(message)
        else:
            self._receiver.receive_binary(message)

    # Closing

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the peer has two seconds to answer before the connection is cut.

        One that is flooding is not listened to any more, not even for its CLOSE.
        """
        if code == CloseCode.FLOODING:
            self.fail(code, reason)
        elif self._life is OPEN:
            self._begin_close(code, reason)

    def fail(self, code: int, reason: str) -> None:
        """Close because the peer broke a rule: nothing more of it is heard (RFC 6455 section 7.1.7)."""
        if self._life >= DEAD:
            return
        if self._life is OPEN:
            self._begin_close(code, reason)
        self._life = DEAD
        self._fragments = None
        if not self._transport.is_closing():
            # The server ends TCP, without waiting for an answer.  Only our half of it where that can be told apart:
            # closing a socket with unread bytes resets it, and the peer would never read why.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _begin_close(self, code: int, reason: str) -> None:
        self._life = CLOSING
        code = self._settings.closes.get(code, code)
        self._end = (int(code), reason, True)
        self._write_close(code, reason)
        self._cut_later()

    def _receive_close(self, frame: WSFrame) -> None:
        """Echo the peer's CLOSE, unless it answers ours, and end TCP, which is the server's part (section 7.1.1)."""
        given: Any = frame.get_close_code()
        code = int(given) if frame.payload_size else None
        if code is not None and not is_sendable(code):
            self.fail(CloseCode.PROTOCOL_ERROR, f"{code} is no close code")
            return
        is_first = self._life is OPEN
        self._life = DEAD
        if is_first:
            self._end = (code or 1005, frame.get_close_reason() or "", False)
            self._write_close(code)
        self._transport.close()
        self._cut_later()

    def _try_write(self, frame: bytes) -> None:
        try:
            self.write(frame)
        except RuntimeError:
            pass  # the transport is closed already; its connection_lost is on the way

    def _write_close(self, code: int | None, reason: str = "") -> None:
        self._try_write(close_frame(code, reason))
        self._receiver.closing()

    def _cut_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        self._life = GONE
        if self._reader is not None:
            self._reader.discard()
            self._reader = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._settings.wheel is not None:
            self._settings.wheel.remove(self)
        self._settings.sockets.pop(self, None)
        code, reason, by_us = self._end
        self._receiver.closed(code, reason, by_us=by_us)
        # uvloop's TLS holds on to the protocol's methods: a circle, and 16 KiB that would wait for the collector.
        self._transport.set_protocol(NOBODY)

    # Heartbeat

    def watch(self) -> None:
        """Begin to ask for signs of life."""
        if self._settings.wheel is not None and self._life is OPEN:
            self._settings.wheel.add(self)

    def ping(self) -> None:
        """Ask for a sign of life.  One that we do not read from cannot give it, and need not while it reads itself."""
        if self.is_reading_paused and self.outbox_size < HIGH_WATER:
            self.is_alive = True
        elif self._life is OPEN:
            self._try_write(self._settings.ping_frame)

    def pulse_lost(self) -> None:
        """No sign of life came."""
        self.fail(CloseCode.NO_HEARTBEAT, "no answer to a ping")

    # Flow

    @property
    def outbox_size(self) -> int:
        """Bytes written that the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Stop reading; what has been read is still delivered."""
        self.is_reading_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`, in its turn."""
        self.is_reading_paused = False
        self._resume_reading()

    def _wait(self, seconds: float) -> None:
        """Stop reading, after a read that took so long, until the turnstile calls `read_on`."""
        if not self._is_waiting:
            self._is_waiting = True
            self._transport.pause_reading()
            self._readers.turnstile.wait(self, seconds)

    def read_on(self) -> None:
        """Read on, a little, after a turn of the loop or more."""
        self._is_waiting = False
        if self._life < DEAD:
            self._reader = self._reader or self._readers.take()
            self._reader.narrow()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self.is_reading_paused or self._is_waiting or self._transport.is_closing()):
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._receiver.writing_paused()

    def resume_writing(self) -> None:
        self._receiver.writing_resumed()


class Nobody(asyncio.BufferedProtocol):
    """The protocol of a transport that is gone."""

    def get_buffer(self, _size_hint: int) -> memoryview:
        return SCRAP


NOBODY = Nobody()


def is_sendable(code: int) -> bool:
    """Whether a CLOSE may carry this code (RFC 6455 section 7.4)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


# RFC 6455 section 1.3.
ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def open_websocket(
    transport: asyncio.Transport,
    key: bytes,
    receiver: Receiver,
    settings: WireSettings,
    *,
    subprotocol: str | None = None,
) -> WebSocket:
    """Answer a checked upgrade request with 101 and hand the transport to a new connection.

    Args:
        transport: the client's.
        key: the request's Sec-WebSocket-Key.
        subprotocol: what to answer as Sec-WebSocket-Protocol.
    """
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_GUID, usedforsecurity=False).digest())
    more = b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode() if subprotocol else b""
    extension = settings.extension
    if extension is not None:
        more += b"Sec-WebSocket-Extensions: %b\r\n" % extension.answer.encode()
    transport.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, more)
    )
    socket = (extension.new_socket if extension else WebSocket)(transport, receiver, settings)
    transport.set_protocol(socket)
    transport.set_write_buffer_limits(high=HIGH_WATER)  # TLS had a higher one: the new protocol is to hear of it
    settings.sockets[socket] = None
    if settings.wheel is not None and settings.watches_at_once:
        settings.wheel.add(socket)
    return socket
