"""The vault, as every engine promises it."""

from __future__ import annotations

import asyncio

import pytest

from contract.told import Restart, Told
from hubbub.acts import Role
from hubbub.engine import Account, Change, Engine, Grant, OtpLimit, WhyNot, memory, sqlite_access
from hubbub.engine.redis import access as redis_access
from hubbub.testing import Clock
from walls import DAY_S, Wall

pytestmark = pytest.mark.anyio

PERCY = Grant("percy", "session")
ALICE = Grant("alice", "hers")


async def issue(
    engine: Engine, otp: str, grant: Grant = PERCY, *, ttl_s: float = 5, per_account: int = 0, in_all: int = 0
) -> OtpLimit | None:
    return await engine.issue_otp(otp, grant, ttl_s=ttl_s, per_account=per_account, in_all=in_all)


# Accounts


async def test_accounts_are_added_and_changed(engine: Engine) -> None:
    assert await engine.account("percy") is None
    assert not await engine.has_accounts()
    await engine.put_account(Account("percy", "hash"))
    await engine.put_account(Account("percy", "other hash"))
    assert await engine.account("percy") == Account("percy", "other hash")
    assert await engine.has_accounts()


async def test_accounts_are_listed_in_order(engine: Engine) -> None:
    assert await engine.accounts() == []
    for name in ("percy", "alice", "bob"):
        await engine.put_account(Account(name, "hash"))
    assert await engine.accounts() == ["alice", "bob", "percy"]


async def test_an_account_is_removed(engine: Engine) -> None:
    await engine.put_account(Account("percy", "hash"))
    assert await engine.remove_account("percy")
    assert not await engine.remove_account("percy")
    assert await engine.account("percy") is None
    assert await engine.accounts() == []
    assert not await engine.has_accounts()


@pytest.mark.parametrize("is_removed", [False, True])
async def test_a_changed_or_removed_account_ends_its_users_sessions(
    engine: Engine, clock: Clock, told: Told, is_removed: bool
) -> None:
    await engine.put_account(Account("percy", "hash"))
    await engine.put_account(Account("alice", "hash"))
    await engine.put_session(Grant("percy", "expired"), 1)
    for grant in (PERCY, Grant("percy", "other"), ALICE):
        await engine.put_session(grant, 1000)
        await issue(engine, f"otp of {grant.session}", grant)
    clock.go(1)
    await (engine.remove_account("percy") if is_removed else engine.put_account(Account("percy", "new")))
    assert sorted(await told.at_least(2)) == [("ended", "other"), ("ended", "session")]
    assert await engine.session("session") is None
    assert await engine.session("other") is None
    assert await engine.session("hers") == ALICE
    assert await engine.alive(["session", "other", "hers"]) == {"hers"}
    assert await engine.take_otp("otp of session") is None
    assert await engine.take_otp("otp of other") is None
    assert await engine.take_otp("otp of hers") == ALICE


# Terms, and users without an account

ON_TERMS = Grant("Zoë, of Sales", "theirs", Role.GUEST, {"team": "sales", "depth": [1, None]}, 2_000_000_000.5)


async def test_a_session_and_its_one_time_passwords_keep_their_terms(engine: Engine) -> None:
    await engine.put_session(ON_TERMS, 1000)
    assert await engine.session("theirs") == ON_TERMS
    assert await issue(engine, "otp", ON_TERMS) is None
    assert await engine.take_otp("otp") == ON_TERMS
    assert await engine.end_sessions(ON_TERMS.user) == 1
    assert await engine.session("theirs") is None


async def test_a_session_keeps_its_terms_over_a_restart(engine: Engine, restart: Restart) -> None:
    await engine.put_session(ON_TERMS, 1000)
    engine = await restart()
    assert await engine.session("theirs") == ON_TERMS


async def test_a_one_time_password_of_a_session_that_is_not_kept_is_good_by_itself(engine: Engine) -> None:
    outside = Grant("zoe", "a token's hash", Role.ADMIN, None, 5.0, is_kept=False)
    plain = Grant("zoe", "another", is_kept=False)
    for otp, grant in (("one", outside), ("two", plain)):
        assert await issue(engine, otp, grant) is None
        assert await engine.take_otp(otp) == grant
        assert await engine.take_otp(otp) is None
    assert await engine.session("a token's hash") is None


