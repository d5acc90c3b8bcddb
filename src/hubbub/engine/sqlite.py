"""The SQLite engine: everything in one file, for one process.

A batch is one transaction, off the loop, while the next one gathers.  The loop knows where each room stands, so a batch
is stamped before it goes to the file; a thread writes it, and another reads, each with a connection of its own.

A table of messages in the order of their rooms is cheap to read and expensive to write: a batch of many rooms changes
a page for each.  So a batch is kept as one row of a journal, and its messages stay in memory (the tail) until the
journal is folded: copied to the table, many messages of a room at a time, and cleared.  Of a room, the table has the
beginning and the tail the end.  After a crash, opening the file folds what the journal has.

Each step of a statement releases Python's interpreter lock and waits for a busy loop to release it again.  So batches
take as few statements as possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any

import structlog

from hubbub.engine import Draft, Head, Listener, Outcome, Page, Resumed
from hubbub.engine.database import Database, failure
from hubbub.engine.local import LocalEngine, Silent, resume
from hubbub.engine.logfile import END, TRIM_ROWS, Fields, LogFile, RoomPlace, encode_rows
from hubbub.engine.marks import Marks
from hubbub.engine.schema import connect_file, lock_file
from hubbub.engine.sqlite_vault import SqliteVault
from hubbub.engine.stamp import DEDUPE_WINDOW_MS, Keys, LogTime, Stamped, stamp
from hubbub.engine.tail import Row, Tail
from hubbub.engine.turns import Turns
from hubbub.engine.worker import Worker
from hubbub.errors import ConfigError, EngineError, NotKept
from hubbub.events import Message

__all__ = ["SqliteEngine"]

log = structlog.get_logger("hubbub.engine")

# The journal is folded when the tail has this many messages or bytes; a transaction takes some, then batches pass.
FOLD_MESSAGES = 4096
FOLD_BYTES = 1 << 20
FOLD_ROWS = 256

# After a fold that failed.
FOLD_RETRY_S = 2.0

# A tail of this many messages or bytes waits for a fold before it takes more, and takes none where that fails.
MOST_TAIL_MESSAGES = 1 << 18
MOST_TAIL_BYTES = 1 << 26

# Between the steps of a trim.
TRIM_PAUSE_S = 0.02
OLD_EVERY_S = 60.0

# Rooms that are looked at for old messages at once: other reads pass in between.
OLD_ROOMS = 200

# Checkpoints are made after a fold, in a thread of their own.  At this many pages a batch waits for one after all.
MOST_WAL_PAGES = 16_384

make_row = Row._make

# Rooms whose place is known without asking the file; more than this many idle ones are forgotten.
MAX_PLACES = 50_000


class SqliteEngine(LocalEngine, SqliteVault):
    """Everything in one file.

    Args:
        path: the file; made when there is none.
        clock: seconds that never go back, for one-time passwords and the dedupe window.
        wall: seconds since 1970, for everything else.
        durability: `normal` survives the death of the process, `full` also that of the machine, by an fsync a batch.
        keep: messages kept of a room; 0 for all.
        keep_s: seconds that a message is kept; 0 for ever.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        durability: str = "normal",
        keep: int = 0,
        keep_s: float = 0,
    ) -> None:
        LocalEngine.__init__(self)
        self._path = path.resolve()  # by one name, whatever links lead to it
        self._database = Database(self._path, durability)
        SqliteVault.__init__(self, self._database, clock=clock, wall=wall)
        self._wall = wall
        self._keep = keep
        self._keep_s = keep_s
        self._epoch = ""
        self._next_room = 1
        self._keys = Keys()
        self._log_time = LogTime(clock)
        self._places: dict[str, RoomPlace] = {}
        self._marks = Marks(self._database)
        self._lock: IO[str] | None = None
        self._checkpointer = Worker("sqlite-checkpoint")
        self._check: sqlite3.Connection
        # The log in the file, for the thread of each.
        self._writing: LogFile
        self._reading: LogFile
        self._checking: LogFile
        self._appending = Turns()
        self._journaled = 0
        self._tail = Tail()
        self._fold_turn = asyncio.Lock()
        self._folder: asyncio.Task[None] | None = None
        self._trimming: set[str] = set()
        # Places whose `first` is not in the file yet, by their number.
        self._unfiled: dict[int, RoomPlace] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, listener: Listener) -> None:
        with contextlib.ExitStack() as undo:
            self._lock = undo.enter_context(lock_file(self._path))
            database = self._database
            database.open()
            undo.callback(database.writing.close)
            undo.callback(database.reading.close)
            self._check = undo.enter_context(contextlib.closing(connect_file(self._path)))
            self._writing, self._reading, self._checking = map(
                LogFile, (database.writing, database.reading, self._check)
            )
            try:
                self._recover(database.writing)
            except sqlite3.Error as error:
                raise ConfigError(f"--engine sqlite:///{self._path}: {error}; mend the file or the disk") from None
            undo.pop_all()
        self._listener = listener
        if self._keep_s:
            self._start(self._trim_old_for_ever())

    def _recover(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {MOST_WAL_PAGES}")
        (self._epoch,) = connection.execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()
        self._writing.recover(self._path)
        (last,) = connection.execute("SELECT max(id) FROM rooms").fetchone()
        self._next_room = (last or 0) + 1

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.fold()
        await asyncio.to_thread(self._checkpointer.close)
        self._check.close()
        await self._database.close()
        self._listener = Silent()
        if self._lock is not None:
            self._lock.close()

    @property
    def is_up(self) -> bool:
        return self._database.is_up

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        # One batch at a time, so that one that fails takes its seqs back before the next one is given any.
        if not self._appending.take():
            await self._appending.wait()
        try:
            if self._tail.is_larger_than(MOST_TAIL_MESSAGES, MOST_TAIL_BYTES) and not await self.fold():
                raise NotKept("the journal cannot be folded")
            if len(self._places) - len(self._subscribed) > MAX_PLACES:
                self._forget_idle_places()
            unknown = {draft.room for draft in batch if draft.room not in self._places}
            if unknown:
                await self._find_places(unknown)
            now, at = int(self._wall() * 1000), self._log_time()
            stamped = stamp(batch, self._places.__getitem__, self._keys, now=now, at=at)
            if stamped.fresh:
                await self._keep_batch(stamped)
            return stamped.outcomes
        finally:
            self._appending.give()

    async def _keep_batch(self, stamped: Stamped) -> None:
        """Write a batch to the journal, and do all that follows from it; or take its places back."""
        writer, writing = self._database.writer, self._writing
        try:
            new_rooms, rows = self._rows(stamped)
            journaled = await writer.do(writing.journal, new_rooms, encode_rows(rows))
        except asyncio.CancelledError:
            # The caller has given up, but the thread has not.
            outcome = writer.finish(writing.last_journaled)
            try:
                await outcome
            finally:
                self._settle(stamped, rows, outcome.result())
            raise
        except sqlite3.Error as error:
            stamped.undo(self._places.__getitem__, self._keys)
            self._database.note_failure()
            raise failure(error) from error
        except BaseException:
            stamped.undo(self._places.__getitem__, self._keys)
            raise
        self._settle(stamped, rows, journaled)

    def _rows(self, stamped: Stamped) -> tuple[list[tuple[int, str]], list[Row]]:
        """The rooms of a batch that the file does not have, and its messages as the file has them, room by room."""
        new_rooms: list[tuple[int, str]] = []
        rows: list[Row] = []
        keys = stamped.keys
        for room, messages in stamped.fresh.items():
            place = self._places[room]
            number = place.id
            if place.is_new:
                new_rooms.append((number, room))
            for each in messages:
                entry = keys.get((room, each.seq)) if keys else None
                key = entry.key if entry is not None else None
                rows.append(make_row((number, each.seq, each.sent, each.sender, each.type, each.body, key)))
        return new_rooms, rows

    def _settle(self, stamped: Stamped, rows: list[Row], journaled: int | None) -> None:
        """Go on from a batch that has its number in the journal, None if it was not kept."""
        if journaled is None:
            stamped.undo(self._places.__getitem__, self._keys)
            return
        self._journaled = journaled
        self._database.is_up = True
        start = 0
        for room, messages in stamped.fresh.items():
            place, stop = self._places[room], start + len(messages)
            place.is_new = False
            place.kept = place.seq
            self._tail.add(room, rows[start:stop])
            start = stop
            if self._keep and place.kept - place.first + 1 >= self._keep + TRIM_ROWS and room not in self._trimming:
                self._trimming.add(room)
                self._start(self._trim(room, place))
        if self._is_fold_due() and self._folder is None:
            self._folder = self._start(self._fold_while_due())
        self._deliver(stamped.fresh)

    async def _find_places(self, rooms: set[str]) -> None:
        since = int(self._wall() * 1000) - DEDUPE_WINDOW_MS
        try:
            found, keys = await self._database.read(self._reading.find_rooms, rooms, since, self._log_time())
        except EngineError as error:
            raise NotKept(str(error)) from error
        for entry in reversed(keys):
            if self._keys.find(entry.room, entry.sender, entry.key, entry.at) is None:
                self._keys.add(entry)
        for room in rooms:
            place = found.get(room)
            if place is None:
                place = RoomPlace(self._next_room, 0, 0, 1, is_new=True)
                self._next_room += 1
            self._places[room] = place

    def _forget_idle_places(self) -> None:
        for room in [room for room in self._places if room not in self._subscribed and room not in self._tail]:
            del self._places[room]

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        end = END if before is None else before
        if room in self._tail:
            last = self._tail.last(room)
            found = await self._read_both(room, after, end, limit + 1)
        else:
            last, found = await self._database.read(self._reading.page, room, after, end, limit + 1)
        wanted = found[:limit] if after is not None else found[max(0, len(found) - limit) :]
        return Page(Head(self._epoch, last), [Message(room, *fields) for fields in wanted], more=len(found) > limit)

    async def _read_both(self, room: str, after: int | None, before: int, limit: int) -> list[Fields]:
        """Messages of a room whose end is in the tail."""
        place, tail = self._places[room], self._tail
        first = tail.first(room)
        rows = tail.before(room, before, limit) if after is None else tail.after(room, after, limit)
        newer = [row[1:6] for row in rows]
        older: list[Fields] = []
        if place.first == first:
            pass  # the table has none of them
        elif after is None:
            if len(newer) < limit:
                older = await self._database.read(
                    self._reading.older, place.id, place.first, min(before, first), limit - len(newer)
                )
        elif after < first - 1:
            older = await self._database.read(self._reading.newer, place.id, max(after, place.first - 1), first, limit)
        return (older + newer)[:limit]

    async def resume(self, room: str, since: Head, limit: int) -> Resumed:
        return await resume(self, room, since, limit)

    async def head(self, room: str) -> Head:
        place = self._places.get(room)
        if place is not None:
            return Head(self._epoch, place.kept)
        return (await self.read(room, limit=1)).head

    # Folding

    async def fold(self) -> bool:
        """Copy all that is in the journal to the table.  One fold at a time: another call waits for its turn.

        Returns:
            Whether it could be done.  If not, all stays as it was, and the next fold copies what this one has, too.
        """
        async with self._fold_turn:
            tail, is_done = self._tail, False
            if not tail.count:
                return True
            # A batch may pass after each portion.  With more portions for more messages, large batches would outrun it.
            portion_rows = max(FOLD_ROWS, tail.count * FOLD_ROWS // FOLD_MESSAGES)
            tail.begin_fold()
            try:
                await self._copy_to_table(portion_rows)
                is_done = True
            except EngineError as error:
                log.warning("the journal is not folded yet", error=str(error))
                return False
            finally:
                tail.end_fold() if is_done else tail.fail_fold()
            await self._checkpoint()
            return True

    async def _copy_to_table(self, portion_rows: int) -> None:
        write, writing, journaled = self._database.write, self._writing, self._journaled
        for portion in self._tail.portions(portion_rows):
            await write(writing.insert, portion)
        firsts = [(number, place.first) for number, place in self._unfiled.items()]
        await write(writing.clear_journal, journaled, firsts)
        for number, first in firsts:
            self._note_filed(number, first)

    async def _checkpoint(self) -> None:
        try:
            await self._checkpointer.do(self._checking.checkpoint)
        except sqlite3.Error as error:
            log.warning("no checkpoint", error=str(error))

    def _is_fold_due(self) -> bool:
        return self._tail.count >= FOLD_MESSAGES or self._tail.size >= FOLD_BYTES

    async def _fold_while_due(self) -> None:
        try:
            while self._is_fold_due():
                if not await self.fold():
                    await asyncio.sleep(FOLD_RETRY_S)
        finally:
            self._folder = None

    # Retention

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
        await self.fold()  # the table is searched, so what is old has to be there
        cutoff = int((self._wall() - self._keep_s) * 1000)
        was_any, after = False, 0
        while after < END:
            old, after = await self._database.read(self._reading.find_old, cutoff, after, OLD_ROOMS)
            for room, number, first in old:
                was_any = True
                await self._delete(room, number, first, self._places.get(room))
        return was_any

    async def _delete(self, room: str, number: int, first: int, place: RoomPlace | None) -> None:
        """Keep a room's messages from the seq `first` on."""
        # First here, so that nothing that is about to be deleted is folded after it was.
        if place is not None:
            place.first = max(place.first, first)
            self._unfiled[number] = place
        self._tail.trim(room, first)
        await self._database.write(self._writing.delete, number, first)
        self._note_filed(number, first)

    def _note_filed(self, number: int, first: int) -> None:
        """The file has the `first` of a room."""
        place = self._unfiled.get(number)
        if place is not None and place.first <= first:
            del self._unfiled[number]

    # Attendance

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        return await self._marks.move(user, room, seq)

    async def read_mark(self, room: str, user: str) -> int:
        return await self._marks.find(user, room)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
