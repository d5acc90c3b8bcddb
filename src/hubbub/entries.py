"""Entries: how the rooms that a user follows stand for the user, as a connection is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from hubbub.acts import Act
from hubbub.client import Participant
from hubbub.engine import Engine, Followed, RoomOutline
from hubbub.errors import EngineError
from hubbub.events import encode, rfc3339
from hubbub.feeding import LOG_FACTOR
from hubbub.permissions import Permissions
from hubbub.rooms import Rooms
from hubbub.unread import Unread, count_unread

__all__ = ["Entries"]

log = structlog.get_logger("hubbub")

# Rooms whose ends are read at once for one user.
AT_ONCE = 16


class Entries:
    """Composes entries of what is at hand in live rooms, and of what is read of the others."""

    def __init__(self, engine: Engine, rooms: Rooms, permissions: Permissions) -> None:
        self._engine = engine
        self._rooms = rooms
        self._permissions = permissions
        self._unread = Unread(engine)

    async def of(self, client: Participant, followed: Sequence[Followed]) -> list[bytes]:
        """The entries of those rooms that a client may enter.

        Raises:
            EngineError: the rooms cannot be read.
        """
        return self.compose(client, followed, await self.prepare(client, followed))

    async def prepare(self, client: Participant, followed: Sequence[Followed]) -> dict[str, RoomOutline]:
        """Read what is needed of rooms, and is not at hand, to compose their entries for connections of a user."""
        unknown = [
            each
            for each in followed
            if self._rooms.outline(each.room) is None and self._permissions.entry_rights(client, each.room)
        ]
        if not unknown:
            return {}
        outlines = await self._read_outlines([each.room for each in unknown])
        for start in range(0, len(unknown), AT_ONCE):
            some = [each for each in unknown[start : start + AT_ONCE] if each.room in outlines]
            sizes = await asyncio.gather(*(self._read_end(each, outlines[each.room]) for each in some))
            self._rooms.charge(client, sum(sizes) * LOG_FACTOR)
        return outlines

    async def _read_outlines(self, rooms: Sequence[str]) -> dict[str, RoomOutline]:
        """How rooms stand; a room that cannot be read in a damaged file is left out, and keeps nobody from the others.

        Raises:
            EngineError: none of them can be read.
        """
        try:
            return await self._engine.outlines(rooms)
        except EngineError:
            if self._engine.is_shared:
                raise
        found: dict[str, RoomOutline] = {}
        for room in rooms:
            try:
                found |= await self._engine.outlines([room])
            except EngineError as error:
                log.warning("a followed room cannot be read", room=room, error=str(error))
        return found

    async def _read_end(self, followed: Followed, outline: RoomOutline) -> int:
        """Read what is needed to count a room's unread messages; the bytes that this has read."""
        try:
            return await self._unread.prepare(followed.room, outline, followed.read)
        except EngineError as error:
            log.warning("unread messages are not counted", room=followed.room, error=str(error))
            return 0

    def compose(
        self, client: Participant, followed: Sequence[Followed], outlines: Mapping[str, RoomOutline]
    ) -> list[bytes]:
        """The entries of rooms, of what is known now: nothing waits, and what is allowed now counts."""
        found = []
        for each in followed:
            outline = self._rooms.outline(each.room) or outlines.get(each.room)
            rights = self._permissions.entry_rights(client, each.room)
            if rights and outline is not None:
                read = min(each.read, outline.seq)
                unread = self._count(each.room, outline, client.user, read) if rights & Act.READ else 0
                found.append(entry(each, outline, read=read, unread=unread, is_joined=each.room in client.joined))
        return found

    def _count(self, room: str, outline: RoomOutline, user: str, read: int) -> int:
        live = self._rooms.find(room)
        if live is not None and live.is_filled:
            return count_unread(live.recent.after(read), user)
        return self._unread.count(room, outline, user, read)


def entry(followed: Followed, outline: RoomOutline, *, read: int, unread: int, is_joined: bool) -> bytes:
    """A room as a user is told of it that follows it."""
    return encode(
        {
            "room": followed.room,
            "title": outline.title or followed.room,
            "epoch": outline.epoch,
            "seq": outline.seq,
            "read": read,
            "unread": unread,
            "muted": followed.is_muted,
            "active": rfc3339(outline.sent).decode() if outline.sent else None,
            "joined": is_joined,
        }
    )
