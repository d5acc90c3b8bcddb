"""Who reads on in a turn of the loop."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.wire.turnstile import MIN_READ_S, TURN_S, Turnstile

pytestmark = pytest.mark.anyio


class Guest:
    """Notes that it was let through, and may come back at once."""

    def __init__(self, name: str, let_through: list[str]) -> None:
        self.name = name
        self.let_through = let_through
        self.comes_back_to: Turnstile | None = None

    def read_on(self) -> None:
        self.let_through.append(self.name)
        if self.comes_back_to is not None:
            self.comes_back_to.wait(self, TURN_S)


async def turn() -> None:
    """Let the loop go round once."""
    await asyncio.sleep(0)


async def test_a_turn_lets_through_as_many_as_it_has_time_for() -> None:
    turnstile, let_through = Turnstile(), list[str]()
    for name, seconds in (("a", 0.4), ("b", 0.7), ("c", 0.6), ("d", 0.6), ("e", 0.1)):
        turnstile.wait(Guest(name, let_through), seconds * TURN_S)
    assert let_through == []
    await turn()
    assert let_through == ["a", "b"]
    await turn()
    assert let_through == ["a", "b", "c", "d"]
    await turn()
    assert let_through == ["a", "b", "c", "d", "e"]


async def test_one_is_let_through_however_long_it_takes() -> None:
    turnstile, let_through = Turnstile(), list[str]()
    for name in "abc":
        turnstile.wait(Guest(name, let_through), 100 * TURN_S)
    for count in (1, 2, 3):
        await turn()
        assert let_through == list("abc"[:count])


async def test_a_cheap_read_may_be_followed_by_another_kind() -> None:
    turnstile, let_through = Turnstile(), list[str]()
    for _ in range(100):
        turnstile.wait(Guest("cheap", let_through), 0.0)
    await turn()
    assert len(let_through) == pytest.approx(TURN_S / MIN_READ_S, abs=1)


async def test_who_comes_back_waits_behind_the_others() -> None:
    turnstile, let_through = Turnstile(), list[str]()
    greedy = Guest("greedy", let_through)
    greedy.comes_back_to = turnstile
    turnstile.wait(greedy, 0.0)
    turnstile.wait(Guest("other", let_through), 0.0)
    await turn()
    assert let_through == ["greedy", "other"]
    await turn()
    assert let_through == ["greedy", "other", "greedy"]


async def test_it_does_nothing_while_nobody_waits() -> None:
    turnstile, let_through = Turnstile(), list[str]()
    for count in (1, 2):
        turnstile.wait(Guest("a", let_through), 0.0)
        await turn()
        await turn()
        assert len(let_through) == count
    assert not turnstile._is_turning, "the loop may sleep"
