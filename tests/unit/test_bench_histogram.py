"""The histogram of `hubbub bench`: how near its figures are to the times it was given."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.bench.histogram import LONGEST, SIZE, Histogram, middle

MS = 1_000_000


def of(*times: int) -> Histogram:
    histogram = Histogram()
    for time in times:
        histogram.record(time)
    return histogram


@given(st.integers(1, LONGEST))
def test_a_time_is_known_to_within_half_a_percent(time: int) -> None:
    (bucket,) = of(time).counts()
    assert abs(middle(bucket) - time) <= max(time * 0.005, 0.5)


def test_buckets_rise_with_the_times_up_to_the_last() -> None:
    middles = [middle(bucket) for bucket in range(SIZE)]
    assert middles == sorted(set(middles))
    assert list(of(LONGEST).counts()) == [SIZE - 1]


def test_what_is_out_of_range_counts_as_the_nearest_that_is_not() -> None:
    assert of(-5, LONGEST * 3).counts() == of(0, LONGEST).counts()


def test_quantiles_are_those_of_the_times() -> None:
    times = [random.Random(7).randrange(1, 50 * MS) for _ in range(10_000)]
    histogram = of(*times)
    times.sort()
    for share in (0.01, 0.5, 0.99, 0.999):
        assert histogram.quantile(share) == pytest.approx(times[int(len(times) * share) - 1] / MS, rel=0.01)


def test_merged_histograms_are_one_of_all_times() -> None:
    one, other = of(1, 2, 3 * MS), of(2, 9 * MS)
    one.add(other.counts())
    assert one.counts() == of(1, 2, 2, 3 * MS, 9 * MS).counts() == Histogram(one.counts()).counts()


def test_its_figures() -> None:
    found = of(*[MS] * 98, 10 * MS, 100 * MS).latency("delivery")
    assert (found.name, found.count) == ("delivery", 100)
    assert found.mean == pytest.approx(2.08, rel=0.01)
    assert (found.p50, found.p99) == pytest.approx((1, 10), rel=0.01)
    assert (found.p999, found.max) == pytest.approx((100, 100), rel=0.01)
    assert found.curve == sorted(found.curve)
    assert found.curve[-1] == (1.0, found.max)
    # 100 times say nothing of their thousandth.
    assert max(share for share, _time in found.curve[:-1]) == 0.99


def test_an_empty_one_has_no_figures() -> None:
    assert Histogram().quantile(0.5) is None
    found = Histogram().latency("delivery")
    assert (found.count, found.max, found.curve) == (0, 0.0, [])
