"""The vault, as every engine promises it."""

from __future__ import annotations

import asyncio

import pytest

from hubbub import Refused
from hubbub.engine import Account, Engine, Grant
from hubbub.otp import OneTimePasswords
from stage import Clock

pytestmark = pytest.mark.anyio

PERCY = Grant("percy", "session")


@pytest.fixture
async def otps(engine: Engine, clock: Clock) -> OneTimePasswords:
    await engine.put_session(PERCY, clock() + 1000)
    return OneTimePasswords(engine, clock, ttl_s=5, per_account=3, in_all=4)


async def test_accounts_are_added_and_changed(engine: Engine) -> None:
    assert await engine.account("percy") is None
    await engine.put_account(Account("percy", "hash"))
    await engine.put_account(Account("percy", "other hash"))
    assert await engine.account("percy") == Account("percy", "other hash")


async def test_a_session_lives_until_it_expires_or_ends(engine: Engine, clock: Clock) -> None:
    await engine.put_session(PERCY, clock() + 10)
    assert await engine.session("session") == PERCY
    assert await engine.session("another") is None
    clock.go(9.999)
    assert await engine.session("session") == PERCY
    clock.go(0.001)
    assert await engine.session("session") is None
    await engine.put_session(PERCY, clock() + 10)
    await engine.end_session("session")
    await engine.end_session("session")
    assert await engine.session("session") is None


async def test_a_one_time_password_is_used_once(otps: OneTimePasswords) -> None:
    otp = await otps.issue(PERCY)
    assert await otps.take(otp) == PERCY
    assert await otps.take(otp) is None
    assert await otps.take("unknown") is None


async def test_of_many_racing_takes_one_wins(otps: OneTimePasswords) -> None:
    for _ in range(20):
        otp = await otps.issue(PERCY)
        takes = await asyncio.gather(*(otps.take(otp) for _ in range(10)))
        assert takes.count(PERCY) == 1


async def test_a_one_time_password_is_dead_after_its_time_to_the_millisecond(
    otps: OneTimePasswords, clock: Clock
) -> None:
    first, second = await otps.issue(PERCY), await otps.issue(PERCY)
    clock.go(4.999)
    assert await otps.take(first) == PERCY
    clock.go(0.001)
    assert await otps.take(second) is None


async def test_a_one_time_password_dies_with_its_session(otps: OneTimePasswords, engine: Engine, clock: Clock) -> None:
    otp = await otps.issue(PERCY)
    await engine.end_session("session")
    assert await otps.take(otp) is None
    await engine.put_session(PERCY, clock() + 1)
    assert await otps.take(otp) is None


async def test_outstanding_ones_are_limited_by_account_and_in_all(
    otps: OneTimePasswords, engine: Engine, clock: Clock
) -> None:
    alice = Grant("alice", "hers")
    await engine.put_session(alice, clock() + 1000)
    issued = [await otps.issue(PERCY) for _ in range(3)]
    with pytest.raises(Refused, match="this account") as refused:
        await otps.issue(PERCY)
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after == 5
    await otps.issue(alice)
    with pytest.raises(Refused, match="server"):
        await otps.issue(alice)
    await otps.take(issued[0])
    await otps.issue(alice)
    clock.go(5)
    for _ in range(3):
        await otps.issue(PERCY)


async def test_no_secret_is_kept_as_it_is(otps: OneTimePasswords) -> None:
    first, second = await otps.issue(PERCY), await otps.issue(PERCY)
    assert first != second
    assert len(first) >= 22, "128 random bits, and more, in base64"
