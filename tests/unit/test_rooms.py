"""Who is in which room: coming, going, falling behind, being fed, and what the engine tells of rooms."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from types import FrameType

import pytest

from gates import Gate, GatedEngine, turns
from heard import codes, seqs, texts, types
from hubbub import Client, Event, Hub, Refused
from hubbub import room as room_module
from hubbub.age import Age
from hubbub.chat import NewMessage
from hubbub.engine import Draft, Head, Page
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError
from hubbub.events import Message
from hubbub.recent import RECENT
from hubbub.testing import CLASSIC, V1, Clock, Guest, Stage, at_work
from walls import YEAR_S, Wall

pytestmark = pytest.mark.anyio


class Tally(Event, tag="tally"):
    count: int = 1


def talk(stage: Stage, count: int = 1, room: str = "general") -> None:
    for _ in range(count):
        stage.hub.room(room).post(NewMessage("hi"))


async def member(stage: Stage, user: str, room: str = "general") -> Guest:
    """A v1 client in a room, that has nothing left to hear."""
    guest = await stage.client(user)
    await guest.join(room)
    guest.take()
    return guest


# Delivering


async def test_a_message_reaches_everyone_in_the_room_its_sender_too(stage: Stage) -> None:
    percy, alice = await stage.client("percy", CLASSIC), await stage.client("alice", CLASSIC)
    percy.say("send_message", {"message": "hi", "from": "the pope"})
    for guest in (percy, alice):
        (event,) = await guest.hear()
        assert event["type"] == "new_message"
        assert event["payload"]["message"] == "hi"
        assert event["payload"]["from"] == "percy"


async def test_a_client_without_echo_does_not_hear_its_user(stage: Stage) -> None:
    percy, percys_other, alice = [await stage.client(user, CLASSIC, echo=False) for user in ("percy", "percy", "alice")]
    percy.say("send_message", {"message": "hi"})
    assert await percy.hear() == []
    assert percys_other.take() == []
    assert len(alice.take()) == 1


async def test_rooms_are_apart(stage: Stage) -> None:
    percy, alice = await stage.client("percy", CLASSIC), await stage.client("alice", CLASSIC)
    alice.say("change_room", {"name": "kitchen"})
    await stage.settle()
    percy.say("send_message", {"message": "in general"})
    alice.say("send_message", {"message": "in the kitchen"})
    assert texts(await percy.hear()) == ["in general"]
    assert texts(await alice.hear()) == ["in the kitchen"]


async def test_classic_and_v1_share_a_room_and_each_hears_its_dialect(stage: Stage) -> None:
    percy, alice = await member(stage, "percy"), await stage.client("alice", CLASSIC)
    percy.take()
    percy.say("send_message", {"message": "hi"})
    await stage.settle()
    stage.hub.room("general").post(Tally())
    assert [set(event["payload"]) for event in await percy.hear() if event["type"] != "member_joined"] == [
        {"room", "seq", "from", "sent", "message"},
        {"room", "seq", "sent", "count"},
    ]
    assert [set(event["payload"]) for event in alice.take()] == [{"from", "sent", "message"}]


async def test_a_cast_reaches_v1_members_and_is_not_kept(stage: Stage) -> None:
    alice, percy = await stage.client("alice", CLASSIC), await member(stage, "percy")
    stage.hub.room("general").cast(Tally())
    assert types(percy.take()) == ["tally"]
    assert alice.take() == []
    assert (await stage.engine.head("general")).seq == 0


async def test_a_broken_connection_in_the_room_is_nobody_elses_trouble(stage: Stage) -> None:
    percy, alice, bob = [await stage.client(user, CLASSIC) for user in ("percy", "alice", "bob")]
    percy.is_broken = True
    alice.say("send_message", {"message": "hi"})
    assert len(await alice.hear()) == len(await bob.hear()) == 1


async def test_a_flush_that_fails_in_one_room_does_not_keep_it_from_another(stage: Stage) -> None:
    percy, alice = await member(stage, "percy", "kitchen"), await member(stage, "alice", "cellar")
    broken = Message("kitchen", 1, 0, None, "new_message", "no bytes")  # type: ignore[arg-type]  # on purpose
    stage.core.listener.deliver("kitchen", [broken])
    talk(stage, room="cellar")
    assert types(await alice.hear()) == ["new_message"]
    assert percy.take() == []


# Coming and going


async def test_empty_rooms_are_dropped(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    percy.say("change_room", {"name": "kitchen"})
    await stage.settle()
    find = stage.core.rooms.find
    assert find("general") is None
    assert find("kitchen") is not None
    percy.hang_up()
    assert find("kitchen") is None
    assert not stage.core.clients


async def test_who_has_gone_is_not_remembered() -> None:
    hub = Hub()

    @hub.on
    async def post(tally: Tally, client: Client) -> None:
        await hub.room("general").post(tally)

    async with at_work(hub) as stage:
        percy = await member(stage, "percy")
        percy.read_slowly()
        talk(stage, 3)
        percy.say("tally", {}, 1)
        await stage.settle()
        percy.hang_up()
        remembered = weakref.ref(percy.client)
        del percy
        gc.collect()
        assert remembered() is None


async def test_a_plain_join_brings_what_is_said_from_now_on(stage: Stage) -> None:
    talk(stage, 3)
    await stage.settle()
    percy = await stage.client("percy")
    assert (await stage.hub.join(percy.client, "general")).name == "general"
    assert await percy.hear() == []
    talk(stage)
    assert seqs(await percy.hear()) == [4]


async def test_a_plain_join_reads_the_log_only_for_one_that_can_be_fed_from_it() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        for number in range(3):
            await stage.client(f"user {number}", CLASSIC)
        assert engine.reads.passed == 0
        for number in range(3):
            guest = await stage.client(f"reader {number}")
            await stage.hub.join(guest.client, "general")
        assert engine.reads.passed == 1


async def test_many_that_join_at_once_cost_one_read_of_the_log() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        talk(stage, 300)
        await stage.settle()
        guests = [await stage.client(f"user {number}") for number in range(50)]
        for guest in guests:
            guest.say("join_room", {"room": "general"}, "j")
        await stage.settle()
        for guest in guests:
            (ack,) = [event for event in guest.take() if event["type"] == "ack"]
            assert len(ack["payload"]["messages"]) == 50
        assert engine.reads.passed == 1


@pytest.mark.parametrize("what", ["subscribes", "reads"])
async def test_a_client_that_goes_during_its_join_is_not_in_the_room(what: str) -> None:
    engine = GatedEngine()
    gate: Gate = getattr(engine, what)
    async with at_work(engine=engine) as stage:
        gate.close()
        percy = await stage.client("percy")
        percy.say("join_room", {"room": "general"}, "j")
        await gate.reached()
        percy.hang_up()
        gate.open()
        assert await percy.hear() == []
        assert stage.core.rooms.find("general") is None
        assert (await engine.members("general", 10)).count == 0
        alice = await member(stage, "alice")
        assert stage.hub.room("general").users == ["alice"]
        assert alice.take() == []


async def test_a_client_that_goes_while_a_hook_thinks_about_its_join_is_not_in_the_room() -> None:
    hub = Hub()
    gate = Gate(is_open=False)

    @hub.on_join
    async def think(room: str, client: Client) -> None:
        await gate.enter()

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        percy.say("join_room", {"room": "general"}, "j")
        await gate.reached()
        percy.hang_up()
        gate.open()
        assert await percy.hear() == []
        assert stage.core.rooms.find("general") is None


async def test_a_classic_client_that_goes_while_it_is_let_in_is_in_no_room() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        engine.subscribes.close()
        coming = asyncio.create_task(stage.client("percy", CLASSIC))
        await engine.subscribes.reached()
        (participant,) = stage.core.clients
        stage.core.disconnect(participant)
        engine.subscribes.open()
        await coming
        assert stage.core.rooms.find("general") is None
        assert not stage.core.clients


@pytest.mark.parametrize("what", ["subscribe", "read"])
async def test_a_room_that_cannot_be_opened_is_tried_again_by_the_next_one(what: str) -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        talk(stage, 3)
        percy = await stage.client("percy")
        engine.failing[what] = EngineError("no answer")
        with pytest.raises(Refused, match="no answer"):
            await percy.join("general")
        assert stage.core.rooms.find("general") is None
        assert list(percy.client.rooms) == []
        joined = await percy.join("general")
        assert (joined["seq"], len(joined["messages"])) == (3, 3)
        talk(stage)
        assert seqs(await percy.hear()) == [4]


@pytest.mark.parametrize("what", ["subscribe", "read"])
async def test_of_two_that_join_while_the_engine_fails_neither_enters_a_room_that_is_not_open(what: str) -> None:
    engine = GatedEngine()
    gate: Gate = getattr(engine, f"{what}s")
    async with at_work(engine=engine) as stage:
        talk(stage, 3)
        await stage.settle()
        percy, alice = await stage.client("percy"), await stage.client("alice")
        gate.close()
        engine.failing[what] = EngineError("no answer")
        percy.say("join_room", {"room": "general"}, "j")
        await gate.reached()
        gate.open()
        alice.say("join_room", {"room": "general"}, "j")  # comes in the very turn in which it fails
        assert codes(await percy.hear()) == [("j", "unavailable")]
        (answer,) = alice.take()
        assert answer["type"] == "error" or (answer["payload"]["seq"], len(answer["payload"]["messages"])) == (3, 3)


async def test_joining_and_leaving_in_any_spelling_is_joining_and_leaving_one_room(stage: Stage) -> None:
    percy = await stage.client("percy")
    room = await stage.hub.join(percy.client, "cafe\N{COMBINING ACUTE ACCENT}")
    assert room.name == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert stage.hub.room("cafe\N{COMBINING ACUTE ACCENT}") == room
    stage.hub.leave(percy.client, "cafe\N{COMBINING ACUTE ACCENT}")
    assert list(percy.client.rooms) == []


# Slow clients


async def test_a_classic_client_over_its_outbox_is_closed_and_hears_no_more() -> None:
    async with at_work(max_outbox=1000) as stage:
        percy, alice = await stage.client("percy", CLASSIC), await stage.client("alice", CLASSIC)
        percy.read_slowly()
        percy.outbox_size = 1000
        alice.say("send_message", {"message": "not over yet"})
        await stage.settle()
        assert percy.closed is None
        percy.outbox_size = 1001
        alice.say("send_message", {"message": "over"})
        await stage.settle()
        assert percy.close_code == 4001
        percy.take()
        alice.say("send_message", {"message": "without him"})
        assert await percy.hear() == []
        assert len(alice.take()) == 3


async def test_without_a_limit_nobody_falls_behind() -> None:
    async with at_work(max_outbox=0) as stage:
        percy = await member(stage, "percy")
        percy.read_slowly()
        percy.outbox_size = 1 << 30
        talk(stage, 3)
        await stage.settle()
        talk(stage, 3)
        assert seqs(await percy.hear()) == [1, 2, 3, 4, 5, 6]


async def test_events_that_are_not_kept_do_not_pile_up_for_one_that_does_not_read(stage: Stage) -> None:
    percy, alice = await member(stage, "percy"), await member(stage, "alice")
    percy.take()
    percy.read_slowly()
    for _ in range(100):
        stage.hub.room("general").cast(Tally())
    assert len(alice.take()) == 100
    assert len(percy.take()) == 1


async def test_what_is_said_in_a_room_costs_nothing_for_slow_clients_elsewhere_or_behind() -> None:
    async def calls(slow: int) -> int:
        async with at_work() as stage:
            percy = await member(stage, "percy")
            for number in range(slow):
                behind = await member(stage, f"behind {number}")
                elsewhere = await member(stage, f"elsewhere {number}", "kitchen")
                behind.read_slowly()
                elsewhere.read_slowly()
            talk(stage)
            await percy.hear()
            message = Message("general", 2, 0, None, "new_message", b'{"message":"hi"}')
            count = 0

            def note(_frame: FrameType, event: str, _arg: object) -> None:
                nonlocal count
                count += event in ("call", "c_call")

            sys.setprofile(note)
            stage.core.listener.deliver("general", [message])
            stage.core.listener.flush()
            sys.setprofile(None)
            assert seqs(percy.take()) == [2]
            return count

    await calls(1)  # fills caches
    assert await calls(2) == await calls(40)


async def test_one_that_is_behind_in_many_rooms_is_fed_a_page_at_a_time() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine, max_rooms=40) as stage:
        rooms = [f"room {number}" for number in range(stage.settings.max_rooms)]
        percy = await stage.client("percy")
        for room in rooms:
            await percy.join(room)
        percy.read_slowly()
        talk(stage, room=rooms[0])  # it is still written, and sets it behind, in all rooms
        await stage.settle()
        for room in rooms:
            await engine.append([Draft(room, "new_message", b'{"message":"hi"}') for _ in range(RECENT + 10)])
        stage.core.listener.flush()
        heard = percy.take()
        assert len(heard) == 1
        engine.reads.close()
        percy.read_on()
        for _ in range(10):
            await turns()
            assert engine.reads.waiting == 1
            engine.reads.open()
            engine.reads.close()
        engine.reads.open()
        heard += await percy.hear()
        for room in rooms:
            last = RECENT + 10 + (room == rooms[0])
            assert seqs(event for event in heard if event["payload"]["room"] == room) == list(range(1, last + 1))


@pytest.mark.parametrize("error", [EngineError("no answer"), ZeroDivisionError()])
async def test_one_that_cannot_be_fed_has_to_come_back(error: Exception) -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        percy = await member(stage, "percy")
        percy.read_slowly()
        for count in (1, RECENT + 10):
            talk(stage, count)
            await stage.settle()
        engine.failing["read"] = error
        percy.read_on()
        await stage.settle()
        assert percy.close_code == 4001


async def test_one_that_goes_while_it_is_fed_leaves_nothing_behind() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        percy = await member(stage, "percy")
        percy.read_slowly()
        for count in (1, RECENT + 10):
            talk(stage, count)
            await stage.settle()
        percy.take()
        engine.reads.close()
        percy.read_on()
        await engine.reads.reached()
        percy.hang_up()
        engine.reads.open()
        assert await percy.hear() == []
        assert stage.core.rooms.find("general") is None


async def test_one_that_leaves_and_comes_back_while_it_is_fed_hears_nothing_twice() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        percy, _ = await member(stage, "percy"), await member(stage, "alice")
        percy.read_slowly()
        for count in (1, RECENT + 10):
            talk(stage, count)
            await stage.settle()
        percy.take()
        engine.reads.close()
        percy.read_on()
        await engine.reads.reached()
        stage.hub.leave(percy.client, "general")
        await stage.hub.join(percy.client, "general")
        engine.reads.open()
        await stage.settle()
        talk(stage)
        assert seqs(await percy.hear()) == [RECENT + 12]


# Large rooms


@pytest.mark.parametrize("missed", [0, 3, RECENT + 10])
async def test_who_falls_behind_while_a_large_room_is_written_to_misses_and_repeats_nothing(
    missed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    async with at_work() as stage:
        guests = [await member(stage, f"user {number}") for number in range(10)]
        for _ in range(2):
            talk(stage)
            while not stage.core.rooms.is_flushing:
                await turns(1)
        for guest in guests:  # some have been written to already, some have not
            guest.read_slowly()
        stage.core.listener.heard("general", "tally", b"{}")  # where it is noticed
        await stage.settle()
        for _ in range(missed):
            talk(stage)
        await stage.settle()
        heard = {guest: seqs(guest.take()) for guest in guests}
        for guest in guests:
            guest.read_on()
        await stage.settle()
        talk(stage)
        await stage.settle()
        for guest in guests:
            assert heard[guest] + seqs(guest.take()) == list(range(1, missed + 4))


@pytest.mark.parametrize("drains", ["at once", "after the flush"])
async def test_who_is_slow_for_a_moment_while_a_large_room_is_written_to_goes_on_hearing_it(
    drains: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    async with at_work() as stage:
        guests = [await member(stage, f"user {number}") for number in range(10)]
        for guest in guests:
            guest.take()
        for _ in range(2):
            talk(stage)
            while not stage.core.rooms.is_flushing:
                await turns(1)
        for guest in guests:
            guest.read_slowly()
        stage.core.listener.heard("general", "tally", b"{}")  # where it is noticed
        talk(stage)
        if drains == "after the flush":
            await stage.settle()
        for guest in guests:
            guest.read_on()
        await stage.settle()
        talk(stage)
        for guest in guests:
            events = await guest.hear()
            assert seqs(events) == [1, 2, 3, 4]


# Holes


class Forgetful(MemoryEngine):
    """A log that other nodes write to, and that may have lost what they wrote before it could be delivered."""

    def __init__(self, keep: int = 0) -> None:
        clock = Clock()
        super().__init__(clock=clock, wall=clock, keep=keep)

    async def lose(self, room: str, count: int) -> None:
        """Append what nobody is told of, but that it is lost."""
        first = (await self.head(room)).seq + 1
        self.unsubscribe(room)
        await self.append([Draft(room, "new_message", b'{"message":"lost"}') for _ in range(count)])
        await self.append([Draft(room, "new_message", b'{"message":"kept"}') for _ in range(self._keep)])
        await self.subscribe(room)
        head = (await self.head(room)).seq
        self._listener.hole(room, first, head - self._keep)
        page = await self.read(room, limit=self._keep)
        self._listener.deliver(room, page.messages)
        self._listener.flush()


def heard_and_lost(events: list[dict[str, object]]) -> list[object]:
    """The seqs heard, and in their place the first and the last of what was lost."""
    found: list[object] = []
    for event in events:
        payload = event["payload"]
        assert isinstance(payload, dict)
        if event["type"] == "gap":
            found.append((payload["from"], payload["to"]))
        elif event["type"] == "new_message":
            found.append(payload["seq"])
    return found


async def test_members_are_told_of_a_hole_in_its_place() -> None:
    engine = Forgetful(keep=2)
    async with at_work(engine=engine) as stage:
        percy, classic = await member(stage, "percy"), await stage.client("alice", CLASSIC)
        talk(stage, 3)
        await stage.settle()
        late = await member(stage, "late")
        await engine.lose("general", 5)
        await stage.settle()
        talk(stage)
        await stage.settle()
        assert heard_and_lost(percy.take()) == [1, 2, 3, (4, 8), 9, 10, 11]
        assert heard_and_lost(late.take()) == [(4, 8), 9, 10, 11]
        assert texts(classic.take()) == ["hi", "hi", "hi", "kept", "kept", "hi"]


async def test_a_hole_is_told_though_nothing_follows_it() -> None:
    clock = Clock()
    engine = MemoryEngine(clock=clock, wall=clock, keep_s=10)
    async with at_work(engine=engine, clock=clock) as stage:
        percy = await member(stage, "percy")
        talk(stage, 3)
        await stage.settle()
        engine.unsubscribe("general")
        talk(stage, 5)
        await stage.settle()
        await engine.subscribe("general")
        clock.go(100)  # now the log has forgotten them
        stage.core.listener.hole("general", 4, 8)
        assert heard_and_lost(await percy.hear()) == [1, 2, 3, (4, 8)]
        alice = await stage.client("alice")
        joined = await alice.join("general")
        assert (joined["seq"], joined["messages"]) == (8, [])
        talk(stage)
        assert seqs(await alice.hear()) == seqs(await percy.hear()) == [9]


async def test_what_was_not_flushed_before_a_hole_is_heard_before_it() -> None:
    engine = Forgetful(keep=2)
    async with at_work(engine=engine) as stage:
        percy = await member(stage, "percy")
        await engine.append([Draft("general", "new_message", b'{"message":"hi"}')])
        await engine.lose("general", 5)
        await stage.settle()
        assert heard_and_lost(percy.take()) == [1, (2, 6), 7, 8]


async def test_one_that_is_behind_is_told_of_a_hole_when_it_reads() -> None:
    engine = Forgetful(keep=2)
    async with at_work(engine=engine) as stage:
        percy = await member(stage, "percy")
        percy.read_slowly()
        talk(stage)
        await stage.settle()
        await engine.lose("general", 5)
        assert heard_and_lost(await percy.hear()) == [1]
        percy.read_on()
        assert heard_and_lost(await percy.hear()) == [(2, 6), 7, 8]


@pytest.mark.parametrize("is_said_before", [False, True])
async def test_a_hole_is_told_to_those_of_a_large_room_that_is_being_written_to(
    is_said_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    engine = Forgetful(keep=2)
    async with at_work(engine=engine) as stage:
        guests = [await member(stage, f"user {number}") for number in range(10)]
        talk(stage)
        while not stage.core.rooms.is_flushing:
            await turns(1)
        if is_said_before:
            await engine.append([Draft("general", "new_message", b'{"message":"hi"}')])
        await engine.lose("general", 5)
        await stage.settle()
        talk(stage)
        await stage.settle()
        for guest in guests:
            expected = [1, 2, (3, 7), 8, 9, 10] if is_said_before else [1, (2, 6), 7, 8, 9]
            assert heard_and_lost(guest.take()) == expected


async def test_who_joins_after_a_hole_gets_what_there_is() -> None:
    engine = Forgetful(keep=2)
    async with at_work(engine=engine) as stage:
        percy = await member(stage, "percy")
        talk(stage, 3)
        await stage.settle()
        await engine.lose("general", 5)
        await stage.settle()
        alice = await stage.client("alice")
        joined = await alice.join("general")
        assert [message["seq"] for message in joined["messages"]] == [9, 10]
        talk(stage)
        assert seqs(await alice.hear()) == seqs(await percy.hear())[-1:] == [11]


async def test_holes_rewinds_and_users_of_rooms_that_nobody_is_in_are_ignored(stage: Stage) -> None:
    listener = stage.core.listener
    listener.hole("nowhere", 1, 5)
    listener.rewound("nowhere", Head("other", 5))
    listener.heard("nowhere", "tally", b"{}")
    listener.came("nowhere", "percy")
    listener.went("nowhere", "percy")
    listener.deliver("nowhere", [Message("nowhere", 1, 0, None, "tally", b"{}")])
    listener.flush()
    assert stage.core.rooms.find("nowhere") is None


# Rewinds


@pytest.mark.parametrize("standing", ["present", "newcomer", "behind"])
async def test_members_that_have_heard_what_the_log_has_lost_have_to_come_back(standing: str) -> None:
    async with at_work() as stage:
        percy, classic = await member(stage, "percy"), await stage.client("alice", CLASSIC)
        if standing == "behind":
            percy.read_slowly()
        talk(stage, 3)
        await stage.settle()
        if standing == "newcomer":
            percy.hang_up()
            percy = await member(stage, "percy")
        stage.core.listener.rewound("general", Head("new", 2))
        assert percy.close_code == 4001
        assert list(percy.client.rooms) == []
        assert classic.close_code is None
        percy.take()
        again = Message("general", 3, 0, "bob", "new_message", b'{"message":"another"}')
        stage.core.listener.deliver("general", [again])
        stage.core.listener.flush()
        assert percy.take() == []
        assert texts(classic.take()) == ["hi", "hi", "hi", "another"]


async def test_what_the_log_has_lost_is_neither_flushed_nor_told_to_who_joins() -> None:
    async with at_work() as stage:
        classic = await stage.client("alice", CLASSIC)
        await member(stage, "percy")
        said = [Message("general", seq, 0, "bob", "new_message", b'{"message":"%d"}' % seq) for seq in (1, 2, 3)]
        stage.core.listener.deliver("general", said)
        stage.core.listener.rewound("general", Head("new", 2))
        stage.core.listener.flush()
        assert texts(classic.take()) == ["1", "2"]
        bob = await stage.client("bob")
        joined = await bob.join("general")
        assert (joined["epoch"], joined["seq"]) == ("new", 2)
        assert [message["message"] for message in joined["messages"]] == ["1", "2"]


async def test_members_that_have_heard_nothing_of_what_is_lost_are_told_the_new_epoch() -> None:
    async with at_work() as stage:
        percy, newcomer, classic = [
            await stage.client(user, dialect) for user, dialect in (("percy", V1), ("bob", V1), ("alice", CLASSIC))
        ]
        await percy.join("general")
        talk(stage, 2)
        await stage.settle()
        await newcomer.join("general")
        percy.take()
        classic.take()
        stage.core.listener.rewound("general", Head("new", 2))
        for guest in (percy, newcomer):
            assert guest.take() == [{"type": "epoch", "payload": {"room": "general", "epoch": "new", "seq": 2}}]
        assert classic.take() == []
        talk(stage)
        assert seqs(await percy.hear()) == seqs(newcomer.take()) == [3]
        (await stage.client("carol")).say("join_room", {"room": "general"}, "j")
        carol = await stage.client("dave")
        assert (await carol.join("general"))["epoch"] == "new"


async def test_what_was_not_flushed_before_a_new_epoch_is_heard_before_it() -> None:
    async with at_work() as stage:
        percy = await member(stage, "percy")
        said = Message("general", 1, 0, "bob", "new_message", b'{"message":"1"}')
        stage.core.listener.deliver("general", [said])
        stage.core.listener.rewound("general", Head("new", 1))
        assert types(percy.take()) == ["new_message", "epoch"]


async def test_in_a_large_room_that_is_being_written_to_a_rewind_loses_nothing_that_is_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    async with at_work() as stage:
        guests = [await member(stage, f"user {number}") for number in range(10)]
        for guest in guests:
            guest.take()
        talk(stage)
        while not stage.core.rooms.is_flushing:
            await turns(1)
        talk(stage)
        await turns(2)
        assert stage.core.rooms.is_flushing
        stage.core.listener.rewound("general", Head("new", 2))
        await stage.settle()
        talk(stage)
        for guest in guests:
            events = await guest.hear()
            assert seqs(event for event in events if event["type"] != "epoch") == [1, 2, 3]
            assert types(events).count("epoch") == 1


async def test_in_a_large_room_that_is_being_written_to_a_rewind_takes_back_what_is_not_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    async with at_work() as stage:
        classics = [await stage.client(f"user {number}", CLASSIC) for number in range(10)]
        percy = await member(stage, "percy")
        talk(stage)
        while not stage.core.rooms.is_flushing:
            await turns(1)
        untrue = Message("general", 2, 0, "bob", "new_message", b'{"message":"untrue"}')
        stage.core.listener.deliver("general", [untrue])
        stage.core.listener.rewound("general", Head("new", 1))
        await stage.settle()
        assert percy.close_code == 4001
        talk(stage)
        await stage.settle()
        for classic in classics:
            assert texts(classic.take()) == ["hi", "hi"]


class Rewinding(MemoryEngine):
    """A log whose epoch changes, and whose readers are held up on their way back."""

    def __init__(self) -> None:
        clock = Clock()
        super().__init__(clock=clock, wall=clock)
        self.reads = Gate()

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        page = await super().read(room, after=after, before=before, limit=limit)
        await self.reads.enter()
        return page

    async def begin_epoch(self, room: str, epoch: str) -> None:
        self._epoch = epoch
        self._listener.rewound(room, await self.head(room))


async def test_a_room_that_is_read_while_its_epoch_changes_is_known_by_the_new_one() -> None:
    engine = Rewinding()
    async with at_work(engine=engine) as stage:
        talk(stage, 3)
        await stage.settle()
        percy = await stage.client("percy")
        engine.reads.close()
        percy.say("join_room", {"room": "general"}, "j")
        await engine.reads.reached()
        await engine.begin_epoch("general", "new")
        engine.reads.open()
        (ack,) = await percy.hear()
        assert (ack["payload"]["epoch"], ack["payload"]["seq"]) == ("new", 3)
        talk(stage)
        assert seqs(await percy.hear()) == [4]


# Time


async def test_what_is_at_hand_is_kept_no_longer_than_the_log_keeps_it() -> None:
    clock = Clock()
    engine = MemoryEngine(clock=clock, wall=clock, keep_s=60)
    async with at_work(engine=engine, clock=clock, keep_seconds=60) as stage:
        await member(stage, "percy")
        talk(stage, 3)
        await stage.settle()
        await stage.pass_time(40)
        talk(stage, 2)
        await stage.settle()
        await stage.pass_time(30)
        alice = await stage.client("alice")
        joined = await alice.join("general")
        assert [message["seq"] for message in joined["messages"]] == [4, 5]
        bob = await stage.client("bob")
        joined = await bob.join("general", since={"epoch": joined["epoch"], "seq": 1})
        assert joined["recovered"] is False
        await stage.pass_time(60)
        carol = await stage.client("carol")
        joined = await carol.join("general")
        assert (joined["seq"], joined["messages"]) == (5, [])


async def test_a_glitch_of_the_wall_clock_takes_nothing_that_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    wall = Wall(clock)
    engine = MemoryEngine(clock=clock, wall=wall)
    async with at_work(engine=engine, clock=clock, keep_seconds=60) as stage:
        monkeypatch.setattr(stage.core.rooms, "_age", Age(60, clock=clock, wall=wall))
        await member(stage, "percy")
        talk(stage, 3)
        await stage.settle()
        await stage.pass_time(50)
        await stage.pass_time(50)
        talk(stage, 2)
        await stage.settle()
        wall.jump(YEAR_S)
        await stage.pass_time(1)
        wall.jump(-YEAR_S)
        await stage.pass_time(1)
        at_hand = stage.core.rooms.find("general")
        assert at_hand is not None
        assert [message.seq for message in at_hand.recent.after(0)] == [4, 5]


async def test_without_retention_by_time_what_is_at_hand_stays(stage: Stage) -> None:
    await member(stage, "percy")
    talk(stage, 3)
    await stage.settle()
    await stage.pass_time(1e9)
    alice = await stage.client("alice")
    assert len((await alice.join("general"))["messages"]) == 3
