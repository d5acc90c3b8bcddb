"""The HTTP routes: logging in, the page, and what a load balancer asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from hubbub.accounts import Accounts
from hubbub.core import Core
from hubbub.errors import Refused
from hubbub.events import encode
from hubbub.http.answers import NO_STORE, HttpError, Route, as_http, error_response, read_body, unavailable
from hubbub.http.api import ApiRoutes
from hubbub.http.api_desk import Desk
from hubbub.http.cookies import Cookies
from hubbub.http.grants import Grants
from hubbub.http.pages import Page
from hubbub.http.people import PeopleRoutes
from hubbub.http.sign_in import SignInRoutes
from hubbub.http.site import Site
from hubbub.otp import OneTimePasswords
from hubbub.policy import is_loopback
from hubbub.ration import Ration
from hubbub.settings import Settings
from hubbub.signing_in import Checks
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request, Response

__all__ = ["App", "is_from_here", "security_headers", "shapes"]

log = structlog.get_logger("hubbub.http")

LOOK = ("GET", "HEAD")
# Warnings of requests for a WebSocket that a proxy has made ordinary ones.
STRIPPED_LINES, STRIPPED_EVERY_S = 5, 10.0
TEXT = "text/plain; charset=utf-8"
PASSED_ON = frozenset({"forwarded", "via", "x-forwarded-for", "x-real-ip"})

# `{}` are the digests of the styles in pages.
CSP = (
    "default-src 'none'; script-src 'self'; style-src {}; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Without the subdomains, which may be someone else's (RFC 6797 section 6.1).  A year; but only minutes with our own
# certificate: a browser that trusts it keeps the rule for all of localhost, where other servers speak plain HTTP.
HSTS_S = 365 * 24 * 3600
HSTS_LOCAL_S = 300


class Entrance(Protocol):
    """Who lets clients in (`wire.door.Door`)."""

    def check_before(self, request: Request, /) -> None:
        """Raise `Denied` for a client that would not be let in."""
        ...

    def why_not_ready(self) -> str | None:
        """Why no clients should be sent here; None where they should."""
        ...


class Countings(Protocol):
    """What was counted (`metrics.Metrics`)."""

    def answer(self, accept: str, /) -> tuple[bytes, str]:
        """The text that a scrape gets, and its media type."""
        ...


class FirstAccount(msgspec.Struct):
    """The body of the first account's making."""

    secret: str
    username: str
    password: str


decode_setup = msgspec.json.Decoder(FirstAccount).decode


def security_headers(settings: Settings, styles: Iterable[str] = ()) -> bytes:
    """The headers that every answer carries, each ending in CRLF.

    Args:
        styles: sources of the styles that stand in pages.
    """
    policy = CSP.format(" ".join(["'self'", *dict.fromkeys(styles)]))
    lines = [f"Content-Security-Policy: {policy}", "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer"]
    if not settings.no_tls:
        lines.append(f"Strict-Transport-Security: max-age={HSTS_S if settings.tls_cert else HSTS_LOCAL_S}")
    return "".join(f"{line}\r\n" for line in lines).encode()


