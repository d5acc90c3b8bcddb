"""Whether something that may fail works, as of the last time it was used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from hubbub.errors import EngineError

__all__ = ["Health"]

# After a failure, whether another try would succeed is looked at this often.
PROBE_S = 2.0


class Health:
    """Up until a failure, down until something succeeds.

    A server that is not ready may be given nothing to do, so while it is down, somebody has to try.

    Args:
        probe: tries; raises EngineError where it fails again.

    Attributes:
        is_up: whether the last use succeeded.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self.is_up = True

    def note_failure(self) -> None:
        self.is_up = False
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_up())

    async def _probe_until_up(self) -> None:
        while not self.is_up:
            await asyncio.sleep(PROBE_S)  # between two tries
            with contextlib.suppress(EngineError):
                await self._probe()
                self.is_up = True

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