async def test_ending_a_users_sessions_ends_one_time_passwords_of_those_that_are_not_kept(engine: Engine) -> None:
    for user in ("zoe", "yan"):
        await issue(engine, f"otp of {user}", Grant(user, "outside", is_kept=False))
    assert await engine.end_sessions("zoe") == 0
    assert await engine.take_otp("otp of zoe") is None
    assert await engine.take_otp("otp of yan") == Grant("yan", "outside", is_kept=False)


# The first account


async def test_a_setup_secret_is_used_once(engine: Engine) -> None:
    await engine.put_setup("secret")
    assert not await engine.take_setup("guess")
    assert await engine.take_setup("secret")
    assert not await engine.take_setup("secret")


async def test_using_one_setup_secret_uses_up_all(engine: Engine) -> None:
    await engine.put_setup("one")
    await engine.put_setup("another")
    assert await engine.take_setup("another")
    assert not await engine.take_setup("one")


async def test_of_many_that_race_with_setup_secrets_one_wins(engine: Engine) -> None:
    for secret in ("one", "another"):
        await engine.put_setup(secret)
    takes = await asyncio.gather(*(engine.take_setup(secret) for secret in ("one", "another") * 5))
    assert takes.count(True) == 1


async def test_there_is_no_setup_with_an_account(engine: Engine) -> None:
    await engine.put_setup("before")
    await engine.put_account(Account("percy", "hash"))
    await engine.put_setup("after")
    assert not await engine.take_setup("before")
    assert not await engine.take_setup("after")


# Sessions


async def test_a_session_lives_until_it_expires_to_the_millisecond(engine: Engine, clock: Clock) -> None:
    await engine.put_session(PERCY, 10)
    assert await engine.session("session") == PERCY
    assert await engine.session("another") is None
    clock.go(9.999)
    assert await engine.session("session") == PERCY
    assert await engine.alive(["session"]) == {"session"}
    clock.go(0.001)
    assert await engine.session("session") is None
    assert await engine.alive(["session"]) == set()


@pytest.mark.parametrize("jump_s", [8 * DAY_S, -8 * DAY_S, 3650 * DAY_S, -3650 * DAY_S])
async def test_a_session_lives_as_long_whatever_the_wall_clock_does(
    engine: Engine, clock: Clock, wall: Wall, told: Told, jump_s: float
) -> None:
    await engine.put_session(PERCY, 7 * DAY_S)
    wall.jump(jump_s)
    assert await engine.session("session") == PERCY
    await engine.put_session(ALICE, 7 * DAY_S)
    assert await engine.alive(["session", "hers"]) == {"session", "hers"}
    clock.go(7 * DAY_S - 1)
    wall.jump(-jump_s)
    assert await engine.session("session") == PERCY
    assert await engine.alive(["session", "hers"]) == {"session", "hers"}
    clock.go(1)
    wall.jump(-jump_s)
    assert await engine.session("session") is None
    assert await engine.alive(["session", "hers"]) == set()
    await engine.end_session("session")
    await told.exactly()


@pytest.mark.parametrize("jump_s", [8 * DAY_S, -8 * DAY_S])
async def test_a_one_time_password_lives_as_long_whatever_the_wall_clock_does(
    engine: Engine, clock: Clock, wall: Wall, jump_s: float
) -> None:
    await engine.put_session(PERCY, 7 * DAY_S)
    await issue(engine, "first")
    await issue(engine, "second")
    wall.jump(jump_s)
    clock.go(4.999)
    assert await engine.take_otp("first") == PERCY
    clock.go(0.001)
    assert await engine.take_otp("second") is None


async def test_after_a_restart_a_session_ends_by_the_wall_clock(
    engine: Engine, restart: Restart, clock: Clock, wall: Wall
) -> None:
    await engine.put_session(PERCY, 7 * DAY_S)
    clock.go(3 * DAY_S)
    wall.jump(3 * DAY_S)  # the machine was off: its steady clock has not counted that
    engine = await restart()
    assert await engine.session("session") == PERCY
    wall.jump(8 * DAY_S)
    assert await engine.alive(["session"]) == {"session"}
    clock.go(DAY_S - 1)
    assert await engine.session("session") == PERCY
    clock.go(1)
    assert await engine.session("session") is None


async def test_a_session_from_while_the_wall_clock_was_wrong_ends_in_its_time_after_a_restart(
    engine: Engine, restart: Restart, clock: Clock, wall: Wall
) -> None:
    wall.jump(8 * DAY_S)
    await engine.put_session(PERCY, 10)
    wall.jump(-8 * DAY_S)
    engine = await restart()
    clock.go(9.999)
    assert await engine.session("session") == PERCY
    clock.go(0.001)
    assert await engine.session("session") is None


