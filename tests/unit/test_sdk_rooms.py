"""What the application sees of a room: every message once and in order, or a gap that says what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.sdk.conversation import Conversation
from hubbub.sdk.messages import Gap, Message
from hubbub.sdk.outbox import Kind, Outbox, Reply
from hubbub.sdk.reading import Entered, Frame, read_entered, read_message, read_page
from hubbub.sdk.rooms import MAX_HELD, RoomCursor, Shown, known_as
from sdk_stage import NoLine

SENT = "2026-01-02T03:04:05.678Z"
ROOM = "general"


def payload(seq: int, text: str = "") -> dict[str, Any]:
    return {"room": ROOM, "seq": seq, "from": "alice", "message": text or f"number {seq}", "sent": SENT}


def message(seq: int) -> Message:
    return read_message("new_message", payload(seq))


def entered(*seqs: int, seq: int, epoch: str = "one", recovered: bool = False) -> Entered:
    return Entered(ROOM, epoch, seq, recovered, [], [message(each) for each in seqs])


def joined_at(seq: int) -> RoomCursor:
    room = RoomCursor(ROOM)
    assert room.enter(entered(seq=seq)) == []
    return room


def brief(shown: list[Shown]) -> list[object]:
    """Seqs, and gaps as pairs."""
    return [item.seq if isinstance(item, Message) else (item.first, item.last) for item in shown]


def test_messages_in_order_are_shown_as_they_come() -> None:
    room = joined_at(3)
    assert [brief(room.hear(message(seq))) for seq in (4, 5, 6)] == [[4], [5], [6]]


def test_a_repeat_is_not_shown() -> None:
    room = joined_at(3)
    assert brief(room.hear(message(3))) == []
    room.hear(message(4))
    assert brief(room.hear(message(4))) == []


def test_after_a_hole_nothing_is_shown_until_it_is_filled() -> None:
    room = joined_at(0)
    assert brief(room.hear(message(3))) == []
    assert room.is_behind
    assert brief(room.fill([message(1), message(2)], after=0)) == [1, 2, 3]
    assert not room.is_behind


def test_what_history_does_not_have_is_a_gap() -> None:
    room = joined_at(0)
    room.hear(message(5))
    assert brief(room.fill([message(3)], after=0)) == [(1, 2), 3]
    assert room.is_behind
    assert brief(room.fill([], after=3)) == [(4, 4), 5]
    assert not room.is_behind


def test_a_page_that_comes_late_makes_no_gap() -> None:
    room = joined_at(0)
    room.hear(message(3))
    room.hear(message(1))
    assert room.last == 1
    assert brief(room.fill([], after=0)) == []
    assert brief(room.hear(message(2))) == [2, 3]


def test_a_room_resumes_from_the_join_with_no_message_seen() -> None:
    room = joined_at(7)
    assert room.since == {"epoch": "one", "seq": 7}
    room.drop()
    assert brief(room.resume(entered(8, 9, seq=9, recovered=True))) == [8, 9]


def test_live_messages_that_come_before_the_answer_are_merged_into_it() -> None:
    room = joined_at(7)
    room.drop()
    for seq in (10, 8, 11):
        assert room.hear(message(seq)) == []
    assert brief(room.resume(entered(8, 9, seq=9, recovered=True))) == [8, 9, 10, 11]


def test_a_resumption_that_is_refused_is_a_gap_and_then_the_newest_page() -> None:
    room = joined_at(2)
    room.drop()
    assert brief(room.resume(entered(9, 10, seq=10))) == [(3, 8), 9, 10]


def test_a_refused_resumption_whose_page_reaches_back_far_enough_is_no_gap() -> None:
    room = joined_at(8)
    room.drop()
    assert brief(room.resume(entered(7, 8, 9, 10, seq=10))) == [9, 10]


def test_another_log_begins_with_a_gap_that_says_so() -> None:
    room = joined_at(8)
    room.drop()
    assert room.resume(entered(2, 3, seq=3, epoch="two"))[0] == Gap(ROOM, 1, 1, is_new_log=True)
    assert brief(room.hear(message(4))) == [4]
    room.drop()
    assert room.resume(entered(seq=0, epoch="three")) == [Gap(ROOM, 1, 0, is_new_log=True)]


def test_a_resumption_may_go_on_under_another_epoch() -> None:
    room = joined_at(8)
    room.drop()
    assert brief(room.resume(entered(9, seq=9, epoch="two", recovered=True))) == [9]
    assert room.since == {"epoch": "two", "seq": 9}


def test_an_answer_that_is_short_of_what_was_shown_is_not_believed_to_be_recovered() -> None:
    room = joined_at(8)
    room.drop()
    assert room.resume(entered(7, seq=7, epoch="two", recovered=True))[0] == Gap(ROOM, 1, 6, is_new_log=True)


def test_a_gap_that_the_server_tells_of_is_skipped() -> None:
    room = joined_at(2)
    assert brief(room.lose(3, 6)) == [(3, 6)]
    assert brief(room.hear(message(7))) == [7]
    assert brief(room.lose(3, 6)) == []


def test_a_log_that_goes_on_under_another_epoch_is_resumed_under_that() -> None:
    room = joined_at(8)
    assert room.go_on("two", 8)
    assert brief(room.hear(message(9))) == [9]
    assert room.since == {"epoch": "two", "seq": 9}
    room.drop()
    assert brief(room.resume(entered(10, seq=10, epoch="two", recovered=True))) == [10]


def test_a_log_that_goes_on_without_what_was_shown_is_no_longer_the_same() -> None:
    room = joined_at(8)
    assert not room.go_on("two", 7)
    assert room.since == {"epoch": "one", "seq": 8}


def test_the_answer_to_a_join_has_the_last_word_on_the_epoch() -> None:
    room = RoomCursor(ROOM)
    assert room.go_on("two", 8)
    room.enter(entered(seq=8))
    assert room.since == {"epoch": "one", "seq": 8}
    room.drop()
    assert room.go_on("two", 8)
    assert room.since == {"epoch": "one", "seq": 8}
    room.resume(entered(9, seq=9, recovered=True))
    assert room.go_on("three", 9)
    room.enter(entered(seq=9, epoch="four"))
    assert room.since == {"epoch": "four", "seq": 9}


def test_a_server_that_has_forgotten_what_was_shown_has_another_log_though_it_says_the_same() -> None:
    room = joined_at(8)
    room.drop()
    assert room.resume(entered(3, seq=3))[0] == Gap(ROOM, 1, 2, is_new_log=True)
    assert brief(room.hear(message(4))) == [4]


def test_what_a_join_returns_is_not_shown_again_even_when_its_seq_is_older() -> None:
    room = RoomCursor(ROOM)
    assert room.enter(entered(4, 5, seq=3)) == []
    assert brief(room.hear(message(5))) == []
    assert brief(room.hear(message(6))) == [6]


def test_a_gap_beyond_a_hole_does_not_hide_what_can_still_be_fetched() -> None:
    room = joined_at(2)
    assert brief(room.lose(5, 6)) == []
    assert brief(room.fill([message(3), message(4), message(7)], after=2)) == [3, 4]
    assert brief(room.fill([message(7)], after=4)) == [(5, 6), 7]


def test_what_is_held_for_a_hole_is_bounded_and_the_rest_is_asked_for() -> None:
    room, count = joined_at(0), MAX_HELD + 100
    for seq in range(2, count + 1):
        room.hear(message(seq))
    assert brief(room.fill([message(1)], after=0)) == list(range(1, MAX_HELD + 2))
    assert room.is_behind
    rest = [message(seq) for seq in range(room.last + 1, count + 1)]
    assert brief(room.fill(rest, after=room.last)) == list(range(MAX_HELD + 2, count + 1))


class Recovery(RuleBasedStateMachine):
    """A server and a line that lose, repeat and reorder; an application with little room; one conversation.

    The server is a model: a list, an epoch, and how much of the list is gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 1
        self.log: list[int] = []
        self.trimmed = 0
        self.line: list[dict[str, Any]] = []
        self.is_connected = False
        self.is_joined = False
        self.shown: list[tuple[int, Shown]] = []
        self.free = 1_000_000
        self.seen_epoch = 1
        self.joined_at = 0
        self.conversation = Conversation(Outbox(lambda: 0.5), self.show, lambda event: None, lambda: 0.0)
        self.joins: list[Reply] = []

    def show(self, items: list[Shown]) -> Shown | None:
        for item in items:
            if isinstance(item, Gap):
                if item.is_new_log:
                    self.seen_epoch = self.epoch
            elif self.free == 0:
                return item
            else:
                self.free -= 1
            self.shown.append((self.seen_epoch, item))
        return None

    # The server

    def asked(self) -> dict[str, Any] | None:
        entry = self.conversation.outbox.next(0.0)
        return None if entry is None else {"id": entry.number, "type": entry.type, **entry.payload}

    def answer(self, request: dict[str, Any], *, is_refused: bool, overtaking: int = 0) -> None:
        """Answer a join; so many messages are said after it was read from the log, and come before it."""
        since = request.get("since")
        head = len(self.log)
        is_same_log = since is not None and since["epoch"] == str(self.epoch)
        first = since["seq"] + 1 if since and is_same_log and not is_refused else 0
        recovered = self.trimmed < first <= head + 1
        messages = range(first if recovered else max(self.trimmed, head - 3) + 1, head + 1)
        answer = {
            "room": ROOM,
            "epoch": str(self.epoch),
            "seq": head,
            "recovered": recovered,
            "messages": [payload(seq, self.text(seq)) for seq in messages],
            "members": [],
        }
        for number in range(overtaking):
            self.log.append(number)
            self.conversation.receive(Frame("new_message", payload(len(self.log), self.text(len(self.log)))))
        self.conversation.receive(Frame("ack", answer, request["id"]))
        if since is None:
            self.joined_at = read_entered(answer).seq
            self.seen_epoch = self.epoch

    def text(self, seq: int) -> str:
        return f"{self.epoch}/{seq}/{self.log[seq - 1]}"

    # What happens

    @initialize(already_said=st.integers(0, 5))
    def join(self, already_said: int) -> None:
        self.log = list(range(already_said))
        self.connect(is_refused=False, overtaking=0)
        self.conversation.ask("join_room", {"room": ROOM}, Kind.REPEATABLE, self.joins.append)
        request = self.asked()
        assert request is not None
        self.answer(request, is_refused=False, overtaking=already_said % 2)
        self.is_joined = True

    @precondition(lambda self: not self.is_connected)
    @rule(is_refused=st.booleans(), overtaking=st.integers(0, 2))
    def connect(self, is_refused: bool, overtaking: int) -> None:
        self.is_connected = True
        self.conversation.connected(NoLine())
        if self.is_joined:
            request = self.asked()
            assert request is not None
            self.answer(request, is_refused=is_refused, overtaking=overtaking)

    @precondition(lambda self: self.is_connected)
    @rule()
    def disconnect(self) -> None:
        self.is_connected = False
        self.line.clear()
        self.conversation.dropped()

    @rule(number=st.integers(0, 1_000_000), is_lost=st.booleans())
    def say(self, number: int, is_lost: bool) -> None:
        self.log.append(number)
        if self.is_connected and not is_lost:
            self.line.append(payload(len(self.log), self.text(len(self.log))))

    @precondition(lambda self: self.is_connected and self.line)
    @rule(which=st.integers(0), is_repeated=st.booleans())
    def deliver(self, which: int, is_repeated: bool) -> None:
        index = which % len(self.line)
        self.conversation.receive(Frame("new_message", self.line[index]))
        if not is_repeated:
            del self.line[index]

    @precondition(lambda self: self.is_connected)
    @rule(limit=st.integers(1, 5))
    def fill(self, limit: int) -> None:
        for room in self.conversation.behind():
            seqs = range(max(room.last, self.trimmed) + 1, len(self.log) + 1)[:limit]
            raw = {"room": ROOM, "epoch": str(self.epoch), "messages": [payload(seq, self.text(seq)) for seq in seqs]}
            self.conversation.fill(room, read_page(raw).messages, room.last)

    @rule(how_many=st.integers(1, 5))
    def trim(self, how_many: int) -> None:
        self.trimmed = min(len(self.log), self.trimmed + how_many)

    @precondition(lambda self: self.is_connected)
    @rule()
    def tell_gap(self) -> None:
        if self.trimmed:
            self.conversation.receive(Frame("gap", {"room": ROOM, "from": 1, "to": self.trimmed}))

    @precondition(lambda self: not self.is_connected)
    @rule(said=st.integers(0, 3))
    def lose_everything(self, said: int) -> None:
        self.epoch += 1
        self.log = list(range(said))
        self.trimmed = 0

    @rule(places=st.integers(0, 3))
    def application_has_little_room(self, places: int) -> None:
        self.free = places

    @rule()
    def application_has_room(self) -> None:
        self.free = 1_000_000

    # What must be true

    @invariant()
    def every_seq_is_shown_once_and_in_order_or_told_as_missing(self) -> None:
        epoch, expected = 1, self.joined_at + 1
        for of_epoch, item in self.shown:
            if isinstance(item, Gap):
                assert item.is_new_log or item.first == expected
                assert item.is_new_log or item.last >= item.first, "an empty gap tells nothing"
                epoch, expected = of_epoch, item.last + 1
            else:
                assert (of_epoch, item.seq) == (epoch, expected)
                assert item.text.startswith(f"{epoch}/{item.seq}/"), "a message of another log"
                expected += 1

    def teardown(self) -> None:
        """In the end, on a good line, the application comes to the present."""
        if not self.is_joined:
            return
        self.application_has_room()
        if self.is_connected:
            self.disconnect()
        self.connect(is_refused=False, overtaking=0)
        while self.conversation.behind():
            self.fill(limit=5)
        self.every_seq_is_shown_once_and_in_order_or_told_as_missing()
        last = max((item.seq if isinstance(item, Message) else item.last for _, item in self.shown[-1:]), default=None)
        assert (self.joined_at if last is None else last) == len(self.log)


Recovery.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestRecovery = pytest.mark.thorough(Recovery.TestCase)


def test_a_room_goes_by_its_folded_name_and_one_of_two_users_as_it_is_written() -> None:
    names = ["Lunch \uff2f\uff30\uff33", "dm:anna,zo%C3%AB"]
    assert [known_as(name) for name in names] == ["lunch ops", "dm:anna,zo%C3%AB"]
