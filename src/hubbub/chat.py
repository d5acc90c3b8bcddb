"""The built-in chat, written with nothing but what an application has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from hubbub.client import Client
from hubbub.engine import Head
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Event
from hubbub.policy import check_text
from hubbub.recent import HISTORY, RECENT
from hubbub.room import Posting

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["NewMessage", "install"]


# More than any room will see, and what every log can count to.
MAX_SEQ = 1 << 62

# A key is a name like a UUID, and is remembered for a while.
MAX_KEY_CHARS = 128


class SendMessage(msgspec.Struct, tag="send_message", frozen=True):
    """Asks to say something in a room.  What a classic page writes into `from` is ignored."""

    message: str
    room: str | None = None
    key: Annotated[str, msgspec.Meta(max_length=MAX_KEY_CHARS)] | None = None


class JoinRoom(msgspec.Struct, tag="join_room", frozen=True):
    """Asks to enter a room: with what was said since a place in it, or with its newest messages."""

    room: str
    since: Head | None = None
    history: Annotated[int, msgspec.Meta(ge=0, le=RECENT)] = HISTORY


class ChangeRoom(msgspec.Struct, tag="change_room", frozen=True):
    """Asks to enter a room and to leave every other."""

    name: str


class LeaveRoom(msgspec.Struct, tag="leave_room", frozen=True):
    """Asks to leave a room."""

    room: str | None = None


class History(msgspec.Struct, tag="history", frozen=True):
    """Asks for messages before or after a place in a room; the newest, with neither."""

    room: str | None = None
    before: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=RECENT)] = HISTORY


class WhoIsThere(msgspec.Struct, tag="presence", frozen=True):
    """Asks for the users in a room."""

    room: str | None = None


class Typing(msgspec.Struct, tag="typing", frozen=True):
    """Says that its user types, or has stopped."""

    on: bool
    room: str | None = None


class MarkRead(msgspec.Struct, tag="mark_read", frozen=True):
    """Says how far its user has read."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
    room: str | None = None


class NewMessage(Event, tag="new_message"):
    """Something said in a room; the log adds who, where and when."""

    message: str


def install(hub: Hub) -> None:
    """Register the chat's handlers."""
    install_talking(hub)
    install_rooms(hub)
    install_presence(hub)


def install_talking(hub: Hub) -> None:
    """Saying something, and reading what was said."""

    @hub.on
    def send_message(request: SendMessage, client: Client) -> Posting:
        # A classic client is in one room, and its payload has no other fields.
        is_classic = not client.dialect.resumes
        room = client.room(None if is_classic else request.room)
        check_text(request.message, hub.settings.max_message)
        return room.post(NewMessage(request.message), sender=client, key=None if is_classic else request.key)

    @hub.on
    async def history(request: History, client: Client) -> dict[str, Any]:
        room = client.room(request.room)
        if request.before is not None and request.after is not None:
            raise Refused(ErrorCode.BAD_PAYLOAD, "`payload.before` or `payload.after`, not both")
        page = await hub.engine.read(room.name, before=request.before, after=request.after, limit=request.limit)
        listed = [msgspec.Raw(client.dialect.listed(message)) for message in page.messages]
        return {"room": room.name, "epoch": page.head.epoch, "messages": listed, "more": page.more}


def install_rooms(hub: Hub) -> None:
    """Coming and going."""

    @hub.on
    async def join_room(request: JoinRoom, client: Client) -> msgspec.Raw:
        most = hub.settings.max_rooms
        if most and len(client.rooms) >= most and request.room not in client.rooms:
            raise Refused(ErrorCode.FORBIDDEN, f"you are in {len(client.rooms)} rooms, the most; leave one first")
        return await hub.join_with_history(client, request.room, request.since, request.history)

    @hub.on
    async def change_room(request: ChangeRoom, client: Client) -> msgspec.Raw | None:
        answer = None
        if client.dialect.resumes:
            answer = await hub.join_with_history(client, request.name)
        else:
            await hub.join(client, request.name)
        chosen = hub.room(request.name).name
        for other in list(client.rooms.values()):
            if other.name != chosen:
                hub.leave(client, other)
        return answer

    @hub.on
    def leave_room(request: LeaveRoom, client: Client) -> dict[str, Any]:
        room = client.room(request.room)
        hub.leave(client, room)
        return {"room": room.name}


def install_presence(hub: Hub) -> None:
    """Who is there, who types, who has read what."""

    @hub.on
    def presence(request: WhoIsThere, client: Client) -> dict[str, Any]:
        room = client.room(request.room)
        return {"room": room.name, "members": msgspec.Raw(room.names)}

    @hub.on
    def typing(request: Typing, client: Client) -> None:
        hub.presence.type(client.room(request.room), client.user, is_on=request.on)

    @hub.on
    def mark_read(request: MarkRead, client: Client) -> dict[str, Any]:
        room = client.room(request.room)
        # A second device that has read less takes nothing back, and nobody has read what was not said.
        seq = min(max(request.seq, room.marks.get(client.user, 0)), room.recent.last_seq)
        room.marks[client.user] = seq
        hub.presence.tell(room, "read", client.user, seq=seq)
        return {"room": room.name, "seq": seq}
