"""Accounts, sessions and one-time passwords in Redis, each change in one step of a script.

They are in few keys, hashes and indexes of all, and none to each user or session: so every key that a script needs is
named when it is called, as a cluster wants it where the slot is on its way to another server; and what expires does so
by the shared time (`steady`), and not by the wall clock of the server, which jumps.  Each change removes some of what
has expired.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from secrets import token_hex

from hubbub.acts import Role
from hubbub.engine import Account, Change, Grant, Listener, OtpLimit
from hubbub.engine.grants import grant_of, terms_of
from hubbub.engine.redis.access import PAGE
from hubbub.engine.redis.api_keys import RedisApiKeys
from hubbub.engine.redis.calls import QUICK_S, Calls
from hubbub.engine.redis.following import RedisFollowing
from hubbub.engine.redis.people import RedisPeople
from hubbub.engine.redis.servers import connect
from hubbub.engine.redis.steady import SteadyTime
from hubbub.engine.redis.target import RedisTarget

__all__ = ["RedisVault", "open_vault"]

# Sessions to a question whether they live.
ALIVE_AT_ONCE = 1000

# How the script of `issue_otp` says which limit was reached.
OTP_LIMITS = (None, OtpLimit.OF_ACCOUNT, OtpLimit.IN_ALL)

# How a one-time password says that its session is not one of the vault's.
OUTSIDE = "outside"


class RedisVault(RedisPeople, RedisApiKeys, RedisFollowing):
    """The vault in Redis.  Any number of processes may have it open."""

    def listen(self, listener: Listener) -> None:
        """Tell a listener of sessions that end, by this process's hand or as the bus tells."""
        self._listener = listener

    def heard_ended(self, data: bytes) -> None:
        """Take what was published on the vault's channel `ended`: a node and the sessions that it has ended."""
        node, *sessions = data.split(b"\0")
        if node.decode() != self._node:  # its own ones were told when they ended
            self._end(sessions)

    # Accounts

    async def account(self, user: str) -> Account | None:
        password_hash, standing = await self._run("account", user, within_s=QUICK_S)
        if password_hash is None:
            return None
        role = (standing or b"member").decode()
        return Account(user, password_hash.decode(), Role(role.rstrip("!")), role.endswith("!"))

    async def accounts(self) -> list[str]:
        users: set[str] = set()
        place: str | bytes = ""
        while True:
            _, (place, entries) = await self._run("pages", PAGE, "accounts", place)
            users.update(entry.decode() for entry in entries)
            if not place:
                return sorted(users)

    async def has_accounts(self) -> bool:
        [count] = await self._run("has_accounts")
        return bool(count)

    async def put_account(self, account: Account) -> None:
        what = account.user, account.password_hash, account.role.value, int(account.is_blocked)
        [ended] = await self._run("put_account", *self._telling, *what)
        self._end(ended)

    async def remove_account(self, user: str) -> bool:
        was_there, ended = await self._run("remove_account", *self._telling, user, is_repeatable=False)
        self._end(ended)
        await self.forget_follows(user)
        return bool(was_there)

    async def forget_room(self, room: str) -> Change:
        await self.forget_followers(room)
        return await super().forget_room(room)

    # The first account

    async def put_setup(self, secret: str) -> None:
        await self._run("put_setup", secret)

    async def take_setup(self, secret: str) -> bool:
        [is_taken] = await self._run("take_setup", secret, is_repeatable=False)
        return bool(is_taken)

    # Sessions

    async def put_session(self, grant: Grant, ttl_s: float, most: int = 0) -> None:
        what = grant.session, grant.user, round(ttl_s * 1000), most, terms_of(grant)
        [ended] = await self._run("put_session", *self._telling, *what, within_s=QUICK_S)
        self._end(ended)

    async def session(self, session: str) -> Grant | None:
        [found] = await self._run("session", session, within_s=QUICK_S)
        if found is None:
            return None
        user, _, terms = found.partition(b"\0")
        return grant_of(user.decode(), session, terms)

    async def end_session(self, session: str) -> None:
        [ended] = await self._run("end_session", *self._telling, session)
        self._end(ended)

    async def end_sessions(self, user: str) -> int:
        [ended] = await self._run("end_sessions", *self._telling, user, is_repeatable=False)
        self._end(ended)
        return len(ended)

    async def alive(self, sessions: Collection[str]) -> set[str]:
        asked = list(sessions)
        alive: set[str] = set()
        for start in range(0, len(asked), ALIVE_AT_ONCE):
            some = asked[start : start + ALIVE_AT_ONCE]
            [places] = await self._run("alive", *some)
            alive.update(some[place] for place in places)
        return alive

    # One-time passwords

    async def issue_otp(
        self, otp: str, grant: Grant, *, ttl_s: float, per_account: int, in_all: int
    ) -> OtpLimit | None:
        where = "" if grant.is_kept else OUTSIDE
        what = otp, grant.user, grant.session, round(ttl_s * 1000), per_account, in_all, where, terms_of(grant)
        [limit] = await self._run("issue_otp", *what, within_s=QUICK_S)
        return OTP_LIMITS[limit]

    async def take_otp(self, otp: str) -> Grant | None:
        # Where the answer is lost, asking again would say that it was wrong.
        [found] = await self._run("take_otp", otp, is_repeatable=False, within_s=QUICK_S)
        if found is None:
            return None
        user, session, where, terms = found
        return grant_of(user.decode(), session.decode(), terms, is_kept=where.decode() != OUTSIDE)


@asynccontextmanager
async def open_vault(target: RedisTarget, *, clock: Callable[[], float]) -> AsyncIterator[RedisVault]:
    """Open the vault alone; servers may be running on it.

    Args:
        clock: seconds that never go back.

    Raises:
        ConfigError: the target cannot be used.
    """
    calls = Calls(await connect(target, warns=False))
    try:
        yield RedisVault(calls, SteadyTime(clock), token_hex(8))
    finally:
        await calls.close()
