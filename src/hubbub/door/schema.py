"""The numbers of the protocol's fields in Protobuf, by the structs of `commands`.

They are those of its schema.  What is not there is either never written, or skipped where it is read.
"""

from __future__ import annotations

from hubbub.door.commands import (
    Command,
    ConnectionInfo,
    ConnectReply,
    ConnectRequest,
    DisconnectPush,
    Empty,
    HistoryReply,
    HistoryRequest,
    JoinPush,
    MessagePush,
    PresenceReply,
    PresenceStatsReply,
    PublishRequest,
    RefreshPush,
    RefreshReply,
    RefreshRequest,
    RoomRequest,
    RpcReply,
    RpcRequest,
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribePush,
    SubscribeReply,
    SubscribeRequest,
    UnsubscribePush,
)
from hubbub.door.protobuf import Field, FieldKind, Shape

__all__ = ["COMMAND", "INFO", "PUSHES", "REPLIES"]

BOOL, STRING, JSON, MESSAGE = FieldKind.BOOL, FieldKind.STRING, FieldKind.JSON, FieldKind.MESSAGE
UINT32, UINT64, INT32, INT64 = FieldKind.UINT32, FieldKind.UINT64, FieldKind.INT32, FieldKind.INT64

EMPTY = Shape(Empty)

# Requests

POSITION = Shape(StreamPosition, Field(1, "offset", UINT64), Field(2, "epoch", STRING))
SUBSCRIBE = Shape(
    SubscribeRequest,
    Field(1, "channel", STRING),
    Field(2, "token", STRING),
    Field(3, "recover", BOOL),
    Field(6, "epoch", STRING),
    Field(7, "offset", UINT64),
    Field(8, "data", JSON),
    Field(9, "positioned", BOOL),
    Field(10, "recoverable", BOOL),
    Field(11, "join_leave", BOOL),
    Field(12, "delta", STRING),
    Field(13, "tf", JSON),  # a message, which nobody reads: that it is there is enough
    Field(14, "flag", INT64),
    Field(15, "type", INT32),
)
CONNECT = Shape(
    ConnectRequest,
    Field(1, "token", STRING),
    Field(2, "data", JSON),
    Field(3, "subs", FieldKind.MESSAGES, SUBSCRIBE),
    Field(4, "name", STRING),
    Field(5, "version", STRING),
    Field(6, "headers", FieldKind.STRINGS),
    Field(7, "flag", INT64),
)
ROOM = Shape(RoomRequest, Field(1, "channel", STRING))
PUBLISH = Shape(PublishRequest, Field(1, "channel", STRING), Field(2, "data", JSON))
HISTORY = Shape(
    HistoryRequest,
    Field(1, "channel", STRING),
    Field(7, "limit", INT32),
    Field(8, "since", MESSAGE, POSITION),
    Field(9, "reverse", BOOL),
)
REFRESH = Shape(RefreshRequest, Field(1, "token", STRING))
SUB_REFRESH = Shape(SubRefreshRequest, Field(1, "channel", STRING), Field(2, "token", STRING))
RPC = Shape(RpcRequest, Field(1, "data", JSON), Field(2, "method", STRING))
SEND = Shape(SendRequest, Field(1, "data", JSON))

COMMAND = Shape(
    Command,
    Field(1, "id", UINT32),
    Field(4, "connect", MESSAGE, CONNECT),
    Field(5, "subscribe", MESSAGE, SUBSCRIBE),
    Field(6, "unsubscribe", MESSAGE, ROOM),
    Field(7, "publish", MESSAGE, PUBLISH),
    Field(8, "presence", MESSAGE, ROOM),
    Field(9, "presence_stats", MESSAGE, ROOM),
    Field(10, "history", MESSAGE, HISTORY),
    Field(11, "ping", MESSAGE, EMPTY),
    Field(12, "send", MESSAGE, SEND),
    Field(13, "rpc", MESSAGE, RPC),
    Field(14, "refresh", MESSAGE, REFRESH),
    Field(15, "sub_refresh", MESSAGE, SUB_REFRESH),
)

