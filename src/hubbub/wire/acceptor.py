"""Taking connections from the listening sockets, up to the protocol that reads them.

uvloop's own server closes itself without a word when no descriptor is left, tells nobody of a TLS handshake before it
is done, and begins it with the first byte, where a PROXY protocol header would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Callable, Sequence

import structlog

from hubbub.tasks import Tasks
from hubbub.wire.arrivals import Arrival, Arrivals
from hubbub.wire.proxy import PREFIX_SIZE, Proxies, apart, proxy_header_size, proxy_header_source

__all__ = ["Acceptor"]

log = structlog.get_logger("hubbub.wire")

BACKLOG = 2048
# Connections taken in one turn of the loop; fewer where there are few places: who has just come, or was just answered,
# is not to be cut in the same turn, before its request is read or its answer is out.
AT_ONCE = 64
PLACES_PER_TURN = 4
# After an error, connections wait in the backlog for this long.
RETRY_S = 0.1
LOG_EVERY_S = 10.0
# For a PROXY protocol header, where nothing else is set.
HEADER_S = 10.0

# What it reports where this process, or the machine, has no more to give.
OUT_OF_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# What accept(2) reports of a connection that has gone already, and of the network.
OF_CONNECTION = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH}
    | {errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ENOPROTOOPT}
)


class Acceptor:
    """Takes connections.

    Args:
        protocol: makes the protocol of one.
        arrivals: the places for those that are no WebSockets yet.
        timeout_s: for a TLS handshake, and for a PROXY protocol header; 0 is a minute and ten seconds.
        proxies: the trusted ones.
        reads_proxy_header: whether connections of trusted proxies begin with a PROXY protocol header.

    Attributes:
        accepted: how many connections were taken, those included that end in their TLS handshake.
        failures: how often a connection could not be taken, mostly because no descriptor was left.
    """

    def __init__(
        self,
        protocol: Callable[[Arrival], asyncio.Protocol],
        arrivals: Arrivals,
        timeout_s: float,
        proxies: Proxies,
        *,
        reads_proxy_header: bool,
    ) -> None:
        self.accepted = 0
        self.failures = 0
        self._protocol = protocol
        self._arrivals = arrivals
        self._timeout_s = timeout_s
        self._proxies = proxies
        self._reads_proxy_header = reads_proxy_header
        self._at_once = max(1, min(AT_ONCE, arrivals.in_all // PLACES_PER_TURN)) if arrivals.in_all else AT_ONCE
        self._tls: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._opening: dict[Arrival, None] = {}
        self._tasks = Tasks()
        self._log_at = float("-inf")
        self._unlogged = 0

    def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Listen."""
        self._tls = tls
        self.accept_on(sockets)

    def accept_on(self, sockets: Sequence[socket.socket]) -> None:
        """Take connections from these from now on, and no more from others; those stay open."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            if each not in sockets:
                loop.remove_reader(each)
        for each in sockets:
            if each not in self._sockets:
                each.setblocking(False)
                each.listen(BACKLOG)
                loop.add_reader(each, self._accept, each)
        self._sockets = list(sockets)

    @property
    def opening(self) -> int:
        """How many connections have no protocol yet."""
        return len(self._opening)

    def stop(self) -> None:
        """Listen no more, and cut the connections that have no protocol yet."""
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._sockets.clear()
        for arrival in list(self._opening):
            arrival.cut()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._at_once):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in OF_CONNECTION:
                    self._rest(listening, error)
                    return
            else:
                self._begin(sock, str(address[0]))

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Take no connections for a moment: those that wait would be reported again and again.

        Where nothing is left, those that keep the server waiting make room for as many as are taken at once.
        """
        loop = asyncio.get_running_loop()
        if error.errno in OUT_OF_ROOM:
            self._arrivals.make_room(self._at_once)
        loop.remove_reader(listening)
        loop.call_later(RETRY_S, self._go_on, listening)
        self.failures += 1
        self._unlogged += 1
        if loop.time() - self._log_at >= LOG_EVERY_S:
            log.error("connections cannot be taken", error=error.strerror, count=self._unlogged)
            self._log_at = loop.time()
            self._unlogged = 0

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _begin(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        self.accepted += 1
        arrival = self._arrivals.enter(address, functools.partial(shut, sock))
        if arrival is None:
            sock.close()
            return
        self._opening[arrival] = None
        self._tasks.start(self._open(sock, arrival))

    async def _open(self, sock: socket.socket, arrival: Arrival) -> None:
        """Bring a connection to its protocol, which has its place from then on."""
        loop = asyncio.get_running_loop()
        # uvloop gives a handshake that has no other limit a minute; there is no way to have none.
        handshake_s = (self._timeout_s or None) if self._tls is not None else None
        try:
            if self._reads_proxy_header and self._proxies.is_trusted(arrival.address):
                await self._read_proxy_header(sock, arrival)
            await loop.connect_accepted_socket(
                lambda: self._protocol(arrival), sock, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, ValueError, TimeoutError) as error:
            log.debug("connection not opened", address=arrival.address, error=str(error))
            arrival.leave()
            sock.close()
        except BaseException:
            arrival.leave()
            sock.close()
            raise
        finally:
            self._opening.pop(arrival, None)

    async def _read_proxy_header(self, sock: socket.socket, arrival: Arrival) -> None:
        """Read the header to its last byte and no further: what follows is for TLS, or HTTP."""
        async with asyncio.timeout(self._timeout_s or HEADER_S):
            prefix = await read_exactly(sock, PREFIX_SIZE)
            rest = await read_exactly(sock, proxy_header_size(prefix))
        source = proxy_header_source(prefix, rest)
        if not arrival.move(apart(source or arrival.address)):
            raise OSError(f"too many connections from {arrival.address}")


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes; `ConnectionError` where there are fewer."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        part = await loop.sock_recv(sock, size - len(data))
        if not part:
            raise ConnectionResetError("the connection ended within the PROXY protocol header")
        data += part
    return data


def shut(sock: socket.socket) -> None:
    """End a connection, whoever reads it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
