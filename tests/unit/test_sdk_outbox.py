"""Requests without an answer: their order, and what becomes of them when the connection goes."""

from __future__ import annotations

from collections.abc import Callable

from hubbub.errors import ConnectionClosed, Rejected, Unanswered
from hubbub.sdk.outbox import RESEND_S, Entry, Kind, Outbox, Reply
from hubbub.sdk.reading import Failure


class Answers(dict[str, Reply]):
    """What each request was answered, by a name that the test gives it."""

    def of(self, name: str) -> Callable[[Reply], None]:
        def settle(answer: Reply) -> None:
            assert name not in self, "settled twice"
            self[name] = answer

        return settle


def new_outbox() -> Outbox:
    return Outbox(lambda: 0.5)


def say(outbox: Outbox, answers: Answers, text: str, room: str = "general") -> Entry:
    return outbox.add("send_message", {"room": room, "message": text}, Kind.KEYED, answers.of(text), room)


def written(outbox: Outbox, now: float) -> list[object]:
    """Write all that can be written now; the texts, or the types of what has none."""
    entries = iter(lambda: outbox.next(now), None)
    return [entry.payload.get("message", entry.type) for entry in entries if entry]


def test_what_was_written_is_written_again_in_the_order_it_was_asked_in() -> None:
    outbox, answers = new_outbox(), Answers()
    entries = [say(outbox, answers, text) for text in "abcd"]
    assert written(outbox, 0) == ["a", "b", "c", "d"]
    outbox.acked(entries[1], {})
    say(outbox, answers, "e")
    outbox.drop()
    assert written(outbox, 1) == ["a", "c", "d", "e"]
    assert list(answers) == ["b"]


def test_a_request_that_might_be_done_twice_is_given_up() -> None:
    outbox, answers = new_outbox(), Answers()
    outbox.add("vote", {}, Kind.ONCE, answers.of("written"))
    assert written(outbox, 0) == ["vote"]
    outbox.add("vote", {}, Kind.ONCE, answers.of("not written"))
    outbox.drop()
    assert isinstance(answers.pop("written"), Unanswered)
    assert not answers
    assert written(outbox, 1) == ["vote"]


def test_a_message_is_not_written_again_once_the_server_has_forgotten_its_key() -> None:
    outbox, answers = new_outbox(), Answers()
    for text in ("written", "not written"):
        say(outbox, answers, text)
        if text == "written":
            assert written(outbox, 0) == [text]
    outbox.drop()
    outbox.expire(RESEND_S + 1)
    assert isinstance(answers.pop("written"), Unanswered)
    assert not answers
    assert written(outbox, RESEND_S + 1) == ["not written"]


def test_a_refused_message_was_not_kept_so_that_its_key_is_as_good_as_new() -> None:
    outbox, answers = new_outbox(), Answers()
    entry = say(outbox, answers, "a")
    assert written(outbox, 0) == ["a"]
    assert not outbox.refused(entry, Failure("unavailable", "", 5), 0)
    outbox.drop()
    outbox.expire(RESEND_S + 1)
    assert written(outbox, RESEND_S + 1) == ["a"]


def test_what_brings_back_the_rooms_is_asked_anew_on_each_connection() -> None:
    outbox, answers = new_outbox(), Answers()
    outbox.add("join_room", {}, Kind.OF_CONNECTION, answers.of("back"), "general")
    assert written(outbox, 0) == ["join_room"]
    outbox.drop()
    assert written(outbox, 0) == []
    assert not answers


def test_what_is_refused_for_now_is_asked_again_when_the_server_said_so_and_nothing_in_its_room_overtakes_it() -> None:
    outbox, answers = new_outbox(), Answers()
    first = say(outbox, answers, "a")
    assert written(outbox, 0) == ["a"]
    assert not outbox.refused(first, Failure("rate_limited", "", 2.0), 0)
    say(outbox, answers, "b")
    say(outbox, answers, "elsewhere", room="other")
    assert written(outbox, 1) == ["elsewhere"]
    assert outbox.next_at(1) == 2.0
    assert written(outbox, 2) == ["a", "b"]


def test_what_is_refused_for_now_for_too_long_is_refused() -> None:
    outbox, answers = Outbox(lambda: 1.0, retry_s=5), Answers()
    entry, now = say(outbox, answers, "a"), 0.0
    while written(outbox, now) and not outbox.refused(entry, Failure("unavailable", "no disk"), now):
        now = outbox.next_at(now) or 0
    rejected = answers["a"]
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.message, str(rejected)) == ("unavailable", "no disk", "unavailable: no disk")
    assert 0 < now <= 5


def test_other_refusals_are_final() -> None:
    outbox, answers = new_outbox(), Answers()
    entry = say(outbox, answers, "a")
    written(outbox, 0)
    assert outbox.refused(entry, Failure("forbidden", "not you"), 0)
    assert isinstance(answers["a"], Rejected)
    assert not len(outbox)


def test_nothing_is_written_before_the_rooms_are_back() -> None:
    outbox, answers = new_outbox(), Answers()
    say(outbox, answers, "a")
    back = outbox.add("join_room", {}, Kind.OF_CONNECTION, answers.of("back"), "general")
    assert written(outbox, 0) == ["join_room"]
    outbox.acked(back, {})
    assert written(outbox, 0) == ["a"]


def test_a_room_that_is_not_given_back_for_now_holds_up_itself_alone_and_is_asked_for_without_end() -> None:
    outbox, answers = new_outbox(), Answers()
    say(outbox, answers, "a")
    say(outbox, answers, "elsewhere", room="other")
    back, now = outbox.add("join_room", {}, Kind.OF_CONNECTION, answers.of("back"), "general"), 0.0
    assert written(outbox, now) == ["join_room"]
    assert not outbox.refused(back, Failure("unavailable", "", 60), now)
    assert written(outbox, now) == ["elsewhere"]
    for _ in range(5):
        now += 60
        assert written(outbox, now) == ["join_room"]
        assert not outbox.refused(back, Failure("unavailable", "", 60), now)
    assert written(outbox, now + 60) == ["join_room"]
    outbox.acked(back, {})
    assert written(outbox, now + 60) == ["a"]


def test_only_the_newest_word_on_typing_is_written_and_none_after_the_connection() -> None:
    outbox, answers = new_outbox(), Answers()
    for on in (True, False):
        outbox.add("typing", {"on": on}, Kind.FLEETING, answers.of("typing"), "general")
    entry = outbox.next(0)
    assert entry is not None
    assert entry.payload == {"on": False}
    assert not len(outbox)
    outbox.add("typing", {"on": True}, Kind.FLEETING, answers.of("typing"), "general")
    outbox.drop()
    assert outbox.next(0) is None


def test_a_request_that_nobody_waits_for_is_forgotten_wherever_it_is() -> None:
    outbox, answers = new_outbox(), Answers()
    entries = [say(outbox, answers, text) for text in "ab"]
    outbox.next(0)
    for entry in entries:
        outbox.withdraw(entry)
    outbox.drop()
    assert written(outbox, 0) == []
    assert outbox.written(entries[0].number) is None


def test_at_the_end_every_request_is_told_in_order() -> None:
    outbox, answers = new_outbox(), Answers()
    say(outbox, answers, "a")
    outbox.next(0)
    say(outbox, answers, "b")
    outbox.fail(ConnectionClosed(1000))
    assert list(answers) == ["a", "b"]
    assert not len(outbox)
