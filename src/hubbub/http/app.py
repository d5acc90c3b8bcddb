"""The HTTP routes, on Litestar: logging in, the page, and what a load balancer asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import HttpMethod, Litestar, Request, Response, get, post, route
from litestar.config.cors import CORSConfig
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Message, Scope

from hubbub.accounts import Accounts
from hubbub.engine import Grant
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.http.pages import Page, read_pages
from hubbub.policy import is_loopback, retry_after
from hubbub.settings import Settings
from hubbub.wire.upgrade import Door

__all__ = ["make_app"]

log = structlog.get_logger("hubbub.http")

AnyRequest = Request[Any, Any, Any]

MAX_BODY = 8 * 1024
LOOK = [HttpMethod.GET, HttpMethod.HEAD]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
# Without the subdomains, which may be someone else's (RFC 6797 section 6.1).  A year; but only minutes with our own
# certificate: a browser that trusts it keeps the rule for all of localhost, where other servers speak plain HTTP.
HSTS_S = 365 * 24 * 3600
HSTS_LOCAL_S = 300

# What an error is called where the exception brings no more than a status.
CODES = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


STATUS: dict[str, int] = {ErrorCode.FORBIDDEN: 403, ErrorCode.RATE_LIMITED: 429, ErrorCode.UNAVAILABLE: 503}


class Credentials(msgspec.Struct):
    """The body of a login."""

    username: str
    password: str


class FirstAccount(Credentials):
    """The body of the first account's making."""

    secret: str


decode_credentials = msgspec.json.Decoder(Credentials).decode
decode_setup = msgspec.json.Decoder(FirstAccount).decode

T = TypeVar("T")


class HttpError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def make_app(door: Door, accounts: Accounts, settings: Settings) -> Litestar:
    """The ASGI application."""
    headers = [*SECURITY_HEADERS]
    if not settings.no_tls:
        hsts_s = HSTS_S if settings.tls_cert else HSTS_LOCAL_S
        headers.append((b"strict-transport-security", b"max-age=%d" % hsts_s))

    async def add_security_headers(message: Message, _scope: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]

    return Litestar(
        [*page_routes(), *login_routes(door, accounts), *operator_routes(door, settings)],
        before_send=[add_security_headers],
        cors_config=cors(settings),
        exception_handlers={
            HttpError: lambda _request, error: error_response(error),
            Refused: lambda _request, error: error_response(from_refused(error)),
            EngineError: lambda _request, error: error_response(unavailable(str(error))),
            HTTPException: lambda _request, error: error_response(from_litestar(error)),
            Exception: failed,
        },
        logging_config=None,
        openapi_config=None,
        request_max_body_size=MAX_BODY,
    )


def page_routes() -> list[HTTPRouteHandler]:
    """The page and its files."""
    pages = read_pages()

    @route("/", http_method=LOOK, sync_to_thread=False)
    def index(request: AnyRequest) -> Response[bytes]:
        return page_response(request, pages["index.html"])

    @route("/web/{name:str}", http_method=LOOK, sync_to_thread=False)
    def page(request: AnyRequest, name: str) -> Response[bytes]:
        if name not in pages:
            raise NotFoundException(f"there is no {name[:80]!r} here")
        return page_response(request, pages[name])

    return [index, page]


def login_routes(door: Door, accounts: Accounts) -> list[HTTPRouteHandler]:
    """Logging in and out, and tickets for the door."""

    @post("/login", status_code=200)
    async def login(request: AnyRequest) -> Response[dict[str, Any]]:
        refuse_while_draining(door)
        # Whatever its Content-Type says: the Go page sends none.
        credentials = read_body(await request.body(), decode_credentials, '{"username": "...", "password": "..."}')
        if not await accounts.is_password(credentials.username, credentials.password):
            log.info("login failed", user=credentials.username[:64], address=address_of(request))
            raise HttpError(401, "unauthorized", "wrong name or password")
        await door.otps.check(credentials.username)  # before a session is made that nobody could use
        token, grant = await accounts.open_session(credentials.username)
        otp = await door.otps.issue(grant)
        log.info("login", user=grant.user, address=address_of(request))
        return secret({"otp": otp, "token": token, "expires_in": int(accounts.session_ttl_s)})

    @post("/setup", status_code=204)
    async def set_up(request: AnyRequest) -> None:
        refuse_while_draining(door)
        first = read_body(await request.body(), decode_setup, '{"secret": "...", "username": "...", "password": "..."}')
        await accounts.set_up(first.secret, first.username, first.password)
        log.info("first account made", user=first.username, address=address_of(request))

    @post("/otp", status_code=200)
    async def another_otp(request: AnyRequest) -> Response[dict[str, Any]]:
        refuse_while_draining(door)
        await request.body()  # nothing is in it; read, it counts against the limit
        return secret({"otp": await door.otps.issue(await bearer(request, accounts))})

    @post("/logout", status_code=204)
    async def logout(request: AnyRequest) -> None:
        await request.body()
        grant = await bearer(request, accounts)
        await accounts.log_out(grant)
        door.hub.end_session(grant.session)
        log.info("logout", user=grant.user, address=address_of(request))

    return [login, set_up, another_otp, logout]


