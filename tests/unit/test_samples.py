"""Samples of what was counted."""

from __future__ import annotations

import pytest

from hubbub.counts import SECONDS
from hubbub.metrics import TABLE, WHICH
from hubbub.samples import KEPT, Samples, quantile_of
from hubbub.tallies import Tally


def tally(**changed: float | list[float]) -> Tally:
    """What a server has counted that has done nothing, but for some metrics."""
    found: Tally = {}
    for entry in TABLE:
        size = len(entry.bounds) + 2 if entry.bounds else len(WHICH[entry.label]) if entry.label else 1
        number = changed.get(entry.name.removeprefix("hubbub_"), 0.0)
        found[entry.name] = number if isinstance(number, list) else [number, *[0.0] * (size - 1)]
    return found


def buckets(**counts: int) -> list[float]:
    """A histogram of seconds; `b3=7` is seven in the fourth bucket."""
    found = [0.0] * (len(SECONDS) + 2)
    for name, count in counts.items():
        found[int(name[1:])] = count
    return found


def test_what_rises_is_told_by_the_second_and_what_is_now_as_it_is() -> None:
    samples = Samples()
    samples.note(1000, 10.0, tally(messages=100, deliveries=1000, cpu_seconds=1.0, connections=3))
    assert samples.since(0) == []
    after = tally(
        messages=150, deliveries=1600, refusals=5, cpu_seconds=3.5, connections=4, rooms=2, memory_bytes=1 << 20,
        slow_clients=1, behind_members=2, workers=2, engine_up=2,
    )  # fmt: skip
    samples.note(6000, 15.0, after)
    (found,) = samples.since(0)
    assert (found.at, found.connections, found.rooms, found.memory) == (6000, 4, 2, 1 << 20)
    assert (found.messages, found.deliveries, found.refused, found.cpu) == (10.0, 120.0, 1.0, 0.5)
    assert (found.slow, found.behind, found.workers, found.is_up) == (1, 2, 2, True)
    assert (found.kept_p50, found.delivered_p99, found.lag_p99) == (None, None, None)


def test_a_server_of_which_one_process_cannot_keep_messages_is_not_up() -> None:
    samples = Samples()
    samples.note(0, 0.0, tally())
    samples.note(1, 1.0, tally(workers=2, engine_up=1))
    assert not samples.since(0)[0].is_up


def test_times_are_those_since_the_last_sample() -> None:
    samples = Samples()
    samples.note(0, 0.0, tally(append_seconds=buckets(b15=1000)))
    samples.note(1, 5.0, tally(append_seconds=buckets(b15=1000, b3=100)))
    (found,) = samples.since(0)
    assert SECONDS[2] < (found.kept_p50 or 0) < (found.kept_p99 or 0) <= SECONDS[3]


@pytest.mark.parametrize(
    ("counts", "part", "expected"),
    [
        ({}, 0.5, None),
        ({"b0": 10}, 0.5, SECONDS[0] / 2),
        ({"b0": 10}, 1.0, SECONDS[0]),
        ({"b0": 99, "b5": 1}, 0.99, SECONDS[0]),
        ({"b0": 98, "b5": 2}, 0.99, (SECONDS[4] + SECONDS[5]) / 2),
        ({f"b{len(SECONDS)}": 1}, 0.5, SECONDS[-1]),
    ],
)
def test_a_quantile_lies_in_its_bucket(counts: dict[str, int], part: float, expected: float | None) -> None:
    assert quantile_of(buckets(**counts)[:-1], part) == (None if expected is None else pytest.approx(expected))


def test_nothing_is_below_nothing_where_the_clock_or_a_counter_goes_back() -> None:
    samples = Samples()
    samples.note(0, 5.0, tally(messages=100, append_seconds=buckets(b3=5)))
    samples.note(1, 5.0, tally(messages=100))
    assert samples.since(0) == []
    samples.note(2, 6.0, tally(messages=50))
    (found,) = samples.since(0)
    assert (found.messages, found.kept_p50) == (0.0, None)


def test_an_hour_is_kept_and_asked_for_from_a_time_on() -> None:
    samples = Samples()
    for step in range(KEPT + 10):
        samples.note(step * 5000, step * 5.0, tally(connections=step))
    found = samples.since(0)
    assert len(found) == KEPT
    assert found[-1].connections == KEPT + 9
    assert [each.at for each in samples.since(found[-3].at)] == [found[-2].at, found[-1].at]
