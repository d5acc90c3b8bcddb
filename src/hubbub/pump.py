"""The pump: gathers what is posted, and appends it to the log batch after batch.

There is no timer in it.  While one batch is being appended the next one gathers, so batches grow with load by
themselves, and an idle server appends at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from hubbub.counts import HubCounts
from hubbub.engine import Log
from hubbub.errors import EngineError, NotKept, NotKnown
from hubbub.posting import Posting
from hubbub.ration import Ration

__all__ = ["Pump"]

log = structlog.get_logger("hubbub")

STOPPED = "the hub has stopped"

# Lines about batches that were not kept, at once and then one in so many seconds: a full disk refuses thousands.
LINES = 5
LINES_EVERY_S = 1.0


class Pump:
    """Moves postings to the log: one batch at a time in each of the log's lanes.

    Args:
        clock: seconds that never go back.

    Attributes:
        gather: takes a posting for the next batch of its lane.
    """

    def __init__(self, log: Log, counts: HubCounts, clock: Callable[[], float]) -> None:
        self._log = log
        self._lanes = [Lane(log, counts, clock) for _ in range(log.lanes)]
        # Each message comes this way; most logs have one lane, and nothing to choose.
        self.gather: Callable[[Posting], None] = self._lanes[0].gather if len(self._lanes) == 1 else self._choose

    def _choose(self, posting: Posting) -> None:
        self._lanes[self._log.lane(posting.room)].gather(posting)

    def is_one_batch(self, postings: Sequence[Posting]) -> bool:
        """Whether postings that were gathered in one turn of the loop are settled together."""
        return len(self._lanes) == 1 or len({self._log.lane(posting.room) for posting in postings}) == 1

    async def run(self, flush: Callable[[], None]) -> None:
        """Append batch after batch for ever; `flush` is called after each, when its senders have their answers."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(lane.run(flush))

    async def emptied(self) -> None:
        """Wait until all that was posted so far is kept, told and flushed."""
        for lane in self._lanes:
            await lane.emptied()


class Lane:
    """What is posted to some of the rooms."""

    def __init__(self, log: Log, counts: HubCounts, clock: Callable[[], float]) -> None:
        self._log = log
        self._counts = counts
        self._clock = clock
        self._since = 0.0  # when the first of those that gather was posted
        self._gathering: list[Posting] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._lines = Ration(LINES, LINES_EVERY_S)
        self._is_over = False

    def gather(self, posting: Posting) -> None:
        if not self._gathering:
            if self._is_over:
                posting.settle(NotKept(STOPPED))
                return
            self._wake.set()
            self._since = self._clock()
        self._gathering.append(posting)

    async def run(self, flush: Callable[[], None]) -> None:
        try:
            while True:
                self._idle.set()
                await self._wake.wait()
                self._wake.clear()
                self._idle.clear()
                batch, self._gathering = self._gathering, []
                since, began = self._since, self._clock()
                await self._append(batch)
                ended = self._clock()
                flush()
                self._counts.batch(len(batch), ended - began, self._clock() - since)
        finally:
            self._end()

    def _end(self) -> None:
        """Settle what still waits, lest it is awaited for ever; so is what is posted from now on."""
        self._is_over = True
        left, self._gathering = self._gathering, []
        fail(left, NotKept(STOPPED))
        self._idle.set()

    async def emptied(self) -> None:
        while self._gathering or not self._idle.is_set():
            if self._gathering:
                self._idle.clear()
            await self._idle.wait()

    async def _append(self, batch: list[Posting]) -> None:
        try:
            receipts = await self._log.append(batch)
        except (NotKept, NotKnown) as error:
            self._counts.not_kept += len(batch)
            self._note(batch, error)
            fail(batch, error)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                fail(batch, NotKnown(STOPPED))
                raise
            # A cancellation that is not ours is the engine's own failure; past here it would end the pump, and no one
            # would hear of it.
            self._counts.not_kept += len(batch)
            log.exception("messages not kept", count=len(batch))
            fail(batch, NotKnown(f"the engine failed: {error!r}"))
        else:
            self._counts.kept += len(batch)
            for posting, receipt in zip(batch, receipts, strict=True):
                posting.settle(receipt)

    def _note(self, batch: list[Posting], error: EngineError) -> None:
        left_out = self._lines.take(asyncio.get_running_loop().time())
        if left_out is not None:
            log.error("messages not kept", count=len(batch), error=str(error), lines_left_out=left_out)


def fail(batch: list[Posting], error: EngineError) -> None:
    """Settle postings that were not kept."""
    for posting in batch:
        posting.settle(error)
