"""How connections are opened, and which failures are worth another try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from hubbub.errors import CloseCode, ErrorCode, ProtocolError, Rejected
from hubbub.sdk.closing import LAST_ENDING, ending
from hubbub.sdk.session import HttpRefused, Login, ServerAddress, Session
from hubbub.sdk.tokens import Token, TokenSession
from hubbub.sdk.transport import Transport, TransportClosed, open_transport

__all__ = ["NetworkWayIn", "WayIn", "raise_lasting", "raise_refusal", "session_with"]


class WayIn(Protocol):
    """How connections are opened.

    Attributes:
        url: of the server.
        new_token: gives another token to renew a connection with, and raises `AuthError` where there is none and
            `NoToken` where that cannot be told; None where no session here can be renewed.
    """

    url: str
    new_token: Callable[[], Awaitable[str]] | None

    async def open(self) -> Transport:
        """Open one.

        Raises:
            AuthError: wrong name or password, or no token that the server takes.
            NoToken: the application's function for tokens has failed.
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

    def __init__(self, server: ServerAddress, session: Session | TokenSession) -> None:
        self.url = server.url
        self.new_token: Callable[[], Awaitable[str]] | None = None
        if isinstance(session, TokenSession) and session.is_renewable:
            self.new_token = session.token
        self._server = server
        self._session = session

    async def open(self) -> Transport:
        return await open_transport(self._server, await self._session.ticket())

    async def leave(self) -> None:
        await self._session.log_out()


def session_with(
    server: ServerAddress, user: str | None, password: str | None, token: Token | None
) -> Session | TokenSession:
    """What opens connections: by a name and a password, or by what an application gives."""
    if token is not None and user is None and password is None:
        return TokenSession(server, token)
    if token is None and user is not None and password is not None:
        return Session(server, Login(user, password))
    raise ValueError("give a name and a password, or token= in place of both")


def raise_refusal(error: Exception) -> None:
    """Raise where the server has said that this user may not come in."""
    if isinstance(error, HttpRefused) and error.status == 403:
        raise Rejected(ErrorCode.FORBIDDEN, error.message)
    # A session that has ended meanwhile can be begun again.
    if isinstance(error, TransportClosed) and CloseCode.SESSION_ENDED < error.code <= LAST_ENDING:
        raise ending(error.code, error.reason) from None


def raise_lasting(error: Exception) -> None:
    """Raise where trying again cannot help."""
    raise_refusal(error)
    # A ticket that came too late (401) is worth another.
    if isinstance(error, HttpRefused) and not error.is_for_now and error.status != 401:
        raise ProtocolError(f"the server answers {error}")
