"""Editing, deleting and reacting: what is answered, what everybody hears, and what is left of the old text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.acts import Role
from hubbub.changing import MAX_EMOJI, MAX_REACTIONS
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import Refused
from hubbub.testing import CLASSIC, Clock, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


async def shown(guest: Guest, room: str = "lunch") -> dict[int, Any]:
    """The messages that the room's history shows, by seq."""
    answer = await guest.ask("history", {"room": room, "limit": 200})
    return {each["seq"]: each for each in answer["messages"]}


async def two_in_a_room(stage: Stage) -> tuple[Guest, Guest]:
    percy, fred = await stage.client("percy"), await stage.client("fred")
    for guest in (percy, fred):
        await guest.join("lunch")
    await percy.ask("send_message", {"message": "soup", "key": "s"})
    await fred.hear()
    percy.take()
    return percy, fred


async def test_an_edit_is_an_event_and_amends_the_message() -> None:
    async with at_work() as stage:
        percy, fred = await two_in_a_room(stage)
        ack = await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        assert ack["seq"] == 2
        (event,) = await fred.hear()
        assert event["type"] == "message_edited"
        assert event["payload"] == ack | {"from": "percy", "of": 1, "message": "stew"}
        history = await shown(fred)
        assert history[1]["message"] == "stew"
        assert history[1]["edited"] == {"seq": 2, "sent": ack["sent"]}
        assert history[2] == {"type": "message_edited", **event["payload"]}


async def test_an_overtaken_edit_has_no_text() -> None:
    async with at_work() as stage:
        percy, fred = await two_in_a_room(stage)
        await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        await percy.ask("edit_message", {"seq": 1, "message": "salad"})
        history = await shown(fred)
        assert history[1]["message"] == "salad"
        assert "message" not in history[2]
        assert history[3]["message"] == "salad"


async def test_a_deleted_message_leaves_no_text_anywhere() -> None:
    async with at_work() as stage:
        percy, fred = await two_in_a_room(stage)
        await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        await fred.ask("react", {"seq": 1, "emoji": "👍", "on": True})
        ack = await percy.ask("delete_message", {"seq": 1})
        again = await percy.ask("delete_message", {"seq": 1})
        assert again == ack
        history = await shown(fred)
        assert history[1]["message"] == ""
        assert history[1]["deleted"] is True
        assert "reactions" not in history[1]
        assert "message" not in history[2]
        log = await stage.engine.read("lunch", limit=200)
        assert not any(b"stew" in each.body or b"soup" in each.body for each in log.messages)
        joined = await (await stage.client("ron")).join("lunch")
        assert joined["messages"][0]["deleted"] is True


async def test_reactions_are_sets_in_one_order() -> None:
    async with at_work() as stage:
        percy, fred = await two_in_a_room(stage)
        ack = await percy.ask("react", {"seq": 1, "emoji": "👍", "on": True})
        await fred.ask("react", {"seq": 1, "emoji": "👍", "on": True})
        await fred.ask("react", {"seq": 1, "emoji": "+1", "on": True})
        assert (await shown(fred))[1]["reactions"] == [
            {"emoji": "+1", "users": ["fred"]},
            {"emoji": "👍", "users": ["fred", "percy"]},
        ]
        unchanged = await percy.ask("react", {"seq": 1, "emoji": "👍", "on": True})
        assert unchanged["seq"] == 1  # there is no new event
        assert ack["seq"] == 2
        await fred.ask("react", {"seq": 1, "emoji": "+1", "on": False})
        assert (await shown(fred))[1]["reactions"] == [{"emoji": "👍", "users": ["fred", "percy"]}]
        assert [event["payload"]["seq"] for event in await percy.hear() if event["type"] == "reacted"] == [2, 3, 4, 5]


async def test_many_who_react_at_once_are_all_counted() -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        crowd = [await stage.client(f"user{number}") for number in range(50)]
        for guest in crowd:
            await guest.join("lunch")
        await asyncio.gather(*(guest.ask("react", {"seq": 1, "emoji": "👍", "on": True}) for guest in crowd))
        assert len((await shown(percy))[1]["reactions"][0]["users"]) == 50


