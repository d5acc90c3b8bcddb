"""What this node has shown of one room's log, and what may be shown next.

Messages come from three sides: this node's own appends, what other nodes publish, and reading the log where those two
have left a hole.  All pass one gate, which lets nothing through but the next seq of the present generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hubbub.engine import Head
from hubbub.events import Message

__all__ = ["MOST_HELD", "Passed", "RoomGate", "Stretch"]

# Messages held back for one room.  Beyond this they are dropped: the log has them, and is read.
MOST_HELD = 5_000


class Stretch(NamedTuple):
    """Messages of a room that follow each other, and the generation that they were kept in."""

    generation: int
    first: int
    messages: Sequence[Message]

    @property
    def last(self) -> int:
        return self.first + len(self.messages) - 1


class Passed(NamedTuple):
    """What has passed a gate at one moment, in order.

    Attributes:
        rewound: the place that the log goes on after, where another generation has begun.
        hole: the first and the last seq that the log has lost before they could be shown.
    """

    rewound: Head | None
    hole: tuple[int, int] | None
    messages: Sequence[Message]


class RoomGate:
    """The gate of one room.

    Attributes:
        generation: of what was shown last.
        is_open: whether it is known where the log stands; until then all is held back.
        seq: of what was shown last.
        deferred: what the listener is to be told when an append of this node has returned, in order; None while none
            is about to.
    """

    __slots__ = ("_held", "_held_count", "_own", "deferred", "generation", "is_open", "room", "seq")

    def __init__(self, room: str) -> None:
        self.room = room
        self.generation = 0
        self.seq = 0
        self.is_open = False
        self.deferred: list[Callable[[], None]] | None = None
        self._held: list[Stretch] = []
        self._held_count = 0
        # This node's own messages that wait to be shown: generation, last seq, who waits.
        self._own: list[tuple[int, int, asyncio.Future[None]]] = []

    @property
    def is_holding(self) -> bool:
        """Whether something is held back, or was and has been dropped, so that the log has to be read."""
        return bool(self._held_count)

    def open_at(self, generation: int, seq: int) -> Sequence[Message]:
        """Begin after a place; what of that which was held back may be shown."""
        self.generation, self.seq, self.is_open = generation, seq, True
        return self._let_through()

    def offer(self, stretch: Stretch) -> Sequence[Message]:
        """Take what was said in the room; what may be shown now.  The rest is held back where it is new."""
        if self.is_open and stretch.generation == self.generation and stretch.first == self.seq + 1:
            self.seq = stretch.last
            if self._held_count:
                return [*stretch.messages, *self._let_through()]
            return stretch.messages
        if self.is_open and self._is_old(stretch):
            return ()
        self._hold(stretch)
        if self.is_open and stretch.generation == self.generation and stretch.first <= self.seq:
            return self._let_through()  # some of it was shown
        return ()

    def _is_old(self, stretch: Stretch) -> bool:
        return stretch.generation < self.generation or (
            stretch.generation == self.generation and stretch.last <= self.seq
        )

    def _hold(self, stretch: Stretch) -> None:
        self._held_count += len(stretch.messages)
        if self._held_count > MOST_HELD:
            self._held.clear()
        else:
            self._held.append(stretch)

    def _let_through(self) -> list[Message]:
        """What is held back and comes next."""
        shown: list[Message] = []
        self._held.sort(key=lambda stretch: (stretch.generation, stretch.first))
        left: list[Stretch] = []
        for stretch in self._held:
            if self._is_old(stretch):
                continue
            if stretch.generation == self.generation and stretch.first <= self.seq + 1:
                shown += stretch.messages[self.seq + 1 - stretch.first :]
                self.seq = stretch.last
            else:
                left.append(stretch)
        self._held = left
        if left or self._held_count <= MOST_HELD:
            self._held_count = sum(len(stretch.messages) for stretch in left)
        return shown

    def fill(self, generation: int, shared: int, last: int, messages: Sequence[Message]) -> Passed:
        """Take what the log has after the last seq shown, as it was read with this gate's generation.

        Args:
            generation: the present one.
            shared: up to where the log that this gate knows is part of the present one; -1 where it is unknown there.
            last: the last seq of the log.
            messages: those next after the last seq shown; empty where there are none.
        """
        rewound = None
        if generation != self.generation:
            if self.seq > max(shared, 0):
                self.generation, self.seq = generation, max(shared, 0)
                return Passed(Head(str(generation), self.seq), None, ())  # what comes after that has yet to be read
            self.generation = generation
            rewound = Head(str(generation), self.seq)
        hole = None
        first = messages[0].seq if messages else last + 1
        if first > self.seq + 1:
            hole = (self.seq + 1, first - 1)
            self.seq = first - 1
        fresh = messages[self.seq + 1 - first :]  # some may have come another way while the log was read
        if fresh:
            self.seq = fresh[-1].seq
        return Passed(rewound, hole, fresh)

    def settle(self) -> Sequence[Message]:
        """Note that the log was read up to its end; what of that which is held back follows it."""
        if self._held_count > MOST_HELD:
            self._held_count = 0
        return self._let_through()

    # This node's own messages

    def shown(self, generation: int, last: int) -> asyncio.Future[None] | None:
        """Who waits until this node's own messages are shown, or will not be; None where they are."""
        if self._is_past(generation, last):
            return None
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._own.append((generation, last, waiter))
        return waiter

    def _is_past(self, generation: int, last: int) -> bool:
        return self.is_open and (generation, last) <= (self.generation, self.seq)

    def release(self) -> None:
        """Wake those whose messages have been shown."""
        if self._own:
            wake([waiter for generation, last, waiter in self._own if self._is_past(generation, last)])
            self._own = [each for each in self._own if not self._is_past(each[0], each[1])]

    def give_up(self) -> None:
        """Wake everyone, and tell nothing more: the room is not listened to any more."""
        wake([waiter for _, _, waiter in self._own])
        self._own = []
        self.deferred = None


def wake(waiters: Sequence[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
