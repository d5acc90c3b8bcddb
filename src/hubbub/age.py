"""How old something must be to go, whatever the wall clock says for a moment.

What was sent has its wall time, so only the wall clock can tell how old it is, and a wall clock can be wrong: a second
in which it is a year ahead would make everything old.  So a lead of the wall clock over the steady one is believed only
when it has lasted.  The other way there is no harm in haste: a clock that went back makes everything younger.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["FIRST_S", "LEAD_S", "Age"]

# From the first look on, for this long nothing is old.
FIRST_S = 60.0

# For this long the wall clock must have been ahead of what was believed, at every look, to be believed.
LEAD_S = 3600.0


class Age:
    """Tells what is older than it may be.

    Args:
        keep_s: seconds that something is kept; 0 for ever.
        clock: seconds that never go back.
        wall: seconds since 1970.
    """

    def __init__(self, keep_s: float, *, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._wall = wall
        # How far the wall clock is ahead of the steady one, as it is believed: never, before the first minute is over.
        self._believed: float | None = None
        # A greater lead: since when it was seen, and how great it was at least.
        self._since = clock()
        self._lead: float | None = wall() - self._since

    @property
    def ends(self) -> bool:
        """Whether anything gets too old at all."""
        return bool(self._keep_s)

    def cutoff_ms(self) -> int:
        """What was sent before this, in milliseconds since 1970, is too old; 0 where nothing is."""
        if not self._keep_s:
            return 0
        now = self._clock()
        self._look(now, self._wall() - now)
        return max(0, int((now + self._believed - self._keep_s) * 1000)) if self._believed is not None else 0

    def _look(self, now: float, lead: float) -> None:
        if self._believed is not None and lead <= self._believed:
            self._believed, self._lead = lead, None
            return
        if self._lead is None:
            self._since, self._lead = now, lead
        self._lead = min(self._lead, lead)
        if now - self._since >= (FIRST_S if self._believed is None else LEAD_S):
            self._believed, self._lead = self._lead, None
