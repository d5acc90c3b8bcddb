"""What an engine keeps of the rooms that users follow, and how rooms stand: the port's part for them."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Protocol

import msgspec

__all__ = ["MAX_FOLLOWED", "FollowVault", "Followed", "Following", "RoomOutline"]

# Rooms that one user may follow: all of them are told with each `welcome`.
MAX_FOLLOWED = 500


class Following(Enum):
    """What came of a wish to follow a room."""

    ADDED = auto()
    KNOWN = auto()  # the user followed it already
    TOO_MANY = auto()  # the user follows `MAX_FOLLOWED` rooms


class Followed(msgspec.Struct, frozen=True):
    """A room that a user follows; `read` is the user's read mark, 0 for none."""

    room: str
    is_muted: bool
    read: int


class RoomOutline(msgspec.Struct, frozen=True):
    """How a room stands.

    Attributes:
        title: how its name is written; empty where nothing was put.
        epoch: of its log.
        seq: of the last message; 0 where nothing was ever said.
        sent: when the last message was sent, in milliseconds since 1970; 0 where the log holds no message.
    """

    title: str
    epoch: str
    seq: int
    sent: int


class FollowVault(Protocol):
    """The part of an engine that keeps which rooms users follow.

    What a user follows goes with the account (`remove_account`), and with the room (`forget_room`).  Whether there is
    an account, or a room, is not asked.

    Each method raises `EngineError` where shared state cannot be read or changed.
    """

    async def follow(self, user: str, room: str) -> Following:
        """Have a user follow a room, not muted.  Atomic: nobody follows more than `MAX_FOLLOWED`."""
        ...

    async def unfollow(self, user: str, room: str) -> bool:
        """Have a user follow a room no more; whether it was followed."""
        ...

    async def mute(self, user: str, room: str, *, is_muted: bool) -> bool:
        """Note whether a user wants to be bothered by a room; False where the user does not follow it."""
        ...

    async def followed(self, user: str) -> list[Followed]:
        """The rooms that a user follows, sorted by their names."""
        ...

    async def followers(self, room: str, *, after: str = "", limit: int) -> list[str]:
        """The users that follow a room, sorted: the first ones after a name."""
        ...

    async def outlines(self, rooms: Collection[str]) -> dict[str, RoomOutline]:
        """How each of some rooms stands; one that is not there is as if nothing had been said in it."""
        ...

    async def room_names(self, *, prefix: str = "", after: str = "", limit: int) -> list[str]:
        """The names of rooms that have a log, sorted: the first ones after a name that begin with a prefix.

        A room of which the log holds nothing any more may be among them.
        """
        ...
