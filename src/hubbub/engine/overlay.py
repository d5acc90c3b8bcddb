"""Amendments that the SQLite engine has in its journal, and not yet in its table.

They lie over whatever is read of the tail and of the table, until a fold has put them into the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubbub.engine.batch import AmendRow

__all__ = ["Overlay"]

Fields = tuple[Any, ...]  # seq, sent, sender, type, body

NONE: Mapping[int, AmendRow] = {}


class Overlay:
    """Bodies that take the place of others, by room and seq."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[int, AmendRow]] = {}
        # Those of the fold that has begun.
        self._folding: dict[str, dict[int, AmendRow]] = {}

    def __contains__(self, room: str) -> bool:
        return room in self._rooms or room in self._folding

    def add(self, room: str, row: AmendRow) -> None:
        """Put a body over a message."""
        self._rooms.setdefault(room, {})[row.seq] = row

    def of(self, room: str) -> Mapping[int, AmendRow]:
        """What lies over a room at this moment."""
        if room not in self:
            return NONE
        return self._folding.get(room, {}) | self._rooms.get(room, {})

    @staticmethod
    def over(fields: Sequence[Fields], *layers: Mapping[int, AmendRow]) -> list[Fields]:
        """Messages with what lies over them; of several layers, the last one is on top."""
        found = list(fields)
        for layer in layers:
            if layer:
                found = [(*each[:4], layer[each[0]].body) if each[0] in layer else each for each in found]
        return found

    @property
    def count(self) -> int:
        """How many there are, without those of the fold that has begun."""
        return sum(map(len, self._rooms.values()))

    # Folding

    def begin_fold(self) -> None:
        """Note all that is here now: it is about to be put into the table."""
        self._folding, self._rooms = self._rooms, {}

    @property
    def folding(self) -> list[AmendRow]:
        """What the fold takes, in the order of the table."""
        rows = [row for of_room in self._folding.values() for row in of_room.values()]
        return sorted(rows, key=lambda row: (row.room, row.seq))

    def end_fold(self) -> None:
        """Drop what the fold took: the table has it."""
        self._folding = {}
