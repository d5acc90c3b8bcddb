"""The door: what happens between an upgrade request and its 101, or its refusal.

The checks run in the order of the protocol page, all before the 101, so that a refused client
never holds a WebSocket and a foreign page cannot burn a one-time password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import secrets
from http import HTTPStatus
from typing import Any

import structlog

from hubbub.client import Client
from hubbub.engine import Grant
from hubbub.errors import CloseCode, EngineError, Refused
from hubbub.events import encode
from hubbub.hub import Hub
from hubbub.logs import is_debugging
from hubbub.otp import OneTimePasswords
from hubbub.policy import Places, Rate, RateLimit, is_allowed_origin
from hubbub.settings import Settings
from hubbub.wire.denial import Denied
from hubbub.wire.dialects import CLASSIC, SUBPROTOCOL, V1
from hubbub.wire.request import Request
from hubbub.wire.websocket import WireSettings, open_websocket

__all__ = ["Door", "Upgrade", "otp_of"]

log = structlog.get_logger("hubbub.wire")

PATHS = ("/ws", "/")
RETRY_AFTER_S = 5

# Closes that need no one's attention: the peer left, its login ended, or we did.
EXPECTED = frozenset({1000, 1001, 1005, 1006, CloseCode.RESTART, CloseCode.SESSION_ENDED})


def otp_of(subprotocols: list[str], query: dict[str, list[str]]) -> str | None:
    """The one-time password, from the second subprotocol or from the URL."""
    for offered in subprotocols:
        if offered.startswith("otp."):
            return offered.removeprefix("otp.")
    return query["otp"][0] if "otp" in query else None


class Door:
    """Lets clients in, one upgrade request after the other.

    Args:
        hub: what they are let into.
        wire: what their connections share.
    """

    def __init__(self, hub: Hub, otps: OneTimePasswords, settings: Settings, wire: WireSettings) -> None:
        self.hub = hub
        self.wire = wire
        self.is_draining = False
        self.places = Places(settings.clients_limit, settings.max_clients_per_address)
        self.tasks: set[asyncio.Task[None]] = set()
        self.otps = otps
        self._settings = settings
        self._rate_limit = RateLimit(settings.client_rate, settings.client_burst) if settings.client_rate else None

    def upgrade(self, transport: asyncio.Transport, request: Request) -> None:
        """Take over the transport of a request for a WebSocket."""
        Upgrade(self, transport, request)

    def take_place(self, address: str) -> None:
        """Take a place for a client that may come in.  `Denied` (503) while draining or full."""
        if self.is_draining:
            raise self._unavailable("the server is restarting")
        why_not = self.places.take(address)
        if why_not is not None:
            raise self._unavailable(why_not)

    def check(self, request: Request) -> bytes:
        """Check all that needs no waiting; the request's Sec-WebSocket-Key, or `Denied`."""
        if request.path not in PATHS:
            raise Denied(HTTPStatus.NOT_FOUND, "not_found", "WebSockets are at /ws")
        key = check_handshake(request)
        host = request.header("host") or ""
        is_tls = not self._settings.no_tls
        if not is_allowed_origin(request.header("origin"), host, self._settings.allow_origin, is_tls=is_tls):
            raise Denied(HTTPStatus.FORBIDDEN, "forbidden", "pages of this origin may not connect; see --allow-origin")
        return key

    async def admit(self, request: Request, address: str) -> Client:
        """Take the one-time password and make the client that it stands for, or `Denied`."""
        subprotocols, query = request.tokens("sec-websocket-protocol"), request.query_fields()
        try:
            otp = otp_of(subprotocols, query)
            grant = await self.otps.take(otp) if otp else None
            if grant is None:
                raise Denied(HTTPStatus.UNAUTHORIZED, "unauthorized", "no valid one-time password; log in for one")
            # The Node page puts its user's name in the URL and shows what it sends by itself.
            client = self._new_client(grant, address, is_v1=SUBPROTOCOL in subprotocols, is_named="name" in query)
            await self.hub.connect(client)
        except EngineError as error:
            raise self._unavailable(str(error)) from None
        except Refused as refused:
            raise Denied(HTTPStatus.FORBIDDEN, refused.code, refused.message) from None
        return client

    def _new_client(self, grant: Grant, address: str, *, is_v1: bool, is_named: bool) -> Client:
        client = Client(
            grant.user,
            grant.session,
            V1 if is_v1 else CLASSIC,
            address=address,
            echo=is_v1 or not is_named,
            rate=Rate(self._rate_limit, self.hub.now()) if self._rate_limit else None,
        )
        if is_v1:
            client.write_frame(V1.event("welcome", encode(self._welcome(client))))
        return client

    def _welcome(self, client: Client) -> dict[str, Any]:
        settings = self._settings
        return {
            "user": client.user,
            "session": secrets.token_hex(8),
            "heartbeat": {"interval": settings.heartbeat_interval, "timeout": settings.heartbeat_timeout},
            "limits": {
                "max_frame": settings.max_frame,
                "max_message": settings.max_message,
                "max_room_name": settings.max_room_name,
                "client_rate": settings.client_rate,
                "client_burst": settings.client_burst,
            },
            "rooms": [],
        }

    def _unavailable(self, message: str) -> Denied:
        return Denied(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, f"Retry-After: {RETRY_AFTER_S}")


