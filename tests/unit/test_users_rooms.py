"""The rooms that users follow: what they are told of them, and what is kept from them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest

from heard import refusal, types
from hubbub import Client, Hub, Refused
from hubbub.acts import Role
from hubbub.budgets import Use, wait_for
from hubbub.client import Participant
from hubbub.engine import MAX_FOLLOWED, Draft
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError, ErrorCode
from hubbub.notices import CHANNEL
from hubbub.testing import CLASSIC, V1, Clock, Guest, Stage, at_work, in_a_line

pytestmark = pytest.mark.anyio

PRIVATE = ["secret*"]


async def rooms_of(stage: Stage, guest: Guest) -> list[dict[str, Any]]:
    """What a welcome would tell a guest's user now."""
    found: list[dict[str, Any]] = json.loads(await stage.core.follows.entries(guest._participant))
    return found


async def say(guest: Guest, room: str, *messages: str) -> None:
    """Say something in a room, which is entered if need be."""
    await guest.join(room)
    for message in messages:
        await guest.ask("send_message", {"room": room, "message": message})
    await guest.ask("leave_room", {"room": room})


async def unread(stage: Stage, guest: Guest) -> list[int]:
    return [entry["unread"] for entry in await rooms_of(stage, guest)]


# Following


async def test_a_followed_room_is_in_the_welcome() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await say(annabeth, "Ops", "hi")
        entry = await percy.ask("follow", {"room": "OPS"})
        assert (entry["room"], entry["title"]) == ("ops", "Ops")
        assert (entry["seq"], entry["read"], entry["unread"]) == (1, 0, 1)
        assert (entry["muted"], entry["joined"]) == (False, False)
        assert entry["active"].endswith("Z") and entry["epoch"]
        assert await rooms_of(stage, percy) == [entry]
        assert await percy.ask("follow", {"room": "ops"}) == entry
        assert percy.take() == []


async def test_a_new_room_can_be_followed_before_anything_is_said_in_it() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        entry = await percy.ask("follow", {"room": "Ops"})
        assert (entry["title"], entry["seq"], entry["active"], entry["unread"]) == ("ops", 0, None, 0)


async def test_a_connection_that_does_not_read_is_told_nothing_more_of_rooms() -> None:
    async with at_work() as stage:
        percy, phone = await stage.client("percy"), await stage.client("percy")
        await percy.ask("follow", {"room": "ops"})
        await stage.settle()
        phone.take()
        phone.read_slowly()
        await percy.ask("mute", {"room": "ops", "on": True})
        await percy.ask("unfollow", {"room": "ops"})
        await percy.ask("follow", {"room": "ops"})
        await stage.settle()
        assert phone.writes == []
        phone.read_on()
        await percy.ask("mute", {"room": "ops", "on": True})
        assert types(phone.take()) == ["room_changed"]


async def test_rooms_are_sorted_and_say_where_the_connection_is() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        for room in ("zoo", "ops", "Attic"):
            await percy.ask("follow", {"room": room})
        await percy.join("ops")
        found = await rooms_of(stage, percy)
        assert [(entry["room"], entry["joined"]) for entry in found] == [
            ("attic", False),
            ("ops", True),
            ("zoo", False),
        ]


async def test_a_room_that_may_not_be_entered_is_not_followed() -> None:
    async with at_work(private_rooms=PRIVATE) as stage:
        admin, percy = await stage.client("chiron", role=Role.ADMIN), await stage.client("percy")
        await stage.hub.invite("secret", "chiron")
        await say(admin, "secret", "hush")
        await say(admin, "ops", "hi")
        await stage.hub.close_room("ops")
        assert await refusal(percy, "follow", {"room": "secret"}) == "forbidden"
        assert await refusal(percy, "follow", {"room": "secret absent"}) == "forbidden"
        assert await refusal(percy, "follow", {"room": "ops"}) == "forbidden"
        assert await refusal(percy, "follow", {"room": "dm:annabeth,chiron"}) == "forbidden"
        assert await refusal(percy, "follow", {"room": "dm:nobody,percy"}) == "no_such_room"
        assert await refusal(percy, "follow", {"room": "what?"}) == "bad_payload"
        assert await rooms_of(stage, percy) == []


async def test_a_guest_follows_no_room_that_is_not_there() -> None:
    async with at_work() as stage:
        guest = await stage.client("percy", role=Role.GUEST)
        assert await refusal(guest, "follow", {"room": "nothing"}) == "no_such_room"


