"""Answers that are not over: a response whose body is written piece by piece, for as long as there is anything to say.

Such an answer is its connection's last one: nothing that the client sends after the request is read.  What is written
is bounded as it is for a WebSocket, and a client that takes nothing of it is given up by the same wheel: it cannot
answer a ping, so what counts as a sign of life is that it takes what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from hubbub.client import Frame, Socket
from hubbub.heartbeat import Wheel
from hubbub.wire.request import STATUS_LINES, Request, Response
from hubbub.wire.websocket import CLOSE_TIMEOUT_S, HIGH_WATER, NO_CLOSE, End

__all__ = ["Author", "HttpStream", "Streaming", "chunk", "frame_for", "open_stream", "plain"]

# Bytes that a client may send after its request.
MAX_DROPPED = 256 * 1024

LAST_CHUNK = b"0\r\n\r\n"


class Author(Protocol):
    """Who writes an answer that is not over, and hears what becomes of it.

    One that never begins, because the client has gone, is closed without having been attached.
    """

    def attach(self, socket: Socket, /) -> None:
        """Take up the connection; its head has been written."""
        ...

    def writing_paused(self) -> None:
        """The client takes what is written slower than it is written."""
        ...

    def writing_resumed(self) -> None:
        """The client has taken what was written."""
        ...

    def closing(self) -> None:
        """The end has been written: nothing may be written after it."""
        ...

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        """The connection is gone; the code is that of our close, and 1006 where there was none."""
        ...


def nothing(_code: int, _reason: str) -> bytes:
    """An answer that ends without a word."""
    return b""


class Streaming(Response, frozen=True, kw_only=True):
    """An answer that is not over; it has no body but what its author writes.

    Attributes:
        author: writes it, in frames of `frame_for`.
        sockets: those of the server, which a drain waits for.
        wheel: has `beat` written now and then; None for never.
        watches_at_once: whether that begins with the answer, and not when its author says so.
        beat: says nothing, and keeps proxies from taking the connection for a dead one.
        last: what is written when the server ends it, by code and reason.
    """

    author: Author
    sockets: dict[object, None]
    wheel: Wheel | None = None
    beat: bytes = b""
    watches_at_once: bool = True
    last: Callable[[int, str], bytes] = nothing

    def fields(self) -> list[tuple[str, str]]:
        return [*self.headers.items(), ("Content-Type", self.media_type)]

    def head(self, common: bytes, *, is_chunked: bool) -> bytes:
        """The response up to its body; `common` are the headers, each ending in CRLF, of every answer."""
        lines = [STATUS_LINES[self.status]]
        for name, value in self.fields():
            lines.append(f"{name}: {value}\r\n")
        if is_chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        lines.append("Connection: close\r\n")
        return "".join(lines).encode("latin-1") + common + b"\r\n"


def chunk(data: bytes) -> bytes:
    """A piece of a body in the chunked coding (RFC 9112 section 7.1); it must not be empty, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(data: bytes) -> bytes:
    """A piece of a body that ends with its connection, or that another server frames."""
    return data


def frame_for(request: Request) -> Frame:
    """What the pieces of the answer to a request are put into."""
    return plain if request.scope is not None or request.version == "1.0" else chunk


