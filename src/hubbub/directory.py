"""Lists of what there is: rooms that a client may enter, and users."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from hubbub.acts import Act, Role
from hubbub.client import Participant
from hubbub.engine import Engine, RoomOutline
from hubbub.errors import ErrorCode, Refused
from hubbub.events import rfc3339
from hubbub.handlers import Handlers
from hubbub.ledger import Ledger
from hubbub.naming import DM
from hubbub.permissions import Permissions
from hubbub.rooms import Rooms

__all__ = ["Directory"]

# Names that are looked at between two turns of the loop, and what each of them counts, in bytes sent: most may be of
# rooms that the client may not enter.
NAMES = 1000
NAME_BYTES = 64

# Comes after every room of two users, and before the next other one.
AFTER_DMS = DM + "\U0010ffff"


class DirectoryPage(NamedTuple):
    """Some of a list, in the order of names; `next` is what the rest comes after, None at the end."""

    found: list[dict[str, object]]
    next: str | None


class Directory:
    """Answers who and what there is.  An answer tells nothing of what a client may not enter, not even that it is."""

    def __init__(
        self, engine: Engine, rooms: Rooms, permissions: Permissions, ledger: Ledger, handlers: Handlers
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._permissions = permissions
        self._ledger = ledger
        self._handlers = handlers
        # All accounts, as of a version of what the ledger knows: each new one makes another.
        self._users: Sequence[str] = ()
        self._users_as_of = -1
        self._loading = asyncio.Lock()

    # Rooms

    async def rooms(self, client: Participant, prefix: str, after: str, limit: int) -> DirectoryPage:
        """Rooms in which something was said, and that a client may enter; those of two users left out.

        Where the application has hooks that may keep a client out of a room, only those that it follows or is in: a
        hook is asked when a client enters, and may do something then.

        Raises:
            EngineError: they cannot be read.
        """
        followed = {each.room for each in await self._engine.followed(client.user)}
        found: list[dict[str, object]] = []
        scanned = after
        while names := await self._engine.room_names(prefix=prefix, after=scanned, limit=NAMES):
            scanned = AFTER_DMS if names[-1].startswith(DM) else names[-1]
            self._rooms.charge(client, len(names) * NAME_BYTES)
            visible = [name for name in names if self._may_see(client, name, followed)]
            while visible:
                wanted = limit + 1 - len(found)
                some, visible = visible[:wanted], visible[wanted:]
                found += await self._rooms_as_listed(client, some, followed)
                if len(found) > limit:
                    return DirectoryPage(found[:limit], str(found[limit - 1]["room"]))
            await asyncio.sleep(0)
        return DirectoryPage(found, None)

    def _may_see(self, client: Participant, room: str, followed: set[str]) -> bool:
        if room.startswith(DM):
            return False
        if self._handlers.join_hooks and room not in followed and room not in client.joined:
            return False
        return bool(self._permissions.entry_rights(client, room))

    async def _rooms_as_listed(
        self, client: Participant, names: Sequence[str], followed: set[str]
    ) -> list[dict[str, object]]:
        outlines = await self._engine.outlines(names)
        held = [name for name in names if outlines[name].sent]
        counts = await asyncio.gather(*(self._engine.members(name, 0) for name in held))
        listed = []
        for name, members in zip(held, counts, strict=True):
            rights = self._permissions.entry_rights(client, name)  # it may have changed since
            if rights:
                count = members.count if rights & Act.PRESENCE else 0
                listed.append(room_as_listed(name, outlines[name], count, is_followed=name in followed))
        return listed

    # Users

    async def users(self, client: Participant, prefix: str, after: str, limit: int) -> DirectoryPage:
        """Accounts whose names begin with a prefix.

        Raises:
            Refused: `forbidden` for guests.
            EngineError: they cannot be read.
        """
        if self._ledger.role_of(client.user) is Role.GUEST:
            raise Refused(ErrorCode.FORBIDDEN, "guests may not list users; name a room that you may see who is in")
        async with self._loading:
            version = self._ledger.access.version
            if self._users_as_of != version:
                self._users, self._users_as_of = await self._engine.accounts(), version
        users = self._users
        first = max(bisect_right(users, after), bisect_left(users, prefix))
        return users_as_listed(users[first : first + limit + 1], prefix, limit)

    async def followers(self, client: Participant, room: str, prefix: str, after: str, limit: int) -> DirectoryPage:
        """Followers of a room, whose names begin with a prefix.

        Raises:
            Refused: `forbidden` where the client may not enter the room, or not see who is there.
            EngineError: they cannot be read.
        """
        self._check_presence(client, room)
        found = await self._engine.followers(room, after=max(after, just_before(prefix)), limit=limit + 1)
        self._check_presence(client, room)  # it may have changed since
        return users_as_listed(found, prefix, limit)

    def _check_presence(self, client: Participant, room: str) -> None:
        if not self._permissions.rights_in(client, room) & Act.PRESENCE:
            raise Refused(ErrorCode.FORBIDDEN, f"you may not see who is in the room {room[:80]!r}")


def room_as_listed(room: str, outline: RoomOutline, members: int, *, is_followed: bool) -> dict[str, object]:
    """A room as an entry of a list."""
    return {
        "room": room,
        "title": outline.title or room,
        "members": members,
        "seq": outline.seq,
        "active": rfc3339(outline.sent).decode(),
        "followed": is_followed,
    }


def users_as_listed(users: Sequence[str], prefix: str, limit: int) -> DirectoryPage:
    """The first of some sorted users whose names begin with a prefix."""
    fitting = [user for user in users if user.startswith(prefix)]
    found: list[dict[str, object]] = [{"user": user, "name": user} for user in fitting[:limit]]
    return DirectoryPage(found, fitting[limit - 1] if len(fitting) > limit else None)


def just_before(prefix: str) -> str:
    """A name that comes before all that begin with a prefix of user names, and after all before those."""
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}\U0010ffff" if prefix else ""
