"""Lists of rooms and of users: what is in them, and what is kept from whom."""

from __future__ import annotations

from typing import Any

import pytest

from heard import refusal
from hubbub import Client, Hub, Refused, directory
from hubbub.acts import Role
from hubbub.errors import ErrorCode
from hubbub.testing import Guest, Stage, at_work

pytestmark = pytest.mark.anyio

PRIVATE = ["secret*"]


async def say(guest: Guest, *rooms: str) -> None:
    for room in rooms:
        await guest.join(room)
        await guest.ask("send_message", {"room": room, "message": "hi"})
        await guest.ask("leave_room", {"room": room})


async def rooms(guest: Guest, **more: object) -> list[str]:
    return [room["room"] for room in (await guest.ask("list_rooms", more))["rooms"]]


async def users(guest: Guest, **more: object) -> list[str]:
    return [user["user"] for user in (await guest.ask("list_users", more))["users"]]


async def all_pages(guest: Guest, type_: str, of: str, **more: object) -> list[list[str]]:
    """The names on each page of a list."""
    pages: list[list[str]] = []
    answer: dict[str, Any] = {"next": ""}
    while answer["next"] is not None:
        answer = await guest.ask(type_, {**more, "after": answer["next"]})
        pages.append([entry["room" if of == "rooms" else "user"] for entry in answer[of]])
    return pages


# Rooms


async def test_rooms_in_which_something_was_said_are_listed() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await say(annabeth, "Ops", "lunch")
        await percy.join("quiet")
        await annabeth.join("ops")
        await percy.ask("follow", {"room": "lunch"})
        answer = await percy.ask("list_rooms", {})
        assert answer["next"] is None
        lunch, ops = answer["rooms"]
        assert lunch["active"] and ops.pop("active").endswith("Z")
        assert ops == {"room": "ops", "title": "Ops", "members": 1, "seq": 1, "followed": False}
        assert (lunch["room"], lunch["members"], lunch["followed"]) == ("lunch", 0, True)


async def test_a_list_of_rooms_comes_in_pages_and_by_prefix() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        await say(percy, "zoo", "Team-B", "team-a", "TEAM-c", "Straße")
        assert await all_pages(percy, "list_rooms", "rooms", limit=2) == [
            ["strasse", "team-a"],
            ["team-b", "team-c"],
            ["zoo"],
        ]
        assert await all_pages(percy, "list_rooms", "rooms", limit=5) == [
            ["strasse", "team-a", "team-b", "team-c", "zoo"]
        ]
        assert await rooms(percy, prefix="TEAM-") == ["team-a", "team-b", "team-c"]
        assert await rooms(percy, prefix="straß") == ["strasse"]
        assert await rooms(percy, prefix="nothing") == []
        assert await rooms(percy, after="team-b") == ["team-c", "zoo"]


@pytest.mark.parametrize("names", [1, 2, 1000])
async def test_rooms_that_a_client_may_not_enter_are_not_listed(names: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "NAMES", names)
    async with at_work(private_rooms=PRIVATE) as stage:
        chiron, percy = await stage.client("chiron", role=Role.ADMIN), await stage.client("percy", role=Role.MEMBER)
        hidden = [f"secret {number}" for number in range(5)]
        for room in hidden:
            await stage.hub.invite(room, "chiron")
        await say(chiron, *hidden, "abc", "closed", "deleted", "zoo", "dm:chiron,percy")
        await stage.hub.close_room("closed")
        await stage.hub.delete_room("deleted")
        await stage.hub.invite("secret 3", "percy")
        assert await all_pages(percy, "list_rooms", "rooms", limit=1) == [["abc"], ["secret 3"], ["zoo"]]
        assert await all_pages(percy, "list_rooms", "rooms", limit=2) == [["abc", "secret 3"], ["zoo"]]
        assert await rooms(percy, prefix="secret") == ["secret 3"]
        assert await rooms(percy, prefix="dm:") == []
        await stage.hub.uninvite("secret 3", "percy")
        answer = await percy.ask("list_rooms", {"prefix": "secret", "limit": 1})
        assert answer == {"rooms": [], "next": None}


async def test_rooms_that_a_hook_may_keep_a_client_out_of_are_listed_only_for_who_follows_them() -> None:
    hub = Hub()

    @hub.on_join
    def guard(room: str, client: Client) -> None:
        if room == "vault" and client.user != "chiron":
            raise Refused(ErrorCode.FORBIDDEN, "no")

    async with at_work(hub) as stage:
        chiron, percy = await stage.client("chiron"), await stage.client("percy")
        await say(chiron, "vault", "ops", "lunch")
        assert await rooms(percy) == []
        await percy.ask("follow", {"room": "ops"})
        await percy.join("lunch")
        assert await rooms(percy) == ["lunch", "ops"]


