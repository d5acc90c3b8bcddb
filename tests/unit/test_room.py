"""Rooms: one encoding a message and dialect, one write a member, and large rooms in slices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hubbub import room as room_module
from hubbub.events import Message
from hubbub.wire.dialects import Classic
from stage import FakeSocket, Stage

pytestmark = pytest.mark.anyio


class CountingDialect(Classic):
    """Classic, with a count of what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def message(self, message: Message) -> bytes:
        self.encoded += 1
        return super().message(message)


async def test_a_tick_is_one_encoding_a_message_and_one_write_a_member(on_stage: Stage) -> None:
    dialect = CountingDialect()
    people = [await on_stage.client(f"user{number}", dialect) for number in range(20)]
    for client, _ in people[:5]:
        on_stage.send(client, "send_message", {"message": "hi"})
    await on_stage.settle()
    assert dialect.encoded == 5
    for _, socket in people:
        assert len(socket.written) == 1
        assert len(socket.take()) == 5


async def test_a_large_room_is_written_in_slices_each_in_a_turn_of_its_own(
    on_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    people = [await on_stage.client(f"user{number}") for number in range(35)]
    room = on_stage.hub.rooms["general"]
    room.deliver([message(1)])
    room.flush()
    turns = []
    while room.is_flushing:
        turns.append(written(people))
        await asyncio.sleep(0)
    assert turns == [10, 20, 30, 35]
    assert written(people) == 35


async def test_what_is_said_during_a_sliced_flush_comes_after_it_to_everyone_once(
    on_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    people = [await on_stage.client(f"user{number}") for number in range(35)]
    room = on_stage.hub.rooms["general"]
    room.deliver([message(1)])
    room.flush()
    leaver, leavers = people[0]
    on_stage.hub.leave(leaver, room)
    room.deliver([message(2), message(3)])
    room.flush()
    late, lates = await on_stage.client("late")
    room.deliver([message(4)])
    room.flush()
    await on_stage.settle()
    assert heard(leavers) in ([], ["1"])
    assert heard(lates) == ["4"]
    for _, socket in people[1:]:
        assert heard(socket) == ["1", "2", "3", "4"]
    assert late in room.members


async def test_a_newcomer_hears_only_what_is_said_after_it_came(on_stage: Stage) -> None:
    await on_stage.client("percy")
    room = on_stage.hub.rooms["general"]
    room.deliver([message(1)])
    _, alices = await on_stage.client("alice")
    room.deliver([message(2)])
    room.flush()
    assert heard(alices) == ["2"]


async def test_leaving_before_the_first_flush_is_leaving(on_stage: Stage) -> None:
    await on_stage.client("percy")
    alice, alices = await on_stage.client("alice")
    room = on_stage.hub.rooms["general"]
    on_stage.hub.leave(alice, room)
    room.deliver([message(1)])
    room.flush()
    assert heard(alices) == []


async def test_users_are_named_once(on_stage: Stage) -> None:
    for user in ("bob", "alice", "bob"):
        await on_stage.client(user)
    assert on_stage.hub.rooms["general"].names == b'["alice","bob"]'


def message(seq: int) -> Message:
    return Message("general", seq, 0, "percy", "new_message", b'{"message":"%d"}' % seq)


def written(people: Sequence[tuple[object, FakeSocket]]) -> int:
    return sum(len(socket.written) for _, socket in people)


def heard(socket: FakeSocket) -> list[str]:
    return [event["payload"]["message"] for event in socket.take()]
