"""What clients ask, what they are answered and what they are told, as the protocol's schema (0.19) has it.

In JSON each is an object with the fields of the same names; those with their default are left out.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = [
    "Asked",
    "Command",
    "ConnectReply",
    "ConnectRequest",
    "ConnectionInfo",
    "DisconnectPush",
    "Empty",
    "HistoryReply",
    "HistoryRequest",
    "JoinPush",
    "MessagePush",
    "PresenceReply",
    "PresenceStatsReply",
    "PublicationPush",
    "PublishRequest",
    "RefreshPush",
    "RefreshReply",
    "RefreshRequest",
    "RoomRequest",
    "RpcReply",
    "RpcRequest",
    "SendRequest",
    "StreamPosition",
    "SubRefreshRequest",
    "SubscribePush",
    "SubscribeReply",
    "SubscribeRequest",
    "UnsubscribePush",
]

Data = Raw | UnsetType


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A command as it was read (`dialect.EventRequest`).

    Attributes:
        type: what is asked for: `publish`, `subscribe` and the like.
        payload: its request, of the struct that fits.
        id: what it is answered by; None for a command that is not answered.
    """

    type: str
    payload: msgspec.Struct
    id: int | None


# Requests


class Empty(msgspec.Struct):
    """A request or a result without fields."""


class StreamPosition(msgspec.Struct):
    """A place in a channel's log; no epoch fits any."""

    offset: int = 0
    epoch: str = ""


class SubscribeRequest(msgspec.Struct):
    """Asks to be told what is said in a channel.

    Attributes:
        flag: 1 asks for short names of channels, which are not to be had; 2 for a refusal where the place is lost.
        tf: a filter by tags.
        type: 0 for a stream.
    """

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: int = 0
    data: Data = UNSET
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: Data = UNSET
    flag: int = 0
    type: int = 0


class ConnectRequest(msgspec.Struct):
    """The first command of a connection.

    Attributes:
        subs: places in channels that the server subscribes the client to.
    """

    token: str = ""
    data: Data = UNSET
    subs: dict[str, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: int = 0


class RoomRequest(msgspec.Struct):
    """Asks for something of a channel."""

    channel: str = ""


class PublishRequest(msgspec.Struct):
    """Says something in a channel."""

    channel: str = ""
    data: Data = UNSET


class HistoryRequest(msgspec.Struct):
    """Asks for what was said in a channel.

    Attributes:
        limit: publications at most; 0 asks where the log stands, a negative number is for the most.
    """

    channel: str = ""
    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False


class RefreshRequest(msgspec.Struct):
    """Has a connection go on by another token."""

    token: str = ""


class SubRefreshRequest(msgspec.Struct):
    """Has a subscription go on by another token."""

    channel: str = ""
    token: str = ""


class RpcRequest(msgspec.Struct):
    """Calls a handler of the application."""

    data: Data = UNSET
    method: str = ""


class SendRequest(msgspec.Struct):
    """Tells the application something; there is no answer."""

    data: Data = UNSET


class Command(msgspec.Struct):
    """One command of a frame; without any request it is the answer to a ping."""

    id: int = 0
    publish: PublishRequest | None = None
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: RoomRequest | None = None
    presence: RoomRequest | None = None
    presence_stats: RoomRequest | None = None
    history: HistoryRequest | None = None
    ping: Empty | None = None
    send: SendRequest | None = None
    rpc: RpcRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


# Results


class ConnectionInfo(msgspec.Struct, omit_defaults=True):
    """Who is in a channel, or has said something there: one connection."""

    user: str
    client: str
    conn_info: Data = UNSET
    chan_info: Data = UNSET


class SubscribeReply(msgspec.Struct, omit_defaults=True):
    """What a subscription begins with.

    Attributes:
        publications: encoded already (`Dialect.array`).
        offset: the last one's before them, where it was recovered, and the channel's otherwise.
    """

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    epoch: str = ""
    publications: Data = UNSET
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Data = UNSET
    was_recovering: bool = False


class ConnectReply(msgspec.Struct, omit_defaults=True):
    """What a connection begins with.

    Attributes:
        client: names the connection; others see it.
        ttl: seconds until the connection has to be refreshed.
        ping: seconds between the server's pings.
        session: a secret by which commands reach a stream.
    """

    client: str
    version: str = ""
    expires: bool = False
    ttl: int = 0
    data: Data = UNSET
    subs: dict[str, SubscribeReply] = {}
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""


class HistoryReply(msgspec.Struct):
    """A part of what was said in a channel, and where its log stands.

    Attributes:
        publications: encoded already, each by itself (`Dialect.listed`).
    """

    publications: list[Raw]
    epoch: str
    offset: int


class PresenceReply(msgspec.Struct):
    """Who is in a channel, by the names of their connections."""

    presence: dict[str, ConnectionInfo]


class PresenceStatsReply(msgspec.Struct):
    """How many are in a channel."""

    num_clients: int = 0
    num_users: int = 0


class RefreshReply(msgspec.Struct, omit_defaults=True):
    """How long a connection, or a subscription, lasts now."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0


class RpcReply(msgspec.Struct, omit_defaults=True):
    """What a handler of the application has answered."""

    data: Data = UNSET


# Pushes


class PublicationPush(msgspec.Struct, omit_defaults=True):
    """What was said in a channel; in lists, too.

    Attributes:
        info: of the client that has said it: those of `ConnectionInfo` as a JSON object.
        offset: 0 for what is not kept, or not to be found again.
    """

    data: Raw
    info: Data = UNSET
    offset: int = 0
    tags: dict[str, str] = {}


class JoinPush(msgspec.Struct):
    """A connection has come, or has gone."""

    info: ConnectionInfo


class UnsubscribePush(msgspec.Struct):
    """The server has ended a subscription."""

    code: int
    reason: str


class SubscribePush(msgspec.Struct, omit_defaults=True):
    """The server has subscribed the client."""

    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Data = UNSET


class MessagePush(msgspec.Struct):
    """Something for this client alone."""

    data: Raw


class RefreshPush(msgspec.Struct, omit_defaults=True):
    """How long the connection lasts now."""

    expires: bool = False
    ttl: int = 0


class DisconnectPush(msgspec.Struct, omit_defaults=True):
    """The end of a stream; a WebSocket has its CLOSE for that."""

    code: int
    reason: str
    reconnect: bool = False
