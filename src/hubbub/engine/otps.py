"""One-time passwords, in memory.

They live for seconds: what is lost with the process, a client asks for again.  A dictionary makes the take atomic.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

from hubbub.engine import Grant, OtpLimit

__all__ = ["Otps"]

# Used ones whose ends are remembered; with more, and more than twice those that are outstanding, they are forgotten.
MOST_USED = 64


class Otps:
    """The outstanding one-time passwords, by their hashes.

    Args:
        clock: seconds that never go back; expiry is judged by it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._of_user: dict[str, set[str]] = {}
        # When each expires, the next one first; of those that were used some stay here until then.
        self._ends: list[tuple[float, str]] = []

    def issue(self, otp: str, grant: Grant, ttl_s: float, *, per_account: int, in_all: int) -> OtpLimit | None:
        """Keep one, unless a limit (0 for none) has been reached."""
        self._expire()
        if per_account and len(self._of_user.get(grant.user, ())) >= per_account:
            return OtpLimit.OF_ACCOUNT
        if in_all and len(self._grants) >= in_all:
            return OtpLimit.IN_ALL
        self._grants[otp] = grant
        self._of_user.setdefault(grant.user, set()).add(otp)
        heapq.heappush(self._ends, (self._clock() + ttl_s, otp))
        return None

    def take(self, otp: str) -> Grant | None:
        """Use one up."""
        self._expire()
        if len(self._ends) > MOST_USED + 2 * len(self._grants):
            self._ends = [end for end in self._ends if end[1] in self._grants]
            heapq.heapify(self._ends)
        return self._drop(otp)

    def end(self, user: str, sessions: Collection[str]) -> None:
        """Drop all that these sessions of a user were given."""
        for otp in list(self._of_user.get(user, ())):
            if self._grants[otp].session in sessions:
                self._drop(otp)

    def end_outside(self, user: str) -> None:
        """Drop all that sessions of a user were given which the vault does not keep."""
        for otp in list(self._of_user.get(user, ())):
            if not self._grants[otp].is_kept:
                self._drop(otp)

    def _expire(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            self._drop(heapq.heappop(self._ends)[1])

    def _drop(self, otp: str) -> Grant | None:
        grant = self._grants.pop(otp, None)
        if grant is not None:
            of_user = self._of_user[grant.user]
            of_user.remove(otp)
            if not of_user:
                del self._of_user[grant.user]
        return grant
