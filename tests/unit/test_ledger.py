"""What a server knows of who may do what: changes of its own, and of others."""

from __future__ import annotations

import asyncio

import pytest

from gates import Gate
from hubbub.acts import Role
from hubbub.engine import Access, Account, Change, WhyNot
from hubbub.engine.memory import MemoryEngine
from hubbub.ledger import Affected, Ledger
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio


class LateVault(MemoryEngine):
    """A vault whose answers come late."""

    def __init__(self) -> None:
        super().__init__(clock=Clock(), wall=Clock())
        self.reading = Gate()
        self.blocking = Gate()
        self.loads = 0

    async def access(self) -> Access:
        self.loads += 1
        found = await super().access()
        await self.reading.enter()
        return found

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        change = await super().set_blocked(user, is_blocked=is_blocked)
        await self.blocking.enter()
        return change


@pytest.fixture
async def vault() -> LateVault:
    vault = LateVault()
    for user in ("percy", "alice"):
        await vault.put_account(Account(user, "hash"))
    return vault


async def test_what_was_kept_is_known_once_it_is_loaded(vault: LateVault) -> None:
    await vault.set_role("percy", Role.ADMIN)
    await vault.set_blocked("alice", is_blocked=True)
    await vault.invite("team", "percy")
    await vault.close_room("old")
    ledger = Ledger(vault)
    assert await ledger.load() == Affected({"percy", "alice"}, {"team", "old"})
    assert (ledger.role_of("percy"), ledger.role_of("alice")) == (Role.ADMIN, Role.MEMBER)
    assert (ledger.is_blocked("percy"), ledger.is_blocked("alice")) == (False, True)
    assert (ledger.is_invited("percy", "team"), ledger.is_invited("alice", "team")) == (True, False)
    assert (ledger.is_closed("old"), ledger.is_closed("team")) == (True, False)


async def test_nothing_is_read_where_nothing_has_changed(vault: LateVault) -> None:
    ledger = Ledger(vault)
    await ledger.load()
    assert await ledger.load() == Affected(set(), set())
    assert vault.loads == 1


async def test_only_what_differs_is_affected(vault: LateVault) -> None:
    ledger = Ledger(vault)
    await vault.set_role("percy", Role.GUEST)
    await vault.invite("team", "percy")
    await ledger.load()
    await vault.set_role("percy", Role.ADMIN)
    await vault.uninvite("team", "percy")
    await vault.close_room("old")
    assert await ledger.load() == Affected({"percy"}, {"team", "old"})


async def test_a_change_made_here_is_known_at_once(vault: LateVault) -> None:
    ledger = Ledger(vault)
    await ledger.load()
    await ledger.set_role("percy", Role.GUEST)
    await ledger.set_blocked("alice", is_blocked=True)
    await ledger.invite("team", "percy")
    await ledger.invite("team", "alice")
    await ledger.uninvite("team", "alice")
    await ledger.close_room("old")
    await ledger.doom_room("older")
    await ledger.close_room("shut")
    await ledger.reopen_room("shut")
    await ledger.reopen_room("older")
    assert ledger.access == await vault.access() or ledger.access.version < await vault.access_version()
    known = ledger.access
    await ledger.load()
    for name in ("roles", "blocked", "invited", "closed", "doomed"):
        assert getattr(known, name) == getattr(ledger.access, name), name
    await ledger.forget_room("older")
    await ledger.forget_room("team")
    assert (ledger.access.closed, ledger.access.doomed, ledger.access.invited) == ({"old"}, set(), {})


async def test_what_is_not_changed_changes_nothing_here(vault: LateVault) -> None:
    ledger = Ledger(vault)
    change = await ledger.set_blocked("nobody", is_blocked=True)
    assert change.why_not is WhyNot.NO_ACCOUNT
    assert not ledger.is_blocked("nobody")


async def test_an_answer_from_before_a_change_does_not_take_it_back(vault: LateVault) -> None:
    ledger = Ledger(vault)
    vault.reading.close()
    loading = asyncio.create_task(ledger.load())
    await vault.reading.reached()
    await ledger.set_blocked("percy", is_blocked=True)
    vault.reading.open()
    await loading
    assert ledger.is_blocked("percy")
    await vault.set_role("alice", Role.GUEST)
    await ledger.load()
    assert ledger.is_blocked("percy")
    assert ledger.role_of("alice") is Role.GUEST


async def test_a_change_that_another_has_taken_back_stays_taken_back(vault: LateVault) -> None:
    ledger = Ledger(vault)
    vault.blocking.close()
    blocking = asyncio.create_task(ledger.set_blocked("percy", is_blocked=True))
    await vault.blocking.reached()
    vault.blocking.open()
    await MemoryEngine.set_blocked(vault, "percy", is_blocked=False)  # by another process
    await ledger.load()
    await blocking
    assert not ledger.is_blocked("percy")
