"""Which rooms users follow, in memory."""

from __future__ import annotations

import heapq

from hubbub.engine.following import MAX_FOLLOWED, Following

__all__ = ["MemoryFollowing"]


class MemoryFollowing:
    """The rooms that users follow, in dictionaries.

    Attributes:
        muted: the rooms of each user that follows any, each with whether it is muted.
    """

    def __init__(self) -> None:
        self.muted: dict[str, dict[str, bool]] = {}
        self._followers: dict[str, set[str]] = {}

    async def follow(self, user: str, room: str) -> Following:
        rooms = self.muted.setdefault(user, {})
        if room in rooms:
            return Following.KNOWN
        if len(rooms) >= MAX_FOLLOWED:
            return Following.TOO_MANY
        rooms[room] = False
        self._followers.setdefault(room, set()).add(user)
        return Following.ADDED

    async def unfollow(self, user: str, room: str) -> bool:
        return self._drop(user, room)

    async def mute(self, user: str, room: str, *, is_muted: bool) -> bool:
        rooms = self.muted.get(user, {})
        if room not in rooms:
            return False
        rooms[room] = is_muted
        return True

    async def followers(self, room: str, *, after: str = "", limit: int) -> list[str]:
        return heapq.nsmallest(limit, (user for user in self._followers.get(room, ()) if user > after))

    def forget_follows_of(self, user: str) -> None:
        """Forget all that a user follows."""
        for room in tuple(self.muted.get(user, ())):
            self._drop(user, room)

    def forget_followers_of(self, room: str) -> None:
        """Forget all that follow a room."""
        for user in tuple(self._followers.get(room, ())):
            self._drop(user, room)

    def _drop(self, user: str, room: str) -> bool:
        rooms = self.muted.get(user, {})
        if rooms.pop(room, None) is None:
            return False
        if not rooms:
            del self.muted[user]
        users = self._followers[room]
        users.discard(user)
        if not users:
            del self._followers[room]
        return True
