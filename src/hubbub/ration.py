"""Log lines that a stranger can cause: some at once, then one in a while."""

from __future__ import annotations

__all__ = ["Ration"]


class Ration:
    """How many lines of one kind may be written; the next that is tells how many were left out.

    Args:
        at_once: lines that may be written one after the other.
        every_s: seconds until one more may be.
    """

    def __init__(self, at_once: int, every_s: float) -> None:
        self._most = float(at_once)
        self._every_s = every_s
        self._left = self._most
        self._at = 0.0
        self._left_out = 0

    def take(self, now: float) -> int | None:
        """Ask for a line at `now`, in seconds: how many were left out before it, or None when it is left out too."""
        self._left = min(self._most, self._left + (now - self._at) / self._every_s)
        self._at = now
        if self._left < 1.0:
            self._left_out += 1
            return None
        self._left -= 1.0
        left_out, self._left_out = self._left_out, 0
        return left_out
