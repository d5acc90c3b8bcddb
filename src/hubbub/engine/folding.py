"""The end of the log: in the journal and in memory, until it is folded into the table."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from hubbub.engine.batch import JournalBatch
from hubbub.engine.database import Database
from hubbub.engine.disk import sync
from hubbub.engine.journal import Journal
from hubbub.engine.logfile import LogFile, RoomPlace
from hubbub.engine.overlay import Overlay
from hubbub.engine.stamp import DEDUPE_WINDOW_MS
from hubbub.engine.tail import Row, Tail
from hubbub.engine.turns import Turns
from hubbub.engine.worker import Worker
from hubbub.errors import EngineError

__all__ = ["Folding"]

log = structlog.get_logger("hubbub.engine")

# The journal is folded when the tail has this many messages or bytes; a transaction takes some, then others pass.
FOLD_MESSAGES = 4096
FOLD_BYTES = 1 << 20
FOLD_ROWS = 256

# Amendments to a transaction; each is a search for its message.
FOLD_AMENDS = 64

# From an amendment until the journal is folded, and between two tries.
ERASE_PAUSE_S = 1.0

# After a fold that failed.
FOLD_RETRY_S = 2.0


class Pending:
    """What else of the batches in the journal the file does not have."""

    __slots__ = ("ends", "keys", "rooms")

    def __init__(self) -> None:
        self.rooms: dict[str, int] = {}
        self.ends: list[tuple[int, int, int]] = []
        self.keys: list[tuple[int, int, int, int, str | None, str, int | None]] = []


class Folding:
    """Moves what the journal has to the table, many messages of a room at a time.

    Args:
        path: the database.
        journal: its files; the current one is changed between two batches.
        appending: who may append to the journal.
        worker: the thread that makes and removes files of the journal.
        log_time: the log's own time, in milliseconds.
        folded: is told what the table has now, before the tail drops it: the last seqs by the numbers of their rooms,
            and how many messages there are.

    Attributes:
        overlay: what amends them, and those in the table.
        tail: the messages.
        unfiled: places whose `first` is not in the file yet, by their number.
    """

    def __init__(
        self,
        path: Path,
        database: Database,
        journal: Journal,
        appending: Turns,
        worker: Worker,
        log_time: Callable[[], int],
        folded: Callable[[Mapping[int, int], int], Awaitable[None]],
    ) -> None:
        self._path = path
        self._database = database
        self._journal = journal
        self._appending = appending
        self._worker = worker
        self._log_time = log_time
        self._folded = folded
        self._checkpointer = Worker("sqlite-checkpoint")
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        # Whether files still have what was amended, and what sees to it.
        self._is_to_erase = False
        self._erasing: asyncio.Task[None] | None = None
        self._pending = Pending()
        self._taken = Pending()
        self.overlay = Overlay()
        self.tail = Tail()
        self.unfiled: dict[int, RoomPlace] = {}

    def open(self, writing: LogFile, checking: LogFile) -> None:
        """Begin, with the log as the writer's and the checkpointer's connections see it."""
        self._writing = writing
        self._checking = checking

    async def close(self) -> bool:
        """Fold all there is; whether it could be done."""
        for task in (self._running, self._erasing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        is_done = True
        while is_done and (self.tail.count or self.tail.is_folding):
            is_done = await self.fold()
        await asyncio.to_thread(self._checkpointer.close)
        return is_done

    def note(self, room: str, place: RoomPlace) -> None:
        """Note a room that is in the journal alone."""
        self._pending.rooms[room] = place.id

    def add(self, batch: JournalBatch) -> None:
        """Add what a batch in the journal has besides its messages, and fold if it is time."""
        if batch.ends:
            self._pending.ends += batch.ends
        if batch.keys:
            self._pending.keys += batch.keys
        if batch.amends:
            self.tail.size += sum(len(row.body) for row in batch.amends)
            self._is_to_erase = True
            if self._erasing is None:
                self._erasing = asyncio.get_running_loop().create_task(self._erase())
        if self._running is None and self._is_due():
            self._running = asyncio.get_running_loop().create_task(self._fold_while_due())

    def has(self, room: str) -> bool:
        """Whether anything of a room is in the journal alone."""
        return room in self.tail or room in self.overlay or self.is_new(room)

    def is_new(self, room: str) -> bool:
        """Whether a room is in the journal alone, number and name."""
        return room in self._pending.rooms or room in self._taken.rooms

    @property
    def new_rooms(self) -> set[str]:
        """The rooms of which number and name are in the journal alone."""
        return {*self._pending.rooms, *self._taken.rooms}

    def note_filed(self, number: int, first: int) -> None:
        """The file has the `first` of a room."""
        place = self.unfiled.get(number)
        if place is not None and place.first <= first:
            del self.unfiled[number]

    async def fold(self) -> bool:
        """Copy all that is in the journal to the table.  One fold at a time: another call waits for its turn.

        Returns:
            Whether it could be done.  If not, the next call goes on with the same messages.
        """
        async with self._turn:
            tail = self.tail
            if not tail.is_folding:
                if not tail.count and not self._journal.current.is_spoiled:
                    return True
                if not await self._begin():
                    return False
            try:
                await self._copy_to_table()
            except EngineError as error:
                log.warning("the journal is not folded yet", error=str(error))
                return False
            await self._folded(tail.folding_lasts(), tail.folding_count)
            tail.end_fold()
            self.overlay.end_fold()
            self._taken = Pending()
            await self._checkpoint()
            return True

    async def _begin(self) -> bool:
        """Take what there is, and have the next batches go to another file of the journal."""
        journal = self._journal
        try:
            file = await self._worker.do(journal.make, journal.current.number + 1)
        except OSError as error:
            log.warning("the journal is not folded yet", error=error.strerror)
            return False
        if not self._appending.take():
            try:
                await self._appending.wait()
            except asyncio.CancelledError:
                file.close()
                raise
        journal.turn_to(file)
        self.tail.begin_fold()
        self.overlay.begin_fold()
        self._taken, self._pending = self._pending, Pending()
        self._appending.give()
        return True

    async def _copy_to_table(self) -> None:
        write, writing, taken = self._database.write, self._writing, self._taken
        if taken.rooms:
            await write(writing.insert_rooms, [(number, room) for room, number in taken.rooms.items()])
        # A vault's write may pass after each portion.  With more portions for more messages, batches would outrun it.
        rows = max(FOLD_ROWS, self.tail.folding_count * FOLD_ROWS // FOLD_MESSAGES)
        amends = self.overlay.folding
        bodies = {(row.room, row.seq): row.body for row in amends}
        for portion in self.tail.portions(rows):
            await write(writing.insert, amended(portion, bodies) if bodies else portion)
        for start in range(0, len(amends), FOLD_AMENDS):
            await write(writing.amend, amends[start : start + FOLD_AMENDS])
        firsts = [(number, place.first) for number, place in self.unfiled.items()]
        oldest_key = self._log_time() - DEDUPE_WINDOW_MS
        keys = [key for key in taken.keys if key[0] >= oldest_key]
        await write(writing.end_fold, self._journal.current.number - 1, firsts, taken.ends, keys, oldest_key)
        for number, first in firsts:
            self.note_filed(number, first)

    async def _checkpoint(self) -> None:
        """Make what was folded as durable as a disk makes it; then the files that it came from go."""
        try:
            await self._checkpointer.do(sync_wal, self._path)
            await self._checkpointer.do(self._checking.checkpoint)
            if self._is_to_erase and await self._checkpointer.do(self._checking.truncate):
                self._is_to_erase = bool(self.overlay.count)
        except (OSError, sqlite3.Error) as error:
            log.warning("no checkpoint", error=str(error))
        else:
            await self._worker.do(self._journal.remove_retired)

    async def _erase(self) -> None:
        """See to it that what was amended is in no file any more: soon, but not for each amendment by itself."""
        try:
            while self._is_to_erase:
                await asyncio.sleep(ERASE_PAUSE_S)
                if self.tail.count or self.tail.is_folding:
                    await self.fold()
                else:  # somebody was reading what was before
                    await self._checkpoint()
        finally:
            self._erasing = None

    def _is_due(self) -> bool:
        return self.tail.is_folding or self.tail.count >= FOLD_MESSAGES or self.tail.size >= FOLD_BYTES

    async def _fold_while_due(self) -> None:
        try:
            while self._is_due():
                if not await self.fold():
                    await asyncio.sleep(FOLD_RETRY_S)  # what has failed may be mended then
        finally:
            self._running = None


def amended(rows: list[Row], bodies: Mapping[tuple[int, int], bytes]) -> list[Row]:
    """Messages with the bodies that have taken the place of theirs: the table never gets those before."""
    return [row._replace(body=bodies[row.room, row.seq]) if (row.room, row.seq) in bodies else row for row in rows]


def sync_wal(path: Path) -> None:
    """Wait until the disk has SQLite's write-ahead log, which `synchronous = NORMAL` leaves to the kernel."""
    with contextlib.suppress(FileNotFoundError):
        sync(path.with_name(f"{path.name}-wal"))
