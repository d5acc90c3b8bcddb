"""What the server says of itself: the payloads of its own events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.acts import Role
from hubbub.schema.answers import ChangePlace, ReactionBody, RoomEntryBody, Time

__all__ = ["SAID", "ErrorSaid", "KeptHead"]


class KeptHead(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """What the log adds to an event that it keeps: where, its place, when (RFC 3339), and on whose behalf."""

    room: str
    seq: int
    sent: Time
    sender: str | UnsetType = UNSET


class HeartbeatSaid(msgspec.Struct, frozen=True):
    """Seconds between two pings, and of silence after one that close a connection; 0 for no pings."""

    interval: float
    timeout: float


class LimitsSaid(msgspec.Struct, frozen=True):
    """What a client may send; 0 for no limit."""

    max_frame: int
    max_message: int
    max_room_name: int
    client_rate: float
    client_burst: float


class WelcomeSaid(msgspec.Struct, frozen=True):
    """The first event of a connection: who the client is, the rooms that its user follows, and, where it ends
    by itself, in how many seconds."""

    user: str
    name: str
    role: Role
    session: str
    heartbeat: HeartbeatSaid
    limits: LimitsSaid
    features: list[str]
    rooms: list[RoomEntryBody]
    expires: float | UnsetType = UNSET


class MessageSaid(KeptHead, frozen=True, kw_only=True):
    """A message in a room that the client is in."""

    message: str
    edited: ChangePlace | UnsetType = UNSET
    reactions: list[ReactionBody] | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


class EditSaid(KeptHead, frozen=True, kw_only=True):
    """A message has another text; without one, a later change has overtaken it."""

    of: int
    message: str | UnsetType = UNSET


class DeletionSaid(KeptHead, frozen=True, kw_only=True):
    """A message was taken back."""

    of: int


class ReactionSaid(KeptHead, frozen=True, kw_only=True):
    """Somebody has reacted to a message, or has taken that back."""

    of: int
    emoji: str
    on: bool


class ComingSaid(msgspec.Struct, frozen=True):
    """The first connection of a user has entered a room."""

    room: str
    user: str


class GoingSaid(msgspec.Struct, frozen=True):
    """The last connection of a user has left a room, and did not come back."""

    room: str
    user: str


class TypingSaid(msgspec.Struct, frozen=True):
    """A user types, or does not any more."""

    room: str
    user: str
    on: bool


class ReadSaid(msgspec.Struct, frozen=True):
    """A user has read a room up to a message."""

    room: str
    user: str
    seq: int


class ProfileSaid(msgspec.Struct, frozen=True):
    """A user is shown by another name."""

    user: str
    name: str


class RemovalSaid(msgspec.Struct, frozen=True):
    """The client is out of a room."""

    room: str
    code: str
    message: str


class ReconnectSaid(msgspec.Struct, frozen=True):
    """The server stops: come back after a random pause of up to `within` milliseconds."""

    within: int
    reason: str


class GapSaid(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """Messages that the log does not hold any more."""

    room: str
    first: int
    last: int


class EpochSaid(msgspec.Struct, frozen=True):
    """A room's log goes on under another epoch; nothing up to `seq` was lost."""

    room: str
    epoch: str
    seq: int


class AdditionSaid(msgspec.Struct, frozen=True):
    """The user follows a room from now on."""

    entry: RoomEntryBody


class EndSaid(msgspec.Struct, frozen=True):
    """The user does not follow a room any more, or may not enter it any more."""

    room: str


class RoomChangeSaid(msgspec.Struct, frozen=True):
    """A room was muted or unmuted, or read further, by another connection of the user."""

    room: str
    muted: bool | UnsetType = UNSET
    read: int | UnsetType = UNSET


class PublicationSaid(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """What another program has published; it has `seq` and `sent` where it is kept."""

    room: str
    data: Any
    seq: int | UnsetType = UNSET
    sent: Time | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET


class ErrorSaid(msgspec.Struct, frozen=True):
    """A request was turned down: a code, a sentence for a person, and seconds until asking again makes sense."""

    code: str
    message: str
    retry_after: float | UnsetType = UNSET


SAID: dict[str, type[msgspec.Struct]] = {
    "welcome": WelcomeSaid,
    "new_message": MessageSaid,
    "publication": PublicationSaid,
    "message_edited": EditSaid,
    "message_deleted": DeletionSaid,
    "reacted": ReactionSaid,
    "member_joined": ComingSaid,
    "member_left": GoingSaid,
    "typing": TypingSaid,
    "read": ReadSaid,
    "profile_changed": ProfileSaid,
    "removed": RemovalSaid,
    "reconnect": ReconnectSaid,
    "gap": GapSaid,
    "epoch": EpochSaid,
    "room_added": AdditionSaid,
    "room_removed": EndSaid,
    "room_changed": RoomChangeSaid,
}
