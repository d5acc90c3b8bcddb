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

# In a larger room nobody is told who comes and goes: the telling grows with the square of the members, and
# thousands that come back after a restart would be told of each other.  `presence` still answers.
MAX_ANNOUNCED = 200


class Presence:
    """Announces who comes, goes and types.

    Args:
        cast: says an event to a room's members, unkept.
        clock: seconds that never go back.
    """

    def __init__(self, cast: Callable[[str, str, bytes], None], clock: Callable[[], float]) -> None:
        self._cast = cast
        self._clock = clock
        # When each thing ends; a mark that is no longer in the dictionaries below has been overtaken.
        self._ends: list[tuple[float, int, str, str, dict[tuple[str, str], int]]] = []
        self._leaving: dict[tuple[str, str], int] = {}
        self._typing: dict[tuple[str, str], int] = {}
        self._marks = count()

    def entering(self, room: Room, client: Client) -> None:
        """A client is about to enter; tell the others, if its user was not there a moment ago."""
        if client.user in room.users:
            return
        if self._leaving.pop((room.name, client.user), None) is None:
            self._announce(room, "member_joined", client.user)

    def left(self, room: Room, client: Client) -> None:
        """A client has left; the others are told if its user does not come back in time."""
        if client.user in room.users:
            return
        if (room.name, client.user) in self._typing:
            self.type(room, client.user, is_on=False)
        if room.is_live:
            self._end_later(self._leaving, room.name, client.user, LEAVE_GRACE_S)

    def type(self, room: Room, user: str, *, is_on: bool) -> None:
        """A user types, or has stopped; without another word it stops by itself."""
        if is_on:
            self._end_later(self._typing, room.name, user, TYPING_S)
        else:
            self._typing.pop((room.name, user), None)
        self._cast(room.name, "typing", encode({"room": room.name, "user": user, "on": is_on}))

    def forget(self, room: Room) -> None:
        """A room is gone: there is nobody to tell."""
        for marks in (self._leaving, self._typing):
            for key in [key for key in marks if key[0] == room.name]:
                del marks[key]

    def expire(self, find: Callable[[str], Room | None]) -> None:
        """End what is due; `find` gives a live room by name."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, mark, name, user, marks = heapq.heappop(self._ends)
            if marks.get((name, user)) != mark:
                continue
            del marks[name, user]
            room = find(name)
            if room is None:
                continue
            if marks is self._leaving:
                self._announce(room, "member_left", user)
            else:
                self.type(room, user, is_on=False)

    def _end_later(self, marks: dict[tuple[str, str], int], room: str, user: str, seconds: float) -> None:
        mark = marks[room, user] = next(self._marks)
        heapq.heappush(self._ends, (self._clock() + seconds, mark, room, user, marks))

    def _announce(self, room: Room, type_: str, user: str) -> None:
        if len(room.members) <= MAX_ANNOUNCED:
            self._cast(room.name, type_, encode({"room": room.name, "user": user}))
