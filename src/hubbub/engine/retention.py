"""Deleting messages past the number or the age that is kept, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from hubbub.age import Age
from hubbub.engine.database import Database
from hubbub.engine.folding import Folding
from hubbub.engine.logfile import END, TRIM_ROWS, LogFile, RoomPlace
from hubbub.errors import EngineError

__all__ = ["Retention"]

log = structlog.get_logger("hubbub.engine")

# Between the steps of a trim.
TRIM_PAUSE_S = 0.02
OLD_EVERY_S = 60.0

# Rooms that are looked at for old messages at once: other reads pass in between.
OLD_ROOMS = 200


class Retention:
    """What a log keeps.

    Args:
        places: where the rooms stand, as far as that is known.
        age: tells which messages are too old.
        keep: messages kept of a room; 0 for all.
    """

    def __init__(
        self,
        database: Database,
        folding: Folding,
        places: Mapping[str, RoomPlace],
        age: Age,
        *,
        keep: int,
    ) -> None:
        self._database = database
        self._folding = folding
        self._places = places
        self._age = age
        self._keep = keep
        self._trimming: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, writing: LogFile, reading: LogFile) -> None:
        """Begin, with the log as the writer's and the reader's connections see it."""
        self._writing = writing
        self._reading = reading
        if self._age.ends:
            self._start(self._trim_old_for_ever())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def note(self, room: str, place: RoomPlace) -> None:
        """Look at a room that has new messages."""
        if self._keep and place.kept - place.first + 1 >= self._keep + TRIM_ROWS and room not in self._trimming:
            self._trimming.add(room)
            self._start(self._trim(room, place))

    async def clear(self, room: str, place: RoomPlace) -> None:
        """Delete all messages that a room has now.

        Raises:
            EngineError: some of them could not be deleted.
        """
        last = place.kept
        while place.first <= last:
            await self._delete(room, place.id, min(place.first + TRIM_ROWS, last + 1), place)
            await asyncio.sleep(0)  # what is written is written in between

    async def _trim(self, room: str, place: RoomPlace) -> None:
        """Delete a room's messages past the number kept, a few at a time."""
        try:
            while place.kept - place.first + 1 > self._keep:
                first = min(place.first + TRIM_ROWS, place.kept - self._keep + 1)
                await self._delete(room, place.id, first, place)
                await asyncio.sleep(TRIM_PAUSE_S)
        except EngineError as error:
            log.warning("not trimmed", room=room, error=str(error))
        finally:
            self._trimming.discard(room)

    async def _trim_old_for_ever(self) -> None:
        while True:
            try:
                await self.trim_old()
            except EngineError as error:
                log.warning("not trimmed", error=str(error))
            await asyncio.sleep(OLD_EVERY_S)

    async def trim_old(self) -> None:
        """Delete what is older than it may be, a little of each room at a time.

        Raises:
            EngineError: some of it could not be deleted.
        """
        while await self._trim_some_old():  # noqa: ASYNC110  # writers get their turn
            await asyncio.sleep(TRIM_PAUSE_S)

    async def _trim_some_old(self) -> bool:
        """Delete a little of each room that has old messages; whether there was any."""
        await self._folding.fold()  # the table is searched, so what is old has to be there
        cutoff = self._age.cutoff_ms()
        was_any, after = False, 0
        while after < END:
            old, after = await self._database.read(self._reading.find_old, cutoff, after, OLD_ROOMS)
            for room, number, first in old:
                was_any = True
                await self._delete(room, number, first, self._places.get(room))
        return was_any

    async def _delete(self, room: str, number: int, first: int, place: RoomPlace | None) -> None:
        """Keep a room's messages from the seq `first` on."""
        folding = self._folding
        if folding.is_new(room):
            await folding.fold()  # so that the file has a place for `first`
        # First here, so that nothing that is about to be deleted is folded after it was.
        if place is not None:
            place.first = max(place.first, first)
            folding.unfiled[number] = place
        folding.tail.trim(room, first)
        await self._database.write(self._writing.delete, number, first, place.sent if place is not None else 0)
        if not folding.is_new(room):
            folding.note_filed(number, first)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
