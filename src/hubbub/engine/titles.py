"""How rooms' names are written for show, in a database file.  All of it waits for the file, and is for threads.

A name that is written like what the room goes by leaves no row.
"""

from __future__ import annotations

import sqlite3

from hubbub.engine.schema import transaction
from hubbub.naming import old_identity

__all__ = ["drop_room", "find_title", "put_title", "rename_old_rooms"]

# Noted in the file once its rooms have the names that they go by.
FACT = "names"


def find_title(connection: sqlite3.Connection, room: str) -> str:
    """How a room's name is written for show; empty where nothing else was kept than what it goes by."""
    row = connection.execute("SELECT title FROM titles WHERE room = ?", (room,)).fetchone()
    return str(row[0]) if row else ""


def put_title(connection: sqlite3.Connection, room: str, title: str) -> None:
    """Keep how a room's name is written, unless that is kept."""
    with transaction(connection):
        connection.execute("INSERT OR IGNORE INTO titles VALUES (?, ?)", (room, title))


def drop_room(connection: sqlite3.Connection, room: str) -> None:
    """Forget how a room's name is written, and how far its users have read it."""
    with transaction(connection):
        connection.execute("DELETE FROM marks WHERE room = ?", (room,))
        connection.execute("DELETE FROM titles WHERE room = ?", (room,))


def rename_old_rooms(connection: sqlite3.Connection) -> list[str]:
    """Give the rooms of an earlier version the names that they go by, once; how they were written is shown.

    Returns:
        The names of those that stay as they are: another room goes by the name, or it is none any more.  What was said
        in them stays in the file, and nobody enters them.
    """
    if connection.execute("SELECT 1 FROM facts WHERE name = ?", (FACT,)).fetchone():
        return []
    with transaction(connection):
        names = [str(name) for (name,) in connection.execute("SELECT name FROM rooms ORDER BY id")]
        taken = set(names)
        renamed: list[tuple[str, str]] = []
        left: list[str] = []
        for name in names:
            identity = old_identity(name)
            if identity == name:
                continue
            if not identity or identity in taken:
                left.append(name)
            else:
                taken.add(identity)
                renamed.append((identity, name))
        connection.executemany("INSERT OR REPLACE INTO titles VALUES (?, ?)", renamed)
        connection.executemany("UPDATE rooms SET name = ? WHERE name = ?", renamed)
        rename_empty_rooms(connection, taken, renamed, left)
        # Two rooms may have had no more than a mark or an invitation under the new name: the first one stays.
        for table in ("marks", "invitations", "closed_rooms"):
            connection.executemany(f"UPDATE OR IGNORE {table} SET room = ? WHERE room = ?", renamed)  # noqa: S608  # ours
        connection.execute("UPDATE facts SET value = value + 1 WHERE name = 'access'")
        connection.execute("INSERT INTO facts VALUES (?, 'folded')", (FACT,))
    return left


def rename_empty_rooms(
    connection: sqlite3.Connection, taken: set[str], renamed: list[tuple[str, str]], left: list[str]
) -> None:
    """Add to `renamed` the rooms of which there are only invitations, or that they are closed."""
    known = {name for _, name in renamed} | taken | set(left)
    sql = "SELECT room FROM closed_rooms UNION SELECT room FROM invitations ORDER BY room"
    for (name,) in connection.execute(sql).fetchall():
        identity = old_identity(name)
        if name not in known and identity and identity != name and identity not in taken:
            taken.add(identity)
            renamed.append((identity, name))
