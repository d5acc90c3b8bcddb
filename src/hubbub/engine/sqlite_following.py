"""Which rooms users follow, in a database file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import msgspec

from hubbub.engine.database import Database
from hubbub.engine.following import MAX_FOLLOWED, Followed, Following
from hubbub.engine.having import Having
from hubbub.engine.schema import transaction

__all__ = ["FOLLOWING", "SqliteFollowing", "find_names", "find_titles", "forget_followers", "forget_follows"]


# Users that follow any room.
FOLLOWING = "SELECT json_group_array(DISTINCT user) FROM follows"


class SqliteFollowing:
    """The rooms that users follow, in a database."""

    _database: Database
    _following: Having

    async def follow(self, user: str, room: str) -> Following:
        self._following.add(user)
        return await self._database.write(follow, self._database.writing, user, room)

    async def unfollow(self, user: str, room: str) -> bool:
        return await self._database.write(unfollow, self._database.writing, user, room)

    async def mute(self, user: str, room: str, *, is_muted: bool) -> bool:
        return await self._database.write(mute, self._database.writing, user, room, is_muted)

    async def followed(self, user: str) -> list[Followed]:
        if not await self._following.may_have(user):
            return []
        return await self._database.read(find_followed, self._database.reading, user)

    async def followers(self, room: str, *, after: str = "", limit: int) -> list[str]:
        return await self._database.read(find_followers, self._database.reading, room, after, limit)


# In the file.  All of it waits for the disk, and is for threads.  What may be many rows comes back as one: each step of
# a statement waits for Python's lock.


def follow(connection: sqlite3.Connection, user: str, room: str) -> Following:
    """Have a user follow a room."""
    with transaction(connection):
        sql = "SELECT 1 FROM follows WHERE user = ? AND room = ?"
        if connection.execute(sql, (user, room)).fetchone():
            return Following.KNOWN
        (count,) = connection.execute("SELECT count(*) FROM follows WHERE user = ?", (user,)).fetchone()
        if count >= MAX_FOLLOWED:
            return Following.TOO_MANY
        connection.execute("INSERT INTO follows VALUES (?, ?, 0)", (user, room))
        return Following.ADDED


def unfollow(connection: sqlite3.Connection, user: str, room: str) -> bool:
    """Have a user follow a room no more; whether it did."""
    with transaction(connection):
        sql = "DELETE FROM follows WHERE user = ? AND room = ?"
        return bool(connection.execute(sql, (user, room)).rowcount)


def mute(connection: sqlite3.Connection, user: str, room: str, is_muted: bool) -> bool:
    """Mute or unmute a room that a user follows; whether it does."""
    with transaction(connection):
        sql = "UPDATE follows SET is_muted = ? WHERE user = ? AND room = ?"
        return bool(connection.execute(sql, (is_muted, user, room)).rowcount)


def find_followed(connection: sqlite3.Connection, user: str) -> list[Followed]:
    """The rooms that a user follows, with the user's marks."""
    sql = (
        "SELECT json_group_array(json_array(room, is_muted, coalesce(seq, 0)))"
        " FROM follows LEFT JOIN marks USING (user, room) WHERE user = ?"
    )
    (found,) = connection.execute(sql, (user,)).fetchone()
    return sorted((Followed(room, bool(muted), read) for room, muted, read in decode_followed(found)), key=by_room)


def find_followers(connection: sqlite3.Connection, room: str, after: str, limit: int) -> list[str]:
    """Users that follow a room, in order."""
    sql = (
        "SELECT json_group_array(user) FROM"
        " (SELECT user FROM follows WHERE room = ? AND user > ? ORDER BY user LIMIT ?)"
    )
    (found,) = connection.execute(sql, (room, after, limit)).fetchone()
    return decode_names(found)


def forget_follows(connection: sqlite3.Connection, user: str) -> None:
    """Forget all that a user follows, within a transaction."""
    connection.execute("DELETE FROM follows WHERE user = ?", (user,))


def forget_followers(connection: sqlite3.Connection, room: str) -> None:
    """Forget all that follow a room, within a transaction."""
    connection.execute("DELETE FROM follows WHERE room = ?", (room,))


def find_titles(connection: sqlite3.Connection, rooms: Collection[str]) -> dict[str, str]:
    """How the names of rooms are written, of those that have a title."""
    sql = "SELECT json_group_array(json_array(room, title)) FROM titles WHERE room IN (SELECT value FROM json_each(?))"
    (found,) = connection.execute(sql, (msgspec.json.encode(list(rooms)).decode(),)).fetchone()
    return dict(decode_titles(found))


def find_names(connection: sqlite3.Connection, prefix: str, after: str, limit: int) -> list[str]:
    """Names of rooms, in order: those after one that begin with a prefix."""
    sql = (
        "SELECT json_group_array(name) FROM"
        " (SELECT name FROM rooms WHERE name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?)"
    )
    # No name goes on with a character that no name has.
    (found,) = connection.execute(sql, (after, prefix, prefix + "\U0010ffff", limit)).fetchone()
    return decode_names(found)


def by_room(followed: Followed) -> str:
    return followed.room


decode_followed = msgspec.json.Decoder(list[tuple[str, int, int]]).decode
decode_names = msgspec.json.Decoder(list[str]).decode
decode_titles = msgspec.json.Decoder(list[tuple[str, str]]).decode
