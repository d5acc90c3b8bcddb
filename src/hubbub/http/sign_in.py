"""The routes by which users come and go: logging in, one-time passwords, logging out."""

from __future__ import annotations

import msgspec
import structlog

from hubbub.accounts import Accounts
from hubbub.budgets import Allowance, Bucket
from hubbub.core import Core
from hubbub.engine import Grant
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.http.answers import HttpError, Route, read_body, secret, unavailable
from hubbub.http.cookies import Cookies, cookies_of
from hubbub.http.grants import Grants, bearer_token
from hubbub.otp import OneTimePasswords, digest, new_secret
from hubbub.signing_in import Checks, Credentials, RequestView
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request, Response

__all__ = ["SignInRoutes"]

log = structlog.get_logger("hubbub.http")

# How often one user logs out of what the vault has not, a second and at once; and users of which that is remembered.
ENDINGS = Allowance(1.0, 10.0)
MAX_REMEMBERED = 10_000

NOT_SIGNED_IN = "nobody is signed in: the application knows nobody by the cookies and headers of this request"


class LoginBody(msgspec.Struct):
    """The body of a login; `remember` asks for a cookie in place of a token that scripts can read."""

    username: str
    password: str
    remember: bool = False


class CheckedLoginBody(msgspec.Struct):
    """The body of a login that an application checks, which may go by something else in the request."""

    username: str | None = None
    password: str | None = None
    remember: bool = False


decode_login = msgspec.json.Decoder(LoginBody).decode
decode_checked_login = msgspec.json.Decoder(CheckedLoginBody).decode


