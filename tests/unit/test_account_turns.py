"""Logging in: who waits for a turn, who is let go, and what is left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from gates import Gate, turns
from hubbub import accounts as accounts_module
from hubbub import logins
from hubbub import turns as turns_module
from hubbub.accounts import Accounts
from hubbub.engine import Account
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.logins import HASHERS
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


class Fast:
    """A hasher that takes no time."""

    def hash(self, password: str) -> str:
        return password

    def verify(self, hashed: str, password: str) -> bool:
        return hashed == password


class Slow(MemoryEngine):
    """A vault that is as slow as the checking of passwords.

    Attributes:
        gate: holds a login up that is being checked.
        asked: whose accounts were read, in their order.
        at_once: most that were read at the same time.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, wall=clock)
        self.gate = Gate()
        self.asked: list[str] = []
        self.at_once = 0
        self.error: EngineError | None = None

    async def account(self, user: str) -> Account | None:
        self.asked.append(user)
        self.at_once = max(self.at_once, self.gate.waiting + 1)
        await self.gate.enter()
        if self.error is not None:
            raise self.error
        return await super().account(user)


class Bank:
    """Accounts, and what is behind them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.vault = Slow(self.clock)
        self.accounts = Accounts(self.vault, session_ttl_s=60.0, max_user_name=32, clock=self.clock)

    def log_in(self, user: str, address: str = HERE, password: str = "right") -> asyncio.Task[object]:
        return asyncio.create_task(self.accounts.log_in(user, password, address=address))


@pytest.fixture
async def bank(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bank]:
    """A bank where percy and alice have accounts."""
    monkeypatch.setattr(accounts_module, "PasswordHasher", Fast)
    monkeypatch.setattr(turns_module, "REFUSAL_S", 0.0)
    made = Bank()
    for user in ("percy", "alice"):
        await made.accounts.add(user, "right")
    yield made
    made.vault.gate.open()
    made.accounts.close()


async def done(tasks: list[asyncio.Task[object]], count: int) -> None:
    """Wait until so many have ended."""
    while sum(task.done() for task in tasks) < count:
        await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)


async def test_no_more_passwords_are_checked_at_once_than_there_is_memory_for(bank: Bank) -> None:
    bank.vault.gate.close()
    tasks = [bank.log_in("percy") for _ in range(20)]
    await turns()
    assert bank.vault.gate.waiting == HASHERS
    bank.vault.gate.open()
    assert all(await asyncio.gather(*tasks))
    assert bank.vault.at_once <= HASHERS + 1, "a look at the account afterwards is no check"


async def test_addresses_take_turns(bank: Bank) -> None:
    bank.vault.gate.close()
    tasks = [bank.log_in("alice") for _ in range(20)]
    await turns()
    tasks.append(bank.log_in("percy", ELSEWHERE))
    await turns()
    bank.vault.asked.clear()
    bank.vault.gate.open()
    await asyncio.gather(*tasks)
    assert bank.vault.asked.index("percy") <= 2 * HASHERS


async def test_what_a_login_waits_for_is_dropped_with_its_task(bank: Bank) -> None:
    bank.vault.gate.close()
    checking = [bank.log_in("percy") for _ in range(HASHERS)]
    await turns()
    waiting = [bank.log_in("alice") for _ in range(5)]
    await turns()
    for task in (*waiting, checking[0]):
        task.cancel()
    await asyncio.gather(*waiting, checking[0], return_exceptions=True)
    assert len(bank.accounts._turns._queue) == 0
    bank.vault.gate.open()
    assert await checking[1]
    assert await bank.log_in("alice")
    assert not bank.accounts._turns._futures


@pytest.mark.parametrize("turns_come", ["before", "after"])
async def test_one_that_is_cancelled_at_its_turn_leaves_it_to_others(bank: Bank, turns_come: str) -> None:
    bank.vault.gate.close()
    checking = [bank.log_in("percy") for _ in range(HASHERS)]
    await turns()
    waiting = [bank.log_in("alice") for _ in range(HASHERS)]
    await turns()
    for task in checking:
        task.cancel()
    if turns_come == "before":
        await asyncio.sleep(0)  # a turn of the loop, as often as needed
    for task in waiting:
        task.cancel()
    await asyncio.gather(*checking, *waiting, return_exceptions=True)
    assert bank.accounts._turns._queue._checking == 0


async def test_a_login_whose_client_has_gone_is_not_checked(bank: Bank) -> None:
    bank.vault.gate.close()
    checking = [bank.log_in("percy") for _ in range(HASHERS)]
    await turns()
    gone = asyncio.create_task(bank.accounts.log_in("alice", "right", address=HERE, is_wanted=lambda: False))
    await turns()
    bank.clock.go(2.0)
    bank.vault.gate.open()
    await asyncio.gather(*checking)
    with pytest.raises(Refused):
        await gone
    assert "alice" not in bank.vault.asked


async def test_no_more_are_held_back_than_there_is_room_for(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "REFUSAL_S", 3600.0)
    monkeypatch.setattr(turns_module, "MAX_REFUSED", 2)
    monkeypatch.setattr(bank.accounts._turns._queue, "_max_per_source", 1)
    bank.vault.gate.close()
    checking = [bank.log_in("percy") for _ in range(HASHERS + 1)]
    await turns()
    gone = asyncio.create_task(bank.accounts.log_in("percy", "right", address=HERE, is_wanted=lambda: False))
    refused = [bank.log_in("percy") for _ in range(5)]
    await done([gone, *refused], 4)
    assert [task.done() for task in (gone, *refused)] == [True, False, False, True, True, True]
    for task in refused:
        task.cancel()
    await asyncio.gather(gone, *refused, return_exceptions=True)
    assert bank.accounts._turns._refused == 0
    bank.vault.gate.open()
    await asyncio.gather(*checking)


async def test_who_has_waited_too_long_is_told_so(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.vault.gate.close()
    checking = [bank.log_in("percy") for _ in range(HASHERS)]
    await turns()
    monkeypatch.setattr(logins, "MAX_WAIT_S", 0.0)
    with pytest.raises(Refused) as refused:
        await bank.log_in("alice")
    assert refused.value.code == ErrorCode.RATE_LIMITED
    assert refused.value.retry_after
    bank.vault.gate.open()
    await asyncio.gather(*checking)


async def test_guesses_are_delayed_and_a_known_address_is_not(bank: Bank) -> None:
    assert await bank.log_in("percy", ELSEWHERE)
    guesses = [bank.log_in("percy", password="wrong") for _ in range(30)]
    await done(guesses, 10)
    assert await bank.log_in("percy", ELSEWHERE)
    assert sum(guess.done() for guess in guesses) == 10, "the others wait until the clock goes on"
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_where_a_session_is_used_its_user_is_known(bank: Bank) -> None:
    guesses = [bank.log_in("percy", password="wrong") for _ in range(30)]
    await done(guesses, 10)
    bank.accounts.recognize("percy", ELSEWHERE)
    assert await bank.log_in("percy", ELSEWHERE)
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_a_vault_that_fails_takes_no_turn_with_it(bank: Bank) -> None:
    bank.vault.error = EngineError("the disk is gone")
    for _ in range(30):
        with pytest.raises(EngineError):
            await bank.log_in("percy")
    bank.vault.error = None
    assert await bank.log_in("percy"), "no failure of the server's is a wrong guess"


async def test_one_login_more_than_an_account_may_have_ends_the_oldest(bank: Bank) -> None:
    accounts = Accounts(bank.vault, session_ttl_s=60.0, max_user_name=32, max_sessions=2, clock=bank.clock)
    found = [await accounts.log_in("percy", "right") for _ in range(3)]
    sessions = [each[1].session for each in found if each is not None]
    assert await bank.vault.alive(sessions) == set(sessions[1:])
    accounts.close()


def test_nobody_can_stand_in_line_for_the_newcomers_of_another_address() -> None:
    waiting = turns_module.LoginTurns(logins.Queue(), Clock())
    name = waiting.newcomer(HERE).user
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(json.dumps({"username": name}))
    with pytest.raises(UnicodeDecodeError):
        name.encode(errors="surrogatepass").decode()
