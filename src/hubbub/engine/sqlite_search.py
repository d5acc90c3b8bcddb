"""Searching the log of a SQLite engine: the tail, which is in memory, and then the index.

The index is filled as the journal is folded, and behind: what a file has that was there before the index is added a
little at a time.  Both, and searching, have a thread of their own each, so that neither delays the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec.structs import replace

from hubbub.engine.batch import AmendRow
from hubbub.engine.database import DAMAGED, failure_code
from hubbub.engine.index import SLICE, Backlog, Index, remove_index
from hubbub.engine.logfile import END, RoomPlace
from hubbub.engine.lookup import IndexReader
from hubbub.engine.overlay import Overlay
from hubbub.engine.scanning import has, scan
from hubbub.engine.searching import Hits, Spot
from hubbub.engine.tail import Row, Tail
from hubbub.engine.worker import Worker
from hubbub.errors import EngineError
from hubbub.events import Message
from hubbub.words import Query

__all__ = ["SearchIndex"]

log = structlog.get_logger("hubbub.engine")

T = TypeVar("T")

# Messages that are indexed at once of those that were there before the index, and of how many rooms.
PORTION = 4096
ROOMS_AT_ONCE = 16

# Times at which what was there before the index is parted.  At each of them all its rooms are looked at.
MOST_STEPS = 64

# Messages of a fold beyond which they are indexed in the background.
MOST_AT_ONCE = 16_384

# After each piece of work that is in no hurry the thread rests for so many times as long as the piece took.
REST = 1.0

# After a piece that failed, and between looks at what retention has deleted.
RETRY_S = 10.0
TIDY_S = 3600.0

# No slice of the index is looked into after a search has taken so long.
SEARCH_S = 1.0

NEWEST = Spot(END, "", 0)


class SearchIndex:
    """Keeps the index, and searches.

    Args:
        database: the file.
        clock: seconds that never go back.

    Attributes:
        can_open: whether there is an index, or will be.
        is_open: whether it can be searched.
        is_idle: set while nothing is left to be done in the background.
    """

    def __init__(self, database: Path, clock: Callable[[], float]) -> None:
        self._database = database
        self._is_damaged = False
        self._clock = clock
        self._index = Index(database)
        self._reader = IndexReader(database)
        self._writing = Worker("search-index")
        self._reading = Worker("search")
        # Rooms with messages that are not indexed yet, by their numbers; True where there are more since the last look.
        self._behind: dict[int, bool] = {}
        self._cleared: set[int] = set()
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.can_open = has_fts5()
        self.is_open = False
        self.is_idle = asyncio.Event()

    def open(self, epoch: str) -> None:
        """Begin, in the background, with the index of the log that goes by an epoch."""
        if self.can_open:
            self._running = asyncio.get_running_loop().create_task(self._run(epoch))

    async def close(self) -> None:
        """Stop; what is not indexed yet is found at the next start."""
        if self._running is None:
            return
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.is_open = False
        for worker in (self._writing, self._reading):
            await asyncio.to_thread(worker.close)
        # Both, whatever was under way: a connection that is left keeps the database from being closed.
        self._reader.close()
        self._index.close()
        if self._is_damaged:
            remove_index(self._database)

    # What the log tells

    async def folded(self, lasts: Mapping[int, int], count: int) -> None:
        """Index what the table has got: the last seqs by the numbers of their rooms.

        A fold does not wait for much: while more is said than can be indexed, the index falls behind, and not the log.
        """
        if not self.is_open:
            return  # it is found when it is open
        late = lasts.keys() if count > MOST_AT_ONCE else self._behind.keys() & lasts.keys()
        if late:
            self._behind.update(dict.fromkeys(late, True))
            self._wake_up()
        try:
            is_outdated = await self._do(
                self._index.add, {room: last for room, last in lasts.items() if room not in self._behind}
            )
        except EngineError as error:
            log.warning("messages are not indexed yet", error=str(error))
            self._behind.update(dict.fromkeys(lasts, True))
            self._wake_up()
        else:
            if is_outdated:
                self._wake_up()

    def note_cleared(self, room: int) -> None:
        """Take note that the log has dropped all of a room."""
        self._cleared.add(room)
        self._wake_up()

    # In the background

    def _wake_up(self) -> None:
        self.is_idle.clear()
        self._wake.set()

    async def _run(self, epoch: str) -> None:
        try:
            await self._do(self._index.open, epoch)
            await self._reading.do(self._reader.open)
        except (EngineError, sqlite3.Error, OSError) as error:
            log.warning("messages cannot be searched", error=str(error))
            self.can_open = False
            self.is_idle.set()
            return
        self.is_open = True
        is_due = True
        while True:
            self._wake.clear()
            try:
                await self._work(is_due=is_due)
                wait_s, is_due = TIDY_S, False
            except EngineError as error:
                log.warning("the index is not complete yet", error=str(error))
                wait_s = RETRY_S
            if not self._wake.is_set():
                self.is_idle.set()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                is_due = True

    async def _work(self, *, is_due: bool) -> None:
        """Do what is to be done.

        Args:
            is_due: look at all that retention has deleted, and at what was there before the index, too.
        """
        if is_due or self._behind:
            await self._catch_up()
        outdated = set(await self._do(self._index.outdated))
        while self._cleared:
            outdated.update(await self._do(self._index.trimmed, self._cleared.pop()))
        if is_due:
            outdated.update(await self._do(self._index.trimmed))
        for slice_ in sorted(outdated):
            await self._at_leisure(self._index.remake, slice_)
        if outdated:
            await self._do(self._index.forget_changes)
            while not await self._do(self._index.truncate):  # noqa: ASYNC110  # whoever reads is done in a moment
                await asyncio.sleep(SEARCH_S)

    async def _catch_up(self) -> None:
        """Index what is there already, of all rooms up to one moment after the other.

        So a slice has what was said at about one time, and who looks for the newest need not look into all of them.
        """
        while backlog := await self._do(self._index.behind):
            rooms = [each.room for each in backlog]
            self._behind = dict.fromkeys(self._behind.keys() | rooms, False)
            for moment in (*moments(backlog), END):
                await self._add_all(rooms, moment)
            self._behind = {room: True for room, has_more in self._behind.items() if has_more}
        self._behind.clear()

    async def _add_all(self, rooms: Sequence[int], until: int) -> None:
        """Index all that was sent in some rooms before a time."""
        for some in batched(rooms, ROOMS_AT_ONCE):
            left = some
            while left:
                left = await self._at_leisure(self._index.add_some, left, PORTION // ROOMS_AT_ONCE, until)

    async def _at_leisure(self, work: Callable[..., T], *args: object) -> T:
        began = self._clock()
        result = await self._do(work, *args)
        await asyncio.sleep((self._clock() - began) * REST)  # leaves the processor to others
        return result

    async def _do(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` in the writer's thread.

        Raises:
            EngineError: it could not be done.
        """
        try:
            return await self._writing.do(work, *args)
        except sqlite3.Error as error:
            self._is_damaged |= failure_code(error) in DAMAGED  # the next start makes another
            raise EngineError(str(error)) from error

    # Searching

    async def search(
        self,
        tail: Tail,
        overlay: Overlay,
        places: Mapping[str, RoomPlace],
        query: Query,
        rooms: Collection[str],
        before: Spot | None,
        limit: int,
    ) -> Hits:
        """As the log promises it.

        Raises:
            EngineError: there is no index, or it cannot be read.
        """
        if not self.is_open:
            raise EngineError("the index is not open" + " yet" * self.can_open)
        stops = {room: tail.first(room) if room in tail else END for room in rooms}
        over = {room: overlay.of(room) for room in rooms}
        newest = [newest_first(room, tail.rows(room), over[room]) for room in rooms if room in tail]
        found = await scan(newest, query, before, limit)
        if found.next is not None:
            return found
        left = limit - len(found.messages)
        try:
            messages, end, spent_s = await self._reading.do(
                self._reader.search, query.as_fts5, stops.items(), before or NEWEST, left, SEARCH_S
            )
        except sqlite3.Error as error:
            raise EngineError(str(error)) from error
        kept = [each for each in messages if each.room not in places or each.seq >= places[each.room].first]
        # What is about to be changed in the table was found by the words that it had.
        present = [as_it_is(each, over[each.room], overlay.of(each.room)) for each in kept]
        kept = [each for each in present if has(each, query)]
        return Hits(found.messages + kept, end, bool(self._behind), found.spent_s + spent_s)


