"""The thread that a hub runs in, and calls to it from others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Any

from hubbub.errors import ConfigError, NotKnown, WrongThread
from hubbub.tasks import Tasks

__all__ = ["HomeThread", "wrong_thread"]

# How often a thread that waits looks whether the loop is still there, which would tell it otherwise.
LOOK_S = 1.0


class HomeThread:
    """Where a hub's event loop runs.

    Args:
        tasks: owns the calls from other threads while they are done, so that a stop waits for them.

    Attributes:
        ident: of the thread.
    """

    def __init__(self, tasks: Tasks) -> None:
        self.ident = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = tasks

    def move_in(self) -> None:
        """Take note that the loop that runs here and now is the hub's."""
        self.ident = threading.get_ident()
        self._loop = asyncio.get_running_loop()

    def call(self, function: Callable[[], Any]) -> Any:
        """Have a function called there, and wait for what it returns; an awaitable is awaited there.

        Raises:
            WrongThread: this is that thread, which would wait for itself.
            ConfigError: the loop does not run any more.
            NotKnown: the hub has stopped meanwhile.
        """
        if threading.get_ident() == self.ident:
            raise WrongThread("this is the hub's own thread, which from_thread would block for ever: call it directly")
        loop = self._loop
        answer: Future[Any] = Future()
        try:
            assert loop is not None
            loop.call_soon_threadsafe(lambda: self._begin(answer, function))
        except RuntimeError:
            raise ConfigError("the hub has stopped") from None
        while not wait([answer], LOOK_S).done:
            if loop.is_closed():
                raise NotKnown("the hub has stopped")
        return answer.result()

    def _begin(self, answer: Future[Any], function: Callable[[], Any]) -> None:
        # Told when the task is over: one that is cancelled before its first step does nothing, not even that.
        self._tasks.start(fulfil(answer, function)).add_done_callback(lambda _task: give_up(answer))


def give_up(answer: Future[Any]) -> None:
    """Tell whoever still waits that nothing comes any more."""
    if not answer.done():
        answer.set_exception(NotKnown("the hub has stopped"))


async def fulfil(answer: Future[Any], function: Callable[[], Any]) -> None:
    """Call a function, and tell whoever waits what it returns or raises, unless it is cancelled."""
    try:
        result = function()
        if isinstance(result, Awaitable):
            result = await result
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def wrong_thread() -> WrongThread:
    """What the hub is not for in a thread of another's."""
    return WrongThread(
        f"the hub does not run in this thread ({threading.current_thread().name}): "
        "hub.from_thread(function, ...) calls a function where it does, as in "
        "hub.from_thread(hub.room('ops').post, event)"
    )
