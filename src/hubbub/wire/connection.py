"""One HTTP/1.1 connection: requests in, answers out, and the way from a request to a WebSocket.

httptools parses, and is given one head or a part of one body at a time.  What is done here is what a server owes itself
and its clients around that: bounded heads (`head.py`) and bodies, answers one at a time and in the order of their
requests, and a deadline for each step.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable
from enum import IntEnum
from http import HTTPStatus
from typing import NamedTuple

import httptools
import structlog

from hubbub.logs import is_debugging
from hubbub.wire.arrivals import Arrival
from hubbub.wire.common import Common
from hubbub.wire.denial import Denied
from hubbub.wire.head import (
    MAX_BODY,
    MAX_HEAD,
    Gauge,
    asked_host,
    bad,
    body_length,
    body_too_large,
    expects_continue,
    largest_body,
    without_offers,
)
from hubbub.wire.hosts import Hosts, local_address
from hubbub.wire.proxy import Proxies
from hubbub.wire.refusals import UpgradeRefusals
from hubbub.wire.request import Request, RequestTarget, Response, read_target
from hubbub.wire.streaming import Streaming, frame_for, open_stream
from hubbub.wire.turnstile import Turnstile

__all__ = ["HttpConnection", "HttpShared"]

log = structlog.get_logger("hubbub.http")

# Bytes of a body on the wire, for a body of `MAX_BODY`.  The parser has no limit of its own, not even for what follows
# the last chunk.
MAX_FRAMED = 64 * 1024
# Bytes that a client may send after its last answer.  Closing at the first of them would reset the connection, and the
# client could lose the answer.
MAX_DROPPED = 256 * 1024
# Requests that one client may send before it has an answer; then its connection is not read.
MAX_WAITING = 16
# Bytes of a body that the parser is given at once, and of heads and bodies that are parsed in one turn of the loop: the
# requests in them take ten times the memory.
PIECE = 4096

Answer = Callable[[Request], Awaitable[Response]]
Upgrade = Callable[[asyncio.Transport, Request], None]


class HttpShared:
    """What the connections of one server share.

    Args:
        answer: answers a request; it never fails.
        upgrade: takes over the transport of a request for a WebSocket.
        common: makes the headers of every answer.
        timeout_s: how long a client may take for each request, and for taking an answer; 0 is for ever.
        hosts: the names that it answers to; those of the loopback without any.
        turnstile: where a connection waits after a long read.
        proxies: those that are trusted.

    Attributes:
        connections: those that are open and no WebSockets.
        is_leaving: each answer is its connection's last one.
        is_stopping: nobody is waited for who does not read his last answer.
    """

    def __init__(
        self,
        answer: Answer,
        upgrade: Upgrade,
        common: Common,
        timeout_s: float,
        hosts: Hosts | None = None,
        turnstile: Turnstile | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self.answer = answer
        self.upgrade = upgrade
        self.common = common
        self.timeout_s = timeout_s
        self.hosts = hosts or Hosts()
        self.turnstile = turnstile or Turnstile()
        self.proxies = proxies or Proxies()
        self.refusals = UpgradeRefusals()
        self.connections: set[HttpConnection] = set()
        self.is_leaving = False
        self.is_stopping = False


class Intake(IntEnum):
    """What becomes of the bytes that a client sends.

    A connection goes from one of the first two to the other with each request, and otherwise only forward.
    """

    HEAD = 0
    """They belong to a request's head, or begin one."""
    BODY = 1
    """They belong to what follows a head."""
    DROPPING = 2
    """They are dropped: the last request has come, or one was refused."""
    GONE = 3
    """The connection has ended, or is a WebSocket's."""


HEAD, BODY, DROPPING, GONE = Intake


class Turn(NamedTuple):
    """A request that has come, or a refusal, and how it is to be answered."""

    asked: Request | Denied
    stays_open: bool
    head_only: bool


