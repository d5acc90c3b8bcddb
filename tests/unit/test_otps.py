"""One-time passwords in memory: what is used is forgotten."""

from __future__ import annotations

import tracemalloc

from hubbub.engine import Grant
from hubbub.engine.otps import Otps
from hubbub.testing import Clock

PERCY = Grant("percy", "session")


def use(otps: Otps, count: int) -> None:
    for number in range(count):
        assert otps.issue(f"otp {number}", PERCY, 5.0, per_account=3, in_all=3) is None
        assert otps.take(f"otp {number}") == PERCY


def test_those_that_were_used_take_no_memory_until_they_expire() -> None:
    otps = Otps(Clock())
    use(otps, 200)
    tracemalloc.start()
    use(otps, 5000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A hundred bytes for each would be 500,000.
    assert kept < 50_000


def test_those_that_are_outstanding_expire_all_the_same() -> None:
    clock = Clock()
    otps = Otps(clock)
    assert otps.issue("early", PERCY, 5.0, per_account=0, in_all=0) is None
    use(otps, 200)
    clock.go(4.9)
    assert otps.issue("late", PERCY, 5.0, per_account=3, in_all=3) is None
    clock.go(0.1)
    assert otps.take("early") is None
    assert otps.take("late") == PERCY
