"""How users are shown, and who is told when that changes."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.acts import Role
from hubbub.errors import Refused
from hubbub.rules import Rule
from hubbub.testing import CLASSIC, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def guest(stage: Stage, user: str, *rooms: str) -> Guest:
    """A client of a user that has an account, in rooms; what it has heard until now is taken."""
    found = await stage.client(user, role=Role.MEMBER)
    for room in rooms:
        await found.join(room)
    found.take()
    return found


async def changes(client: Guest) -> list[dict[str, Any]]:
    """What a client was told of names."""
    return [event["payload"] for event in await client.hear() if event["type"] == "profile_changed"]


async def test_a_user_is_shown_by_the_name_of_the_account_until_it_says_otherwise() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        before = await percy.ask("profile", {})
        assert before == {"user": "percy", "name": "percy", "role": "member", "since": "1970-01-01T00:16:40.000Z"}
        after = await percy.ask("set_profile", {"name": "Percy \u041f\u0435\u0440\u0441\u0438"})
        assert after == before | {"name": "Percy \u041f\u0435\u0440\u0441\u0438"}
        assert await percy.ask("profile", {"user": "percy"}) == after
        assert await percy.ask("set_profile", {"name": ""}) == before


async def test_another_is_asked_about_by_name() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        await stage.account("anna", Role.ADMIN)
        assert (await percy.ask("profile", {"user": "anna"}))["role"] == "admin"
        with pytest.raises(Refused, match=r"bad_payload.*'nobody'"):
            await percy.ask("profile", {"user": "nobody"})


async def test_many_are_asked_about_at_once_and_strangers_are_left_out() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        anna = await guest(stage, "anna")
        await anna.ask("set_profile", {"name": "Anna B"})
        answer = await percy.ask("profiles", {"users": ["percy", "anna", "nobody", "anna"]})
        assert answer == {"names": {"anna": "Anna B", "percy": "percy"}}
        assert await percy.ask("profiles", {"users": ["percy"] * 200}) == {"names": {"percy": "percy"}}
        with pytest.raises(Refused, match="bad_payload"):
            await percy.ask("profiles", {"users": ["percy"] * 201})


async def test_who_asks_for_many_pays_for_those_that_are_not_there_too() -> None:
    async with at_work(replay_rate=1000, replay_burst=20_000) as stage:
        percy = await guest(stage, "percy")
        strangers = [f"stranger{number}" for number in range(200)]
        await percy.ask("profiles", {"users": strangers})
        with pytest.raises(Refused, match="rate_limited"):
            await percy.ask("profiles", {"users": strangers})


@pytest.mark.parametrize(
    "name",
    [" percy", "a  b", "a" * 65, "a\u200bb", "a\nb", "<b>", "p\u0435rcy", "a" + "\u0301" * 31, "...", "\u202eevil"],
)
async def test_what_is_no_name_is_refused(name: str) -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        with pytest.raises(Refused, match="bad_payload"):
            await percy.ask("set_profile", {"name": name})


@pytest.mark.parametrize("name", ["Anna", "anna", "ANNA", "bea", "Bea B", "BEA B", "Be\u0430", "8ea"])
async def test_a_name_that_looks_like_anothers_is_refused(name: str) -> None:
    async with at_work() as stage:
        percy, bea = await guest(stage, "percy"), await guest(stage, "bea")
        await stage.account("anna")
        await bea.ask("set_profile", {"name": "Bea B"})
        # A word that mixes scripts is no name at all, and 8 looks like no letter.
        if name == "8ea":
            await percy.ask("set_profile", {"name": name})
            return
        with pytest.raises(Refused, match="bad_payload" if "\u0430" in name else "conflict"):
            await percy.ask("set_profile", {"name": name})


async def test_ones_own_names_are_no_conflict_and_what_is_given_up_is_free() -> None:
    async with at_work() as stage:
        percy, anna = await guest(stage, "percy"), await guest(stage, "anna")
        for name in ("Percy", "PERCY", "Per Cy"):
            await percy.ask("set_profile", {"name": name})
        await anna.ask("set_profile", {"name": "Anna"})
        with pytest.raises(Refused, match="conflict"):
            await anna.ask("set_profile", {"name": "per cy"})
        await percy.ask("set_profile", {"name": ""})
        await anna.ask("set_profile", {"name": "per cy"})


async def test_who_shares_a_room_is_told_once_and_so_are_the_users_own_connections() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy", "ops", "lunch")
        other = await guest(stage, "percy")
        anna = await guest(stage, "anna", "ops", "lunch")
        bea = await guest(stage, "bea", "elsewhere")
        classic = await stage.client("carl", CLASSIC)
        await percy.join("general")
        await percy.ask("set_profile", {"name": "P"})
        told = [{"user": "percy", "name": "P"}]
        assert await changes(percy) == told
        assert await changes(other) == told
        assert await changes(anna) == told
        assert await changes(bea) == []
        assert await classic.hear() == []


async def test_those_in_a_large_room_are_not_told() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy", "ops")
        crowd = [await guest(stage, "anna", "ops") for _ in range(200)]
        await percy.ask("set_profile", {"name": "P"})
        assert await changes(crowd[0]) == []
        assert len(await changes(percy)) == 1


async def test_who_may_not_see_who_is_in_a_room_is_not_told() -> None:
    rule = Rule(rooms=("ops",), users=("anna",), may=("join",))
    async with at_work(permissions=(rule,)) as stage:
        percy = await guest(stage, "percy", "ops")
        anna = await guest(stage, "anna", "ops")
        await percy.ask("set_profile", {"name": "P"})
        assert await changes(anna) == []


async def test_who_tries_one_name_after_the_other_has_to_wait() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        for number in range(5):
            await percy.ask("set_profile", {"name": f"P {number}"})
        with pytest.raises(Refused, match="rate_limited") as refused:
            await percy.ask("set_profile", {"name": "P 6"})
        assert refused.value.retry_after
        stage.clock.go(refused.value.retry_after)
        await percy.ask("set_profile", {"name": "P 6"})


async def test_a_notice_of_another_node_reaches_the_rooms_that_it_does_not_know_of() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy", "here")
        anna = await guest(stage, "anna", "here", "there")
        bea = await guest(stage, "bea", "there")
        # Percy's connection to another node is in `there`, and has changed the name.
        notice = b'{"user":"percy","name":"P","rooms":["there"]}'
        stage.engine.cast("@users", "profile_changed", notice)
        for client in (percy, anna, bea):
            assert await changes(client) == [{"user": "percy", "name": "P"}]


@pytest.mark.parametrize("notice", [b"{", b"[]", b'{"user":1,"name":"P","rooms":[]}'])
async def test_a_notice_that_cannot_be_read_is_ignored(notice: bytes) -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy", "here")
        stage.engine.cast("@users", "profile_changed", notice)
        assert await changes(percy) == []


async def test_no_client_enters_the_channel_of_notices() -> None:
    async with at_work() as stage:
        percy = await guest(stage, "percy")
        with pytest.raises(Refused, match="bad_payload"):
            await percy.join("@users")
