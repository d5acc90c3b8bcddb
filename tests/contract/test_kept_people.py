"""What every engine keeps of people: display names, changed passwords, links to sign up by."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from contract.told import Restart, Told
from hubbub.acts import Role
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Account, Engine, Grant, NewUser, Profile, SignUp, SignUpLink, WhyNot, people, sqlite_people
from hubbub.engine import memory_people as memory
from hubbub.engine.local import Silent
from hubbub.engine.redis import people as redis_people
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.target import parse
from hubbub.looks import key_of_user, keys_of
from hubbub.testing import Clock, Guest, at_work
from redis_nodes import new_prefix
from redis_servers import needs_redis
from walls import DAY_S, Wall

pytestmark = pytest.mark.anyio

LINK = SignUpLink("first", "", Role.MEMBER, 1, 1000, "for the team")


async def with_accounts(engine: Engine, *users: str) -> None:
    for user in users:
        await engine.put_account(Account(user, f"hash of {user}"))


async def set_name(engine: Engine, user: str, name: str) -> bool | None:
    return await engine.set_name(user, name, keys_of(name) if name else ())


def newcomer(user: str, name: str = "") -> NewUser:
    return NewUser(user, f"hash of {user}", name, {key_of_user(user), *(keys_of(name) if name else ())})


async def shown(engine: Engine, user: str) -> str:
    return (await engine.profiles([user]))[user].name


# Names


async def test_a_user_without_an_account_is_shown_as_whoever_vouches_for_it_says(engine: Engine) -> None:
    await with_accounts(engine, "percy")
    assert await set_name(engine, "percy", "Zoë") is True
    for name in ("Zoe", "Zoë"):  # it is not held against names of accounts
        await engine.show_as("zoe@example.com", name)
        assert await engine.name_of("zoe@example.com") == name
        assert await engine.profiles(["zoe@example.com"]) == {"zoe@example.com": Profile("zoe@example.com", name)}
    await engine.show_as("percy", "Zoe")
    assert await shown(engine, "percy") == "Zoë"
    assert await engine.name_of("percy") == "Zoë"
    await engine.show_as("zoe@example.com", "")
    assert await engine.name_of("zoe@example.com") == ""
    assert await engine.profiles(["zoe@example.com"]) == {}


async def test_an_account_begins_without_the_name_that_another_user_was_shown_by(
    engine: Engine, restart: Restart
) -> None:
    for user in ("zoe", "yan"):
        await engine.show_as(user, "Somebody")
    await with_accounts(engine, "zoe")
    engine = await restart()
    assert (await engine.name_of("zoe"), await engine.name_of("yan")) == ("", "Somebody")
    assert await shown(engine, "zoe") == ""
    assert await set_name(engine, "zoe", "Somebody") is True


async def test_a_new_account_has_a_profile_without_a_name(engine: Engine) -> None:
    await engine.put_account(Account("percy", "hash", Role.ADMIN))
    found = await engine.profiles(["percy", "nobody"])
    since = found["percy"].since
    assert since is not None and since > 0
    assert found == {"percy": Profile("percy", "", Role.ADMIN, since)}
    await engine.put_account(Account("percy", "other hash"))
    assert await engine.profiles(["percy"]) == found
    assert await engine.profiles([]) == {}


async def test_a_name_is_kept(engine: Engine) -> None:
    await with_accounts(engine, "percy")
    await engine.set_blocked("percy", is_blocked=True)
    assert await set_name(engine, "percy", "P\u00e9rcy \u041f\u0435\u0440\u0441\u0438") is True
    assert await shown(engine, "percy") == "P\u00e9rcy \u041f\u0435\u0440\u0441\u0438"
    assert await set_name(engine, "percy", "") is True
    assert await shown(engine, "percy") == ""
    assert await set_name(engine, "nobody", "Nobody") is None
    assert await engine.profiles(["nobody"]) == {}


async def test_a_user_is_asked_for_by_the_name_to_be_shown(engine: Engine) -> None:
    await with_accounts(engine, "percy", "bob")
    assert [await engine.name_of(user) for user in ("percy", "bob", "nobody")] == ["", "", ""]
    assert await set_name(engine, "percy", "Percy P") is True
    await engine.put_link("secret", LINK)
    assert await engine.sign_up("secret", newcomer("dora", "Dora D")) is SignUp.DONE
    assert [await engine.name_of(user) for user in ("percy", "bob", "dora")] == ["Percy P", "", "Dora D"]
    assert await set_name(engine, "percy", "") is True
    assert await engine.remove_account("dora")
    assert [await engine.name_of(user) for user in ("percy", "bob", "dora")] == ["", "", ""]


async def test_names_and_links_outlive_the_engine(restart: Restart, engine: Engine) -> None:
    await with_accounts(engine, "percy", "anna")
    await set_name(engine, "percy", "P")
    await engine.put_link("secret", LINK)
    engine = await restart()
    assert (await engine.name_of("percy"), await engine.name_of("anna")) == ("P", "")
    assert await shown(engine, "percy") == "P"
    assert await set_name(engine, "anna", "p") is False
    assert await engine.sign_up("secret", newcomer("bea")) is SignUp.DONE


async def test_names_that_look_alike_are_one_users(engine: Engine) -> None:
    await with_accounts(engine, "percy", "anna", "m0l")
    assert await set_name(engine, "percy", "Anna") is False
    assert await set_name(engine, "percy", "MOI") is False
    assert await set_name(engine, "percy", "Bob") is True
    assert await set_name(engine, "percy", "B0B") is True
    assert await set_name(engine, "anna", "bob") is False
    assert await shown(engine, "anna") == ""
    assert await set_name(engine, "percy", "Percy") is True
    assert await set_name(engine, "anna", "bob") is True
    assert await set_name(engine, "percy", "bob") is False
    assert await engine.remove_account("anna")
    assert await set_name(engine, "percy", "bob") is True


async def test_of_two_that_want_one_name_one_gets_it(engine: Engine) -> None:
    users = [f"user{number}" for number in range(8)]
    await with_accounts(engine, *users)
    outcomes = await asyncio.gather(*(set_name(engine, user, "Boss") for user in users))
    assert Counter(outcomes) == {True: 1, False: 7}
    names = await engine.profiles(users)
    assert [profile.name for profile in names.values()].count("Boss") == 1


# Passwords


async def test_a_changed_password_ends_all_sessions_but_one(engine: Engine, told: Told) -> None:
    await with_accounts(engine, "percy", "anna")
    for session in ("mine", "other", "third"):
        grant = Grant("percy", session)
        await engine.put_session(grant, 1000)
        await engine.issue_otp(f"otp of {session}", grant, ttl_s=5, per_account=0, in_all=0)
    await engine.put_session(Grant("anna", "hers"), 1000)
    assert await engine.change_password("percy", "hash of percy", "new", "mine")
    assert sorted(await told.at_least(2)) == [("ended", "other"), ("ended", "third")]
    assert await engine.account("percy") == Account("percy", "new")
    assert await engine.alive(["mine", "other", "third", "hers"]) == {"mine", "hers"}
    assert await engine.take_otp("otp of other") is None
    assert await engine.take_otp("otp of mine") == Grant("percy", "mine")


async def test_a_password_that_was_changed_meanwhile_is_not_changed(engine: Engine) -> None:
    await with_accounts(engine, "percy")
    await engine.put_session(Grant("percy", "other"), 1000)
    assert not await engine.change_password("percy", "another hash", "new", "mine")
    assert not await engine.change_password("nobody", "hash", "new", "mine")
    assert await engine.account("percy") == Account("percy", "hash of percy")
    assert await engine.alive(["other"]) == {"other"}


async def test_of_many_changes_of_one_password_one_is_made(engine: Engine) -> None:
    await with_accounts(engine, "percy")
    changes = [engine.change_password("percy", "hash of percy", f"new {number}", "") for number in range(8)]
    assert (await asyncio.gather(*changes)).count(True) == 1


# Links


async def test_a_link_is_used_as_often_as_it_may_be(engine: Engine) -> None:
    link = replace(LINK, uses=2, role=Role.GUEST)
    assert await engine.put_link("secret", link) is None
    assert await engine.sign_up("another", newcomer("percy")) is SignUp.NO_LINK
    assert await engine.sign_up("secret", newcomer("percy", "P")) is SignUp.DONE
    found = await engine.link("secret")
    assert found is not None and found == replace(link, uses=1, left_s=found.left_s)
    assert await engine.sign_up("secret", newcomer("anna")) is SignUp.DONE
    assert await engine.sign_up("secret", newcomer("bea")) is SignUp.NO_LINK
    assert await engine.link("secret") is None
    assert await engine.links() == []
    assert await engine.account("percy") == Account("percy", "hash of percy", Role.GUEST)
    assert (await engine.access()).roles == {"percy": Role.GUEST, "anna": Role.GUEST}
    assert await shown(engine, "percy") == "P"
    assert (await engine.profiles(["anna"]))["anna"].since is not None


async def test_signing_up_changes_the_version_of_who_may_do_what(engine: Engine) -> None:
    version = await engine.access_version()
    await engine.put_link("secret", replace(LINK, role=Role.ADMIN))
    assert await engine.sign_up("secret", newcomer("percy")) is SignUp.DONE
    assert await engine.access_version() > version


async def test_of_many_that_race_for_one_use_one_gets_it(engine: Engine) -> None:
    await engine.put_link("secret", LINK)
    outcomes = await asyncio.gather(*(engine.sign_up("secret", newcomer(f"user{number}")) for number in range(8)))
    assert Counter(outcomes) == {SignUp.DONE: 1, SignUp.NO_LINK: 7}
    assert len(await engine.accounts()) == 1


async def test_of_many_that_sign_up_with_one_name_one_gets_it(engine: Engine) -> None:
    await engine.put_link("secret", replace(LINK, uses=8))
    news = [newcomer(f"user{number}", "Boss") for number in range(4)] + [newcomer("boss")] * 4
    outcomes = await asyncio.gather(*(engine.sign_up("secret", new) for new in news))
    assert Counter(outcomes) == {SignUp.DONE: 1, SignUp.TAKEN: 7}
    found = await engine.link("secret")
    assert found is not None and found.uses == 7


@pytest.mark.parametrize("new", [newcomer("anna"), newcomer("ann4", "Bea"), newcomer("8ea", "ANNA"), newcomer("be4a")])
async def test_a_name_that_is_taken_does_not_use_the_link_up(engine: Engine, new: NewUser) -> None:
    await with_accounts(engine, "anna", "carl")
    await set_name(engine, "carl", "Bea")
    await engine.put_link("secret", LINK)
    if new.user == "be4a":
        assert await engine.sign_up("secret", new) is SignUp.DONE
        return
    assert await engine.sign_up("secret", new) is SignUp.TAKEN
    assert await engine.account("anna") == Account("anna", "hash of anna")
    assert await engine.sign_up("secret", newcomer("dora", "Dora D")) is SignUp.DONE


async def test_a_link_ends_with_its_time_whatever_the_wall_clock_does(engine: Engine, clock: Clock, wall: Wall) -> None:
    await engine.put_link("secret", replace(LINK, left_s=100))
    wall.jump(30 * DAY_S)
    clock.go(99.5)
    assert [round(link.left_s, 1) for link in await engine.links()] == [0.5]
    clock.go(0.5)
    assert await engine.links() == []
    assert await engine.link("secret") is None
    assert not await engine.drop_link("first")
    assert await engine.sign_up("secret", newcomer("percy")) is SignUp.NO_LINK


async def test_links_are_listed_in_the_order_of_their_ends_and_ended_by_id(engine: Engine) -> None:
    await with_accounts(engine, "percy")
    await engine.put_link("a", replace(LINK, left_s=300))
    await engine.put_link("b", SignUpLink("second", "percy", Role.GUEST, 5, 100, 'f\u00fcr "alle" / ok'))
    found = await engine.links()
    assert [replace(link, left_s=0.0) for link in found] == [
        SignUpLink("second", "percy", Role.GUEST, 5, 0, 'f\u00fcr "alle" / ok'),
        replace(LINK, left_s=0),
    ]
    assert await engine.drop_link("second")
    assert not await engine.drop_link("second")
    assert await engine.link("b") is None
    assert [link.id for link in await engine.links()] == ["first"]


@pytest.mark.parametrize("is_removed", [False, True])
async def test_the_links_of_who_is_blocked_or_removed_end(engine: Engine, is_removed: bool) -> None:
    await with_accounts(engine, "percy", "anna")
    await engine.put_link("his", replace(LINK, id="his", by="percy"))
    await engine.put_link("hers", replace(LINK, id="hers", by="anna"))
    await engine.put_link("operator's", LINK)
    await (engine.remove_account("percy") if is_removed else engine.set_blocked("percy", is_blocked=True))
    assert sorted(link.id for link in await engine.links()) == ["first", "hers"]
    assert await engine.put_link("more", replace(LINK, id="more", by="percy")) is WhyNot.NO_ACCOUNT
    await (with_accounts(engine, "percy") if is_removed else engine.set_blocked("percy", is_blocked=False))
    assert await engine.sign_up("his", newcomer("bea")) is SignUp.NO_LINK
    assert await engine.put_link("more", replace(LINK, id="more", by="percy")) is None


async def test_only_so_many_links_are_kept(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (people, memory, sqlite_people, redis_people):
        monkeypatch.setattr(module, "MAX_LINKS", 3)
        monkeypatch.setattr(module, "MAX_LINKS_OF_USER", 2)
    await with_accounts(engine, "percy", "anna")

    async def put(number: int, by: str) -> WhyNot | None:
        return await engine.put_link(f"secret {number}", replace(LINK, id=str(number), by=by))

    assert [await put(number, "percy") for number in range(3)] == [None, None, WhyNot.TOO_MANY]
    assert [await put(number, "") for number in range(3, 5)] == [None, WhyNot.TOO_MANY]
    assert await put(5, "anna") is WhyNot.TOO_MANY
    clock.go(1000)
    assert await put(6, "percy") is None


@needs_redis
async def test_accounts_that_redis_has_from_an_earlier_version_look_like_their_names(
    redis_single: RedisServer, clock: Clock
) -> None:
    target = parse(f"{redis_single.url}?prefix={new_prefix()}")
    engine = await make_redis_engine(target, clock=clock)
    await engine.open(Silent())
    try:
        await with_accounts(engine, "anna", "percy")
        calls = engine._calls
        keys = calls.servers.keys
        # As that version has left it: accounts alone.
        connection = await calls.servers.open(await calls.servers.master(VAULT_SLOT))
        await connection.send_command("DEL", keys.of_vault("lk"), keys.of_vault("sn"))
        await connection.read_response()
        await connection.disconnect()
        assert await set_name(engine, "percy", "ANNA") is False
        assert await engine.profiles(["anna"]) == {"anna": Profile("anna")}
    finally:
        await engine.close()


@needs_redis
async def test_a_changed_name_is_told_on_every_node_to_each_connection_once(
    redis_single: RedisServer, clock: Clock
) -> None:
    target = parse(f"{redis_single.url}?prefix={new_prefix()}")
    engines = [await make_redis_engine(target, clock=clock) for _ in range(2)]
    async with at_work(engine=engines[0], clock=clock) as here, at_work(engine=engines[1], clock=clock) as there:
        await here.account("percy")
        percy, again = await here.client("percy"), await there.client("percy")
        anna, bea = await there.client("anna"), await here.client("bea")
        for client in (percy, anna):
            await client.join("ops")
        for client in (again, anna, bea):
            await client.join("lunch")
        await percy.ask("set_profile", {"name": "P"})
        for client in (percy, again, anna, bea):
            assert await name_told(client) == {"user": "percy", "name": "P"}
        # What is said now comes after all that there was to tell.
        await bea.ask("send_message", {"room": "lunch", "message": "hi"})
        assert await events_until(anna, "new_message") == []


async def name_told(client: Guest) -> object:
    """What a client is told of a name, as soon as it is."""
    return (await events_until(client, "profile_changed", is_with=True))[-1]["payload"]


async def events_until(client: Guest, type_: str, *, is_with: bool = False) -> list[dict[str, Any]]:
    """The changes of names that a client hears until an event of a type; that one too, where it is asked for."""
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while True:
            for event in client.take():
                if event["type"] == type_:
                    return [*heard, event] if is_with else heard
                heard += [event] if event["type"] == "profile_changed" else []
            await asyncio.sleep(0)
