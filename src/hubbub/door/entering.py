"""Who a connection is, as it says with `connect`, and for how long, as it says with `refresh`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import NamedTuple

import msgspec
import structlog

from hubbub.core import Core
from hubbub.door.client import DoorClient, new_id
from hubbub.door.codes import DoorClose, DoorCode, DoorError
from hubbub.door.commands import (
    Asked,
    ConnectReply,
    ConnectRequest,
    RefreshPush,
    RefreshReply,
    RefreshRequest,
    SubscribeReply,
)
from hubbub.door.expiry import DoorExpiry, seconds_left
from hubbub.door.introduction import answer_of, introduce
from hubbub.door.session import DoorSession
from hubbub.door.settings import DoorSettings
from hubbub.door.subscribing import Subscribing
from hubbub.door.tokens import BadToken, ConnectionToken, DoorTokens, TokenExpired
from hubbub.engine import Grant
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.handlers import Handler
from hubbub.otp import digest
from hubbub.policy import Places, Rate, RateLimit
from hubbub.sessions import JustEnded
from hubbub.tokens import is_jwt
from hubbub.wire.door import open_purses

__all__ = ["Entering", "Identity"]

log = structlog.get_logger("hubbub.door")

NOBODY = ConnectionToken("", "")

VERSION = f"Hubbub {version('hubbub')}"


class Identity(NamedTuple):
    """Who a connection is.

    Attributes:
        token: what its token says, or stands for.
    """

    grant: Grant
    token: ConnectionToken


class Closing(Exception):
    """A connection is closed instead of an answer.

    Args:
        reason: what its client is told, in Centrifugo's words.
        why: what the log says.
    """

    def __init__(self, code: DoorClose, reason: str, why: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.why = why or reason


class Entering:
    """Lets clients in.

    Args:
        handlers: what the commands of clients are handled by.
        expiry: ends those that are not refreshed.
        subscribing: subscribes them to what their tokens name.
    """

    def __init__(
        self,
        core: Core,
        settings: DoorSettings,
        places: Places,
        tokens: DoorTokens,
        expiry: DoorExpiry,
        subscribing: Subscribing,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._core = core
        self._settings = settings
        self._places = places
        self._tokens = tokens
        self._expiry = expiry
        self._subscribing = subscribing
        self._handlers = handlers
        house = core.settings
        self._rate_limit = RateLimit(house.client_rate, house.client_burst) if house.client_rate else None

    # Connecting

    async def enter(self, session: DoorSession, asked: Asked) -> None:
        """Let a connection in that has sent `connect`, or say why not.  Never raises but for a cancellation."""
        id_ = asked.id
        assert id_ is not None and isinstance(asked.payload, ConnectRequest)
        try:
            client, reply = await self._admit(session, asked.payload)
        except Closing as closing:
            session.close(closing.code, closing.reason)
        except Refused as refused:
            session.go_back(session.carriage.dialect.error(id_, refused))
        except EngineError as error:
            session.go_back(session.carriage.dialect.error(id_, Refused(ErrorCode.UNAVAILABLE, str(error))))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                session.close(DoorClose.SHUTDOWN, "shutdown")
                raise
            self._fail(session, id_)  # a hook has let go of one of its own
        except Exception:
            self._fail(session, id_)
        else:
            session.begin(client, session.carriage.dialect.ack(id_, session.carriage.dialect.result("connect", reply)))

    def _fail(self, session: DoorSession, id_: int) -> None:
        log.exception("connect failed")
        session.go_back(session.carriage.dialect.error(id_, Refused(ErrorCode.INTERNAL, "internal server error")))

    async def _admit(self, session: DoorSession, request: ConnectRequest) -> tuple[DoorClient, ConnectReply]:
        """Let a client in; what it is answered."""
        core = self._core
        if core.is_closed:
            raise Closing(DoorClose.SHUTDOWN, "shutdown")
        known_at = core.now()
        try:
            identity = await self._identify(request.token)
        except Closing as closing:
            log.info("connect refused", address=session.address, why=closing.why)
            self._note_refused("", session.address, closing.reason)
            raise
        client = self._new_client(session, identity)
        has_hooks = bool(core.handlers.connect_hooks)
        if has_hooks:
            introduce(client, request)
        try:
            await core.connect(client, known_at=known_at)
        except JustEnded as refused:
            self._note_refused(client.user, session.address, refused.code)
            raise Closing(DoorClose.FORCED, "this session has just ended") from None
        except Refused as refused:
            self._note_refused(client.user, session.address, refused.code)
            if refused.code == ErrorCode.UNAVAILABLE:
                raise
            raise Closing(DoorClose.PERMISSION_DENIED, refused.message) from None
        try:
            self._check_limit(client.user, client.purses[0].connections)  # others came while hooks were asked
            subs = await self._subscribing.at_connect(client, identity.token.subs, request.subs)
            reply = self._reply(session, client, subs)
            if has_hooks:
                reply.data = answer_of(client)
        except BaseException:
            core.disconnect(client)
            raise
        return client, reply

    async def _identify(self, token: str) -> Identity:
        """Who a token stands for.

        Raises:
            Closing: nobody.
            DoorError: 109 for one that has expired.
        """
        if not token:
            if not (self._settings.allow_anonymous or self._settings.insecure):
                why = "it has no token, and client.allow_anonymous_connect_without_token is off"
                raise Closing(DoorClose.BAD_REQUEST, "bad request", why)
            return Identity(Grant("", "", is_kept=False), NOBODY)
        if not is_jwt(token):
            grant = await self._core.engine.session(digest(token))
            if grant is None:
                why = "its token is neither a JSON Web Token nor that of a session of this server"
                raise Closing(DoorClose.INVALID_TOKEN, "invalid token", why)
            return Identity(grant, ConnectionToken(grant.user, grant.session))
        try:
            found = await self._tokens.connection(token)
        except TokenExpired:
            raise DoorError(DoorCode.TOKEN_EXPIRED, "token expired") from None
        except BadToken as error:
            raise Closing(DoorClose.INVALID_TOKEN, "invalid token", f"its token: {error}") from None
        return Identity(Grant(found.user, found.session, info=notes(found.meta), is_kept=False), found)

    def _new_client(self, session: DoorSession, identity: Identity) -> DoorClient:
        grant, token = identity
        core, carriage = self._core, session.carriage
        purses = open_purses(core, self._places, grant.user, session.address)
        self._check_limit(grant.user, purses[0].connections + 1)
        return DoorClient(
            grant.user,
            grant.session,
            carriage.dialect,
            carriage.frame,
            self._handlers,
            id_=new_id(),
            conn_info=token.info,
            expires_at=token.expires_at,
            rate=Rate(self._rate_limit, core.now(), purses) if self._rate_limit else None,
            purses=purses,
            address=session.address,
            terms=None if grant.is_plain else grant,
        )

    def _check_limit(self, user: str, connections: int) -> None:
        """Close a connection that is one too many of its user's."""
        most = self._settings.user_connection_limit
        if most and user and connections > most:
            raise Closing(DoorClose.CONNECTION_LIMIT, "connection limit")

    def _reply(self, session: DoorSession, client: DoorClient, subs: dict[str, SubscribeReply]) -> ConnectReply:
        expires, ttl = self._left(client)
        self._expiry.note(client)
        ping = session.carriage.ping
        return ConnectReply(
            client.id,
            VERSION,
            expires,
            ttl,
            subs=subs,
            ping=ping,
            pong=ping > 0,
            session=session.secret,
            node=session.node,
        )

    def _left(self, client: DoorClient) -> tuple[bool, int]:
        """Whether a connection has to be refreshed, and in how many seconds."""
        if client.expires_at is None:
            return False, 0
        return True, seconds_left(client.expires_at, self._core.wall())

    def _note_refused(self, user: str, address: str, outcome: str) -> None:
        self._core.audit.refuse("connect", actor=user, address=address, outcome=outcome)

    # Going on

    async def refresh(self, request: RefreshRequest, client: DoorClient) -> msgspec.Raw:
        """Have a connection go on by another token of its user's."""
        try:
            expires, ttl = await self._refresh(request.token, client)
        except Closing as closing:
            client.close(closing.code, closing.reason)
            raise DoorError(DoorCode.PERMISSION_DENIED, closing.reason) from None
        return client.dialect.result("refresh", RefreshReply(expires=expires, ttl=ttl))

    async def _refresh(self, token: str, client: DoorClient) -> tuple[bool, int]:
        if not token:
            raise Closing(DoorClose.BAD_REQUEST, "bad request")
        try:
            grant, said = await self._identify(token)
        except DoorError:
            raise Closing(DoorClose.EXPIRED, "connection expired") from None
        if grant.user != client.user:
            raise Closing(DoorClose.INVALID_TOKEN, "invalid token")
        if not client.is_connected:
            return False, 0
        try:
            self._core.sessions.move(client, grant)
        except JustEnded as refused:
            raise Closing(DoorClose.FORCED, refused.message) from None
        client.conn_info = said.info
        client.expires_at = said.expires_at
        self._expiry.note(client)
        return self._left(client)

    def extend(self, client: DoorClient, expires_at: float | None) -> None:
        """Have a connection go on until another moment, or for ever, and tell it so."""
        client.expires_at = expires_at
        self._expiry.note(client)
        client.push("", "refresh", RefreshPush(*self._left(client)))


def notes(meta: bytes) -> dict[str, object] | None:
    """What a token tells the application of its user, where that is an object."""
    found = msgspec.json.decode(meta) if meta else None
    return found if isinstance(found, dict) else None
