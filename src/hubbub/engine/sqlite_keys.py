"""Keys in a database file."""

from __future__ import annotations

import sqlite3

import msgspec

from hubbub.engine.database import Database
from hubbub.engine.keys import MAX_KEYS, ApiKey, KeyKept
from hubbub.engine.schema import transaction

__all__ = ["SqliteKeys"]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(ApiKey).decode


class SqliteKeys:
    """Keys, a part of the vault in a database.  None is remembered: a key that is revoked is refused at once."""

    _database: Database

    async def put_api_key(self, secret: str, key: ApiKey) -> KeyKept:
        return await self._database.write(put_key, self._database.writing, secret, key)

    async def api_keys(self) -> list[ApiKey]:
        return await self._database.read(find_keys, self._database.reading)

    async def api_key(self, secret: str) -> ApiKey | None:
        return await self._database.read(find_key, self._database.reading, secret)

    async def drop_api_key(self, name: str) -> bool:
        return await self._database.write(drop_key, self._database.writing, name)


# In the file.  All of it waits for the disk, and is for threads.


def put_key(connection: sqlite3.Connection, secret: str, key: ApiKey) -> KeyKept:
    with transaction(connection):
        count, same = connection.execute("SELECT count(*), total(name = ?) FROM api_keys", (key.name,)).fetchone()
        if same:
            return KeyKept.TAKEN
        if count >= MAX_KEYS:
            return KeyKept.TOO_MANY
        connection.execute("INSERT INTO api_keys VALUES (?, ?, ?)", (secret, key.name, encode(key)))
        return KeyKept.DONE


def find_keys(connection: sqlite3.Connection) -> list[ApiKey]:
    return [decode(key) for (key,) in connection.execute("SELECT key FROM api_keys ORDER BY name")]


def find_key(connection: sqlite3.Connection, secret: str) -> ApiKey | None:
    row = connection.execute("SELECT key FROM api_keys WHERE secret = ?", (secret,)).fetchone()
    return decode(row[0]) if row else None


def drop_key(connection: sqlite3.Connection, name: str) -> bool:
    with transaction(connection):
        return bool(connection.execute("DELETE FROM api_keys WHERE name = ?", (name,)).rowcount)
