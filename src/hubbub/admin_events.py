"""The events of admins: what a client may ask of `admin.Admin`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from hubbub.acts import Act, Role
from hubbub.admin import Admin
from hubbub.client import Participant
from hubbub.handlers import Handlers
from hubbub.naming import check_room_name
from hubbub.permissions import Permissions
from hubbub.settings import Settings

__all__ = [
    "Block",
    "CloseRoom",
    "DeleteRoom",
    "Disconnect",
    "GiveRole",
    "Invite",
    "ReopenRoom",
    "Revoke",
    "Unblock",
    "Uninvite",
    "install_admin",
]


class OfUser(msgspec.Struct, frozen=True):
    """Asks for something that concerns a user."""

    user: str


class OfRoom(msgspec.Struct, frozen=True):
    """Asks for something that concerns a room."""

    room: str


class Disconnect(OfUser, tag="admin_disconnect", frozen=True):
    """Asks to close a user's connections."""


class Revoke(OfUser, tag="admin_revoke", frozen=True):
    """Asks to end a user's sessions."""


class Block(OfUser, tag="admin_block", frozen=True):
    """Asks to block a user."""


class Unblock(OfUser, tag="admin_unblock", frozen=True):
    """Asks to unblock a user."""


class GiveRole(OfUser, tag="admin_role", frozen=True):
    """Asks to give a user a role."""

    role: Role


class Invite(OfRoom, tag="admin_invite", frozen=True):
    """Asks to invite a user to a room."""

    user: str


class Uninvite(OfRoom, tag="admin_uninvite", frozen=True):
    """Asks to take an invitation back."""

    user: str


class CloseRoom(OfRoom, tag="admin_close_room", frozen=True):
    """Asks to close a room."""


class ReopenRoom(OfRoom, tag="admin_reopen_room", frozen=True):
    """Asks to open a closed room."""


class DeleteRoom(OfRoom, tag="admin_delete_room", frozen=True):
    """Asks to delete a room."""


def install_admin(handlers: Handlers, admin: Admin, permissions: Permissions, settings: Settings) -> None:
    """Register the handlers, for the events that the application does not handle itself."""
    install_users(handlers, admin, permissions.check_admin)

    def managed(client: Participant, name: str) -> str:
        """A room in its one spelling, for who may manage it."""
        room = check_room_name(name, settings.max_room_name)
        permissions.check(client, Act.MANAGE, room)
        return room

    install_rooms(handlers, admin, managed)


def install_users(handlers: Handlers, admin: Admin, check: Callable[[Participant], None]) -> None:
    """What concerns a user, whatever the room: for admins alone."""

    @handlers.offer(None)
    def disconnect(request: Disconnect, client: Participant) -> dict[str, Any]:
        check(client)
        return {"user": request.user, "connections": admin.disconnect(request.user, client.user)}

    @handlers.offer(None)
    async def revoke(request: Revoke, client: Participant) -> dict[str, Any]:
        check(client)
        return {"user": request.user, "sessions": await admin.revoke(request.user, client.user)}

    @handlers.offer(None)
    async def block(request: Block, client: Participant) -> dict[str, Any]:
        check(client)
        await admin.set_blocked(request.user, client.user, is_blocked=True)
        return {"user": request.user}

    @handlers.offer(None)
    async def unblock(request: Unblock, client: Participant) -> dict[str, Any]:
        check(client)
        await admin.set_blocked(request.user, client.user, is_blocked=False)
        return {"user": request.user}

    @handlers.offer(None)
    async def give_role(request: GiveRole, client: Participant) -> dict[str, Any]:
        check(client)
        await admin.set_role(request.user, request.role, client.user)
        return {"user": request.user, "role": request.role}


def install_rooms(handlers: Handlers, admin: Admin, managed: Callable[[Participant, str], str]) -> None:
    """What concerns a room: for those who may manage it."""

    @handlers.offer(None)
    async def invite(request: Invite, client: Participant) -> dict[str, Any]:
        room = managed(client, request.room)
        await admin.invite(room, request.user, client.user)
        return {"room": room, "user": request.user}

    @handlers.offer(None)
    async def uninvite(request: Uninvite, client: Participant) -> dict[str, Any]:
        room = managed(client, request.room)
        await admin.uninvite(room, request.user, client.user)
        return {"room": room, "user": request.user}

    @handlers.offer(None)
    async def close_room(request: CloseRoom, client: Participant) -> dict[str, Any]:
        room = managed(client, request.room)
        await admin.close_room(room, client.user)
        return {"room": room}

    @handlers.offer(None)
    async def reopen_room(request: ReopenRoom, client: Participant) -> dict[str, Any]:
        room = managed(client, request.room)
        await admin.reopen_room(room, client.user)
        return {"room": room}

    @handlers.offer(None)
    async def delete_room(request: DeleteRoom, client: Participant) -> dict[str, Any]:
        room = managed(client, request.room)
        await admin.delete_room(room, client.user)
        return {"room": room}
