"""Whether a disk is quick enough to be waited for."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DiskPace"]

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
