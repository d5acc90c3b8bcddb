"""One-time passwords, in memory.

They live for seconds, so nothing is lost with the process that a client would not ask for again anyway; and a
dictionary makes the take atomic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hubbub.engine import Grant

__all__ = ["Tickets"]


class Tickets:
    """The outstanding one-time passwords, by their hashes.

    Args:
        clock: seconds that never go back; expiry is judged by it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tickets: dict[str, tuple[Grant, float]] = {}
        self._of_user: Counter[str] = Counter()

    async def put_otp(self, otp: str, grant: Grant, expires: float) -> None:
        self._tickets[otp] = (grant, expires)
        self._of_user[grant.user] += 1

    async def take_otp(self, otp: str) -> Grant | None:
        if otp not in self._tickets:
            return None
        grant, expires = self._drop(otp)
        return grant if self._clock() < expires else None

    async def outstanding_otps(self, user: str) -> tuple[int, int]:
        # All live equally long, so the oldest come first and the expired leave from the front.
        now = self._clock()
        while self._tickets:
            oldest = next(iter(self._tickets))
            if self._tickets[oldest][1] > now:
                break
            self._drop(oldest)
        return self._of_user[user], len(self._tickets)

    def sessions(self) -> set[str]:
        """The sessions that have any outstanding."""
        return {grant.session for grant, _ in self._tickets.values()}

    def drop_session(self, session: str) -> None:
        """Forget every one-time password that a session was given."""
        for otp in [otp for otp, (grant, _) in self._tickets.items() if grant.session == session]:
            self._drop(otp)

    def _drop(self, otp: str) -> tuple[Grant, float]:
        grant, expires = self._tickets.pop(otp)
        self._of_user[grant.user] -= 1
        if not self._of_user[grant.user]:
            del self._of_user[grant.user]
        return grant, expires
