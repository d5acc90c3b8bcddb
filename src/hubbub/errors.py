"""Every error a caller can get, with its code.

HubbubError
├── ConfigError      the operator asked for something impossible
├── WrongThread      the hub was used in a thread that it does not run in
├── EngineError      shared state could not be reached or changed
│   ├── NotKept      nothing of what was to be kept was
│   ├── NotKnown     it was kept, or not: the answer did not come
│   ├── KeyConflict  its key is that of another message: it was not kept
│   └── Stale        what it changes is not as it was read: it was not kept
├── Refused          a request was understood and turned down; carries a code for the client
│
│   What a program meets that uses a server through `hubbub.connect`:
├── AuthError        wrong name or password
├── Unreachable      no server answered in time
├── ProtocolError    the server, or what stands in its place, does not speak this protocol
├── Rejected         the server turned a request down
├── Unanswered       the connection went before the answer came: it may have been done, or not
└── ConnectionClosed the conversation is over
    ├── SessionEnded the login has ended
    ├── Kicked       the server put this user out
    └── Flooding     this client sent far too much
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = [
    "AuthError",
    "CloseCode",
    "ConfigError",
    "ConnectionClosed",
    "EngineError",
    "ErrorCode",
    "Flooding",
    "HubbubError",
    "KeyConflict",
    "Kicked",
    "NotKept",
    "NotKnown",
    "ProtocolError",
    "Refused",
    "Rejected",
    "SessionEnded",
    "Stale",
    "Unanswered",
    "Unreachable",
    "WrongThread",
]


class ErrorCode(StrEnum):
    """What an `error` event says: one code, and whether asking again can help."""

    BAD_JSON = "bad_json"  # the frame is not JSON: mend the client
    BAD_ENVELOPE = "bad_envelope"  # no `type`, or one of the wrong kind: mend the client
    BAD_PAYLOAD = "bad_payload"  # the message names the field: mend the request
    UNKNOWN_TYPE = "unknown_type"  # nobody handles this type here
    NOT_IN_ROOM = "not_in_room"  # join first
    NO_SUCH_ROOM = "no_such_room"
    NO_SUCH_MESSAGE = "no_such_message"  # none has this seq, or it was deleted
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"  # again after `retry_after` seconds
    CONFLICT = "conflict"  # the key is that of another message, or there is no room for more: the message says which
    UNAVAILABLE = "unavailable"  # nothing was kept; again later, with the same key
    INTERNAL = "internal"  # our fault; the log has the details


class CloseCode(IntEnum):
    """Why a connection was closed: RFC 6455 section 7.4.1 and its registry, then ours from 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    OVERLOADED = 1013
    # 4000 to 4099: come back and resume.
    NO_HEARTBEAT = 4000
    LOST_PLACE = 4001
    # 4100 to 4199: stay away.
    SESSION_ENDED = 4100
    KICKED = 4101
    FLOODING = 4102
    TURNED_AWAY = 4103


class HubbubError(Exception):
    """The base of all errors raised by Hubbub."""


class ConfigError(HubbubError):
    """The server cannot start like this. The text is one line: what is wrong, and how to mend it."""


class WrongThread(HubbubError):
    """The hub was used in a thread that it does not run in; the text says what to do instead."""


class EngineError(HubbubError):
    """Shared state could not be read or changed."""


class NotKept(EngineError):
    """Nothing of what was to be kept was kept; trying again does nothing twice."""


class NotKnown(EngineError):
    """What was to be kept may have been kept, or not; trying again with the same key does nothing twice."""


class KeyConflict(EngineError):
    """A message was not kept: its sender has given the same key to another one in this room.

    Attributes:
        key: what both have.
        seq: the place of the one that was kept.
    """

    def __init__(self, key: str, seq: int) -> None:
        super().__init__(key, seq)
        self.key = key
        self.seq = seq

    def __str__(self) -> str:
        return f"the key {self.key[:80]!r} is that of another message (seq {self.seq}); give each message its own key"


class Stale(EngineError):
    """A change was not kept: what it changes is not as it was read.  Read it again.

    Attributes:
        seq: the message that it changes.
    """

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq

    def __str__(self) -> str:
        return f"message {self.seq} was changed meanwhile, or is not there any more"


class Refused(HubbubError):
    """A request is turned down.

    Raise it in a handler: a v1 client gets `error` with this code and message, a classic one
    hears nothing, and the connection stays up.

    Args:
        code: a short machine-readable word, one of `ErrorCode` where one fits.
        message: a sentence for a person: what was wrong and what would be right.
        retry_after: seconds until asking again makes sense, where that is known.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message, retry_after)
        self.code = str(code)
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


# What a program meets that uses a server


class AuthError(HubbubError):
    """The server does not know this name with this password."""


class Unreachable(HubbubError):
    """No server answered in time.

    Attributes:
        url: where it was looked for.
        why: what the last try ended with.
    """

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        return f"no server answered at {self.url}: {self.why}"


class ProtocolError(HubbubError):
    """What answered does not speak this protocol, or broke it; the text says how."""


class Rejected(HubbubError):
    """The server turned a request down.

    Attributes:
        code: a short machine-readable word, one of `ErrorCode` where one fits.
        message: a sentence for a person.
        retry_after: seconds until asking again makes sense, where the server said so.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message, retry_after)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Unanswered(HubbubError):
    """The connection went before the answer came, and asking again might do the thing twice.

    The request may have been done, or not.
    """


class ConnectionClosed(HubbubError):
    """The conversation is over, and the client does not come back by itself.

    Attributes:
        code: the WebSocket close code, one of `CloseCode` where one fits.
        reason: what the side that closed said about it.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection is closed ({self.code}{f': {self.reason}' if self.reason else ''})"


class SessionEnded(ConnectionClosed):
    """The login has ended: someone logged out with its token, or the account is gone."""


class Kicked(ConnectionClosed):
    """The server put this user out."""


class Flooding(ConnectionClosed):
    """This client sent far more than its rate for several seconds."""
