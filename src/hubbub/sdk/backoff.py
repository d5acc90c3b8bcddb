"""How long to wait before the next try, and how fast to send: arithmetic on numbers that are passed in."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable

__all__ = ["BASE_S", "CAP_S", "Backoff", "Pace", "full_jitter"]

BASE_S = 0.5
CAP_S = 20.0

# Of the server's burst, so much is left unused: what is sent evenly does not always arrive evenly.
BURST_SHARE = 0.5
RATE_SHARE = 0.95


def full_jitter(tries: int, base_s: float, cap_s: float, random: Callable[[], float]) -> float:
    """Seconds to wait after so many tries: anything up to a ceiling that doubles with each, up to `cap_s`.

    The jitter comes after the cap.  Jittered first, every client of a long outage would sit at the cap and come
    back in the same instant.
    """
    # Past 63 doublings every ceiling is the cap, and a float would overflow in the end.
    return random() * min(cap_s, base_s * 2.0 ** min(tries, 63))


class Backoff:
    """The pauses between tries to connect: exponential, capped, with full jitter.

    Args:
        base_s: the first pause is at most this long.
        cap_s: no pause is longer.
        random: gives numbers from 0 up to 1.
    """

    def __init__(
        self, base_s: float = BASE_S, cap_s: float = CAP_S, random: Callable[[], float] = random_module.random
    ) -> None:
        self.base_s = base_s
        self.cap_s = cap_s
        self.random = random
        self._tries = 0

    def next(self) -> float:
        """Seconds until the next try."""
        self._tries += 1
        return full_jitter(self._tries - 1, self.base_s, self.cap_s, self.random)

    def reset(self) -> None:
        """Begin again with short pauses: a connection has lasted."""
        self._tries = 0


class Pace:
    """Keeps a client within the server's rate, so that it is hardly ever refused for it.

    A refusal costs more than the wait: of several requests under way some would be let in and some not, and what
    was said would end up in another order.

    Args:
        rate: requests a second that the server takes; 0 is no limit.
        burst: requests that it takes at once.
        now: the time, in seconds.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate * RATE_SHARE
        self._burst = max(1.0, burst * BURST_SHARE)
        self._tokens = self._burst
        self._at = now

    def delay(self, now: float) -> float:
        """Seconds until the next request may go."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        # A wait computed in floats ends a hair early.
        return 0.0 if self._tokens >= 1.0 - 1e-6 else (1.0 - self._tokens) / self._rate

    def take(self) -> None:
        """Count a request that goes now."""
        self._tokens -= 1.0
