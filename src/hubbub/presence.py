"""Who is in a room, told to those in it: joins, leaves with a grace, and typing that ends by itself.

Nothing here is kept: it is said to who is there.  Time is passed in; the server calls `expire` a few times a second.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from hubbub.events import encode
from hubbub.room import Room

if TYPE_CHECKING:
    from hubbub.client import Client

__all__ = ["Presence"]

LEAVE_GRACE_S = 5.0
TYPING_S = 6.0

# In a larger room nobody is told of the others: the telling grows with the square of the members, and thousands that
# come back after a restart would be told of each other.  `presence` still answers.
MAX_ANNOUNCED = 200


class Presence:
    """Announces who comes, goes, types and reads.

    Args:
        cast: says an event to a room's members, unkept.
        clock: seconds that never go back.
    """

    def __init__(self, cast: Callable[[str, str, bytes], None], clock: Callable[[], float]) -> None:
        self._cast = cast
        self._clock = clock
        # When each thing ends, by its mark.  A room that no longer has the mark has been overtaken, or is another.
        self._ends: list[tuple[float, int, str, str]] = []
        self._marks = count()

    def entering(self, room: Room, client: Client) -> None:
        """A client is about to enter; tell the others, if its user was not there a moment ago."""
        if client.user not in room.users and not room.stop_lingering(client.user):
            self.tell(room, "member_joined", client.user)

    def left(self, room: Room, client: Client) -> None:
        """A client has left; the others are told if its user does not come back in time."""
        if client.user in room.users:
            return
        if client.user in room.typing:
            self.type(room, client.user, is_on=False)
        if room.is_live:
            room.linger(client.user, self._end_later(room, client.user, LEAVE_GRACE_S))

    def type(self, room: Room, user: str, *, is_on: bool) -> None:
        """A user types, or has stopped; without another word it stops by itself."""
        if is_on:
            room.typing[user] = self._end_later(room, user, TYPING_S)
        else:
            room.typing.pop(user, None)
        self.tell(room, "typing", user, on=is_on)

    def tell(self, room: Room, type_: str, user: str, **more: object) -> None:
        """Say something about a user to those in the room, unless they are too many."""
        if len(room.members) <= MAX_ANNOUNCED:
            self._cast(room.name, type_, encode({"room": room.name, "user": user, **more}))

    def expire(self, find: Callable[[str], Room | None]) -> None:
        """End what is due; `find` gives a live room by name."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, mark, name, user = heapq.heappop(self._ends)
            room = find(name)
            if room is None:
                continue
            if room.typing.get(user) == mark:
                self.type(room, user, is_on=False)
            elif room.lingering.get(user) == mark:
                room.stop_lingering(user)
                self.tell(room, "member_left", user)

    def _end_later(self, room: Room, user: str, seconds: float) -> int:
        mark = next(self._marks)
        heapq.heappush(self._ends, (self._clock() + seconds, mark, room.name, user))
        return mark
