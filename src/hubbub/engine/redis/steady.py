"""A time that all nodes of a deployment share, and that never goes back.

Wall clocks jump, on nodes as on the server, so nothing ends by them.  Redis keeps a time in milliseconds, `at`, that
goes with the steady clock of the fastest node: each call passes this node's estimate, the script takes the larger one
of it and what is kept, and the answer tells it.  While no node runs, it stands still.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["SteadyTime"]


class SteadyTime:
    """What this node takes the shared time to be.

    It begins at 0, which is never ahead of what is kept: a node does not bring the uptime of its machine along.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead_ms = -self._own_ms()

    def now_ms(self) -> int:
        """The estimate, in milliseconds; it never goes back."""
        return self._own_ms() + self._ahead_ms

    def learn(self, at: int) -> None:
        """Take over what an answer has told, where that is further on."""
        self._ahead_ms = max(self._ahead_ms, at - self._own_ms())

    def _own_ms(self) -> int:
        return round(self._clock() * 1000)
