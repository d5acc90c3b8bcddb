"""How connections are opened, and which failures are worth another try."""

from __future__ import annotations

from typing import Protocol

from hubbub.errors import ErrorCode, ProtocolError, Rejected
from hubbub.sdk.session import HttpRefused, Login, ServerAddress, Session
from hubbub.sdk.transport import Transport, open_transport

__all__ = ["NetworkWayIn", "WayIn", "raise_lasting"]


class WayIn(Protocol):
    """How connections are opened."""

    url: str

    async def open(self) -> Transport:
        """Open one.

        Raises:
            AuthError: wrong name or password.
            HttpRefused: the server does not let this client in.
            ProtocolError: what answers is no such server.
            OSError: no one answers.
        """
        ...

    async def leave(self) -> None:
        """No more connections will be opened.  Never raises."""
        ...


class NetworkWayIn:
    """The way in to a real server: log in, ask for a ticket, open a WebSocket with it."""

    def __init__(self, server: ServerAddress, credentials: Login) -> None:
        self.url = server.url
        self._server = server
        self._session = Session(server, credentials)

    async def open(self) -> Transport:
        return await open_transport(self._server, await self._session.ticket())

    async def leave(self) -> None:
        await self._session.log_out()


def raise_lasting(error: Exception) -> None:
    """Raise where trying again cannot help."""
    if isinstance(error, HttpRefused) and error.status == 403:
        raise Rejected(ErrorCode.FORBIDDEN, error.message)
    # A ticket that came too late (401) is worth another.
    if isinstance(error, HttpRefused) and not error.is_for_now and error.status != 401:
        raise ProtocolError(f"the server answers {error}")
