"""The SQLite engine: everything in one file, for one process.

A batch is one transaction, off the loop, while the next one gathers.  The loop knows where each room stands, so a batch
is stamped before it goes to the file; a thread writes it, and another reads, each with a connection of its own.

A table of messages in the order of their rooms is what reading wants, and dear to write: a batch of many rooms touches
a page for each.  So a batch goes into a journal, as one row, and its messages stay in memory (the tail); now and then
the journal is folded into the table, many messages of a room at a time.  Of a room, the table has the beginning and
the tail the end.  After a crash, opening the file folds what it finds.

Threads share one interpreter lock, and each step of a statement gives it up and has to get it back from a busy loop.
So there are as few statements as can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import structlog

from hubbub.engine import Account, Deliver, Draft, Grant, Head, Page, Receipt
from hubbub.engine.logfile import END, TRIM_ROWS, Fields, LogFile, RoomPlace, encode_rows
from hubbub.engine.schema import AccountFile, connect_file, lock_file, transaction
from hubbub.engine.stamp import DEDUPE_WINDOW_MS, Keys, Stamped, stamp
from hubbub.engine.tail import Row, Tail
from hubbub.engine.tickets import Tickets
from hubbub.engine.worker import Worker
from hubbub.errors import EngineError
from hubbub.events import Message

__all__ = ["SqliteEngine"]

log = structlog.get_logger("hubbub.engine")

T = TypeVar("T")
# The journal is folded when the tail has this many messages or bytes; a transaction takes some, then batches pass.
FOLD_MESSAGES = 4096
FOLD_BYTES = 1 << 20
FOLD_ROWS = 256

# Between the steps of a trim.
TRIM_PAUSE_S = 0.02
OLD_EVERY_S = 60.0

# Checkpoints are made after a fold, in a thread of their own.  At this many pages a batch waits for one after all.
MOST_WAL_PAGES = 16_384

# Rooms whose place is known without asking the file; more than this many idle ones are forgotten.
MAX_PLACES = 50_000


class SqliteEngine(Tickets):
    """Log, bus and vault in one file.

    Args:
        path: the file; made when there is none.
        clock: seconds that never go back, for one-time passwords.
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
        super().__init__(clock)
        self._path = path.resolve()  # by one name, whatever links lead to it
        self._wall = wall
        self._durability = durability
        self._keep = keep
        self._keep_s = keep_s
        self._epoch = ""
        self._next_room = 1
        self._keys = Keys()
        self._places: dict[str, RoomPlace] = {}
        # Sessions that were asked for, with their end, as far as nobody has ended them since the last look at all.
        self._known_sessions: dict[str, tuple[Grant, float]] = {}
        self._ended = 0
        self._subscribed: set[str] = set()
        self._deliver: Deliver = lambda _room, _messages: None
        self._writer = Worker("sqlite-write")
        self._reader = Worker("sqlite-read")
        self._checkpointer = Worker("sqlite-checkpoint")
        self._lock: IO[str] | None = None
        self._tail = Tail()
        self._journaled = 0
        self._is_folding = False
        self._trimming: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._write: sqlite3.Connection
        self._read: sqlite3.Connection
        self._check: sqlite3.Connection
        # The log in the file, for the thread of each.
        self._writing: LogFile
        self._reading: LogFile
        self._checking: LogFile

    async def open(self, deliver: Deliver) -> None:
        self._deliver = deliver
        with contextlib.ExitStack() as undo:
            self._lock = undo.enter_context(lock_file(self._path))
            self._write = undo.enter_context(contextlib.closing(connect_file(self._path, durability=self._durability)))
            self._read = undo.enter_context(contextlib.closing(connect_file(self._path)))
            self._read.execute("PRAGMA query_only = ON")
            self._check = undo.enter_context(contextlib.closing(connect_file(self._path)))
            self._writing, self._reading, self._checking = map(LogFile, (self._write, self._read, self._check))
            self._write.execute(f"PRAGMA wal_autocheckpoint = {MOST_WAL_PAGES}")
            (self._epoch,) = self._write.execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()
            self._writing.recover(self._path)
            (last,) = self._write.execute("SELECT max(id) FROM rooms").fetchone()
            undo.pop_all()
        self._next_room = (last or 0) + 1
        if self._keep_s:
            self._start(self._trim_old())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tail:
            await self.fold()
        for worker in (self._writer, self._reader, self._checkpointer):
            await asyncio.to_thread(worker.close)
        for connection in (self._check, self._read, self._write):
            connection.close()
        if self._lock is not None:
            self._lock.close()

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        if len(self._places) - len(self._subscribed) > MAX_PLACES:
            self._forget_idle_places()
        unknown = {draft.room for draft in batch if draft.room not in self._places}
        if unknown:
            await self._find_places(unknown)
        stamped = stamp(batch, self._places.__getitem__, self._keys, int(self._wall() * 1000))
        if stamped.fresh:
            await self._keep_batch(stamped)
        for room, messages in stamped.fresh.items():
            if room in self._subscribed:
                self._deliver(room, messages)
        return stamped.receipts

    async def _keep_batch(self, stamped: Stamped) -> None:
        places, keys = self._places, stamped.keys
        new_rooms = [(places[room].id, room) for room in stamped.fresh if places[room].is_new]
        fresh: dict[str, list[Row]] = {}
        for room, messages in stamped.fresh.items():
            number = places[room].id
            fresh[room] = [
                Row(number, each.seq, each.sent, each.sender, each.type, each.body, keys.get((room, each.seq)))
                for each in messages
            ]
        try:
            batch = encode_rows([row for rows in fresh.values() for row in rows])
            self._journaled = await self._in(self._writer, self._writing.journal, new_rooms, batch)
        except Exception:
            stamped.undo(places.__getitem__, self._keys)
            raise
        for _, room in new_rooms:
            places[room].is_new = False
        tail = self._tail
        for room, rows in fresh.items():
            tail.add(room, rows)
        if (tail.count >= FOLD_MESSAGES or tail.size >= FOLD_BYTES) and not self._is_folding:
            self._start(self.fold())
        if self._keep:
            for room in fresh:
                place = places[room]
                if place.seq - place.first + 1 >= self._keep + TRIM_ROWS and room not in self._trimming:
                    self._start(self._trim(room))

    async def fold(self) -> None:
        """Move the messages in the journal to the table."""
        self._is_folding = True
        try:
            journaled = self._journaled
            # A batch may pass after each portion.  With more portions for more messages, large batches would outrun it.
            rows = max(FOLD_ROWS, self._tail.count * FOLD_ROWS // FOLD_MESSAGES)
            self._tail.freeze()
            for portion in self._tail.portions(rows):
                await self._in(self._writer, self._writing.insert, portion)
            await self._in(self._writer, self._writing.clear_journal, journaled)
            self._tail.melt()
            await self._in(self._checkpointer, self._checking.checkpoint)
        except EngineError as error:
            log.warning("the journal is not folded yet", error=str(error))
        finally:
            self._is_folding = False

    async def _find_places(self, rooms: set[str]) -> None:
        since = int(self._wall() * 1000) - DEDUPE_WINDOW_MS
        found, keys = await self._in(self._reader, self._reading.find_rooms, rooms, since)
        for room, sender, key, receipt in reversed(keys):
            self._keys.add(room, sender, key, receipt)
        for room in rooms - self._places.keys():
            place = found.get(room)
            if place is None:
                place = RoomPlace(self._next_room, 0, 1, is_new=True)
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
            last, found = await self._in(self._reader, self._reading.page, room, after, end, limit + 1)
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
                older = await self._in(
                    self._reader, self._reading.older, place.id, min(before, first), limit - len(newer)
                )
        elif after < first - 1:
            older = await self._in(self._reader, self._reading.newer, place.id, after, first, limit)
        return (older + newer)[:limit]

    async def head(self, room: str) -> Head:
        place = self._places.get(room)
        if place is not None:
            return Head(self._epoch, place.seq)
        return (await self.read(room, limit=1)).head

    # Retention

    async def _trim(self, room: str) -> None:
        """Delete a room's messages past the number kept, a few at a time."""
        place = self._places[room]
        self._trimming.add(room)
        try:
            while place.seq - place.first + 1 > self._keep:
                # First here, so that nothing that is about to be deleted is folded after it was.
                place.first = min(place.first + TRIM_ROWS, place.seq - self._keep + 1)
                self._tail.trim(room, place.first)
                await self._in(self._writer, self._writing.delete, place.id, place.first)
                await asyncio.sleep(TRIM_PAUSE_S)
        except EngineError as error:
            log.warning("not trimmed", room=room, error=str(error))
        finally:
            self._trimming.discard(room)

    async def _trim_old(self) -> None:
        """Delete what is older than it may be, a little of each room at a time, for ever."""
        while True:
            try:
                while await self._trim_old_once():  # noqa: ASYNC110  # writers get their turn
                    await asyncio.sleep(TRIM_PAUSE_S)
            except EngineError as error:
                log.warning("not trimmed", error=str(error))
            await asyncio.sleep(OLD_EVERY_S)

    async def _trim_old_once(self) -> bool:
        """Delete a little of each room that has old messages; whether there was any."""
        if self._tail and not self._is_folding:
            await self.fold()
        cutoff = int((self._wall() - self._keep_s) * 1000)
        old = await self._in(self._reader, self._reading.find_old, cutoff)
        for room, number, first in old:
            await self._in(self._writer, self._writing.delete, number, first)
            place = self._places.get(room)
            if place is not None:
                place.first = max(place.first, first)
            await asyncio.sleep(0)
        return bool(old)

    # Bus

    def subscribe(self, room: str) -> None:
        self._subscribed.add(room)

    def unsubscribe(self, room: str) -> None:
        self._subscribed.discard(room)

    # Vault

    async def account(self, user: str) -> Account | None:
        return await self._in(self._reader, AccountFile(self._read).find, user)

    async def put_account(self, account: Account) -> None:
        await self._in(self._writer, AccountFile(self._write).put, account)
        self._forget_sessions(self._known_sessions)

    async def has_accounts(self) -> bool:
        return bool(await self._in(self._reader, self._one, "SELECT 1 FROM accounts LIMIT 1"))

    async def put_session(self, grant: Grant, expires: float) -> None:
        await self._in(self._writer, self._put_session, grant, expires, self._wall())

    def _put_session(self, grant: Grant, expires: float, now: float) -> None:
        with transaction(self._write):
            self._write.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
            self._write.execute("INSERT INTO sessions VALUES (?, ?, ?)", (grant.session, grant.user, expires))

    async def session(self, session: str) -> Grant | None:
        known = self._known_sessions.get(session)
        if known is None:
            ended = self._ended
            sql = "SELECT user, expires FROM sessions WHERE session = ?"
            row = await self._in(self._reader, self._one, sql, session)
            if row is None:
                return None
            known = (Grant(row[0], session), row[1])
            if ended == self._ended:  # or it may have been this one
                self._known_sessions[session] = known
        grant, expires = known
        return grant if self._wall() < expires else None

    async def end_session(self, session: str) -> None:
        self._forget_sessions([session])
        self.drop_session(session)
        await self._in(self._writer, self._end_session, session)

    async def live_sessions(self) -> set[str]:
        with_tickets = self.sessions()
        live = await self._in(self._reader, self._select_sessions, self._wall())
        for session in with_tickets - live:
            self.drop_session(session)
        self._forget_sessions(self._known_sessions.keys() - live)
        return live

    def _forget_sessions(self, sessions: Iterable[str]) -> None:
        self._ended += 1
        for session in list(sessions):
            self._known_sessions.pop(session, None)

    def _select_sessions(self, now: float) -> set[str]:
        return {session for (session,) in self._read.execute("SELECT session FROM sessions WHERE expires > ?", (now,))}

    def _end_session(self, session: str) -> None:
        self._write.execute("DELETE FROM sessions WHERE session = ?", (session,))

    def _one(self, sql: str, *values: object) -> Fields | None:
        row: Fields | None = self._read.execute(sql, values).fetchone()
        return row

    # Threads

    async def _in(self, worker: Worker, work: Callable[..., T], *args: object) -> T:
        try:
            return await worker.do(work, *args)
        except sqlite3.Error as error:
            raise EngineError(f"{self._path.name}: {error}") from error

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
