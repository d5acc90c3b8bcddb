"""Ack first: the answer to a request precedes the sender's own copy of what it brought about, however it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gates import GatedEngine, turns
from heard import codes, seqs, types
from hubbub import Client, Event, Hub, Posting, Refused
from hubbub import room as room_module
from hubbub.chat import NewMessage
from hubbub.recent import RECENT
from hubbub.testing import Guest, Stage, at_work

pytestmark = pytest.mark.anyio


class Wave(Event, tag="wave"):
    rooms: tuple[str, ...] = ("general",)


class Waved(Event, tag="waved"):
    by: str


class Waver:
    """An application whose asynchronous handler of `wave` posts to the rooms named, then waits until it may `go_on`."""

    def __init__(self, *, refuses: bool = False, fails: bool = False) -> None:
        self.hub = Hub()
        self.may_go_on = asyncio.Event()

        @self.hub.on
        async def wave(wave: Wave, client: Client) -> dict[str, bool]:
            for name in wave.rooms:
                self.hub.room(name).post(Waved(client.user), sender=client)
            await self.may_go_on.wait()
            if refuses:
                raise Refused("forbidden", "on second thoughts")
            if fails:
                raise ZeroDivisionError
            return {"done": True}

    def go_on(self) -> None:
        self.may_go_on.set()


async def in_room(stage: Stage, *users: str, room: str = "general") -> list[Guest]:
    """Guests that have joined a room, and have nothing left to hear."""
    guests = [await stage.client(user) for user in users]
    for guest in guests:
        await guest.join(room)
    for guest in guests:
        guest.take()
    return guests


def talk(stage: Stage, count: int, room: str = "general") -> None:
    for _ in range(count):
        stage.hub.room(room).post(NewMessage("meanwhile"))


# What a handler does with what it posted


async def test_a_plain_handlers_ack_precedes_the_senders_own_copy(stage: Stage) -> None:
    percy, alice = await in_room(stage, "percy", "alice")
    percy.say("send_message", {"message": "hi"}, "c1")
    ack, copy = await percy.hear()
    assert (ack["type"], ack["id"], copy["type"]) == ("ack", "c1", "new_message")
    assert ack["payload"]["seq"] == copy["payload"]["seq"] == 1
    assert ack["payload"]["room"] == copy["payload"]["room"] == "general"
    assert ack["payload"]["sent"] == copy["payload"]["sent"]
    assert types(alice.take()) == ["new_message"]


async def test_a_repeated_key_is_kept_once_and_acked_with_the_first_seq(stage: Stage) -> None:
    (percy,) = await in_room(stage, "percy")
    for id_ in (1, 2):
        percy.say("send_message", {"message": "hi", "key": "k"}, id_)
        await stage.settle()
    events = percy.take()
    assert types(events) == ["ack", "new_message", "ack"]
    assert events[0]["payload"] == events[2]["payload"]


def returns_it(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> Posting:
        return hub.room("general").post(Waved(client.user), sender=client)

    return wave


def awaits_it(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> dict[str, int]:
        receipt = await hub.room("general").post(Waved(client.user), sender=client)
        return {"place": receipt.seq}

    return wave


def awaits_it_and_something_else(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> None:
        await hub.room("general").post(Waved(client.user), sender=client)
        await turns()

    return wave


def leaves_it_to_a_task(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> None:
        async def post() -> None:
            await hub.room("general").post(Waved(client.user), sender=client)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(post())
        await turns()

    return wave


def refuses_after_it(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> None:
        await hub.room("general").post(Waved(client.user), sender=client)
        raise Refused("forbidden", "on second thoughts")

    return wave


def fails_after_it(hub: Hub) -> Callable[[Wave, Client], Awaitable[object]]:
    async def wave(wave: Wave, client: Client) -> None:
        await hub.room("general").post(Waved(client.user), sender=client)
        raise ZeroDivisionError

    return wave


SHAPES = [
    returns_it,
    awaits_it,
    awaits_it_and_something_else,
    leaves_it_to_a_task,
    refuses_after_it,
    fails_after_it,
]


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_asynchronous_handlers_answer_precedes_the_senders_own_copy(shape: Callable[[Hub], Any]) -> None:
    hub = Hub()
    hub.on(shape(hub))
    async with at_work(hub) as stage:
        percy, alice = await in_room(stage, "percy", "alice")
        percy.say("wave", {}, "w1")
        answer, copy = await percy.hear()
        assert answer["id"] == "w1"
        assert (copy["type"], copy["payload"]["seq"]) == ("waved", 1)
        assert types(alice.take()) == ["waved"]
        talk(stage, 1)
        assert seqs(await percy.hear()) == [2]


# While the handler is at work


@pytest.mark.parametrize("said", [1, RECENT - 1, RECENT, 2 * RECENT + 50])
async def test_a_sender_hears_nothing_of_the_room_before_its_ack_and_everything_after_it(said: int) -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        percy, alice = await in_room(stage, "percy", "alice")
        talk(stage, 2)
        assert seqs(await percy.hear()) == [1, 2]
        percy.say("wave", {}, "w1")
        await turns()
        talk(stage, said)
        await turns()
        assert seqs(alice.take()) == list(range(1, said + 4))
        assert percy.take() == []
        app.go_on()
        ack, *rest = await percy.hear()
        assert (ack["type"], ack["id"]) == ("ack", "w1")
        talk(stage, 3)
        assert seqs(rest + await percy.hear()) == list(range(3, said + 7))


async def test_a_sender_hears_the_rooms_that_it_has_not_spoken_in(stage: Stage) -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        await percy.join("kitchen")
        percy.say("wave", {}, "w1")
        await turns()
        talk(stage, 1, room="kitchen")
        await turns()
        assert [event["payload"]["room"] for event in percy.take()] == ["kitchen"]
        app.go_on()
        assert types(await percy.hear()) == ["ack", "waved"]


@pytest.mark.parametrize(("trouble", "code"), [({"refuses": True}, "forbidden"), ({"fails": True}, "internal")])
async def test_an_error_after_posting_precedes_the_copy_too(trouble: dict[str, bool], code: str) -> None:
    app = Waver(**trouble)
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {}, "w1")
        await turns()
        talk(stage, 2)
        await turns()
        assert percy.take() == []
        app.go_on()
        error, *copies = await percy.hear()
        assert codes([error]) == [("w1", code)]
        assert seqs(copies) == [1, 2, 3]


async def test_several_rooms_are_all_heard_after_the_ack() -> None:
    app = Waver()
    rooms = ["general", "kitchen", "cellar"]
    async with at_work(app.hub) as stage:
        percy = await stage.client("percy")
        for room in rooms:
            await percy.join(room)
        percy.say("wave", {"rooms": [*rooms, "general"]}, "w1")
        await turns()
        for room in rooms:
            talk(stage, 3, room)
        await turns()
        assert percy.take() == []
        app.go_on()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        for room, count in (("general", 5), ("kitchen", 4), ("cellar", 4)):
            assert seqs(event for event in copies if event["payload"]["room"] == room) == list(range(1, count + 1))


async def test_who_asks_without_an_id_waits_for_no_answer_and_hears_its_copy_at_once() -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {})
        await turns()
        assert types(percy.take()) == ["waved"]
        app.go_on()
        assert await percy.hear() == []


async def test_one_that_reads_slowly_meanwhile_is_answered_and_told_all_once_it_has_read() -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {}, "w1")
        await turns()
        percy.read_slowly()
        talk(stage, 3)
        await turns()
        app.go_on()
        assert types(await percy.hear()) == ["ack"]
        talk(stage, 3)
        assert await percy.hear() == []
        percy.read_on()
        assert seqs(await percy.hear()) == list(range(1, 8))
        talk(stage, 1)
        assert seqs(await percy.hear()) == [8]


async def test_one_that_has_read_slowly_and_reads_on_meanwhile_waits_for_its_ack_all_the_same() -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {}, "w1")
        await turns()
        percy.read_slowly()
        talk(stage, 3)
        await turns()
        percy.read_on()
        await turns()
        assert percy.take() == []
        app.go_on()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        assert seqs(copies) == [1, 2, 3, 4]


async def test_one_that_is_being_fed_from_the_log_waits_for_its_ack_all_the_same() -> None:
    app = Waver()
    engine = GatedEngine()
    async with at_work(app.hub, engine=engine) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.read_slowly()
        talk(stage, 1)
        heard = seqs(await percy.hear())
        talk(stage, RECENT + 10)
        await stage.settle()
        engine.reads.close()
        percy.read_on()
        await engine.reads.reached()
        percy.say("wave", {}, "w1")
        await turns()
        engine.reads.open()
        await turns()
        app.go_on()
        events = await percy.hear()
        assert types(events).index("ack") < types(events).index("waved")
        talk(stage, 1)
        heard += seqs(events + await percy.hear())
        assert heard == list(range(1, RECENT + 14))


async def test_a_page_that_was_asked_for_before_a_call_does_not_bring_what_the_call_has_posted() -> None:
    app = Waver()
    engine = GatedEngine()
    async with at_work(app.hub, engine=engine) as stage:
        (percy,) = await in_room(stage, "percy")
        engine.unsubscribe("general")
        talk(stage, 5)
        await stage.settle()
        await engine.subscribe("general")
        engine.reads.close()
        stage.core.listener.hole("general", 1, 5)
        await engine.reads.reached()
        percy.say("wave", {}, "w1")
        await turns()
        engine.reads.open()
        await turns()
        assert percy.take() == []
        app.go_on()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        assert seqs(copies) == [1, 2, 3, 4, 5, 6]


async def test_one_that_goes_meanwhile_leaves_nothing_behind() -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {}, "w1")
        await turns()
        percy.hang_up()
        app.go_on()
        assert await percy.hear() == []
        assert stage.core.rooms.find("general") is None
        (percy,) = await in_room(stage, "percy")
        talk(stage, 1)
        assert seqs(await percy.hear()) == [2]


async def test_one_that_leaves_the_room_meanwhile_hears_no_more_of_it() -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        percy, alice = await in_room(stage, "percy", "alice")
        percy.say("wave", {}, "w1")
        await turns()
        stage.hub.leave(percy.client, "general")
        talk(stage, 1)
        app.go_on()
        assert types(await percy.hear()) == ["ack"]
        assert seqs(await alice.hear()) == [1, 2]


async def test_one_that_leaves_and_comes_back_meanwhile_waits_for_its_ack_all_the_same() -> None:
    hub = Hub()

    @hub.on
    async def wave(wave: Wave, client: Client) -> None:
        await hub.room("general").post(Waved(client.user), sender=client)
        hub.leave(client, "general")
        await hub.join(client, "general")
        await hub.room("general").post(Waved(client.user), sender=client)
        await turns()

    async with at_work(hub) as stage:
        (percy,) = await in_room(stage, "percy")
        percy.say("wave", {}, "w1")
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        assert seqs(copies) == [2]


# Rooms that are being entered


async def test_the_answer_to_a_join_precedes_what_a_hook_posts_into_the_room() -> None:
    hub = Hub()
    engine = GatedEngine()

    @hub.on_join
    def greet(room: str, client: Client) -> None:
        hub.room(room).post(Waved(client.user), sender=client)

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        engine.appends[0].close()
        percy.say("join_room", {"room": "general"}, "j")
        await turns()
        engine.appends[0].open()
        ack, *copies = [event for event in await percy.hear() if event["type"] != "member_joined"]
        assert (ack["type"], ack["id"]) == ("ack", "j")
        assert seqs(copies) == [1]


# Large rooms


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)


async def crowd(stage: Stage, count: int = 20) -> list[Guest]:
    guests = await in_room(stage, *(f"user {number}" for number in range(count)))
    talk(stage, 1)
    for guest in guests:
        await guest.hear()
    return guests


async def begun_flushing(stage: Stage) -> None:
    while not stage.core.rooms.is_flushing:
        await turns(1)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("place", [0, 10, 19])
async def test_while_a_large_room_is_written_to_in_slices_a_sender_gets_that_and_no_more(place: int) -> None:
    app = Waver()
    async with at_work(app.hub) as stage:
        guests = await crowd(stage)
        percy = guests[place]
        talk(stage, 1)
        await begun_flushing(stage)
        percy.say("wave", {}, "w1")
        await turns()
        talk(stage, 1)
        await turns()
        heard = seqs(percy.take())
        assert heard in ([], [2]), "it may have been its turn already"
        app.go_on()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        talk(stage, 1)
        assert heard + seqs(copies + await percy.hear()) == [2, 3, 4, 5]
        for guest in guests:
            assert guest is percy or seqs(guest.take()) == [2, 3, 4, 5]


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("place", [0, 10, 19])
async def test_a_call_that_ends_before_the_slices_do_costs_its_sender_nothing(place: int) -> None:
    app = Waver()
    app.go_on()
    async with at_work(app.hub) as stage:
        guests = await crowd(stage)
        percy = guests[place]
        talk(stage, 1)
        await begun_flushing(stage)
        percy.say("wave", {}, "w1")
        events = await percy.hear()
        assert types(events).index("ack") < types(events).index("waved")
        talk(stage, 1)
        assert seqs(events + await percy.hear()) == [2, 3, 4]


# Several lanes


async def test_a_plain_handler_that_posts_to_rooms_of_two_lanes_is_acked_before_either_copy() -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    @hub.on
    def wave(wave: Wave, client: Client) -> None:
        for room in ("left", "right"):
            hub.room(room).post(Waved(client.user), sender=client)

    async with at_work(hub, engine=engine) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        for guest in (percy, alice):
            await guest.join("left")
            await guest.join("right")
        percy.take()
        right = engine.appends[1]
        right.close()
        percy.say("wave", {}, "w1")
        await turns()
        talk(stage, 2, "left")
        await turns()
        assert seqs(alice.take()) == [1, 2, 3]
        assert percy.take() == []
        right.open()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        assert [(event["payload"]["room"], event["payload"]["seq"]) for event in copies] == [
            ("left", 1),
            ("left", 2),
            ("left", 3),
            ("right", 1),
        ]
        talk(stage, 1, "left")
        talk(stage, 1, "right")
        assert sorted(seqs(await percy.hear())) == [2, 4]


@pytest.mark.parametrize("room", ["left", "right"])
async def test_the_end_of_one_call_does_not_release_what_another_waits_for(room: str) -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    @hub.on
    def wave(wave: Wave, client: Client) -> None:
        for name in wave.rooms:
            hub.room(name).post(Waved(client.user), sender=client)

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("left")
        await percy.join("right")
        for gate in engine.appends:
            gate.close()
        percy.say("wave", {"rooms": ["left", "right"]}, "both")
        percy.say("wave", {"rooms": [room]}, "one")
        await turns()
        engine.appends[engine.lane(room)].open()
        await turns()
        assert [event["id"] for event in percy.take()] == ["one"]
        for gate in engine.appends:
            gate.open()
        ack, *copies = await percy.hear()
        assert ack["id"] == "both"
        assert len(copies) == 3


async def test_the_end_of_an_asynchronous_call_does_not_release_what_a_plain_one_waits_for() -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    @hub.on
    def wave(wave: Wave, client: Client) -> None:
        for name in wave.rooms:
            hub.room(name).post(Waved(client.user), sender=client)

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("left")
        await percy.join("right")
        right = engine.appends[1]
        right.close()
        percy.say("wave", {"rooms": ["left", "right"]}, "both")
        percy.say("presence", {"room": "left"}, "who")
        await turns()
        assert [event["id"] for event in percy.take()] == ["who"]
        right.open()
        ack, *copies = await percy.hear()
        assert ack["id"] == "both"
        assert len(copies) == 2


async def test_a_room_that_two_calls_wait_for_is_heard_when_both_are_answered() -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    @hub.on
    def wave(wave: Wave, client: Client) -> None:
        for name in wave.rooms:
            hub.room(name).post(Waved(client.user), sender=client)

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("left")
        await percy.join("right")
        right = engine.appends[1]
        right.close()
        for id_ in ("first", "second"):
            percy.say("wave", {"rooms": ["left", "right"]}, id_)
            await turns()
        right.open()
        right.close()
        await turns()
        assert [event["id"] for event in percy.take()] == ["first"]
        right.open()
        ack, *copies = await percy.hear()
        assert ack["id"] == "second"
        for room in ("left", "right"):
            assert seqs(event for event in copies if event["payload"]["room"] == room) == [1, 2]


async def test_an_asynchronous_handler_that_posts_to_rooms_of_two_lanes_is_acked_before_either_copy() -> None:
    app = Waver()
    engine = GatedEngine(lanes=2)
    async with at_work(app.hub, engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("left")
        await percy.join("right")
        right = engine.appends[1]
        right.close()
        percy.say("wave", {"rooms": ["left", "right"]}, "w1")
        app.go_on()
        await turns()
        assert percy.take() == []
        right.open()
        ack, *copies = await percy.hear()
        assert ack["type"] == "ack"
        assert sorted(event["payload"]["room"] for event in copies) == ["left", "right"]
