"""The events of a user's rooms: following and muting them, and lists of rooms and users."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from hubbub.client import Participant
from hubbub.directory import Directory, DirectoryPage
from hubbub.following import Follows
from hubbub.handlers import Handlers
from hubbub.naming import check_room_name, fold_prefix
from hubbub.people import MAX_DISPLAY_NAME
from hubbub.settings import Settings

__all__ = ["Follow", "ListRooms", "ListUsers", "Mute", "Unfollow", "install_following"]

# Entries to a page of a list.
PAGE = 50
MAX_PAGE = 100

# Longer than any name that an answer gives to go on after.
Name = Annotated[str, msgspec.Meta(max_length=1024)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class Follow(msgspec.Struct, tag="follow", frozen=True):
    """Asks to follow a room."""

    room: str


class Unfollow(msgspec.Struct, tag="unfollow", frozen=True):
    """Asks to follow a room no more."""

    room: str


class Mute(msgspec.Struct, tag="mute", frozen=True):
    """Says whether its user wants to be bothered by a room."""

    room: str
    on: bool


class ListRooms(msgspec.Struct, tag="list_rooms", frozen=True):
    """Asks for rooms, in the order of what they go by."""

    prefix: Name = ""
    after: Name = ""
    limit: Limit = PAGE


class ListUsers(msgspec.Struct, tag="list_users", frozen=True):
    """Asks for users, in the order of their names; with `room`, for those that follow it."""

    prefix: Name = ""
    # Named otherwise in here: whoever dispatches it would take it for a room that its client is in.
    of_room: str | None = msgspec.field(default=None, name="room")
    after: Name = ""
    limit: Limit = PAGE


def install_following(handlers: Handlers, follows: Follows, directory: Directory, settings: Settings) -> None:
    """Register the handlers, for the events that the application does not handle itself."""

    def identity(name: str) -> str:
        return check_room_name(name, settings.max_room_name)

    @handlers.offer(None)  # whoever follows a room is asked then
    async def follow(request: Follow, client: Participant) -> msgspec.Raw:
        return msgspec.Raw(await follows.follow(client, request.room))

    @handlers.offer(None)
    async def unfollow(request: Unfollow, client: Participant) -> dict[str, Any]:
        room = identity(request.room)
        await follows.unfollow(client, room)
        return {"room": room}

    @handlers.offer(None)
    async def mute(request: Mute, client: Participant) -> dict[str, Any]:
        room = identity(request.room)
        await follows.mute(client, room, is_muted=request.on)
        return {"room": room, "muted": request.on}

    @handlers.offer(None)
    async def list_rooms(request: ListRooms, client: Participant) -> dict[str, Any]:
        prefix = fold_prefix(request.prefix, settings.max_room_name)
        return answer("rooms", await directory.rooms(client, prefix, request.after, request.limit))

    @handlers.offer(None)
    async def list_users(request: ListUsers, client: Participant) -> dict[str, Any]:
        prefix = fold_prefix(request.prefix, MAX_DISPLAY_NAME)
        if request.of_room is None:
            return answer("users", await directory.users(client, prefix, request.after, request.limit))
        room = identity(request.of_room)
        return answer("users", await directory.followers(client, room, prefix, request.after, request.limit))


def answer(name: str, page: DirectoryPage) -> dict[str, Any]:
    """The payload of the ack to a list."""
    return {name: page.found, "next": page.next}