class SignInRoutes:
    """Answers those who come and go.

    Args:
        checks: the application's own check, in place of the accounts.
        grants: finds out who asks.
        pages: the pages that may ask.

    Attributes:
        routes: by path, then by method.
    """

    def __init__(
        self,
        core: Core,
        accounts: Accounts,
        otps: OneTimePasswords,
        checks: Checks | None,
        grants: Grants,
        cookies: Cookies,
        pages: Origins,
    ) -> None:
        self._core = core
        self._accounts = accounts
        self._otps = otps
        self._checks = checks
        self._grants = grants
        self._cookies = cookies
        self._pages = pages
        self._endings: dict[str, Bucket] = {}
        self.routes: dict[str, dict[str, Route]] = {
            "/login": {"POST": self._log_in},
            "/otp": {"POST": self._another_otp},
            "/logout": {"POST": self._log_out},
        }

    # Coming

    async def _log_in(self, request: Request) -> Response:
        self._refuse_while_closed()
        self._pages.check(request)
        if self._grants.has_signed_token(request):
            return await self._another_otp(request)  # the token is the session
        body: LoginBody | CheckedLoginBody
        if self._checks is None:
            body = read_body(request.body, decode_login, '{"username": "...", "password": "..."}')
        else:
            example = '{"username": "...", "password": "..."}, or what else the application goes by'
            body = read_body(request.body or b"{}", decode_checked_login, example)
        name, audit = body.username or "", self._core.audit
        try:
            opened = await self._open_session(body, request)
        except (Refused, EngineError) as error:
            outcome = getattr(error, "code", str(ErrorCode.UNAVAILABLE))
            audit.refuse("login", actor=name, address=request.address, outcome=outcome)
            raise
        if opened is None:
            log.info("login failed", user=name[:64], address=request.address)
            audit.refuse("login", actor=name, address=request.address, outcome="unauthorized")
            raise HttpError(401, "unauthorized", "wrong name or password")
        token, grant = opened
        try:
            otp = await self._otps.issue(grant)
        except Refused:
            await self._accounts.log_out(grant)  # nobody could use the session
            raise
        await self._core.refresh_access()  # the account may be new, and its role not known here yet
        log.info("login", user=grant.user, address=request.address)
        audit.note("login", actor=grant.user, address=request.address, outcome="ok")
        answer: dict[str, object] = {"otp": otp, "expires_in": int(self._accounts.session_ttl_s)}
        if not body.remember or not self._cookies.are_for(request):
            return secret({**answer, "token": token})
        await self._end_another(request, grant.user)
        return secret(answer, {"Set-Cookie": self._cookies.set(request, token)})

    async def _open_session(self, body: LoginBody | CheckedLoginBody, request: Request) -> tuple[str, Grant] | None:
        """A new session for who may have one, and its token."""
        token = self._grants.token_of(request)
        if isinstance(body, LoginBody):
            return await self._accounts.log_in(
                body.username, body.password, address=request.address, token=token, is_wanted=request.is_wanted
            )
        assert self._checks is not None, "the body was read as its"
        user = await self._checks.sign_in(
            Credentials(body.username, body.password), view_of(request), is_wanted=request.is_wanted
        )
        if user is None:
            return None
        if self._core.ledger.is_blocked(user.name):
            raise blocked()
        await self._core.people.show_as(user.name, user.display_name)
        return await self._accounts.open_session(user)

    async def _end_another(self, request: Request, user: str) -> None:
        """End the session of another user in the cookie that is about to be replaced: nobody could end it any more."""
        token = self._cookies.token_of(request)
        other = await self._accounts.grant_of(token) if token else None
        if other is not None and other.user != user:
            await self._accounts.log_out(other)

    async def _another_otp(self, request: Request) -> Response:
        self._refuse_while_closed()
        self._pages.check(request)
        grant = await self._grant_of(request)
        if not grant.is_kept and self._core.ledger.is_blocked(grant.user):
            raise blocked()
        self._accounts.recognize(grant.user, request.address)
        return secret({"otp": await self._otps.issue(grant)})

    async def _grant_of(self, request: Request) -> Grant:
        """Who a request is from: by its token or its cookie, or by what the application says.

        Raises:
            HttpError: 401 for nobody.
            Refused: as the application's check is refused.
            EngineError: it cannot be told.
        """
        if self._checks is None or bearer_token(request):
            return await self._grants.of(request)
        grant = await self._grants.find(request)
        if grant is not None:
            return grant
        user = await self._checks.ask(Credentials(), view_of(request))
        if user is None:
            raise self._grants.unauthorized(request, NOT_SIGNED_IN)
        await self._core.people.show_as(user.name, user.display_name)
        # The session is the application's, and nothing tells one of a user's from another.
        return Grant(user.name, digest(new_secret()), user.role, user.info, is_kept=False)

    # Going

    async def _log_out(self, request: Request) -> Response:
        self._pages.check(request)
        grant = await self._grant_of(request)
        if grant.is_kept:
            await self._accounts.log_out(grant)
        elif self._grants.has_signed_token(request):
            self._count_ending(grant.user)
            self._core.sessions.sign_out(grant.user, grant.session)
        else:
            self._count_ending(grant.user)
            await self._core.engine.end_sessions(grant.user)
            self._core.sessions.sign_out(grant.user)
        log.info("logout", user=grant.user, address=request.address)
        self._core.audit.note("logout", actor=grant.user, address=request.address, outcome="ok")
        return Response(204, headers=self._grants.without_cookie(request))

    def _count_ending(self, user: str) -> None:
        """Refuse (`rate_limited`) a user that ends sessions of no vault's one after the other: all nodes are told."""
        now = self._core.now()
        bucket = self._endings.pop(user, None) or Bucket(ENDINGS, now)
        if len(self._endings) >= MAX_REMEMBERED:
            del self._endings[next(iter(self._endings))]
        self._endings[user] = bucket
        wait = bucket.wait(now)
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, "you have logged out often just now", wait)
        bucket.spend(1.0, now)

    def _refuse_while_closed(self) -> None:
        """There is no use in a one-time password of a server that is going away."""
        if self._core.is_closed:
            raise unavailable("the server is restarting")


def blocked() -> Refused:
    """Refuse a user whose account is blocked here, whoever vouches for it."""
    return Refused(ErrorCode.FORBIDDEN, "this account is blocked")


def view_of(request: Request) -> RequestView:
    """A request as an application's check sees it."""
    headers = {name: ", ".join(values) for name, values in request.headers.items()}
    return RequestView(
        request.method, request.path, headers, cookies_of(request), request.address, request.query, request.scope or {}
    )
