"""A live room: one encoding a message and dialect, one write a member, and large rooms in slices."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gates import turns
from heard import seqs, texts
from hubbub import room as room_module
from hubbub.chat import NewMessage
from hubbub.dialect import Classic, Dialect
from hubbub.events import Message
from hubbub.testing import CLASSIC, V1, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


class CountingDialect(Classic):
    """Classic, with a count of what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def message(self, message: Message) -> bytes:
        self.encoded += 1
        return super().message(message)


def message(seq: int) -> Message:
    return Message("general", seq, 0, "percy", "new_message", b'{"message":"%d"}' % seq)


def said(stage: Stage, *seqs: int) -> None:
    """Have the log deliver messages to the room, and the room written to."""
    stage.core.listener.deliver("general", [message(seq) for seq in seqs])
    stage.core.listener.flush()


async def crowd(stage: Stage, count: int) -> list[Guest]:
    return [await stage.client(f"user{number}", CLASSIC) for number in range(count)]


def written(people: Sequence[Guest]) -> int:
    return sum(len(guest.writes) for guest in people)


async def test_a_tick_is_one_encoding_a_message_and_one_write_a_member(stage: Stage) -> None:
    dialect = CountingDialect()
    people = [await stage.client(f"user{number}", dialect) for number in range(20)]
    for guest in people[:5]:
        guest.say("send_message", {"message": "hi"})
    await stage.settle()
    assert dialect.encoded == 5
    for guest in people:
        assert len(guest.writes) == 1
        assert len(guest.take()) == 5


async def test_what_is_not_kept_is_encoded_once_for_each_dialect(stage: Stage) -> None:
    people = [await stage.client(f"user{number}", V1) for number in range(3)]
    for guest in people:
        await stage.hub.join(guest.client, "general")
    said(stage, 1)
    for guest in people:
        guest.take()
    stage.core.listener.heard("general", "tally", b'{"count":1}')
    first, *others = [guest.writes for guest in people]
    assert all(writes[0] is first[0] for writes in others)
    assert [event["type"] for event in people[0].take()] == ["tally"]


async def test_a_large_room_is_written_in_slices_each_in_a_turn_of_its_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    people = await crowd(stage, 35)
    said(stage, 1)
    counts = []
    while stage.core.rooms.is_flushing:
        counts.append(written(people))
        await turns(1)
    assert counts == [10, 20, 30, 35]
    assert written(people) == 35


