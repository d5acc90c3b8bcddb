"""Which users have something in a database file that most have not: known in memory, so that it need not be asked."""

from __future__ import annotations

import asyncio
import sqlite3

import msgspec

from hubbub.engine.database import Database

__all__ = ["Having"]


class Having:
    """All users that have it, and maybe some that had.

    One process uses the file at a time but for what `hubbub user` does beside it, which gives nobody anything.

    Args:
        sql: finds them, as one array of JSON.
    """

    def __init__(self, database: Database, sql: str) -> None:
        self._database = database
        self._sql = sql
        self._users: set[str] = set()
        self._is_read = False
        self._reading = asyncio.Lock()

    def add(self, user: str) -> None:
        """Take note of a user that is about to have it."""
        self._users.add(user)

    async def may_have(self, user: str) -> bool:
        """Whether a user may have it; of the others it is certain.

        Raises:
            EngineError: the file cannot be read.
        """
        if not self._is_read:
            async with self._reading:
                if not self._is_read:
                    self._users.update(await self._database.read(find, self._database.reading, self._sql))
                    self._is_read = True
        return user in self._users


def find(connection: sqlite3.Connection, sql: str) -> list[str]:
    (found,) = connection.execute(sql).fetchone()
    return msgspec.json.decode(found, type=list[str])
