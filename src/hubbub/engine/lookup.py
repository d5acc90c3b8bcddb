"""Looking words up in the index, in a thread of its own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from hubbub.engine.damage import is_good
from hubbub.engine.index import SEQ_BITS, SEQ_MASK, connect
from hubbub.engine.schema import snapshot
from hubbub.engine.searching import Spot, TooLong
from hubbub.events import Message, encode

__all__ = ["IndexReader", "Looked"]

# A search that cannot say how far it has got goes on for so long before it is given up.
MOST_OVERTIME_S = 10.0


class Looked(NamedTuple):
    """What the index has found; `next` as in `Hits`."""

    messages: list[Message]
    next: Spot | None
    spent_s: float


class IndexReader:
    """The index, as the thread sees it that searches.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, database: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self._database = database
        self._clock = clock
        self._connection: sqlite3.Connection
        self._opened: list[sqlite3.Connection] = []

    def open(self) -> None:
        self._connection = connect(self._database)
        self._opened.append(self._connection)

    def close(self) -> None:
        """Close it, if it was opened."""
        while self._opened:
            self._opened.pop().close()

    def search(self, match: str, rooms: Iterable[tuple[str, int]], before: Spot, limit: int, within_s: float) -> Looked:
        """The newest messages of some rooms that match.

        Args:
            match: an expression of FTS5.
            rooms: their names, each with the seq before which it is searched.
            within_s: after so many seconds no slice is begun, where it can be said how far the search has got.

        Raises:
            TooLong: it takes far too long.
        """
        began = self._clock()
        with snapshot(self._connection):
            self._want(rooms)
            hits, stop = self._look(match, before, limit, began, began + within_s)
            hits = sorted((hit for hit in hits if hit.sent > stop), reverse=True)[:limit]
            messages = self._fetch(hits)
        # A place of no message, where the time was over: after all that were sent later.
        end = hits[-1] if len(hits) == limit else Spot(stop + 1, "", 0) if stop >= 0 else None
        return Looked(messages, end, self._clock() - began)

    def _want(self, rooms: Iterable[tuple[str, int]]) -> None:
        self._connection.execute("DELETE FROM wanted")
        self._connection.execute(
            "INSERT INTO wanted SELECT r.id, r.name, value ->> 1 FROM json_each(?)"
            " JOIN log.rooms r ON r.name = value ->> 0",
            (encode(list(rooms)).decode(),),
        )

    def _look(self, match: str, before: Spot, limit: int, began: float, until: float) -> tuple[list[Spot], int]:
        """The newest matches, and before or at what time there may be others; -1 where there are none."""
        slices = self._connection.execute(
            "SELECT id, newest FROM slices s WHERE oldest <= ? AND count > 0 AND"
            " EXISTS (SELECT 1 FROM wanted w JOIN parts p ON p.slice = s.id AND p.room = w.room) ORDER BY newest DESC",
            (before.sent,),
        ).fetchall()
        hits: list[Spot] = []
        for slice_, newest in slices:
            is_enough = len(hits) == limit and hits[-1].sent > newest
            # Where slices overlap in time, to end before one of them may mean to end where the search has begun.
            gets_on = newest + 1 < before.sent
            if is_enough or (gets_on and slice_ != slices[0][0] and self._clock() >= until):
                return hits, newest
            if self._clock() >= until + MOST_OVERTIME_S:
                raise TooLong(self._clock() - began)
            hits = sorted(hits + self._look_in(slice_, match, before, limit), reverse=True)[:limit]
        return hits, -1

    def _look_in(self, slice_: int, match: str, before: Spot, limit: int) -> list[Spot]:
        sql = f"""
            SELECT json_group_array(json_array(sent, name, seq)) FROM (
                SELECT m.sent, w.name, m.seq FROM slice_{slice_} f
                CROSS JOIN wanted w ON w.room = f.rowid >> {SEQ_BITS}
                CROSS JOIN log.messages m ON m.room = w.room AND m.seq = f.rowid & {SEQ_MASK}
                WHERE slice_{slice_} MATCH ? AND f.rowid & {SEQ_MASK} < w.stop
                AND f.rowid BETWEEN (SELECT min(room) << {SEQ_BITS} FROM wanted)
                AND (SELECT max(room) << {SEQ_BITS} | {SEQ_MASK} FROM wanted)
                AND (m.sent, w.name, m.seq) < (?, ?, ?)
                ORDER BY m.sent DESC, w.name DESC, m.seq DESC LIMIT ?
            )
        """  # noqa: S608  # numbers
        (found,) = self._connection.execute(sql, (match, *before, limit)).fetchone()
        return msgspec.json.decode(found, type=list[Spot])

    def _fetch(self, hits: Sequence[Spot]) -> list[Message]:
        """The messages of some places, as far as they are good."""
        sql = """
            SELECT json_group_array(json_array(m.seq, m.sent, m.sender, m.type, hex(m.body), m.crc, r.name))
            FROM json_each(?) e JOIN log.rooms r ON r.name = e.value ->> 1
            JOIN log.messages m ON m.room = r.id AND m.seq = e.value ->> 2
        """
        (found,) = self._connection.execute(sql, (encode(hits).decode(),)).fetchone()
        messages = []
        for seq, sent, sender, type_, body, crc, name in msgspec.json.decode(found):
            fields = (seq, sent, sender, type_, bytes.fromhex(body))
            if is_good(*fields, crc):
                messages.append(Message(name, *fields))
        return sorted(messages, key=lambda each: (each.sent, each.room, each.seq), reverse=True)
