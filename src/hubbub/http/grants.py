"""Who a request over HTTP is from."""

from __future__ import annotations

from hubbub.accounts import Accounts
from hubbub.audit import Audit
from hubbub.engine import Grant
from hubbub.http.answers import HttpError
from hubbub.http.cookies import Cookies
from hubbub.tokens import BadToken, Tokens, is_jwt
from hubbub.wire.request import Request

__all__ = ["Grants", "bearer_token"]

NO_TOKEN = "no valid token: log in, and send Authorization: Bearer <token>"  # noqa: S105  # a sentence
UNKNOWN_TOKEN = "the token is unknown: its session has ended, or it was never one of this server's"  # noqa: S105
NO_KEY = "the token is a JSON Web Token, and this server takes none: --jwt-key is what it would know them by"


class Grants:
    """Finds out who a request is from, by its bearer token, or by the cookie of a page of the server's own.

    Args:
        tokens: reads bearer tokens that others have signed; None where none are taken.
    """

    def __init__(self, accounts: Accounts, cookies: Cookies, audit: Audit, tokens: Tokens | None = None) -> None:
        self._accounts = accounts
        self._cookies = cookies
        self._audit = audit
        self._tokens = tokens

    async def of(self, request: Request) -> Grant:
        """Who the request's token stands for.

        Raises:
            HttpError: 401 without one, or with one that is dead.
            EngineError: it cannot be told.
        """
        grant = await self.find(request)
        if grant is None:
            raise self.unauthorized(request, why_nobody(request))
        return grant

    async def find(self, request: Request) -> Grant | None:
        """The same; None for nobody.

        Raises:
            HttpError: 401 for a token that others have signed, and that stands for nobody: it says why.
            Refused: `unavailable` where such a token cannot be judged.
        """
        token = self.token_of(request)
        if self._tokens is not None and is_jwt(token):
            try:
                return await self._tokens.grant(token)
            except BadToken as error:
                raise self.unauthorized(request, f"the token is refused: {error}") from None
        return await self._accounts.grant_of(token) if token else None

    def unauthorized(self, request: Request, message: str = NO_TOKEN) -> HttpError:
        """What to answer a request that is from nobody, of which this takes note."""
        # The first part: what comes after it is anybody's to choose, and each act is counted by itself.
        act = f"/{request.path.split('/')[1]}"
        self._audit.refuse(act, actor="", address=request.address, outcome="unauthorized")
        headers = {"WWW-Authenticate": "Bearer", **self.without_cookie(request)}
        return HttpError(401, "unauthorized", message, headers)

    def has_signed_token(self, request: Request) -> bool:
        """Whether a request bears a token that is not the server's own, where such are taken."""
        return self._tokens is not None and is_jwt(bearer_token(request))

    def token_of(self, request: Request) -> str:
        """The token that a request bears, or has in the cookie of a page of ours; empty without one."""
        return bearer_token(request) or self._cookies.token_of(request)

    def without_cookie(self, request: Request) -> dict[str, str]:
        """The header that takes back the cookie that a request has brought, which is of no more use."""
        is_brought = not bearer_token(request) and self._cookies.token_of(request)
        return {"Set-Cookie": self._cookies.clear(request)} if is_brought else {}


def why_nobody(request: Request) -> str:
    """What is wrong with a request by which nobody was found."""
    token = bearer_token(request)
    if not token:
        return NO_TOKEN
    return NO_KEY if is_jwt(token) else UNKNOWN_TOKEN


def bearer_token(request: Request) -> str:
    """The token that a request bears (RFC 6750 section 2.1); empty without one."""
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
