"""Calls of a program that has a key: what is asked over HTTP, what the answer says, and when to ask again.

Nothing here knows a socket, or a loop: `attempts` says what to do next, and is told what came of it.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from hubbub.errors import AuthError, ErrorCode, ProtocolError, Rejected, Unreachable
from hubbub.events import Event, encode_payload
from hubbub.published import Published, RoomHistory, SaidInRoom
from hubbub.sdk.backoff import Backoff
from hubbub.sdk.session import HttpRefused, failure

__all__ = [
    "Ask",
    "Attempts",
    "HttpReply",
    "KeyCall",
    "Pause",
    "attempts",
    "batch_call",
    "broadcast_call",
    "disconnect_call",
    "history_call",
    "info_call",
    "presence_call",
    "publish_call",
    "rooms_call",
]

T = TypeVar("T")

# Between two tries: the first one is at most this long, and none is longer.
RETRY_S = 0.1
MAX_RETRY_S = 2.0

OK, UNAUTHORIZED, TOO_LARGE = 200, 401, 413

# Errors that may have passed when it is asked again, and what the others are called elsewhere.
PASSING = (100, 111)
CODES = {
    100: ErrorCode.UNAVAILABLE,
    103: ErrorCode.FORBIDDEN,
    106: ErrorCode.TOO_LARGE,
    107: ErrorCode.BAD_PAYLOAD,
    111: ErrorCode.RATE_LIMITED,
}


class KeyCall(NamedTuple, Generic[T]):
    """A call on its way.

    Attributes:
        read: makes of the result what is returned.
    """

    method: str
    fields: Mapping[str, Any]
    read: Callable[[Any], T]


# What there is to ask


def publish_call(room: str, event: object, type_: str | None, key: str | None) -> KeyCall[Published]:
    """Say something in a room."""

    def read(result: ResultPlace) -> Published:
        return Published(room, result.offset, result.epoch)

    fields = {"channel": room, **what(event, type_), "idempotency_key": key or new_key()}
    return KeyCall("publish", fields, reading(ResultPlace, read))


def broadcast_call(
    rooms: Iterable[str], event: object, type_: str | None, key: str | None
) -> KeyCall[list[Published | Rejected]]:
    """Say something in several rooms."""
    names = list(rooms)

    def read(result: Responses) -> list[Published | Rejected]:
        if len(result.responses) != len(names):
            raise ProtocolError("a broadcast was answered for other rooms than it was for")
        return [read_one(room, response) for room, response in zip(names, result.responses, strict=True)]

    def read_one(room: str, response: CallAnswer) -> Published | Rejected:
        if response.error is not None:
            return response.error.as_rejected()
        place = msgspec.convert(response.result, ResultPlace)
        return Published(room, place.offset, place.epoch)

    fields = {"channels": names, **what(event, type_), "idempotency_key": key or new_key()}
    return KeyCall("broadcast", fields, reading(Responses, read))


def history_call(room: str, limit: int, after: int | None, before: int | None) -> KeyCall[RoomHistory]:
    """Ask for what was said in a room, oldest first: after a seq, before one, or the newest."""
    if after is not None and before is not None:
        raise ValueError("history is after a seq, or before one, not both")
    is_reverse = after is None

    def read(result: Publications) -> RoomHistory:
        messages = [each.as_said() for each in result.publications]
        return RoomHistory(messages[::-1] if is_reverse else messages, result.offset, result.epoch)

    place = after if before is None else before
    since = {} if place is None else {"since": {"offset": place, "epoch": ""}}
    fields = {"channel": room, "limit": limit, "reverse": is_reverse, **since}
    return KeyCall("history", fields, reading(Publications, read))


def presence_call(room: str) -> KeyCall[list[str]]:
    """Ask who is in a room."""
    return KeyCall("presence", {"channel": room}, reading(PresenceResult, lambda result: sorted(result.presence)))


def rooms_call(pattern: str, after: str) -> KeyCall[tuple[dict[str, int], str]]:
    """Ask for some rooms, with how many users are in each; and what to ask for the next ones after, if anything."""

    def read(result: Channels) -> tuple[dict[str, int], str]:
        return {name: stats.num_clients for name, stats in result.channels.items()}, result.next

    return KeyCall("channels", {"pattern": pattern, "after": after}, reading(Channels, read))


def disconnect_call(user: str) -> KeyCall[None]:
    """Close the connections of a user."""
    return KeyCall("disconnect", {"user": user}, lambda _result: None)


def info_call() -> KeyCall[list[dict[str, Any]]]:
    """Ask how the server does."""
    return KeyCall("info", {}, reading(Nodes, lambda result: result.nodes))


def batch_call(commands: Iterable[Mapping[str, Mapping[str, Any]]]) -> KeyCall[list[dict[str, Any] | Rejected]]:
    """Ask for several things at once, each an object of its method with its fields."""
    prepared = [{method: with_key(method, fields) for method, fields in command.items()} for command in commands]

    def read(replies: list[dict[str, Any]]) -> list[dict[str, Any] | Rejected]:
        return [read_one(reply) for reply in replies]

    def read_one(reply: dict[str, Any]) -> dict[str, Any] | Rejected:
        if "error" in reply:
            return msgspec.convert(reply["error"], CallError).as_rejected()
        return next(iter(reply.values()), {})

    return KeyCall("batch", {"commands": prepared}, reading(list[dict[str, Any]], read))


def with_key(method: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a command; what says something has a key, so that nothing is said twice."""
    return {"idempotency_key": new_key(), **fields} if method in ("publish", "broadcast") else fields


