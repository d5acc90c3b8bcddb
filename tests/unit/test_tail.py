"""The newest messages, in memory, while they wait to be folded."""

from __future__ import annotations

import pytest

from hubbub.engine.tail import Row, Tail


def rows(number: int, first: int, last: int) -> list[Row]:
    return [Row(number, seq, 0, "percy", "new_message", b"{}") for seq in range(first, last + 1)]


def seqs(found: list[Row]) -> list[int]:
    return [row.seq for row in found]


@pytest.fixture
def tail() -> Tail:
    """Room a, number 2, has 11 to 20, and room b, number 1, has 1 to 3."""
    tail = Tail()
    tail.add("a", rows(2, 11, 15))
    tail.add("b", rows(1, 1, 3))
    tail.add("a", rows(2, 16, 20))
    return tail


def test_pages_go_both_ways(tail: Tail) -> None:
    assert (tail.first("a"), tail.last("a")) == (11, 20)
    assert seqs(tail.after("a", 0, 3)) == [11, 12, 13]
    assert seqs(tail.after("a", 18, 3)) == [19, 20]
    assert seqs(tail.before("a", 14, 2)) == [12, 13]
    assert seqs(tail.before("a", 99, 2)) == [19, 20]
    assert seqs(tail.before("a", 12, 9)) == [11]


def test_a_room_that_is_trimmed_to_nothing_is_gone(tail: Tail) -> None:
    tail.trim("a", 15)
    assert (tail.first("a"), tail.last("a")) == (15, 20)
    tail.trim("a", 21)
    tail.trim("nowhere", 5)
    assert "a" not in tail
    assert "b" in tail


def test_a_fold_takes_what_was_there_when_it_began(tail: Tail) -> None:
    assert (tail.count, tail.size) == (13, 26)
    tail.begin_fold()
    assert (tail.count, tail.size) == (0, 0)
    tail.add("a", rows(2, 21, 22))
    tail.add("c", rows(3, 1, 1))
    portions = [[(row.room, row.seq) for row in portion] for portion in tail.portions(5)]
    assert portions == [
        [(1, 1), (1, 2), (1, 3), (2, 11), (2, 12)],
        [(2, seq) for seq in range(13, 18)],
        [(2, seq) for seq in range(18, 21)],
    ]
    tail.end_fold()
    assert "b" not in tail
    assert seqs(tail.after("a", 0, 99)) == [21, 22]
    assert seqs(tail.after("c", 0, 99)) == [1]
    assert (tail.count, tail.size) == (3, 6)


def test_a_fold_that_fails_goes_on_with_the_same_messages(tail: Tail) -> None:
    seen = [tail.is_folding]
    tail.begin_fold()
    tail.add("a", rows(2, 21, 21))
    next(tail.portions(5))
    seen.append(tail.is_folding)
    assert sum(map(len, tail.portions(5))) == 13
    tail.end_fold()
    seen.append(tail.is_folding)
    assert seen == [False, True, False]
    assert tail.count == 1
    assert seqs(tail.after("a", 0, 99)) == [21]


def test_what_is_trimmed_during_a_fold_is_not_copied(tail: Tail) -> None:
    tail.begin_fold()
    portions = tail.portions(4)
    assert [(row.room, row.seq) for row in next(portions)] == [(1, 1), (1, 2), (1, 3), (2, 11)]
    tail.trim("a", 15)
    assert [(row.room, row.seq) for row in next(portions)] == [(2, 15), (2, 16), (2, 17), (2, 18)]
    tail.trim("a", 21)
    tail.add("a", rows(2, 21, 25))
    assert list(portions) == []
    tail.end_fold()
    assert seqs(tail.after("a", 0, 99)) == [21, 22, 23, 24, 25]


def test_its_bound_counts_what_is_being_folded(tail: Tail) -> None:
    tail.begin_fold()
    tail.add("a", rows(2, 21, 21))
    assert tail.is_larger_than(13, 99)
    assert not tail.is_larger_than(14, 99)
    assert tail.is_larger_than(99, 27)
    tail.end_fold()
    assert not tail.is_larger_than(1, 2)
