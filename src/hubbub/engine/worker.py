"""A thread that does one thing after the other for the loop.

An executor would do; but its futures, made for any thread and tied to those of the loop, take 30 us of CPU for a piece
of work, which for a batch is as much as the work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")
Piece = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Worker:
    """One thread, begun with the first piece of work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: SimpleQueue[Piece | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `work(*args)` in the thread, in its turn; whoever gives up waiting does not keep it from being done."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._begin(loop)
        future: asyncio.Future[T] = loop.create_future()
        self._pieces.put((future, work, args))
        return future

    def finish(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """The same, for work whose outcome must be known: a task that is cancelled waits for it all the same."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._begin(loop)
        future: asyncio.Future[T] = Outcome(loop=loop)
        self._pieces.put((future, work, args))
        return future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait until all is done, and end the thread."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (piece := self._pieces.get()) is not None:
            future, work, args = piece
            try:
                result = work(*args)
            except BaseException as error:  # whatever it is, somebody waits to hear of it
                loop.call_soon_threadsafe(settle, future, None, error)
            else:
                loop.call_soon_threadsafe(settle, future, result, None)
            del piece, future, work, args


class Outcome(asyncio.Future[Any]):
    """A future that cannot be cancelled.  A cancelled task that waits for it goes on, cancelled, when it is done."""

    def cancel(self, msg: Any | None = None) -> bool:
        return False


def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Tell who waits, if somebody still does."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
