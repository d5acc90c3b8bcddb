"""Connections and subscriptions that last until a moment: one heap for all, looked at a few times a second."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

from hubbub.door.client import DoorClient
from hubbub.door.codes import DoorClose

__all__ = ["DoorExpiry", "seconds_left"]

# Moments that are out of date stay in the heap until there are so many more of them than of others.
MOST_PAST = 64

# The longest time that both formats can tell, in seconds.
MAX_TTL_S = (1 << 31) - 1


class DoorExpiry:
    """Ends what was not refreshed in its time.

    What counts is what the client says at that moment (`DoorClient.expires_at`, `Subscription.expires_at`): whoever
    changes it calls `note`, and nobody has to take anything back.

    Args:
        delay_s, sub_delay_s: how much longer a connection, and a subscription, lasts than was said.
        wall: seconds since 1970.

    Attributes:
        unsubscribe: ends a client's subscription to a channel, and tells it so.
    """

    def __init__(self, delay_s: float, sub_delay_s: float, wall: Callable[[], float]) -> None:
        self._delay_s = delay_s
        self._sub_delay_s = sub_delay_s
        self._wall = wall
        self.unsubscribe: Callable[[DoorClient, str], None] = forget
        # The next moment first; of a connection without a channel.
        self._heap: list[tuple[float, int, DoorClient, str]] = []
        self._numbers = itertools.count()
        # How many there were when those that are out of date were last left out.
        self._were = 0

    def __len__(self) -> int:
        return len(self._heap)

    def note(self, client: DoorClient, channel: str = "") -> None:
        """Take note of when a connection, or a subscription, has to have been refreshed."""
        end = self._end(client, channel)
        if end is None:
            return
        heapq.heappush(self._heap, (end, next(self._numbers), client, channel))
        if len(self._heap) > 2 * self._were + MOST_PAST:
            self._heap = [entry for entry in self._heap if self._end(entry[2], entry[3]) == entry[0]]
            heapq.heapify(self._heap)
            self._were = len(self._heap)

    def _end(self, client: DoorClient, channel: str) -> float | None:
        """When a connection or a subscription ends, as things are; None for never, and for what is gone already."""
        if not client.is_connected:
            return None
        if not channel:
            return None if client.expires_at is None else client.expires_at + self._delay_s
        subscription = client.subscriptions.get(channel)
        if subscription is None or subscription.expires_at is None:
            return None
        return subscription.expires_at + self._sub_delay_s

    def end_late(self) -> None:
        """End what is over; to be called a few times a second."""
        now = self._wall()
        while self._heap and self._heap[0][0] <= now:
            moment, _, client, channel = heapq.heappop(self._heap)
            if self._end(client, channel) != moment:
                continue
            if channel:
                self.unsubscribe(client, channel)
            else:
                client.close(DoorClose.EXPIRED, "connection expired")


def forget(client: DoorClient, channel: str) -> None:
    """Forget a subscription that nobody else knows of."""
    client.subscriptions.pop(channel, None)


def seconds_left(expires_at: float, now: float) -> int:
    """How long something lasts, as clients are told: in whole seconds, and never none.

    Args:
        expires_at, now: in seconds since 1970.
    """
    return min(MAX_TTL_S, max(1, math.ceil(expires_at - now)))
