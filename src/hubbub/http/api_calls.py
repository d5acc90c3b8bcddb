"""What other programs ask over HTTP: the fields of each method, and the codes of errors."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from hubbub.errors import ErrorCode, Refused

__all__ = [
    "ApiCode",
    "ApiError",
    "BatchCall",
    "BroadcastCall",
    "DisconnectCall",
    "EmptyCall",
    "HistoryCall",
    "LineCall",
    "LogPlace",
    "PublishCall",
    "RoomCall",
    "RoomsCall",
    "as_api_error",
]


class ApiCode(IntEnum):
    """Why a call was not done; those of Centrifugo's server API, whose back-end libraries serve here."""

    INTERNAL = 100  # it may be different soon
    UNKNOWN_CHANNEL = 102  # no such namespace; only where the key of another server's configuration is used
    FORBIDDEN = 103  # the key is not for this, or not for this room
    UNKNOWN_METHOD = 104
    LIMIT = 106  # too much for one request
    BAD_REQUEST = 107
    NOT_AVAILABLE = 108  # what the method is for is not there
    TOO_MANY = 111  # again after a while
    UNRECOVERABLE = 112  # the place is none of this room's log


class ApiError(Exception):
    """A call is answered with an error.

    Attributes:
        retry_after: seconds until asking again makes sense, where that is known.
    """

    def __init__(self, code: ApiCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """What is answered."""
        told: dict[str, Any] = {"code": int(self.code), "message": self.message}
        if self.code in (ApiCode.INTERNAL, ApiCode.TOO_MANY):
            told["temporary"] = True
        if self.retry_after is not None:
            told["retry_after"] = self.retry_after
        return {"error": told}


CODES: dict[str, ApiCode] = {
    ErrorCode.FORBIDDEN: ApiCode.FORBIDDEN,
    ErrorCode.RATE_LIMITED: ApiCode.TOO_MANY,
    ErrorCode.TOO_LARGE: ApiCode.LIMIT,
}


def as_api_error(refused: Refused) -> ApiError:
    """A refusal as this interface says it."""
    return ApiError(CODES.get(refused.code, ApiCode.BAD_REQUEST), refused.message, refused.retry_after)


class LogPlace(msgspec.Struct):
    """A place in a room's log; no epoch fits any."""

    offset: int = 0
    epoch: str = ""


class EmptyCall(msgspec.Struct):
    """The fields of a method without any."""


class RoomCall(msgspec.Struct, kw_only=True):
    """What is asked of a room.  Back-end libraries call it a channel."""

    channel: str = ""
    room: str = ""

    @property
    def name(self) -> str:
        """What it is called, by whichever field."""
        return self.room or self.channel


class SayingCall(msgspec.Struct, kw_only=True):
    """What is published.

    Attributes:
        b64data: the same as `data`, in base64.
        type: of an event of the application, whose fields `data` has.
        skip_history: it is told to who is there, and not kept.
        idempotency_key: a name for it: within five minutes, one is kept once by a key.
    """

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64data: str = ""
    type: str = ""
    tags: dict[str, str] = {}
    skip_history: bool = False
    idempotency_key: str = ""


class PublishCall(SayingCall, kw_only=True):
    """Says something in a room."""

    channel: str = ""
    room: str = ""

    @property
    def name(self) -> str:
        """What the room is called, by whichever field."""
        return self.room or self.channel


class BroadcastCall(SayingCall, kw_only=True):
    """Says it in several rooms."""

    channels: list[str] = []
    rooms: list[str] = []

    @property
    def names(self) -> list[str]:
        """What they are called, by whichever field."""
        return self.rooms or self.channels


class HistoryCall(RoomCall, kw_only=True):
    """Asks for what was said in a room.

    Attributes:
        limit: messages at most; 0 asks where the log stands, a negative one is for the most.
        since: the place after which, or in reverse before which.
        reverse: the newest first.
    """

    limit: int = 0
    since: LogPlace | None = None
    reverse: bool = False


class RoomsCall(msgspec.Struct, kw_only=True):
    """Asks for rooms in which something was said.

    Attributes:
        pattern: of their names; `*` stands for any characters.
        after: the name after which they begin.
    """

    pattern: str = ""
    after: str = ""


class DisconnectCall(msgspec.Struct, kw_only=True):
    """Asks to close the connections of a user: of all of them, which the other fields cannot change."""

    user: str = ""
    client: str = ""
    session: str = ""
    whitelist: list[str] = []


class LineCall(msgspec.Struct, kw_only=True):
    """One call of several lines, in an older form.

    Attributes:
        id: comes back with the answer.
        method: its name, or its number in that form.
    """

    id: int = 0
    method: str | int = 0
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class BatchCall(msgspec.Struct, kw_only=True):
    """Several calls, each an object of its method with its fields."""

    commands: list[dict[str, msgspec.Raw]] = []
