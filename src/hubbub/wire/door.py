"""The door: the checks between an upgrade request and its 101, and who it lets in.

They run in the order of the protocol page, all before the 101, so that a refused client never holds a WebSocket and a
foreign page cannot burn a one-time password.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from http import HTTPStatus
from typing import Protocol

import structlog

from hubbub.acts import Role
from hubbub.budgets import Purses, Use, take_one
from hubbub.client import Frame, Participant
from hubbub.core import Core, ServiceState
from hubbub.dialect import Dialect, dialect_of
from hubbub.engine import Grant
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import encode
from hubbub.otp import OneTimePasswords
from hubbub.policy import Places, Rate, RateLimit, is_loopback, network_of, retry_after
from hubbub.search import features
from hubbub.sessions import JustEnded
from hubbub.settings import Settings
from hubbub.tokens import BadToken, Tokens
from hubbub.wire.deflated import Compression
from hubbub.wire.denial import Denied
from hubbub.wire.frames import text_frame
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request

__all__ = [
    "RETRY_AFTER_S",
    "Door",
    "Identification",
    "OtpCredentials",
    "check_handshake",
    "open_purses",
    "otp_of",
    "unavailable",
]

log = structlog.get_logger("hubbub.wire")

PATHS = ("/ws", "/")
# Connections of one account after which it gets none of the last places: those are for others.
MANY = 256
RETRY_AFTER_S = 5


class Identification(Protocol):
    """Finds out who a request for a WebSocket comes from."""

    async def grant(self, request: Request) -> Grant:
        """Who the request stands for.

        Raises:
            Denied: 401 for one that stands for nobody.
            EngineError: it cannot be told.
        """
        ...


class OtpCredentials:
    """One-time passwords, in the second subprotocol or in the URL; and tokens that others have signed.

    Args:
        tokens: reads such tokens; None where none are taken.
    """

    def __init__(self, otps: OneTimePasswords, tokens: Tokens | None = None) -> None:
        self._otps = otps
        self._tokens = tokens

    async def grant(self, request: Request) -> Grant:
        """Use the request's one-time password up, or read its token."""
        otp = otp_of(request)
        token = token_of(request) if self._tokens is not None and otp is None else ""
        if self._tokens is not None and token:
            try:
                return await self._tokens.grant(token)
            except BadToken as error:
                raise Denied(HTTPStatus.UNAUTHORIZED, "unauthorized", f"the token is refused: {error}") from None
        grant = await self._otps.take(otp) if otp else None
        if grant is None:
            raise Denied(HTTPStatus.UNAUTHORIZED, "unauthorized", "no valid one-time password; log in for one")
        return grant


def otp_of(request: Request) -> str | None:
    """The one-time password that a request carries."""
    for offered in request.tokens("sec-websocket-protocol"):
        if offered.startswith("otp."):
            return offered.removeprefix("otp.")
    query = request.query_fields()
    return query["otp"][0] if "otp" in query else None


