"""The SQLite engine: everything in one file, for one process, and a journal beside it.

The loop knows where each room stands, so a batch is stamped before it is kept.  A table of messages in the order of
their rooms is cheap to read and expensive to write: a batch of many rooms changes a page for each, and each step of a
statement releases Python's interpreter lock and waits for a busy loop to release it again.  So a batch is appended to
the journal, by the loop itself where the disk is quick, and its messages stay in memory (the tail) until the journal is
folded: copied to the table, many messages of a room at a time, and removed.  Of a room, the table has the beginning and
the tail the end.  After a crash, opening the file folds what the journal has.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from pathlib import Path

import structlog

from hubbub.age import Age
from hubbub.engine import Draft, Head, Listener, Outcome, Page, Resumed, RoomOutline
from hubbub.engine.batch import AmendRow, GenerationEnd, JournalBatch, KeyRow, encode_batch
from hubbub.engine.database import PROBE_BYTES, Database
from hubbub.engine.disk import DiskPace
from hubbub.engine.folding import Folding
from hubbub.engine.having import Having
from hubbub.engine.health import Health
from hubbub.engine.journal import Journal, JournalFile, SyncFailed
from hubbub.engine.local import LocalEngine, Silent, resume
from hubbub.engine.lock import Lock
from hubbub.engine.logfile import END, Fields, LogFile, RoomPlace
from hubbub.engine.marks import Marks
from hubbub.engine.older import adopt_older
from hubbub.engine.recovery import recover
from hubbub.engine.retention import Retention
from hubbub.engine.schema import advice, connect_file
from hubbub.engine.searching import Hits, Spot
from hubbub.engine.sqlite_following import FOLLOWING, SqliteFollowing, find_names, find_titles
from hubbub.engine.sqlite_search import SearchIndex
from hubbub.engine.sqlite_vault import SqliteVault
from hubbub.engine.stamp import Keys, LogTime, Stamped, amends_of, stamp
from hubbub.engine.tail import Row
from hubbub.engine.titles import drop_room, find_title, put_title, rename_old_rooms
from hubbub.engine.turns import Turns
from hubbub.engine.worker import Worker
from hubbub.errors import ConfigError, EngineError, NotKept, NotKnown
from hubbub.events import Message
from hubbub.words import Query

__all__ = ["SqliteEngine"]

log = structlog.get_logger("hubbub.engine")

# A tail of this many messages or bytes waits for a fold before it takes more, and takes none where that fails.
MOST_TAIL_MESSAGES = 1 << 18
MOST_TAIL_BYTES = 1 << 26

# Checkpoints are made after a fold, in a thread of their own.  At this many pages a write waits for one after all.
MOST_WAL_PAGES = 16_384

# Rooms whose place is known without asking the file; more than this many idle ones are forgotten.
MAX_PLACES = 50_000

# How often it is looked whether the files are still there.
LOOK_S = 0.5

make_row = Row._make


class SqliteEngine(LocalEngine, SqliteVault, SqliteFollowing):
    """Everything in one file.

    Args:
        path: the file; made when there is none.
        clock: seconds that never go back, for whatever has to end in time.
        wall: seconds since 1970, for when messages are sent, and how old they are.
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
        self._following = Having(self._database, FOLLOWING)
        self._clock = clock
        self._wall = wall
        self._log_time = LogTime(clock)
        self._keys = Keys()
        self._places: dict[str, RoomPlace] = {}
        self._next_room = 1
        self._epoch = ""
        self._generation = 0
        self._generations: dict[str, int] = {}
        self._marks = Marks(self._database)
        self._lock: Lock
        self._token = ""
        self._reading: LogFile
        self._check: sqlite3.Connection
        self._appending = Turns()
        self._is_quick = durability == "normal"
        self._pace = DiskPace(clock)
        self._journal = Journal(self._path, syncs=not self._is_quick)
        self._journaling = Worker("journal")
        self._journal_health = Health(self._probe_journal)
        self._lost = ""
        self._looking: asyncio.Task[None] | None = None
        self._index = SearchIndex(self._path, clock)
        self._folding = Folding(
            self._path,
            self._database,
            self._journal,
            self._appending,
            self._journaling,
            self._log_time,
            self._index.folded,
        )
        self._tail = self._folding.tail
        self._overlay = self._folding.overlay
        self._retention = Retention(
            self._database, self._folding, self._places, Age(keep_s, clock=clock, wall=wall), keep=keep
        )

    async def open(self, listener: Listener) -> None:
        with contextlib.ExitStack() as undo:
            self._lock = Lock(self._path)
            undo.callback(self._lock.release)
            database = self._database
            database.open()
            undo.callback(database.writing.close)
            undo.callback(database.reading.close)
            self._lock.lock_database()
            self._check = undo.enter_context(contextlib.closing(connect_file(self._path)))
            writing, self._reading, checking = map(LogFile, (database.writing, database.reading, self._check))
            try:
                database.writing.execute(f"PRAGMA wal_autocheckpoint = {MOST_WAL_PAGES}")
                adopt_older(database.writing)
                self._token = recover(self._path, self._lock, writing, self._journal)
                self._rename_old_rooms()
                self._begin(writing)
                database.note_beside()
            except (OSError, sqlite3.Error) as error:
                how = error.strerror if isinstance(error, OSError) else str(error)
                raise ConfigError(f"--engine sqlite:///{self._path}: {how}; {advice(error)}") from None
            undo.pop_all()
        self._folding.open(writing, checking)
        self._retention.open(writing, self._reading)
        self._index.open(self._epoch)
        self._listener = listener
        self._looking = asyncio.get_running_loop().create_task(self._look_for_ever())

    def _rename_old_rooms(self) -> None:
        left = rename_old_rooms(self._database.writing)
        if left:
            log.warning(
                "rooms of an earlier version stay in the file, and nobody enters them: others go by their names",
                count=len(left),
                rooms=left[:10],
            )

    def _begin(self, file: LogFile) -> None:
        """Go on where the log is."""
        self._generations = file.generations()
        self._epoch, self._generation = list(self._generations.items())[-1]
        self._next_room = file.last_room() + 1
        keys = file.keys()
        self._log_time.go_on_from(keys[-1].at if keys else 0)
        for entry in keys:
            self._keys.add(entry)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._retention.close()
        await self._journal_health.close()
        is_folded = await self._folding.close()
        await self._index.close()
        await asyncio.to_thread(self._journaling.close)
        self._check.close()
        await self._database.close()
        self._listener = Silent()
        self._journal.turn_away()
        if is_folded and not self._lost:
            # In this order: killed in between, it leaves a database that has all, and files that are not needed.
            self._lock.note_closed(self._token)
            self._journal.remove_retired()
        self._lock.release()

    @property
    def is_up(self) -> bool:
        return self._database.health.is_up and self._journal_health.is_up and not self._lost

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        if self._tail.is_larger_than(MOST_TAIL_MESSAGES, MOST_TAIL_BYTES) and not await self._folding.fold():
            raise NotKept("the journal cannot be folded")
        # One batch at a time, so that one that fails takes its seqs back before the next one is given any.
        if not self._appending.take():
            await self._appending.wait()
        try:
            if self._lost:
                raise NotKept(self._lost)
            if len(self._places) - len(self._subscribed) > MAX_PLACES:
                self._forget_idle_places()
            unknown = {draft.room for draft in batch if draft.room not in self._places}
            if unknown:
                await self._find_places(unknown)
            bodies: dict[tuple[str, int], bytes] = {}
            if any(map(amends_of, batch)):
                await self._find_bodies(batch, bodies)
            now, at = int(self._wall() * 1000), self._log_time()
            stamped = stamp(batch, self._places.__getitem__, self._keys, bodies, now=now, at=at)
            if stamped.fresh:
                await self._keep(stamped)
            return stamped.outcomes
        finally:
            self._appending.give()

    async def _keep(self, stamped: Stamped) -> None:
        """Write a batch to the journal, and do all that follows from it; or take its places back."""
        try:
            batch = self._batch(stamped)
            payload = encode_batch(batch)
            began = self._clock()
            is_quick = self._is_quick and not self._pace.is_slow(began)
            if is_quick:
                self._journal.current.write(payload)
                self._pace.note(began)
        except OSError as error:
            raise self._failure(stamped, error) from error
        except BaseException:
            stamped.undo(self._places.__getitem__, self._keys)
            raise
        if is_quick:
            self._settle(stamped, batch)
        else:
            await self._write_slowly(payload, batch, stamped)

    async def _write_slowly(self, payload: bytes, batch: JournalBatch, stamped: Stamped) -> None:
        """Have the thread write, and wait for it.  Whoever gives up waiting does not keep it from being done."""
        written = self._journaling.finish(self._write_in_thread, payload)
        try:
            await written
        except OSError as error:
            raise self._failure(stamped, error) from error
        except BaseException:  # cancelled meanwhile, or anything that writing has raised
            if written.exception() is None:
                self._settle(stamped, batch)
            else:
                stamped.undo(self._places.__getitem__, self._keys)
            raise
        self._settle(stamped, batch)

    def _write_in_thread(self, payload: bytes) -> None:
        began = self._clock()
        self._journal.current.write(payload)
        self._pace.note(began)

    def _failure(self, stamped: Stamped, error: OSError) -> EngineError:
        """What a failed write means for a batch, which has its places no more."""
        stamped.undo(self._places.__getitem__, self._keys)
        self._journal_health.note_failure()
        how = error.strerror or str(error)
        return NotKnown(how) if isinstance(error, SyncFailed) else NotKept(how)

    def _batch(self, stamped: Stamped) -> JournalBatch:
        """A stamped batch as the journal has it, room by room."""
        batch = JournalBatch([], [], [], [])
        rows, generation = batch.rows, self._generation
        for room, messages in stamped.fresh.items():
            place = self._places[room]
            number = place.id
            if place.is_new:
                batch.rooms.append((number, room))
            if not place.is_of(generation):
                batch.ends.append(GenerationEnd(number, generation, messages[0].seq - 1))
            for each in messages:
                rows.append(make_row((number, each.seq, each.sent, each.sender, each.type, each.body)))
        if stamped.amended:
            amends = [
                AmendRow(self._places[room].id, seq, by, body) for (room, seq), (by, body) in stamped.amended.items()
            ]
            batch = batch._replace(amends=tuple(amends))
        for entry in stamped.keys.values():
            number = self._places[entry.room].id
            row = KeyRow(entry.at, number, entry.seq, entry.sent, entry.sender, entry.key, entry.digest)
            batch.keys.append(row)
        return batch

    def _settle(self, stamped: Stamped, batch: JournalBatch) -> None:
        """Go on from a batch that is kept."""
        self._journal_health.is_up = True
        start = 0
        for room, messages in stamped.fresh.items():
            place, stop = self._places[room], start + len(messages)
            if place.is_new:
                place.is_new = False
                self._folding.note(room, place)
            if not place.is_of(self._generation):
                place.ends.append(GenerationEnd(place.id, self._generation, messages[0].seq - 1))
            place.kept = place.seq
            self._tail.add(room, batch.rows[start:stop])
            start = stop
            self._retention.note(room, place)
        for (room, _), row in zip(stamped.amended, batch.amends, strict=True):
            self._overlay.add(room, row)
        self._folding.add(batch)
        self._deliver(stamped.fresh)

    async def _find_bodies(self, batch: Sequence[Draft], bodies: dict[tuple[str, int], bytes]) -> None:
        """Find what a batch amends as it is now; only a batch changes it, and this one has its turn."""
        for draft in batch:
            for amend in draft.amends:
                try:
                    page = await self.read(draft.room, after=amend.seq - 1, limit=1)
                except EngineError as error:
                    raise NotKept(str(error)) from error
                bodies.update({(draft.room, message.seq): message.body for message in page.messages})

    async def _find_places(self, rooms: set[str]) -> None:
        try:
            found = await self._database.read(self._reading.find_rooms, rooms)
        except EngineError as error:
            raise NotKept(str(error)) from error
        for room in rooms:
            place = found.get(room)
            if place is None:
                place = RoomPlace(self._next_room, 0, 1, is_new=True)
                self._next_room += 1
            self._places[room] = place

    def _forget_idle_places(self) -> None:
        subscribed, folding = self._subscribed, self._folding
        for room in [room for room in self._places if room not in subscribed and not folding.has(room)]:
            del self._places[room]

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        below = self._overlay.of(room)  # a fold may end while the table is read
        end = END if before is None else before
        if room in self._tail:
            last = self._tail.last(room)
            found = await self._read_both(room, after, end, limit + 1)
        else:
            last, found = await self._database.read(self._reading.page, room, after, end, limit + 1)
        wanted = found[:limit] if after is not None else found[max(0, len(found) - limit) :]
        if room in self._overlay or below:
            wanted = self._overlay.over(wanted, below, self._overlay.of(room))
        messages = [Message(room, *fields) for fields in wanted]
        return Page(Head(self._epoch, last), messages, more=len(found) > limit)

    async def _read_both(self, room: str, after: int | None, before: int, limit: int) -> list[Fields]:
        """Messages of a room whose end is in the tail."""
        place, tail = self._places[room], self._tail
        first = tail.first(room)
        rows = tail.before(room, before, limit) if after is None else tail.after(room, after, limit)
        newer: list[Fields] = [row[1:] for row in rows]
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
        generation = self._generations.get(since.epoch)
        if generation is None or generation == self._generation:
            return await resume(self, room, since, limit)
        resumed = await resume(self, room, Head(self._epoch, since.seq), limit)
        # Asked after the read: a first message of this generation may have come meanwhile, and ends the earlier ones.
        if resumed.is_recovered and since.seq > await self._shared(room, generation):
            return await resume(self, room, since, limit)
        return resumed

    async def _shared(self, room: str, generation: int) -> int:
        """How far an earlier generation is part of this log: up to where the next one of the room began."""
        place = self._places.get(room)
        ends = place.ends if place is not None else await self._database.read(self._reading.ends, room)
        return min((end.seq for end in ends if end.generation > generation), default=END)

    async def head(self, room: str) -> Head:
        place = self._places.get(room)
        if place is not None:
            return Head(self._epoch, place.kept)
        return (await self.read(room, limit=1)).head

    async def title(self, room: str) -> str:
        return await self._database.read(find_title, self._database.reading, room)

    async def put_title(self, room: str, title: str) -> None:
        await self._database.write(put_title, self._database.writing, room, title)

    async def empty(self, room: str) -> None:
        if not self._appending.take():
            await self._appending.wait()  # two that look for one new room would give it two numbers
        try:
            if room not in self._places:
                await self._find_places({room})
            place = self._places[room]
        finally:
            self._appending.give()
        await self._retention.clear(room, place)
        self._index.note_cleared(place.id)

    async def clear(self, room: str) -> None:
        await self.empty(room)
        await self._database.write(drop_room, self._database.writing, room)

    # Rooms

    async def outlines(self, rooms: Collection[str]) -> dict[str, RoomOutline]:
        titles = await self._database.read(find_titles, self._database.reading, rooms)
        unknown = [room for room in rooms if room not in self._places]
        found = await self._database.read(self._reading.find_rooms, unknown) if unknown else {}
        outlines = {}
        for room in rooms:
            # Known now, it is better known than the file knows it.
            place = self._places.get(room) or found.get(room) or RoomPlace(0, 0, 1)
            sent = place.sent if place.kept >= place.first else 0
            outlines[room] = RoomOutline(titles.get(room, ""), self._epoch, place.kept, sent)
        return outlines

    async def room_names(self, *, prefix: str = "", after: str = "", limit: int) -> list[str]:
        # Asked before the file: those that are folded meanwhile are found twice rather than not at all.
        new = {room for room in self._folding.new_rooms if room > after and room.startswith(prefix)}
        new.update(await self._database.read(find_names, self._database.reading, prefix, after, limit))
        return heapq.nsmallest(limit, new)

    # Searching

    @property
    def can_search(self) -> bool:
        return self._index.can_open

    async def search(self, query: Query, rooms: Collection[str], before: Spot | None, limit: int) -> Hits:
        return await self._index.search(self._tail, self._overlay, self._places, query, rooms, before, limit)

    async def first_since(self, room: str, sent_ms: int) -> int:
        if room in self._tail and self._tail.rows(room)[0].sent < sent_ms:
            rows = self._tail.rows(room)
            index = bisect_left(rows, sent_ms, key=attrgetter("sent"))
            return rows[index].seq if index < len(rows) else self._tail.last(room) + 1
        found = await self._database.read(self._reading.first_since, room, sent_ms)
        if room in self._places:
            return max(min(found, self._places[room].kept + 1), self._places[room].first)
        return found

    # The files

    async def _probe_journal(self) -> None:
        """Look whether the journal can be written again.

        Raises:
            NotKept: it cannot.
        """
        if self._journal.current.is_spoiled:
            if not await self._folding.fold():  # begins another file
                raise NotKept("the journal cannot be folded")
            return
        if not self._appending.take():
            await self._appending.wait()
        try:
            await self._journaling.do(self._journal.current.probe, PROBE_BYTES)
        except OSError as error:
            raise NotKept(error.strerror) from error
        finally:
            self._appending.give()

    async def _look_for_ever(self) -> None:
        """Look whether the files that are written are those that the next start will find."""
        while True:
            await asyncio.sleep(LOOK_S)  # between two looks
            current = self._journal.current
            with contextlib.suppress(EngineError):
                has_database, has_journal = await self._database.read(self._look, current)
                if current is self._journal.current:
                    self._note_lost(is_lost=not (has_database and has_journal))
                    self._database.lost = "" if has_database else self._lost
                    if has_database and not has_journal:
                        # All that it had is in the tail: it is folded, and another file is begun.
                        current.is_spoiled = True
                        await self._folding.fold()

    def _look(self, current: JournalFile) -> tuple[bool, bool]:
        """Whether the database, with what SQLite has beside it, and the journal are there."""
        return self._lock.is_there and self._database.is_complete, current.is_there

    def _note_lost(self, *, is_lost: bool) -> None:
        if is_lost and not self._lost:
            self._lost = f"{self._path} or a file beside it was deleted or replaced; put it back, or restart the server"
            log.error("nothing is kept", reason=self._lost)
        elif self._lost and not is_lost:
            self._lost = ""
            log.warning("the files are back; messages are kept again", file=str(self._path))

    # Attendance

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        return await self._marks.move(user, room, seq)

    async def read_mark(self, room: str, user: str) -> int:
        return await self._marks.find(user, room)
