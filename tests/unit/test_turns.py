"""One caller at a time, in the order of the calls."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.engine.turns import Turns

pytestmark = pytest.mark.anyio


@pytest.fixture
def turns() -> Turns:
    """Turns of which the first is taken."""
    turns = Turns()
    assert turns.take()
    return turns


async def go_on(turns: Turns, name: str, done: list[str]) -> None:
    if not turns.take():
        await turns.wait()
    try:
        await asyncio.sleep(0)
        done.append(name)
    finally:
        turns.give()


async def test_callers_go_on_in_the_order_of_the_calls(turns: Turns) -> None:
    done: list[str] = []
    waiting = [asyncio.ensure_future(go_on(turns, name, done)) for name in "abc"]
    await asyncio.sleep(0)
    assert done == []
    turns.give()
    waiting.append(asyncio.ensure_future(go_on(turns, "d", done)))
    await asyncio.gather(*waiting)
    assert done == ["a", "b", "c", "d"]
    assert turns.take()


@pytest.mark.parametrize("is_given", [False, True])
async def test_who_gives_up_passes_the_turn_on(turns: Turns, is_given: bool) -> None:
    done: list[str] = []
    first, second = (asyncio.ensure_future(go_on(turns, name, done)) for name in "ab")
    await asyncio.sleep(0)
    if is_given:
        turns.give()
    first.cancel()
    if not is_given:
        await asyncio.sleep(0)
        turns.give()
    await asyncio.gather(first, second, return_exceptions=True)
    assert done == ["b"]
    assert turns.take()
