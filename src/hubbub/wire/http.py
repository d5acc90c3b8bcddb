"""HTTP on the server's port: listening, and ending."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

from hubbub.wire.acceptor import Acceptor
from hubbub.wire.arrivals import Arrival, Arrivals
from hubbub.wire.connection import HttpConnection, HttpShared

__all__ = ["HttpServer"]

# Bytes of the kernel's receive buffer for a connection, which it doubles.  The default grows to megabytes, and a flood
# would bring them all in one turn of the loop.
RECEIVE_BUFFER = 32 * 1024


class HttpServer:
    """Accepts connections, and ends them.

    Args:
        shared: what its connections share; its `timeout_s` is also that of a TLS handshake.
        arrivals: the places of connections that are no WebSockets yet; without any, there is no limit.
        reads_proxy_header: whether connections of trusted proxies begin with a PROXY protocol header.
    """

    def __init__(
        self, shared: HttpShared, arrivals: Arrivals | None = None, *, reads_proxy_header: bool = False
    ) -> None:
        self._shared = shared
        self._acceptor = Acceptor(
            self._connection,
            arrivals or Arrivals(0, 0, lambda _address: False, time.monotonic),
            shared.timeout_s,
            shared.proxies,
            reads_proxy_header=reads_proxy_header,
        )

    @property
    def accepted(self) -> int:
        """How many connections have come, those included that ended in their TLS handshake."""
        return self._acceptor.accepted

    @property
    def pending(self) -> int:
        """How many of them are open and no WebSockets."""
        return len(self._shared.connections) + self._acceptor.opening

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Listen."""
        bound_buffers(sockets)
        self._acceptor.start(sockets, tls)

    def accept_on(self, sockets: list[socket.socket]) -> None:
        """Take connections from these sockets from now on, and no more from others; none where the end has begun."""
        if not self._shared.is_leaving:
            bound_buffers(sockets)
            self._acceptor.accept_on(sockets)

    async def hand_over(self, within_s: float) -> None:
        """Take no more connections, because another process does, and answer what those ask that have come."""
        self._acceptor.accept_on([])
        self._shared.is_leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._is_asked:  # noqa: ASYNC110  # they are answered one by one, and soon
                    await asyncio.sleep(0.01)

    @property
    def _is_asked(self) -> bool:
        """Whether somebody waits for an answer, or has not asked yet."""
        return bool(self._acceptor.opening) or any(not each.is_idle for each in self._shared.connections)

    def _connection(self, arrival: Arrival) -> HttpConnection:
        return HttpConnection(self._shared, asyncio.get_running_loop(), arrival)

    async def stop(self, within_s: float) -> None:
        """Listen no more, and let the answers go out that are being made."""
        self._stop_listening()
        for connection in list(self._shared.connections):
            connection.stop()
        try:
            async with asyncio.timeout(within_s):
                while self._shared.connections:  # noqa: ASYNC110  # they end one by one, and soon
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.cut()

    def cut(self) -> None:
        """Listen no more, and cut every connection."""
        self._stop_listening()
        for connection in list(self._shared.connections):
            connection.abort()

    def _stop_listening(self) -> None:
        self._shared.is_leaving = self._shared.is_stopping = True
        self._acceptor.stop()


def bound_buffers(sockets: list[socket.socket]) -> None:
    """Bound what the kernel receives for a connection: it inherits that from the socket that it comes by."""
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
