"""Getting in as a user of an application, by the tokens that it gives; it begins and ends the session."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable

from hubbub.errors import AuthError, HubbubError
from hubbub.sdk.session import HttpRefused, ServerAddress, ask_ticket

__all__ = ["NoToken", "Token", "TokenSession"]

# A JWT, or a function that gives one that is good now; None where nobody is signed in any more.
Token = str | Callable[[], str | Awaitable[str | None] | None]

# What an application may take to give one.
TOKEN_S = 10.0


# RFC 6750 section 2.1; a line break in it would be another header of the request.
FORM = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class NoToken(Exception):
    """The application's function for tokens has failed, with the exception that is the cause of this one."""

    def __str__(self) -> str:
        return f"there is no token: {self.__cause__!r}"


def checked(token: object) -> str:
    """What an application gave, as a token; `AuthError` where it is none."""
    if not token:
        raise AuthError("nobody is signed in: there is no token")
    if not isinstance(token, str) or not FORM.fullmatch(token):
        raise AuthError("what was given is no token: that is a str of letters, digits and -._~+/= alone")
    return token


class TokenSession:
    """What opens connections for a user of an application.

    Args:
        server: where it is opened.
        token: what the application gives.
    """

    def __init__(self, server: ServerAddress, token: Token) -> None:
        self._server = server
        self._token = token

    @property
    def is_renewable(self) -> bool:
        """Whether the application can be asked for another token."""
        return not isinstance(self._token, str)

    async def token(self) -> str:
        """A token that is good now.

        Raises:
            AuthError: nobody is signed in any more, or what was given cannot be a token.
            NoToken: the application's function has failed.
        """
        return checked(self._token if isinstance(self._token, str) else await self._ask())

    async def _ask(self) -> object:
        """What the application's function gives, which may be anything."""
        assert not isinstance(self._token, str)
        try:
            found: object = self._token()
            if inspect.isawaitable(found):
                async with asyncio.timeout(TOKEN_S):
                    found = await found
        except HubbubError:
            raise
        except Exception as error:  # whatever an application's way to its tokens fails with, as its HTTP library does
            raise NoToken from error
        return found

    async def ticket(self) -> str:
        """A one-time password for a connection.

        Raises:
            AuthError: the server does not take the token, or there is none.
            NoToken: the application's function has failed.
            HttpRefused: not now.
            ProtocolError: what answers is no such server.
            OSError: no one answers.
        """
        token = await self.token()
        try:
            return await self._ticket_for(token)
        except AuthError:
            # A token can run out on its way.
            another = await self.token()
            if another == token:
                raise
            return await self._ticket_for(another)

    async def _ticket_for(self, token: str) -> str:
        try:
            return (await ask_ticket(self._server, "/otp", None, token)).otp
        except HttpRefused as denied:
            if denied.status == 401:
                raise AuthError(denied.message) from None
            raise

    async def log_out(self) -> None:
        """Do nothing: the session is the application's to end."""