async def test_a_message_has_only_so_many_reactions() -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        for number in range(MAX_EMOJI):
            await percy.ask("react", {"seq": 1, "emoji": f"e{number}", "on": True})
        with pytest.raises(Refused, match="conflict"):
            await percy.ask("react", {"seq": 1, "emoji": "more", "on": True})
        for number in range(MAX_REACTIONS - MAX_EMOJI):
            guest = await stage.client(f"user{number}")
            await guest.join("lunch")
            await guest.ask("react", {"seq": 1, "emoji": "e0", "on": True})
            guest.hang_up()
        last = await stage.client("last")
        await last.join("lunch")
        with pytest.raises(Refused, match="conflict"):
            await last.ask("react", {"seq": 1, "emoji": "e0", "on": True})
        await percy.ask("react", {"seq": 1, "emoji": "e0", "on": False})
        await last.ask("react", {"seq": 1, "emoji": "e0", "on": True})


@pytest.mark.parametrize(
    "emoji",
    [
        "",
        " ",
        "a b",
        "\u202e",
        "x" * 33,
        "\n",
        "\u200b",
        "\u200d",
        "\ufe0f",
        "\U000e0061",
        "\u0301",
        "\u3164",
        "x\u2800",
    ],
    ids=lambda emoji: ascii(emoji)[:12],
)
async def test_what_is_no_emoji_is_refused(emoji: str) -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        with pytest.raises(Refused, match="bad_payload"):
            await percy.ask("react", {"seq": 1, "emoji": emoji, "on": True})