async def test_a_hook_keeps_a_client_from_following_a_room() -> None:
    hub = Hub()

    @hub.on_join
    def guard(room: str, client: Client) -> None:
        if room == "vault" and client.user != "chiron":
            raise Refused(ErrorCode.FORBIDDEN, "no")

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        assert await refusal(percy, "follow", {"room": "vault"}) == "forbidden"


async def test_nobody_follows_more_rooms_than_may_be() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        for number in range(MAX_FOLLOWED):
            await stage.engine.follow("percy", f"room {number}")
        assert await refusal(percy, "follow", {"room": "one more"}) == "conflict"
        assert len(await rooms_of(stage, percy)) == MAX_FOLLOWED


# Telling the other connections


async def test_the_other_connections_are_told_and_the_acting_one_is_not() -> None:
    async with at_work() as stage:
        percy, phone, other = [await stage.client(user) for user in ("percy", "percy", "annabeth")]
        old = await stage.client("percy", CLASSIC)
        entry = await percy.ask("follow", {"room": "ops"})
        await percy.ask("mute", {"room": "ops", "on": True})
        await percy.ask("unfollow", {"room": "ops"})
        heard = await phone.hear()
        assert types(heard) == ["room_added", "room_changed", "room_removed"]
        assert [event["payload"] for event in heard] == [
            {"entry": entry},
            {"room": "ops", "muted": True},
            {"room": "ops"},
        ]
        assert await percy.hear() == await other.hear() == await old.hear() == []


async def test_what_is_done_again_is_not_told_again() -> None:
    async with at_work() as stage:
        percy, phone = await stage.client("percy"), await stage.client("percy")
        for _ in range(2):
            await percy.ask("follow", {"room": "ops"})
        for _ in range(2):
            assert await percy.ask("unfollow", {"room": "OPS"}) == {"room": "ops"}
        assert types(await phone.hear()) == ["room_added", "room_removed"]


async def test_a_room_that_is_not_followed_cannot_be_muted() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        assert await refusal(percy, "mute", {"room": "ops", "on": True}) == "no_such_room"
        await percy.ask("follow", {"room": "ops"})
        assert await percy.ask("mute", {"room": "OPS", "on": True}) == {"room": "ops", "muted": True}
        assert [entry["muted"] for entry in await rooms_of(stage, percy)] == [True]
        await stage.hub.close_room("ops")
        assert await refusal(percy, "mute", {"room": "ops", "on": False}) == "no_such_room"


async def test_a_read_mark_is_told_to_the_other_connections_wherever_they_are() -> None:
    async with at_work() as stage:
        percy, phone = await stage.client("percy"), await stage.client("percy")
        await percy.join("ops")
        await percy.ask("send_message", {"message": "hi"})
        percy.take()
        await percy.ask("mark_read", {"seq": 5})
        assert [(event["type"], event["payload"]) for event in await phone.hear()] == [
            ("room_changed", {"room": "ops", "read": 1})
        ]
        assert types(await percy.hear()) == ["read"]
        await percy.ask("mark_read", {"seq": 0})
        assert await phone.hear() == []


async def test_a_connection_that_is_gone_is_not_told() -> None:
    async with at_work() as stage:
        percy, phone, tablet = [await stage.client("percy") for _ in range(3)]
        phone.hang_up()
        await percy.ask("follow", {"room": "ops"})
        assert types(await tablet.hear()) == ["room_added"]
        assert await phone.hear() == []
        for guest in (percy, tablet):
            guest.hang_up()
        assert "percy" not in stage.core.connections


# Unread messages


async def test_only_the_messages_of_others_are_unread() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.ask("follow", {"room": "ops"})
        await say(annabeth, "ops", "one", "two")
        await say(percy, "ops", "three")
        assert await unread(stage, percy) == [2]
        await percy.join("ops")
        await percy.ask("mark_read", {"room": "ops", "seq": 1})
        assert await unread(stage, percy) == [1]  # of what is at hand
        await percy.ask("leave_room", {"room": "ops"})
        assert await unread(stage, percy) == [1]  # of what was read
        await say(annabeth, "ops", "four")
        assert await unread(stage, percy) == [2]


@pytest.mark.parametrize("is_live", [False, True])
async def test_unread_messages_are_counted_to_a_hundred(is_live: bool) -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.ask("follow", {"room": "ops"})
        await say(annabeth, "ops", *["hi"] * 250)
        if is_live:
            await annabeth.join("ops")
        assert await unread(stage, percy) == [100]
        for seq, left in ((149, 100), (151, 99), (249, 1), (250, 0)):
            await stage.engine.mark_read("ops", "percy", seq)
            assert await unread(stage, percy) == [left]


