"""What engines of one process have in memory: who is told of which room, and who is in it."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

from hubbub.engine import Head, Listener, Log, Page, Resumed, UserList
from hubbub.events import Message

__all__ = ["LocalEngine", "Silent", "Users", "resume"]


class Silent:
    """A listener that ignores everything, for an engine that is not open."""

    def deliver(self, room: str, messages: Sequence[Message]) -> None: ...
    def flush(self) -> None: ...
    def hole(self, room: str, first: int, last: int) -> None: ...
    def rewound(self, room: str, head: Head) -> None: ...
    def heard(self, room: str, type_: str, payload: bytes) -> None: ...
    def came(self, room: str, user: str) -> None: ...
    def went(self, room: str, user: str) -> None: ...
    def ended(self, session: str) -> None: ...


class Users:
    """The users in one room.  Coming and going take the same time whatever their number, and so do the first names."""

    __slots__ = ("_first", "_most", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        # The first names in order, up to `_most`: twice as many as were asked for, so that many of them may go before
        # all names have to be looked at again.
        self._first: list[str] = []
        self._most = 0

    def __len__(self) -> int:
        return len(self._names)

    def add(self, user: str) -> bool:
        """Whether the user was not there."""
        if user in self._names:
            return False
        if len(self._first) == len(self._names) or (self._first and user < self._first[-1]):
            insort(self._first, user)
            del self._first[self._most :]
        self._names.add(user)
        return True

    def remove(self, user: str) -> bool:
        """Whether the user was there."""
        if user not in self._names:
            return False
        self._names.remove(user)
        if self._first and user <= self._first[-1]:
            del self._first[bisect_left(self._first, user)]
        return True

    def first(self, limit: int) -> list[str]:
        """The first names in alphabetical order."""
        if len(self._first) < min(limit, len(self._names)):
            self._most = 2 * limit
            self._first = heapq.nsmallest(self._most, self._names)
        return self._first[:limit]


class LocalEngine:
    """The bus, and the presence of users, of an engine whose rooms are all in this process."""

    lanes = 1
    is_shared = False

    def __init__(self) -> None:
        self._listener: Listener = Silent()
        self._subscribed: set[str] = set()
        self._users: dict[str, Users] = {}

    def lane(self, room: str) -> int:
        return 0

    # Bus

    async def subscribe(self, room: str) -> None:
        self._subscribed.add(room)

    def unsubscribe(self, room: str) -> None:
        self._subscribed.discard(room)

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        if room in self._subscribed:
            self._listener.heard(room, type_, payload)

    def _deliver(self, fresh: Mapping[str, Sequence[Message]]) -> None:
        for room, messages in fresh.items():
            if room in self._subscribed:
                self._listener.deliver(room, messages)

    # Attendance

    def enter(self, room: str, user: str) -> None:
        users = self._users.get(room)
        if users is None:
            users = self._users[room] = Users()
        if users.add(user) and room in self._subscribed:
            self._listener.came(room, user)

    def leave(self, room: str, user: str) -> None:
        users = self._users.get(room)
        if users is None or not users.remove(user):
            return
        if not users:
            del self._users[room]
        if room in self._subscribed:
            self._listener.went(room, user)

    async def members(self, room: str, limit: int) -> UserList:
        users = self._users.get(room)
        return UserList(users.first(limit), len(users)) if users is not None else UserList([], 0)


async def resume(log: Log, room: str, since: Head, limit: int) -> Resumed:
    """What came after a place, for a log with one epoch, by what reading it says.

    Raises:
        EngineError: the log cannot be read.
    """
    # One message at least: whether the log still holds the next one is seen by reading it.
    page = await log.read(room, after=since.seq, limit=max(limit, 1))
    is_held = page.messages[0].seq == since.seq + 1 if page.messages else since.seq == page.head.seq
    if since.epoch != page.head.epoch or not is_held:
        return Resumed(await log.read(room, limit=limit), is_recovered=False)
    if limit < 1:
        page = Page(page.head, [], more=bool(page.messages))
    return Resumed(page, is_recovered=True)
