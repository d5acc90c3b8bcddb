"""The time that the nodes share."""

from __future__ import annotations

from hubbub.engine.redis.steady import SteadyTime
from hubbub.testing import Clock


def test_a_node_does_not_bring_its_uptime_along() -> None:
    clock = Clock(1e6)
    time = SteadyTime(clock)
    assert time.now_ms() == 0
    clock.go(1.5)
    assert time.now_ms() == 1500


def test_it_goes_on_from_what_was_learned_and_never_back() -> None:
    clock = Clock()
    time = SteadyTime(clock)
    time.learn(5000)
    assert time.now_ms() == 5000
    clock.go(1)
    time.learn(5500)
    assert time.now_ms() == 6000
    time.learn(7000)
    assert time.now_ms() == 7000


def test_it_goes_to_the_millisecond() -> None:
    clock = Clock()
    time = SteadyTime(clock)
    clock.go(9.999)
    assert time.now_ms() == 9999
    clock.go(0.001)
    assert time.now_ms() == 10000
