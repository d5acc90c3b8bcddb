"""Accounts and sessions in a database file; what lives for seconds, in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

import msgspec

from hubbub.acts import Role
from hubbub.engine import Access, Account, Change, Grant, Listener, OtpLimit
from hubbub.engine import sqlite_access as kept
from hubbub.engine import sqlite_people as people
from hubbub.engine.database import Database
from hubbub.engine.grants import grant_of, terms_of
from hubbub.engine.having import Having
from hubbub.engine.local import Silent
from hubbub.engine.otps import Otps
from hubbub.engine.schema import transaction
from hubbub.engine.sqlite_following import forget_follows
from hubbub.engine.sqlite_keys import SqliteKeys
from hubbub.errors import EngineError

__all__ = ["SqliteVault"]

# Sessions that are remembered, so that each request does not ask the file.
MOST_REMEMBERED = 50_000

# Sessions to a question whether they live: other reads pass in between.
ALIVE_AT_ONCE = 1000


class SqliteVault(people.SqlitePeople, SqliteKeys):
    """The vault in a database.

    Several processes may have the file open: the server, and `hubbub user`.  A session that another one ends is taken
    to be alive until the next call of `alive`.

    Args:
        clock: seconds that never go back, for whatever has to end in time.
        wall: seconds since 1970, asked once: where the ends of sessions that the file has are counted from.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._wall_ahead = wall() - clock()
        self._listener: Listener = Silent()
        self._otps = Otps(clock)
        self._named = Having(database, people.NAMED)
        self._setup: set[str] = set()
        # Sessions with their end, as the file had them when `_changes` was what it is.
        self._remembered: dict[str, tuple[Grant, float]] = {}
        self._changes = 0

    def _now(self) -> float:
        """Seconds since 1970, whatever the wall clock has done in the meantime."""
        return self._clock() + self._wall_ahead

    # Accounts

    async def account(self, user: str) -> Account | None:
        return await self._database.read(find_account, self._database.reading, user)

    async def accounts(self) -> list[str]:
        return await self._database.read(list_accounts, self._database.reading)

    async def has_accounts(self) -> bool:
        return await self._database.read(has_accounts, self._database.reading)

    async def put_account(self, account: Account) -> None:
        ended = await self._database.write(put_account, self._database.writing, account, self._now())
        self._end(account.user, ended)

    async def remove_account(self, user: str) -> bool:
        ended = await self._database.write(remove_account, self._database.writing, user, self._now())
        self._end(user, ended or [])
        return ended is not None

    async def change_password(self, user: str, old_hash: str, new_hash: str, keep: str) -> bool:
        ended = await self._database.write(
            change_password, self._database.writing, user, old_hash, new_hash, keep, self._now()
        )
        self._end(user, ended or [])
        return ended is not None

    # Who may do what

    async def set_role(self, user: str, role: Role) -> Change:
        return await self._database.write(kept.set_role, self._database.writing, user, role)

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        change, ended = await self._database.write(set_blocked, self._database.writing, user, is_blocked, self._now())
        self._end(user, ended)
        return change

    async def invite(self, room: str, user: str) -> Change:
        return await self._database.write(kept.invite, self._database.writing, room, user)

    async def uninvite(self, room: str, user: str) -> Change:
        return await self._database.write(kept.uninvite, self._database.writing, room, user)

    async def close_room(self, room: str) -> Change:
        return await self._database.write(kept.close_room, self._database.writing, room)

    async def reopen_room(self, room: str) -> Change:
        return await self._database.write(kept.reopen_room, self._database.writing, room)

    async def doom_room(self, room: str) -> Change:
        return await self._database.write(kept.doom_room, self._database.writing, room)

    async def forget_room(self, room: str) -> Change:
        return await self._database.write(kept.forget_room, self._database.writing, room)

    async def access(self) -> Access:
        return await self._database.read(kept.find_access, self._database.reading)

    async def access_version(self) -> int:
        return await self._database.read(kept.find_version, self._database.reading)

    # The first account

    async def put_setup(self, secret: str) -> None:
        if not await self.has_accounts():
            self._setup.add(secret)

    async def take_setup(self, secret: str) -> bool:
        if secret not in self._setup:
            return False
        taken, self._setup = self._setup, set()  # before the wait: of two racing takes, one finds it
        try:
            return not await self.has_accounts()
        except EngineError:
            self._setup |= taken
            raise

    # Sessions

    async def put_session(self, grant: Grant, ttl_s: float, most: int = 0) -> None:
        changes, now = self._changes, self._now()
        expires = now + ttl_s
        ended = await self._database.write(put_session, self._database.writing, grant, expires, now, most)
        self._remember(grant, expires, changes)
        if ended:
            self._end(grant.user, ended)

    async def session(self, session: str) -> Grant | None:
        found = self._remembered.get(session)
        if found is None:
            changes = self._changes
            found = await self._database.read(find_session, self._database.reading, session)
            if found is None:
                return None
            self._remember(*found, changes)
        grant, expires = found
        return grant if self._now() < expires else None

    async def end_session(self, session: str) -> None:
        user = await self._database.write(end_session, self._database.writing, session, self._now())
        if user is not None:
            self._end(user, [session])

    async def end_sessions(self, user: str) -> int:
        ended = await self._database.write(end_all_sessions, self._database.writing, user, self._now())
        self._otps.end_outside(user)
        self._end(user, ended)
        return len(ended)

    async def alive(self, sessions: Collection[str]) -> set[str]:
        # Those that are remembered and not asked about may have been ended by another process, too.
        asked = list(self._remembered.keys() | set(sessions))
        dead: set[str] = set()
        for start in range(0, len(asked), ALIVE_AT_ONCE):
            some = asked[start : start + ALIVE_AT_ONCE]
            dead.update(await self._database.read(find_dead, self._database.reading, some, self._now()))
        for session in dead & self._remembered.keys():
            # Its one-time passwords are good for nothing, and would count against the limits.
            self._otps.end(self._remembered[session][0].user, [session])
        self._forget(dead)
        return set(sessions) - dead

    def _end(self, user: str, sessions: Collection[str]) -> None:
        """Sessions of a user have ended by this process's hand."""
        self._forget(sessions)
        self._otps.end(user, sessions)
        for session in sessions:
            self._listener.ended(session)

    def _remember(self, grant: Grant, expires: float, changes: int) -> None:
        if changes != self._changes:
            return  # some session has ended since the file was asked: it may be this one
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[grant.session] = grant, expires

    def _forget(self, sessions: Collection[str]) -> None:
        self._changes += 1
        for session in sessions:
            self._remembered.pop(session, None)

    # One-time passwords

    async def issue_otp(
        self, otp: str, grant: Grant, *, ttl_s: float, per_account: int, in_all: int
    ) -> OtpLimit | None:
        return self._otps.issue(otp, grant, ttl_s, per_account=per_account, in_all=in_all)

    async def take_otp(self, otp: str) -> Grant | None:
        grant = self._otps.take(otp)
        if grant is None or not grant.is_kept:
            return grant
        return grant if await self.session(grant.session) is not None else None


