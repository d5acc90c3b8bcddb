"""Who may do what: roles, blocks, invitations, closed rooms; a part of the vault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubbub.acts import Role
from hubbub.engine import MAX_INVITATIONS, Access, Change, Listener, WhyNot
from hubbub.engine.local import Silent
from hubbub.engine.redis.calls import Arg, Calls
from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.steady import SteadyTime

__all__ = ["RedisAccess"]

# The vault's keys, in the order that its scripts have them.
KEYS = (
    "f",  # hash: `at`, the shared time, and `access`, the version of who may do what; the leases have more in it
    "s",  # hash: sessions, with their users, each user with NUL terms after it where the session has some
    "se",  # zset: sessions, by when they end
    "us",  # zset: user NUL end NUL session
    "o",  # hash: one-time passwords, each with user NUL session, and NUL where NUL terms after it where there is more
    "oe",  # zset: one-time passwords, by when they end
    "ou",  # zset: user NUL end NUL one-time password
    "a",  # hash: users that have an account, with the hash of the password
    "r",  # hash: users that are not plain members, with their role, and a ! after it for those that are blocked
    "ad",  # set: admins that are not blocked
    "x",  # zset: secrets for the first account, by when they were made
    "i",  # zset: room NUL user, for invitations
    "iu",  # zset: user NUL room
    "c",  # hash: closed rooms, with 1 for those that are to be deleted
    "n",  # hash: users that have a display name, with it
    "sn",  # hash: users, with when their account was made, in milliseconds since 1970
    "lk",  # zset: what a name looks like NUL the user that has it; `f` says in `looks` whether all users are in it
    "ln",  # hash: links to sign up by, by the hashes of their secrets, each as JSON
    "ak",  # hash: keys of other programs, by the hashes of their secrets, each as JSON
    "an",  # hash: the names of those keys, with the hashes of their secrets
)

# Entries to a page, and how often pages are read that have to be of one version.  After that all is read in one step,
# which holds the server up for some time.
PAGE = 1000
TRIES = 3
ALL_AT_ONCE = 10 * MAX_INVITATIONS

LISTS = ("standings", "closed", "invited")


class RedisAccess:
    """What is kept of who may do what.

    Args:
        time: the shared time.
        node: this node's id, which is in what it publishes.
    """

    def __init__(self, calls: Calls, time: SteadyTime, node: str) -> None:
        self._calls = calls
        self._time = time
        self._node = node
        self._listener: Listener = Silent()
        keys = calls.servers.keys
        self._keys = [keys.of_vault(kind) for kind in KEYS]
        # What a script that ends sessions needs, to publish which.
        self._telling: tuple[Arg, ...] = (calls.servers.publish, keys.of_vault("ended"), node)

    async def _run(
        self, script: str, *args: Arg, is_repeatable: bool = True, within_s: float | None = None
    ) -> Sequence[Any]:
        """Run a script of the vault; the answer without the time in front."""
        at: int
        answer: Sequence[Any]
        at, *answer = await self._calls.run(
            script,
            VAULT_SLOT,
            self._keys,
            (self._time.now_ms(), *args),
            is_repeatable=is_repeatable,
            within_s=within_s,
        )
        self._time.learn(at)
        return answer

    def _end(self, sessions: Sequence[bytes]) -> None:
        """Tell this process of sessions that it has ended; others hear of them from the bus."""
        for session in sessions:
            self._listener.ended(session.decode())

    # Accounts

    async def set_role(self, user: str, role: Role) -> Change:
        return change_in(await self._run("set_role", user, role.value))

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        version, ended, *why_not = await self._run("set_blocked", *self._telling, user, int(is_blocked))
        self._end(ended)
        return change_in([version, *why_not])

    # Rooms

    async def invite(self, room: str, user: str) -> Change:
        return change_in(await self._run("invite", user, room, MAX_INVITATIONS))

    async def uninvite(self, room: str, user: str) -> Change:
        return change_in(await self._run("uninvite", user, room))

    async def close_room(self, room: str) -> Change:
        return change_in(await self._run("close_room", room, 0, MAX_INVITATIONS))

    async def doom_room(self, room: str) -> Change:
        return change_in(await self._run("close_room", room, 1, MAX_INVITATIONS))

    async def reopen_room(self, room: str) -> Change:
        return change_in(await self._run("reopen_room", room))

    async def forget_room(self, room: str) -> Change:
        return change_in(await self._run("forget_room", room))

    # All of it

    async def access(self) -> Access:
        for _ in range(TRIES):
            found = await self._read_pages(PAGE, *LISTS)
            if found is not None:
                break
        else:
            found = await self._read_pages(ALL_AT_ONCE, *LISTS)
            assert found is not None
        version, lists = found
        standings = dict(pairs(lists["standings"]))
        closed = dict(pairs(lists["closed"]))
        invited: dict[str, set[str]] = {}
        for entry in lists["invited"]:
            room, _, user = entry.partition("\0")
            invited.setdefault(room, set()).add(user)
        roles = {user: Role(standing.rstrip("!")) for user, standing in standings.items()}
        return Access(
            version,
            {user: role for user, role in roles.items() if role is not Role.MEMBER},
            {user for user, standing in standings.items() if standing.endswith("!")},
            invited,
            set(closed),
            {room for room, state in closed.items() if state == "1"},
        )

    async def access_version(self) -> int:
        [version] = await self._run("pages", PAGE)
        return int(version)

    async def _read_pages(self, size: int, *lists: str) -> tuple[int, dict[str, list[str]]] | None:
        """Read lists page by page; the version before them.  None where it has changed in the meantime."""
        found: dict[str, list[str]] = {name: [] for name in lists}
        unread: dict[str, bytes] = dict.fromkeys(lists, b"")
        seen: int | None = None
        while unread:
            asked = [arg for name, place in unread.items() for arg in (name, place)]
            version, *pages = await self._run("pages", size, *asked)
            if seen is not None and version != seen:
                return None
            seen = version
            for name, (place, entries) in zip(list(unread), pages, strict=True):
                found[name] += [entry.decode() for entry in entries]
                unread[name] = place
                if not place:
                    del unread[name]
        return seen or 0, found


def change_in(answer: Sequence[Any]) -> Change:
    """What a script says of a change: its version, and perhaps why it was not made."""
    version, *why_not = answer
    return Change(version, WhyNot[why_not[0].decode()] if why_not else None)


def pairs(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
