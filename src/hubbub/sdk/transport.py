"""One WebSocket to the server; the only module here that knows `websockets`."""

from __future__ import annotations

import asyncio
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from hubbub.errors import ProtocolError
from hubbub.sdk.closing import LOST
from hubbub.sdk.session import ServerAddress, denied

__all__ = ["Transport", "TransportClosed", "open_transport"]

SUBPROTOCOL = Subprotocol("hubbub.v1")

# An answer that resumes a room carries up to some thousand messages in one frame.
MAX_FRAME = 64 * 1024 * 1024

OPEN_S = 10.0
CLOSE_S = 1.0


class TransportClosed(Exception):
    """The connection is gone, and says why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Transport(Protocol):
    """An open connection.

    Attributes:
        heard_at: when bytes last came, by the loop's clock; pings count.
    """

    @property
    def heard_at(self) -> float: ...

    async def receive(self) -> str:
        """The next frame; `TransportClosed` when there will be none."""
        ...

    async def send(self, text: str) -> None:
        """Write a frame; `TransportClosed` when it cannot be."""
        ...

    async def close(self) -> None:
        """Say goodbye; waits a moment for the server's."""
        ...

    def abort(self) -> None:
        """Leave without a word."""
        ...


class HeardConnection(ClientConnection):
    """A connection that notes when bytes come: `recv` alone would not tell of the server's pings."""

    heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)


class WebSocketTransport:
    """A `Transport` on a WebSocket."""

    def __init__(self, connection: HeardConnection) -> None:
        self._connection = connection

    @property
    def heard_at(self) -> float:
        return self._connection.heard_at

    async def receive(self) -> str:
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as closed:
            raise self._closed(closed) from None
        return frame if isinstance(frame, str) else ""

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        self._connection.transport.abort()

    def _closed(self, closed: ConnectionClosed) -> TransportClosed:
        # A line that breaks while the server's CLOSE is being answered was still closed by that.
        end = closed.rcvd or closed.sent
        return TransportClosed(end.code, end.reason) if end else TransportClosed(LOST, "the connection was lost")


async def open_transport(server: ServerAddress, otp: str) -> Transport:
    """Open a connection with a one-time password.

    Raises:
        HttpRefused: the server does not let this client in.
        ProtocolError: what answers is no such server.
        OSError: no one answers.
    """
    opening = connect(
        server.ws_url,
        subprotocols=[SUBPROTOCOL, Subprotocol(f"otp.{otp}")],
        ssl=server.tls,
        create_connection=HeardConnection,
        proxy=None,
        open_timeout=OPEN_S,
        close_timeout=CLOSE_S,
        # The server pings; a client that hears nothing of it leaves (`uplink.py`).
        ping_interval=None,
        max_size=MAX_FRAME,
    )
    try:
        connection = await opening
    except InvalidStatus as error:
        response = error.response
        raise denied(response.status_code, response.body, response.headers.get("Retry-After", "")) from None
    except InvalidMessage as error:
        raise ConnectionResetError(f"the server closed before it had answered: {error}") from None
    except InvalidHandshake as error:
        raise ProtocolError(f"{server.ws_url} answers, but is no Hubbub server: {error}") from None
    assert isinstance(connection, HeardConnection)
    if connection.subprotocol != SUBPROTOCOL:
        connection.transport.abort()
        raise ProtocolError(f"{server.ws_url} does not speak {SUBPROTOCOL}")
    connection.heard_at = asyncio.get_running_loop().time()
    return WebSocketTransport(connection)