class App:
    """Answers requests: each path has a route for each method.

    Args:
        entrance: knows who would be let in.
        metrics: tells what was counted.
        site: the pages and their files.
        desks: answer other programs that have keys of another kind than the hub's own.
    """

    def __init__(
        self,
        core: Core,
        accounts: Accounts,
        otps: OneTimePasswords,
        settings: Settings,
        entrance: Entrance,
        metrics: Countings,
        site: Site,
        desks: Sequence[Desk] = (),
    ) -> None:
        self._core = core
        self._site = site
        self._entrance = entrance
        self._metrics = metrics
        self._accounts = accounts
        self._settings = settings
        cookies = Cookies(settings, accounts.session_ttl_s)
        grants = Grants(accounts, cookies, core.audit, core.tokens)
        self._checks = Checks(core.check, settings.workers) if core.check is not None else None
        self._pages = Origins(settings, core.now)
        self._stripped = Ration(STRIPPED_LINES, STRIPPED_EVERY_S)
        # What is not listed cannot be read by a page of another origin, nor sent for by it.
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allow_origin)
        self._routes: dict[str, dict[str, Route]] = {
            "/debug": {"GET": self._debug},
            "/healthz": dict.fromkeys(LOOK, healthz),
            "/readyz": dict.fromkeys(LOOK, self._readyz),
            "/ws": dict.fromkeys((*LOOK, "POST"), self._no_upgrade),
        }
        self._routes |= SignInRoutes(core, accounts, otps, self._checks, grants, cookies, self._pages).routes
        if self._checks is None:  # otherwise the accounts are the application's, and so is what becomes of them
            self._routes["/setup"] = {**dict.fromkeys(LOOK, self._is_setup_open), "POST": self._set_up}
            self._routes |= PeopleRoutes(core, accounts, grants, self._pages).routes
        self._routes |= ApiRoutes(core, *desks).routes
        if settings.metrics != "off":
            self._routes["/metrics"] = dict.fromkeys(LOOK, self._tell_metrics)

    @property
    def routes(self) -> Mapping[str, Collection[str]]:
        """The methods that each path takes, but for the files of pages.  `*` stands for one part of a path."""
        return self._routes

    def add(self, routes: Mapping[str, dict[str, Route]]) -> None:
        """Answer at other paths, too."""
        self._routes |= routes

    def add_websockets(self, paths: Iterable[str]) -> None:
        """Say at other paths, too, that a WebSocket is there."""
        self._routes |= {path: dict.fromkeys(LOOK, self._needs_upgrade) for path in paths}

    async def answer(self, request: Request) -> Response:
        """Answer a request, whatever comes of it."""
        try:
            response = await self._find(request)(request)
        except Exception as error:
            response = error_response(as_http(error, request))
        if self._origins:
            response = self._for_origin(response, request.headers.get("origin", ("",))[0])
        return response

    def close(self) -> None:
        """Stop what is at work for requests."""
        if self._checks is not None:
            self._checks.close()

    def _find(self, request: Request) -> Route:
        if request.path == "*":  # the server as a whole (RFC 9110 section 9.3.7)
            return lambda _request: options({"Allow": "GET, HEAD, POST, DELETE, OPTIONS"})
        routes = next((self._routes[shape] for shape in shapes(request.path) if shape in self._routes), None)
        if routes is None and (page := self._site.find(request.path)) is not None:
            routes = dict.fromkeys(LOOK, page_route(page))
        if routes is None:
            raise HttpError(404, "not_found", f"there is no {request.path[:80]!r} here")
        route = routes.get(request.method)
        if route is None:
            allowed = {"Allow": ", ".join(dict.fromkeys([*routes, "OPTIONS"]))}
            if request.method == "OPTIONS":
                return lambda _request: options(allowed)
            raise HttpError(405, "method_not_allowed", f"{request.path} takes {', '.join(routes)}", allowed)
        return route

    def _for_origin(self, response: Response, origin: str) -> Response:
        """The answer with what lets a page of a listed origin read it, and send what it asks leave for."""
        varies = response.headers.get("Vary")
        headers = {**response.headers, "Vary": f"{varies}, Origin" if varies else "Origin"}
        if origin.lower() in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
            if self._checks is not None:
                # For the cookie of the application; that of the hub's own pages counts for no other origin.
                headers["Access-Control-Allow-Credentials"] = "true"
            if "Allow" in headers:
                has_delete = "DELETE" in headers["Allow"]
                headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE" if has_delete else "GET, POST"
                headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Last-Event-ID"
        return msgspec.structs.replace(response, headers=headers)

    # The first account

    async def _is_setup_open(self, _request: Request) -> Response:
        return Response(200, encode({"open": await self._accounts.is_setup_open()}), headers=NO_STORE)

    async def _set_up(self, request: Request) -> Response:
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        self._pages.check(request)
        example = '{"secret": "...", "username": "...", "password": "..."}'
        first = read_body(request.body, decode_setup, example)
        try:
            await self._accounts.set_up(first.secret, first.username, first.password)
        except Refused as refused:
            self._core.audit.refuse("setup", actor=first.username, address=request.address, outcome=refused.code)
            raise
        log.info("first account made", user=first.username, address=request.address)
        self._core.audit.note("setup", actor=first.username, address=request.address, outcome="ok")
        return Response(204)

    # What an operator, a load balancer or a lost client asks

    async def _debug(self, request: Request) -> Response:
        if not self._settings.debug_public and not is_from_here(request):
            raise HttpError(403, "forbidden", "/debug is for this machine; see --debug-public")
        return Response(200, str(len(self._core.clients)).encode(), TEXT)

    async def _readyz(self, _request: Request) -> Response:
        why_not = self._entrance.why_not_ready()
        return Response(200, b"ok", TEXT) if why_not is None else Response(503, why_not.encode(), TEXT)

    async def _tell_metrics(self, request: Request) -> Response:
        if self._settings.metrics != "all" and not is_from_here(request):
            raise HttpError(403, "forbidden", "/metrics is for this machine; see --metrics")
        body, media_type = self._metrics.answer(",".join(request.headers.get("accept", ())))
        return Response(200, body, media_type, NO_STORE)

    async def _no_upgrade(self, request: Request) -> Response:
        # Browsers do not tell a page why its WebSocket was refused; it asks here.
        self._entrance.check_before(request)
        return await self._needs_upgrade(request)

    async def _needs_upgrade(self, request: Request) -> Response:
        if request.header("sec-websocket-key") and (left_out := self._stripped.take(self._core.now())) is not None:
            log.warning(
                "a request for a WebSocket without Upgrade: a proxy on the way does not pass it on",
                address=request.address,
                left_out=left_out,
            )
        message = (
            "this is a WebSocket: connect with Upgrade: websocket and Connection: Upgrade; proxies must pass these on"
        )
        raise HttpError(426, "upgrade_required", message, {"Upgrade": "websocket"})


def shapes(path: str) -> Iterator[str]:
    """How the routes of a path may be written: as it is, or with a star for its last part, or for its middle one."""
    yield path
    yield f"{path.rpartition('/')[0]}/*"
    parts = path.split("/", 4)
    if len(parts) == 4:
        yield f"/{parts[1]}/*/{parts[3]}"


def is_from_here(request: Request) -> bool:
    """Whether a program on this machine asks, for itself: what a proxy passes on has a header that says so."""
    return is_loopback(request.address) and not PASSED_ON & request.headers.keys()


async def healthz(_request: Request) -> Response:
    """An answer, which is all that is asked for: whether the process is alive."""
    return Response(200, b"ok", TEXT)


async def options(headers: dict[str, str]) -> Response:
    """What a path takes."""
    return Response(204, headers=headers)


def page_route(page: Page) -> Route:
    """A file of a page."""

    async def show(request: Request) -> Response:
        return page.answer(request)

    return show