async def test_who_may_not_see_who_is_in_a_room_is_not_told_how_many() -> None:
    hub = Hub()
    hub.policy(lambda client, act, room: False if act == 8 and client.user == "percy" else None)
    async with at_work(hub) as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await say(annabeth, "ops")
        await annabeth.join("ops")
        [listed] = (await percy.ask("list_rooms", {}))["rooms"]
        assert listed["members"] == 0
        assert await refusal(percy, "list_users", {"room": "ops"}) == "forbidden"


@pytest.mark.parametrize(
    "payload",
    [{"limit": 0}, {"limit": 101}, {"prefix": "x" * 65}, {"prefix": "e" + "\u0301" * 31}, {"after": "x" * 2000}],
)
async def test_what_cannot_be_listed_is_refused(payload: dict[str, object]) -> None:
    async with at_work() as stage:
        assert await refusal(await stage.client("percy"), "list_rooms", payload) == "bad_payload"


async def test_names_that_are_looked_at_count_as_bytes_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "NAME_BYTES", 1000)
    async with at_work(replay_rate=1.0, replay_burst=1500.0, private_rooms=PRIVATE) as stage:
        percy = await stage.client("percy", role=Role.MEMBER)
        await stage.hub.invite("secret", "percy")
        annabeth = await stage.client("annabeth")
        await say(annabeth, "a", "b")
        await percy.ask("list_rooms", {})
        assert await refusal(percy, "list_rooms", {}) == "rate_limited"


# Users


async def make_users(stage: Stage, *names: str) -> None:
    for name in names:
        await stage.account(name)


async def test_accounts_are_listed_by_prefix_and_in_pages() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy", role=Role.MEMBER)
        await make_users(stage, "annabeth", "grover", "pan", "persephone", "zoe")
        assert (await percy.ask("list_users", {"prefix": "PER"}))["users"] == [
            {"user": "percy", "name": "percy"},
            {"user": "persephone", "name": "persephone"},
        ]
        assert await users(percy, prefix="p", after="pan") == ["percy", "persephone"]
        assert await all_pages(percy, "list_users", "users", limit=3) == [
            ["annabeth", "grover", "pan"],
            ["percy", "persephone", "zoe"],
        ]
        assert await all_pages(percy, "list_users", "users", prefix="pe", limit=1) == [["percy"], ["persephone"]]
        assert await users(percy, prefix="no one!") == []
        await make_users(stage, "perdita")
        assert await users(percy, prefix="per") == ["percy", "perdita", "persephone"]


async def test_guests_do_not_list_users_but_see_who_follows_a_room() -> None:
    async with at_work() as stage:
        guest, percy = await stage.client("pan", role=Role.GUEST), await stage.client("percy")
        await say(percy, "ops")
        await percy.ask("follow", {"room": "ops"})
        assert await refusal(guest, "list_users", {}) == "forbidden"
        assert await users(guest, room="OPS") == ["percy"]


async def test_followers_of_a_room_are_listed_by_prefix_and_in_pages() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        for user in ("annabeth", "grover", "pan", "persephone", "zoe"):
            await stage.engine.follow(user, "ops")
        await stage.engine.follow("perdita", "other")
        assert await users(percy, room="ops", prefix="p") == ["pan", "persephone"]
        assert await users(percy, room="ops", prefix="pa") == ["pan"]
        assert await users(percy, room="nothing") == []
        assert await all_pages(percy, "list_users", "users", room="ops", limit=2) == [
            ["annabeth", "grover"],
            ["pan", "persephone"],
            ["zoe"],
        ]
        assert await all_pages(percy, "list_users", "users", room="ops", prefix="p", limit=1) == [
            ["pan"],
            ["persephone"],
        ]


async def test_followers_of_a_room_that_may_not_be_entered_are_not_listed() -> None:
    async with at_work(private_rooms=PRIVATE) as stage:
        percy = await stage.client("percy", role=Role.MEMBER)
        await stage.hub.close_room("closed")
        for room in ("secret", "secret absent", "closed", "dm:annabeth,grover"):
            assert await refusal(percy, "list_users", {"room": room}) == "forbidden"


async def test_users_are_found_by_each_word_of_the_name_that_they_are_shown_by() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy", role=Role.MEMBER)
        annabeth = await stage.client("annabeth", role=Role.MEMBER)
        await make_users(stage, "grover")
        assert await users(percy, prefix="cha") == []
        await annabeth.ask("set_profile", {"name": "Annabeth Chase"})
        assert (await percy.ask("list_users", {"prefix": "CHA"}))["users"] == [
            {"user": "annabeth", "name": "Annabeth Chase"}
        ]
        await make_users(stage, "chariclo")  # all are read anew
        assert await users(percy, prefix="cha") == ["annabeth", "chariclo"]
        await annabeth.ask("follow", {"room": "ops"})
        assert await users(percy, room="ops", prefix="chase") == ["annabeth"]
        await annabeth.ask("set_profile", {"name": ""})
        assert await users(percy, prefix="cha") == ["chariclo"]
        assert await users(percy, room="ops", prefix="cha") == []