class HttpStream(asyncio.Protocol):
    """The connection of such an answer, the protocol of its transport (`client.Socket`, `heartbeat.Pulse`)."""

    __slots__ = (
        "_answer",
        "_dropped",
        "_end",
        "_frame",
        "_taken",
        "_timer",
        "_transport",
        "_written",
        "bucket",
        "is_alive",
        "pinged_at",
    )

    def __init__(self, transport: asyncio.Transport, answer: Streaming, frame: Frame) -> None:
        self._transport = transport
        self._answer = answer
        self._frame = frame
        self._dropped = 0
        # Bytes written, and those of them that the client had taken at the last look.
        self._written = self._taken = 0
        # How it ends, once that has begun.
        self._end: End | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_alive = True
        self.pinged_at = 0
        self.bucket = 0

    # Writing

    def write(self, data: bytes) -> None:
        """Write frames."""
        self._written += len(data)
        self._transport.write(data)

    @property
    def outbox_size(self) -> int:
        """Bytes written that the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self._answer.author.writing_paused()

    def resume_writing(self) -> None:
        self._answer.author.writing_resumed()

    # Reading: nothing that comes is of any use

    def pause_reading(self) -> None:
        """Nothing that comes is handled, whether it is read or not."""

    def resume_reading(self) -> None:
        """As `pause_reading`."""

    def data_received(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > MAX_DROPPED:
            self._transport.abort()

    def eof_received(self) -> None:
        # A client that has gone looks like one that has ended its half; it is not written to for minutes to find out.
        if self._end is None:
            self._transport.abort()

    # Heartbeat

    def watch(self) -> None:
        """Begin to write beats, and to look for signs of life."""
        wheel = self._answer.wheel
        if wheel is not None and self._end is None:
            wheel.add(self)
            give_up_after(self._transport, wheel.silence_s)

    def ping(self) -> None:
        """Write a beat; whoever has taken anything since the last one, or all there is, is alive."""
        waiting = self.outbox_size
        # The system's own buffer holds megabytes, and takes no more before a good part of it is gone.
        taken = self._written - waiting - unconfirmed(self._transport) if waiting else self._written
        if not waiting or taken != self._taken:
            self.is_alive = True
        self._taken = taken
        if waiting < HIGH_WATER and self._answer.beat and self._end is None:
            with contextlib.suppress(RuntimeError):  # it is closed already; `connection_lost` is on the way
                self.write(self._frame(self._answer.beat))

    def pulse_lost(self) -> None:
        """It takes nothing of what is written."""
        self._transport.abort()

    # Ends

    def close(self, code: int, reason: str = "") -> None:
        """End the answer, behind what is queued; a client that does not take that in time is cut."""
        if self._end is not None:
            return
        self._end = (int(code), reason, True)
        last = self._answer.last(code, reason)
        end = self._frame(last) if last else b""
        with contextlib.suppress(RuntimeError):  # as above
            self.write(end + LAST_CHUNK if self._frame is chunk else end)
        self._answer.author.closing()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)
        if self._transport.is_closing():
            return
        # Only our half where that can be told apart: closing a socket with unread bytes resets it, and the client could
        # lose the end (RFC 9112 section 9.6).
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer = self._answer
        if answer.wheel is not None:
            answer.wheel.remove(self)
        answer.sockets.pop(self, None)
        code, reason, by_us = self._end or NO_CLOSE
        answer.author.closed(code, reason, by_us=by_us)
        self._transport.set_protocol(OVER)  # uvloop's TLS holds on to the methods of its protocol: a circle


class Over(asyncio.Protocol):
    """The protocol of a transport that is gone."""


OVER = Over()


def open_stream(transport: asyncio.Transport, answer: Streaming, common: bytes, frame: Frame) -> None:
    """Begin an answer that is not over, and hand the transport to it.

    Args:
        common: the headers, each ending in CRLF, of every answer.
        frame: that of `frame_for`.
    """
    stream = HttpStream(transport, answer, frame)
    transport.set_protocol(stream)
    transport.set_write_buffer_limits(high=HIGH_WATER)  # TLS had a higher one: the new protocol is to hear of it
    transport.write(answer.head(common, is_chunked=frame is chunk))
    answer.sockets[stream] = None
    if answer.watches_at_once:
        stream.watch()
    answer.author.attach(stream)


def unconfirmed(transport: asyncio.Transport) -> int:
    """Bytes that the system has taken of what was written and whose arrival the peer has not confirmed; 0 for unknown.

    Those of TLS are a little more than were written; it is their change that counts.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # it is closed already
        return 0


def give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """Have the system end a connection whose peer has not confirmed what was sent for so long.

    A few bytes of a beat disappear in the system's buffer, so that nobody else sees that the peer has vanished.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    with contextlib.suppress(OSError):  # no TCP
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