# In the file.  All of it waits for the disk, and is for threads.


def find_account(connection: sqlite3.Connection, user: str) -> Account | None:
    sql = "SELECT user, password_hash, role, is_blocked FROM accounts WHERE user = ?"
    row = connection.execute(sql, (user,)).fetchone()
    return Account(row[0], row[1], Role(row[2]), bool(row[3])) if row else None


def list_accounts(connection: sqlite3.Connection) -> list[str]:
    return [user for (user,) in connection.execute("SELECT user FROM accounts ORDER BY user")]


def has_accounts(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchone() is not None


def put_account(connection: sqlite3.Connection, account: Account, now: float) -> list[str]:
    """Add or change an account; the live sessions that this has ended."""
    sql = (
        "INSERT INTO accounts (user, password_hash, role, is_blocked) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET password_hash = excluded.password_hash"
    )
    with transaction(connection):
        is_new = find_account(connection, account.user) is None
        connection.execute(sql, (account.user, account.password_hash, account.role.value, account.is_blocked))
        if is_new:
            people.note_account(connection, account.user, now)
        kept.raise_version(connection)
        return end_sessions(connection, account.user, now)


def change_password(
    connection: sqlite3.Connection, user: str, old_hash: str, new_hash: str, keep: str, now: float
) -> list[str] | None:
    """Change a password; the live sessions that this has ended, None where it is another one by now."""
    with transaction(connection):
        sql = "UPDATE accounts SET password_hash = ? WHERE user = ? AND password_hash = ?"
        if not connection.execute(sql, (new_hash, user, old_hash)).rowcount:
            return None
        kept.raise_version(connection)
        return end_sessions(connection, user, now, keep)


def remove_account(connection: sqlite3.Connection, user: str, now: float) -> list[str] | None:
    """Remove an account and what is its user's; the live sessions that this has ended, None where there is none."""
    with transaction(connection):
        if not connection.execute("DELETE FROM accounts WHERE user = ?", (user,)).rowcount:
            return None
        connection.execute("DELETE FROM marks WHERE user = ?", (user,))
        # Another account may get the name.
        connection.execute("DELETE FROM invitations WHERE user = ?", (user,))
        forget_follows(connection, user)
        people.forget_person(connection, user)
        kept.raise_version(connection)
        return end_sessions(connection, user, now)


def set_blocked(connection: sqlite3.Connection, user: str, is_blocked: bool, now: float) -> tuple[Change, list[str]]:
    """Block or unblock an account; the live sessions that this has ended."""
    with transaction(connection):
        change = kept.set_blocked(connection, user, is_blocked=is_blocked)
        is_ending = is_blocked and change.why_not is None
        if is_ending:
            people.drop_links_of(connection, user)
        return change, end_sessions(connection, user, now) if is_ending else []


def end_all_sessions(connection: sqlite3.Connection, user: str, now: float) -> list[str]:
    """End all sessions of a user; those that were alive."""
    with transaction(connection):
        return end_sessions(connection, user, now)


def end_sessions(connection: sqlite3.Connection, user: str, now: float, keep: str = "") -> list[str]:
    """End all sessions of a user, but one that is to be kept, within a transaction; those that were alive."""
    sql = "DELETE FROM sessions WHERE user = ? AND session != ? RETURNING session, expires"
    ended = connection.execute(sql, (user, keep)).fetchall()
    return [session for session, expires in ended if now < expires]


def put_session(connection: sqlite3.Connection, grant: Grant, expires: float, now: float, most: int) -> list[str]:
    """Add a session, and delete the expired ones; the user's oldest beyond `most`, which this has ended."""
    # Those that end last began last.  The new one stays, whatever the lifetime of others is.
    oldest = (
        "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE user = ?"
        " ORDER BY expires DESC LIMIT -1 OFFSET ?) RETURNING session"
    )
    with transaction(connection):
        connection.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
        ended = connection.execute(oldest, (grant.user, most - 1)).fetchall() if most else []
        row = grant.session, grant.user, expires, terms_of(grant)
        connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
        return [session for (session,) in ended]


def find_session(connection: sqlite3.Connection, session: str) -> tuple[Grant, float] | None:
    row = connection.execute("SELECT user, expires, terms FROM sessions WHERE session = ?", (session,)).fetchone()
    return (grant_of(row[0], session, row[2]), row[1]) if row else None


def end_session(connection: sqlite3.Connection, session: str, now: float) -> str | None:
    """End a session; whose it was, if it was alive."""
    sql = "DELETE FROM sessions WHERE session = ? RETURNING user, expires"
    ended = connection.execute(sql, (session,)).fetchall()
    return ended[0][0] if ended and now < ended[0][1] else None


def find_dead(connection: sqlite3.Connection, sessions: list[str], now: float) -> list[str]:
    """Those of the sessions that do not live.  One step of SQLite's goes over many: the loop keeps Python's lock."""
    sql = (
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE session = value AND expires > ?)"
    )
    return [session for (session,) in connection.execute(sql, (msgspec.json.encode(sessions).decode(), now))]
