"""One room for all names that look the same: entering, speaking, permissions, titles."""

from __future__ import annotations

import pytest

from heard import texts
from hubbub import Act, Event, Hub, Refused, Role
from hubbub.settings import Settings
from hubbub.testing import CLASSIC, Stage, at_work

pytestmark = pytest.mark.anyio


class Poke(Event, tag="poke"):
    where: str


async def refusal(guest_asks: object) -> str:
    """The code that a request is refused with."""
    with pytest.raises(Refused) as refused:
        await guest_asks  # type: ignore[misc]  # a coroutine, of anything
    return refused.value.code


async def test_names_that_look_the_same_are_one_room(stage: Stage) -> None:
    percy, alice = await stage.client("percy"), await stage.client("alice", CLASSIC)
    joined = await percy.join("Ops Room")
    assert (joined["room"], joined["title"]) == ("ops room", "Ops Room")
    alice.say("change_room", {"name": "OPS room"})
    await stage.settle()
    alice.say("send_message", {"message": "hi"})
    assert texts(await percy.hear()) == ["hi"]
    again = await percy.ask("change_room", {"name": "\uff2f\uff30\uff33 Room"})
    assert (again["room"], again["title"], again["seq"]) == ("ops room", "Ops Room", 1)


async def test_requests_may_write_the_name_in_any_way(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("ops")
    await percy.join("other")
    assert (await percy.ask("send_message", {"room": "OPS", "message": "hi"}))["room"] == "ops"
    for type_, more in (("history", {}), ("presence", {}), ("mark_read", {"seq": 1})):
        assert (await percy.ask(type_, {"room": "Ops", **more}))["room"] == "ops"
    assert await percy.ask("typing", {"room": "Ops", "on": True}) == {}
    assert await percy.ask("leave_room", {"room": "Ops"}) == {"room": "ops"}
    assert await refusal(percy.ask("send_message", {"room": "Ops", "message": "hi"})) == "not_in_room"
    assert await refusal(percy.ask("send_message", {"room": " ops", "message": "hi"})) == "not_in_room"


async def test_the_most_rooms_are_counted_by_what_they_go_by() -> None:
    async with at_work(max_rooms=1) as stage:
        percy = await stage.client("percy")
        await percy.join("ops")
        assert (await percy.join("OPS"))["room"] == "ops"


async def test_rules_are_for_a_room_however_its_name_is_written() -> None:
    async with at_work(private_rooms=("Team-*",)) as stage:
        percy = await stage.client("percy")
        for name in ("team-x", "Team-x", "TEAM-X", "\uff34eam-x"):
            assert await refusal(percy.join(name)) == "forbidden"
            assert await refusal(percy.ask("send_message", {"room": name, "message": "hi"})) == "forbidden"
            assert not stage.hub.may(percy.client, Act.JOIN, name)
        await stage.account("percy")
        await stage.hub.invite("TEAM-x", "percy")
        assert (await percy.join("Team-X"))["title"] == "Team-X"
        await stage.hub.close_room("team-X")
        assert await refusal(percy.join("team-x")) == "forbidden"


async def test_admins_may_write_the_name_in_any_way(stage: Stage) -> None:
    boss, percy = await stage.client("boss", role=Role.ADMIN), await stage.client("percy")
    await percy.join("ops")
    assert await boss.ask("admin_close_room", {"room": "OPS"}) == {"room": "ops"}
    assert list(percy.client.rooms) == []


async def test_an_application_may_write_the_name_in_any_way() -> None:
    hub = Hub()
    asked: list[str | None] = []

    @hub.policy
    def decide(_client: object, _act: object, room: str | None) -> None:
        asked.append(room)

    @hub.on(act=None)
    def poke(request: Poke, client: object) -> dict[str, str]:
        return {"at": hub.room_of(client, request.where).name}  # type: ignore[arg-type]  # handlers take any client

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        assert (await hub.join(percy.client, "Ops")).name == "ops"
        assert hub.room("OPS") == hub.room("ops")
        assert hub.room("Ops").users == ["percy"]
        asked.clear()
        assert await percy.ask("poke", {"where": "OPS"}) == {"at": "ops"}
        await percy.ask("send_message", {"room": "OPS", "message": "hi"})
        assert set(asked) == {"ops"}


async def test_the_first_title_is_kept_with_the_first_message(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("Ops")
    assert await stage.engine.title("ops") == ""
    await percy.ask("leave_room", {})
    assert (await percy.join("OPS"))["title"] == "OPS"  # nothing was kept of the one before
    await percy.ask("send_message", {"message": "hi"})
    await percy.ask("leave_room", {})
    assert (await percy.join("oPS"))["title"] == "OPS"
    assert await stage.engine.title("ops") == "OPS"
    await percy.join("plain")
    await percy.ask("send_message", {"room": "plain", "message": "hi"})
    await percy.ask("leave_room", {"room": "plain"})
    assert (await percy.join("Plain"))["title"] == "plain"


async def test_a_room_that_nothing_was_kept_of_leaves_nothing(stage: Stage) -> None:
    percy = await stage.client("percy")
    for number in range(20):
        await percy.join(f"Room {number}")
        await percy.ask("mark_read", {"room": f"room {number}", "seq": 5})
        await percy.ask("typing", {"room": f"room {number}", "on": True})
        await percy.ask("leave_room", {"room": f"room {number}"})
        assert stage.core.rooms.find(f"room {number}") is None
        assert await stage.engine.title(f"room {number}") == ""


def test_the_defaults_let_two_users_with_usual_names_talk() -> None:
    settings = Settings()
    assert len(f"dm:{'a' * 30},{'b' * 30}") <= settings.max_room_name