async def test_who_may_not_read_is_told_of_nothing_unread() -> None:
    hub = Hub()
    hub.policy(lambda client, act, room: False if act == 2 and client.user == "percy" else None)
    async with at_work(hub) as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.ask("follow", {"room": "ops"})
        await say(annabeth, "ops", "one")
        assert await unread(stage, percy) == [0]


async def test_a_deleted_message_is_not_unread() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.ask("follow", {"room": "ops"})
        await say(annabeth, "ops", 'a text that ends like this: ,"deleted":true}')
        assert await unread(stage, percy) == [1]
        body = b'{"message":"","edited":{"seq":3,"sent":"2026-11-26T10:39:42.000Z"},"deleted":true}'
        await stage.engine.append([Draft("ops", "new_message", body, "annabeth")])
        await stage.engine.append([Draft("ops", "message_deleted", b'{"of":2}', "annabeth")])
        assert await unread(stage, percy) == [1]


async def test_many_who_come_back_at_once_cost_one_read_of_each_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as stage:
        annabeth = await stage.client("annabeth")
        guests = [await stage.client(f"user{number}") for number in range(50)]
        for room in ("ops", "lunch"):
            await say(annabeth, room, "hi")
            for guest in guests:
                await stage.engine.follow(guest.client.user, room)
        reads, read = [], stage.engine.read

        async def counted(room: str, **kwargs: Any) -> Any:
            reads.append(room)
            await asyncio.sleep(0)
            return await read(room, **kwargs)

        monkeypatch.setattr(stage.engine, "read", counted)
        found = await asyncio.gather(*(unread(stage, guest) for guest in guests))
        assert found == [[1, 1]] * 50
        assert sorted(reads) == ["lunch", "ops"]


async def test_who_follows_nothing_costs_no_read_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        monkeypatch.setattr(stage.engine, "read", None)
        monkeypatch.setattr(stage.engine, "outlines", None)
        assert await rooms_of(stage, percy) == []


# Losing a room


async def test_who_may_not_enter_a_room_any_more_is_told_that_it_is_gone() -> None:
    async with at_work(private_rooms=PRIVATE) as stage:
        await stage.account("percy")
        await stage.hub.invite("secret", "percy")
        percy, chiron = await stage.client("percy"), await stage.client("chiron", role=Role.ADMIN)
        await percy.ask("follow", {"room": "secret"})
        await stage.hub.uninvite("secret", "percy")
        assert [(event["type"], event["payload"]) for event in await percy.hear()] == [
            ("room_removed", {"room": "secret"})
        ]
        assert await rooms_of(stage, percy) == []
        await stage.hub.invite("secret", "percy")
        assert [entry["room"] for entry in await rooms_of(stage, percy)] == ["secret"]
        assert await chiron.hear() == []


async def test_a_closed_room_is_gone_for_its_followers() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        await percy.ask("follow", {"room": "ops"})
        await stage.hub.close_room("ops")
        assert types(await percy.hear()) == ["room_removed"]
        assert await rooms_of(stage, percy) == []


async def test_a_deleted_room_is_followed_by_nobody() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.ask("follow", {"room": "ops"})
        await say(annabeth, "ops", "hi")
        await stage.hub.delete_room("ops")
        assert set(types(await percy.hear())) == {"room_removed"}
        await say(annabeth, "ops", "another")
        assert await rooms_of(stage, percy) == []


async def test_an_application_that_changes_its_mind_has_all_reviewed() -> None:
    hub, is_open = Hub(), True
    hub.policy(lambda _client, _act, room: None if is_open or room != "ops" else False)
    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        for room in ("ops", "lunch"):
            await percy.ask("follow", {"room": room})
        is_open = False
        stage.hub.review()
        assert [event["payload"] for event in await percy.hear()] == [{"room": "ops"}]


# Rooms of two


async def test_a_message_makes_both_follow_a_room_of_two() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.join("dm:annabeth,percy")
        assert await rooms_of(stage, annabeth) == []
        receipt = await percy.ask("send_message", {"message": "psst"})
        assert receipt["seq"] == 1
        [added] = await annabeth.hear()
        assert added["type"] == "room_added"
        assert (added["payload"]["entry"]["seq"], added["payload"]["entry"]["unread"]) == (1, 1)
        assert sorted(types(percy.take())) == ["new_message", "room_added"]
        await percy.ask("send_message", {"message": "again"})
        assert await annabeth.hear() == []
        assert await unread(stage, annabeth) == [2]
        assert await unread(stage, percy) == [0]


