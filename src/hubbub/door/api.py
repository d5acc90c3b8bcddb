"""The server API for the key of the door's configuration: methods and answers as Centrifugo's are."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from hubbub.budgets import Purse, Register
from hubbub.core import Core
from hubbub.door.api_calls import (
    ChannelCall,
    ChannelsCall,
    ForcedCloseCall,
    RefreshCall,
    RpcCall,
    SubscribeCall,
    UnsubscribeCall,
)
from hubbub.door.census import CensusReply, NodeCensus, NodeReport, TooMany, count_channels
from hubbub.door.codes import DoorError
from hubbub.door.commands import PublicationPush, StreamPosition
from hubbub.door.dialect import publication_of
from hubbub.door.floor import DoorFloor
from hubbub.door.globs import Glob
from hubbub.door.namespaces import Namespace
from hubbub.door.orders import CloseOrder, EmptyOrder, Orders, RefreshOrder, SubscribeOrder, UnsubscribeOrder
from hubbub.door.past import PastQuery
from hubbub.engine import ApiKey, KeyRight, Receipt
from hubbub.errors import KeyConflict
from hubbub.http.api_calls import ApiCode, ApiError, BroadcastCall, EmptyCall, HistoryCall, SayingCall
from hubbub.http.api_methods import MAX_ANSWER, ApiMethods, SaidBody
from hubbub.keyring import KeyScope
from hubbub.naming import RoomName, is_channel_name
from hubbub.publications import without_spaces
from hubbub.signing_in import MAX_INFO_BYTES

__all__ = ["EVERYTHING", "DoorMethods"]

# Channels that one broadcast tells, some at a time.
MAX_CHANNELS = 10_000
# Channels that are told at a time, and about how many bytes.
TOLD_AT_ONCE = 200
TOLD_BYTES = 4 << 20

# Bytes of what is published, as JSON: as many as a client may send.
MAX_DATA = 64 * 1024

# Publications in one answer, and those that are read from the log at a time.
MAX_PUBLICATIONS = 10_000
PAGE = 300

# Of the user id and the reason that orders have; the latter has to fit in a CLOSE.
MAX_USER_CHARS = 256
MAX_REASON_BYTES = 123
# Close codes that applications may give (RFC 6455 section 7.4.2).
CLOSE_CODES = range(3000, 5000)

# Cuts what a key may do to everything, under a name that no key of the hub's own has.
EVERYTHING = KeyScope(ApiKey("Centrifugo", tuple(KeyRight), ("*",), 0))

# What Centrifugo says, before what is the matter here.
WORDS: Mapping[int, str] = {
    ApiCode.INTERNAL: "internal server error",
    ApiCode.UNKNOWN_CHANNEL: "unknown channel",
    ApiCode.FORBIDDEN: "permission denied",
    ApiCode.UNKNOWN_METHOD: "method not found",
    ApiCode.LIMIT: "limit exceeded",
    ApiCode.BAD_REQUEST: "bad request",
    ApiCode.NOT_AVAILABLE: "not available",
    ApiCode.TOO_MANY: "too many requests",
    ApiCode.UNRECOVERABLE: "unrecoverable position",
}


class DoorMethods(ApiMethods):
    """Does what is asked for with the key of the door's configuration (`http.api_methods.ApiMethods`).

    What the key may use has no limit: it is the operator's own.
    """

    def __init__(self, core: Core, floor: DoorFloor, orders: Orders, node: str) -> None:
        super().__init__(core)
        self._uid = node
        self._channels = floor.channels
        self._crowd = floor.crowd
        self._past = floor.past
        self._orders = orders
        self._census = NodeCensus(node, core.notices, self._look, is_shared=core.engine.is_shared)
        self._free = Register("key", {}, is_enforced=False).purse(EVERYTHING.name, core.now())
        self._most_data = max(MAX_DATA, self._most_data)

    def begin(self) -> None:
        """Tell other nodes of this one."""
        self._census.begin()

    async def answer(self, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        answer = await super().answer(translated(work))
        if "error" in answer:
            error = answer["error"]
            error["message"] = f"{WORDS[error['code']]}: {error['message']}"
        return answer

    # Saying something

    async def broadcast(self, scope: KeyScope, call: BroadcastCall) -> dict[str, Any]:
        names = call.names
        if not names:
            raise ApiError(ApiCode.BAD_REQUEST, "`channels` has none")
        if len(names) > MAX_CHANNELS:
            raise ApiError(ApiCode.LIMIT, f"`channels` has at most {MAX_CHANNELS}, not {len(names)}")
        body = self._body(call)
        at_once = max(1, min(TOLD_AT_ONCE, TOLD_BYTES // len(body.data)))
        responses: list[dict[str, Any]] = []
        for first in range(0, len(names), at_once):
            said = (self._say(scope, self._free, name, body, call) for name in names[first : first + at_once])
            responses += await asyncio.gather(*map(self.answer, said))
        return {"responses": responses}

    async def _say(self, scope: KeyScope, purse: Purse, name: str, body: SaidBody, call: SayingCall) -> dict[str, Any]:
        namespace = self._namespace(name)
        if call.skip_history or not namespace.keeps:
            self._cast(self._room(scope, name, KeyRight.PUBLISH).identity, body)
            return {}
        placed = await super()._say(scope, purse, name, body, call)
        return placed if namespace.has_history else {}

    def _repeated(self, conflict: KeyConflict) -> Receipt:
        """What was said first with a key, whatever it was, is what was said."""
        return Receipt(conflict.seq, 0, repeated=True)

    # Asking about channels

    async def history(self, scope: KeyScope, call: HistoryCall) -> dict[str, Any]:
        channel, namespace = call.name, self._history_of(call.name)
        limit = min(call.limit, MAX_PUBLICATIONS) if call.limit >= 0 else MAX_PUBLICATIONS
        since = StreamPosition(call.since.offset, call.since.epoch) if call.since is not None else None
        told: list[PublicationPush] = []
        size = 0
        while True:
            query = PastQuery(min(PAGE, limit - len(told)), since, is_reversed=call.reverse)
            page = await self._past.read(channel, namespace, query)
            told += [publication_of(message, shows_offset=True) for message in page.messages]
            size += sum(len(message.body) for message in page.messages)
            if len(page.messages) < PAGE or len(told) >= limit or size > MAX_ANSWER:
                break
            await asyncio.sleep(0)  # not every log waits for what is read
            since = StreamPosition(page.messages[-1].seq, page.head.epoch)
        return {"publications": told, "epoch": page.head.epoch, "offset": page.head.seq}

    async def history_remove(self, _scope: KeyScope, call: ChannelCall) -> dict[str, Any]:
        self._history_of(call.channel)
        await self._engine.empty(call.channel)
        # What was said meanwhile is in the log, and need not be at hand.
        head = await self._engine.head(call.channel)
        await self._orders.give(EmptyOrder(channel=call.channel, seq=head.seq))
        return {}

    async def presence_by_client(self, _scope: KeyScope, call: ChannelCall) -> dict[str, Any]:
        self._check_presence(call.channel)
        return {"presence": await self._crowd.presence(call.channel)}

    async def presence_counts(self, _scope: KeyScope, call: ChannelCall) -> dict[str, Any]:
        self._check_presence(call.channel)
        return msgspec.structs.asdict(await self._crowd.stats(call.channel))

    def _check_presence(self, channel: str) -> None:
        if not self._namespace(channel).presence:
            raise ApiError(ApiCode.NOT_AVAILABLE, "the option `presence` is off for this channel")

    # Asking about all nodes

    async def channels(self, _scope: KeyScope, call: ChannelsCall) -> dict[str, Any]:
        try:
            counts = await self._census.channels(call.pattern)
        except ValueError as error:
            raise ApiError(ApiCode.BAD_REQUEST, f"`pattern` is none: {error}") from None
        except TooMany as error:
            raise ApiError(ApiCode.LIMIT, str(error)) from None
        return {"channels": {name: {"num_clients": count} for name, count in counts.items()}}

    async def info(self, _scope: KeyScope, _call: EmptyCall) -> dict[str, Any]:
        return {"nodes": await self._census.reports()}

    async def _look(self, pattern: str | None) -> CensusReply:
        """What this process has."""
        if pattern is None:
            [node] = (await super().info(EVERYTHING, EmptyCall()))["nodes"]
            return CensusReply(report=NodeReport(**node))
        glob = Glob(pattern)
        return await count_channels(self._occupied(), glob.fits)

    def _occupied(self) -> Iterable[tuple[str, int]]:
        """The rooms that are channels, each with how many connections are in it."""
        return ((name, count) for name, count in self._rooms.occupied() if is_channel_name(name))

    # Connections

    async def subscribe(self, _scope: KeyScope, call: SubscribeCall) -> dict[str, Any]:
        self._namespace(call.channel)
        order = SubscribeOrder(
            user=checked_user(call.user),
            client=call.client,
            session=call.session,
            channel=call.channel,
            info=json_of(call.info, call.b64info, "info"),
            data=json_of(call.data, call.b64data, "data"),
            expire_at=call.expire_at,
            since=call.recover_since,
            override=call.override.override() if call.override is not None else None,
        )
        await self._orders.give(order)
        return {}

    async def unsubscribe(self, _scope: KeyScope, call: UnsubscribeCall) -> dict[str, Any]:
        if call.channel:
            self._namespace(call.channel)
        user = checked_user(call.user)
        order = UnsubscribeOrder(user=user, client=call.client, session=call.session, channel=call.channel)
        await self._orders.give(order)
        return {}

    async def close_connections(self, scope: KeyScope, call: ForcedCloseCall) -> dict[str, Any]:
        user, close = checked_user(call.user), call.disconnect
        order = CloseOrder(user=user, client=call.client, session=call.session)
        order.whitelist = frozenset(call.whitelist)
        if close is not None:
            if close.code not in CLOSE_CODES or len(close.reason.encode()) > MAX_REASON_BYTES:
                message = f"`disconnect` has a code from 3000 to 4999, and a reason of at most {MAX_REASON_BYTES} bytes"
                raise ApiError(ApiCode.BAD_REQUEST, message)
            order.code, order.reason = close.code, close.reason
        await self._orders.give(order)
        if user and not (call.client or call.session):
            self._core.admin.disconnect_others(user)
        self._core.audit.note("disconnect", actor=f"(key) {scope.name}", target=user, outcome="done")
        return {}

    async def refresh(self, _scope: KeyScope, call: RefreshCall) -> dict[str, Any]:
        is_over = call.expired or 0 < call.expire_at <= self._core.wall()
        order = RefreshOrder(
            user=checked_user(call.user),
            client=call.client,
            session=call.session,
            expired=is_over,
            expire_at=call.expire_at,
            info=json_of(call.info, "", "info"),
        )
        await self._orders.give(order)
        return {}

    async def rpc(self, _scope: KeyScope, call: RpcCall) -> dict[str, Any]:
        if not call.method:
            raise ApiError(ApiCode.BAD_REQUEST, "`method` is missing")
        raise ApiError(ApiCode.UNKNOWN_METHOD, f"there is no extension {call.method[:40]!r}")

    # What the key is good for

    def _namespace(self, channel: str) -> Namespace:
        """The options of a channel.

        Raises:
            ApiError: there is none.
            DoorError: it is no name of a channel, or has no namespace.
        """
        if not channel:
            raise ApiError(ApiCode.BAD_REQUEST, "`channel` is missing")
        return self._channels.namespace(channel)

    def _history_of(self, channel: str) -> Namespace:
        namespace = self._namespace(channel)
        if not namespace.has_history:
            message = "the options `history_size` and `history_ttl` are off for this channel"
            raise ApiError(ApiCode.NOT_AVAILABLE, message)
        return namespace

    def _room(self, _scope: KeyScope, name: str, _right: KeyRight) -> RoomName:
        self._namespace(name)
        if self._core.ledger.is_closed(name):
            raise ApiError(ApiCode.FORBIDDEN, f"the room {name[:80]!r} is closed")
        return RoomName(name, name)

    def _purse(self, _scope: KeyScope) -> Purse:
        return self._free


async def translated(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What comes of a call; refusals of the door's own as this interface says them."""
    try:
        return await work
    except DoorError as error:
        code = next((code for code in ApiCode if code == int(error.number)), ApiCode.BAD_REQUEST)
        raise ApiError(code, error.message) from None


def checked_user(user: str) -> str:
    """A user, if it can be one: it is told to all nodes."""
    if len(user) > MAX_USER_CHARS:
        raise ApiError(ApiCode.BAD_REQUEST, f"`user` has at most {MAX_USER_CHARS} characters")
    return user


def json_of(given: Raw | UnsetType, encoded: str, name: str) -> Raw | UnsetType:
    """JSON that was given as it is, or in base64; nothing where it is null."""
    data = b"" if given is UNSET else bytes(given)
    if encoded:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise ApiError(ApiCode.BAD_REQUEST, f"`b64{name}` is no base64") from None
    if data in (b"", b"null"):
        return UNSET
    if len(data) > MAX_INFO_BYTES:
        raise ApiError(ApiCode.BAD_REQUEST, f"`{name}` has at most {MAX_INFO_BYTES} bytes")
    return Raw(without_spaces(data))
