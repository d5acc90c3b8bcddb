"""What an engine keeps of who may do what: roles, blocks, invitations, closed rooms."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

import msgspec

from hubbub.acts import Role

__all__ = ["MAX_INVITATIONS", "Access", "AccessVault", "Change", "WhyNot"]

# All of `Access` is in the memory of a server: what is beyond this is not kept.  Of invitations, and of closed rooms.
MAX_INVITATIONS = 100_000


class Access(msgspec.Struct, frozen=True):
    """What is kept of who may do what, as of one moment.

    Attributes:
        version: rises with each change of it, by whoever's hand.
        roles: the users that are not plain members.
        blocked: users that may not log in.
        invited: the users invited to a room, by its name.
        closed: rooms that nobody may enter.
        doomed: rooms that are closed because they are about to be deleted.
    """

    version: int
    roles: dict[str, Role]
    blocked: set[str]
    invited: dict[str, set[str]]
    closed: set[str]
    doomed: set[str]


class WhyNot(Enum):
    """Why something of `Access` was not changed."""

    NO_ACCOUNT = auto()
    LAST_ADMIN = auto()  # without this one, nobody could give a role any more
    TOO_MANY = auto()  # there are `MAX_INVITATIONS`, or as many closed rooms, already


class Change(msgspec.Struct, frozen=True):
    """What came of a change of `Access`: the version that has it, also where it was so before; or why it was not made.

    Attributes:
        why_not: None where it was made.
    """

    version: int
    why_not: WhyNot | None = None


class AccessVault(Protocol):
    """The part of a vault that keeps it.

    Each method raises `EngineError` where shared state cannot be read or changed.
    """

    async def set_role(self, user: str, role: Role) -> Change:
        """Give an account another role.  Atomic: of two admins that demote each other, one stays."""
        ...

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        """Block an account, whose sessions and one-time passwords end, or unblock it."""
        ...

    async def invite(self, room: str, user: str) -> Change:
        """Invite a user who has an account to a room."""
        ...

    async def uninvite(self, room: str, user: str) -> Change:
        """Take an invitation back; one that there is not is as good as taken back."""
        ...

    async def close_room(self, room: str) -> Change:
        """Note that nobody may enter a room."""
        ...

    async def reopen_room(self, room: str) -> Change:
        """Note that a room is open again; one that is to be deleted stays closed until it is."""
        ...

    async def doom_room(self, room: str) -> Change:
        """Note that a room is to be deleted, and closed until it is."""
        ...

    async def forget_room(self, room: str) -> Change:
        """Note that a room is as if there had never been one: open, nobody is invited to it, nobody follows it."""
        ...

    async def access(self) -> Access:
        """All that is kept of who may do what."""
        ...

    async def access_version(self) -> int:
        """The version of it, which is cheap to ask for."""
        ...
