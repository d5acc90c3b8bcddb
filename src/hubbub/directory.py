"""Lists of what there is: rooms that a client may enter, and users."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from hubbub.acts import Act, Role
from hubbub.client import Participant
from hubbub.engine import Engine, RoomOutline
from hubbub.errors import ErrorCode, Refused
from hubbub.events import rfc3339
from hubbub.handlers import Handlers
from hubbub.ledger import Ledger
from hubbub.naming import DM, fold
from hubbub.notices import Notices
from hubbub.people import PROFILE_CHANGED
from hubbub.permissions import Permissions
from hubbub.rooms import Rooms

__all__ = ["AFTER_DMS", "Directory"]

# Names that are looked at between two turns of the loop, and what each of them counts, in bytes sent: most may be of
# rooms that the client may not enter.
NAMES = 1000
NAME_BYTES = 64

# Accounts whose display names are read at once.
PROFILES = 500

# Comes after every room of two users, and before the next other one.
AFTER_DMS = DM + "\U0010ffff"


class DirectoryPage(NamedTuple):
    """Some of a list, in the order of names; `next` is what the rest comes after, None at the end."""

    found: list[dict[str, object]]
    next: str | None


class ShownName(NamedTuple):
    """A display name, and its words as they are looked for."""

    name: str
    words: tuple[str, ...]


class Directory:
    """Answers who and what there is.  An answer tells nothing of what a client may not enter, not even that it is."""

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        permissions: Permissions,
        ledger: Ledger,
        handlers: Handlers,
        notices: Notices,
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
        # How those are shown that have said so, and those of them that have done so while all are read.
        self._names: dict[str, ShownName] = {}
        self._renamed: dict[str, str] = {}
        notices.on(PROFILE_CHANGED, self._hear_name)

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
        """Accounts whose names, or a word of the names that they are shown by, begin with a prefix.

        Raises:
            Refused: `forbidden` for guests.
            EngineError: they cannot be read.
        """
        if client.role is Role.GUEST:
            raise Refused(ErrorCode.FORBIDDEN, "guests may not list users; name a room that you may see who is in")
        await self._load()
        users = self._users
        place = bisect_right(users, after)
        found: list[str] = []
        while place < len(users) and len(found) <= limit:
            looked_at = users[place : place + NAMES]
            place += NAMES
            self._rooms.charge(client, len(looked_at) * NAME_BYTES)
            found += [user for user in looked_at if self._begins(user, prefix)]
            await asyncio.sleep(0)
        return self._page(found, limit)

    async def followers(self, client: Participant, room: str, prefix: str, after: str, limit: int) -> DirectoryPage:
        """Followers of a room, whose names begin with a prefix.

        Raises:
            Refused: `forbidden` where the client may not enter the room, or not see who is there.
            EngineError: they cannot be read.
        """
        self._check_presence(client, room)
        await self._load()
        found: list[str] = []
        while len(found) <= limit:
            looked_at = await self._engine.followers(room, after=after, limit=NAMES if prefix else limit + 1)
            if not looked_at:
                break
            after = looked_at[-1]
            self._rooms.charge(client, len(looked_at) * NAME_BYTES)
            found += [user for user in looked_at if self._begins(user, prefix)]
        self._check_presence(client, room)  # it may have changed since
        return self._page(found, limit)

    def _check_presence(self, client: Participant, room: str) -> None:
        if not self._permissions.rights_in(client, room) & Act.PRESENCE:
            raise Refused(ErrorCode.FORBIDDEN, f"you may not see who is in the room {room[:80]!r}")

    def _begins(self, user: str, prefix: str) -> bool:
        """Whether a user's name, or a word of the name that it is shown by, begins with a prefix."""
        if user.startswith(prefix):
            return True
        shown = self._names.get(user)
        return shown is not None and any(word.startswith(prefix) for word in shown.words)

    def _page(self, found: Sequence[str], limit: int) -> DirectoryPage:
        listed: list[dict[str, object]] = []
        for user in found[:limit]:
            shown = self._names.get(user)
            listed.append({"user": user, "name": user if shown is None else shown.name})
        return DirectoryPage(listed, found[limit - 1] if len(found) > limit else None)

    # What is known of users

    async def _load(self) -> None:
        """Have all accounts, and how they are shown, as the ledger knows them.

        Raises:
            EngineError: they cannot be read.
        """
        async with self._loading:
            version = self._ledger.access.version
            if self._users_as_of == version:
                return
            users = await self._engine.accounts()
            self._renamed = {}
            names: dict[str, ShownName] = {}
            for start in range(0, len(users), PROFILES):
                profiles = await self._engine.profiles(users[start : start + PROFILES])
                names.update((user, shown(found.name)) for user, found in profiles.items() if found.name)
            self._users, self._names, self._users_as_of = users, names, version
            for user, name in self._renamed.items():
                self._note_name(user, name)

    def _hear_name(self, payload: bytes) -> None:
        """Take note of a changed name; one that is read at the same moment may still be the old one."""
        try:
            renamed = decode_renamed(payload)
        except msgspec.DecodeError:
            return  # a node of another version
        self._renamed[renamed.user] = renamed.name
        self._note_name(renamed.user, renamed.name)
        if not self._loading.locked():
            self._renamed.clear()

    def _note_name(self, user: str, name: str) -> None:
        if name == user:
            self._names.pop(user, None)
        else:
            self._names[user] = shown(name)


class Renamed(msgspec.Struct):
    """What is needed of the notice of a changed name."""

    user: str
    name: str


decode_renamed = msgspec.json.Decoder(Renamed).decode


def shown(name: str) -> ShownName:
    """A display name, ready to be looked for by the beginnings of its words."""
    return ShownName(name, tuple(fold(name).split()))


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
