"""The rooms that users follow, and what all connections of a user are told of them.

A connection is told of its user's rooms whether it is in them or not.  What happens on one node reaches the others by
one channel of the bus for all users; like whatever the log does not keep, it may be missed there, and the next
`welcome` has it.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

import msgspec
import structlog

from hubbub.budgets import Use, spend
from hubbub.client import Participant
from hubbub.connections import Connections
from hubbub.engine import MAX_FOLLOWED, Engine, Followed, Following
from hubbub.entries import Entries
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import encode
from hubbub.ledger import Affected
from hubbub.notices import Notices
from hubbub.permissions import Permissions
from hubbub.rooms import Rooms
from hubbub.tasks import Tasks

__all__ = ["Follows"]

log = structlog.get_logger("hubbub")

# Followers to a page, and to a notice on the channel; also read marks to one.
PAGE = 500

# A connection whose user follows rooms counts like more of them: one that follows 500 may open one a second.
OPENINGS_A_ROOM = 0.2


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one node tells the others of users' rooms.

    Attributes:
        origin: the node that tells it.
        users: whom it concerns.
        marks: users, rooms, and how far they have read them.
    """

    origin: str
    users: list[str] = []
    room: str = ""
    is_muted: bool = False
    marks: list[tuple[str, str, int]] = []


decode_notice = msgspec.json.Decoder(Notice).decode


