"""The disk: whether it is quick enough to be waited for, and waiting for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["DiskPace", "sync"]

# A write that took longer was waited for by everybody.
SLOW_S = 0.01

# For how long it is then taken to be slow.
SLOW_FOR_S = 5.0


class DiskPace:
    """How long the last writes took.

    Args:
        clock: seconds that never go back.
    """

    __slots__ = ("_clock", "_slow_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slow_until = float("-inf")

    def is_slow(self, now: float) -> bool:
        """Whether a write has taken long lately; then another one is better not waited for."""
        return now < self._slow_until

    def note(self, began: float) -> None:
        """Note a write that began at `began` and has ended now."""
        now = self._clock()
        if now - began > SLOW_S:
            self._slow_until = now + SLOW_FOR_S


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder.

    Raises:
        OSError: it does not confirm, or there is none of that name.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
