"""People: how users are shown, and who is told when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from hubbub.acts import Act
from hubbub.budgets import Allowance, Bucket, Use, spend
from hubbub.client import Participant
from hubbub.dialect import Dialect
from hubbub.engine import Engine, Profile
from hubbub.errors import ErrorCode, Refused
from hubbub.events import encode
from hubbub.looks import keys_of
from hubbub.naming import read_display_name
from hubbub.notices import Notices
from hubbub.presence import MAX_ANNOUNCED
from hubbub.rooms import Rooms
from hubbub.tasks import Tasks

__all__ = ["MAX_DISPLAY_NAME", "PROFILE_CHANGED", "People", "shown_name"]

# Characters of a display name.
MAX_DISPLAY_NAME = 64

# How often one user tries another name, a second and at once: everybody who shares a room with it is told.
CHANGES = Allowance(1 / 30, 5)
# Users whose changes are remembered; beyond that the oldest is forgotten.
MAX_REMEMBERED = 50_000

# What a user that is looked for counts for, in bytes sent.
LOOK_BYTES = 128

# Rooms of a user whose members are told, and how many in one turn of the loop, of `MAX_ANNOUNCED` members each.
MAX_TOLD_ROOMS = 512
ROOMS_AT_ONCE = 8

PROFILE_CHANGED = "profile_changed"

# Looking an enumeration's member up costs more than using it.
PRESENCE = Act.PRESENCE


class NameNotice(msgspec.Struct, omit_defaults=True):
    """What nodes tell each other of a changed name.

    Attributes:
        rooms: those whose members are to be told.
        told: those whose members another node has had told; None where it is the first notice of the change, and the
            user's own connections are to be told.
    """

    user: str
    name: str
    rooms: list[str]
    told: list[str] | None = None


decode_notice = msgspec.json.Decoder(NameNotice).decode


class People:
    """Display names: asked for, changed, and told to those who see them.

    Args:
        notices: tells all nodes.
        connections_of: a user's connections to this process.
        tasks: owns the telling.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        engine: Engine,
        notices: Notices,
        rooms: Rooms,
        connections_of: Callable[[str], Iterable[Participant]],
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._notices = notices
        self._rooms = rooms
        self._connections_of = connections_of
        self._tasks = tasks
        self._clock = clock
        # By users, and of the same users by those who vouch for them.
        self._changes: dict[str, Bucket] = {}
        self._vouched: dict[str, Bucket] = {}
        notices.on(PROFILE_CHANGED, self._hear)

    # Asking

    async def profile(self, user: str) -> Profile:
        """What others may know of a user.

        Raises:
            Refused: `bad_payload` where there is no such account.
            EngineError: it cannot be read.
        """
        found = await self._engine.profiles([user])
        if user not in found:
            raise Refused(ErrorCode.BAD_PAYLOAD, f"there is no account {user[:40]!r} - at `payload.user`")
        return found[user]

    async def names(self, client: Participant, users: Collection[str]) -> dict[str, str]:
        """How users are shown; those without an account are left out.

        Args:
            client: who asks, and pays for what is looked for, besides what is found.

        Raises:
            EngineError: it cannot be read.
        """
        spend(client.purses, Use.SENT, len(users) * LOOK_BYTES, self._clock())
        found = await self._engine.profiles(set(users))
        return {user: shown_name(profile) for user, profile in sorted(found.items())}

    async def name_of(self, user: str) -> str:
        """How a user is shown, with an account or without.

        Raises:
            EngineError: it cannot be read.
        """
        return await self._engine.name_of(user) or user

    # Changing

    async def show_as(self, user: str, name: str) -> None:
        """Have a user without an account shown by a name that whoever vouches for it gives; nothing for its own.

        One whose name has changed often just now keeps it until it is vouched for later: two sessions of it may be of
        two minds, and everybody who shares a room with it is told.

        Raises:
            EngineError: it is not kept.
        """
        before = await self._engine.name_of(user)
        if before == name:
            return
        try:
            self._count_change(user, self._vouched)
        except Refused:
            return
        await self._engine.show_as(user, name)
        if await self._engine.name_of(user) == before:
            return  # there is an account, which has a name of its own
        name = name or user
        rooms = {room for other in self._connections_of(user) for room in other.joined}
        self._tell(NameNotice(user, name, sorted(rooms)[:MAX_TOLD_ROOMS]))

    async def set_name(self, client: Participant, name: str) -> Profile:
        """Have a client's user shown by another name; an empty one is that of the account.

        Raises:
            Refused: `bad_payload` for what is no name, `conflict` for one that looks like another's, and `rate_limited`
                for a user that tries many.
            EngineError: it is not kept.
        """
        user = client.user
        name = read_display_name(name, MAX_DISPLAY_NAME) if name else ""
        self._count_change(user, self._changes)
        outcome = await self._engine.set_name(user, name, keys_of(name) if name else ())
        if outcome is False:
            raise Refused(ErrorCode.CONFLICT, f"{name!r} looks like the name of another account; choose another one")
        profile = await self.profile(user)
        rooms = {room for other in self._connections_of(user) for room in other.joined}
        self._tell(NameNotice(user, shown_name(profile), sorted(rooms)[:MAX_TOLD_ROOMS]))
        return profile

    def _count_change(self, user: str, changes: dict[str, Bucket]) -> None:
        """Refuse (`rate_limited`) a user that tries one name after the other."""
        now = self._clock()
        bucket = changes.pop(user, None) or Bucket(CHANGES, now)
        if len(changes) >= MAX_REMEMBERED:
            del changes[next(iter(changes))]
        changes[user] = bucket
        wait = bucket.wait(now)
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, "you have changed your name often just now", round(wait, 3))
        bucket.spend(1.0, now)

    # Telling

    def _tell(self, notice: NameNotice) -> None:
        self._notices.tell(PROFILE_CHANGED, encode(notice))

    def _hear(self, payload: bytes) -> None:
        """Take a notice of any node, this one included."""
        try:
            notice = decode_notice(payload)
        except msgspec.DecodeError:
            return  # a node of another version
        self._tasks.start(self._pass_on(notice))

    async def _pass_on(self, notice: NameNotice) -> None:
        """Tell those of this process whom a changed name concerns, each once."""
        told = dict.fromkeys(self._connections_of(notice.user))
        texts: dict[Dialect, bytes] = {}
        payload = encode({"user": notice.user, "name": notice.name})
        if notice.told is None:
            self._tell_of_other_rooms(notice, told)
            self._write(told, texts, payload)
        for room in notice.told or ():
            told |= self._those_in(room)
        for place in range(0, len(notice.rooms), ROOMS_AT_ONCE):
            for room in notice.rooms[place : place + ROOMS_AT_ONCE]:
                fresh = self._those_in(room).keys() - told.keys()
                self._write(fresh, texts, payload)
                told |= dict.fromkeys(fresh)
            await asyncio.sleep(0)

    def _tell_of_other_rooms(self, notice: NameNotice, clients: Mapping[Participant, None]) -> None:
        """The user may be in other rooms by its connections to this process: their members are told, too."""
        rooms = {room for client in clients for room in client.joined}.difference(notice.rooms)
        if rooms:
            more = sorted(rooms)[:MAX_TOLD_ROOMS]
            self._tell(NameNotice(notice.user, notice.name, more, told=notice.rooms))

    def _those_in(self, room: str) -> dict[Participant, None]:
        """The members of a room that may see who is in it; none where they are too many to be told."""
        live = self._rooms.find(room)
        if live is None or len(live.members) > MAX_ANNOUNCED:
            return {}
        return {client: None for client in live.members if client.joined.get(room, 0) & PRESENCE}

    def _write(self, clients: Iterable[Participant], texts: dict[Dialect, bytes], payload: bytes) -> None:
        """Write the event to clients; one that is slow has enough to do."""
        for client in clients:
            if self._rooms.feeding.is_full(client):
                continue
            if client.dialect not in texts:
                texts[client.dialect] = client.dialect.event(PROFILE_CHANGED, payload)
            client.write_text(texts[client.dialect])


def shown_name(profile: Profile) -> str:
    """How a user is shown."""
    return profile.name or profile.user
