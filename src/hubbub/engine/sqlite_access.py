"""Who may do what, in a database file.  All of it waits for the disk, and is for threads."""

from __future__ import annotations

import sqlite3

from hubbub.acts import Role
from hubbub.engine import MAX_INVITATIONS, Access, Change, WhyNot
from hubbub.engine.schema import snapshot, transaction
from hubbub.engine.sqlite_following import forget_followers

__all__ = [
    "close_room",
    "doom_room",
    "find_access",
    "find_version",
    "forget_room",
    "invite",
    "raise_version",
    "reopen_room",
    "set_blocked",
    "set_role",
    "uninvite",
]


def find_version(connection: sqlite3.Connection) -> int:
    """The version of what is kept."""
    (version,) = connection.execute("SELECT value FROM facts WHERE name = 'access'").fetchone()
    return int(version)


def raise_version(connection: sqlite3.Connection) -> Change:
    """Note a change, within its transaction."""
    sql = "UPDATE facts SET value = value + 1 WHERE name = 'access' RETURNING value"
    [(version,)] = connection.execute(sql).fetchall()
    return Change(int(version))


def no_change(connection: sqlite3.Connection, why_not: WhyNot) -> Change:
    """Say why nothing was changed."""
    return Change(find_version(connection), why_not)


def find_access(connection: sqlite3.Connection) -> Access:
    """All that is kept, as of one moment."""
    with snapshot(connection):
        version = find_version(connection)
        accounts = connection.execute(
            "SELECT user, role, is_blocked FROM accounts WHERE role != 'member' OR is_blocked"
        ).fetchall()
        invitations = connection.execute("SELECT room, user FROM invitations").fetchall()
        closed = connection.execute("SELECT room, is_doomed FROM closed_rooms").fetchall()
    invited: dict[str, set[str]] = {}
    for room, user in invitations:
        invited.setdefault(room, set()).add(user)
    return Access(
        version,
        {user: Role(role) for user, role, _ in accounts if role != Role.MEMBER},
        {user for user, _, is_blocked in accounts if is_blocked},
        invited,
        {room for room, _ in closed},
        {room for room, is_doomed in closed if is_doomed},
    )


# Accounts


def set_role(connection: sqlite3.Connection, user: str, role: Role) -> Change:
    """Give an account another role."""
    with transaction(connection):
        if not has_account(connection, user):
            return no_change(connection, WhyNot.NO_ACCOUNT)
        if role is not Role.ADMIN and is_last_admin(connection, user):
            return no_change(connection, WhyNot.LAST_ADMIN)
        connection.execute("UPDATE accounts SET role = ? WHERE user = ?", (role.value, user))
        return raise_version(connection)


def set_blocked(connection: sqlite3.Connection, user: str, *, is_blocked: bool) -> Change:
    """Block or unblock an account, within a transaction."""
    if not has_account(connection, user):
        return no_change(connection, WhyNot.NO_ACCOUNT)
    if is_blocked and is_last_admin(connection, user):
        return no_change(connection, WhyNot.LAST_ADMIN)
    connection.execute("UPDATE accounts SET is_blocked = ? WHERE user = ?", (is_blocked, user))
    return raise_version(connection)


def has_account(connection: sqlite3.Connection, user: str) -> bool:
    return connection.execute("SELECT 1 FROM accounts WHERE user = ?", (user,)).fetchone() is not None


def is_last_admin(connection: sqlite3.Connection, user: str) -> bool:
    """Whether a user is the only admin that can log in."""
    sql = "SELECT user FROM accounts WHERE role = 'admin' AND NOT is_blocked LIMIT 2"
    return connection.execute(sql).fetchall() == [(user,)]


# Rooms


def invite(connection: sqlite3.Connection, room: str, user: str) -> Change:
    """Invite a user to a room."""
    with transaction(connection):
        if not has_account(connection, user):
            return no_change(connection, WhyNot.NO_ACCOUNT)
        (count,) = connection.execute("SELECT count(*) FROM invitations").fetchone()
        if count >= MAX_INVITATIONS:
            return no_change(connection, WhyNot.TOO_MANY)
        connection.execute("INSERT OR IGNORE INTO invitations VALUES (?, ?)", (room, user))
        return raise_version(connection)


def uninvite(connection: sqlite3.Connection, room: str, user: str) -> Change:
    """Take an invitation back."""
    with transaction(connection):
        connection.execute("DELETE FROM invitations WHERE room = ? AND user = ?", (room, user))
        return raise_version(connection)


def close_room(connection: sqlite3.Connection, room: str) -> Change:
    """Close a room; one that is to be deleted stays so."""
    return close(connection, "INSERT OR IGNORE INTO closed_rooms VALUES (?, 0)", room)


def doom_room(connection: sqlite3.Connection, room: str) -> Change:
    """Close a room, and note that it is to be deleted."""
    return close(connection, "INSERT OR REPLACE INTO closed_rooms VALUES (?, 1)", room)


def close(connection: sqlite3.Connection, sql: str, room: str) -> Change:
    with transaction(connection):
        is_closed = connection.execute("SELECT 1 FROM closed_rooms WHERE room = ?", (room,)).fetchone() is not None
        (count,) = connection.execute("SELECT count(*) FROM closed_rooms").fetchone()
        if not is_closed and count >= MAX_INVITATIONS:
            return no_change(connection, WhyNot.TOO_MANY)
        connection.execute(sql, (room,))
        return raise_version(connection)


def reopen_room(connection: sqlite3.Connection, room: str) -> Change:
    """Open a room that is closed and not to be deleted."""
    with transaction(connection):
        connection.execute("DELETE FROM closed_rooms WHERE room = ? AND NOT is_doomed", (room,))
        return raise_version(connection)


def forget_room(connection: sqlite3.Connection, room: str) -> Change:
    """Forget that a room is closed, who is invited to it, and who follows it."""
    with transaction(connection):
        connection.execute("DELETE FROM closed_rooms WHERE room = ?", (room,))
        connection.execute("DELETE FROM invitations WHERE room = ?", (room,))
        forget_followers(connection, room)
        return raise_version(connection)
