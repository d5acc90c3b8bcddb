"""A wall clock that somebody sets, beside a clock that only goes on."""

from __future__ import annotations

from hubbub.testing import Clock

__all__ = ["DAY_S", "YEAR_S", "Wall"]

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


class Wall:
    """Seconds since 1970, which go on with a clock, and jump when they are told to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._clock() + self._ahead

    def jump(self, seconds: float) -> None:
        """Be set to another time, without any time passing."""
        self._ahead += seconds