async def test_a_session_ends_once(engine: Engine, told: Told) -> None:
    await engine.put_session(PERCY, 10)
    await engine.put_session(ALICE, 10)
    assert await engine.session("session") == PERCY
    await engine.end_session("session")
    await engine.end_session("session")
    await engine.end_session("never was")
    await told.exactly(("ended", "session"))
    assert await engine.session("session") is None
    assert await engine.session("hers") == ALICE


async def test_a_session_that_has_expired_does_not_end(engine: Engine, clock: Clock, told: Told) -> None:
    await engine.put_session(PERCY, 10)
    clock.go(10)
    await engine.end_session("session")
    await told.exactly()


async def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered(engine: Engine) -> None:
    for name in ("one", "two", "three"):
        await engine.put_session(Grant("percy", name), 10)
        await asyncio.gather(*(engine.session(name) for _ in range(3)), engine.end_session(name))
        assert await engine.session(name) is None


async def test_those_that_live_are_told_from_those_that_do_not(engine: Engine) -> None:
    names = [str(number) for number in range(2500)]
    for number, name in enumerate(names):
        if number % 3:
            await engine.put_session(Grant("percy", name), 10)
    assert await engine.alive(names) == {name for number, name in enumerate(names) if number % 3}
    assert await engine.alive([]) == set()


# One-time passwords


@pytest.fixture
async def sessions(engine: Engine) -> None:
    await engine.put_session(PERCY, 1000)
    await engine.put_session(ALICE, 1000)


@pytest.mark.usefixtures("sessions")
async def test_a_one_time_password_is_used_once(engine: Engine) -> None:
    assert await issue(engine, "otp") is None
    assert await engine.take_otp("otp") == PERCY
    assert await engine.take_otp("otp") is None
    assert await engine.take_otp("unknown") is None


@pytest.mark.usefixtures("sessions")
async def test_of_many_racing_takes_one_wins(engine: Engine) -> None:
    for _ in range(20):
        await issue(engine, "otp")
        takes = await asyncio.gather(*(engine.take_otp("otp") for _ in range(10)))
        assert takes.count(PERCY) == 1


@pytest.mark.usefixtures("sessions")
async def test_a_one_time_password_expires_to_the_millisecond(engine: Engine, clock: Clock) -> None:
    for otp, ttl_s in (("long", 60), ("first", 5), ("second", 5)):
        await issue(engine, otp, ttl_s=ttl_s)
    clock.go(4.999)
    assert await engine.take_otp("first") == PERCY
    clock.go(0.001)
    assert await engine.take_otp("second") is None
    assert await engine.take_otp("long") == PERCY


async def test_a_one_time_password_ends_with_its_session(engine: Engine) -> None:
    await engine.put_session(PERCY, 1000)
    await engine.put_session(Grant("percy", "other"), 1000)
    await issue(engine, "otp")
    await issue(engine, "of other", Grant("percy", "other"))
    await engine.end_session("session")
    assert await engine.take_otp("otp") is None
    await engine.put_session(PERCY, 1)
    assert await engine.take_otp("otp") is None
    assert await engine.take_otp("of other") == Grant("percy", "other")


async def test_a_one_time_password_expires_with_its_session(engine: Engine, clock: Clock) -> None:
    await engine.put_session(PERCY, 1)
    await issue(engine, "otp")
    clock.go(1)
    assert await engine.take_otp("otp") is None


@pytest.mark.usefixtures("sessions")
async def test_one_that_is_issued_after_its_session_has_ended_is_worth_nothing(engine: Engine) -> None:
    assert await engine.session("session") == PERCY
    await engine.end_session("session")
    await issue(engine, "otp")
    assert await engine.take_otp("otp") is None


@pytest.mark.usefixtures("sessions")
async def test_outstanding_ones_are_limited_by_account_and_in_all(engine: Engine, clock: Clock) -> None:
    async def ask(otp: str, grant: Grant = PERCY) -> OtpLimit | None:
        return await issue(engine, otp, grant, per_account=3, in_all=4)

    assert [await ask(f"percy's {number}") for number in range(4)] == [None] * 3 + [OtpLimit.OF_ACCOUNT]
    assert [await ask(f"alice's {number}", ALICE) for number in range(2)] == [None, OtpLimit.IN_ALL]
    assert await engine.take_otp("percy's 3") is None
    assert await engine.take_otp("percy's 0") == PERCY
    assert [await ask(f"alice's {number}", ALICE) for number in (2, 3)] == [None, OtpLimit.IN_ALL]
    clock.go(5)
    assert [await ask(f"later {number}") for number in range(4)] == [None] * 3 + [OtpLimit.OF_ACCOUNT]
    await engine.end_session("session")
    assert [await ask(f"alice's later {number}", ALICE) for number in range(4)] == [None] * 3 + [OtpLimit.OF_ACCOUNT]


