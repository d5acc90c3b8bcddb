"""What an application hears and is answered, as types."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from hubbub.errors import ProtocolError
from hubbub.events import Event

__all__ = [
    "Changed",
    "Fleeting",
    "Gap",
    "Heard",
    "Joined",
    "MemberJoined",
    "MemberLeft",
    "Members",
    "Message",
    "Offline",
    "Online",
    "Page",
    "ProfileChanged",
    "Read",
    "Receipt",
    "RoomAdded",
    "RoomChanged",
    "RoomEntry",
    "RoomLost",
    "RoomRemoved",
    "Signal",
    "Typing",
]

E = TypeVar("E", bound=Event)

NEW_MESSAGE = "new_message"


class Message(msgspec.Struct, frozen=True):
    """Something kept in a room's log: what someone said, or an event of the application's own.

    Attributes:
        room: where.
        seq: its place in the room; rises by exactly one.
        sender: the user it is from; None where it is from no one in particular.
        text: what was said; empty for an event of the application's own.
        sent: when the server took it, in UTC.
        type: `new_message`, or the type of the application's own event.
        payload: the event's own fields, as they came in JSON.
        edited: when it got its present text, or was deleted; None where it is as it was said.
        deleted: it was taken back; then there is no text.
        reactions: who has reacted, by emoji.
    """

    room: str
    seq: int
    sender: str | None
    text: str
    sent: datetime
    type: str = NEW_MESSAGE
    payload: dict[str, Any] = {}
    edited: datetime | None = None
    deleted: bool = False
    reactions: dict[str, list[str]] = {}

    def read_as(self, kind: builtins.type[E]) -> E:
        """The application's own event, as the type that the server's hub defines for it.

        Raises:
            ProtocolError: the payload does not fit the type, or it is another event's.
        """
        return read_event(self.type, self.payload, kind)


class Changed(msgspec.Struct, frozen=True):
    """A message was edited or deleted, or somebody has reacted to it.

    It comes in the order of the log, also for messages that are shown as they are after it already: applying it once
    more changes nothing.

    Attributes:
        room: where.
        seq: the place of the change in the room.
        sender: the user who has changed the message.
        sent: when the server took the change, in UTC.
        of: the seq of the message.
        type: `message_edited`, `message_deleted` or `reacted`.
        text: what an edit has made of it; None for another change, and for an edit that a later change has overtaken.
        emoji: the reaction, and whether it was added (`on`) or taken back.
    """

    room: str
    seq: int
    sender: str
    sent: datetime
    of: int
    type: str
    text: str | None = None
    emoji: str = ""
    on: bool = False

    def apply_to(self, message: Message) -> Message:
        """The message as it is after this change; any other message as it is."""
        if (message.room, message.seq, message.type) != (self.room, self.of, NEW_MESSAGE) or message.deleted:
            return message
        if self.type == "message_deleted":
            return replace(message, text="", edited=self.sent, deleted=True, reactions={}, payload={})
        if self.type == "reacted":
            users = set(message.reactions.get(self.emoji, ()))
            users = users | {self.sender} if self.on else users - {self.sender}
            reactions = {**message.reactions, self.emoji: sorted(users)}
            return replace(
                message, reactions={emoji: reactions[emoji] for emoji in sorted(reactions) if reactions[emoji]}
            )
        if self.text is None:
            return message
        return replace(message, text=self.text, edited=self.sent, payload={**message.payload, "message": self.text})


class Gap(msgspec.Struct, frozen=True):
    """Messages that cannot be shown: the server does not keep them any more.

    Attributes:
        room: where.
        first, last: the seqs that are missing, both included; `last` is less than `first` where none is.
        is_new_log: the server's log began anew, so that seqs count from the start again: those of this gap and
            of later messages have nothing to do with earlier ones.
    """

    room: str
    first: int
    last: int
    is_new_log: bool = False


class Typing(msgspec.Struct, frozen=True):
    """A user began, or ceased, to type."""

    room: str
    user: str
    on: bool


class MemberJoined(msgspec.Struct, frozen=True):
    """A user has come into a room."""

    room: str
    user: str


class MemberLeft(msgspec.Struct, frozen=True):
    """A user has gone from a room."""

    room: str
    user: str


class Members(msgspec.Struct, frozen=True):
    """Who is in a room, after this client was away for a moment.

    Attributes:
        room: what it goes by: "ops" for "Ops".
        members: the users in it, sorted; the first 1,000 where there are more.
        count: how many users are in it.
    """

    room: str
    members: list[str]
    count: int = 0


class Read(msgspec.Struct, frozen=True):
    """A user has read a room up to a message."""

    room: str
    user: str
    seq: int


class Signal(msgspec.Struct, frozen=True):
    """An event of the application's own that is not kept in a log."""

    type: str
    payload: dict[str, Any]

    def read_as(self, kind: builtins.type[E]) -> E:
        """The event, as the type that the server's hub defines for it.

        Raises:
            ProtocolError: the payload does not fit the type, or it is another event's.
        """
        return read_event(self.type, self.payload, kind)


