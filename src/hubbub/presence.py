"""Who is in a room, told to those in it: joins, leaves with a grace, and typing that ends by itself.

The engine knows who is in which room on all nodes; each node tells its own members, and applies the grace itself.  Time
is passed in; the server calls `expire` a few times a second.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count
from typing import NamedTuple, Protocol

import msgspec

from hubbub.client import Participant
from hubbub.engine import Attendance, Bus, UserList
from hubbub.events import encode

__all__ = ["MAX_ANNOUNCED", "MAX_NAMES", "SHADOW", "Attended", "Crowd", "Listing", "Presence", "Roster"]

LEAVE_GRACE_S = 5.0
TYPING_S = 6.0

# In a larger room nobody is told of the others: the telling grows with the square of the members, and thousands that
# come back after a restart would be told of each other.  `presence` still answers.
MAX_ANNOUNCED = 200

# Names in one answer.  The number of all users is told beside them.
MAX_NAMES = 1000


class Roster:
    """Who is in one room, as far as this process has to know.

    Attributes:
        here: how many connections each user has in the room, in this process.
        lingering: users that left a moment ago and may be back, and
        typing: users that type, each with the mark by which that ends.
        listing: who is in the room, as it was last told; None after a change.
        version: changes so far.
        asking: how many wait for the engine to tell who is in the room, and
        comers: users that have come since they wait, whom it may not have seen.
    """

    __slots__ = ("asking", "comers", "here", "lingering", "listing", "typing", "version")

    def __init__(self) -> None:
        self.here: Counter[str] = Counter()
        self.lingering: dict[str, int] = {}
        self.typing: dict[str, int] = {}
        self.listing: Listing | None = None
        self.version = 0
        self.asking = 0
        self.comers: set[str] = set()

    def change(self) -> None:
        """Note that those in the room are others than before."""
        self.listing = None
        self.version += 1


class Listing(NamedTuple):
    """Who is in a room: names, sorted, as a JSON array of at most `MAX_NAMES`; and how many users there are."""

    names: bytes
    total: int


class TypingNotice(msgspec.Struct):
    """The payload of `typing`, as it comes from the engine."""

    user: str
    on: bool


decode_typing = msgspec.json.Decoder(TypingNotice).decode


class Attended(Protocol):
    """What presence needs of a room."""

    @property
    def name(self) -> str: ...

    @property
    def roster(self) -> Roster: ...

    @property
    def is_live(self) -> bool:
        """Whether anybody of this process is in it, or about to be."""
        ...

    @property
    def members(self) -> Collection[object]: ...

    def announce(self, type_: str, payload: bytes) -> None:
        """Write an event about a user to this process's members, as far as they may see who is there."""
        ...


# What the name begins with, which no room has, under which the engine knows the connections in a room.
SHADOW = "\n"


class Crowd(Protocol):
    """What wants to know of each connection in a room, whoever its user is."""

    def entering(self, client: Participant, room: Attended) -> None:
        """A client is about to enter."""
        ...

    def left(self, client: Participant, room: Attended) -> None:
        """A client has left."""
        ...

    def came(self, shadow: str, entry: str) -> None:
        """A connection has come, on any node."""
        ...

    def went(self, shadow: str, entry: str) -> None:
        """A connection has gone, on any node."""
        ...


