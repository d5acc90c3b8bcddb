"""What the built-in requests are answered with: the payloads of their acks.

The handlers compose these by hand, for the hot path's sake; a test holds what they send to what is said here.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.acts import Role

__all__ = ["ANSWERS", "ChangePlace", "KeptAnswer", "NoAnswer", "ReactionBody", "RoomEntryBody", "Time"]

# RFC 3339, UTC.
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class NoAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: the request was done."""


class KeptAnswer(msgspec.Struct, frozen=True):
    """Where the log has put an event, and when (RFC 3339)."""

    room: str
    seq: int
    sent: Time


class ChangePlace(msgspec.Struct, frozen=True):
    """The event that has given a message its present text."""

    seq: int
    sent: Time


class ReactionBody(msgspec.Struct, frozen=True):
    """Who has reacted with an emoji."""

    emoji: str
    users: list[str]


class ListedEvent(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """A kept event in an answer: a message, or, with `type`, another event, whose own fields it has besides."""

    room: str
    seq: int
    sent: Time
    sender: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    edited: ChangePlace | UnsetType = UNSET
    reactions: list[ReactionBody] | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET


class RoomAnswer(msgspec.Struct, frozen=True):
    """The room, by what it goes by."""

    room: str


class JoinAnswer(msgspec.Struct, frozen=True):
    """A room that was entered: how far the answer reaches (`epoch`, `seq`), and what was said, oldest first."""

    room: str
    title: str
    epoch: str
    seq: int
    recovered: bool
    messages: list[ListedEvent]
    members: list[str]
    count: int
    read: int


class HistoryAnswer(msgspec.Struct, frozen=True):
    """A page of a room's log, oldest first, and whether there is more beyond it."""

    room: str
    epoch: str
    messages: list[ListedEvent]
    more: bool


class PresenceAnswer(msgspec.Struct, frozen=True):
    """The users in a room, 1,000 at most, and how many there are."""

    room: str
    members: list[str]
    count: int


class MarkAnswer(msgspec.Struct, frozen=True):
    """How far the user has read."""

    room: str
    seq: int


class RoomEntryBody(msgspec.Struct, frozen=True):
    """How a room stands for a user that follows it."""

    room: str
    title: str
    epoch: str
    seq: int
    read: int
    unread: int
    muted: bool
    active: Time | None
    joined: bool


class MuteAnswer(msgspec.Struct, frozen=True):
    """Whether the user wants to be bothered by the room."""

    room: str
    muted: bool


class ListedRoom(msgspec.Struct, frozen=True):
    """A room in a list."""

    room: str
    title: str
    members: int
    seq: int
    active: Time | None
    followed: bool


class RoomsAnswer(msgspec.Struct, frozen=True):
    """Rooms, and what to go on after; null on the last page."""

    rooms: list[ListedRoom]
    next: str | None


class ListedUser(msgspec.Struct, frozen=True):
    """A user in a list, with the display name."""

    user: str
    name: str


class UsersAnswer(msgspec.Struct, frozen=True):
    """Users, and what to go on after; null on the last page."""

    users: list[ListedUser]
    next: str | None


class ProfileAnswer(msgspec.Struct, frozen=True):
    """What may be known of a user."""

    user: str
    name: str
    role: Role
    since: Time | None


class NamesAnswer(msgspec.Struct, frozen=True):
    """How users are shown, by their user names."""

    names: dict[str, str]


class SearchAnswer(msgspec.Struct, frozen=True):
    """Messages that were found, newest first, and where to go on."""

    messages: list[ListedEvent]
    next: str | None
    partial: bool | UnsetType = UNSET


class RenewAnswer(msgspec.Struct, frozen=True):
    """Seconds until the connection ends; nothing where it does not end by itself."""

    expires: float | UnsetType = UNSET


# Of admins


class UserAnswer(msgspec.Struct, frozen=True):
    """The user that it was about."""

    user: str


class DisconnectAnswer(msgspec.Struct, frozen=True):
    """How many connections were closed."""

    user: str
    connections: int


class RevokeAnswer(msgspec.Struct, frozen=True):
    """How many sessions were ended."""

    user: str
    sessions: int


class RoleAnswer(msgspec.Struct, frozen=True):
    """What the user is from now on."""

    user: str
    role: Role


class InviteAnswer(msgspec.Struct, frozen=True):
    """The room, and the user that may enter it, or may not any more."""

    room: str
    user: str


class StatsAnswer(msgspec.Struct, frozen=True):
    """How the server did: each sample has a value for each of `fields`."""

    version: str
    engine: str
    every: float
    fields: list[str]
    samples: list[list[float | None]]


class ShownUser(msgspec.Struct, frozen=True):
    """An account, as admins see it."""

    user: str
    name: str
    role: Role
    blocked: bool
    connections: int


class ShownUsers(msgspec.Struct, frozen=True):
    """Accounts, and what to go on after."""

    users: list[ShownUser]
    next: str | None


class ShownRoom(msgspec.Struct, frozen=True):
    """A room, as admins see it."""

    room: str
    title: str
    members: int
    seq: int
    active: Time | None
    closed: bool


class ShownRooms(msgspec.Struct, frozen=True):
    """Rooms, and what to go on after."""

    rooms: list[ShownRoom]
    next: str | None


class ShownConnection(msgspec.Struct, frozen=True):
    """A connection, as admins see it; `session` is the beginning of a hash."""

    session: str
    address: str
    dialect: str
    rooms: list[str]
    refused: int
    dropped: int


class SessionsAnswer(msgspec.Struct, frozen=True):
    """The connections of a user to the process that answers, 100 at most, and how many there are."""

    user: str
    count: int
    connections: list[ShownConnection]


class AuditAnswer(msgspec.Struct, frozen=True):
    """The newest lines of the audit log, the newest first."""

    lines: list[dict[str, Any]]


ANSWERS: dict[str, type[msgspec.Struct]] = {
    "send_message": KeptAnswer,
    "edit_message": KeptAnswer,
    "delete_message": KeptAnswer,
    "react": KeptAnswer,
    "join_room": JoinAnswer,
    "change_room": JoinAnswer,
    "leave_room": RoomAnswer,
    "history": HistoryAnswer,
    "presence": PresenceAnswer,
    "typing": NoAnswer,
    "mark_read": MarkAnswer,
    "follow": RoomEntryBody,
    "unfollow": RoomAnswer,
    "mute": MuteAnswer,
    "list_rooms": RoomsAnswer,
    "list_users": UsersAnswer,
    "profile": ProfileAnswer,
    "set_profile": ProfileAnswer,
    "profiles": NamesAnswer,
    "search": SearchAnswer,
    "renew": RenewAnswer,
    "admin_disconnect": DisconnectAnswer,
    "admin_revoke": RevokeAnswer,
    "admin_block": UserAnswer,
    "admin_unblock": UserAnswer,
    "admin_role": RoleAnswer,
    "admin_invite": InviteAnswer,
    "admin_uninvite": InviteAnswer,
    "admin_close_room": RoomAnswer,
    "admin_reopen_room": RoomAnswer,
    "admin_delete_room": RoomAnswer,
    "admin_stats": StatsAnswer,
    "admin_users": ShownUsers,
    "admin_rooms": ShownRooms,
    "admin_sessions": SessionsAnswer,
    "admin_audit": AuditAnswer,
}
