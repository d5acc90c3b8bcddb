"""Event types and their JSON: what an application defines, what a room keeps, what the wire carries.

An event of an application travels as ``{"type": tag, "payload": {its fields}}``.  msgspec writes a tagged
struct as ``{"type": tag, its fields}``, so the payload is that text without its first member, cut, not encoded twice.
"""

from __future__ import annotations

import functools
import time
import typing
from typing import Any

import msgspec

from hubbub.errors import ErrorCode, Refused

__all__ = [
    "CHANGES",
    "Envelope",
    "Event",
    "Message",
    "decode_envelope",
    "decode_payload",
    "encode",
    "encode_payload",
    "request_id",
    "rfc3339",
]

encode = msgspec.json.Encoder().encode

# The log adds these to the payload of a kept event, and `type` is the envelope's.
RESERVED = frozenset({"room", "seq", "sent", "from", "type"})


# The chat's own kept events that change earlier messages, in the log and wherever these are at hand.
CHANGES = frozenset({"message_edited", "message_deleted", "reacted"})


@typing.dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class EventType(msgspec.StructMeta):
    """Checks an event class when it is defined, so that no reserved name surprises anyone on the wire."""

    tag: str
    """The event's type on the wire."""

    tag_size: int
    """How much of the event's JSON is its type, and is cut to get the payload."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> EventType:
        cls = super().__new__(mcls, name, bases, namespace, **config)
        if not any(isinstance(base, EventType) for base in bases):
            return cls
        settings = cls.__struct_config__
        if not isinstance(settings.tag, str) or settings.tag_field != "type" or settings.array_like:
            raise TypeError(f'event {name} needs a tag, its type on the wire: class {name}(Event, tag="...")')
        if settings.tag in CHANGES:
            raise TypeError(f"event {name} cannot have the tag {settings.tag!r}: it is one of the chat's own")
        taken = RESERVED.intersection(cls.__struct_encode_fields__)
        if taken:
            raise TypeError(
                f"event {name} cannot have a field {sorted(taken)[0]!r}: kept events carry that name on the wire"
            )
        cls.tag = settings.tag
        cls.tag_size = len(encode({"type": settings.tag})) - 1
        return cls


class Event(msgspec.Struct, metaclass=EventType, frozen=True):
    """The base of an application's events: an immutable msgspec struct whose tag is the wire's `type`.

    >>> class Vote(Event, tag="vote"):
    ...     poll: str
    ...     option: int

    Raises:
        TypeError: when the class is defined without a tag, or with a field named
            `room`, `seq`, `sent`, `from` or `type`, or with the tag of one of the chat's own kept events.
    """


class Message(msgspec.Struct, frozen=True, gc=False):
    """One event kept in a room's log.

    Attributes:
        seq: its place in the room, rising by exactly one.
        sent: when the log took it, in milliseconds since 1970, UTC.
        sender: the user it is from, where it is said on behalf of one.
        type: the event's type on the wire.
        body: its fields as one JSON object.
    """

    room: str
    seq: int
    sent: int
    sender: str | None
    type: str
    body: bytes


class Envelope(msgspec.Struct):
    """What a client sends: the type of an event, its payload unread, and the id to answer it by."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | int | None = None


class Named(msgspec.Struct):
    """What is read of an envelope that is refused: 16 KiB of tiny arrays take a hundred times as long to build."""

    id: str | int | None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_named = msgspec.json.Decoder(Named).decode


def decode_envelope(text: str) -> Envelope:
    """Read an envelope.

    Raises:
        Refused: `bad_json` or `bad_envelope`.
    """
    try:
        return _decode_envelope(text)
    except msgspec.ValidationError as error:
        raise Refused(ErrorCode.BAD_ENVELOPE, f'{error}; an event is {{"type": "...", "payload": {{...}}}}') from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(ErrorCode.BAD_JSON, f"the frame is not JSON: {error}") from None


def request_id(text: str) -> str | int | None:
    """Find the id of a request whose envelope is broken elsewhere, so that its error can name it."""
    try:
        return _decode_named(text).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def decode_payload(decoder: msgspec.json.Decoder[Any], payload: msgspec.Raw) -> Any:
    """Read a payload as the type that `decoder` was made for.

    Raises:
        Refused: `bad_payload`, naming the field.
    """
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise Refused(ErrorCode.BAD_PAYLOAD, str(error).replace("`$", "`payload")) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(ErrorCode.BAD_JSON, f"the payload is not JSON: {error}") from None


def encode_payload(event: Event) -> bytes:
    """The event's fields as one JSON object, its type left out."""
    text = encode(event)
    rest = text[type(event).tag_size :]
    return b"{" + rest[1:] if len(rest) > 1 else b"{}"


@functools.lru_cache(maxsize=256)
def rfc3339(milliseconds: int) -> bytes:
    """A time as RFC 3339 in UTC with milliseconds.  Cached: all messages of a batch share one time."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z".encode()
