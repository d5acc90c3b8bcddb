"""The built-in chat's requests."""

from __future__ import annotations

from typing import Any

import pytest

from heard import codes, texts, types
from hubbub import Refused
from hubbub.engine import Draft
from hubbub.testing import CLASSIC, Stage, at_work

pytestmark = pytest.mark.anyio


async def refusal(guest_asks: object) -> str:
    """The code that a request is refused with."""
    with pytest.raises(Refused) as refused:
        await guest_asks  # type: ignore[misc]  # a coroutine, of anything
    return refused.value.code


async def test_history_pages_both_ways_for_members_only(stage: Stage) -> None:
    await stage.engine.append([Draft("general", "new_message", b'{"message":"hi"}', "percy") for _ in range(30)])
    percy = await stage.client("percy")
    assert await refusal(percy.ask("history", {"room": "general"})) == "not_in_room"
    joined = await percy.join("general", history=0)

    async def page(**where: int) -> tuple[list[int], bool]:
        answer = await percy.ask("history", where)
        assert (answer["room"], answer["epoch"]) == ("general", joined["epoch"])
        return [message["seq"] for message in answer["messages"]], answer["more"]

    assert await page(before=11, limit=10) == (list(range(1, 11)), False)
    assert await page(after=25, limit=3) == ([26, 27, 28], True)
    assert await page() == (list(range(1, 31)), False)
    for bad in ({"limit": 0}, {"limit": 201}, {"before": -1}, {"before": 2, "after": 1}):
        assert await refusal(percy.ask("history", bad)) == "bad_payload"


async def test_a_room_of_two_is_for_the_two(stage: Stage) -> None:
    percy, bob = await stage.client("percy"), await stage.client("bob")
    room = "dm:alice,percy"
    await stage.account("alice")
    await percy.join(room)
    assert await refusal(bob.join(room)) == "forbidden"
    assert await refusal(bob.ask("change_room", {"name": room})) == "forbidden"
    assert await refusal(percy.join("dm:percy,alice")) == "bad_payload"
    assert await refusal(percy.join(f"dm:percy,{'z' * 129}")) == "bad_payload"
    await stage.account("percy")
    alice = await stage.client("alice", CLASSIC)
    alice.say("change_room", {"name": room})
    await stage.settle()
    alice.say("send_message", {"message": "psst"})
    assert texts(await percy.hear()) == ["psst"]
    assert bob.take() == []


async def test_a_room_of_two_is_for_users_with_an_account(stage: Stage) -> None:
    percy, classic = await stage.client("percy"), await stage.client("bob", CLASSIC)
    for user in ("alice", "blocked"):
        assert await refusal(percy.join(f"dm:{user},percy")) == ("bad_payload" if user > "percy" else "no_such_room")
        await stage.account(user)
        assert (await percy.join(f"dm:{user},percy"))["count"] == 1
    await stage.hub.block("blocked")
    await percy.ask("leave_room", {"room": "dm:blocked,percy"})
    assert (await percy.join("dm:blocked,percy"))["count"] == 1
    classic.say("change_room", {"name": "dm:bob,carol"})
    await stage.settle()
    assert (list(classic.client.rooms), classic.refused) == (["general"], 1)


async def test_what_was_said_to_a_user_that_is_gone_can_still_be_read(stage: Stage) -> None:
    percy = await stage.client("percy")
    await stage.account("alice")
    await percy.join("dm:alice,percy")
    await percy.ask("send_message", {"message": "hi"})
    await percy.ask("leave_room", {})
    await stage.engine.remove_account("alice")
    assert texts_in(await percy.join("dm:alice,percy")) == ["hi"]


