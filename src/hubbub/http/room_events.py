"""A room's events over HTTP, for whoever has no SDK: curl, a browser's EventSource, a script.

A stream is a client of one room that says nothing.  It is let in as a v1 client is, and enters the room before its head
is written, so that whatever is refused is an HTTP status.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import msgspec

from hubbub.budgets import Use, spend, wait_for
from hubbub.client import Participant, Socket
from hubbub.engine import Grant, Head
from hubbub.errors import CloseCode, ErrorCode, Refused
from hubbub.events import encode
from hubbub.http.answers import HttpError, Route, as_http
from hubbub.http.event_stream import BEAT, EventStream, block, place, read_place, retry
from hubbub.http.grants import Grants
from hubbub.http.put_out import PutOut
from hubbub.otp import OneTimePasswords
from hubbub.recent import HISTORY, RECENT
from hubbub.rooms import EnteredRoom
from hubbub.tokens import BadToken
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request, Response
from hubbub.wire.streaming import Streaming, frame_for
from hubbub.wire.upgrade import Upgrades, Visitor

__all__ = ["RoomEvents"]

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

# Milliseconds after which a browser comes back that has lost its connection; each has its own default.
RETRY_MS = 2000

# Refusals that somebody who looks for intruders wants to know of.
NOT_ALLOWED = frozenset({ErrorCode.FORBIDDEN, ErrorCode.NO_SUCH_ROOM})

NO_OTP = "no valid one-time password; log in for one"
NO_TOKENS = "this server takes no JSON Web Tokens: --jwt-key is what it would know them by"


class EventsAsked(NamedTuple):
    """What a request asks for.

    Attributes:
        room: its name, as the client writes it.
        since: where the client has been before.
        history: how many of the newest messages it wants; None where it does not say.
    """

    room: str
    since: Head | None
    history: int | None


class Hearer(Participant):
    """A client of one room that reads, and says nothing."""

    __slots__ = ("has_entered",)

    has_entered: bool

    def write_text(self, text: bytes) -> None:
        super().write_text(text)
        if self.has_entered and not self.joined:  # it was told so a moment ago
            self.close(CloseCode.NORMAL, "you are out of the room")


class RoomEvents:
    """Answers requests for a room's events.

    Args:
        grants: finds out who asks by a token or a cookie.

    Attributes:
        routes: by path, then by method.
    """

    def __init__(self, upgrades: Upgrades, grants: Grants, otps: OneTimePasswords) -> None:
        core = upgrades.core
        self._core = core
        self._upgrades = upgrades
        self._grants = grants
        self._otps = otps
        self._dialect = EventStream(core.rooms.epoch, pick)
        self._pages = Origins(core.settings, core.now)
        self._put_out = PutOut(core.notices, core.now)
        self.routes: dict[str, dict[str, Route]] = {"/rooms/*/events": {"GET": self._listen}}

    async def _listen(self, request: Request) -> Response:
        try:
            return await self._begin(request)
        except Exception as error:
            refused = as_http(error, request)
            # A browser that is back by itself stays away for good after any answer but 200: it is told to come later.
            if refused.status in (429, 503) and request.header("last-event-id") is not None:
                return later(refused)
            raise

    async def _begin(self, request: Request) -> Response:
        door = self._upgrades.door
        door.take_place(request.address)
        try:
            self._pages.check(request)
            asked = read_asked(request)
            known_at = self._core.now()
            grant = await self._grant_of(request)
            return await self._let_in(request, asked, grant, known_at)
        except BaseException:
            door.places.free(request.address)
            raise

    async def _grant_of(self, request: Request) -> Grant:
        """Who asks: by what the URL has, which is all that a browser's EventSource can say, or by its headers.

        Raises:
            HttpError: 401 for nobody.
            EngineError, Refused: it cannot be told.
        """
        fields = request.query_fields()
        if "otp" in fields:
            grant = await self._otps.take(fields["otp"][0])
            if grant is None:
                raise self._grants.unauthorized(request, NO_OTP)
            return grant
        if "jwt" not in fields:
            return await self._grants.of(request)
        if self._core.tokens is None:
            raise self._grants.unauthorized(request, NO_TOKENS)
        try:
            return await self._core.tokens.grant(fields["jwt"][0])
        except BadToken as error:
            raise self._grants.unauthorized(request, f"the token is refused: {error}") from None

    async def _let_in(self, request: Request, asked: EventsAsked, grant: Grant, known_at: float) -> Streaming:
        """Make a client, and let it into the hub and the room.

        Raises:
            Refused: it may not come in, or not now.
            EngineError: the log cannot be read, or the server stops.
        """
        core = self._core
        self._put_out.check(grant.session)
        client = self._new_client(request, grant)
        try:
            await core.connect(client, known_at=known_at)
        except Refused as refused:
            core.audit.refuse("connect", actor=client.user, address=client.address, outcome=refused.code)
            raise
        try:
            await self._enter(client, asked)
        except BaseException:
            core.disconnect(client)
            raise
        sockets = self._upgrades.sockets
        return Streaming(
            200,
            media_type=MEDIA_TYPE,
            headers=HEADERS,
            author=HearerVisitor(self._upgrades, client, request.address, self._put_out),
            sockets=sockets.sockets,
            wheel=sockets.wheel,
            beat=BEAT,
            last=last_words,
        )

    def _new_client(self, request: Request, grant: Grant) -> Hearer:
        client = Hearer(
            grant.user,
            grant.session,
            self._dialect,
            frame_for(request),
            purses=self._upgrades.door.open_purses(grant.user, request.address),
            address=request.address,
            terms=None if grant.is_plain else grant,
        )
        client.has_entered = False
        return client

    async def _enter(self, client: Hearer, asked: EventsAsked) -> None:
        """Let a client into the room, and write what it is told at first; nothing may come before that."""
        core = self._core
        wait = wait_for(client.purses, Use.SENT, core.now())
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, "this account or address has asked for too many bytes", wait)
        history = asked.history
        if history is None:
            history = 0 if asked.since is None else HISTORY
        try:
            entered = await core.rooms.join_with_history(client, asked.room, asked.since, history)
        except Refused as refused:
            core.counts.refuse(refused.code)
            if refused.code in NOT_ALLOWED:
                core.audit.refuse(
                    "join_room", actor=client.user, address=client.address, outcome=refused.code, reason=refused.message
                )
            raise
        text = opening(entered, has_place=asked.since is not None)
        spend(client.purses, Use.SENT, len(text), core.now())
        client.write_text(text)
        client.has_entered = True


class HearerVisitor(Visitor):
    """Stands between a reader and its connection."""

    __slots__ = ("_put_out", "_session")

    def __init__(self, upgrades: Upgrades, client: Participant, address: str, put_out: PutOut) -> None:
        super().__init__(upgrades, client, address)
        self._put_out = put_out
        self._session = client.session

    def attach(self, socket: Socket) -> None:
        """Take up the connection."""
        self._client.attach(socket)

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        if by_us:
            self._put_out.note(self._session, code)
        super().closed(code, reason, by_us=by_us)


def read_asked(request: Request) -> EventsAsked:
    """What a request for a room's events asks for.

    Raises:
        Denied: 400 for a query that cannot be read.
        Refused: `bad_payload`, naming the field.
    """
    fields = request.query_fields()
    # A browser comes back with the URL that it began with, and the header that says how far it has come since.
    last = request.header("last-event-id") or fields.get("last_event_id", [""])[0]
    return EventsAsked(
        request.path.split("/")[2], read_place(last) if last else None, read_history(fields.get("history"))
    )


def read_history(values: list[str] | None) -> int | None:
    """How many messages are asked for.

    Raises:
        Refused: `bad_payload` for what is no such number.
    """
    if values is None:
        return None
    digits = values[0]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(RECENT)) or int(digits) > RECENT:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"history is a number from 0 to {RECENT}")
    return int(digits)


def opening(entered: EnteredRoom, *, has_place: bool) -> bytes:
    """What a stream begins with: how the room stands, and what was said before.

    Args:
        has_place: the client has said where it has been; where that is lost, it is told so first.
    """
    payload = {
        "room": entered.room,
        "title": entered.title,
        "epoch": entered.epoch,
        "seq": entered.seq,
        "recovered": entered.is_recovered,
        "members": msgspec.Raw(entered.listing.names),
        "count": entered.listing.total,
        "read": entered.read,
    }
    type_ = "reset" if has_place and not entered.is_recovered else "joined"
    # Otherwise the first message has a place, and before it the client's own one counts.
    id_ = b"" if entered.messages else place(entered.epoch, entered.seq)
    return retry(RETRY_MS) + block(type_, encode(payload), id_) + entered.messages


def last_words(code: int, reason: str) -> bytes:
    """What a stream ends with, where the server ends it."""
    return block("closed", encode({"code": int(code), "reason": reason}))


def later(refused: HttpError) -> Response:
    """A stream that says nothing but when to come back."""
    seconds = int(refused.headers.get("Retry-After", "5"))
    return Response(200, retry(seconds * 1000), MEDIA_TYPE, HEADERS)


def pick(most_ms: int) -> int:
    """Some time up to the given one, in milliseconds."""
    return random.randint(0, most_ms)  # noqa: S311  # nobody gains anything by guessing it
