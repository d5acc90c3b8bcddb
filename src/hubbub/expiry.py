"""Connections that last until a moment: those of users whom a token stands for that expires."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from hubbub.client import Participant
from hubbub.errors import CloseCode

__all__ = ["GRACE_S", "Expiry"]

# How much longer a connection lives than its token: one that comes with a token at its last moment is let in, too, and
# a renewal may be on its way.
GRACE_S = 5.0

# Ends that are out of date stay in the heap until there are so many more of them than of others.
MOST_PAST = 64


class Expiry:
    """Closes connections in their time.

    Args:
        clock: seconds that never go back; the wall clock is asked once for each end.
        wall: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        # When the token of each expires, by `clock`.
        self._ends: dict[Participant, float] = {}
        # The same with those of connections that are gone, and earlier ends; the next one first.
        self._heap: list[tuple[float, int, Participant]] = []
        self._numbers = itertools.count()

    def set(self, client: Participant) -> None:
        """Take note of when a client's token expires, which may be another moment than before, or never."""
        expires_at = client.terms.expires_at if client.terms is not None else None
        if expires_at is None:
            self._ends.pop(client, None)
            return
        end = self._clock() + expires_at - self._wall()
        self._ends[client] = end
        heapq.heappush(self._heap, (end, next(self._numbers), client))
        if len(self._heap) > 2 * len(self._ends) + MOST_PAST:
            self._heap = [(end, next(self._numbers), client) for client, end in self._ends.items()]
            heapq.heapify(self._heap)

    def forget(self, client: Participant) -> None:
        """Forget a client that is gone."""
        self._ends.pop(client, None)

    def left(self, client: Participant) -> float | None:
        """Seconds until a client's token expires; None for one that does not."""
        end = self._ends.get(client)
        return None if end is None else max(0.0, end - self._clock())

    def close_expired(self) -> None:
        """Close the connections whose time is over; to be called a few times a second."""
        now = self._clock()
        while self._heap and self._heap[0][0] + GRACE_S <= now:
            end, _, client = heapq.heappop(self._heap)
            if self._ends.get(client) == end:
                del self._ends[client]
                client.close(CloseCode.SESSION_ENDED, "the token has expired")
