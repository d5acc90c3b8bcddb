"""The built-in chat, written with nothing but what an application has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hubbub.client import Client
from hubbub.events import Event
from hubbub.policy import check_text
from hubbub.room import Posting

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["NewMessage", "install"]


class SendMessage(msgspec.Struct, tag="send_message", frozen=True):
    """Asks to say something in a room.  What a classic page writes into `from` is ignored."""

    message: str
    room: str | None = None
    key: str | None = None


class ChangeRoom(msgspec.Struct, tag="change_room", frozen=True):
    """Asks to enter a room and to leave every other."""

    name: str


class NewMessage(Event, tag="new_message"):
    """Something said in a room; the log adds who, where and when."""

    message: str


def install(hub: Hub) -> None:
    """Register the chat's handlers."""

    @hub.on
    def send_message(request: SendMessage, client: Client) -> Posting:
        room = client.room(request.room)
        check_text(request.message, hub.settings.max_message)
        return room.post(NewMessage(request.message), sender=client, key=request.key)

    @hub.on
    async def change_room(request: ChangeRoom, client: Client) -> dict[str, Any]:
        room = await hub.join(client, request.name)
        for other in list(client.rooms.values()):
            if other is not room:
                hub.leave(client, other)
        head = await hub.engine.head(room.name)
        return {"room": room.name, "epoch": head.epoch, "seq": head.seq, "members": room.users}