async def test_who_is_away_finds_a_message_of_two_in_the_welcome_as_soon_as_it_is_acked() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy = await stage.client("percy")
        await percy.join("dm:annabeth,percy")
        percy.take()
        percy.say("send_message", {"message": "psst"}, 1)
        while not percy.writes:  # the ack
            await asyncio.sleep(0)
        assert [each.room for each in await stage.engine.followed("annabeth")] == ["dm:annabeth,percy"]


async def test_messages_of_two_keep_their_order_while_the_room_is_being_followed() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy = await stage.client("percy")
        await percy.join("dm:annabeth,percy")
        for number in range(5):
            percy.say("send_message", {"message": str(number)}, number)
        heard = await percy.hear()
        assert [event["id"] for event in heard if event["type"] == "ack"] == list(range(5))
        told = [event["payload"]["message"] for event in heard if event["type"] == "new_message"]
        assert told == ["0", "1", "2", "3", "4"]


async def test_an_unfollowed_room_of_two_is_followed_again_with_the_next_message() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await percy.join("dm:annabeth,percy")
        await percy.ask("send_message", {"message": "psst"})
        await annabeth.ask("unfollow", {"room": "dm:annabeth,percy"})
        assert await rooms_of(stage, annabeth) == []
        await percy.ask("send_message", {"message": "hello?"})
        assert types(await annabeth.hear()) == ["room_added", "room_added"]


async def test_a_message_of_two_is_not_kept_where_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy = await stage.client("percy")
        await percy.join("dm:annabeth,percy")

        async def fail(*_: object) -> None:
            raise EngineError("away")

        with monkeypatch.context() as patch:
            patch.setattr(stage.engine, "follow", fail)
            assert await refusal(percy, "send_message", {"message": "psst"}) == "unavailable"
        assert (await percy.ask("send_message", {"message": "psst"}))["seq"] == 1


async def test_an_account_that_is_removed_and_made_again_follows_with_the_next_message() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        percy = await stage.client("percy")
        await percy.join("dm:annabeth,percy")
        await percy.ask("send_message", {"message": "psst"})
        await stage.engine.remove_account("annabeth")
        await stage.core.refresh_access()
        await percy.ask("send_message", {"message": "gone?"})
        assert await stage.engine.followed("annabeth") == []
        await stage.account("annabeth")
        await percy.ask("send_message", {"message": "back?"})
        assert len(await stage.engine.followed("annabeth")) == 1


async def test_who_follows_as_many_rooms_as_may_be_is_written_to_all_the_same() -> None:
    async with at_work() as stage:
        for user in ("annabeth", "percy"):
            await stage.account(user)
        for number in range(MAX_FOLLOWED):
            await stage.engine.follow("annabeth", f"room {number}")
        percy = await stage.client("percy")
        await percy.join("dm:annabeth,percy")
        assert (await percy.ask("send_message", {"message": "psst"}))["seq"] == 1
        assert len(await stage.engine.followed("annabeth")) == MAX_FOLLOWED


# Several nodes


class SharedEngine(MemoryEngine):
    """An engine as if it were shared: what is cast is heard by other nodes, too."""

    is_shared = True

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, wall=clock)
        self.others: list[SharedEngine] = []
        self.said: list[tuple[str, bytes]] = []

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        super().cast(room, type_, payload)
        if room == CHANNEL:
            self.said.append((type_, payload))
            for other in self.others:
                super(SharedEngine, other).cast(room, type_, payload)


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[Stage, Stage]]:
    clock = Clock()
    engines = [SharedEngine(clock), SharedEngine(clock)]
    engines[0].others, engines[1].others = [engines[1]], [engines[0]]
    async with at_work(engine=engines[0], clock=clock) as one, at_work(engine=engines[1], clock=clock) as other:
        yield one, other


async def test_connections_on_another_node_are_told() -> None:
    async with two_nodes() as (one, other):
        percy, phone, stranger = (
            await one.client("percy"),
            await other.client("percy"),
            await other.client("annabeth"),
        )
        await other.engine.follow("percy", "ops")  # each of these nodes has a vault of its own
        await percy.ask("follow", {"room": "ops"})
        await percy.ask("mute", {"room": "ops", "on": True})
        await percy.ask("unfollow", {"room": "ops"})
        heard = await phone.hear()
        assert sorted(types(heard)) == ["room_added", "room_changed", "room_removed"]
        assert await stranger.hear() == []
        assert percy.take() == []