@pytest.mark.usefixtures("sessions")
async def test_one_that_lives_long_holds_no_place_for_the_others(engine: Engine, clock: Clock) -> None:
    await issue(engine, "long", ttl_s=60)
    await issue(engine, "short", ttl_s=5)
    clock.go(5)
    assert await issue(engine, "next", per_account=2) is None
    assert await issue(engine, "too many", per_account=2) is OtpLimit.OF_ACCOUNT


@pytest.mark.usefixtures("sessions")
async def test_limits_hold_for_many_that_ask_at_once(engine: Engine) -> None:
    asked = await asyncio.gather(*(issue(engine, f"otp {number}", per_account=3) for number in range(20)))
    assert asked.count(None) == 3
    asked = await asyncio.gather(*(issue(engine, f"hers {number}", ALICE, in_all=5) for number in range(20)))
    assert asked.count(None) == 2
    assert asked.count(OtpLimit.IN_ALL) == 18


@pytest.mark.usefixtures("sessions")
async def test_no_limit_is_0(engine: Engine) -> None:
    assert [await issue(engine, f"otp {number}") for number in range(100)] == [None] * 100


# Who may do what


async def add(engine: Engine, *users: str, role: Role = Role.MEMBER) -> None:
    for user in users:
        await engine.put_account(Account(user, "hash", role))


async def test_an_account_has_the_role_that_it_was_made_with_until_it_gets_another(engine: Engine) -> None:
    await add(engine, "percy", role=Role.ADMIN)
    await add(engine, "alice")
    assert (await engine.access()).roles == {"percy": Role.ADMIN}
    assert (await engine.set_role("alice", Role.GUEST)).why_not is None
    assert await engine.account("alice") == Account("alice", "hash", Role.GUEST)
    assert (await engine.access()).roles == {"percy": Role.ADMIN, "alice": Role.GUEST}
    assert (await engine.set_role("alice", Role.MEMBER)).why_not is None
    assert (await engine.access()).roles == {"percy": Role.ADMIN}


async def test_a_new_password_changes_neither_the_role_nor_a_block(engine: Engine) -> None:
    await add(engine, "percy")
    await engine.set_role("percy", Role.GUEST)
    await engine.set_blocked("percy", is_blocked=True)
    await engine.put_account(Account("percy", "other", Role.ADMIN))
    assert await engine.account("percy") == Account("percy", "other", Role.GUEST, is_blocked=True)


async def test_a_blocked_user_has_no_session_and_no_one_time_password(engine: Engine, clock: Clock, told: Told) -> None:
    await add(engine, "percy", "alice")
    for grant in (PERCY, ALICE):
        await engine.put_session(grant, clock() + 1000)
        await issue(engine, f"otp of {grant.user}", grant)
    assert (await engine.set_blocked("percy", is_blocked=True)).why_not is None
    await told.exactly(("ended", "session"))
    assert await engine.session("session") is None
    assert await engine.take_otp("otp of percy") is None
    assert await engine.take_otp("otp of alice") == ALICE
    assert (await engine.access()).blocked == {"percy"}
    await engine.set_blocked("percy", is_blocked=False)
    assert (await engine.access()).blocked == set()


async def test_all_sessions_of_a_user_end_at_once(engine: Engine, clock: Clock, told: Told) -> None:
    for grant in (PERCY, Grant("percy", "other"), ALICE):
        await engine.put_session(grant, clock() + 1000)
    assert await engine.end_sessions("percy") == 2
    assert sorted(await told.at_least(2)) == [("ended", "other"), ("ended", "session")]
    assert await engine.alive(["session", "other", "hers"]) == {"hers"}


@pytest.mark.parametrize("way", ["demoted", "blocked"])
async def test_the_last_admin_that_can_log_in_stays_one(engine: Engine, way: str) -> None:
    await add(engine, "percy", "alice", role=Role.ADMIN)

    async def undo(user: str) -> WhyNot | None:
        if way == "demoted":
            return (await engine.set_role(user, Role.MEMBER)).why_not
        return (await engine.set_blocked(user, is_blocked=True)).why_not

    outcomes = await asyncio.gather(undo("percy"), undo("alice"))
    assert list(outcomes) == [None, WhyNot.LAST_ADMIN]
    assert (await engine.set_role("alice", Role.ADMIN)).why_not is None
    await engine.set_role("percy", Role.ADMIN)
    await engine.set_blocked("percy", is_blocked=False)
    assert await undo("alice") is None