def check_handshake(request: Request) -> bytes:
    """Check what RFC 6455 section 4.2.1 asks of the request; its key, or `Denied`."""
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


class Upgrade(asyncio.Protocol):
    """One request for a WebSocket: the protocol of its transport until the 101."""

    def __init__(self, door: Door, transport: asyncio.Transport, request: Request) -> None:
        self._door = door
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        try:
            door.take_place(request.address)
        except Denied as denied:
            self._deny(denied)
            return
        task = asyncio.get_running_loop().create_task(self._open(request))
        door.tasks.add(task)
        task.add_done_callback(door.tasks.discard)

    def data_received(self, _data: bytes) -> None:
        # RFC 6455 section 4.1: a client must wait for the answer.  What it sends before cannot be a frame.
        self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()  # or it would keep what TLS needed for a connection

    async def _open(self, request: Request) -> None:
        door, address = self._door, request.address
        try:
            key = door.check(request)
            client = await door.admit(request, address)
        except Denied as denied:
            door.places.free(address)
            self._deny(denied)
            return
        except (Exception, asyncio.CancelledError):  # a hook may let go of one of its own
            log.exception("upgrade failed")
            door.places.free(address)
            self._deny(Denied(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why"))
            return
        visitor = Visitor(door, client)
        if self._transport.is_closing():
            visitor.closed(1006, "", by_us=False)
            return
        subprotocol = SUBPROTOCOL if client.dialect is V1 else None
        client.attach(open_websocket(self._transport, key, visitor, door.wire, subprotocol=subprotocol))

    def _deny(self, denied: Denied) -> None:
        log.debug("upgrade denied", status=denied.status.value, message=denied.message)
        if not self._transport.is_closing():
            self._transport.write(denied.response())
            self._transport.close()
            # A client that does not take the answer is not waited for.
            self._timer = asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._transport.abort)


class Visitor:
    """Stands between a client of the hub and its connection."""

    __slots__ = ("_client", "_door", "receive_text")

    def __init__(self, door: Door, client: Client) -> None:
        self._door = door
        self._client = client
        self.receive_text = functools.partial(door.hub.receive, client)

    def receive_binary(self, _data: bytes) -> None:
        self._door.hub.receive_binary(self._client)

    def admit(self) -> bool:
        hub = self._door.hub
        return hub.admit(self._client) and not hub.is_full(self._client)

    def writing_paused(self) -> None:
        self._door.hub.mark_slow(self._client)

    def writing_resumed(self) -> None:
        self._door.hub.mark_caught_up(self._client)

    def closing(self) -> None:
        self._client.mute()

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        client = self._client
        if code not in EXPECTED or is_debugging():
            write = log.debug if code in EXPECTED else log.warning
            write(
                "client left",
                user=client.user,
                code=code,
                reason=reason,
                by="server" if by_us else "client",
                refused=client.refused,
                dropped=client.dropped,
            )
        self._door.hub.disconnect(client)
        client.detach()
        self._door.places.free(client.address)