class RoomLost(msgspec.Struct, frozen=True):
    """The server has taken this client out of a room, or did not let it back into one that it was in."""

    room: str
    code: str
    message: str


class RoomEntry(msgspec.Struct, frozen=True):
    """A room that this user follows.

    Attributes:
        title: its name as it is shown.
        seq: its newest message, and `active` when that was sent; None where there is none.
        read: how far this user has read.
        unread: messages of others after that; 100 for that many or more.
        muted: this user does not want to be told of each message.
    """

    room: str
    title: str = ""
    epoch: str = ""
    seq: int = 0
    read: int = 0
    unread: int = 0
    muted: bool = False
    active: datetime | None = None


class RoomAdded(msgspec.Struct, frozen=True):
    """This user follows another room."""

    entry: RoomEntry


class RoomRemoved(msgspec.Struct, frozen=True):
    """This user does not follow a room any more."""

    room: str


class RoomChanged(msgspec.Struct, frozen=True):
    """A room was muted or unmuted, or read further, on another device; what is None has not changed."""

    room: str
    muted: bool | None = None
    read: int | None = None


class ProfileChanged(msgspec.Struct, frozen=True):
    """A user is shown by another name."""

    user: str
    name: str


class Online(msgspec.Struct, frozen=True):
    """The client is connected (again)."""

    user: str


class Offline(msgspec.Struct, frozen=True):
    """The connection is gone; the client is coming back by itself."""

    code: int
    reason: str


# What is not kept in a log, and comes for this connection alone.
Fleeting = Typing | MemberJoined | MemberLeft | Read | RoomLost | RoomAdded | RoomRemoved | RoomChanged | ProfileChanged

Heard = Message | Changed | Gap | Members | Signal | Online | Offline | Fleeting


# Answers


class Receipt(msgspec.Struct, frozen=True):
    """Where the server's log put a message, and when (UTC)."""

    room: str
    seq: int
    sent: datetime


class Joined(msgspec.Struct, frozen=True):
    """A room that was entered.

    Attributes:
        room: its name, as the server spells it.
        seq: the newest message in it; what comes later is heard.
        members: the users in it, sorted; the first 1,000 where there are more.
        messages: the newest ones, oldest first, as many as were asked for.
        read: how far this user has read, on whatever device: a seq, 0 for nothing.  Always 0 from a server that does
            not say.
        count: how many users are in the room.
        title: its name as it is shown.
    """

    room: str
    seq: int
    members: list[str]
    messages: list[Message]
    read: int = 0
    count: int = 0
    title: str = ""


class Page(msgspec.Struct, frozen=True):
    """Some messages of a room, oldest first, and whether there are more beyond them."""

    room: str
    messages: list[Message]
    more: bool
    epoch: str = ""


def read_event(type_: str, payload: dict[str, Any], kind: type[E]) -> E:
    try:
        return msgspec.convert({**payload, "type": type_}, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"{type_} is no {kind.__name__}: {error}") from None