class HttpConnection(asyncio.Protocol):
    """One connection until it ends or becomes a WebSocket's.  `Intake` names its states."""

    _parser: httptools.HttpRequestParser  # from connection_made on, until it is gone

    def __init__(self, shared: HttpShared, loop: asyncio.AbstractEventLoop, arrival: Arrival | None = None) -> None:
        self._arrival = arrival
        self._shared = shared
        self._loop = loop
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # there from connection_made on
        # Of the connection, and of the client behind it.
        self._peer = self._address = ""
        self._is_secure = False
        self._deadline: asyncio.TimerHandle | None = None
        self._intake = HEAD
        # What has come, and waits for the parser.
        self._unparsed = bytearray()
        self._gauge = Gauge()
        self._dropped = 0
        # The request that is coming in.
        self._url = b""
        self._headers: dict[str, list[str]] = {}
        self._target = RequestTarget("", "")
        self._head_only = False
        self._body_left: int | None = 0
        self._most_body = MAX_BODY
        self._framed = 0
        self._body = bytearray()
        self._upgrade: Request | None = None
        # Those that have come.
        self._waiting: deque[Turn] = deque()
        self._task: asyncio.Task[None] | None = None
        # Why it is not read: too many requests wait for an answer, or it waits at the turnstile.
        self._is_reading_paused = False
        self._is_at_turnstile = False
        self._is_writing_paused = False
        self._has_ended = False
        self._has_answered = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has no other
        self._transport = transport
        # A reference cycle, and nobody tells one of the end that has never begun: its TLS handshake has failed.
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        self._peer = self._address = str(peer[0]) if peer else ""
        if self._arrival is not None:
            self._peer = self._address = self._arrival.address
            self._arrival.cut = self.abort
        self._shared.connections.add(self)
        self._start_deadline()

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()
        self._waiting.clear()

    def eof_received(self) -> bool:
        # One that has sent all may still listen for its answers, where TCP can tell.
        self._has_ended = True
        return (self._task is not None or bool(self._waiting)) and self._transport.can_write_eof()

    def has_client(self) -> bool:
        """Whether the client may still want an answer; one that has ended its half is hardly there any more."""
        return not (self._has_ended or self._transport.is_closing())

    @property
    def is_idle(self) -> bool:
        """Whether it has had an answer, and has asked nothing since."""
        is_between = self._intake is not BODY and not self._unparsed
        return self._has_answered and is_between and self._task is None and not self._waiting

    def stop(self) -> None:
        """Close after the answer that is being made, or at once without one."""
        if self._task is None:
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self._go_on()

    # Reading

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parse a piece of what has come; the turnstile calls for the next one."""
        if self._intake >= DROPPING:
            self._drop()
        if not self._unparsed or self._is_reading_paused or self._is_at_turnstile:
            return
        started = self._shared.turnstile.clock()
        taken = step = self._step()
        while step and taken < PIECE and self._unparsed and not self._is_reading_paused:
            step = self._step()
            taken += step
        if self._intake >= DROPPING:
            self._drop()
        elif step and self._unparsed and not self._is_reading_paused:
            self._is_at_turnstile = True
            self._transport.pause_reading()
            self._shared.turnstile.wait(self, self._shared.turnstile.clock() - started)

    def _step(self) -> int:
        """Parse a head or a part of a body; how many bytes, 0 when more must come first or no more is read."""
        try:
            if self._intake is HEAD:
                try:
                    size = self._gauge.end(self._unparsed)
                finally:  # it has removed the empty lines before the head
                    self._head_only = self._unparsed.startswith(b"HEAD ")
            elif self._intake is BODY:
                size = self._body_part()
            else:
                return 0
        except Denied as denied:
            del self._unparsed[:MAX_HEAD]
            self._refuse(denied)
            return 0
        if size:
            data = bytes(self._unparsed[:size])
            del self._unparsed[:size]
            self._feed(data)
        return size

    def _body_part(self) -> int:
        """How many bytes at the front belong to the body: what follows it is not for the parser yet."""
        if self._body_left is not None:
            return min(self._body_left, len(self._unparsed), PIECE)
        # A body in chunks ends at the end of a line.
        return self._unparsed.find(b"\n", 0, PIECE) + 1 or min(len(self._unparsed), PIECE)

    def _drop(self) -> None:
        """Drop what has come: the last answer is out, or waits for its turn."""
        self._dropped += len(self._unparsed)
        self._unparsed.clear()
        if self._dropped > MAX_DROPPED and self._intake is DROPPING:
            self.abort()

    def read_on(self) -> None:
        """Go on reading after a turn of the loop or more."""
        self._is_at_turnstile = False
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self._is_reading_paused or self._is_at_turnstile or self._transport.is_closing()):
            self._transport.resume_reading()
            self._parse()

    def _feed(self, data: bytes) -> None:
        if self._intake is BODY:
            self._framed += len(data)
            if self._body_left is not None:
                self._body_left -= len(data)
        else:
            data = without_offers(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._take_upgrade()
        except httptools.HttpParserError:
            self._refuse(bad("this is not an HTTP request"))
        else:
            if self._framed > MAX_FRAMED // MAX_BODY * self._most_body and self._intake is BODY:
                self._refuse(Denied(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "the body's chunks are too many"))

    # What the parser calls.  It cannot be stopped, and goes on to the end of its piece after a refusal.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._framed = 0
        self._body = bytearray()

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._intake is not HEAD:
            return  # a trailer, which must not pass for a header (RFC 9110 section 6.5.1)
        self._headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())

    def on_headers_complete(self) -> None:
        if self._intake is not HEAD:
            return
        self._intake = BODY
        try:
            self._address, self._is_secure = self._shared.proxies.sender(self._peer, self._headers)
            self._check_head()
        except Denied as denied:
            self._refuse(denied)

    def _check_head(self) -> None:
        parser, headers = self._parser, self._headers
        version = parser.get_http_version()
        self._target = read_target(self._url.decode("latin-1"), parser.get_method().decode("ascii"))
        self._most_body = largest_body(self._target.path)
        self._body_left = body_length(headers, version, self._most_body)
        host = asked_host(headers, self._target.authority, version)
        if host is not None:
            headers["host"] = [host]
            here = functools.partial(local_address, self._transport)
            self._shared.hosts.check(host, here, self._address, self._loop.time())
        if parser.should_upgrade() and self._body_left != 0:
            raise bad("a request for a WebSocket has no body")
        if expects_continue(headers, version) and self._body_left != 0 and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._intake is not BODY:
            return
        self._body += part
        if len(self._body) > self._most_body:
            self._refuse(body_too_large(self._most_body))

    def on_message_complete(self) -> None:
        if self._intake is not BODY:
            return
        parser, target = self._parser, self._target
        self._intake = HEAD
        method = parser.get_method().decode("ascii")
        request = Request(
            method,
            target.path,
            target.query,
            self._headers,
            self._address,
            bytes(self._body),
            self._is_secure,
            self.has_client,
            version=parser.get_http_version(),
        )
        if parser.should_upgrade():
            self._upgrade = request
        else:
            self._take(request, stays_open=parser.should_keep_alive() and parser.get_http_version() == "1.1")

    def _refuse(self, denied: Denied) -> None:
        """Answer with an error, after the answers that are due before it; nothing more is read."""
        if self._intake < DROPPING:
            self._take(denied, stays_open=False)

    # Upgrading

    def _take_upgrade(self) -> None:
        request, self._upgrade = self._upgrade, None
        if request is None:
            return  # it has been refused
        if self._unparsed:
            # RFC 6455 section 4.1: a client waits for the answer before it sends anything.
            self._refuse_upgrade("frames came before the answer to the upgrade request")
        elif self._task is not None or self._waiting or self._is_writing_paused:
            # A new WebSocket would not be told that its transport has paused writing.
            self._refuse_upgrade("an upgrade request came before the answer to the request before it")
        else:
            self._leave()
            self._shared.upgrade(self._transport, request)

    def _refuse_upgrade(self, message: str) -> None:
        denied = bad(message)
        self._shared.refusals.note(denied, self._address, self._loop.time())
        self._refuse(denied)

    # Answers

    def _take(self, asked: Request | Denied, *, stays_open: bool) -> None:
        if not stays_open:
            self._intake = DROPPING
        self._waiting.append(Turn(asked, stays_open, self._head_only))
        if len(self._waiting) > MAX_WAITING and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()
        self._go_on()

    def _go_on(self) -> None:
        """Turn to the next request, if there is one and its answer has somewhere to go."""
        while self._waiting and self._task is None and not self._is_writing_paused:
            asked, stays_open, head_only = self._waiting.popleft()
            if isinstance(asked, Denied):
                self._write(asked.to_bytes(self._shared.common.headers(), head_only=head_only), stays_open=False)
            else:
                self._stop_deadline()
                if self._arrival is not None:
                    self._arrival.work()
                self._task = self._loop.create_task(self._answer(asked, stays_open=stays_open))
        if self._is_reading_paused and not self._waiting:
            self._is_reading_paused = False
            self._resume_reading()

    async def _answer(self, request: Request, *, stays_open: bool) -> None:
        response = await self._shared.answer(request)
        if is_debugging():
            answered = {"path": request.path, "status": response.status, "address": self._address}
            log.debug("request", method=request.method, **answered)
        if isinstance(response, Streaming):
            self._stream(response, request)
            return
        has_more = self._waiting or self._is_reading_paused or self._is_at_turnstile
        is_last = self._has_ended and not has_more
        stays_open = stays_open and not is_last and not self._shared.is_leaving
        common = self._shared.common.headers()
        self._task = None
        head_only = request.method == "HEAD"
        self._write(response.to_bytes(common, keep_alive=stays_open, head_only=head_only), stays_open=stays_open)
        self._go_on()

    def _write(self, answer: bytes, *, stays_open: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(answer)
        self._has_answered = True
        self._start_deadline()
        if stays_open:
            return
        self._waiting.clear()
        # Only our half where that can be told apart: closing a socket with unread bytes resets it, and the client
        # would never read the answer (RFC 9112 section 9.6).  The deadline ends what is left.
        if transport.can_write_eof() and not self._has_ended and not self._shared.is_stopping:
            transport.write_eof()
        else:
            transport.close()

    def _stream(self, answer: Streaming, request: Request) -> None:
        """Let go of the transport to an answer that is not over; requests behind it are not answered."""
        self._task = None
        if not self.has_client():
            answer.author.closed(1006, "", by_us=False)
            self.abort()
            return
        self._leave()
        self._waiting.clear()
        if self._is_reading_paused:  # otherwise nobody would see that the client has gone
            self._is_reading_paused = False
            self._resume_reading()
        open_stream(self._transport, answer, self._shared.common.headers(), frame_for(request))

    # Ends

    def _leave(self) -> None:
        """Stop reading and answering: the connection has ended, or another protocol has its transport."""
        if self._intake is not GONE:
            self._intake = GONE
            if self._arrival is not None:
                self._arrival.leave()
                self._arrival = None  # a reference cycle
            self._unparsed.clear()
            self._stop_deadline()
            self._shared.connections.discard(self)
            del self._parser  # a reference cycle

    def _start_deadline(self) -> None:
        self._stop_deadline()
        if self._arrival is not None:
            self._arrival.wait()
        if self._shared.timeout_s:
            self._deadline = self._loop.call_later(self._shared.timeout_s, self._transport.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