def what(event: object, type_: str | None) -> dict[str, Any]:
    """The fields of what is published."""
    if not isinstance(event, Event):
        return {"data": event} | ({} if type_ is None else {"type": type_})
    if type_ not in (None, type(event).tag):
        raise ValueError(f"an event {type(event).__name__} is of type {type(event).tag!r}, not {type_!r}")
    return {"data": msgspec.Raw(encode_payload(event)), "type": type(event).tag}


def new_key() -> str:
    """A name for what is published, so that a try that is repeated adds nothing."""
    return secrets.token_urlsafe(16)


# What is answered


class CallError(msgspec.Struct):
    """Why a call was not done."""

    code: int
    message: str = ""
    retry_after: float | None = None

    def as_rejected(self) -> Rejected:
        """The error that is raised of it."""
        return Rejected(CODES.get(self.code, str(self.code)), self.message, self.retry_after)


class CallAnswer(msgspec.Struct):
    """An answer: one of the three."""

    result: Any = None
    error: CallError | None = None
    replies: list[dict[str, Any]] | None = None  # the result of a batch


class ResultPlace(msgspec.Struct):
    offset: int = 0
    epoch: str = ""


class Responses(msgspec.Struct):
    responses: list[CallAnswer]


class ClientInfo(msgspec.Struct):
    user: str = ""


class ListedPublication(msgspec.Struct):
    offset: int
    sent: datetime
    data: Any = None
    info: ClientInfo | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    type: str = "publication"

    def as_said(self) -> SaidInRoom:
        user = self.info.user if self.info is not None else None
        tags = self.tags if self.type == "publication" else {}  # elsewhere they tell the type again
        return SaidInRoom(self.offset, self.sent, self.data, self.type, user, tags)


class Publications(msgspec.Struct):
    publications: list[ListedPublication]
    offset: int
    epoch: str


class PresenceResult(msgspec.Struct):
    presence: dict[str, Any]


class RoomStats(msgspec.Struct):
    num_clients: int = 0


class Channels(msgspec.Struct):
    channels: dict[str, RoomStats]
    next: str = ""


class Nodes(msgspec.Struct):
    nodes: list[dict[str, Any]]


A = TypeVar("A")


def reading(type_: type[A], read: Callable[[A], T]) -> Callable[[Any], T]:
    """Read a result that is to be of a type."""
    return lambda result: read(msgspec.convert(result, type_))


# Trying


class HttpReply(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: bytes
    retry_after: float = 0.0


class Ask(NamedTuple):
    """What to do next: send this, and wait so many seconds for the answer."""

    path: str
    body: bytes
    timeout_s: float


class Pause(NamedTuple):
    """What to do next: wait."""

    seconds: float


Attempts = Generator[Ask | Pause, HttpReply | OSError | None, T]


def attempts(
    call: KeyCall[T], url: str, *, within_s: float, clock: Callable[[], float], backoff: Backoff | None = None
) -> Attempts[T]:
    """Have a call answered: yields what to do next, is sent what came of it, and returns what is made of the answer.

    It is asked again while nobody answers, or the server says that it cannot be done now, for `within_s` seconds; what
    says something has a key, so that it is kept once.

    Args:
        clock: seconds that never go back.

    Raises:
        AuthError: the key is unknown, or was revoked.
        Rejected: the call was turned down.
        Unreachable: there was no good answer in time.
        ProtocolError: what answers is no such server.
    """
    backoff = backoff or Backoff(RETRY_S, MAX_RETRY_S)
    ends = clock() + within_s
    ask = Ask(f"/api/{call.method}", msgspec.json.encode(call.fields), within_s)
    while True:
        reply = yield ask._replace(timeout_s=max(ends - clock(), 0.001))
        passing, wait_s = passing_failure(reply)
        if passing is None:
            assert isinstance(reply, HttpReply)
            return result_of(call, url, reply)
        wait_s = max(wait_s, backoff.next())
        if clock() + wait_s >= ends or isinstance(passing, ssl.SSLCertVerificationError):
            raise passing if isinstance(passing, Rejected) else Unreachable(url, failure(passing))
        yield Pause(wait_s)


def passing_failure(reply: HttpReply | OSError | None) -> tuple[Exception | None, float]:
    """Why it is worth asking again, and for how long to wait at least; None for an answer that is one."""
    assert reply is not None
    if isinstance(reply, OSError):
        return reply, 0.0
    refused = HttpRefused(reply.status, "the server cannot answer now", reply.retry_after)
    if refused.is_for_now:
        return refused, reply.retry_after
    if reply.status == OK:
        error = response_of(reply).error
        if error is not None and error.code in PASSING:
            return error.as_rejected(), error.retry_after or 0.0
    return None, 0.0


def response_of(reply: HttpReply) -> CallAnswer:
    try:
        return msgspec.json.decode(reply.body, type=CallAnswer)
    except (msgspec.DecodeError, UnicodeError):
        return CallAnswer()


def result_of(call: KeyCall[T], url: str, reply: HttpReply) -> T:
    """What an answer that is one says."""
    if reply.status == UNAUTHORIZED:
        raise AuthError(
            f"{url} does not know this key, or it was revoked; "
            "`hubbub key add` makes keys for the server whose HUBBUB_DATA_DIR and HUBBUB_ENGINE it is run with"
        )
    if reply.status == TOO_LARGE:
        raise Rejected(ErrorCode.TOO_LARGE, f"{call.method} is more than the server takes in one request")
    response = response_of(reply)
    if response.error is not None and reply.status == OK:
        raise response.error.as_rejected()
    try:
        if reply.status == OK:
            return call.read(response.result if response.replies is None else response.replies)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"{url}/api/{call.method} answers, but not as Hubbub does: {error}") from None
    raise ProtocolError(f"{url}/api/{call.method} answers {reply.status}: it is no Hubbub server, or an older one")