@pytest.mark.parametrize("emoji", ["👍🏽", "👨‍👩‍👧", "❤️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "+1", "ありがとう"])
async def test_emoji_of_several_characters_and_words_are_taken(emoji: str) -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        await percy.ask("react", {"seq": 1, "emoji": emoji, "on": True})
        assert (await shown(percy))[1]["reactions"] == [{"emoji": emoji, "users": ["percy"]}]


@pytest.mark.parametrize("seq", [0, 2, 99, 1 << 62])
async def test_what_is_no_message_is_not_changed(seq: int) -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        await percy.ask("react", {"seq": 1, "emoji": "👍", "on": True})
        for type_, more in (("edit_message", {"message": "x"}), ("delete_message", {})):
            with pytest.raises(Refused, match="no_such_message"):
                await percy.ask(type_, {"seq": seq, **more})


async def test_a_deleted_message_is_neither_edited_nor_reacted_to() -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        await percy.ask("delete_message", {"seq": 1})
        with pytest.raises(Refused, match="no_such_message"):
            await percy.ask("edit_message", {"seq": 1, "message": "x"})
        with pytest.raises(Refused, match="no_such_message"):
            await percy.ask("react", {"seq": 1, "emoji": "x", "on": True})


async def test_only_the_author_and_who_manages_change_a_message() -> None:
    notes: list[dict[str, object]] = []

    class Notes:
        def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None:
            notes.append({"act": act, "actor": actor, "outcome": outcome, **more})

        def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None: ...
        def tick(self) -> None: ...

    async with at_work(audit=Notes()) as stage:
        percy, fred = await two_in_a_room(stage)
        for type_, more in (("edit_message", {"message": "x"}), ("delete_message", {})):
            with pytest.raises(Refused, match="forbidden"):
                await fred.ask(type_, {"seq": 1, **more})
        minerva = await stage.client("minerva", role=Role.ADMIN)
        await minerva.join("lunch")
        await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        await minerva.ask("delete_message", {"seq": 1})
        assert notes == [
            {
                "act": "delete_message",
                "actor": "minerva",
                "target": "percy",
                "room": "lunch",
                "outcome": "done",
                "seq": 1,
            }
        ]


async def test_a_guest_changes_nothing() -> None:
    async with at_work() as stage:
        await two_in_a_room(stage)
        guest = await stage.client("dobby", role=Role.GUEST)
        await guest.join("lunch")
        with pytest.raises(Refused, match="forbidden"):
            await guest.ask("react", {"seq": 1, "emoji": "x", "on": True})


async def test_who_is_not_in_the_room_changes_nothing_there() -> None:
    async with at_work() as stage:
        await two_in_a_room(stage)
        ron = await stage.client("ron")
        with pytest.raises(Refused, match="not_in_room"):
            await ron.ask("react", {"room": "lunch", "seq": 1, "emoji": "x", "on": True})


async def test_a_change_with_a_known_key_is_made_once() -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        ack = await percy.ask("react", {"seq": 1, "emoji": "x", "on": True, "key": "k"})
        assert await percy.ask("react", {"seq": 1, "emoji": "x", "on": True, "key": "k"}) == ack
        await percy.ask("react", {"seq": 1, "emoji": "x", "on": False})
        assert await percy.ask("react", {"seq": 1, "emoji": "x", "on": True, "key": "k"}) == ack
        assert "reactions" not in (await shown(percy))[1]
        with pytest.raises(Refused, match="conflict"):
            await percy.ask("react", {"seq": 1, "emoji": "y", "on": True, "key": "k"})
        edit = await percy.ask("edit_message", {"seq": 1, "message": "stew", "key": "e"})
        delete = await percy.ask("delete_message", {"seq": 1, "key": "d"})
        assert await percy.ask("edit_message", {"seq": 1, "message": "stew", "key": "e"}) == edit
        assert await percy.ask("delete_message", {"seq": 1, "key": "d"}) == delete
        assert await percy.ask("delete_message", {"seq": 1, "key": "another"}) == delete
        with pytest.raises(Refused, match="no_such_message"):
            await percy.ask("edit_message", {"seq": 1, "message": "pie", "key": "f"})


async def test_the_ack_comes_before_the_event() -> None:
    async with at_work() as stage:
        percy, _ = await two_in_a_room(stage)
        percy.say("edit_message", {"seq": 1, "message": "stew"}, 7)
        assert [event["type"] for event in await percy.hear()] == ["ack", "message_edited"]


async def test_an_old_message_is_changed_in_the_log_and_its_edits_at_hand() -> None:
    async with at_work() as stage:
        percy, fred = await two_in_a_room(stage)
        for number in range(250):
            await percy.ask("send_message", {"message": f"{number}"})
        await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        await percy.ask("delete_message", {"seq": 1})
        assert "message" not in (await shown(fred))[252]
        old = await fred.ask("history", {"room": "lunch", "after": 0, "limit": 1})
        assert old["messages"][0]["deleted"] is True


async def test_a_classic_client_hears_nothing_of_it() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        page = await stage.client("page", CLASSIC)
        await percy.ask("send_message", {"message": "soup"})
        (event,) = await page.hear()
        assert event["payload"]["message"] == "soup"
        await percy.ask("edit_message", {"seq": 1, "message": "stew"})
        await percy.ask("delete_message", {"seq": 1})
        assert await page.hear() == []


class Racing(MemoryEngine):
    """A log in which another process is always quicker: each append finds what it amends changed."""

    races = 0

    async def append(self, batch: Any) -> Any:
        if self.races and batch[0].amends:
            self.races -= 1
            for amend in batch[0].amends:
                log = self._logs[batch[0].room]
                index = amend.seq - log.first
                message = log.messages[index]
                body = message.body[:-1] + b',"reactions":[{"emoji":"%d","users":["ron"]}]}' % self.races
                log.messages[index] = type(message)(
                    message.room, message.seq, message.sent, message.sender, message.type, body
                )
        return await super().append(batch)


@pytest.mark.parametrize(("races", "is_made"), [(1, True), (1000, False)])
async def test_a_change_is_made_again_a_few_times(races: int, is_made: bool) -> None:
    clock = Clock()
    engine = Racing(clock=clock, wall=clock)
    async with at_work(engine=engine, clock=clock) as stage:
        percy, _ = await two_in_a_room(stage)
        engine.races = races
        if is_made:
            assert (await percy.ask("edit_message", {"seq": 1, "message": "stew"}))["seq"] == 2
        else:
            with pytest.raises(Refused, match="unavailable"):
                await percy.ask("react", {"seq": 1, "emoji": "x", "on": True})
