"""Files of an earlier schema, beyond what SQL can bring forward."""

from __future__ import annotations

import sqlite3

import msgspec

from hubbub.engine.schema import transaction
from hubbub.engine.stamp import DEDUPE_WINDOW_MS, digest_of

__all__ = ["adopt_older"]

decode_older = msgspec.msgpack.Decoder(list[tuple[int, int, int, str | None, str, bytes, str | None]]).decode


def adopt_older(connection: sqlite3.Connection) -> None:
    """Take over what a file of an earlier schema has elsewhere: a journal in a table, keys with messages."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone():
        return
    with transaction(connection):
        firsts = dict(connection.execute("SELECT id, first FROM rooms"))
        older = "INSERT OR IGNORE INTO messages (room, seq, sent, sender, type, body, key) VALUES (?, ?, ?, ?, ?, ?, ?)"
        for (batch,) in connection.execute("SELECT batch FROM journal ORDER BY id").fetchall():
            rows = decode_older(batch)
            connection.executemany(older, [row for row in rows if row[1] >= firsts[row[0]]])
        connection.execute("DROP TABLE journal")
        found = connection.execute(
            "SELECT room, seq, sent, sender, key, type, body FROM messages"
            " WHERE key IS NOT NULL AND sent > (SELECT max(sent) FROM messages) - ?",
            (DEDUPE_WINDOW_MS,),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO keys VALUES (0, ?, ?, ?, ?, ?, ?)",
            [(*fields[:5], digest_of(*fields[5:])) for fields in found.fetchall()],
        )