async def test_a_slice_is_so_many_bytes_at_most(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    monkeypatch.setattr(room_module, "SLICE_BYTES", 500)
    people = await crowd(stage, 12)
    long = Message("general", 1, 0, "percy", "new_message", b'{"message":"%b"}' % (b"x" * 150))
    stage.core.listener.deliver("general", [long])
    stage.core.listener.flush()
    counts = []
    while stage.core.rooms.is_flushing:
        counts.append(written(people))
        await turns(1)
    assert counts == [2, 4, 6, 8, 10, 12]


def stop_reading(stage: Stage, guest: Guest) -> None:
    """Leave all that is written to a client from now on in its outbox; what a write makes slow is watched at once."""

    def write(data: bytes) -> None:
        guest.writes.append(data)
        guest.outbox_size += len(data)
        stage.core.rooms.feeding.mark_slow(guest._participant)

    guest._participant.write = write


@pytest.mark.parametrize("dialect", [V1, CLASSIC], ids=["v1", "classic"])
async def test_the_outbox_of_one_that_does_not_read_is_bounded_while_a_large_room_is_written_to(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 2)
    async with at_work(max_outbox=64 * 1024) as stage:
        people = [await stage.client(f"user{number}", dialect) for number in range(9)]
        for guest in people:
            await stage.hub.join(guest.client, "general")
        slow, reading = people[0], people[1]
        stop_reading(stage, slow)
        count = 0
        for size in (1, 2000, 2000):  # what is said during the first flush takes two hundred times the room of one
            for _ in range(1 if size == 1 else 1000):
                stage.hub.room("general").post(NewMessage("x" * size))
                count += 1
            while not stage.core.rooms.is_flushing:
                await turns(1)
        await stage.settle()
        assert slow.outbox_size <= 64 * 1024 + room_module.FLUSH_BYTES + 4096
        assert len(texts(reading.take())) == count
        if dialect is CLASSIC:
            assert slow.close_code == 4001
        else:
            heard = slow.take()
            slow._participant.write = slow.write
            slow.read_on()
            await stage.settle()
            assert seqs(heard + slow.take()) == list(range(1, count + 1))


async def test_a_flush_of_a_large_room_brings_so_many_bytes_to_a_member_but_a_message_at_least(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 2)
    monkeypatch.setattr(room_module, "FLUSH_BYTES", 1000)
    guest, *_ = await crowd(stage, 3)
    longs = [
        Message("general", seq, 0, "percy", "new_message", b'{"message":"%b"}' % (b"x" * 300)) for seq in range(1, 9)
    ]
    longs[2] = Message("general", 3, 0, "percy", "new_message", b'{"message":"%b"}' % (b"x" * 5000))
    stage.core.listener.deliver("general", longs)
    stage.core.listener.flush()
    await stage.settle()
    assert [data.count(b"new_message") for data in guest.writes] == [2, 1, 2, 2, 1]


async def test_what_is_said_during_a_sliced_flush_comes_after_it_to_everyone_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    leaver, *people = await crowd(stage, 35)
    said(stage, 1)
    stage.hub.leave(leaver.client, "general")
    said(stage, 2, 3)
    late = await stage.client("late", CLASSIC)
    said(stage, 4)
    assert texts(await leaver.hear()) in ([], ["1"])
    assert texts(late.take()) == ["4"]
    for guest in people:
        assert texts(guest.take()) == ["1", "2", "3", "4"]
    assert late.client in stage.hub.room("general").members


async def test_one_that_leaves_and_comes_back_during_a_sliced_flush_hears_nothing_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    people = await crowd(stage, 6)
    said(stage, 1)
    await turns(2)
    for guest in people:
        stage.hub.leave(guest.client, "general")
        await stage.hub.join(guest.client, "general")
    await stage.settle()
    heard = [texts(guest.take()) for guest in people]
    assert heard.count(["1"]) == 3, "those that were written to before they left"
    assert heard.count([]) == 3
    said(stage, 2)
    for guest in people:
        assert texts(await guest.hear()) == ["2"]


async def test_a_newcomer_hears_only_what_is_said_after_it_came(stage: Stage) -> None:
    await stage.client("percy", CLASSIC)
    stage.core.listener.deliver("general", [message(1)])
    alice = await stage.client("alice", CLASSIC)
    said(stage, 2)
    assert texts(alice.take()) == ["2"]


async def test_leaving_before_the_first_flush_is_leaving(stage: Stage) -> None:
    await stage.client("percy", CLASSIC)
    alice = await stage.client("alice", CLASSIC)
    stage.hub.leave(alice.client, "general")
    said(stage, 1)
    assert texts(alice.take()) == []


async def test_a_newcomer_hears_what_is_not_kept_before_its_first_flush(stage: Stage) -> None:
    percy = await stage.client("percy")
    await stage.hub.join(percy.client, "general")
    stage.core.listener.heard("general", "tally", b'{"count":1}')
    assert [event["type"] for event in percy.take()] == ["tally"]


async def test_a_user_whose_own_messages_are_left_out_hears_those_of_others_in_the_same_flush(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC, echo=False)
    others = Message("general", 2, 0, "alice", "new_message", b'{"message":"2"}')
    stage.core.listener.deliver("general", [message(1), others, message(3)])
    stage.core.listener.flush()
    assert texts(percy.take()) == ["2"]
