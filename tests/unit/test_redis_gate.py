"""The gate of a room on Redis: each message once, in order, whichever way it comes."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hubbub.engine import Head
from hubbub.engine.redis.gate import MOST_HELD, RoomGate, Stretch
from hubbub.events import Message

OLD, NEW = 1000, 2000


def messages(first: int, last: int) -> list[Message]:
    return [Message("a", seq, 0, "percy", "m", b"{}") for seq in range(first, last + 1)]


def stretch(first: int, last: int, generation: int = OLD) -> Stretch:
    return Stretch(generation, first, messages(first, last))


def seqs(shown: object) -> list[int]:
    assert isinstance(shown, (list, tuple))
    return [message.seq for message in shown]


def gate_at(seq: int, generation: int = OLD) -> RoomGate:
    gate = RoomGate("a")
    assert not gate.open_at(generation, seq)
    return gate


def holds(gate: RoomGate) -> bool:
    return gate.is_holding


def test_the_next_ones_pass_and_what_was_shown_does_not() -> None:
    gate = gate_at(5)
    assert seqs(gate.offer(stretch(6, 7))) == [6, 7]
    assert seqs(gate.offer(stretch(6, 7))) == []
    assert seqs(gate.offer(stretch(7, 9))) == [8, 9]
    assert not holds(gate)


def test_what_comes_too_early_waits_for_what_is_missing() -> None:
    gate = gate_at(0)
    assert seqs(gate.offer(stretch(3, 4))) == []
    assert holds(gate)
    assert seqs(gate.offer(stretch(1, 2))) == [1, 2, 3, 4]
    assert not holds(gate)


def test_what_comes_before_the_gate_is_open_waits_for_it() -> None:
    gate = RoomGate("a")
    assert seqs(gate.offer(stretch(4, 6))) == []
    assert seqs(gate.open_at(OLD, 5)) == [6]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True), st.randoms())
def test_all_is_shown_once_and_in_order(ends: list[int], chance: object) -> None:
    ends = sorted(ends)
    parts = [stretch(first + 1, last) for first, last in zip([0, *ends], ends, strict=False)]
    parts += parts[::2]  # some come twice
    chance.shuffle(parts)  # type: ignore[attr-defined]  # Random, by Hypothesis
    gate = gate_at(0)
    shown = [seq for part in parts for seq in seqs(gate.offer(part))]
    assert shown == list(range(1, ends[-1] + 1))


def test_a_hole_is_filled_from_the_log() -> None:
    gate = gate_at(0)
    gate.offer(stretch(4, 5))
    passed = gate.fill(OLD, 5, 5, messages(1, 5))
    assert (passed.rewound, passed.hole, seqs(passed.messages)) == (None, None, [1, 2, 3, 4, 5])
    assert not gate.settle()
    assert not holds(gate)


def test_what_came_while_the_log_was_read_is_not_shown_again() -> None:
    gate = gate_at(0)
    gate.offer(stretch(1, 3))
    assert seqs(gate.fill(OLD, 5, 5, messages(1, 5)).messages) == [4, 5]


def test_what_the_log_has_lost_is_a_hole() -> None:
    gate = gate_at(2)
    passed = gate.fill(OLD, 9, 9, messages(6, 9))
    assert (passed.hole, seqs(passed.messages)) == ((3, 5), [6, 7, 8, 9])
    assert gate.fill(OLD, 12, 12, []).hole == (10, 12)
    assert gate.fill(OLD, 12, 12, []).hole is None


def test_another_generation_waits_until_the_log_was_read() -> None:
    gate = gate_at(5)
    assert seqs(gate.offer(stretch(6, 6, NEW))) == []
    assert holds(gate)
    passed = gate.fill(NEW, 5, 6, messages(6, 6))
    assert (passed.rewound, seqs(passed.messages)) == (Head(str(NEW), 5), [6])
    assert not gate.settle()
    assert seqs(gate.offer(stretch(7, 7, OLD))) == [], "the old master has said it too late"
    assert not holds(gate)


def test_what_was_shown_and_lost_is_a_rewind() -> None:
    gate = gate_at(5)
    passed = gate.fill(NEW, 3, 8, messages(6, 8))
    assert (passed.rewound, seqs(passed.messages)) == (Head(str(NEW), 3), [])
    assert seqs(gate.fill(NEW, 8, 8, messages(4, 8)).messages) == [4, 5, 6, 7, 8]


def test_a_log_that_knows_nothing_of_this_generation_is_a_rewind_to_its_beginning() -> None:
    assert gate_at(5).fill(NEW, -1, 0, []).rewound == Head(str(NEW), 0)
    assert gate_at(0).fill(NEW, -1, 0, []).rewound == Head(str(NEW), 0)


def test_more_than_may_be_held_is_left_to_the_log() -> None:
    gate = gate_at(0)
    for first in range(2, MOST_HELD + 100):
        gate.offer(stretch(first, first))
    assert holds(gate)
    assert gate.fill(OLD, MOST_HELD + 99, MOST_HELD + 99, messages(1, MOST_HELD + 99)).hole is None
    assert not gate.settle()
    assert not holds(gate)
    assert seqs(gate.offer(stretch(MOST_HELD + 100, MOST_HELD + 100))) == [MOST_HELD + 100]


def test_who_waits_is_woken_when_its_messages_are_shown_or_never_will_be() -> None:
    async def waiting() -> None:
        gate = gate_at(0)
        assert gate.shown(OLD, 0) is None
        gate.offer(stretch(2, 2))
        second, third, other = gate.shown(OLD, 2), gate.shown(OLD, 3), gate.shown(NEW, 1)
        assert second is not None
        assert third is not None
        assert other is not None
        gate.release()
        assert not second.done()
        gate.offer(stretch(1, 1))
        gate.release()
        assert [waiter.done() for waiter in (second, third, other)] == [True, False, False]
        gate.fill(NEW, 2, 2, [])
        gate.release()
        assert all(waiter.done() for waiter in (second, third, other))

    asyncio.run(waiting())


def test_nobody_waits_for_a_room_that_is_left() -> None:
    async def waiting() -> None:
        gate = gate_at(0)
        waiter = gate.shown(OLD, 2)
        given_up = gate.shown(OLD, 3)
        assert waiter is not None
        assert given_up is not None
        given_up.cancel()
        gate.give_up()
        assert waiter.done()

    asyncio.run(waiting())