def token_of(request: Request) -> str:
    """The signed token that a request carries, in its subprotocols, as a browser's can, or as a bearer; or nothing."""
    for offered in request.tokens("sec-websocket-protocol"):
        if offered.startswith("jwt."):
            return offered.removeprefix("jwt.")
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Door:
    """Lets clients in, one upgrade request after the other.

    Args:
        core: the hub that they are let into.
        credentials: finds out who they are.
        frame: how their connections carry texts.
        places: those of another door, where both lead to the same server.

    Attributes:
        compression: of messages; None for none.
    """

    def __init__(
        self,
        core: Core,
        credentials: Identification,
        settings: Settings,
        frame: Frame = text_frame,
        places: Places | None = None,
    ) -> None:
        per_address = settings.share(settings.max_clients_per_address)
        self.places = places or Places(settings.clients_limit, per_address)
        self.compression = Compression() if settings.compression else None
        self._frame = frame
        self._core = core
        self._credentials = credentials
        self._settings = settings
        self._origins = Origins(settings, core.now)
        self._rate_limit = RateLimit(settings.client_rate, settings.client_burst) if settings.client_rate else None
        self._welcome = welcome_text(settings, can := features(core.engine))
        self._welcome_of_inviter = welcome_text(settings, [*can, "invite"])

    def take_place(self, address: str) -> None:
        """Take a place for a client that may come in.

        Raises:
            Denied: 503 while draining or full.
        """
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        why_not = self.places.take(address)
        if why_not is not None:
            raise unavailable(why_not)

    def why_not_ready(self) -> str | None:
        """Why no clients should be sent here, as a word and a sentence; None where they should."""
        if self._core.state is not ServiceState.SERVING:
            return "draining: the server is about to stop"
        if not self._core.keeps_messages:
            return "engine: messages cannot be kept; the log says why"
        if self.places.are_taken:
            return "full: there are as many clients as there may be"
        return None

    def check(self, request: Request) -> bytes:
        """Check all that needs no waiting; the request's Sec-WebSocket-Key.

        Raises:
            Denied: it is no request for a WebSocket of this server, or a page of a foreign origin sends it.
        """
        check_path(request)
        key = check_handshake(request)
        self._origins.check(request)
        return key

    def check_opening(self, request: Request) -> None:
        """Check what is left of it where another server has seen to the handshake of RFC 6455.

        Raises:
            Denied: there are no WebSockets at its path, or a page of a foreign origin sends it.
        """
        check_path(request)
        self._origins.check(request)

    def check_before(self, request: Request) -> None:
        """Check what can be told of a client before it asks for a WebSocket.

        Raises:
            Denied: it would be refused.
        """
        self.take_place(request.address)
        self.places.free(request.address)
        self._origins.check(request)

    async def admit(self, request: Request) -> tuple[Participant, str | None]:
        """Find out who a client is and let it in; the client, and the subprotocol to answer.

        A client of the hub's that it refuses is closed already, for that reason: browsers tell a page nothing of any
        other refusal.

        Raises:
            Denied: it stands for nobody, or the hub refuses it and its dialect knows no reasons.
        """
        dialect, subprotocol = dialect_of(request.tokens("sec-websocket-protocol"))
        known_at = self._core.now()
        try:
            grant = await self._credentials.grant(request)
            client = self._new_client(grant, dialect, request)
            greeting = await self._greeting(client) if dialect.is_greeted else b""
            try:
                await self._core.connect(client, greeting, known_at)
            except Refused as refused:
                self._turn_away(client, refused)
        except EngineError as error:
            raise unavailable(str(error)) from None
        except Refused as refused:
            raise unavailable(refused.message) from None
        return client, subprotocol

    def _turn_away(self, client: Participant, refused: Refused) -> None:
        """Have a client that the hub refuses told why, as far as its dialect can.

        Raises:
            Denied: its dialect cannot, or it may come back by another way.
        """
        if refused.code == ErrorCode.UNAVAILABLE:
            raise unavailable(refused.message) from None
        if isinstance(refused, JustEnded) or not client.dialect.is_greeted:
            raise Denied(HTTPStatus.FORBIDDEN, refused.code, refused.message) from None
        client.turn_away(refused.message)
        self._core.audit.refuse("connect", actor=client.user, address=client.address, outcome=refused.code)
        log.debug("turned away", user=client.user, address=client.address, reason=refused.message)

    def _new_client(self, grant: Grant, dialect: Dialect, request: Request) -> Participant:
        purses = self.open_purses(grant.user, request.address)
        return Participant(
            grant.user,
            grant.session,
            dialect,
            self._frame if self.compression is None else self.compression.frame_for(request) or self._frame,
            # The Node page puts its user's name in the URL and shows what it sends by itself.
            echo=not (dialect.may_mute_own and has_name(request)),
            rate=Rate(self._rate_limit, self._core.now(), purses) if self._rate_limit else None,
            purses=purses,
            address=request.address,
            terms=None if grant.is_plain else grant,
        )

    def open_purses(self, user: str, address: str) -> Purses:
        """What pays for a connection; one whose account or address has opened too many is `Denied` (503)."""
        try:
            return open_purses(self._core, self.places, user, address)
        except Refused as refused:
            raise unavailable(refused.message, retry_after(refused.retry_after or RETRY_AFTER_S)) from None

    async def _greeting(self, client: Participant) -> bytes:
        """The payload of a welcome, without the rooms that end it."""
        user = client.user
        name = await self._core.people.name_of(user)
        role = self._core.ledger.role_in(client).encode()
        session = secrets.token_hex(8).encode()
        head = b'{"user":%b,"name":%b,"role":"%b","session":"%b",' % (encode(user), encode(name), role, session)
        if client.terms is not None and client.terms.expires_at is not None:
            head += b'"expires":%b,' % encode(round(max(0.0, client.terms.expires_at - self._core.wall()), 3))
        # Users of an application's are invited by the application.
        may_invite = self._core.check is None and self._core.permissions.may_invite(user, Role.MEMBER)
        return head + (self._welcome_of_inviter if may_invite else self._welcome)


