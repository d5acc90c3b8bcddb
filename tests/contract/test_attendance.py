"""Who is in a room and how far they have read it, as every engine promises it."""

from __future__ import annotations

import asyncio

import pytest

from contract.told import Told
from hubbub.engine import Account, Engine, UserList

pytestmark = pytest.mark.anyio


async def test_a_user_who_comes_and_goes_is_told_of_once(engine: Engine, told: Told) -> None:
    await engine.subscribe("a")
    engine.enter("a", "percy")
    engine.enter("a", "percy")
    engine.leave("a", "percy")
    engine.leave("a", "percy")
    engine.leave("a", "nobody")
    engine.enter("a", "percy")
    await told.exactly(("came", "a", "percy"), ("went", "a", "percy"), ("came", "a", "percy"))


async def test_nobody_is_told_of_a_room_that_is_not_subscribed_to(engine: Engine, told: Told) -> None:
    engine.enter("a", "percy")
    engine.leave("a", "percy")
    engine.leave("a", "percy")
    engine.enter("a", "alice")
    await told.exactly()
    assert await engine.members("a", 10) == UserList(["alice"], 1)


async def test_members_are_the_first_names_and_their_number(engine: Engine) -> None:
    assert await engine.members("a", 10) == UserList([], 0)
    for name in ("percy", "alice", "Zoë", "bob"):
        engine.enter("a", name)
    engine.enter("b", "carol")
    assert await engine.members("a", 10) == UserList(["Zoë", "alice", "bob", "percy"], 4)
    assert await engine.members("a", 4) == UserList(["Zoë", "alice", "bob", "percy"], 4)
    assert await engine.members("a", 2) == UserList(["Zoë", "alice"], 4)
    assert await engine.members("a", 0) == UserList([], 4)


async def test_members_are_right_after_any_change(engine: Engine) -> None:
    names: set[str] = set()
    for step in range(300):
        name = f"{step * 37 % 23:02}"
        if name in names:
            names.remove(name)
            engine.leave("a", name)
        else:
            names.add(name)
            engine.enter("a", name)
        limit = step * 7 % 13
        assert await engine.members("a", limit) == UserList(sorted(names)[:limit], len(names))


async def test_a_room_is_empty_when_the_last_one_has_left(engine: Engine) -> None:
    engine.enter("a", "percy")
    engine.leave("a", "percy")
    assert await engine.members("a", 10) == UserList([], 0)


# Read marks


async def test_a_mark_moves_on_and_never_back(engine: Engine) -> None:
    assert await engine.read_mark("a", "percy") == 0
    assert await engine.mark_read("a", "percy", 5) == 5
    assert await engine.mark_read("a", "percy", 3) == 5
    assert await engine.mark_read("a", "percy", 7) == 7
    assert await engine.read_mark("a", "percy") == 7


async def test_a_mark_is_of_one_user_in_one_room(engine: Engine) -> None:
    await engine.mark_read("a", "percy", 5)
    assert await engine.mark_read("b", "percy", 2) == 2
    assert await engine.mark_read("a", "alice", 3) == 3
    assert await engine.read_mark("a", "percy") == 5


async def test_of_many_marks_at_once_the_furthest_is_kept(engine: Engine) -> None:
    seqs = [number * 7 % 50 for number in range(50)]
    found = await asyncio.gather(*(engine.mark_read("a", "percy", seq) for seq in seqs))
    assert all(kept >= asked for kept, asked in zip(found, seqs, strict=True))
    assert await engine.read_mark("a", "percy") == 49
    await asyncio.gather(*(engine.mark_read("a", f"user {number}", number) for number in range(1200)))
    assert [await engine.read_mark("a", f"user {number}") for number in (0, 499, 500, 1199)] == [0, 499, 500, 1199]


async def test_who_gives_up_does_not_keep_the_others_from_being_kept(engine: Engine) -> None:
    for turns in range(4):
        given_up = asyncio.ensure_future(engine.mark_read("a", "percy", turns))
        others = [asyncio.ensure_future(engine.mark_read("a", f"user {number}", turns)) for number in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        assert await asyncio.gather(*others) == [turns] * 3


async def test_an_account_may_be_removed_and_made_again(engine: Engine) -> None:
    await engine.put_account(Account("percy", "hash"))
    await engine.mark_read("a", "percy", 5)
    await engine.mark_read("a", "alice", 5)
    await engine.remove_account("percy")
    assert await engine.read_mark("a", "alice") == 5
    assert await engine.mark_read("a", "percy", 6) == 6
