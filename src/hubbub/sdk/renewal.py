"""When to renew what a connection may last by: arithmetic on numbers that are passed in."""

from __future__ import annotations

import msgspec

__all__ = ["Renewed", "renewal_pause"]

# Of the time that is left, so much is used; those who have come in the same moment do not renew in the same moment.
EARLIEST, LATEST = 0.7, 0.9
SOONEST_S = 1.0
# There is no harm in renewing what lasts for longer, and timers have ends.
LONGEST_S = 24 * 3600.0


class Renewed(msgspec.Struct, frozen=True):
    """The answer to `renew`: seconds that are left now; None for no end."""

    expires: float | None = None


def renewal_pause(left_s: float, random: float) -> float:
    """Seconds to wait before asking for another token, where so many are left; `random` is from 0 up to 1."""
    return min(LONGEST_S, max(SOONEST_S, left_s * (EARLIEST + (LATEST - EARLIEST) * random)))
