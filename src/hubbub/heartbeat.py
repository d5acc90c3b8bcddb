"""The heartbeat: one wheel of buckets that pings every connection in its turn, with one timer for all.

The wheel knows no clock.  It is turned once a tick; a connection sits in one bucket and is pinged each time
the wheel comes round to it.  Counting turns instead of seconds also means that a server that was stopped for a
while does not blame its clients for the silence.
"""

from __future__ import annotations

import math
from typing import Protocol

__all__ = ["Pulse", "Wheel"]

BUCKETS = 9


class Pulse(Protocol):
    """A connection, as the wheel sees it.

    Attributes:
        is_alive: set by the connection at every frame, cleared by the wheel at a ping.
        pinged_at: the turn of the first ping that nothing has followed yet; the wheel's own note.
        bucket: where the wheel keeps it; the wheel's own note.
    """

    is_alive: bool
    pinged_at: int
    bucket: int

    def ping(self) -> None: ...

    def pulse_lost(self) -> None: ...


class Wheel:
    """Pings each connection every `interval_s`, and gives up on one silent for `timeout_s` past a ping.

    Attributes:
        tick_s: seconds between two turns.
        silence_s: for how long a connection may be silent.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self.silence_s = interval_s + timeout_s
        self.tick_s = interval_s / BUCKETS
        self._patience = max(1, math.ceil(timeout_s / self.tick_s - 1e-9))
        self._turn = 0
        self._buckets: list[dict[Pulse, None]] = [{} for _ in range(BUCKETS)]

    def add(self, pulse: Pulse) -> None:
        """Begin to watch a connection; its first ping comes one whole round from now."""
        pulse.bucket = self._turn % BUCKETS
        self._buckets[pulse.bucket][pulse] = None

    def remove(self, pulse: Pulse) -> None:
        """Stop watching a connection; one that is not watched is no error."""
        self._buckets[pulse.bucket].pop(pulse, None)

    def turn(self) -> None:
        """Advance by one tick: ping one bucket, and give up on the silent ones of another."""
        self._turn += 1
        for pulse in list(self._buckets[(self._turn - self._patience) % BUCKETS]):
            if not pulse.is_alive and self._turn - pulse.pinged_at >= self._patience:
                self.remove(pulse)
                pulse.pulse_lost()
        for pulse in list(self._buckets[self._turn % BUCKETS]):
            if pulse.is_alive:
                pulse.is_alive = False
                pulse.pinged_at = self._turn
            pulse.ping()
