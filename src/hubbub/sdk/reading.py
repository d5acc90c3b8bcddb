"""Reading what the server sends: from JSON to types.  What cannot be read is a `ProtocolError`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from hubbub.errors import ProtocolError
from hubbub.events import RESERVED
from hubbub.sdk.messages import NEW_MESSAGE, Changed, Message, Page

__all__ = [
    "Entered",
    "Failure",
    "Frame",
    "Heartbeat",
    "Limits",
    "NewEpoch",
    "Present",
    "Welcome",
    "is_kept",
    "read_changed",
    "read_entered",
    "read_frame",
    "read_message",
    "read_page",
    "read_payload",
    "read_present",
]

T = TypeVar("T")


class Entered(msgspec.Struct, frozen=True):
    """The answer to `join_room`."""

    room: str
    epoch: str
    seq: int
    recovered: bool
    members: list[str]
    messages: list[Message]
    read: int = 0
    count: int = 0
    title: str = ""


class Present(msgspec.Struct, frozen=True):
    """The answer to `presence`; an old server sends no count, and all members."""

    room: str
    members: list[str]
    count: int = 0


class NewEpoch(msgspec.Struct, frozen=True):
    """The payload of `epoch`: a room's log goes on under another epoch, with all that it had up to a seq."""

    room: str
    epoch: str
    seq: int


class Frame(msgspec.Struct, frozen=True):
    """The envelope of what the server sends."""

    type: str
    payload: dict[str, Any] = {}
    id: str | int | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """Seconds between the server's pings (0: there are none), and the silence after one that means death."""

    interval: float = 0.0
    timeout: float = 0.0


class Limits(msgspec.Struct, frozen=True):
    """What the server takes; 0 is no limit.  The names are the server's settings."""

    max_frame: int = 0
    max_message: int = 0
    max_room_name: int = 0
    client_rate: float = 0.0
    client_burst: float = 0.0


class Welcome(msgspec.Struct, frozen=True):
    """The first frame of a connection; `expires` is how many seconds it may last, None where there is no end."""

    user: str
    session: str = ""
    heartbeat: Heartbeat = Heartbeat()
    limits: Limits = Limits()
    expires: float | None = None


class Failure(msgspec.Struct, frozen=True):
    """The payload of `error`."""

    code: str
    message: str = ""
    retry_after: float | None = None


class Stamp(msgspec.Struct, frozen=True):
    """What the log adds to the payload of an event that it keeps."""

    room: str
    seq: int
    sent: datetime
    sender: str | None = msgspec.field(default=None, name="from")


class EditedAt(msgspec.Struct, frozen=True):
    """Where and when a message got its present text."""

    sent: datetime


class ReactedWith(msgspec.Struct, frozen=True):
    """An emoji, and who has reacted with it."""

    emoji: str
    users: list[str]


class ChangeMarks(msgspec.Struct, frozen=True):
    """What changes have left in a message."""

    edited: EditedAt | None = None
    reactions: list[ReactedWith] = []
    deleted: bool = False


class ChangedFields(msgspec.Struct, frozen=True):
    """The fields of the events that change messages."""

    of: int
    message: str | None = None
    emoji: str = ""
    on: bool = False


class RawPage(msgspec.Struct, frozen=True):
    """The answer to `history`, and what it shares with that to `join_room`."""

    room: str
    epoch: str = ""
    seq: int = 0
    recovered: bool = False
    more: bool = False
    read: int = 0
    members: list[str] = []
    count: int | None = None
    title: str = ""
    messages: list[dict[str, Any]] = []


_decode_frame = msgspec.json.Decoder(Frame).decode


def read_frame(text: str) -> Frame:
    """Read an envelope.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return _decode_frame(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"the server sent what is no event: {error}") from None


def read_payload(payload: dict[str, Any], kind: type[T]) -> T:
    """Read a payload as a type.

    Raises:
        ProtocolError: it does not fit.
    """
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the server sent a payload that is no {kind.__name__}: {error}") from None


def is_kept(payload: dict[str, Any]) -> bool:
    """Whether an event of the application's own comes from a room's log: no other carries a seq."""
    return "seq" in payload and "room" in payload


def read_message(type_: str, payload: dict[str, Any]) -> Message:
    """Read a kept event.

    Raises:
        ProtocolError: it lacks where, when or what.
    """
    stamp = read_payload(payload, Stamp)
    fields = {name: value for name, value in payload.items() if name not in RESERVED}
    text = fields.get("message", "") if type_ == NEW_MESSAGE else ""
    if not isinstance(text, str):
        raise ProtocolError("the server sent a message whose text is no string")
    if type_ != NEW_MESSAGE or len(fields) == 1:
        return Message(stamp.room, stamp.seq, stamp.sender, text, stamp.sent, type_, fields)
    marks = read_payload(payload, ChangeMarks)
    reactions = {reaction.emoji: reaction.users for reaction in marks.reactions}
    edited = marks.edited.sent if marks.edited is not None else None
    return Message(
        stamp.room, stamp.seq, stamp.sender, text, stamp.sent, type_, fields, edited, marks.deleted, reactions
    )


def read_changed(message: Message) -> Changed:
    """Read a kept event that changes a message; `ProtocolError` where it is none."""
    fields = read_payload(message.payload, ChangedFields)
    return Changed(
        message.room,
        message.seq,
        message.sender or "",
        message.sent,
        fields.of,
        message.type,
        fields.message,
        fields.emoji,
        fields.on,
    )


def read_entered(payload: dict[str, Any]) -> Entered:
    """Read the answer to `join_room`; `ProtocolError` where it is none."""
    raw = read_payload(payload, RawPage)
    count = len(raw.members) if raw.count is None else raw.count
    messages = read_messages(raw)
    return Entered(raw.room, raw.epoch, raw.seq, raw.recovered, raw.members, messages, raw.read, count, raw.title)


def read_present(payload: dict[str, Any]) -> Present:
    """Read the answer to `presence`; `ProtocolError` where it is none."""
    raw = read_payload(payload, Present)
    return raw if "count" in payload else Present(raw.room, raw.members, len(raw.members))


def read_page(payload: dict[str, Any]) -> Page:
    """Read the answer to `history`; `ProtocolError` where it is none."""
    raw = read_payload(payload, RawPage)
    return Page(raw.room, read_messages(raw), raw.more, raw.epoch)


def read_messages(raw: RawPage) -> list[Message]:
    found = [read_message(str(each.get("type", NEW_MESSAGE)), {"room": raw.room, **each}) for each in raw.messages]
    return sorted(found, key=lambda message: message.seq)