def operator_routes(door: Door, settings: Settings) -> list[HTTPRouteHandler]:
    """What an operator, a load balancer or a lost client asks."""

    @get("/debug", media_type="text/plain", sync_to_thread=False)
    def debug(request: AnyRequest) -> str:
        if not settings.debug_public and not is_loopback(address_of(request)):
            raise HttpError(403, "forbidden", "/debug is for this machine; see --debug-public")
        return str(len(door.hub.clients))

    @route("/healthz", http_method=LOOK, media_type="text/plain", sync_to_thread=False)
    def healthz() -> Response[str]:
        return Response("draining" if door.is_draining else "ok", status_code=503 if door.is_draining else 200)

    @route("/ws", http_method=["GET", "HEAD", "POST"], sync_to_thread=False)
    def no_upgrade() -> Response[Any]:
        message = "this is a WebSocket: connect with Upgrade: websocket, and Connection: Upgrade"
        return error_response(HttpError(426, "upgrade_required", message, {"Upgrade": "websocket"}))

    return [debug, healthz, no_upgrade]


def secret(answer: dict[str, Any]) -> Response[dict[str, Any]]:
    """An answer that no cache may keep."""
    return Response(answer, headers={"Cache-Control": "no-store"})


def cors(settings: Settings) -> CORSConfig | None:
    """Cross-origin requests are for the configured origins only."""
    if not settings.allow_origin:
        return None
    return CORSConfig(
        allow_origins=[origin.rstrip("/").lower() for origin in settings.allow_origin],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )


def page_response(request: AnyRequest, page: Page) -> Response[bytes]:
    """A file of the page, or 304 to one who has it (RFC 9110 section 13.1.2)."""
    headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
    if page.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=page.media_type)
    return Response(page.content, headers=headers, media_type=page.media_type)


def read_body(body: bytes, decode: Callable[[bytes], T], example: str) -> T:
    """Read a JSON body."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise HttpError(400, "bad_request", f"{error}; send {example}") from None


async def bearer(request: AnyRequest, accounts: Accounts) -> Grant:
    """Who the request's bearer token stands for (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    grant = await accounts.grant_of(token.strip()) if scheme.lower() == "bearer" and token else None
    if grant is None:
        message = "no valid token: log in, and send Authorization: Bearer <token>"
        raise HttpError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
    return grant


def refuse_while_draining(door: Door) -> None:
    """There is no use in a one-time password of a server that is going away."""
    if door.is_draining:
        raise unavailable("the server is restarting")


def address_of(request: AnyRequest) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""


def error_response(error: HttpError) -> Response[Any]:
    """An error as the protocol page wants it."""
    body = {"error": {"code": error.code, "message": error.message}}
    headers = {"Cache-Control": "no-store", **error.headers}
    return Response(body, status_code=error.status, headers=headers, media_type="application/json")


def from_refused(refused: Refused) -> HttpError:
    """An error of the rules, as HTTP says it."""
    status = STATUS.get(refused.code, 400)
    headers = {} if refused.retry_after is None else {"Retry-After": retry_after(refused.retry_after)}
    return HttpError(status, refused.code, refused.message, headers)


def unavailable(message: str) -> HttpError:
    """Shared state is out of reach, or the server is going away: worth another try."""
    return HttpError(503, "unavailable", message, {"Retry-After": "5"})


def from_litestar(error: HTTPException) -> HttpError:
    """An error of the framework's: no route, wrong method, body too large."""
    code = CODES.get(error.status_code, "error")
    message = f"the body has over {MAX_BODY} bytes" if error.status_code == 413 else error.detail
    return HttpError(error.status_code, code, message, dict(error.headers or {}))


def failed(request: AnyRequest, error: Exception) -> Response[Any]:
    """Our fault: the details are for the log, not for the client."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return error_response(HttpError(500, "internal", "the server failed; its log says why"))
