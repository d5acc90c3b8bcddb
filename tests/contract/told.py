"""What a listener was told, and how an engine is made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hubbub.engine import Head
from hubbub.events import Message

__all__ = ["BreakAppends", "Told"]

# Makes the next appends fail, as many as it is told.
BreakAppends = Callable[[int], None]


DEADLINE_S = 20.0


class Told:
    """A listener that notes what it is told.

    Attributes:
        delivered: seqs by room.
        events: everything else, in order.
    """

    def __init__(self) -> None:
        self.delivered: dict[str, list[int]] = {}
        self.events: list[tuple[object, ...]] = []
        self._changed = asyncio.Event()

    async def exactly(self, *events: tuple[object, ...]) -> None:
        """Wait until as many events were told, and check that it was these."""
        assert await self.at_least(len(events)) == list(events)

    async def at_least(self, count: int) -> list[tuple[object, ...]]:
        """All events, when so many were told: what comes by way of elsewhere takes its time."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.events) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.events

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        assert all(message.room == room for message in messages)
        self.delivered.setdefault(room, []).extend(message.seq for message in messages)

    def flush(self) -> None: ...

    def hole(self, room: str, first: int, last: int) -> None:
        self._note("hole", room, first, last)

    def rewound(self, room: str, head: Head) -> None:
        self._note("rewound", room, head)

    def heard(self, room: str, type_: str, payload: bytes) -> None:
        self._note("heard", room, type_, payload)

    def came(self, room: str, user: str) -> None:
        self._note("came", room, user)

    def went(self, room: str, user: str) -> None:
        self._note("went", room, user)

    def ended(self, session: str) -> None:
        self._note("ended", session)

    def _note(self, *event: object) -> None:
        self.events.append(event)
        self._changed.set()
