"""The appends of one partition: one call after the other, each numbered, so that one whose answer was lost is repeated.

A call that was given up may still be carried out.  Until it is known what became of it, no other is sent; then its
messages are shown, though their senders have long been told that it is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from struct import Struct

import msgspec
import structlog

from hubbub.engine import Draft, Outcome, Receipt
from hubbub.engine.redis.calls import load
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.link import Part
from hubbub.engine.redis.master import NotDone, ShardCall
from hubbub.engine.redis.masters import Masters
from hubbub.engine.redis.steady import SteadyTime
from hubbub.engine.stamp import digest_of
from hubbub.engine.turns import Turns
from hubbub.errors import KeyConflict, NotKept, NotKnown, Stale

__all__ = ["Kept", "PartitionLane"]

log = structlog.get_logger("hubbub.engine")

# From a batch's first try until its senders are told that it is not known whether it was kept.
APPEND_S = 10.0

# One call has no more than this.  The server does nothing else meanwhile.
MOST_DRAFTS = 1_000
MOST_BYTES = 1 << 18

# Between two tries to find out what became of a call that was given up.
SETTLE_S = 1.0

SCRIPT = load("append")

_encode = msgspec.msgpack.Encoder().encode
_head = Struct(">QQ")  # log time, generation
_room = Struct(">QQI")  # last seq before, sent, bytes of repeats
_repeat = Struct(">IQQI")  # which draft, seq, sent, digest


class RoomDrafts:
    """The drafts of one room in one call, with their places in the batch."""

    __slots__ = ("drafts", "indices", "room")

    def __init__(self, room: str) -> None:
        self.room = room
        self.drafts: list[Draft] = []
        self.indices: list[int] = []


class Kept:
    """What one call has kept of one room.

    Attributes:
        generation: in which it was kept.
        before: the last seq before it.
        sent: when, in milliseconds since 1970.
        fresh: the drafts that were new, in the order of their seqs.
    """

    __slots__ = ("before", "fresh", "generation", "room", "sent")

    def __init__(self, room: str, generation: int, before: int, sent: int, fresh: list[Draft]) -> None:
        self.room = room
        self.generation = generation
        self.before = before
        self.sent = sent
        self.fresh = fresh


class PartitionLane:
    """The appends of one partition.

    Attributes:
        is_refused: whether the last call was refused, as it is where the server's memory is full.
        time: the partition's log time.
        turns: whose call is under way.

    Args:
        node: this node's id: 16 bytes, of this start.
        on_kept: is told what was kept, in order; it returns who waits until some of that is shown.
        on_late: is told what was kept of calls that were given up.
        on_returned: is told of what was kept, where somebody waited, when the append returns.
        keep: messages kept of a room; 0 for all.
        wait: replicas that must have it.
        now: tells tests' time in milliseconds since 1970; None for the server's.
    """

    def __init__(
        self,
        partition: int,
        node: bytes,
        keys: Keyspace,
        masters: Masters,
        clock: Callable[[], float],
        on_kept: Callable[[Sequence[Kept]], Sequence[asyncio.Future[None]]],
        on_late: Callable[[Sequence[Kept]], None],
        on_returned: Callable[[Sequence[Kept]], None],
        *,
        keep: int,
        wait: int,
        now: Callable[[], int] | None,
    ) -> None:
        self.turns = Turns()
        # One append after the other, up to its return: what it waits for may take other turns.
        self._appending = Turns()
        self.time = SteadyTime(clock)
        self._partition = partition
        self._node = node
        self._keys = keys
        self._masters = masters
        self._on_kept = on_kept
        self._on_late = on_late
        self._on_returned = on_returned
        self._keep = keep
        self._wait = wait
        self._now = now
        self._number = 0
        self._of_partition = [keys.in_partition(partition, name) for name in ("f", "d0", "d1", "names")]
        self._publish = b"SPUBLISH" if keys.partitions > 1 else b"PUBLISH"
        self._settling: asyncio.Task[None] | None = None
        self.is_refused = False

    async def append(self, drafts: Sequence[Draft]) -> list[Outcome]:
        """Keep drafts of rooms of this partition.

        Raises:
            NotKept: none of them was.
            NotKnown: each of them was, or was not.
        """
        if not self._appending.take():
            await self._appending.wait()
        try:
            return await self._append(drafts)
        finally:
            self._appending.give()

    async def _append(self, drafts: Sequence[Draft]) -> list[Outcome]:
        outcomes: list[Outcome] = [UNSETTLED] * len(drafts)
        kept: list[Kept] = []
        await self.take_turn()
        try:
            for part in parts_of(drafts):
                answer = await self._run(part, has_kept=bool(kept))
                kept += self._read_or_give(answer, part, outcomes)
        except BaseException:
            self._on_late(kept)
            raise
        try:
            waiters = self._on_kept(kept)
        finally:
            self.turns.give()
        if waiters:
            await self._shown(waiters, kept)
        return outcomes

    async def _run(self, part: Sequence[RoomDrafts], *, has_kept: bool) -> bytes:
        """Make one call; the turn is given where it is not returned from."""
        call = self._call(part)
        try:
            answer: bytes = await self._masters.run(call, within_s=APPEND_S)
        except NotDone as error:
            if call.may_be:
                self._settle_later(call, part)
            else:
                self.turns.give()
            if has_kept or call.may_be:
                raise NotKnown(f"it is not known whether it was kept: {error}") from None
            self.is_refused = True
            raise NotKept(str(error)) from None
        except asyncio.CancelledError:
            self._settle_later(call, part)
            raise
        except BaseException:
            self.turns.give()  # the next call has a higher number: a late copy of this one is refused
            raise
        self.is_refused = False
        return answer

    async def probe(self) -> None:
        """Find out whether messages are still refused.

        Raises:
            NotKept: they are.
            NotKnown: it is not known.
        """
        await self.take_turn()
        await self._run([], has_kept=False)
        self.turns.give()

    async def _shown(self, waiters: Sequence[asyncio.Future[None]], kept: Sequence[Kept]) -> None:
        """Wait until what was kept is shown, after what others have said before it; not for ever."""
        try:
            await asyncio.wait(waiters, timeout=APPEND_S)
        finally:
            self._on_returned(kept)

    async def take_turn(self) -> None:
        """Wait for what is under way in this partition; whoever has called gives the turn.

        Raises:
            NotKept: it takes too long.
        """
        if self.turns.take():
            return
        try:
            async with asyncio.timeout(APPEND_S):
                await self.turns.wait()
        except TimeoutError:
            raise NotKept("it is not known yet what became of an earlier batch") from None

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Keep appends from being under way while the block runs.

        Raises:
            NotKept: what is under way takes too long.
        """
        await self.take_turn()
        try:
            yield
        finally:
            self.turns.give()

    async def close(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    def _call(self, part: Sequence[RoomDrafts]) -> ShardCall:
        self._number += 1
        number = self._number
        keys: list[Part] = list(self._of_partition)
        of_rooms: list[Part] = []
        for each in part:
            keys += (self._keys.of_room("p", each.room), self._keys.of_room("l", each.room))
            of_rooms += (self._keys.of_room("c", each.room), len(each.drafts))
            of_rooms += map(key_of, each.drafts)
            of_rooms += map(tail_of, each.drafts)
        of_rooms += amends_of(part)

        def args(identity: bytes) -> Sequence[Part]:
            now = self._now() if self._now is not None else b""
            return [self._node, number, identity, now, self.time.now_ms(), self._keep, self._publish, *of_rooms]

        return ShardCall(self._partition, SCRIPT, keys, args, self._wait)

    def _read(self, answer: bytes, part: Sequence[RoomDrafts], outcomes: list[Outcome]) -> Iterator[Kept]:
        """Take an answer apart: the outcome of each draft, and what was kept of each room."""
        at, generation = _head.unpack_from(answer)
        self.time.learn(at)
        offset = _head.size
        for each in part:
            before, sent, size = _room.unpack_from(answer, offset)
            offset += _room.size
            fresh = each.drafts
            if size:
                repeats = {place: rest for place, *rest in _repeat.iter_unpack(answer[offset : offset + size])}
                offset += size
                fresh = []
                for place, (index, draft) in enumerate(zip(each.indices, each.drafts, strict=True)):
                    if place in repeats:
                        outcomes[index] = repeated(draft, *repeats[place])
                    else:
                        fresh.append(draft)
                        outcomes[index] = Receipt(before + len(fresh), sent)
            else:
                for seq, index in enumerate(each.indices, before + 1):
                    outcomes[index] = Receipt(seq, sent)
            if fresh:
                yield Kept(each.room, generation, before, sent, fresh)

    # A call that was given up

    def _settle_later(self, call: ShardCall, part: Sequence[RoomDrafts]) -> None:
        """Keep the turn until it is known what became of a call."""
        self._settling = asyncio.ensure_future(self._settle(call, part))

    async def _settle(self, call: ShardCall, part: Sequence[RoomDrafts]) -> None:
        while True:
            try:
                answer = await self._masters.run(call, within_s=APPEND_S)
                break
            except NotDone:
                self.is_refused = True
                await asyncio.sleep(SETTLE_S)  # the server is away, or refuses everything
        self.is_refused = False
        outcomes: list[Outcome] = [UNSETTLED] * (1 + max((index for each in part for index in each.indices), default=0))
        kept = self._read_or_give(answer, part, outcomes)
        log.info("a batch that was not known about was kept", partition=self._partition)
        self.turns.give()
        self._on_late(kept)

    def _read_or_give(self, answer: bytes, part: Sequence[RoomDrafts], outcomes: list[Outcome]) -> list[Kept]:
        """Take an answer apart; the turn is given where that fails."""
        try:
            return list(self._read(answer, part, outcomes))
        except Exception:
            self.turns.give()
            raise


# What an outcome is before it is known.
UNSETTLED = Receipt(0, 0)


def parts_of(drafts: Sequence[Draft]) -> Iterable[list[RoomDrafts]]:
    """A batch as one call or several, each with its drafts by room."""
    by_room: dict[str, RoomDrafts] = {}
    count = size = 0
    for index, draft in enumerate(drafts):
        if count == MOST_DRAFTS or (count and size + len(draft.body) > MOST_BYTES):
            yield list(by_room.values())
            by_room, count, size = {}, 0, 0
        of_room = by_room.get(draft.room)
        if of_room is None:
            of_room = by_room[draft.room] = RoomDrafts(draft.room)
        of_room.drafts.append(draft)
        of_room.indices.append(index)
        count += 1
        size += len(draft.body)
        if draft.amends:
            size += sum(len(amend.expected) + len(amend.body) for amend in draft.amends)
    if by_room:
        yield list(by_room.values())


def tail_of(draft: Draft) -> bytes:
    """All of a message that its draft has, as the end of a MessagePack array of four that begins with `sent`."""
    return _encode((draft.sender, draft.type, draft.body))[1:]


def key_of(draft: Draft) -> bytes:
    """What a draft's key is kept by, and the digest that tells other messages with the same key; empty without one."""
    if draft.key is None:
        return b""
    name = f"{draft.room}\0{draft.sender or ''}\0{draft.key}".encode()
    return blake2b(name, digest_size=16).digest() + digest_of(draft.type, draft.body).to_bytes(4)


def amends_of(part: Sequence[RoomDrafts]) -> Iterator[Part]:
    """What the drafts of a call amend, as its script takes it."""
    for number, of_room in enumerate(part, 1):
        for place, draft in enumerate(of_room.drafts, 1):
            if draft.amends:
                yield from (number, place, len(draft.amends))
                for amend in draft.amends:
                    yield from (amend.seq, amend.expected, amend.body)
                    yield from (0, b"") if amend.rest is None else (1, amend.rest)


def repeated(draft: Draft, seq: int, sent: int, digest: int) -> Outcome:
    """What a draft gets whose key is known, or that amends what is not as expected."""
    if not seq:
        return Stale(draft.amends[0].seq)
    if digest != digest_of(draft.type, draft.body):
        return KeyConflict(draft.key or "", seq)
    return Receipt(seq, sent, repeated=True)
