"""What a listener was told, how an engine is made to fail, and how it is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hubbub.engine import Engine, Head, Listener
from hubbub.events import Message

__all__ = ["BreakAppends", "Lives", "Restart", "Told"]

# Makes the next appends fail, as many as it is told.
BreakAppends = Callable[[int], None]

# Closes the engine, and opens another one in its place.
Restart = Callable[[], Awaitable[Engine]]


DEADLINE_S = 20.0


class Lives:
    """An engine, and what it becomes when it is closed and opened again as by another process."""

    engine: Engine

    def __init__(self, make: Callable[[], Awaitable[Engine]], listener: Listener) -> None:
        self._make = make
        self._listener = listener
        self._is_open = False

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self.engine.close()

    async def restart(self) -> Engine:
        await self.close()
        self.engine = await self._make()
        await self.engine.open(self._listener)
        self._is_open = True
        return self.engine


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
