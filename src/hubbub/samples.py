"""How a server did over the last hour: a sample of what was counted every few seconds, in a ring."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from hubbub.counts import SECONDS
from hubbub.tallies import Tally

__all__ = ["EVERY_S", "KEPT", "Moment", "Samples"]

EVERY_S = 5.0
# An hour of them: 150 KiB at most.
KEPT = 720


class Moment(NamedTuple):
    """How all processes of a server did in a time of `EVERY_S` seconds, or how they are at its end.

    Attributes:
        at: its end, in milliseconds since 1970.
        messages: kept, a second.
        deliveries: messages written to members, a second.
        refused: events turned down, a second.
        kept_p50: seconds in which half of the batches were kept: what a sender waits for its ack; None where there
            were none.
        delivered_p50: the same, from the first message of a batch to the end of the writes of all of it.
        slow: clients that have yet to take what they were sent.
        behind: members that are fed from the log.
        memory: bytes, of all processes.
        cpu: processors in use; 1.0 is one of them, all the time.
        lag_p99: how late the loops were, in seconds; None where it is not measured.
        is_up: whether every process can keep messages, as far as it knows.
    """

    at: int
    connections: int
    rooms: int
    messages: float
    deliveries: float
    refused: float
    kept_p50: float | None
    kept_p99: float | None
    delivered_p50: float | None
    delivered_p99: float | None
    slow: int
    behind: int
    memory: int
    cpu: float
    lag_p99: float | None
    workers: int
    is_up: bool


class Samples:
    """The samples of the last hour, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[Moment] = deque(maxlen=KEPT)
        self._last: tuple[float, Tally] | None = None

    def note(self, at_ms: int, now: float, tally: Tally) -> None:
        """Take a sample of what was counted since the last one; the first call only notes where counting begins.

        Args:
            now: seconds that never go back.
        """
        last, self._last = self._last, (now, tally)
        if last is not None and now > last[0]:
            self._kept.append(sample(at_ms, now - last[0], last[1], tally))

    def since(self, at_ms: int) -> list[Moment]:
        """Those that were taken after a time."""
        return [each for each in self._kept if each.at > at_ms]


def sample(at_ms: int, seconds: float, before: Tally, after: Tally) -> Moment:
    """What was counted in a time."""

    def total(name: str) -> float:
        return sum(after[name])

    def rate(name: str) -> float:
        # Never below 0: one of several processes may have ended in a way that nobody could add up.
        return round(max(0.0, sum(after[name]) - sum(before[name])) / seconds, 3)

    def quantile(name: str, part: float) -> float | None:
        old, new = before[name][:-1], after[name][:-1]  # the last one is the sum
        return quantile_of([max(0.0, b - a) for a, b in zip(old, new, strict=True)], part)

    return Moment(
        at_ms,
        int(total("hubbub_connections")),
        int(total("hubbub_rooms")),
        rate("hubbub_messages"),
        rate("hubbub_deliveries"),
        rate("hubbub_refusals"),
        quantile("hubbub_append_seconds", 0.5),
        quantile("hubbub_append_seconds", 0.99),
        quantile("hubbub_delivery_seconds", 0.5),
        quantile("hubbub_delivery_seconds", 0.99),
        int(total("hubbub_slow_clients")),
        int(total("hubbub_behind_members")),
        int(total("hubbub_memory_bytes")),
        rate("hubbub_cpu_seconds"),
        quantile("hubbub_loop_lag_seconds", 0.99),
        int(total("hubbub_workers")),
        total("hubbub_engine_up") >= total("hubbub_workers"),
    )


def quantile_of(buckets: Sequence[float], part: float) -> float | None:
    """About the value that a part of those counted do not exceed, as within its bucket they are spread evenly."""
    rising = list(accumulate(buckets))
    if not rising[-1]:
        return None
    wanted = part * rising[-1]
    index = next(index for index, count in enumerate(rising) if count >= wanted)
    if index == len(SECONDS):
        return SECONDS[-1]
    low = SECONDS[index - 1] if index else 0.0
    below = rising[index] - buckets[index]
    return round(low + (SECONDS[index] - low) * (wanted - below) / buckets[index], 6)
