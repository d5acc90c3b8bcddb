"""What every engine keeps of the rooms that users follow, and how it tells how rooms stand."""

from __future__ import annotations

import pytest

from contract.told import Restart
from hubbub.engine import Account, Draft, Engine, Followed, Following, RoomOutline, following
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio


async def names(engine: Engine, user: str) -> list[str]:
    return [each.room for each in await engine.followed(user)]


async def say(engine: Engine, *rooms: str) -> None:
    await engine.append([Draft(room, "new_message", b'{"message":"hi"}', "percy") for room in rooms])


async def test_followed_rooms_are_sorted_and_have_their_read_mark(engine: Engine) -> None:
    await say(engine, "ops", "lunch")
    assert await engine.followed("percy") == []
    assert await engine.follow("percy", "ops") is Following.ADDED
    assert await engine.follow("percy", "lunch") is Following.ADDED
    assert await engine.follow("percy", "ops") is Following.KNOWN
    await engine.follow("annabeth", "ops")
    await engine.mark_read("ops", "percy", 1)
    assert await engine.followed("percy") == [Followed("lunch", False, 0), Followed("ops", False, 1)]


async def test_an_unfollowed_room_is_not_followed(engine: Engine) -> None:
    await engine.follow("percy", "ops")
    assert await engine.unfollow("percy", "ops")
    assert not await engine.unfollow("percy", "ops")
    assert await engine.followed("percy") == []
    assert await engine.followers("ops", limit=10) == []


async def test_a_followed_room_can_be_muted_and_following_it_again_changes_nothing(engine: Engine) -> None:
    assert not await engine.mute("percy", "ops", is_muted=True)
    await engine.follow("percy", "ops")
    assert await engine.mute("percy", "ops", is_muted=True)
    assert await engine.mute("percy", "ops", is_muted=True)
    assert await engine.follow("percy", "ops") is Following.KNOWN
    assert [each.is_muted for each in await engine.followed("percy")] == [True]
    assert await engine.mute("percy", "ops", is_muted=False)
    assert [each.is_muted for each in await engine.followed("percy")] == [False]
    await engine.mute("percy", "ops", is_muted=True)
    await engine.unfollow("percy", "ops")
    await engine.follow("percy", "ops")
    assert [each.is_muted for each in await engine.followed("percy")] == [False]


async def test_nobody_follows_more_rooms_than_may_be(engine: Engine) -> None:
    for number in range(following.MAX_FOLLOWED):
        await engine.follow("percy", f"room {number}")
    assert await engine.follow("percy", "one more") is Following.TOO_MANY
    assert await engine.follow("percy", "room 7") is Following.KNOWN
    assert await engine.follow("annabeth", "one more") is Following.ADDED
    assert len(await engine.followed("percy")) == following.MAX_FOLLOWED
    await engine.unfollow("percy", "room 7")
    assert await engine.follow("percy", "one more") is Following.ADDED


async def test_followers_come_in_order_and_in_pages(engine: Engine) -> None:
    users = sorted(f"user{number}" for number in range(12))
    for user in reversed(users):
        await engine.follow(user, "ops")
    await engine.follow("zoe", "other")
    assert await engine.followers("ops", limit=100) == users
    assert await engine.followers("ops", limit=5) == users[:5]
    assert await engine.followers("ops", after=users[4], limit=5) == users[5:10]
    assert await engine.followers("ops", after=users[-1], limit=5) == []
    assert await engine.followers("nothing", limit=5) == []


async def test_what_is_followed_goes_with_the_account(engine: Engine) -> None:
    await engine.put_account(Account("percy", "hash"))
    for user in ("percy", "percy2"):
        await engine.follow(user, "ops")
    await engine.remove_account("percy")
    assert (await names(engine, "percy"), await names(engine, "percy2")) == ([], ["ops"])
    assert await engine.followers("ops", limit=10) == ["percy2"]