async def test_nothing_is_changed_of_an_account_that_is_not_there(engine: Engine) -> None:
    before = await engine.access()
    for change in (
        await engine.set_role("nobody", Role.ADMIN),
        await engine.set_blocked("nobody", is_blocked=True),
        await engine.invite("team", "nobody"),
    ):
        assert change == Change(before.version, WhyNot.NO_ACCOUNT)
    assert await engine.access() == before


async def test_invitations_are_kept_until_they_are_taken_back(engine: Engine) -> None:
    await add(engine, "percy", "alice")
    for user in ("percy", "alice", "alice"):
        await engine.invite("team", user)
    await engine.invite("other", "percy")
    assert (await engine.access()).invited == {"team": {"percy", "alice"}, "other": {"percy"}}
    await engine.uninvite("team", "percy")
    await engine.uninvite("nowhere", "percy")
    assert (await engine.access()).invited == {"team": {"alice"}, "other": {"percy"}}


async def test_another_account_of_the_same_name_inherits_nothing(engine: Engine) -> None:
    await add(engine, "percy", role=Role.ADMIN)
    await engine.invite("team", "percy")
    await engine.remove_account("percy")
    await add(engine, "percy")
    access = await engine.access()
    assert (access.invited, access.roles) == ({}, {})


async def test_rooms_are_closed_reopened_and_deleted(engine: Engine) -> None:
    await add(engine, "percy")
    await engine.invite("team", "percy")
    await engine.close_room("team")
    await engine.close_room("other")
    assert (await engine.access()).closed == {"team", "other"}
    await engine.reopen_room("other")
    await engine.doom_room("team")
    for change in (engine.reopen_room, engine.close_room):
        await change("team")
        access = await engine.access()
        assert (access.closed, access.doomed) == ({"team"}, {"team"})
    await engine.forget_room("team")
    access = await engine.access()
    assert (access.closed, access.doomed, access.invited) == (set(), set(), {})


async def test_each_change_of_who_may_do_what_has_a_higher_version(engine: Engine) -> None:
    versions = [await engine.access_version()]

    async def note() -> None:
        version = await engine.access_version()
        assert version == (await engine.access()).version
        versions.append(version)

    await add(engine, "percy")
    await note()
    for change in (
        engine.set_role("percy", Role.ADMIN),
        engine.invite("team", "percy"),
        engine.uninvite("team", "percy"),
        engine.close_room("team"),
        engine.reopen_room("team"),
        engine.doom_room("team"),
        engine.forget_room("team"),
    ):
        made = await change
        await note()
        assert made.version == versions[-1]
    await engine.remove_account("percy")
    await note()
    assert versions == sorted(set(versions))


async def test_what_is_kept_of_who_may_do_what_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, sqlite_access, redis_access):
        monkeypatch.setattr(module, "MAX_INVITATIONS", 2)
    await add(engine, "percy")
    for room in ("a", "b", "c"):
        await engine.invite(room, "percy")
        await engine.close_room(room)
    access = await engine.access()
    assert (set(access.invited), access.closed) == ({"a", "b"}, {"a", "b"})
    assert (await engine.doom_room("c")).why_not is WhyNot.TOO_MANY
    assert (await engine.doom_room("b")).why_not is None


async def test_an_account_has_so_many_sessions_and_the_oldest_ends(engine: Engine, told: Told, clock: Clock) -> None:
    await engine.put_session(ALICE, 1000)
    for number in range(5):
        clock.go(1)
        await engine.put_session(Grant("percy", str(number)), 1000, 3)
    assert await engine.alive([str(number) for number in range(5)]) == {"2", "3", "4"}
    await told.exactly(("ended", "0"), ("ended", "1"))
    assert await engine.session("1") is None
    assert await engine.session(ALICE.session) == ALICE
    clock.go(1)
    await engine.put_session(Grant("percy", "5"), 1000)
    assert len(await engine.alive([str(number) for number in range(6)])) == 4
    clock.go(1)
    await engine.put_session(Grant("percy", "6"), 1000, 1)
    assert await engine.alive([str(number) for number in range(7)]) == {"6"}
