"""A histogram of times whose buckets grow with the times, so that each is known to within half a percent."""

from __future__ import annotations

from collections.abc import Mapping

from hubbub.bench.results import Latency

__all__ = ["Histogram"]

# Each power of two is cut into this many buckets, as 1 << SUB_BITS: a bucket is 1/128 of its times wide at most.
SUB_BITS = 7
# Up to 39 hours in nanoseconds.
MAX_BITS = 47
LONGEST = (1 << MAX_BITS) - 1
SIZE = (MAX_BITS - SUB_BITS + 1) << SUB_BITS

# Where a curve has its points: as many for the last hundredth as for the tenth before it.
QUANTILES = (
    *(step / 20 for step in range(20)),
    *(0.96, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999),
)


class Histogram:
    """Times in nanoseconds, each counted in its bucket."""

    __slots__ = ("buckets",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.buckets = [0] * SIZE
        self.add(counts or {})

    def record(self, ns: int) -> None:
        """Count one time; what is out of range counts as the nearest that is not."""
        ns = min(max(ns, 0), LONGEST)
        shift = max(ns.bit_length() - SUB_BITS - 1, 0)
        self.buckets[(shift << SUB_BITS) + (ns >> shift)] += 1

    def add(self, counts: Mapping[int, int]) -> None:
        """Count what another histogram has counted."""
        for bucket, count in counts.items():
            self.buckets[bucket] += count

    def counts(self) -> dict[int, int]:
        """The buckets that are not empty."""
        return {bucket: count for bucket, count in enumerate(self.buckets) if count}

    def quantile(self, share: float) -> float | None:
        """The time in milliseconds that this share of all times does not exceed; None without any."""
        counts = self.counts()
        left = share * sum(counts.values())
        for bucket, count in counts.items():
            left -= count
            if left <= 0:
                return middle(bucket) / 1e6
        return None

    def latency(self, name: str) -> Latency:
        """Its figures."""
        counts = self.counts()
        count = sum(counts.values())
        if not count:
            return Latency(name, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
        # A quantile that so few times cannot show is the last one again.
        shown = [share for share in QUANTILES if count * (1 - share) >= 1] + [1.0]
        curve = [(share, self.quantile(share) or 0.0) for share in shown]
        mean = sum(middle(bucket) * number for bucket, number in counts.items()) / count / 1e6
        p50, p99, p999 = (self.quantile(share) or 0.0 for share in (0.5, 0.99, 0.999))
        return Latency(name, count, mean, p50, p99, p999, curve[-1][1], curve)


def middle(bucket: int) -> float:
    """The time that stands for all times of a bucket."""
    shift = max(0, (bucket >> SUB_BITS) - 1)
    return (bucket - (shift << SUB_BITS) + (0.5 if shift else 0.0)) * (1 << shift)
