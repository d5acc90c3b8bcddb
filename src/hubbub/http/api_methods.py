"""What other programs may do over HTTP with a key: each method, with the limits of the key."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable
from importlib.metadata import version
from secrets import token_hex
from typing import Any, NamedTuple

import structlog
from msgspec import UNSET

from hubbub.budgets import ROW_BYTES, Purse, Use, spend, wait_for
from hubbub.core import Core
from hubbub.directory import AFTER_DMS
from hubbub.engine import KeyRight, Receipt
from hubbub.errors import EngineError, ErrorCode, KeyConflict, Refused
from hubbub.events import Message, encode, rfc3339
from hubbub.feeding import LOG_FACTOR
from hubbub.http.api_calls import (
    ApiCode,
    ApiError,
    BroadcastCall,
    DisconnectCall,
    EmptyCall,
    HistoryCall,
    PublishCall,
    RoomCall,
    RoomsCall,
    SayingCall,
    as_api_error,
)
from hubbub.keyring import KeyScope
from hubbub.naming import DM, RoomName, fold
from hubbub.policy import check_key
from hubbub.posting import Posting
from hubbub.publications import body_of, said_by
from hubbub.quotas import count_posts, count_room
from hubbub.rules import Pattern

__all__ = ["ApiMethods"]

log = structlog.get_logger("hubbub.http")

# Messages in an answer, and bytes of them after which no more follow; whoever wants more asks again from there on.
MAX_HISTORY = 300
MAX_ANSWER = 4 << 20

# Users of a room that are named, and names of rooms that are looked at.
MAX_PRESENCE = 1000
MAX_ROOMS = 1000
# What each of them counts in bytes sent.
NAME_BYTES = 64

# Rooms that are told the same by one call, and bytes that this may add to the log.
MAX_BROADCAST = 200
MAX_BROADCAST_BYTES = 4 << 20

# Looking it up reads a file.
VERSION = version("hubbub")

# More than any user's name has: it is told to all nodes.
MAX_USER_CHARS = 128

# Seconds for which what was counted over all connections is told again.
COUNTS_S = 1.0


class SaidBody(NamedTuple):
    """What is said: the type of an event, and its fields as JSON."""

    type: str
    data: bytes


class ApiMethods:
    """Does what is asked for with a key.

    Each method takes what the key is good for and the fields, and returns the result.  It raises `ApiError`, `Refused`
    where something is wrong with the fields or over the key's budget, and `EngineError` where it is not kept, or cannot
    be read.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._rooms = core.rooms
        self._engine = core.engine
        self._settings = core.settings
        self._most_data = core.settings.max_frame
        self._uid = token_hex(8)
        self._started = core.now()
        self._counted: tuple[float, dict[str, int]] | None = None

    # Saying something

    async def publish(self, scope: KeyScope, call: PublishCall) -> dict[str, Any]:
        self._check(scope, KeyRight.PUBLISH)
        purse = self._spend(scope)
        return await self._say(scope, purse, call.name, self._body(call), call)

    async def broadcast(self, scope: KeyScope, call: BroadcastCall) -> dict[str, Any]:
        self._check(scope, KeyRight.PUBLISH)
        names = call.names
        if not 0 < len(names) <= MAX_BROADCAST:
            raise ApiError(ApiCode.LIMIT, f"`channels` has 1 to {MAX_BROADCAST} rooms, not {len(names)}")
        self._spend(scope)
        body = self._body(call)
        if len(body.data) * len(names) > MAX_BROADCAST_BYTES:
            raise ApiError(ApiCode.LIMIT, f"one broadcast has {MAX_BROADCAST_BYTES} bytes at most, of all rooms")
        said = (self._say_too(scope, name, body, call, is_first=number == 0) for number, name in enumerate(names))
        return {"responses": await asyncio.gather(*map(self.answer, said))}

    async def _say_too(
        self, scope: KeyScope, name: str, body: SaidBody, call: BroadcastCall, *, is_first: bool
    ) -> dict[str, Any]:
        """Say something in one of several rooms; the first was counted as the call."""
        purse = self._purse(scope) if is_first else self._spend(scope)
        return await self._say(scope, purse, name, body, call)

    async def _say(self, scope: KeyScope, purse: Purse, name: str, body: SaidBody, call: SayingCall) -> dict[str, Any]:
        """Say something in a room; where it was kept."""
        room = self._room(scope, name, KeyRight.PUBLISH)
        if call.skip_history:
            self._cast(room.identity, body)
            return {}
        posting = await self._post(scope, purse, room, body, call.idempotency_key)
        return await self._kept(purse, room, posting)

    def _body(self, call: SayingCall) -> SaidBody:
        """What is said, read once however many rooms are told."""
        if call.b64data:
            try:
                data = base64.b64decode(call.b64data, validate=True)
            except (binascii.Error, ValueError):
                raise ApiError(ApiCode.BAD_REQUEST, "`b64data` is no base64") from None
        else:
            data = b"" if call.data is UNSET else bytes(call.data)
        if not data:
            raise ApiError(ApiCode.BAD_REQUEST, "`data` is missing: any JSON, or the fields of the event of a `type`")
        body = SaidBody(*body_of(call.type, data, call.tags, self._settings.max_message))
        if len(body.data) > self._most_data > 0:  # a resume has thousands in one answer
            raise ApiError(ApiCode.LIMIT, f"what is said has at most {self._most_data} bytes, as JSON")
        return body

    def _cast(self, room: str, body: SaidBody) -> None:
        """Say something that is not kept; it says itself in which room."""
        more = b"" if len(body.data) == 2 else b"," + body.data[1:-1]
        self._rooms.cast(room, body.type, b'{"room":%b%b}' % (encode(room), more))

    async def _post(self, scope: KeyScope, purse: Purse, room: RoomName, body: SaidBody, key: str) -> Posting:
        """Post something, as far as the key's budget goes."""
        if key:
            check_key(key)
        purse.credit -= len(body.data) + ROW_BYTES
        purse.keys += bool(key)
        now = self._core.now()
        if purse.credit < 0:
            count_posts(purse, now, is_new=False)
        bucket = purse.bucket(Use.ROOMS, now)
        if bucket is not None and bucket.wait(now) and not (await self._engine.head(room.identity)).seq:
            count_posts(purse, now, is_new=True)
        # Each program has names of its own for what it says.
        return self._rooms.publish(room.identity, body.type, body.data, f"api/{scope.name}/{key}" if key else None)

    async def _kept(self, purse: Purse, room: RoomName, posting: Posting) -> dict[str, Any]:
        """Where something was kept, once it is."""
        try:
            receipt = await posting
        except KeyConflict as conflict:
            receipt = self._repeated(conflict)
        if receipt.seq == 1 and not receipt.repeated:
            await self._note_made(purse, room)
        epoch = self._rooms.epoch(room.identity) or (await self._engine.head(room.identity)).epoch
        return place(receipt, epoch)

    def _repeated(self, conflict: KeyConflict) -> Receipt:
        """What becomes of something that was said with the key of something else: here an error."""
        message = f"this idempotency key is that of another message (offset {conflict.seq}); give each its own"
        raise ApiError(ApiCode.BAD_REQUEST, message)

    async def _note_made(self, purse: Purse, room: RoomName) -> None:
        """Take note of a room that has begun: it counts, and its name stays as it was written."""
        count_room(purse, self._core.now())
        if room.title == room.identity:
            return
        try:
            await self._engine.put_title(room.identity, room.title)
        except EngineError as error:
            log.warning("the title of a room is not kept", room=room.identity, error=str(error))

    # Asking about rooms

    async def history(self, scope: KeyScope, call: HistoryCall) -> dict[str, Any]:
        room = self._room(scope, call.name, KeyRight.HISTORY).identity
        purse = self._spend(scope, Use.SENT)
        limit = MAX_HISTORY if call.limit < 0 else min(call.limit, MAX_HISTORY)
        offset = max(call.since.offset, 0) if call.since is not None else None
        if not limit:
            head = await self._engine.head(room)
            messages: list[Message] = []
        else:
            place = {"before": offset} if call.reverse else {"after": offset or 0}
            page = await self._engine.read(room, limit=limit, **place)
            head, messages = page.head, list(self._rooms.changed(room, page.messages))
        if call.since is not None and call.since.epoch not in ("", head.epoch):
            raise ApiError(ApiCode.UNRECOVERABLE, "`since.epoch` is none of this room's log; ask without it")
        if call.reverse:
            messages.reverse()
        told = bounded(messages)
        spend((purse,), Use.SENT, LOG_FACTOR * sum(len(message.body) for message in messages), self._core.now())
        return {"publications": [publication(each) for each in told], "epoch": head.epoch, "offset": head.seq}

    async def presence(self, scope: KeyScope, call: RoomCall) -> dict[str, Any]:
        room = self._room(scope, call.name, KeyRight.PRESENCE).identity
        purse = self._spend(scope, Use.SENT)
        found = await self._engine.members(room, MAX_PRESENCE)
        spend((purse,), Use.SENT, NAME_BYTES * len(found.users), self._core.now())
        return {"presence": {user: {"user": user, "client": user} for user in found.users}}

    async def presence_stats(self, scope: KeyScope, call: RoomCall) -> dict[str, Any]:
        room = self._room(scope, call.name, KeyRight.PRESENCE).identity
        self._spend(scope)
        found = await self._engine.members(room, 0)
        return {"num_clients": found.count, "num_users": found.count}

    async def list_rooms(self, scope: KeyScope, call: RoomsCall) -> dict[str, Any]:
        self._check(scope, KeyRight.ROOMS)
        if len(call.pattern) > self._settings.max_room_name > 0:
            raise ApiError(ApiCode.BAD_REQUEST, f"a pattern has at most {self._settings.max_room_name} characters")
        purse = self._spend(scope, Use.SENT)
        pattern = Pattern(call.pattern or "*")
        first = call.pattern.partition("*")[0]
        prefix = first if first.startswith(DM) else fold(first)
        names = await self._engine.room_names(prefix=prefix, after=call.after, limit=MAX_ROOMS)
        found = [name for name in names if scope.covers(name) and pattern.fits(name)]
        spend((purse,), Use.SENT, NAME_BYTES * len(names), self._core.now())
        outlines = await self._engine.outlines(found)
        held = [name for name in found if outlines[name].sent]
        counts = await asyncio.gather(*(self._engine.members(name, 0) for name in held))
        result: dict[str, Any] = {
            "channels": {name: {"num_clients": members.count} for name, members in zip(held, counts, strict=True)}
        }
        if len(names) == MAX_ROOMS:
            has_direct = prefix.startswith(DM) or any(name.startswith(DM) for name in found)
            result["next"] = AFTER_DMS if names[-1].startswith(DM) and not has_direct else names[-1]
        return result

    # Asking about the server

    async def disconnect(self, scope: KeyScope, call: DisconnectCall) -> dict[str, Any]:
        self._check(scope, KeyRight.DISCONNECT)
        if not 0 < len(call.user) <= MAX_USER_CHARS:
            raise ApiError(ApiCode.BAD_REQUEST, f"`user` is a name of 1 to {MAX_USER_CHARS} characters")
        if call.client or call.session or call.whitelist:
            message = "all connections of a user are closed: `client`, `session` and `whitelist` are not available"
            raise ApiError(ApiCode.NOT_AVAILABLE, message)
        self._spend(scope)
        self._core.admin.disconnect(call.user, f"(key) {scope.name}")
        return {}

    async def info(self, scope: KeyScope, _call: EmptyCall) -> dict[str, Any]:
        self._check(scope, KeyRight.INFO)
        self._spend(scope)
        node = {
            "uid": self._uid,
            "name": "hubbub",
            "version": VERSION,
            "num_channels": self._rooms.count,
            "uptime": int(self._core.now() - self._started),
        }
        return {"nodes": [node | self._counts()]}

    def _counts(self) -> dict[str, int]:
        """What has to be counted over all connections."""
        now = self._core.now()
        if self._counted is None or now - self._counted[0] >= COUNTS_S:
            clients = self._core.clients
            counts = {
                "num_clients": len(clients),
                "num_users": len({client.user for client in clients}),
                "num_subs": sum(len(client.joined) for client in clients),
            }
            self._counted = now, counts
        return self._counted[1]

    # What a key is good for

    async def answer(self, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """The result of a call, under `result`, or the error that came of it."""
        try:
            return {"result": await work}
        except ApiError as error:
            return error.body()
        except Refused as refused:
            return as_api_error(refused).body()
        except EngineError as error:
            return ApiError(ApiCode.INTERNAL, str(error)).body()

    def _check(self, scope: KeyScope, right: KeyRight) -> None:
        if not scope.allows(right):
            raise ApiError(ApiCode.FORBIDDEN, f"this key is not for `{right}`; see `hubbub key add --may`")

    def _room(self, scope: KeyScope, name: str, right: KeyRight) -> RoomName:
        """A room that a key is for, by what it is called."""
        self._check(scope, right)
        room = self._rooms.read_name(name)
        if not scope.covers(room.identity):
            raise ApiError(ApiCode.FORBIDDEN, f"this key is not for the room {room.identity[:80]!r}")
        if right is KeyRight.PUBLISH and self._core.ledger.is_closed(room.identity):
            raise ApiError(ApiCode.FORBIDDEN, f"the room {room.identity[:80]!r} is closed")
        return room

    def _purse(self, scope: KeyScope) -> Purse:
        return self._core.budgets.keys.purse(scope.name, self._core.now())

    def _spend(self, scope: KeyScope, also: Use | None = None) -> Purse:
        """Count a call against the budget of its key.

        Args:
            also: what is used besides, and has to be left.

        Raises:
            Refused: `rate_limited`.
        """
        now, purse = self._core.now(), self._purse(scope)
        for use in (Use.EVENTS, also) if also is not None else (Use.EVENTS,):
            wait = wait_for((purse,), use, now)
            if wait:
                raise Refused(ErrorCode.RATE_LIMITED, f"too much for this key: {use.value}", round(wait, 3))
        spend((purse,), Use.EVENTS, 1.0, now)
        return purse


def place(receipt: Receipt, epoch: str) -> dict[str, Any]:
    """Where something was kept."""
    return {"offset": receipt.seq, "epoch": epoch}


def bounded(messages: list[Message]) -> list[Message]:
    """The first messages, as many as an answer may have; one at least."""
    size = 0
    for count, message in enumerate(messages):
        size += len(message.body)
        if size > MAX_ANSWER and count:
            return messages[:count]
    return messages


def publication(message: Message) -> dict[str, Any]:
    """A kept event as a back-end library reads it, with its type and when it was sent."""
    said = said_by(message)
    sent = rfc3339(message.sent).decode()
    told: dict[str, Any] = {"data": said.data, "offset": message.seq, "sent": sent, "type": said.type}
    if message.sender is not None:
        told["info"] = {"user": message.sender, "client": ""}
    if said.tags:
        told["tags"] = said.tags
    return told
