"""The newest messages of a room: a run without holes, encoded once for each dialect that asks."""

from __future__ import annotations

import json

import pytest

from hubbub import recent as recent_module
from hubbub.dialect import V1, V1Dialect
from hubbub.engine import Head, Page
from hubbub.events import Message
from hubbub.recent import RECENT, Recent


class Terse(V1Dialect):
    """Another dialect that lists: seqs alone; it counts what it is asked to encode."""

    def __init__(self) -> None:
        self.encoded = 0

    def listed(self, message: Message) -> bytes:
        self.encoded += 1
        return b"%d" % message.seq


def message(seq: int, sent: int = 0) -> Message:
    return Message("general", seq, sent, "percy", "new_message", b'{"message":"%d"}' % seq)


def messages(first: int, last: int) -> list[Message]:
    return [message(seq) for seq in range(first, last + 1)]


def filled(first: int, last: int) -> Recent:
    recent = Recent()
    recent.fill(Page(Head("e", last), messages(first, last), more=first > 1))
    return recent


def held(recent: Recent) -> list[int]:
    return [found.seq for found in recent.after(0)]


def test_it_holds_the_newest_and_forgets_the_oldest() -> None:
    recent = filled(1, RECENT)
    assert (recent.first_seq, recent.last_seq, recent.epoch) == (1, RECENT, "e")
    recent.extend(messages(RECENT + 1, RECENT + 5))
    assert held(recent) == list(range(6, RECENT + 6))


def test_of_an_empty_log_it_holds_nothing() -> None:
    recent = filled(1, 0)
    assert (recent.first_seq, recent.last_seq) == (1, 0)
    assert recent.after(0) == []
    assert recent.joined_after(0, V1) == b"[]"


def test_what_was_deleted_is_forgotten_and_its_place_is_known() -> None:
    recent = filled(1, 5)
    assert recent.joined_after(3, V1)
    recent.remove_to(4)
    assert (held(recent), recent.first_seq, recent.last_seq) == ([5], 5, 5)
    recent.remove_to(5)
    assert (held(recent), recent.first_seq, recent.last_seq) == ([], 6, 5)
    assert recent.joined_after(3, V1) == b"[]"
    recent.extend([message(6)])
    assert (held(recent), recent.first_seq) == ([6], 6)


def test_what_was_deleted_while_it_was_read_is_not_held() -> None:
    recent = Recent()
    recent.remove_to(4)
    recent.fill(Page(Head("e", 6), messages(1, 6), more=False))
    assert (held(recent), recent.first_seq) == ([5, 6], 5)


def test_what_is_held_already_is_not_added_again() -> None:
    recent = filled(1, 5)
    recent.extend(messages(4, 7))
    recent.extend(messages(2, 3))
    assert held(recent) == [1, 2, 3, 4, 5, 6, 7]


def test_a_hole_begins_a_new_run() -> None:
    recent = filled(1, 5)
    recent.extend(messages(8, 9))
    assert held(recent) == [8, 9]
    assert (recent.first_seq, recent.last_seq) == (8, 9)
    assert recent.after(5) == messages(8, 9), "what is held after 5 begins at 8"


def test_what_was_delivered_while_the_log_was_read_comes_after_it() -> None:
    recent = Recent()
    recent.extend(messages(4, 7))
    recent.fill(Page(Head("e", 5), messages(1, 5), more=False))
    assert held(recent) == [1, 2, 3, 4, 5, 6, 7]


def test_what_was_lost_up_to_a_seq_is_skipped() -> None:
    recent = filled(1, 5)
    recent.joined_after(0, V1)
    recent.skip_to(3)
    assert held(recent) == [1, 2, 3, 4, 5]
    recent.skip_to(9)
    assert (held(recent), recent.first_seq, recent.last_seq) == ([], 10, 9)
    assert recent.joined_after(0, V1) == b"[]"
    recent.extend(messages(10, 11))
    assert held(recent) == [10, 11]


def test_a_rewind_takes_back_what_came_after_its_place() -> None:
    recent = filled(1, 5)
    assert len(json.loads(recent.joined_after(0, V1))) == 5
    recent.rewind(Head("new", 3))
    assert (held(recent), recent.last_seq, recent.epoch) == ([1, 2, 3], 3, "new")
    other = Message("general", 4, 0, "alice", "new_message", b'{"message":"another"}')
    recent.extend([other])
    assert [found["message"] for found in json.loads(recent.joined_after(0, V1))] == ["1", "2", "3", "another"]


def test_a_rewind_that_takes_nothing_back_changes_the_epoch_alone() -> None:
    recent = filled(1, 5)
    recent.rewind(Head("new", 9))
    assert (held(recent), recent.last_seq, recent.epoch) == ([1, 2, 3, 4, 5], 5, "new")


def test_what_was_sent_before_a_time_is_forgotten() -> None:
    recent = Recent()
    recent.fill(Page(Head("e", 3), [message(1, 1000), message(2, 2000), message(3, 3000)], more=False))
    recent.joined_after(0, V1)
    recent.drop_older(2000)
    assert held(recent) == [2, 3]
    assert len(json.loads(recent.joined_after(0, V1))) == 2
    recent.drop_older(9000)
    assert (held(recent), recent.first_seq, recent.last_seq) == ([], 4, 3)


@pytest.mark.parametrize(("seq", "first"), [(0, 101), (100, 101), (101, 102), (299, 300)])
def test_after_gives_what_follows_a_seq(seq: int, first: int) -> None:
    recent = filled(101, 300)
    assert [found.seq for found in recent.after(seq)] == list(range(first, 301))
    assert recent.after(300) == recent.after(301) == []


def test_two_dialects_that_list_each_get_their_own_bytes() -> None:
    recent = filled(1, 3)
    terse = Terse()
    for _ in range(2):
        assert recent.joined_after(1, terse) == b"[2,3]"
        assert [found["message"] for found in json.loads(recent.joined_after(1, V1))] == ["2", "3"]


def test_a_message_is_encoded_once_for_a_dialect_and_joined_once_for_all_who_ask_from_one_place() -> None:
    recent = filled(1, 5)
    terse = Terse()
    assert recent.joined_after(2, terse) is recent.joined_after(2, terse)
    assert recent.joined_after(0, terse) == b"[1,2,3,4,5]"
    assert terse.encoded == 5
    recent.extend(messages(6, 6))
    assert recent.joined_after(2, terse) == b"[3,4,5,6]"
    assert terse.encoded == 6


def test_joined_answers_are_kept_up_to_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "MAX_JOINED_BYTES", 20)
    recent = filled(1, 9)
    terse = Terse()
    kept = recent.joined_after(4, terse)  # 11 bytes
    assert recent.joined_after(0, terse) == b"[1,2,3,4,5,6,7,8,9]"
    assert recent.joined_after(0, terse) is not recent.joined_after(0, terse)
    assert recent.joined_after(4, terse) is kept
