"""Display names and links in a database file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import msgspec

from hubbub.acts import Role
from hubbub.engine import NewUser, Profile, SignUp, SignUpLink, WhyNot
from hubbub.engine.database import Database
from hubbub.engine.having import Having
from hubbub.engine.people import MAX_LINKS, MAX_LINKS_OF_USER
from hubbub.engine.schema import transaction
from hubbub.engine.sqlite_access import raise_version
from hubbub.looks import key_of_user

__all__ = ["NAMED", "SqlitePeople", "drop_links_of", "forget_person", "note_account"]


# Users with a display name.
NAMED = "SELECT json_group_array(user) FROM (SELECT user FROM accounts WHERE name != '' UNION SELECT user FROM shown)"


class SqlitePeople:
    """What is kept of people: a part of the vault in a database."""

    _database: Database
    _named: Having

    def _now(self) -> float:
        raise NotImplementedError

    async def profiles(self, users: Collection[str]) -> dict[str, Profile]:
        return await self._database.read(find_profiles, self._database.reading, list(users))

    async def name_of(self, user: str) -> str:
        if not await self._named.may_have(user):
            return ""
        found = await self.profiles([user])
        return found[user].name if user in found else ""

    async def set_name(self, user: str, name: str, keys: Collection[str]) -> bool | None:
        if name:
            self._named.add(user)
        return await self._database.write(set_name, self._database.writing, user, name, list(keys))

    async def show_as(self, user: str, name: str) -> None:
        if name:
            self._named.add(user)
        await self._database.write(show_as, self._database.writing, user, name)

    async def put_link(self, secret: str, link: SignUpLink) -> WhyNot | None:
        return await self._database.write(put_link, self._database.writing, secret, link, self._now())

    async def links(self) -> list[SignUpLink]:
        return await self._database.read(find_links, self._database.reading, self._now())

    async def link(self, secret: str) -> SignUpLink | None:
        return await self._database.read(find_link, self._database.reading, secret, self._now())

    async def drop_link(self, id_: str) -> bool:
        return await self._database.write(drop_link, self._database.writing, id_, self._now())

    async def sign_up(self, secret: str, new: NewUser) -> SignUp:
        if new.name:
            self._named.add(new.user)
        return await self._database.write(sign_up, self._database.writing, secret, new, self._now())


# In the file.  All of it waits for the disk, and is for threads.


def find_profiles(connection: sqlite3.Connection, users: list[str]) -> dict[str, Profile]:
    sql = (
        "WITH asked AS (SELECT value FROM json_each(?))"
        " SELECT user, name, role, since FROM accounts WHERE user IN asked"
        " UNION ALL SELECT user, name, 'member', NULL FROM shown WHERE user IN asked"
    )
    rows = connection.execute(sql, (msgspec.json.encode(users).decode(),)).fetchall()
    return {user: Profile(user, name, Role(role), since) for user, name, role, since in rows}


# Names


def set_name(connection: sqlite3.Connection, user: str, name: str, keys: list[str]) -> bool | None:
    with transaction(connection):
        if connection.execute("SELECT 1 FROM accounts WHERE user = ?", (user,)).fetchone() is None:
            return None
        if is_taken(connection, keys, user):
            return False
        connection.execute("UPDATE accounts SET name = ? WHERE user = ?", (name, user))
        connection.execute("DELETE FROM looks WHERE user = ?", (user,))
        note_looks(connection, user, [key_of_user(user), *keys])
        return True


def show_as(connection: sqlite3.Connection, user: str, name: str) -> None:
    with transaction(connection):
        connection.execute("DELETE FROM shown WHERE user = ?", (user,))
        if name and connection.execute("SELECT 1 FROM accounts WHERE user = ?", (user,)).fetchone() is None:
            connection.execute("INSERT INTO shown VALUES (?, ?)", (user, name))


def is_taken(connection: sqlite3.Connection, keys: Collection[str], user: str) -> bool:
    """Whether another account looks so."""
    sql = "SELECT 1 FROM looks WHERE key = ? AND user != ? LIMIT 1"
    return any(connection.execute(sql, (key, user)).fetchone() is not None for key in keys)


def note_looks(connection: sqlite3.Connection, user: str, keys: Collection[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO looks VALUES (?, ?)", [(key, user) for key in keys])


def note_account(connection: sqlite3.Connection, user: str, now: float) -> None:
    """Take note of an account that may be new, within its transaction."""
    connection.execute("DELETE FROM shown WHERE user = ?", (user,))
    connection.execute("UPDATE accounts SET since = ? WHERE user = ? AND since IS NULL", (int(now * 1000), user))
    note_looks(connection, user, [key_of_user(user)])


def forget_person(connection: sqlite3.Connection, user: str) -> None:
    """Forget what is kept of an account that is gone, within the transaction."""
    connection.execute("DELETE FROM looks WHERE user = ?", (user,))
    drop_links_of(connection, user)


# Links


def put_link(connection: sqlite3.Connection, secret: str, link: SignUpLink, now: float) -> WhyNot | None:
    with transaction(connection):
        may = "SELECT 1 FROM accounts WHERE user = ? AND NOT is_blocked"
        if link.by and connection.execute(may, (link.by,)).fetchone() is None:
            return WhyNot.NO_ACCOUNT
        connection.execute("DELETE FROM links WHERE ends <= ?", (now,))
        in_all, of_user = connection.execute("SELECT count(*), total(maker = ?) FROM links", (link.by,)).fetchone()
        if in_all >= MAX_LINKS or (link.by and of_user >= MAX_LINKS_OF_USER):
            return WhyNot.TOO_MANY
        row = secret, link.id, link.by, link.role.value, link.uses, now + link.left_s, link.note
        connection.execute("INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return None


def find_links(connection: sqlite3.Connection, now: float) -> list[SignUpLink]:
    sql = "SELECT id, maker, role, uses, ends, note FROM links WHERE ends > ? ORDER BY ends, id"
    return [link_of(row, now) for row in connection.execute(sql, (now,))]


def find_link(connection: sqlite3.Connection, secret: str, now: float) -> SignUpLink | None:
    sql = "SELECT id, maker, role, uses, ends, note FROM links WHERE secret = ? AND ends > ?"
    row = connection.execute(sql, (secret, now)).fetchone()
    return None if row is None else link_of(row, now)


def link_of(row: tuple[str, str, str, int, float, str], now: float) -> SignUpLink:
    id_, by, role, uses, ends, note = row
    return SignUpLink(id_, by, Role(role), uses, ends - now, note)


def drop_link(connection: sqlite3.Connection, id_: str, now: float) -> bool:
    with transaction(connection):
        ended = connection.execute("DELETE FROM links WHERE id = ? RETURNING ends", (id_,)).fetchall()
        return bool(ended) and now < ended[0][0]


def drop_links_of(connection: sqlite3.Connection, user: str) -> None:
    """End the links that a user has made, within a transaction."""
    connection.execute("DELETE FROM links WHERE maker = ?", (user,))


def sign_up(connection: sqlite3.Connection, secret: str, new: NewUser, now: float) -> SignUp:
    with transaction(connection):
        link = find_link(connection, secret, now)
        if link is None:
            return SignUp.NO_LINK
        there = connection.execute("SELECT 1 FROM accounts WHERE user = ?", (new.user,)).fetchone()
        if there is not None or is_taken(connection, new.keys, new.user):
            return SignUp.TAKEN
        if link.uses > 1:
            connection.execute("UPDATE links SET uses = uses - 1 WHERE secret = ?", (secret,))
        else:
            connection.execute("DELETE FROM links WHERE secret = ?", (secret,))
        sql = "INSERT INTO accounts (user, password_hash, role, name) VALUES (?, ?, ?, ?)"
        connection.execute(sql, (new.user, new.password_hash, link.role.value, new.name))
        note_account(connection, new.user, now)
        note_looks(connection, new.user, new.keys)
        raise_version(connection)
        return SignUp.DONE
