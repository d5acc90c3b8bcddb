"""What a server knows of roles, blocks, invitations and closed rooms: in memory, so that nothing waits to be asked."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

from hubbub.acts import Role
from hubbub.client import Participant
from hubbub.engine import Access, Change, Vault

__all__ = ["Affected", "Ledger"]

# Looking an enumeration's member up takes as long as using it.
MEMBER = Role.MEMBER


class Affected(NamedTuple):
    """Users and rooms of which something has changed."""

    users: set[str]
    rooms: set[str]


class Ledger:
    """The vault's `Access`, as this process knows it.

    A change made here is known here when the call returns, and one that another process makes after the next `load`.
    """

    def __init__(self, vault: Vault) -> None:
        self.access = Access(0, {}, set(), {}, set(), set())
        self._vault = vault
        # The version of what was last loaded, and that of the newest change made here.
        self._loaded = -1
        self._made = -1

    # Asking

    def role_of(self, user: str) -> Role:
        """The role of a user."""
        return self.access.roles.get(user, MEMBER)

    def role_in(self, client: Participant) -> Role:
        """The role of a client: what it was granted, and otherwise that of its user."""
        terms = client.terms
        if terms is None or terms.role is None:
            return self.access.roles.get(client.user, MEMBER)
        return terms.role

    def is_blocked(self, user: str) -> bool:
        return user in self.access.blocked

    def is_invited(self, user: str, room: str) -> bool:
        return user in self.access.invited.get(room, ())

    def is_closed(self, room: str) -> bool:
        return room in self.access.closed

    async def load(self) -> Affected:
        """Take note of what others have changed.

        Raises:
            EngineError: it cannot be read.
        """
        if await self._vault.access_version() == self._loaded:
            return Affected(set(), set())
        found = await self._vault.access()
        if found.version < max(self._made, self._loaded):
            return Affected(set(), set())  # it was read before a change that is known here: the next one has both
        before, self.access = self.access, found
        self._loaded = found.version
        return difference(before, found)

    # Changing

    async def set_role(self, user: str, role: Role) -> Change:
        change, is_news = await self._make(self._vault.set_role(user, role))
        if is_news:
            self.access.roles[user] = role
        return change

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        change, is_news = await self._make(self._vault.set_blocked(user, is_blocked=is_blocked))
        if is_news:
            put(self.access.blocked, user, is_in=is_blocked)
        return change

    async def invite(self, room: str, user: str) -> Change:
        change, is_news = await self._make(self._vault.invite(room, user))
        if is_news:
            self.access.invited.setdefault(room, set()).add(user)
        return change

    async def uninvite(self, room: str, user: str) -> Change:
        change, is_news = await self._make(self._vault.uninvite(room, user))
        if is_news and room in self.access.invited:
            self.access.invited[room].discard(user)
        return change

    async def close_room(self, room: str) -> Change:
        change, is_news = await self._make(self._vault.close_room(room))
        if is_news:
            self.access.closed.add(room)
        return change

    async def reopen_room(self, room: str) -> Change:
        change, is_news = await self._make(self._vault.reopen_room(room))
        if is_news and room not in self.access.doomed:
            self.access.closed.discard(room)
        return change

    async def doom_room(self, room: str) -> Change:
        change, is_news = await self._make(self._vault.doom_room(room))
        if is_news:
            self.access.closed.add(room)
            self.access.doomed.add(room)
        return change

    async def forget_room(self, room: str) -> Change:
        change, is_news = await self._make(self._vault.forget_room(room))
        if is_news:
            self.access.closed.discard(room)
            self.access.doomed.discard(room)
            self.access.invited.pop(room, None)
        return change

    async def _make(self, changing: Awaitable[Change]) -> tuple[Change, bool]:
        """Make a change; whether it was made, and what is loaded does not have it yet."""
        change = await changing
        if change.why_not is not None:
            return change, False
        self._made = max(self._made, change.version)
        return change, change.version > self._loaded


def put(names: set[str], name: str, *, is_in: bool) -> None:
    if is_in:
        names.add(name)
    else:
        names.discard(name)


def difference(before: Access, after: Access) -> Affected:
    """The users and rooms of which two states of the vault say different things."""
    users = before.blocked ^ after.blocked
    users |= {user for user, _ in before.roles.items() ^ after.roles.items()}
    rooms = before.closed ^ after.closed
    invited = before.invited.keys() | after.invited.keys()
    rooms |= {room for room in invited if before.invited.get(room) != after.invited.get(room)}
    return Affected(users, rooms)
