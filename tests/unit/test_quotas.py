"""What one account may add to the log."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hubbub import Refused
from hubbub.budgets import KEY_S
from hubbub.testing import CLASSIC, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


async def say(guest: Guest, room: str = "a", key: str | None = None, size: int = 2) -> float:
    """Say something; the seconds after which to ask again where it is refused, 0 where it is kept."""
    payload = {"room": room, "message": "x" * size} | ({} if key is None else {"key": key})
    try:
        await guest.ask("send_message", payload)
    except Refused as refused:
        assert refused.code == "rate_limited"
        assert refused.retry_after is not None
        return refused.retry_after
    return 0.0


async def kept(stage: Stage, room: str = "a") -> int:
    return (await stage.engine.head(room)).seq


async def test_an_account_has_so_many_keys_remembered_whatever_its_connections() -> None:
    async with at_work(max_keys_per_account=40) as stage:
        guests = [await stage.client("percy") for _ in range(3)]
        for guest in guests:
            await guest.join("a")
        keys = map(str, itertools.count())
        waits = [await say(guest, key=next(keys)) for _ in range(10) for guest in guests]
        taken = waits.count(0.0)
        assert 20 <= taken <= 22
        assert all(0 < wait <= KEY_S for wait in waits[taken:])
        # What was kept once is kept once, and what was refused is as good as never sent.
        assert await kept(stage) == taken
        await stage.pass_time(60)
        assert await say(guests[0], key="0") == 0.0
        assert await kept(stage) == taken
        assert await say(guests[0], key=str(taken)) == 0.0
        assert await kept(stage) == taken + 1
        assert await say(await joined(stage, "alice"), key="1") == 0.0


async def joined(stage: Stage, user: str, room: str = "a") -> Guest:
    guest = await stage.client(user)
    await guest.join(room)
    return guest


async def test_no_more_keys_than_said_are_remembered_at_once() -> None:
    async with at_work(max_keys_per_account=160) as stage:
        percy = await joined(stage, "percy")
        keys = map(str, itertools.count())
        at: list[float] = []
        while stage.clock() < 1500 + KEY_S:
            wait = await say(percy, key=next(keys))
            if wait:
                await stage.pass_time(wait)
            else:
                at.append(stage.clock())
        most = max(sum(start <= moment < start + KEY_S for moment in at) for start in at)
        assert 140 < most <= 176  # those that are counted together are one more handful


async def test_messages_without_a_key_take_none() -> None:
    async with at_work(max_keys_per_account=2) as stage:
        percy = await joined(stage, "percy")
        assert not any([await say(percy) for _ in range(50)])


async def test_an_account_adds_so_many_bytes_to_the_log_in_a_day() -> None:
    async with at_work(daily_bytes=100_000) as stage:
        percy, classic = await joined(stage, "percy"), await stage.client("percy", CLASSIC)
        count = 0
        while not (wait := await say(percy, size=900)):
            count += 1
        assert 95 <= count <= 110
        classic.say("send_message", {"message": "x"})
        await stage.settle()
        assert (classic.refused, await kept(stage, "general")) == (1, 0)
        assert await say(await joined(stage, "alice"), size=900) == 0.0
        await stage.pass_time(wait)
        assert await say(percy, size=900) == 0.0
        await stage.pass_time(43_200)
        more = 0
        while not await say(percy, size=900):
            more += 1
        assert 45 <= more <= 60


async def test_an_account_makes_so_many_rooms_in_a_day() -> None:
    async with at_work(daily_rooms=5) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        waits = []
        for number in range(8):
            await percy.join(f"room {number}")
            waits.append(await say(percy, f"room {number}"))
        assert waits[:5] == [0.0] * 5
        assert all(waits[5:])
        assert [await kept(stage, f"room {number}") for number in range(8)] == [1] * 5 + [0] * 3
        # Rooms that are there already are open, and so are others' and those in which nothing was said.
        assert await say(percy, "room 0") == 0.0
        await alice.join("room 7")
        assert await say(alice, "room 7") == 0.0
        assert await say(percy, "room 7") == 0.0
        await stage.pass_time(86_400 / 5 * 2)
        assert await say(percy, "room 6") == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": "count", "daily_bytes": 1000, "daily_rooms": 1, "max_keys_per_account": 1},
        {"daily_bytes": 0, "daily_rooms": 0, "max_keys_per_account": 0},
    ],
)
async def test_quotas_may_be_counted_only_and_need_not_be(settings: dict[str, Any]) -> None:
    async with at_work(**settings) as stage:
        percy = await stage.client("percy")
        for number in range(20):
            await percy.join(f"room {number}")
            assert await say(percy, f"room {number}", key=str(number), size=500) == 0.0