class Follows:
    """Who follows which room, as far as this process has to know, and what is told of it.

    Args:
        notices: tells all nodes.
        connections: those that are told.
        on_gone: called with a room that somebody has ceased to follow.
    """

    def __init__(
        self,
        engine: Engine,
        rooms: Rooms,
        permissions: Permissions,
        notices: Notices,
        connections: Connections,
        tasks: Tasks,
        clock: Callable[[], float],
        on_gone: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._rooms = rooms
        self._permissions = permissions
        self._notices = notices
        self._connections = connections
        self._tasks = tasks
        self._clock = clock
        self._on_gone = on_gone
        self._entries = Entries(engine, rooms, permissions)
        self._origin = secrets.token_hex(8)
        # Read marks that have moved, and other nodes have not been told of.
        self._moved: dict[tuple[str, str], int] = {}
        # Whether all users are to be reviewed, and are being reviewed.
        self._is_review_due = False
        self._is_reviewing = False
        for kind in ("added", "removed", "muted", "read"):
            notices.on(kind, functools.partial(self._hear, kind))

    # What users do

    async def follow(self, client: Participant, name: str) -> bytes:
        """Have a client's user follow a room; the room's entry.

        Raises:
            Refused: as for entering the room; `conflict` where the user follows too many.
            EngineError: it could not be kept.
        """
        room = (await self._rooms.entrance.check(client, name)).identity
        outcome = await self._engine.follow(client.user, room)
        if outcome is Following.TOO_MANY:
            raise Refused(ErrorCode.CONFLICT, f"you follow {MAX_FOLLOWED} rooms, the most; unfollow one first")
        if outcome is Following.ADDED:
            self._added([client.user], room, but=client)
        found = await self._entries.of(client, await self._follow_of(client.user, room))
        if not found:  # what was allowed before the waits is not any more, or another connection has unfollowed it
            raise Refused(ErrorCode.FORBIDDEN, f"you may not enter the room {room[:80]!r}")
        return found[0]

    async def unfollow(self, client: Participant, room: str) -> None:
        """Have a client's user follow a room no more.

        Raises:
            EngineError: it could not be kept.
        """
        if await self._engine.unfollow(client.user, room):
            self.tell_removed([client.user], room, but=client)

    async def mute(self, client: Participant, room: str, *, is_muted: bool) -> None:
        """Note whether a client's user wants to be bothered by a room.

        Raises:
            Refused: `no_such_room` where the user does not follow it, or may not enter it.
            EngineError: it could not be kept.
        """
        may = self._permissions.entry_rights(client, room)
        if not may or not await self._engine.mute(client.user, room, is_muted=is_muted):
            raise Refused(ErrorCode.NO_SUCH_ROOM, f"you do not follow the room {room[:80]!r}")
        self._changed(client.user, encode({"room": room, "muted": is_muted}), but=client)
        self._pass_on("muted", Notice(self._origin, [client.user], room, is_muted))

    def note_read(self, client: Participant, room: str, seq: int) -> None:
        """Tell a user's other connections how far the user has read a room; other nodes with the next `pass_marks`."""
        self._changed(client.user, encode({"room": room, "read": seq}), but=client)
        if self._engine.is_shared:
            mark = client.user, room
            self._moved[mark] = max(seq, self._moved.get(mark, 0))

    def pass_marks(self) -> None:
        """Tell other nodes of the read marks that have moved; to be called a few times a second."""
        moved, self._moved = [(*mark, seq) for mark, seq in self._moved.items()], {}
        for start in range(0, len(moved), PAGE):
            self._pass_on("read", Notice(self._origin, marks=moved[start : start + PAGE]))

    # What a user follows

    async def entries(self, client: Participant) -> bytes:
        """The rooms that a client's user follows and may enter, as a JSON array.

        Raises:
            EngineError: they cannot be read.
        """
        followed = await self._engine.followed(client.user)
        if not followed:
            return b"[]"
        spend(client.purses, Use.OPENINGS, len(followed) * OPENINGS_A_ROOM, self._clock())
        found = b"[%b]" % b",".join(await self._entries.of(client, followed))
        self._rooms.charge(client, len(found))
        return found

    async def _follow_of(self, user: str, room: str) -> list[Followed]:
        """A room, if a user follows it."""
        return [each for each in await self._engine.followed(user) if each.room == room]

    # Telling users' connections

    def tell_added(self, users: Collection[str], room: str) -> None:
        """Tell users that they follow a room from now on."""
        self._added(users, room)

    def _added(self, users: Collection[str], room: str, but: Participant | None = None) -> None:
        self._start_telling(users, room, but)
        self._pass_on("added", Notice(self._origin, list(users), room))

    def _start_telling(self, users: Iterable[str], room: str, but: Participant | None = None) -> None:
        for user in users:
            if any(client is not but for client in self._connections.of(user)):
                self._tasks.start(self._tell_entry(user, room, but))

    async def _tell_entry(self, user: str, room: str, but: Participant | None) -> None:
        """Tell the connections of a user here of a room that it follows."""
        clients = self._connections.of(user)
        if not clients:
            return
        try:
            followed = await self._follow_of(user, room)
            outlines = await self._entries.prepare(clients[0], followed)
        except EngineError as error:
            log.warning("a user is not told of a room", user=user, room=room, error=str(error))
            return
        for client in self._connections.of(user):
            if client is not but:
                for found in self._entries.compose(client, followed, outlines):
                    self._write_to(client, "room_added", b'{"entry":%b}' % found)

    def tell_removed(self, users: Collection[str], room: str, but: Participant | None = None) -> None:
        """Tell users, on all nodes, that they follow a room no more."""
        self._removed(users, room, but)
        self._pass_on("removed", Notice(self._origin, list(users), room))

    def _removed(self, users: Iterable[str], room: str, but: Participant | None = None) -> None:
        self._on_gone(room)
        payload = encode({"room": room})
        for user in users:
            self._write(user, "room_removed", payload, but)

    def _changed(self, user: str, payload: bytes, but: Participant | None = None) -> None:
        self._write(user, "room_changed", payload, but)

    def _write(self, user: str, type_: str, payload: bytes, but: Participant | None) -> None:
        for client in self._connections.of(user):
            if client is not but:
                self._write_to(client, type_, payload)

    def _write_to(self, client: Participant, type_: str, payload: bytes) -> None:
        """Tell a client something, unless it has much to read already: another connection may go on for ever.

        Its account pays, which may have many connections to be told.
        """
        if self._rooms.feeding.is_full(client):
            return
        client.write_text(client.dialect.event(type_, payload))
        self._rooms.charge(client, len(payload))

    # Between nodes

    def _pass_on(self, kind: str, notice: Notice) -> None:
        if self._engine.is_shared:
            self._notices.tell(kind, encode(notice))

    def _hear(self, kind: str, data: bytes) -> None:
        """Take what a node tells, this one's own notices among it."""
        try:
            notice = decode_notice(data)
        except msgspec.DecodeError:
            return  # of a later version
        if notice.origin == self._origin:
            return
        match kind:
            case "added":
                self._start_telling(notice.users, notice.room)
            case "removed":
                self._removed(notice.users, notice.room)
            case "muted":
                for user in notice.users:
                    self._changed(user, encode({"room": notice.room, "muted": notice.is_muted}))
            case "read":
                for user, room, seq in notice.marks:
                    if user in self._connections:
                        self._changed(user, encode({"room": room, "read": seq}))

    # What is lost

    async def forget_room(self, room: str) -> None:
        """Tell all who follow a room, on all nodes, that it is about to be deleted.

        Raises:
            EngineError: some may not be told.
        """
        async for users in self._pages(room):
            self.tell_removed(users, room)

    def review(self, affected: Affected | None = None) -> None:
        """Tell connected users of the rooms that they follow and may not enter any more: by default all users."""
        if affected is not None:
            if affected.users or affected.rooms:
                self._tasks.start(self._review_some(affected))
            return
        self._is_review_due = True
        if not self._is_reviewing:
            self._is_reviewing = True
            self._tasks.start(self._review_all())

    async def _review_some(self, affected: Affected) -> None:
        try:
            for room in affected.rooms:
                async for users in self._pages(room):
                    for user in users:
                        self._tell_lost(user, [room])
            for user in affected.users:
                await self._review_user(user)
        except EngineError as error:
            log.warning("users are not told of rooms that they have lost", error=str(error))

    async def _review_all(self) -> None:
        """Review each user in turn; once more where somebody has asked for it meanwhile."""
        try:
            while self._is_review_due:
                self._is_review_due = False
                for user in self._connections.users:
                    await self._review_user(user)
        except EngineError as error:
            log.warning("users are not told of rooms that they have lost", error=str(error))
        finally:
            self._is_reviewing = False

    async def _review_user(self, user: str) -> None:
        if user in self._connections:
            self._tell_lost(user, [each.room for each in await self._engine.followed(user)])

    def _tell_lost(self, user: str, rooms: Sequence[str]) -> None:
        for client in self._connections.of(user):
            for room in rooms:
                if not self._permissions.entry_rights(client, room):
                    self._write_to(client, "room_removed", encode({"room": room}))

    async def _pages(self, room: str) -> AsyncIterator[list[str]]:
        """The followers of a room, some at a time."""
        users = await self._engine.followers(room, limit=PAGE)
        while users:
            yield users
            users = await self._engine.followers(room, after=users[-1], limit=PAGE)