def texts_in(joined: dict[str, Any]) -> list[str]:
    return [message["message"] for message in joined["messages"]]


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("history", {}),
        ("presence", {}),
        ("typing", {"on": True}),
        ("mark_read", {"seq": 1}),
        ("leave_room", {}),
        ("send_message", {"message": "hi"}),
    ],
)
async def test_whatever_a_stranger_asks_of_a_room_of_two_is_refused(
    stage: Stage, type_: str, payload: dict[str, object]
) -> None:
    percy, bob = await stage.client("percy"), await stage.client("bob")
    room = "dm:alice,percy"
    await stage.account("alice")
    await percy.join(room)
    assert await refusal(bob.ask(type_, payload | {"room": room})) == "forbidden"
    assert await refusal(bob.ask(type_, payload | {"room": "kitchen"})) == "not_in_room"
    assert await percy.hear() == []


async def test_changing_the_room_leaves_every_other(stage: Stage) -> None:
    percy = await stage.client("percy")
    for room in ("a", "b"):
        await percy.join(room)
    answer = await percy.ask("change_room", {"name": "c"})
    assert set(answer) == {"room", "title", "epoch", "seq", "recovered", "messages", "members", "count", "read"}
    assert list(percy.client.rooms) == ["c"]
    await percy.ask("change_room", {"name": "c"})
    assert list(percy.client.rooms) == ["c"]


async def test_a_change_of_room_that_is_refused_leaves_no_room(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("a")
    assert await refusal(percy.ask("change_room", {"name": "dm:alice,bob"})) == "forbidden"
    assert await refusal(percy.ask("change_room", {"name": "/"})) == "bad_payload"
    assert list(percy.client.rooms) == ["a"]


async def test_a_connection_is_in_so_many_rooms_at_most() -> None:
    async with at_work(max_rooms=2) as stage:
        percy = await stage.client("percy")
        for room in ("a", "b", "c", "a"):
            percy.say("join_room", {"room": room}, room)
        answers = [(event["id"], event["type"]) for event in await percy.hear()]
        assert answers == [("a", "ack"), ("b", "ack"), ("c", "error"), ("a", "ack")]
        await percy.ask("leave_room", {"room": "a"})
        assert (await percy.join("c"))["room"] == "c"


async def test_requests_name_their_room_where_there_are_several(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("a")
    assert (await percy.ask("send_message", {"message": "hi"}))["room"] == "a"
    await percy.join("b")
    percy.take()
    percy.say("send_message", {"message": "hi"}, 1)
    assert codes(await percy.hear()) == [(1, "bad_payload")]
    assert (await percy.ask("leave_room", {"room": "a"})) == {"room": "a"}
    assert (await percy.ask("send_message", {"message": "hi"}))["room"] == "b"


async def test_a_key_with_another_text_is_a_conflict(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    first = await percy.ask("send_message", {"message": "hi", "key": "k"})
    assert types(percy.take()) == ["new_message"]
    percy.say("send_message", {"message": "another", "key": "k"}, 1)
    percy.say("send_message", {"message": "hi", "key": "k"}, 2)
    percy.say("send_message", {"message": "another", "key": "l"}, 3)
    refused, repeated, kept, copy = await percy.hear()
    assert (refused["type"], refused["id"], refused["payload"]["code"]) == ("error", 1, "conflict")
    assert "'k'" in refused["payload"]["message"]
    assert (repeated["id"], repeated["payload"]) == (2, first)
    assert (kept["id"], kept["payload"]["seq"]) == (3, 2)
    assert (copy["payload"]["seq"], copy["payload"]["message"]) == (2, "another")


@pytest.mark.parametrize("key", ["", "k" * 129])
async def test_a_key_is_a_name(stage: Stage, key: str) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    with pytest.raises(Refused, match=r"payload\.key") as refused:
        await percy.ask("send_message", {"message": "hi", "key": key})
    assert refused.value.code == "bad_payload"
    assert (await percy.ask("send_message", {"message": "hi", "key": "k" * 128}))["seq"] == 1


async def test_what_a_classic_page_adds_to_its_requests_means_nothing(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    for key in ("k", "k", ""):
        percy.say("send_message", {"message": "hi", "room": "elsewhere", "key": key, "from": "alice"})
    events = await percy.hear()
    assert types(events) == ["new_message"] * 3
    assert {event["payload"]["from"] for event in events} == {"percy"}