class Presence:
    """Announces who comes, goes, types and reads.

    Args:
        attendance: who is in which room, on all nodes.
        bus: carries what is not kept to all nodes.
        clock: seconds that never go back.
    """

    def __init__(self, attendance: Attendance, bus: Bus, clock: Callable[[], float]) -> None:
        self._attendance = attendance
        self._bus = bus
        self._clock = clock
        # When each thing ends, by its mark.  A room that no longer has the mark has been overtaken, or is another.
        self._ends: list[tuple[float, int, str, str]] = []
        self._marks = count()

    # This process's connections

    def entering(self, room: Attended, user: str) -> None:
        """A connection of a user is about to enter."""
        here = room.roster.here
        here[user] += 1
        if here[user] == 1:
            self._attendance.enter(room.name, user)

    def left(self, room: Attended, user: str) -> None:
        """A connection of a user has left."""
        here = room.roster.here
        here[user] -= 1
        if not here[user]:
            del here[user]
            self._attendance.leave(room.name, user)

    def type(self, room: Attended, user: str, *, is_on: bool) -> None:
        """A user types, or has stopped."""
        if is_announced(room):
            self._bus.cast(room.name, "typing", encode({"room": room.name, "user": user, "on": is_on}))

    def has_read(self, room: Attended, user: str, seq: int) -> None:
        """A user has read up to a message."""
        if is_announced(room):
            self._bus.cast(room.name, "read", encode({"room": room.name, "user": user, "seq": seq}))

    # What the engine tells

    def came(self, room: Attended, user: str) -> None:
        """A user has come; the others are told, if it was not there a moment ago."""
        room.roster.change()
        if room.roster.asking:
            room.roster.comers.add(user)
        if room.roster.lingering.pop(user, None) is None:
            tell(room, "member_joined", {"room": room.name, "user": user})

    def went(self, room: Attended, user: str) -> None:
        """A user has gone; the others are told if it does not come back in time."""
        roster = room.roster
        roster.change()
        roster.comers.discard(user)
        if user in roster.typing:
            self._end_typing(room, user)
        if room.is_live:
            roster.lingering[user] = self._end_later(room, user, LEAVE_GRACE_S)

    def heard(self, room: Attended, type_: str, payload: bytes) -> None:
        """An event about a user in the room: typing, which ends by itself without another word, or reading."""
        if type_ == "typing":
            self._note_typing(room, payload)
        if is_announced(room):
            room.announce(type_, payload)

    def _note_typing(self, room: Attended, payload: bytes) -> None:
        try:
            typing = decode_typing(payload)
        except msgspec.DecodeError:
            return  # an application's own event of that name
        if typing.on:
            room.roster.typing[typing.user] = self._end_later(room, typing.user, TYPING_S)
        else:
            room.roster.typing.pop(typing.user, None)

    # Asking

    async def listing(self, room: Attended, user: str) -> Listing:
        """Who is in a room, `user`, who may be about to enter, included.

        One that lingers is among them: the others have not been told otherwise, nor will be if it comes back.

        Raises:
            EngineError: the engine cannot tell.
        """
        roster = room.roster
        if roster.listing is not None and user in roster.here:
            return roster.listing
        version = roster.version
        found = await self._ask(room)
        users = set(found.users)
        # Whoever has come after the engine has looked was told of before the one who asks is a member, and not again.
        more = (roster.lingering.keys() | roster.comers) - users
        total = found.count + len(more)
        users |= more
        if user not in users and user not in roster.here:
            users.add(user)
            total += 1
        listing = Listing(encode(sorted(users)[:MAX_NAMES]), total)
        if roster.version == version and user in roster.here:
            roster.listing = listing
        return listing

    async def _ask(self, room: Attended) -> UserList:
        roster = room.roster
        if not roster.asking:
            roster.comers.clear()
        roster.asking += 1
        try:
            return await self._attendance.members(room.name, MAX_NAMES)
        finally:
            roster.asking -= 1

    # Ends

    def expire(self, find: Callable[[str], Attended | None]) -> None:
        """End what is due; `find` gives a live room by name."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, mark, name, user = heapq.heappop(self._ends)
            room = find(name)
            if room is None:
                continue
            if room.roster.typing.get(user) == mark:
                self._end_typing(room, user)
            elif room.roster.lingering.get(user) == mark:
                del room.roster.lingering[user]
                room.roster.change()
                tell(room, "member_left", {"room": room.name, "user": user})

    def _end_typing(self, room: Attended, user: str) -> None:
        del room.roster.typing[user]
        tell(room, "typing", {"room": room.name, "user": user, "on": False})

    def _end_later(self, room: Attended, user: str, seconds: float) -> int:
        mark = next(self._marks)
        heapq.heappush(self._ends, (self._clock() + seconds, mark, room.name, user))
        return mark


def is_announced(room: Attended) -> bool:
    """Whether those in a room are few enough to be told of each other."""
    return len(room.members) <= MAX_ANNOUNCED


def tell(room: Attended, type_: str, payload: dict[str, object]) -> None:
    """Say something about a user to those in the room, unless they are too many."""
    if is_announced(room):
        room.announce(type_, encode(payload))
