"""Numbers by which the protocol says what went wrong, and ours as it says them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from hubbub.errors import CloseCode, ErrorCode, Refused

__all__ = [
    "CLOSES",
    "DoorClose",
    "DoorCode",
    "DoorError",
    "GivenClose",
    "Unsubscribed",
    "is_temporary",
    "message_of",
    "number_of",
]


class DoorCode(IntEnum):
    """Why a command was not done.  SDKs try again what is temporary; anything else ends a subscription for good."""

    INTERNAL = 100  # temporary
    UNKNOWN_CHANNEL = 102  # no such namespace
    PERMISSION_DENIED = 103
    METHOD_NOT_FOUND = 104
    ALREADY_SUBSCRIBED = 105
    LIMIT_EXCEEDED = 106
    BAD_REQUEST = 107
    NOT_AVAILABLE = 108
    TOKEN_EXPIRED = 109
    TOO_MANY_REQUESTS = 111  # temporary
    UNRECOVERABLE_POSITION = 112


class Unsubscribed(IntEnum):
    """Why the server has ended a subscription; from 2500 on, the SDK subscribes again, from where it is."""

    SERVER = 2000
    INSUFFICIENT_STATE = 2500
    EXPIRED = 2501


class DoorClose(IntEnum):
    """Close codes.  3000 to 3499 come back; 3500 to 3999 stay away."""

    SHUTDOWN = 3001
    SERVER_ERROR = 3004
    EXPIRED = 3005
    SUBSCRIPTION_EXPIRED = 3006
    SLOW = 3008
    NO_PONG = 3012
    TOO_MANY = 3013
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501
    STALE = 3502
    FORCED = 3503
    CONNECTION_LIMIT = 3504
    PERMISSION_DENIED = 3507
    NOT_AVAILABLE = 3508


class GivenClose(int):
    """A close code that a back end has given: it is sent as it is, also where it is a number of ours."""


class Translation(dict[int, int]):
    """Close codes of ours as this protocol says them."""

    def get(self, code: int, default: Any = None, /) -> Any:
        """What a code becomes."""
        return code if isinstance(code, GivenClose) else super().get(code, default)


# Ours, translated: a client that was put out would come back for ever otherwise.
CLOSES: Mapping[int, int] = Translation(
    {
        CloseCode.NO_HEARTBEAT: DoorClose.NO_PONG,
        CloseCode.LOST_PLACE: DoorClose.SLOW,
        CloseCode.SESSION_ENDED: DoorClose.FORCED,
        CloseCode.KICKED: DoorClose.FORCED,
        CloseCode.FLOODING: DoorClose.FORCED,
        CloseCode.TURNED_AWAY: DoorClose.PERMISSION_DENIED,
        CloseCode.RESTART: DoorClose.SHUTDOWN,
        CloseCode.INTERNAL_ERROR: DoorClose.SERVER_ERROR,
    }
)


class DoorError(Refused):
    """A command is answered with a number of this protocol's own."""

    def __init__(self, number: DoorCode, message: str) -> None:
        super().__init__(OURS.get(number, ErrorCode.BAD_PAYLOAD), message)
        self.number = number


# The nearest of our own, for logs and counts.
OURS: Mapping[DoorCode, ErrorCode] = {
    DoorCode.INTERNAL: ErrorCode.INTERNAL,
    DoorCode.UNKNOWN_CHANNEL: ErrorCode.NO_SUCH_ROOM,
    DoorCode.PERMISSION_DENIED: ErrorCode.FORBIDDEN,
    DoorCode.METHOD_NOT_FOUND: ErrorCode.UNKNOWN_TYPE,
    DoorCode.TOO_MANY_REQUESTS: ErrorCode.RATE_LIMITED,
}

NUMBERS: Mapping[str, DoorCode] = {
    ErrorCode.BAD_JSON: DoorCode.BAD_REQUEST,
    ErrorCode.BAD_ENVELOPE: DoorCode.BAD_REQUEST,
    ErrorCode.BAD_PAYLOAD: DoorCode.BAD_REQUEST,
    ErrorCode.TOO_LARGE: DoorCode.BAD_REQUEST,
    ErrorCode.UNKNOWN_TYPE: DoorCode.METHOD_NOT_FOUND,
    ErrorCode.FORBIDDEN: DoorCode.PERMISSION_DENIED,
    ErrorCode.NOT_IN_ROOM: DoorCode.PERMISSION_DENIED,
    ErrorCode.NO_SUCH_ROOM: DoorCode.PERMISSION_DENIED,
    ErrorCode.RATE_LIMITED: DoorCode.TOO_MANY_REQUESTS,
    ErrorCode.CONFLICT: DoorCode.LIMIT_EXCEEDED,
}

PHRASES: Mapping[DoorCode, str] = {
    DoorCode.INTERNAL: "internal server error",
    DoorCode.UNKNOWN_CHANNEL: "unknown channel",
    DoorCode.PERMISSION_DENIED: "permission denied",
    DoorCode.METHOD_NOT_FOUND: "method not found",
    DoorCode.ALREADY_SUBSCRIBED: "already subscribed",
    DoorCode.LIMIT_EXCEEDED: "limit exceeded",
    DoorCode.BAD_REQUEST: "bad request",
    DoorCode.NOT_AVAILABLE: "not available",
    DoorCode.TOKEN_EXPIRED: "token expired",
    DoorCode.TOO_MANY_REQUESTS: "too many requests",
    DoorCode.UNRECOVERABLE_POSITION: "unrecoverable position",
}

TEMPORARY = frozenset({DoorCode.INTERNAL, DoorCode.TOO_MANY_REQUESTS})


def number_of(refused: Refused) -> DoorCode:
    """The number of a refusal; what may be different soon is internal."""
    return refused.number if isinstance(refused, DoorError) else NUMBERS.get(refused.code, DoorCode.INTERNAL)


def message_of(refused: Refused) -> str:
    """What a client is told of a refusal: Centrifugo's words for its own numbers, and ours, or the application's, else.

    Why a command was refused is in the log, at the level `debug`.
    """
    return PHRASES[refused.number] if isinstance(refused, DoorError) else refused.message


def is_temporary(number: DoorCode) -> bool:
    """Whether it makes sense to ask again."""
    return number in TEMPORARY
