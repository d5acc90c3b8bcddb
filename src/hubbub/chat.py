"""The built-in chat: handlers like an application's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from hubbub.acts import Act
from hubbub.client import Participant
from hubbub.engine import Engine, Head
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Event, encode
from hubbub.following import Follows
from hubbub.handlers import Handlers
from hubbub.policy import check_key, check_text
from hubbub.posting import Posting
from hubbub.recent import HISTORY, RECENT
from hubbub.rooms import EnteredRoom, Rooms
from hubbub.settings import Settings

__all__ = [
    "ChangeRoom",
    "History",
    "JoinRoom",
    "LeaveRoom",
    "MarkRead",
    "NewMessage",
    "SendMessage",
    "SetTyping",
    "Since",
    "WhoIsThere",
    "install",
]


# More than any room will see, and what every log can count to.
MAX_SEQ = 1 << 62

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SendMessage(msgspec.Struct, tag="send_message", frozen=True):
    """Asks to say something in a room.  What a classic page writes into `from`, or into a `key`, is ignored."""

    message: str
    room: str | None = None
    key: str | None = None


class Since(Head, frozen=True):
    """A place in a room's log, as a client names it."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]


class JoinRoom(msgspec.Struct, tag="join_room", frozen=True):
    """Asks to enter a room: with what was said since a place in it, or with its newest messages."""

    room: str
    since: Since | None = None
    history: Annotated[int, msgspec.Meta(ge=0, le=RECENT)] = HISTORY


class ChangeRoom(msgspec.Struct, tag="change_room", frozen=True):
    """Asks to enter a room and to leave every other."""

    name: str


class LeaveRoom(msgspec.Struct, tag="leave_room", frozen=True):
    """Asks to leave a room."""

    room: str | None = None


class History(msgspec.Struct, tag="history", frozen=True):
    """Asks for messages before or after a place in a room, or sent at a time or later; the newest, with none."""

    room: str | None = None
    before: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=RECENT)] = HISTORY


class WhoIsThere(msgspec.Struct, tag="presence", frozen=True):
    """Asks for the users in a room."""

    room: str | None = None


class SetTyping(msgspec.Struct, tag="typing", frozen=True):
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


def install(handlers: Handlers, rooms: Rooms, follows: Follows, engine: Engine, settings: Settings) -> None:
    """Register the chat's handlers, for the events that the application does not handle itself."""
    install_talking(handlers, rooms, engine, settings)
    install_rooms(handlers, rooms, settings)
    install_presence(handlers, rooms, follows, engine)


def install_talking(handlers: Handlers, rooms: Rooms, engine: Engine, settings: Settings) -> None:
    """Saying something, and reading what was said."""

    @handlers.offer(Act.POST)
    def send_message(request: SendMessage, client: Participant) -> Posting:
        # Where requests name no rooms, the payload has no other fields.
        names_rooms = client.dialect.names_rooms
        room = rooms.name_of(client, request.room if names_rooms else None)
        check_text(request.message, settings.max_message)
        key = request.key if names_rooms else None
        if key is not None:
            check_key(key)
        return rooms.say(room, NewMessage(request.message), client, key)

    @handlers.offer(Act.READ)
    async def history(request: History, client: Participant) -> dict[str, Any]:
        room = rooms.name_of(client, request.room)
        after = request.after
        if sum(place is not None for place in (request.before, after, request.at)) > 1:
            raise Refused(ErrorCode.BAD_PAYLOAD, "one of `payload.before`, `payload.after` and `payload.at`, no two")
        if request.at is not None:
            after = await engine.first_since(room, milliseconds(request.at)) - 1
        page = await engine.read(room, before=request.before, after=after, limit=request.limit)
        listed = [msgspec.Raw(client.dialect.listed(message)) for message in rooms.changed(room, page.messages)]
        return {"room": room, "epoch": page.head.epoch, "messages": listed, "more": page.more}


def install_rooms(handlers: Handlers, rooms: Rooms, settings: Settings) -> None:
    """Coming and going."""

    @handlers.offer(None)  # whoever enters a room is asked then
    async def join_room(request: JoinRoom, client: Participant) -> msgspec.Raw:
        most = settings.max_rooms
        if most and len(client.joined) >= most and rooms.identity(request.room) not in client.joined:
            raise Refused(ErrorCode.FORBIDDEN, f"you are in {len(client.joined)} rooms, the most; leave one first")
        return join_answer(await rooms.join_with_history(client, request.room, request.since, request.history))

    @handlers.offer(None)
    async def change_room(request: ChangeRoom, client: Participant) -> msgspec.Raw | None:
        answer = None
        if client.dialect.lists:
            joined = await rooms.join_with_history(client, request.name, None, HISTORY)
            chosen, answer = joined.room, join_answer(joined)
        else:
            chosen = await rooms.join(client, request.name)
        for other in client.rooms:
            if other != chosen:
                rooms.leave(client, other)
        return answer

    @handlers.offer(None)
    def leave_room(request: LeaveRoom, client: Participant) -> dict[str, Any]:
        room = rooms.name_of(client, request.room)
        rooms.leave(client, room)
        return {"room": room}


def install_presence(handlers: Handlers, rooms: Rooms, follows: Follows, engine: Engine) -> None:
    """Who is there, who types, who has read what."""

    @handlers.offer(Act.PRESENCE)
    async def presence(request: WhoIsThere, client: Participant) -> dict[str, Any]:
        room = rooms.name_of(client, request.room)
        listing = await rooms.listing(client, room)
        return {"room": room, "members": msgspec.Raw(listing.names), "count": listing.total}

    @handlers.offer(Act.POST)
    def typing(request: SetTyping, client: Participant) -> None:
        rooms.type(client, rooms.name_of(client, request.room), is_on=request.on)

    @handlers.offer(Act.READ)
    async def mark_read(request: MarkRead, client: Participant) -> dict[str, Any]:
        room = rooms.name_of(client, request.room)
        # A second device that has read less takes nothing back, and nobody has read what was not said.
        seq = await engine.mark_read(room, client.user, min(request.seq, rooms.last_seq(room)))
        rooms.has_read(client, room, seq)
        if seq and seq <= request.seq:
            follows.note_read(client, room, seq)
        return {"room": room, "seq": seq}


def milliseconds(at: datetime) -> int:
    """A time in milliseconds since 1970, rounded up; 0 for earlier ones."""
    return max(0, -((EPOCH - at) // timedelta(milliseconds=1)))


def join_answer(joined: EnteredRoom) -> msgspec.Raw:
    """The payload of the ack to a join."""
    return msgspec.Raw(
        b'{"room":%b,"title":%b,"epoch":%b,"seq":%d,"recovered":%b,"messages":%b,"members":%b,"count":%d,"read":%d}'
        % (
            encode(joined.room),
            encode(joined.title),
            encode(joined.epoch),
            joined.seq,
            b"true" if joined.is_recovered else b"false",
            joined.messages,
            joined.listing.names,
            joined.listing.total,
            joined.read,
        )
    )
