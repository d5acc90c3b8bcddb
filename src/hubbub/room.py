"""A room: its members, what was said in it this tick, and the fan-out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from hubbub.client import Audience, Client, Dialect, Write
from hubbub.engine import Draft, Receipt
from hubbub.errors import EngineError
from hubbub.events import Event, Message, encode, encode_payload
from hubbub.recent import RECENT, Recent

if TYPE_CHECKING:
    from collections.abc import Generator

    from hubbub.hub import Hub

__all__ = ["Posting", "Room", "posted"]

# One turn of the loop writes to this many members at most, and copies about this many bytes: measured, a write
# takes 2 to 10 us, so that 10,000 members never hold the loop for more than a fraction of 50 ms at a time.
SLICE_MEMBERS = 2000
SLICE_BYTES = 8 << 20

# What an asynchronous handler has posted so far, so that its ack can wait for the log.
posted: ContextVar[list[Posting] | None] = ContextVar("posted", default=None)


class Posting(Draft, gc=True):
    """A draft on its way into the log.  Await it for its `Receipt`; `EngineError` when it could not be kept.

    Return it from a handler to acknowledge the request with its `room`, `seq` and `sent`.
    """

    receipt: Receipt | None = None
    error: EngineError | None = None
    is_awaited: bool = False
    reply: Callable[[Posting], None] | None = None
    waiter: asyncio.Future[None] | None = None

    def __await__(self) -> Generator[Any, None, Receipt]:
        if self.receipt is None and self.error is None:
            if self.waiter is None:
                self.waiter = asyncio.get_running_loop().create_future()
                self.is_awaited = True
            yield from asyncio.shield(self.waiter).__await__()
        if self.error is not None:
            raise self.error
        assert self.receipt is not None
        return self.receipt

    def reply_with(self, reply: Callable[[Posting], None]) -> None:
        """Call `reply` once it is known how it went."""
        self.reply = reply
        self.is_awaited = True

    def settle(self) -> None:
        """Tell whoever waits how it went."""
        reply, self.reply = self.reply, None  # it refers back to here, and would wait for the collector
        if reply is not None:
            reply(self)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Room:
    """A room, live while it has members.  `hub.room(name)` finds it; one without members can be posted to as well.

    A member is in one of three places: among an audience, which gets every flush; among the newcomers, which join
    their audience at the next flush; or behind, fed from the log until it has caught up.
    """

    __slots__ = (
        "_audiences",
        "_filling",
        "_hub",
        "_names",
        "_newcomers",
        "_pending",
        "arrivals",
        "behind",
        "is_flushing",
        "lingering",
        "marks",
        "members",
        "name",
        "recent",
        "typing",
        "users",
    )

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.members: dict[Client, None] = {}
        self.users: Counter[str] = Counter()
        self.behind: dict[Client, int] = {}
        self.marks: dict[str, int] = {}
        # Users that left a moment ago and may be back, and those that type; with the marks by which that ends.
        self.lingering: dict[str, int] = {}
        self.typing: dict[str, int] = {}
        self.recent = Recent()
        self.is_flushing = False
        self._hub = hub
        # With the way out to each member, so that a flush need not look for it.
        self._audiences: dict[Audience, dict[Client, Write]] = {}
        # Members that entered since the last flush, and the seq up to which they have heard everything.
        self._newcomers: dict[Client, int] = {}
        self._pending: list[Message] = []
        self.arrivals = 0
        self._names: bytes | None = None
        self._filling: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Room {self.name!r} with {len(self.members)} members>"

    @property
    def is_live(self) -> bool:
        """Whether anybody is in it, or about to be."""
        return bool(self.members or self.arrivals)

    @property
    def names(self) -> bytes:
        """The users in the room, sorted, as a JSON array.  Kept: thousands may ask between two changes.

        One that lingers is among them: the others have not been told otherwise, nor will be if it comes back.
        """
        if self._names is None:
            self._names = encode(sorted(self.users.keys() | self.lingering.keys()))
        return self._names

    def linger(self, user: str, mark: int) -> None:
        """Count a user who has just left among those in the room, for a while."""
        self.lingering[user] = mark
        self._names = None

    def stop_lingering(self, user: str) -> bool:
        """Count a user no longer, unless it is there; False if it did not linger."""
        self._names = None
        return self.lingering.pop(user, None) is not None

    # Speaking

    def post(self, event: Event, *, sender: Client | None = None, key: str | None = None) -> Posting:
        """Say something in the room that is kept: in order, in the log, resumable.

        Args:
            sender: the client on whose behalf it is said; its user becomes the message's `from`.
            key: a name for this message, given by its sender: within the dedupe window one key is kept once.

        Returns:
            The message on its way: await it, or return it from a handler, to know that it was kept.
        """
        posting = Posting(self.name, type(event).tag, encode_payload(event), sender.user if sender else None, key)
        self._hub.pump.gather(posting)
        of_handler = posted.get()
        if of_handler is not None:
            of_handler.append(posting)
        return posting

    def cast(self, event: Event) -> None:
        """Say something in the room that is not kept: typing, cursors.  Classic members hear nothing."""
        self._hub.cast(self.name, type(event).tag, encode_payload(event))

    # Coming and going

    async def filled(self) -> None:
        """Wait until the room knows its newest messages.  One read serves all who wait.

        Raises:
            EngineError: the log cannot be read; the next one who waits tries again.
        """
        if self._filling is None:
            self._filling = asyncio.ensure_future(self._fill())
            self._filling.add_done_callback(self._filling_ended)
        await asyncio.shield(self._filling)

    async def _fill(self) -> None:
        page = await self._hub.engine.read(self.name, limit=RECENT)
        self.recent.fill(page.messages, page.head.seq)

    def _filling_ended(self, filling: asyncio.Future[None]) -> None:
        if filling.cancelled() or filling.exception() is not None:
            self._filling = None

    def enter(self, client: Client, heard: int) -> None:
        """Add a member that needs every message after the seq `heard`."""
        self._add(client)
        self.behind.pop(client, None)
        self._newcomers[client] = heard

    def enter_behind(self, client: Client, heard: int) -> None:
        """Add a member that has more to catch up with than is at hand."""
        self._add(client)
        self.behind[client] = heard

    def _add(self, client: Client) -> None:
        if client not in self.members:
            self.members[client] = None
            self.users[client.user] += 1
            if self.users[client.user] == 1:
                self._names = None

    def leave(self, client: Client) -> None:
        """Remove a member; it hears nothing from now on."""
        del self.members[client]
        self.users[client.user] -= 1
        if not self.users[client.user]:
            del self.users[client.user]
            self._names = None
        self._stop_writing(client)
        self.behind.pop(client, None)

    def fall_behind(self, client: Client) -> None:
        """Stop writing to a member, to feed it later from where it is now."""
        if client in self.behind or self.is_flushing:
            return  # in mid-flush nobody knows where it is; the next one settles it
        # What is pending has not been written to anyone.
        written = self._pending[0].seq - 1 if self._pending else self.recent.last_seq
        self.behind[client] = self._newcomers.get(client, written)
        self._stop_writing(client)

    def rewire(self, client: Client) -> None:
        """Take note that a member has another way out."""
        audience = self._audiences.get(client.audience, {})
        if client in audience:
            audience[client] = client.write

    def _stop_writing(self, client: Client) -> None:
        if self._newcomers.pop(client, None) is None and client in self._audiences.get(client.audience, ()):
            audience = self._audiences[client.audience]
            del audience[client]
            if not audience:
                del self._audiences[client.audience]

    # Fan-out

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages from the log, in order, for the next flush."""
        self._pending += messages
        if self._filling is not None:
            self.recent.extend(messages)
        else:
            self.recent.last_seq = messages[-1].seq  # nobody here asks for more

    def flush(self) -> None:
        """Write what is pending to every member: one encoding a message and dialect, one write a member."""
        if self.is_flushing or not self._pending:
            return
        batch = Batch(self._pending)
        self._pending = []
        late = self._take_in_newcomers(batch) if self._newcomers else ()
        if len(self.members) > SLICE_MEMBERS:
            self.is_flushing = True
            self._write_slices([(batch.joined(who), who, list(members)) for who, members in self._audiences.items()])
        else:
            for audience, members in self._audiences.items():
                data = batch.joined(audience)
                if data:
                    write_to(members.values(), data)
        for client, heard in late:
            client.write_frame(batch.joined(client.audience, heard))
            self._audiences.setdefault(client.audience, {})[client] = client.write

    def cast_frames(self, type_: str, payload: bytes) -> None:
        """Write an unkept event to every member at once; those behind have enough to do."""
        frames: dict[Dialect, bytes] = {}
        for (dialect, _), members in self._audiences.items():
            frame = frames[dialect] = frames.get(dialect) or dialect.event(type_, payload)
            if frame:
                for client in members:
                    client.write_frame(frame)
        for client in self._newcomers:
            frame = frames[client.dialect] = frames.get(client.dialect) or client.dialect.event(type_, payload)
            client.write_frame(frame)

    def _take_in_newcomers(self, batch: Batch) -> list[tuple[Client, int]]:
        """Make newcomers ordinary members; those that have heard a part of this batch are returned instead."""
        newcomers, self._newcomers = self._newcomers, {}
        late = []
        for client, heard in newcomers.items():
            if heard < batch.first_seq:
                self._audiences.setdefault(client.audience, {})[client] = client.write
            else:
                late.append((client, heard))
        return late

    def _write_slices(self, jobs: list[tuple[bytes, Audience, list[Client]]]) -> None:
        """Write to a very large room a slice at a time; what is said meanwhile waits for the next flush."""
        while jobs and not jobs[-1][2]:
            jobs.pop()
        if not jobs:
            self.is_flushing = False
            self.flush()
            return
        data, audience, members = jobs[-1]
        count = max(1, min(SLICE_MEMBERS, SLICE_BYTES // max(1, len(data))))
        if data:
            # One that has left and come back meanwhile is a newcomer, and has heard this.
            present = self._audiences.get(audience, {})
            write_to([present[client] for client in members[-count:] if client in present], data)
        del members[-count:]
        asyncio.get_running_loop().call_soon(self._write_slices, jobs)


class Batch:
    """One flush's messages: encoded once for each dialect present, joined once for each audience."""

    __slots__ = ("_frames", "_messages")

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._frames: dict[Dialect, list[bytes]] = {}

    @property
    def first_seq(self) -> int:
        """Where the batch begins."""
        return self._messages[0].seq

    def joined(self, audience: Audience, heard: int = 0) -> bytes:
        """The bytes for an audience that has heard everything up to the seq `heard`."""
        dialect, muted = audience
        messages = self._messages
        frames = self._frames.get(dialect)
        if frames is None:
            frames = self._frames[dialect] = [dialect.message(message) for message in messages]
        if muted is None and heard < messages[0].seq:
            return b"".join(frames) if len(frames) > 1 else frames[0]
        return b"".join(
            frame
            for frame, message in zip(frames, messages, strict=True)
            if message.seq > heard and (muted is None or message.sender != muted)
        )


def write_to(writes: Iterable[Write], data: bytes) -> None:
    """Write the same bytes to each member.  Nothing here waits, and one member's trouble is not another's."""
    for write in writes:
        try:
            write(data)
        except RuntimeError:
            pass  # the transport closed under us; its connection_lost is on the way
