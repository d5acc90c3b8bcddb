"""A room as an application holds it: a name that stays good, whoever comes and goes."""

from __future__ import annotations

import pytest

from heard import types
from hubbub import Event, Hub, Refused, Room
from hubbub.errors import ConfigError, KeyConflict
from hubbub.testing import Stage, at_work

pytestmark = pytest.mark.anyio


class Tally(Event, tag="tally"):
    count: int = 1


class Cursor(Event, tag="cursor"):
    at: int = 1


async def check_all_verbs(stage: Stage, room: Room, last_seq: int) -> None:
    """Have a guest come into the room, and go; the room's last seq is `last_seq` then."""
    percy = await stage.client("percy")
    assert list(room.members) == []
    assert list(room.users) == []
    await percy.join(room.name)
    assert list(room.members) == [percy.client]
    assert list(room.users) == ["percy"]
    receipt = await room.post(Tally(), sender=percy.client)
    assert receipt.seq == last_seq
    room.cast(Cursor())
    assert types(await percy.hear()) == ["tally", "cursor"]
    stage.hub.leave(percy.client, room)
    assert list(percy.client.rooms) == []
    assert list(room.members) == []
    room.cast(Cursor())
    assert await percy.hear() == []
    percy.hang_up()


async def test_a_handle_taken_before_anybody_comes_stays_good_over_empty_times(stage: Stage) -> None:
    room = stage.hub.room("lunch")
    for last_seq in (1, 2, 3):
        await check_all_verbs(stage, room, last_seq)
        assert stage.core.rooms.find("lunch") is None


async def test_a_handle_taken_before_or_during_a_run_of_the_hub_is_good_in_every_run_of_it() -> None:
    hub = Hub()
    early = hub.room("lunch")
    async with at_work(hub) as stage:
        await check_all_verbs(stage, early, 1)
        during = hub.room("lunch")
        await check_all_verbs(stage, during, 2)
    async with at_work(hub) as stage:
        await check_all_verbs(stage, early, 1)
        await check_all_verbs(stage, during, 2)


async def test_a_handle_of_a_join_is_as_good_as_any(stage: Stage) -> None:
    percy = await stage.client("percy")
    joined = await stage.hub.join(percy.client, "lunch")
    of_percy = stage.hub.room_of(percy.client)
    percy.hang_up()
    for last_seq, room in enumerate((joined, of_percy), start=1):
        await check_all_verbs(stage, room, last_seq)


async def test_a_room_that_nobody_is_in_can_be_spoken_in(stage: Stage) -> None:
    room = stage.hub.room("lunch")
    assert (await room.post(Tally())).seq == 1
    room.cast(Cursor())
    percy = await stage.client("percy")
    (tally,) = (await percy.join("lunch"))["messages"]
    assert (tally["type"], tally["seq"]) == ("tally", 1)


async def test_one_key_of_one_sender_is_kept_once(stage: Stage) -> None:
    percy = await stage.client("percy")
    room = stage.hub.room("lunch")
    first = await room.post(Tally(), sender=percy.client, key="k")
    again = await room.post(Tally(), sender=percy.client, key="k")
    other = await room.post(Tally(), key="k")
    assert (first.seq, again.seq, again.repeated, other.seq) == (1, 1, True, 2)


async def test_a_key_with_another_event_is_a_conflict(stage: Stage) -> None:
    room = stage.hub.room("lunch")
    await room.post(Tally(), key="k")
    with pytest.raises(KeyConflict, match=r"'k'.*seq 1") as raised:
        await room.post(Cursor(), key="k")
    assert (raised.value.key, raised.value.seq) == ("k", 1)
    assert (await room.post(Cursor(), key="l")).seq == 2


@pytest.mark.parametrize("key", ["", "k" * 129])
async def test_a_key_is_a_name(stage: Stage, key: str) -> None:
    with pytest.raises(Refused, match=r"1 to 128 characters.*payload\.key"):
        stage.hub.room("lunch").post(Tally(), key=key)
    assert (await stage.hub.room("lunch").post(Tally(), key="k" * 128)).seq == 1


async def test_a_sender_is_named_and_nobody_else_is(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("lunch")
    room = stage.hub.room("lunch")
    room.post(Tally(), sender=percy.client)
    room.post(Tally())
    assert [event["payload"].get("from") for event in await percy.hear()] == ["percy", None]


def test_rooms_are_equal_by_name() -> None:
    hub = Hub()
    assert hub.room("lunch") == hub.room("lunch")
    assert hub.room("lunch") != hub.room("dinner")
    assert hub.room("lunch") != "lunch"
    assert len({hub.room("lunch"), hub.room("lunch"), hub.room("dinner")}) == 2
    assert repr(hub.room("lunch")) == "<Room 'lunch'>"


def test_what_is_no_room_name_is_refused() -> None:
    for name in ("", " ", "a/b", "x" * 65, "dm:percy", "dm:percy,alice", f"dm:a,{'b' * 129}"):
        with pytest.raises(Refused, match="room"):
            Hub().room(name)


def test_without_a_running_hub_nothing_can_be_said() -> None:
    room = Hub().room("lunch")
    with pytest.raises(ConfigError, match="not running"):
        room.post(Tally())
    with pytest.raises(ConfigError, match="not running"):
        room.cast(Cursor())
