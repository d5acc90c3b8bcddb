"""A room: its members, what was said in it this tick, and the fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from hubbub.client import Audience, Client, Dialect
from hubbub.engine import Draft, Receipt
from hubbub.errors import EngineError
from hubbub.events import Event, Message, encode_payload

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
        if self.reply is not None:
            self.reply(self)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Room:
    """A room, live while it has members.  `hub.room(name)` finds it; one without members can be posted to as well."""

    __slots__ = ("_audiences", "_hub", "_newcomers", "_pending", "is_flushing", "last_seq", "members", "name")

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.members: dict[Client, None] = {}
        self.last_seq = 0
        self._hub = hub
        self._audiences: dict[Audience, dict[Client, None]] = {}
        # Members that entered since the last flush, and the seq up to which they have heard everything.
        self._newcomers: dict[Client, int] = {}
        self._pending: list[Message] = []
        self.is_flushing = False

    def __repr__(self) -> str:
        return f"<Room {self.name!r} with {len(self.members)} members>"

    @property
    def users(self) -> list[str]:
        """The names of those in the room, sorted, each once."""
        return sorted({client.user for client in self.members})

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
        self._hub.gather(posting)
        of_handler = posted.get()
        if of_handler is not None:
            of_handler.append(posting)
        return posting

    def cast(self, event: Event) -> None:
        """Say something in the room that is not kept: typing, cursors.  Classic members hear nothing."""
        self._hub.cast(self.name, type(event).tag, encode_payload(event))

    # Coming and going

    def enter(self, client: Client, heard: int) -> None:
        """Add a member that needs every message after the seq `heard`."""
        self.members[client] = None
        self._newcomers[client] = heard

    def leave(self, client: Client) -> None:
        """Remove a member; it hears nothing from now on."""
        del self.members[client]
        if self._newcomers.pop(client, None) is None:
            audience = self._audiences[client.audience]
            del audience[client]
            if not audience:
                del self._audiences[client.audience]

    # Fan-out

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages from the log, in order, for the next flush."""
        self._pending += messages
        self.last_seq = messages[-1].seq

    def flush(self) -> None:
        """Write what is pending to every member: one encoding a message and dialect, one write a member."""
        if self.is_flushing or not self._pending:
            return
        batch = Batch(self._pending)
        self._pending = []
        late = self._take_in_newcomers(batch)
        if len(self.members) > SLICE_MEMBERS:
            self.is_flushing = True
            self._write_slices([(batch.joined(who), list(members)) for who, members in self._audiences.items()])
        else:
            for audience, members in self._audiences.items():
                data = batch.joined(audience)
                if data:
                    write_to(members, data)
        for client, heard in late:
            client.write_frame(batch.joined(client.audience, heard))
            self._audiences.setdefault(client.audience, {})[client] = None

    def cast_frames(self, type_: str, payload: bytes) -> None:
        """Write an unkept event to every member at once."""
        frames: dict[Any, bytes] = {}
        for client in self.members:
            if client.dialect not in frames:
                frames[client.dialect] = client.dialect.event(type_, payload)
            client.write_frame(frames[client.dialect])

    def _take_in_newcomers(self, batch: Batch) -> list[tuple[Client, int]]:
        """Make newcomers ordinary members; those that have heard a part of this batch are returned instead."""
        if not self._newcomers:
            return []
        newcomers, self._newcomers = self._newcomers, {}
        late = []
        for client, heard in newcomers.items():
            if heard < batch.first_seq:
                self._audiences.setdefault(client.audience, {})[client] = None
            else:
                late.append((client, heard))
        return late

    def _write_slices(self, jobs: list[tuple[bytes, list[Client]]]) -> None:
        """Write to a very large room a slice at a time; what is said meanwhile waits for the next flush."""
        while jobs and not jobs[-1][1]:
            jobs.pop()
        if not jobs:
            self.is_flushing = False
            self.flush()
            return
        data, members = jobs[-1]
        count = max(1, min(SLICE_MEMBERS, SLICE_BYTES // max(1, len(data))))
        if data:
            write_to([client for client in members[-count:] if client in self.members], data)
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


def write_to(members: Iterable[Client], data: bytes) -> None:
    """Write the same bytes to each member.  Nothing here waits, and one member's trouble is not another's."""
    for client in members:
        try:
            client.write(data)
        except RuntimeError:
            pass  # the transport closed under us; its connection_lost is on the way
