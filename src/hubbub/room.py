"""A live room: its members, what was said in it this tick, and the fan-out.

It lives as long as it has members, or somebody is on the way in.  Applications hold a `handle.Room`, a name with a few
verbs, and never one of these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set
from enum import Enum, auto
from typing import NamedTuple

from hubbub.acts import Act
from hubbub.client import Audience, Frame, Participant
from hubbub.counts import HubCounts
from hubbub.dialect import Dialect
from hubbub.engine import Engine, Head
from hubbub.events import Message
from hubbub.presence import Roster
from hubbub.recent import RECENT, Recent
from hubbub.tasks import Once

__all__ = ["LiveRoom", "Place", "Standing"]

# One turn of the loop writes to this many members at most, and copies about this many bytes: measured, a write
# takes 2 to 10 us, so that 10,000 members never hold the loop for more than a fraction of 50 ms at a time.
SLICE_MEMBERS = 2000
SLICE_BYTES = 8 << 20
# What one flush of such a room brings to a member, about: messages gather while it is under way, and no member may be
# written more than this beyond the limit of its outbox.  A message alone may be longer.
FLUSH_BYTES = 64 * 1024
# What a message has besides its body, about: room, seq, sender and time, in the envelope and the frame.
ENVELOPE_BYTES = 150


class Standing(Enum):
    """How a member of a room gets its messages."""

    PRESENT = auto()  # among an audience, which gets every flush
    NEWCOMER = auto()  # joins its audience at the next flush
    BEHIND = auto()  # fed from the log, until it has caught up


class Place(NamedTuple):
    """Where a member stands; `heard` is the last seq it has, for all but those present, who have what was written."""

    standing: Standing
    heard: int


# One object for all: a member that is present takes no memory for its place.
PRESENT = Place(Standing.PRESENT, 0)


class LiveRoom:
    """A room that has members in this process, or is about to.

    Args:
        look_at: stops writing to a member whose outbox is over its limit; called for those that are watched, after each
            slice of a large room.
        title: how the name is written by the first who enters.

    Attributes:
        title: how the name is shown; for a room that something is kept of, once it is `filled`.
        members: each with its place.
        arrivals: how many are on the way in.
        recent: its newest messages; from its first member that can resume on, `filled` has them all.
        roster: who is there.
    """

    __slots__ = (
        "_audiences",
        "_counts",
        "_engine",
        "_entrance",
        "_filling",
        "_flushed",
        "_look_at",
        "_newcomers",
        "_opening",
        "_pending",
        "_slicing",
        "_slow",
        "_unwritten",
        "arrivals",
        "members",
        "name",
        "recent",
        "roster",
        "title",
    )

    def __init__(
        self, name: str, engine: Engine, look_at: Callable[[Participant], object], title: str, counts: HubCounts
    ) -> None:
        self.name = name
        self._counts = counts
        self.title = title
        self._look_at = look_at
        self.members: dict[Participant, Place] = {}
        self.arrivals = 0
        self.recent = Recent()
        self.roster = Roster()
        self._engine = engine
        self._opening = Once()
        self._filling = Once()
        self._pending: list[Message] = []
        # The members that are present, by what they get; those that are not present yet; and those of both that have
        # yet to take what they were sent.
        self._audiences: dict[Audience, dict[Participant, None]] = {}
        self._newcomers: dict[Participant, None] = {}
        self._slow: dict[Participant, None] = {}
        # One place for all who enter between two messages.
        self._entrance = Place(Standing.NEWCOMER, 0)
        # The first and the last seq of the newest flush; its next slice, if it takes several turns of the loop; and
        # what is still to be written to whom, by audience.
        self._flushed = (0, 0)
        self._slicing: asyncio.Handle | None = None
        self._unwritten: dict[Audience, tuple[bytes, dict[Participant, None]]] = {}

    def __repr__(self) -> str:
        return f"<LiveRoom {self.name!r} with {len(self.members)} members>"

    @property
    def is_live(self) -> bool:
        """Whether anybody is in it, or about to be."""
        return bool(self.members or self.arrivals)

    @property
    def is_occupied(self) -> bool:
        """Whether anybody is in it."""
        return bool(self.members)

    @property
    def is_flushing(self) -> bool:
        """Whether a flush is under way that takes several turns of the loop."""
        return self._slicing is not None

    @property
    def is_filled(self) -> bool:
        """Whether its title, and all that `recent` has, are known to be the log's."""
        return self._filling.is_done

    # Opening

    async def opened(self) -> None:
        """Wait until the engine tells of this room.

        Raises:
            EngineError: it cannot; the next one who waits tries again.
        """
        if not self._opening.is_done:
            await self._opening.done(self._open)

    async def filled(self) -> None:
        """Wait until the room knows its newest messages.  One read serves all who wait.

        Raises:
            EngineError: the log cannot be read; the next one who waits tries again.
        """
        if not self._filling.is_done:
            await self._filling.done(self._fill)

    async def _open(self) -> None:
        await self._engine.subscribe(self.name)

    async def _fill(self) -> None:
        await self.opened()
        title = await self._engine.title(self.name)
        epoch = None
        while epoch != self.recent.epoch:  # where it changes while the log is read, what was read may not be true
            epoch = self.recent.epoch
            page = await self._engine.read(self.name, limit=RECENT)
        if title or page.head.seq:  # it is no new room
            self.title = title or self.name
        self.recent.fill(page)

    # Coming and going

    def enter(self, client: Participant, heard: int, *, is_slow: bool) -> None:
        """Add a member, or bring one that was behind back, that needs every message after the seq `heard`."""
        if self.behind(client) is not None:
            self._counts.behind -= 1
        if self._entrance.heard != heard:
            self._entrance = Place(Standing.NEWCOMER, heard)
        self.members[client] = self._entrance
        self._newcomers[client] = None
        if is_slow:
            self._slow[client] = None

    def enter_behind(self, client: Participant, heard: int) -> None:
        """Add a member that has more to catch up with than is at hand, or note how far one has come."""
        if self.behind(client) is None:
            self._counts.behind += 1
        self.members[client] = Place(Standing.BEHIND, heard)

    def leave(self, client: Participant) -> None:
        """Remove a member; it hears nothing from now on."""
        self._stop_writing(client)
        if self.members.pop(client).standing is Standing.BEHIND:
            self._counts.behind -= 1

    def fall_behind(self, client: Participant) -> None:
        """Stop writing to a member, to feed it later from where it is now."""
        standing, heard = self.members[client]
        if standing is Standing.BEHIND:
            return
        if standing is Standing.PRESENT:
            heard = self._flushed[0] - 1 if self._has_still_to_write_to(client) else self._flushed[1]
        self._stop_writing(client)
        self._counts.behind += 1
        self.members[client] = Place(Standing.BEHIND, heard)

    def behind(self, client: Participant) -> int | None:
        """The seq up to which a member that is behind has heard everything; None for one that is not behind."""
        place = self.members.get(client)
        return place.heard if place is not None and place.standing is Standing.BEHIND else None

    def _stop_writing(self, client: Participant) -> None:
        self._newcomers.pop(client, None)
        self._slow.pop(client, None)
        if self.members[client].standing is Standing.PRESENT:
            audience = self._audiences[client.audience]
            del audience[client]
            if not audience:
                del self._audiences[client.audience]
            if self._has_still_to_write_to(client):
                del self._unwritten[client.audience][1][client]

    def _has_still_to_write_to(self, client: Participant) -> bool:
        """Whether the flush under way has not come to a member yet."""
        return client.audience in self._unwritten and client in self._unwritten[client.audience][1]

    # Slow members

    def watch(self, client: Participant) -> None:
        """Note that a member takes its frames slower than they come."""
        if self.members[client].standing is not Standing.BEHIND:
            self._slow[client] = None

    def unwatch(self, client: Participant) -> None:
        """Note that a member has taken what it was sent."""
        self._slow.pop(client, None)

    @property
    def watched(self) -> tuple[Participant, ...]:
        """Members that are written to, and have yet to take what they were sent."""
        return tuple(self._slow)

    # Fan-out

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages from the log, in order, for the next flush."""
        self._pending += messages
        if self._filling.has_begun:
            self.recent.extend(messages)
        else:
            self.recent.last_seq = messages[-1].seq  # nobody here asks for more

    def rewind(self, head: Head) -> None:
        """Go on from another place in the log, under another epoch."""
        self._pending = [message for message in self._pending if message.seq <= head.seq]
        self.recent.rewind(head)

    def flush(self) -> None:
        """Write what is pending to every member: one encoding a message and dialect, one write a member."""
        while self._pending and self._slicing is None:
            self._flush_next()

    def _flush_next(self) -> None:
        is_large = len(self.members) > SLICE_MEMBERS
        messages = self._take_pending(FLUSH_BYTES) if is_large else self._pending
        if not is_large:
            self._pending = []
        batch = Batch(messages)
        self._flushed = messages[0].seq, messages[-1].seq
        late = self._take_in_newcomers(batch) if self._newcomers else ()
        if is_large:
            self._unwritten = {who: (batch.joined(who), dict(members)) for who, members in self._audiences.items()}
            written = sum(len(members) for data, members in self._unwritten.values() if data)
            self._write_slice()
        else:
            written = 0
            for audience, members in self._audiences.items():
                data = batch.joined(audience)
                if data:
                    write_to(members, data)
                    written += len(members)
        self._counts.deliveries += written * len(messages)
        for client, heard in late:
            client.write_frames(batch.joined(client.audience, heard))
            self._counts.deliveries += max(0, messages[-1].seq - heard)
            self._make_present(client)

    def _take_pending(self, most: int) -> list[Message]:
        """Take the oldest pending messages: one at least, and about `most` bytes."""
        size = count = 0
        for message in self._pending:
            size += len(message.body) + ENVELOPE_BYTES
            if count and size > most:
                break
            count += 1
        taken = self._pending[:count]
        del self._pending[:count]
        return taken

    def flush_at_once(self) -> None:
        """Write what is pending in this turn of the loop, to however many: before something that is out of order."""
        self.flush()
        while self._slicing is not None:
            self._slicing.cancel()
            self._go_on()

    def announce(self, type_: str, payload: bytes) -> None:
        """Write an event about a user to the members that may see who is there."""
        name = self.name
        self.cast(type_, payload, {client for client in self.members if not client.joined.get(name, 0) & Act.PRESENCE})

    def cast(self, type_: str, payload: bytes, leave_out: Set[Participant] = frozenset()) -> None:
        """Write an unkept event to every member at once; those behind have enough to do."""
        frames: dict[tuple[Dialect, Frame], bytes] = {}
        for (dialect, frame, _), members in self._audiences.items():
            data = frames.get((dialect, frame))
            if data is None:
                data = frames[dialect, frame] = framed(frame, dialect.cast(self.name, type_, payload))
            if data:
                write_to([client for client in members if client not in leave_out] if leave_out else members, data)
        for client in self._newcomers.keys() - leave_out if leave_out else self._newcomers:
            client.write_text(client.dialect.cast(self.name, type_, payload))

    def _make_present(self, client: Participant) -> None:
        self.members[client] = PRESENT
        self._audiences.setdefault(client.audience, {})[client] = None

    def _take_in_newcomers(self, batch: Batch) -> list[tuple[Participant, int]]:
        """Make newcomers ordinary members; those that have heard a part of this batch are returned instead."""
        newcomers, self._newcomers = self._newcomers, {}
        late = []
        for client in newcomers:
            heard = self.members[client].heard
            if heard < batch.first_seq:
                self._make_present(client)
            else:
                late.append((client, heard))
        return late

    def _go_on(self) -> None:
        """Write the next slice of the flush under way; after its last one, what was said meanwhile."""
        self._slicing = None
        self._write_slice()
        self.flush()

    def _write_slice(self) -> None:
        """Write to a part of a very large room, and to the next one in another turn of the loop."""
        while self._unwritten:
            audience, (data, members) = next(iter(self._unwritten.items()))
            if data and members:
                break
            del self._unwritten[audience]
        else:
            return
        count = max(1, min(SLICE_MEMBERS, SLICE_BYTES // len(data), len(members)))
        written = [members.popitem()[0] for _ in range(count)]
        write_to(written, data)
        self._slicing = asyncio.get_running_loop().call_soon(self._go_on)
        if self._slow:
            # Each as soon as it is written to: the next flush may come before the next look at the whole room.
            for client in [client for client in written if client in self._slow]:
                self._look_at(client)


class Batch:
    """One flush's messages: encoded once for each dialect present, joined once for each audience."""

    __slots__ = ("_frames", "_messages")

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._frames: dict[tuple[Dialect, Frame], list[bytes]] = {}

    @property
    def first_seq(self) -> int:
        """Where the batch begins."""
        return self._messages[0].seq

    def joined(self, audience: Audience, heard: int = 0) -> bytes:
        """The bytes for an audience that has heard everything up to the seq `heard`."""
        dialect, frame, muted = audience
        messages = self._messages
        frames = self._frames.get((dialect, frame))
        if frames is None:
            frames = self._frames[dialect, frame] = [
                frame(text) if (text := dialect.message(message)) else b"" for message in messages
            ]
        if muted is None and heard < messages[0].seq:
            return b"".join(frames) if len(frames) > 1 else frames[0]
        return b"".join(
            data
            for data, message in zip(frames, messages, strict=True)
            if message.seq > heard and (muted is None or message.sender != muted)
        )


def framed(frame: Frame, text: bytes) -> bytes:
    """A text in its frame; an empty one has none."""
    return frame(text) if text else b""


def write_to(members: Iterable[Participant], data: bytes) -> None:
    """Write the same bytes to each member.  Nothing here waits, and one member's trouble is not another's."""
    for client in members:
        try:
            client.write(data)
        except RuntimeError:
            pass  # the transport closed under us; its connection_lost is on the way