async def test_read_marks_are_told_to_other_nodes_together() -> None:
    async with two_nodes() as (one, other):
        percy, phone = await one.client("percy"), await other.client("percy")
        annabeth = await one.client("annabeth")
        for guest in (percy, annabeth):
            await guest.join("ops")
        for text in ("one", "two", "three"):
            await percy.ask("send_message", {"message": text})
        for guest in (percy, annabeth):
            for seq in (1, 3, 2):
                await guest.ask("mark_read", {"seq": seq})
        engine = one.engine
        assert isinstance(engine, SharedEngine) and engine.said == []
        await one.pass_time(0.25)
        assert [type_ for type_, _ in engine.said] == ["read"]
        assert [event["payload"] for event in await phone.hear()] == [{"room": "ops", "read": 3}]
        await one.pass_time(0.25)
        assert len(engine.said) == 1


async def test_a_room_that_is_deleted_on_one_node_is_gone_on_the_other() -> None:
    async with two_nodes() as (one, other):
        phone = await other.client("percy")
        await one.engine.follow("percy", "ops")
        await one.hub.delete_room("ops")
        assert [event["payload"] for event in await phone.hear()] == [{"room": "ops"}]


async def test_a_notice_that_is_none_is_ignored() -> None:
    async with two_nodes() as (one, other):
        phone = await other.client("percy")
        one.engine.cast(CHANNEL, "added", b"nonsense")
        one.engine.cast(CHANNEL, "of a later version", b'{"origin":"x","users":["percy"]}')
        assert await phone.hear() == []


# What it costs, and what goes wrong


async def test_a_room_that_cannot_be_read_keeps_nobody_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        for room in ("broken", "ops", "worn"):
            await say(annabeth, room, "hi")
            await percy.ask("follow", {"room": room})
        outlines, read = stage.engine.outlines, stage.engine.read

        async def some_outlines(rooms: Collection[str]) -> Any:
            if "broken" in rooms:
                raise EngineError("damaged")
            return await outlines(rooms)

        async def some_pages(room: str, **kwargs: Any) -> Any:
            if room == "worn":
                raise EngineError("damaged")
            return await read(room, **kwargs)

        monkeypatch.setattr(stage.engine, "outlines", some_outlines)
        monkeypatch.setattr(stage.engine, "read", some_pages)
        stage.core.follows._entries._unread._ends.clear()
        found = await rooms_of(stage, percy)
        assert [(entry["room"], entry["unread"]) for entry in found] == [("ops", 1), ("worn", 0)]


async def test_who_has_many_connections_pays_for_telling_them() -> None:
    async with at_work(replay_rate=1.0, replay_burst=2000.0) as stage:
        guests = [await stage.client("percy") for _ in range(20)]
        await guests[0].ask("follow", {"room": "ops"})
        assert await refusal(guests[0], "unfollow", {"room": "ops"}) == "rate_limited"


async def test_a_connection_whose_user_follows_many_rooms_counts_as_several() -> None:
    async with at_work() as stage:
        percy = await stage.client("percy")
        for number in range(MAX_FOLLOWED):
            await stage.engine.follow("percy", f"room {number}")
        purses = percy._participant.purses
        opened = 0
        while not wait_for(purses, Use.OPENINGS, stage.clock()):
            await stage.core.follows.entries(percy._participant)
            opened += 1
        assert 50 <= opened <= 150


async def test_the_welcome_comes_before_what_is_told_while_it_is_made() -> None:
    async with at_work() as stage:
        phone = await stage.client("percy")
        await phone.ask("follow", {"room": "ops"})
        client = Participant("percy", "session", V1, in_a_line)
        followed = stage.engine.followed
        telling: list[bool] = []

        async def slowly(user: str) -> Any:
            if not telling:
                telling.append(True)
                stage.core.follows._changed("percy", b'{"room":"ops","muted":true}')
            return await followed(user)

        stage.engine.followed = slowly  # type: ignore[method-assign]  # for this test
        await stage.core.connect(client, b'{"user":"percy"')
        guest = Guest(stage.core, client)
        client.attach(guest)
        welcome, changed = guest.take()
        assert (welcome["type"], changed["type"]) == ("welcome", "room_changed")
        assert [entry["room"] for entry in welcome["payload"]["rooms"]] == ["ops"]


async def test_a_connection_that_is_refused_is_told_nothing_more() -> None:
    async with at_work() as stage:
        await stage.account("percy")
        followed = stage.engine.followed

        async def block(user: str) -> Any:
            await stage.hub.block("percy")
            return await followed(user)

        stage.engine.followed = block  # type: ignore[method-assign]  # for this test
        client = Participant("percy", "session", V1, in_a_line)
        await stage.account("chiron", Role.ADMIN)
        with pytest.raises(Refused, match="blocked"):
            await stage.core.connect(client, b'{"user":"percy"')
        assert "percy" not in stage.core.connections
