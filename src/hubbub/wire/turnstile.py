"""The turnstile: what connections that say much may take of one turn of the loop.

A loop reads a socket again and again in one turn while there is something to read: uvloop up to 32 times.  A few
connections that send tiny frames as fast as they can would make each turn last hundreds of milliseconds, and everybody
else waits for its end.  So one that takes more than its share is not read until the turnstile lets it read on.

Well-behaved connections do not come here, however much they send: what is read of them in one turn goes to each member
of a room in one write, so that reading less at once would make every message dearer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Turnstile"]

# Time for the connections that are let through in one turn of the loop, all together.
TURN_S = 0.0005
# What each of them is taken to need at least: after a cheap read an expensive one may come.
MIN_READ_S = 0.00005


class Waiter(Protocol):
    """A connection that may have to wait."""

    def read_on(self) -> None:
        """Read again, after a turn of the loop or more."""
        ...


class Turnstile:
    """Lets connections through one after the other, as many in a turn of the loop as it has time for, and at least one.

    Args:
        clock: gives seconds.

    Attributes:
        clock: measures what a read takes.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._waiting: deque[tuple[Waiter, float]] = deque()
        self._is_turning = False

    def wait(self, waiter: Waiter, seconds: float) -> None:
        """Let a connection wait that has stopped reading; its next read is expected to take as long as its last one.

        Args:
            waiter: one that does not wait already.
            seconds: what its last read took.
        """
        self._waiting.append((waiter, max(seconds, MIN_READ_S)))
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_turning = False
        left = TURN_S
        for _ in range(len(self._waiting)):  # whoever comes back meanwhile waits for another turn
            if left <= 0:
                break
            waiter, seconds = self._waiting.popleft()
            left -= seconds
            waiter.read_on()
        if self._waiting:
            self._turn_soon()
