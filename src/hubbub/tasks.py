"""Tasks with an owner, who can wait for them and end them; and work that is done once for all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["CANCEL_S", "Once", "Tasks"]

# What a task may take to tidy up after its cancellation.
CANCEL_S = 0.25


class Tasks:
    """Tasks that end by themselves, sooner or later.  Who starts one here need not keep it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine, which must handle its own errors, in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the tasks that there are now, and no longer than `timeout_s` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def cancel_soon(self) -> None:
        """Cancel all tasks, without waiting for their end."""
        for task in self._tasks:
            task.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks, and wait for their end, `CANCEL_S` at most: one may ignore its cancellation."""
        self.cancel_soon()
        await self.wait(CANCEL_S)


class Once:
    """Work that is done once, for all who wait for it.  After an error, the next one who waits has it done again."""

    __slots__ = ("_doing",)

    def __init__(self) -> None:
        self._doing: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it is being done, or is done."""
        return self._doing is not None

    @property
    def is_done(self) -> bool:
        return self._doing is not None and self._doing.done()

    async def done(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait until it is done, by `work` if nobody has begun it; raises what the work raises."""
        if self._doing is None:
            self._doing = asyncio.get_running_loop().create_task(self._do(work))
        # Who gives up waiting does not end it for the others.
        await asyncio.shield(self._doing)

    async def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except BaseException:
            self._doing = None  # before the task ends, so that nobody takes a failed one for done
            raise