# Results

INFO = Shape(
    ConnectionInfo,
    Field(1, "user", STRING),
    Field(2, "client", STRING),
    Field(3, "conn_info", JSON),
    Field(4, "chan_info", JSON),
)
SUBSCRIBED = Shape(
    SubscribeReply,
    Field(1, "expires", BOOL),
    Field(2, "ttl", UINT32),
    Field(3, "recoverable", BOOL),
    Field(6, "epoch", STRING),
    Field(7, "publications", FieldKind.ENCODED),
    Field(8, "recovered", BOOL),
    Field(9, "offset", UINT64),
    Field(10, "positioned", BOOL),
    Field(11, "data", JSON),
    Field(12, "was_recovering", BOOL),
)
CONNECTED = Shape(
    ConnectReply,
    Field(1, "client", STRING),
    Field(2, "version", STRING),
    Field(3, "expires", BOOL),
    Field(4, "ttl", UINT32),
    Field(5, "data", JSON),
    Field(6, "subs", FieldKind.MESSAGES, SUBSCRIBED),
    Field(7, "ping", UINT32),
    Field(8, "pong", BOOL),
    Field(9, "session", STRING),
    Field(10, "node", STRING),
)
PAST = Shape(
    HistoryReply,
    Field(1, "publications", FieldKind.ENCODED),
    Field(2, "epoch", STRING),
    Field(3, "offset", UINT64),
)
PRESENT = Shape(PresenceReply, Field(1, "presence", FieldKind.MESSAGES, INFO))
COUNTED = Shape(PresenceStatsReply, Field(1, "num_clients", UINT32), Field(2, "num_users", UINT32))
REFRESHED = Shape(
    RefreshReply,
    Field(1, "client", STRING),
    Field(2, "version", STRING),
    Field(3, "expires", BOOL),
    Field(4, "ttl", UINT32),
)
# Its result has the same fields, without the first two.
SUB_REFRESHED = Shape(RefreshReply, Field(1, "expires", BOOL), Field(2, "ttl", UINT32))
ANSWERED = Shape(RpcReply, Field(1, "data", JSON))

# The results of a reply, each with its number there.
REPLIES: dict[str, tuple[int, Shape]] = {
    "connect": (5, CONNECTED),
    "subscribe": (6, SUBSCRIBED),
    "unsubscribe": (7, EMPTY),
    "publish": (8, EMPTY),
    "presence": (9, PRESENT),
    "presence_stats": (10, COUNTED),
    "history": (11, PAST),
    "ping": (12, EMPTY),
    "rpc": (13, ANSWERED),
    "refresh": (14, REFRESHED),
    "sub_refresh": (15, SUB_REFRESHED),
}

# Pushes

JOINED = Shape(JoinPush, Field(1, "info", MESSAGE, INFO))

# What a push may be, each with its number there; publications are 4, and are written by themselves.
PUSHES: dict[str, tuple[int, Shape]] = {
    "join": (5, JOINED),
    "leave": (6, JOINED),
    "unsubscribe": (7, Shape(UnsubscribePush, Field(2, "code", UINT32), Field(3, "reason", STRING))),
    "message": (8, Shape(MessagePush, Field(1, "data", JSON))),
    "subscribe": (
        9,
        Shape(
            SubscribePush,
            Field(1, "recoverable", BOOL),
            Field(4, "epoch", STRING),
            Field(5, "offset", UINT64),
            Field(6, "positioned", BOOL),
            Field(7, "data", JSON),
        ),
    ),
    "disconnect": (
        11,
        Shape(DisconnectPush, Field(1, "code", UINT32), Field(2, "reason", STRING), Field(3, "reconnect", BOOL)),
    ),
    "refresh": (12, Shape(RefreshPush, Field(1, "expires", BOOL), Field(2, "ttl", UINT32))),
}