async def test_followers_go_with_the_room(engine: Engine) -> None:
    for room in ("ops", "ops2"):
        await engine.follow("percy", room)
    await engine.clear("ops")
    assert await names(engine, "percy") == ["ops", "ops2"]
    await engine.forget_room("ops")
    assert await names(engine, "percy") == ["ops2"]
    assert await engine.followers("ops", limit=10) == []


async def test_what_is_followed_outlives_the_process(engine: Engine, restart: Restart) -> None:
    await say(engine, "ops")
    for room in ("ops", "lunch"):
        await engine.follow("percy", room)
    await engine.mute("percy", "lunch", is_muted=True)
    await engine.mark_read("ops", "percy", 1)
    engine = await restart()
    assert await engine.followed("percy") == [Followed("lunch", True, 0), Followed("ops", False, 1)]
    assert await engine.followers("lunch", limit=10) == ["percy"]


async def test_an_outline_says_how_a_room_stands(engine: Engine, clock: Clock) -> None:
    outcome = (await engine.append([Draft("ops", "new_message", b"{}")] * 3))[-1]
    await engine.put_title("ops", "Ops")
    found = await engine.outlines(["ops", "nothing"])
    epoch = (await engine.head("ops")).epoch
    assert found["ops"] == RoomOutline("Ops", epoch, 3, outcome.sent)  # type: ignore[union-attr]  # it is a receipt
    assert (found["nothing"].seq, found["nothing"].sent, found["nothing"].title) == (0, 0, "")
    assert await engine.outlines([]) == {}


async def test_an_outline_is_the_same_after_a_restart(engine: Engine, restart: Restart) -> None:
    await engine.append([Draft("ops", "new_message", b"{}")] * 3)
    await engine.put_title("ops", "Ops")
    before = await engine.outlines(["ops"])
    after = await (await restart()).outlines(["ops"])
    assert (after["ops"].title, after["ops"].seq, after["ops"].sent) == ("Ops", 3, before["ops"].sent)


async def test_a_cleared_room_holds_nothing_and_its_seqs_go_on(engine: Engine) -> None:
    await engine.append([Draft("ops", "new_message", b"{}")] * 3)
    await engine.clear("ops")
    [found] = (await engine.outlines(["ops"])).values()
    assert (found.seq, found.sent) == (3, 0)
    await say(engine, "ops")
    [found] = (await engine.outlines(["ops"])).values()
    assert found.seq == 4 and found.sent
    assert "ops" in await engine.room_names(limit=10)


async def test_names_of_rooms_come_in_order_and_in_pages(engine: Engine) -> None:
    rooms = sorted([*(f"team-{number}" for number in range(12)), "ops", "éclair", "a b", "Ж"])
    await say(engine, *reversed(rooms))
    assert await engine.room_names(limit=100) == rooms
    assert await engine.room_names(limit=3) == rooms[:3]
    assert await engine.room_names(after=rooms[2], limit=100) == rooms[3:]
    assert await engine.room_names(prefix="team-1", limit=100) == ["team-1", "team-10", "team-11"]
    assert await engine.room_names(prefix="team-1", after="team-1", limit=1) == ["team-10"]
    assert await engine.room_names(prefix="é", limit=100) == ["éclair"]
    assert await engine.room_names(prefix="x", limit=100) == []
    assert await engine.room_names(after=rooms[-1], limit=100) == []


async def test_names_of_rooms_outlive_the_process(engine: Engine, restart: Restart) -> None:
    await say(engine, "ops", "lunch")
    engine = await restart()
    await say(engine, "lunch", "new")
    assert await engine.room_names(limit=10) == ["lunch", "new", "ops"]


async def test_a_room_in_which_nothing_was_said_has_no_name_in_the_list(engine: Engine) -> None:
    await engine.subscribe("quiet")
    await engine.follow("percy", "quiet")
    await engine.mark_read("quiet", "percy", 1)
    assert await engine.room_names(limit=10) == []
