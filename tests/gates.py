"""Gates: a test decides when the engine, or a handler, goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hubbub.engine import Draft, Outcome, Page
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import NotKept
from hubbub.testing import Clock

__all__ = ["BrokenEngine", "FullDisk", "Gate", "GatedEngine", "turns"]


async def turns(count: int = 30) -> None:
    """Let the loop turn, for more turns than anything takes that waits for no gate."""
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """Holds up whoever comes to it while it is closed.

    Attributes:
        waiting: how many wait at it.
        passed: how many have passed it.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        self.waiting = 0
        self.passed = 0
        self._open = asyncio.Event()
        self._reached = asyncio.Event()
        if is_open:
            self.open()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()
        self._reached.clear()

    async def reached(self) -> None:
        """Wait until somebody waits at it."""
        await self._reached.wait()

    async def enter(self) -> None:
        """Pass it, as soon as it is open."""
        self.waiting += 1
        self._reached.set()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
        self.passed += 1


class GatedEngine(MemoryEngine):
    """An engine with a gate before everything that waits, and with as many lanes as are asked for.

    Rooms whose names begin with `right` are in the second lane, if there is one.

    Attributes:
        appends: a gate for each lane.
        reads: the gate of reading; what it let pass counts the reads.
        subscribes: the gate of subscribing.
        failing: `append`, `read` or `subscribe`, with the error that the next one raises.
    """

    def __init__(self, lanes: int = 1, clock: Clock | None = None) -> None:
        clock = clock or Clock()
        super().__init__(clock=clock, wall=clock)
        self.lanes = lanes
        self.appends = [Gate() for _ in range(lanes)]
        self.reads = Gate()
        self.subscribes = Gate()
        self.failing: dict[str, BaseException] = {}

    def lane(self, room: str) -> int:
        return int(self.lanes > 1 and room.startswith("right"))

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        await self.appends[self.lane(batch[0].room)].enter()
        self._fail("append")
        return await super().append(batch)

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        await self.reads.enter()
        self._fail("read")
        return await super().read(room, after=after, before=before, limit=limit)

    async def subscribe(self, room: str) -> None:
        await self.subscribes.enter()
        self._fail("subscribe")
        await super().subscribe(room)

    def _fail(self, what: str) -> None:
        error = self.failing.pop(what, None)
        if error is not None:
            raise error


class FullDisk(MemoryEngine):
    """A log that cannot keep anything."""

    def __init__(self, clock: Clock | None = None) -> None:
        clock = clock or Clock()
        super().__init__(clock=clock, wall=clock)

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        raise NotKept("the disk is full")


class BrokenEngine(FullDisk):
    """A log with a bug."""

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        raise ZeroDivisionError
