"""Requests over HTTP on connections that are kept open: for programs with an event loop, and for those without one."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable, Mapping

from hubbub.errors import ProtocolError
from hubbub.sdk.calls import Ask, HttpReply
from hubbub.sdk.session import ServerAddress

__all__ = ["MAX_REPLY", "AsyncCourier", "BlockingCourier"]

# Bytes of an answer.
MAX_REPLY = 32 << 20
PIECE = 1 << 16

# A connection that was not used for so long is not used again: the server closes it after twice that time.
IDLE_S = 5.0
# Connections that wait to be used again.
MOST_IDLE = 8


class BlockingCourier:
    """Sends requests, and waits for their answers.  Any number of threads may do so at once.

    Args:
        headers: of each request.
    """

    def __init__(self, server: ServerAddress, headers: Mapping[str, str]) -> None:
        self._server = server
        self._headers = headers
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    def send(self, ask: Ask) -> HttpReply | OSError:
        """Send a request; its answer, or why there is none.

        Raises:
            ProtocolError: the answer is too large.
        """
        ends = time.monotonic() + ask.timeout_s
        connection = self._take(ask.timeout_s)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(ask.timeout_s)
            connection.request("POST", f"{self._server.path}{ask.path}", ask.body, dict(self._headers))
            response = connection.getresponse()
            body = read_body(response, ends)
        except http.client.HTTPException as error:
            connection.close()
            return ConnectionError(f"the answer was broken off: {error!r}")
        except OSError as error:
            connection.close()
            return error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return HttpReply(response.status, body, seconds(response.headers.get("retry-after", "")))

    def close(self) -> None:
        """End the connections that wait to be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            if self._process != os.getpid():  # those of the parent are its own
                self._idle, self._process = [], os.getpid()
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < IDLE_S:
                    return connection
                connection.close()
        server = self._server
        if server.tls is not None:
            return http.client.HTTPSConnection(server.host, server.port, timeout=timeout_s, context=server.tls)
        return http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def read_body(response: http.client.HTTPResponse, ends: float) -> bytes:
    """All of an answer's body, within its bounds of time and size."""
    body = bytearray()
    while piece := response.read1(PIECE):
        body += piece
        if len(body) > MAX_REPLY:
            raise too_large()
        if time.monotonic() > ends:
            raise TimeoutError("the answer takes too long")
    # The end of a body in chunks is in it, and Hubbub tells the length of every other.
    if response.length or (response.length is None and not response.chunked):
        raise ConnectionResetError("the server closed before it had answered")
    response.close()  # `read1` does not notice the end, and the connection would not be ready for another request
    return bytes(body)


class AsyncCourier:
    """The same for a program with an event loop."""

    def __init__(self, server: ServerAddress, headers: Mapping[str, str]) -> None:
        self._server = server
        lines = [f"Host: {server.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join(lines)
        self._idle: list[tuple[AsyncLink, float]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, ask: Ask) -> HttpReply | OSError:
        """Send a request; its answer, or why there is none.

        Raises:
            ProtocolError: the answer is too large, or no HTTP.
        """
        try:
            async with asyncio.timeout(ask.timeout_s):
                return await self._send(ask)
        except OSError as error:
            return error

    async def _send(self, ask: Ask) -> HttpReply:
        link = self._take() or AsyncLink(
            *await asyncio.open_connection(self._server.host, self._server.port, ssl=self._server.tls)
        )
        head = f"POST {self._server.path}{ask.path} HTTP/1.1\r\n{self._head}\r\nContent-Length: {len(ask.body)}\r\n\r\n"
        try:
            reply, stays_open = await link.send(head.encode("latin-1") + ask.body)
        except BaseException:
            link.abort()
            raise
        if stays_open and len(self._idle) < MOST_IDLE:
            self._idle.append((link, time.monotonic()))
        else:
            link.abort()
        return reply

    def _take(self) -> AsyncLink | None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # those of another loop end with it
            self._idle, self._loop = [], loop
        while self._idle:
            link, since = self._idle.pop()
            if time.monotonic() - since < IDLE_S and link.is_open:
                return link
            link.abort()
        return None

    async def close(self) -> None:
        """End the connections that wait to be used again."""
        idle, self._idle = self._idle, []
        for link, _ in idle:
            link.abort()
            with contextlib.suppress(OSError):
                await link.gone()


class AsyncLink:
    """One connection, which carries one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_open(self) -> bool:
        """Whether nothing is known to speak against using it again."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def send(self, request: bytes) -> tuple[HttpReply, bool]:
        """Send a request; its answer, and whether the connection stays open after it."""
        # Whoever imports the client need not load the parser.
        import httptools

        self._writer.write(request)
        coming = ComingReply()
        parser = httptools.HttpResponseParser(coming)
        coming.stays_open = parser.should_keep_alive  # known only while the end is being told
        while not coming.is_complete:
            data = await self._reader.read(PIECE)
            if not data:
                raise ConnectionResetError("the server closed before it had answered")
            try:
                parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise ProtocolError(f"what answers does not speak HTTP: {error}") from None
            if len(coming.body) > MAX_REPLY:
                raise too_large()
        reply = HttpReply(parser.get_status_code(), bytes(coming.body), seconds(coming.retry_after))
        return reply, coming.is_kept_open

    def abort(self) -> None:
        """End it at once: nothing more is said on it."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._writer.wait_closed()


class ComingReply:
    """Collects an answer as httptools reads it.

    Attributes:
        stays_open: tells whether the connection does, when the answer has come.
        is_kept_open: what it has told.
    """

    stays_open: Callable[[], bool]

    def __init__(self) -> None:
        self.is_kept_open = False
        self.body = bytearray()
        self.retry_after = ""
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.is_kept_open = self.stays_open()


def seconds(retry_after: str) -> float:
    """What the header says; a date is its other form (RFC 9110 section 10.2.3), and no Hubbub server sends it."""
    return float(retry_after) if retry_after.isdecimal() else 0.0


def too_large() -> ProtocolError:
    return ProtocolError(f"an answer of over {MAX_REPLY} bytes is not a Hubbub server's")
