"""The pump: gathers what is posted, and appends it to the log batch after batch.

There is no timer in it.  While one batch is being appended the next one gathers, so batches grow with load by
themselves, and an idle server appends at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from hubbub.engine import Engine
from hubbub.errors import EngineError
from hubbub.room import Posting

__all__ = ["Pump"]

log = structlog.get_logger("hubbub")


class Pump:
    """Moves postings from the rooms to the log.

    Args:
        engine: gives the engine, once there is one.
        flush: called after each batch, when its senders have their answers.

    Attributes:
        gathering: what has been posted since the last batch was taken.
    """

    def __init__(self, engine: Callable[[], Engine], flush: Callable[[], None]) -> None:
        self.gathering: list[Posting] = []
        self._engine = engine
        self._flush = flush
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def gather(self, posting: Posting) -> None:
        """Take a posting for this tick's batch."""
        if not self.gathering:
            self._wake.set()
        self.gathering.append(posting)

    async def run(self) -> None:
        """Append batch after batch for ever; while one is being appended the next one gathers."""
        while True:
            self._idle.set()
            await self._wake.wait()
            self._wake.clear()
            self._idle.clear()
            await self.once()

    async def once(self) -> None:
        """Append what has gathered, acknowledge it, and flush."""
        batch, self.gathering = self.gathering, []
        if batch:
            await self._append(batch)
        self._flush()

    async def emptied(self) -> None:
        """Wait until all that was posted so far is kept, told and flushed."""
        while self.gathering or not self._idle.is_set():
            if self.gathering:
                self._idle.clear()
            await self._idle.wait()

    async def _append(self, batch: list[Posting]) -> None:
        try:
            receipts = await self._engine().append(batch)
        except EngineError as error:
            log.error("messages not kept", count=len(batch), error=str(error))  # noqa: TRY400  # expected; no traceback
            fail(batch, error)
        except Exception as error:
            log.exception("messages not kept", count=len(batch))
            fail(batch, EngineError(f"the engine failed: {error!r}"))
        else:
            for posting, receipt in zip(batch, receipts, strict=True):
                posting.receipt = receipt
                if posting.is_awaited:
                    settle(posting)


def fail(batch: list[Posting], error: EngineError) -> None:
    """Tell whoever waits for these postings that they were not kept."""
    for posting in batch:
        posting.error = error
        settle(posting)


def settle(posting: Posting) -> None:
    """Tell whoever waits for a posting; what they do about it does not stop the pump."""
    try:
        posting.settle()
    except Exception:
        log.exception("reply failed", type=posting.type)
