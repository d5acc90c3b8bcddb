"""Joining and leaving, given up half-way: what the client takes a room for is what the server has done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.errors import ErrorCode, Rejected
from hubbub.sdk.client import Connection
from hubbub.sdk.conversation import Conversation
from hubbub.sdk.messages import Message
from hubbub.sdk.outbox import Entry, Kind, Outbox, Reply
from hubbub.sdk.reading import Frame
from hubbub.sdk.rooms import Membership, Shown
from sdk_stage import SENT, FakeServer, NoLine, client, refusal, run

ROOM = "general"

# An ack that every request of the model can have.
ANSWER = {"room": ROOM, "epoch": "one", "seq": 0, "members": [], "messages": []}


async def settle() -> None:
    """Let everything happen that can happen at once."""
    for _ in range(200):
        await asyncio.sleep(0)


async def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Begin something, and come back when it waits for the server."""
    task = asyncio.create_task(work)
    await settle()
    return task


async def give_up(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def come_back(server: FakeServer) -> None:
    """Lose the connection, and get another."""
    server.drop()
    await asyncio.sleep(1)
    await settle()


def assert_agreed(chat: Connection, server: FakeServer, *rooms: str) -> None:
    """Both sides take the client to be in these rooms."""
    assert sorted(chat.rooms) == sorted(rooms)
    assert sorted(server.connections[0].rooms) == sorted(rooms)


def test_a_leave_that_is_given_up_takes_effect_when_it_is_answered() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.is_holding = True
            await give_up(await begin(chat.leave(ROOM)))
            server.release()
            await settle()
            assert_agreed(chat, server)
            await chat.join(ROOM)
            assert_agreed(chat, server, ROOM)

    run(story())


def counts(server: FakeServer) -> tuple[int, int]:
    """How many joins, and how many leaves, the server was asked for."""
    return len(server.asked("join_room")), len(server.asked("leave_room"))


# Before it is written


@pytest.mark.parametrize("is_online", [True, False])
def test_a_leave_that_is_given_up_before_it_is_written_is_not_written(is_online: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        server.limits = {"client_rate": 1.0, "client_burst": 1.0}  # the next request waits for a second
        async with client(server) as chat:
            await chat.join(ROOM)
            if not is_online:
                server.drop()
                await settle()
            await give_up(await begin(chat.leave(ROOM)))
            await asyncio.sleep(5)
            assert counts(server) == (1 if is_online else 2, 0)
            assert_agreed(chat, server, ROOM)

    run(story())


@pytest.mark.parametrize("is_online", [True, False])
def test_a_join_that_is_given_up_before_it_is_written_is_not_written(is_online: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        server.limits = {"client_rate": 1.0, "client_burst": 1.0}
        async with client(server) as chat:
            await chat.request("first")
            if not is_online:
                server.drop()
                await settle()
            await give_up(await begin(chat.join(ROOM)))
            await asyncio.sleep(5)
            assert counts(server) == (0, 0)
            assert_agreed(chat, server)

    run(story())


# Between writing and the answer


def test_a_join_that_is_given_up_takes_effect_when_it_is_answered() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            server.is_holding = True
            await give_up(await begin(chat.join(ROOM)))
            server.release()
            await settle()
            assert_agreed(chat, server, ROOM)
            server.say(ROOM, "heard")
            assert (await anext(chat)).text == "heard"
            await come_back(server)
            assert_agreed(chat, server, ROOM)
            await chat.leave(ROOM)
            assert_agreed(chat, server)

    run(story())


@pytest.mark.parametrize(
    ("code", "is_in"), [("not_in_room", False), ("forbidden", True), ("rate_limited", True), ("unavailable", True)]
)
def test_a_leave_that_is_given_up_and_refused_is_not_asked_again(code: str, is_in: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.refusals["leave_room"] = [refusal(code)]
            if not is_in:
                server.connections[0].rooms.discard(ROOM)
            server.is_holding = True
            await give_up(await begin(chat.leave(ROOM)))
            server.release()
            await asyncio.sleep(60)
            assert_agreed(chat, server, *([ROOM] if is_in else []))
            assert counts(server) == (1, 1)

    run(story())


@pytest.mark.parametrize("code", ["forbidden", "rate_limited", "unavailable"])
def test_a_join_that_is_given_up_and_refused_is_not_asked_again(code: str) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            server.refusals["join_room"] = [refusal(code)]
            server.is_holding = True
            await give_up(await begin(chat.join(ROOM)))
            server.release()
            await asyncio.sleep(60)
            assert_agreed(chat, server)
            assert counts(server) == (1, 0)
            assert chat._conversation.rooms == {}

    run(story())


@pytest.mark.parametrize("code", ["rate_limited", "unavailable"])
def test_a_leave_that_is_given_up_after_it_was_refused_for_now_is_not_done(code: str) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.refusals["leave_room"] = [refusal(code, 5)]
            await give_up(await begin(chat.leave(ROOM)))
            await asyncio.sleep(60)
            assert_agreed(chat, server, ROOM)
            assert counts(server) == (1, 1)

    run(story())


# When the connection goes


@pytest.mark.parametrize("is_given_up_first", [True, False])
def test_a_room_that_the_server_was_told_to_leave_does_not_come_back(is_given_up_first: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.is_holding = True
            leaving = await begin(chat.leave(ROOM))
            if is_given_up_first:
                await give_up(leaving)
            server.drop()
            await settle()
            if not is_given_up_first:
                await give_up(leaving)
            await asyncio.sleep(5)
            assert_agreed(chat, server)
            assert counts(server) == (1, 1)
            await chat.join(ROOM)
            assert_agreed(chat, server, ROOM)

    run(story())


@pytest.mark.parametrize("is_given_up_first", [True, False])
def test_a_join_that_nobody_waits_for_is_gone_with_its_connection(is_given_up_first: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            server.is_holding = True
            joining = await begin(chat.join(ROOM))
            if is_given_up_first:
                await give_up(joining)
            server.drop()
            await settle()
            if not is_given_up_first:
                await give_up(joining)
            await asyncio.sleep(5)
            assert_agreed(chat, server)
            assert counts(server) == (1, 0)
            assert chat._conversation.rooms == {}

    run(story())


@pytest.mark.parametrize("is_written", [True, False])
def test_a_leave_is_done_when_the_next_connection_does_not_ask_for_the_room(is_written: bool) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.is_holding = True
            leaving = await begin(chat.leave(ROOM)) if is_written else None
            server.drop()
            await settle()
            await (leaving or chat.leave(ROOM))
            assert_agreed(chat, server)
            assert counts(server) == (1, int(is_written))

    run(story())


def test_what_was_said_before_a_leave_is_still_settled_when_the_leave_is_given_up() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.is_holding = True
            sending = await begin(chat.send(ROOM, "goodbye"))
            await give_up(await begin(chat.leave(ROOM)))
            server.drop()
            assert (await sending).seq == 1
            await settle()
            assert_agreed(chat, server)
            assert [each["message"] for each in server.log[ROOM]] == ["goodbye"]

    run(story())


# Joining meanwhile


def test_a_join_while_a_leave_is_under_way_comes_after_it() -> None:
    async def story() -> None:
        server = FakeServer()
        for is_lost in (False, True):
            async with client(server) as chat:
                await chat.join(ROOM)
                server.is_holding = True
                leaving = await begin(chat.leave(ROOM))
                joining = await begin(chat.join(ROOM))
                server.say(ROOM, "before the answer")
                if is_lost:
                    server.drop()
                else:
                    server.release()
                await asyncio.gather(leaving, joining)
                assert_agreed(chat, server, ROOM)
                assert server.asked("presence") == []
                said = server.say(ROOM, "after it")
                while (await anext(chat)).seq < said["seq"]:
                    pass

    run(story())


def test_one_of_two_joins_that_is_given_up_takes_nothing_from_the_other() -> None:
    async def story() -> None:
        for given_up in (0, 1):
            server = FakeServer()
            async with client(server) as chat:
                server.doors.append(OSError("nobody"))
                server.drop()
                await settle()
                joining = [await begin(chat.join(ROOM)), await begin(chat.join(ROOM))]
                await give_up(joining[given_up])
                assert ROOM in chat._conversation.rooms, "what comes before the answer is held there"
                await joining[1 - given_up]
                assert_agreed(chat, server, ROOM)
                assert counts(server) == (1, 0)

    run(story())


def test_a_room_that_the_server_has_put_the_client_out_of_is_joined_anew() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.connections[0].rooms.discard(ROOM)
            server.say(ROOM, "not heard")
            with pytest.raises(Rejected, match=ErrorCode.NOT_IN_ROOM):
                await chat.send(ROOM, "hi")
            first, second = await asyncio.gather(chat.join(ROOM), chat.join(ROOM))
            assert first.seq == second.seq == 1
            assert_agreed(chat, server, ROOM)
            server.say(ROOM, "heard")
            assert (await anext(chat)).text == "heard"

    run(story())


def test_a_look_that_is_refused_for_another_reason_changes_nothing() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join(ROOM)
            server.refusals["presence"] = [refusal("forbidden")]
            with pytest.raises(Rejected, match="forbidden"):
                await chat.join(ROOM)
            assert_agreed(chat, server, ROOM)
            assert counts(server) == (1, 0)

    run(story())


# Frame by frame


class Frames:
    """A conversation, and what it shows; every request that can be written is."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.conversation = Conversation(Outbox(lambda: 0.5), self.show, lambda event: None, lambda: 0.0)
        self.conversation.connected(NoLine())

    def show(self, items: list[Shown]) -> Shown | None:
        self.shown += items
        return None

    def ask(self, type_: str) -> int:
        entry = self.conversation.ask(type_, {"room": ROOM}, Kind.REPEATABLE, lambda answer: None)
        return self.written(entry)

    def written(self, entry: Entry | None = None) -> int:
        found = self.conversation.outbox.next(0.0)
        assert found is not None
        assert entry in (None, found)
        return found.number

    def ack(self, number: int, seq: int = 0) -> None:
        self.conversation.receive(Frame("ack", {**ANSWER, "seq": seq}, number))

    def say(self, seq: int) -> None:
        payload = {"room": ROOM, "seq": seq, "from": "alice", "message": "hi", "sent": SENT}
        self.conversation.receive(Frame("new_message", payload))


def test_what_comes_between_leaving_and_the_answer_to_a_join_is_held() -> None:
    frames = Frames()
    frames.ack(frames.ask("join_room"))
    leave, join = frames.ask("leave_room"), frames.ask("join_room")
    frames.ack(leave)
    frames.say(2)
    assert frames.shown == []
    frames.ack(join, seq=1)
    assert [item.seq for item in frames.shown if isinstance(item, Message)] == [2]


def test_a_room_that_was_joined_anew_is_not_disowned_for_what_was_heard_of_it_before() -> None:
    frames = Frames()
    frames.ack(frames.ask("join_room"))
    known = frames.conversation.joined(ROOM)
    assert known is not None
    frames.conversation.disown(known)
    frames.conversation.disown(known)
    frames.ack(frames.ask("join_room"))
    frames.conversation.disown(known)
    assert frames.conversation.joined(ROOM)


def test_the_answer_that_gives_back_a_disowned_room_tells_of_no_new_log() -> None:
    frames = Frames()
    frames.ack(frames.ask("join_room"), seq=5)
    frames.conversation.dropped()
    frames.conversation.connected(NoLine())
    known, resumption = frames.conversation.joined(ROOM), frames.written()
    assert known is not None
    frames.conversation.disown(known)
    frames.ack(resumption, seq=5)
    assert frames.shown == []
    assert frames.conversation.joined(ROOM)


# Bounds


def test_what_is_given_up_and_still_under_way_counts_among_what_has_no_answer() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, max_unacked=3) as chat:
            await chat.join(ROOM)
            server.is_holding = True
            for _ in range(10):
                await give_up(await begin(chat.leave(ROOM)))
            assert counts(server) == (1, 3)
            server.release()
            await settle()
            await asyncio.gather(*(chat.join(f"room {number}") for number in range(10)))
            server.drop()
            await settle()
            for _ in range(10):
                await give_up(await begin(chat.send(ROOM, "never mind")))
            await chat.leave(ROOM)

    run(story())


# Whatever happens, in whatever order


class Agreement(RuleBasedStateMachine):
    """One room, a line that delays and breaks, and a program that gives up; the server is a model.

    Both sides may differ while something is under way.  Once nothing is, they agree.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation(
            Outbox(lambda: 0.5), lambda shown: None, lambda event: None, lambda: self.clock
        )
        self.clock = 0.0
        self.is_connected = False
        self.is_in = False  # as the server sees it
        self.answers: list[Frame] = []
        self.waiting: list[Entry] = []
        self.settled: dict[Entry, Reply] = {}
        self.last_settled: Entry | None = None

    # The program

    @rule(type_=st.sampled_from(["join_room", "leave_room", "presence"]))
    def ask(self, type_: str) -> None:
        def settle(answer: Reply) -> None:
            assert entry not in self.settled, "settled twice"
            self.settled[entry] = answer
            self.last_settled = entry
            self.waiting = [other for other in self.waiting if other is not entry]

        entry = self.conversation.ask(type_, {"room": ROOM}, Kind.REPEATABLE, settle)
        self.waiting.append(entry)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 10))
    def give_up(self, which: int) -> None:
        entry = self.waiting.pop(which % len(self.waiting))
        was_asked = entry.written_at is not None
        if self.conversation.give_up(entry):
            assert not was_asked or entry.type != "leave_room"

    @precondition(lambda self: self.last_settled)
    @rule()
    def give_up_too_late(self) -> None:
        assert self.last_settled is not None
        assert not self.conversation.give_up(self.last_settled)

    # The line

    @precondition(lambda self: not self.is_connected)
    @rule()
    def connect(self) -> None:
        self.is_connected = True
        self.conversation.connected(NoLine())

    @precondition(lambda self: self.is_connected)
    @rule()
    def disconnect(self) -> None:
        self.is_connected = self.is_in = False
        self.answers.clear()
        self.conversation.dropped()

    @precondition(lambda self: self.is_connected)
    @rule(code=st.sampled_from([None, None, None, "forbidden", "unavailable"]))
    def write(self, code: str | None) -> None:
        entry = self.conversation.outbox.next(self.clock)
        if entry is None:
            return
        if code is None and entry.type != "join_room" and not self.is_in:
            code = "not_in_room"
        if code is None:
            self.is_in = entry.type != "leave_room"
            self.answers.append(Frame("ack", ANSWER, entry.number))
        else:
            self.answers.append(Frame("error", {"code": code}, entry.number))

    @precondition(lambda self: self.answers)
    @rule()
    def hear(self) -> None:
        self.conversation.receive(self.answers.pop(0))

    @rule()
    def wait(self) -> None:
        self.clock += 10

    # What must be true

    @property
    def is_believed_in(self) -> bool:
        room = self.conversation.rooms.get(ROOM)
        return room is not None and room.membership is Membership.IN

    @invariant()
    def a_room_is_entered_only_while_a_join_is_under_way(self) -> None:
        room = self.conversation.rooms.get(ROOM)
        is_entering = room is not None and room.membership is Membership.ENTERING
        assert not is_entering or self.conversation.outbox.has("join_room", ROOM)

    @invariant()
    def both_agree_when_nothing_is_under_way(self) -> None:
        if self.is_connected and not len(self.conversation.outbox):
            assert self.is_believed_in == self.is_in

    def teardown(self) -> None:
        """In the end, on a good line, both sides agree, and all who waited have been told."""
        if not self.is_connected:
            self.connect()
        while len(self.conversation.outbox):
            self.wait()
            self.write(code=None)
            while self.answers:
                self.hear()
        self.both_agree_when_nothing_is_under_way()
        assert not self.waiting


Agreement.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAgreement = pytest.mark.thorough(Agreement.TestCase)