def open_purses(core: Core, places: Places, user: str, address: str) -> Purses:
    """What pays for a connection.

    The last places are not for an account that has many: nobody fills the server alone.

    Args:
        user: whose it is; empty for nobody's, which is paid for by its address alone.

    Raises:
        Refused: `unavailable` where the account or the address has opened too many.
    """
    now = core.now()
    # Who comes from this machine is a proxy, which has limits of its own, or has the machine anyway.
    network = None if is_loopback(address) else network_of(address)
    purses = core.budgets.purses(user or f"\n{network or 'this machine'}", network, now)
    if places.are_scarce and purses[0].connections >= MANY:
        message = "this server is nearly full, and this account has many connections already"
        raise Refused(ErrorCode.UNAVAILABLE, message, RETRY_AFTER_S)
    wait = take_one(purses, Use.OPENINGS, now)
    if wait:
        raise Refused(ErrorCode.UNAVAILABLE, "this account or address opens too many connections", wait)
    return purses


def has_name(request: Request) -> bool:
    """Whether the URL carries a `name=`; reading a query costs more than all else that is checked here."""
    return "name=" in request.query and "name" in request.query_fields()


def welcome_text(settings: Settings, features: list[str]) -> bytes:
    """What the first frame tells whoever it is, as members of an object.

    Args:
        features: what this server, and this client, can do that not every one can.
    """
    payload = {
        "heartbeat": {"interval": settings.heartbeat_interval, "timeout": settings.heartbeat_timeout},
        "limits": {
            "max_frame": settings.max_frame,
            "max_message": settings.max_message,
            "max_room_name": settings.max_room_name,
            "client_rate": settings.client_rate,
            "client_burst": settings.client_burst,
        },
        "features": features,
    }
    return encode(payload)[1:-1]


def unavailable(message: str, seconds: str = str(RETRY_AFTER_S)) -> Denied:
    """Nobody can be let in now: worth another try after so many seconds."""
    return Denied(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, f"Retry-After: {seconds}")


def check_path(request: Request) -> None:
    """Check that a request for a WebSocket is for a path that has them; `Denied` (404) otherwise."""
    if request.path not in PATHS:
        raise Denied(
            HTTPStatus.NOT_FOUND, "not_found", "WebSockets are at /ws, and with --centrifugo at /connection/websocket"
        )


def check_handshake(request: Request) -> bytes:
    """Check what RFC 6455 section 4.2.1 asks of a request for a WebSocket; its key.

    Raises:
        Denied: with the status that fits what is wrong.
    """
    if request.method != "GET":
        raise Denied(HTTPStatus.METHOD_NOT_ALLOWED, "bad_request", "a WebSocket opens with GET", "Allow: GET")
    if not request.header("host"):
        raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", "no Host header")
    if request.header("sec-websocket-version") != "13":
        raise Denied(
            HTTPStatus.UPGRADE_REQUIRED,
            "bad_request",
            "Sec-WebSocket-Version must be 13",
            "Sec-WebSocket-Version: 13",
            "Upgrade: websocket",
        )
    key = (request.header("sec-websocket-key") or "").encode("latin-1")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        is_key = False
    if not is_key:
        raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", "Sec-WebSocket-Key must be 16 bytes in base64")
    return key