def batched(rooms: Sequence[int], count: int) -> Iterator[list[int]]:
    """Some rooms at a time."""
    for start in range(0, len(rooms), count):
        yield list(rooms[start : start + count])


def moments(backlog: Sequence[Backlog]) -> list[int]:
    """Times between the oldest and the newest message, in milliseconds since 1970: one for about each slice."""
    if not backlog:
        return []
    steps = min(sum(each.left for each in backlog) // SLICE + 1, MOST_STEPS)
    oldest, newest = min(each.oldest for each in backlog), max(each.newest for each in backlog)
    return [oldest + (newest - oldest) * step // steps for step in range(1, steps)]


def newest_first(room: str, rows: Sequence[Row], over: Mapping[int, AmendRow]) -> Iterator[Message]:
    """A room's messages in the tail as they are now, the newest first."""
    present = Overlay.over([row[1:] for row in rows], over)
    return (Message(room, *fields) for fields in reversed(present))


def as_it_is(message: Message, *layers: Mapping[int, AmendRow]) -> Message:
    """A message of the table, with what lies over it; of several layers, the last one is on top."""
    for layer in layers:
        if message.seq in layer:
            message = replace(message, body=layer[message.seq].body)
    return message


def has_fts5() -> bool:
    """Whether this machine's SQLite has what the index is made with."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is not None
