"""How old something must be to go, with clocks that jump."""

from __future__ import annotations

import pytest

from hubbub.age import FIRST_S, LEAD_S, Age
from hubbub.testing import Clock
from walls import DAY_S, YEAR_S, Wall

KEEP_S = 10 * DAY_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wall(clock: Clock) -> Wall:
    wall = Wall(clock)
    wall.jump(50 * YEAR_S)
    return wall


@pytest.fixture
def age(clock: Clock, wall: Wall) -> Age:
    return Age(KEEP_S, clock=clock, wall=wall)


def right_cutoff(wall: Wall) -> int:
    return int((wall() - KEEP_S) * 1000)


def test_what_is_kept_for_ever_is_never_old(clock: Clock, wall: Wall) -> None:
    age = Age(0, clock=clock, wall=wall)
    clock.go(10 * YEAR_S)
    assert age.cutoff_ms() == 0


def test_nothing_is_old_in_the_first_minute(age: Age, clock: Clock, wall: Wall) -> None:
    assert age.cutoff_ms() == 0
    clock.go(FIRST_S - 0.001)
    assert age.cutoff_ms() == 0
    clock.go(0.001)
    assert age.cutoff_ms() == right_cutoff(wall)
    clock.go(5)
    assert age.cutoff_ms() == right_cutoff(wall)


def test_a_glitch_makes_nothing_old(age: Age, clock: Clock, wall: Wall) -> None:
    clock.go(FIRST_S)
    age.cutoff_ms()
    for _ in range(3):
        clock.go(LEAD_S)
        right = right_cutoff(wall)
        wall.jump(YEAR_S)
        assert age.cutoff_ms() == right
        clock.go(1)
        assert age.cutoff_ms() == right + 1000
        wall.jump(-YEAR_S)
        assert age.cutoff_ms() == right_cutoff(wall)


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_a_glitch_at_the_start_makes_nothing_old(clock: Clock, looks: int) -> None:
    wall = Wall(clock)
    wall.jump(51 * YEAR_S)
    age = Age(KEEP_S, clock=clock, wall=wall)
    for _ in range(looks):
        assert age.cutoff_ms() == 0
        clock.go(1)
    wall.jump(-YEAR_S)
    for _ in range(70):
        assert age.cutoff_ms() <= right_cutoff(wall)
        clock.go(1)
    assert age.cutoff_ms() == right_cutoff(wall)


def test_a_glitch_at_the_second_look_makes_nothing_old(age: Age, clock: Clock, wall: Wall) -> None:
    clock.go(FIRST_S)
    right = right_cutoff(wall)
    wall.jump(YEAR_S)
    assert age.cutoff_ms() == right


def test_a_lead_that_lasts_is_believed(age: Age, clock: Clock, wall: Wall) -> None:
    clock.go(FIRST_S)
    age.cutoff_ms()
    wall.jump(DAY_S)
    clock.go(1)
    assert age.cutoff_ms() == right_cutoff(wall) - DAY_S * 1000
    clock.go(LEAD_S - 1)
    assert age.cutoff_ms() == right_cutoff(wall) - DAY_S * 1000
    clock.go(1)
    assert age.cutoff_ms() == right_cutoff(wall)


def test_of_a_lead_that_changes_the_least_is_believed(age: Age, clock: Clock, wall: Wall) -> None:
    clock.go(FIRST_S)
    age.cutoff_ms()
    for jump_s in (DAY_S, YEAR_S, -YEAR_S, YEAR_S):
        wall.jump(jump_s)
        age.cutoff_ms()
        clock.go(LEAD_S / 3)
    assert age.cutoff_ms() == right_cutoff(wall) - YEAR_S * 1000


@pytest.mark.parametrize("back_s", [1, DAY_S, YEAR_S])
def test_a_wall_clock_that_goes_back_makes_everything_younger_at_once(
    age: Age, clock: Clock, wall: Wall, back_s: float
) -> None:
    clock.go(FIRST_S)
    age.cutoff_ms()
    wall.jump(-back_s)
    assert age.cutoff_ms() == right_cutoff(wall)


def test_nothing_is_old_before_1970(clock: Clock) -> None:
    age = Age(KEEP_S, clock=clock, wall=clock)
    clock.go(FIRST_S)
    assert age.cutoff_ms() == 0
