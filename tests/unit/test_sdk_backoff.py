"""Pauses between tries, and the pace of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub.sdk.backoff import BASE_S, CAP_S, Backoff, Pace, full_jitter

chance = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), chance)
def test_a_pause_is_never_longer_than_the_cap(tries: int, random: float) -> None:
    assert 0 <= full_jitter(tries, BASE_S, CAP_S, lambda: random) <= CAP_S


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(random=lambda: 1.0)
    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 20, 20]


def test_jitter_comes_after_the_cap_so_that_a_long_outage_does_not_end_in_step() -> None:
    late = [full_jitter(50, BASE_S, CAP_S, lambda random=random: random) for random in (0.1, 0.5, 0.9)]  # type: ignore[misc]  # a default
    assert late == [2, 10, 18]


def test_a_connection_that_lasted_begins_with_short_pauses_again() -> None:
    backoff = Backoff(random=lambda: 1.0)
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 0.5


@given(st.floats(0.5, 1000), st.floats(1, 500), st.lists(st.floats(0, 2), max_size=60))
def test_what_goes_at_this_pace_is_within_the_rate_of_the_server(rate: float, burst: float, idle: list[float]) -> None:
    now, pace, tokens, at = 100.0, Pace(rate, burst, 100.0), burst, 100.0
    for pause in idle:
        now += pause
        while delay := pace.delay(now):
            now += delay
        pace.take()
        tokens = min(burst, tokens + (now - at) * rate) - 1
        at = now
        assert tokens >= -1e-3, "the server would have refused this one"


def test_a_server_without_a_rate_is_not_waited_for() -> None:
    pace = Pace(0, 0, 0.0)
    for _ in range(10_000):
        assert pace.delay(0.0) == 0
        pace.take()
