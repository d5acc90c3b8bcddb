"""Giving drafts their seqs and times, and keys their one place."""

from __future__ import annotations

from hubbub.engine import Draft, Receipt
from hubbub.engine.stamp import DEDUPE_WINDOW_MS, KeyEntry, Keys, LogTime, Position, digest_of, stamp
from hubbub.testing import Clock
from receipts import plain


def draft(room: str = "a", sender: str | None = "percy", key: str | None = None, body: bytes = b"{}") -> Draft:
    return Draft(room, "new_message", body, sender, key)


def entry(room: str = "a", at: int = 0) -> KeyEntry:
    return KeyEntry(room, "percy", "k", 1, 99, at, digest_of("new_message", b"{}"))


class Places(dict[str, Position]):
    def __missing__(self, room: str) -> Position:
        place = self[room] = Position()
        return place


def test_each_draft_gets_the_next_seq_of_its_room() -> None:
    places = Places(a=Position(7))
    stamped = stamp([draft("a"), draft("b"), draft("a")], places.__getitem__, Keys(), {}, now=1000, at=0)
    assert stamped.outcomes == [Receipt(8, 1000), Receipt(1, 1000), Receipt(9, 1000)]
    assert {room: [each.seq for each in fresh] for room, fresh in stamped.fresh.items()} == {"a": [8, 9], "b": [1]}
    assert (places["a"].seq, places["b"].seq) == (9, 1)


def test_sent_never_goes_back_in_a_room() -> None:
    places = Places(a=Position(7, sent=5000))
    stamped = stamp([draft("a"), draft("b"), draft("a")], places.__getitem__, Keys(), {}, now=1000, at=0)
    assert stamped.outcomes == [Receipt(8, 5000), Receipt(1, 1000), Receipt(9, 5000)]
    assert {room: [each.sent for each in fresh] for room, fresh in stamped.fresh.items()} == {
        "a": [5000, 5000],
        "b": [1000],
    }
    assert stamp([draft("a")], places.__getitem__, Keys(), {}, now=5001, at=0).outcomes == [Receipt(10, 5001)]


def test_a_known_key_adds_nothing() -> None:
    places, keys = Places(), Keys()
    stamp([draft(key="k")], places.__getitem__, keys, {}, now=1000, at=0)
    stamped = stamp([draft(key="k")], places.__getitem__, keys, {}, now=2000, at=1000)
    assert stamped.outcomes == [Receipt(1, 1000, repeated=True)]
    assert stamped.fresh == {}
    assert stamped.keys == {}
    assert (places["a"].seq, places["a"].sent) == (1, 1000)


def test_a_known_key_with_another_body_or_type_is_a_conflict_and_the_rest_is_kept() -> None:
    places, keys = Places(), Keys()
    other_type = Draft("a", "notice", b"{}", "percy", "k")
    batch = [draft(key="k"), draft(key="k", body=b'{"a":1}'), other_type, draft(), draft(key="k")]
    stamped = stamp(batch, places.__getitem__, keys, {}, now=1000, at=0)
    conflict = ("k", 1)
    assert plain(stamped.outcomes) == [
        Receipt(1, 1000),
        conflict,
        conflict,
        Receipt(2, 1000),
        Receipt(1, 1000, repeated=True),
    ]
    assert [each.seq for each in stamped.fresh["a"]] == [1, 2]


def test_a_batch_that_is_undone_leaves_no_seq_no_key_and_no_time() -> None:
    places, keys = Places(a=Position(7)), Keys()
    stamp([draft(key="before")], places.__getitem__, keys, {}, now=1000, at=0)
    batch = [draft(key="before"), draft(key="k"), draft(), draft("b", key="k")]
    undone = stamp(batch, places.__getitem__, keys, {}, now=9000, at=0)
    undone.undo(places.__getitem__, keys)
    assert (places["a"].seq, places["b"].seq, len(keys)) == (8, 0, 1)
    assert (places["a"].sent, places["b"].sent) == (1000, 0)
    again = stamp([draft(key="before"), draft(key="k")], places.__getitem__, keys, {}, now=2000, at=0)
    assert again.outcomes == [Receipt(8, 1000, repeated=True), Receipt(9, 2000)]


def test_the_entry_of_a_key_is_all_that_another_process_needs() -> None:
    keys = Keys()
    stamped = stamp([draft(), draft(key="k")], Places().__getitem__, keys, {}, now=1000, at=7)
    assert list(stamped.keys.items()) == [
        (("a", 2), KeyEntry("a", "percy", "k", 2, 1000, 7, digest_of("new_message", b"{}")))
    ]
    assert list(keys) == list(stamped.keys.values())
    another = Keys()
    for each in keys:
        another.add(each)
    again = [draft(key="k"), draft(key="k", body=b'{"a":1}')]
    outcomes = stamp(again, Places().__getitem__, another, {}, now=1000, at=8).outcomes
    assert plain(outcomes) == [Receipt(2, 1000, repeated=True), ("k", 2)]


def test_keys_past_the_window_are_not_held() -> None:
    keys = Keys()
    for number in range(100):
        keys.add(entry(f"room {number}", number))
    assert len(keys) == 100
    keys.forget(DEDUPE_WINDOW_MS + 49)
    assert len(keys) == 50
    stamp([], Places().__getitem__, keys, {}, now=0, at=DEDUPE_WINDOW_MS + 99)
    assert len(keys) == 0


def test_a_key_is_known_within_the_window_to_the_millisecond() -> None:
    keys = Keys()
    keys.add(entry(at=1000))
    assert keys.find("a", "percy", "k", 1000 + DEDUPE_WINDOW_MS - 1) == entry(at=1000)
    assert keys.find("a", "percy", "k", 1000 + DEDUPE_WINDOW_MS) is None
    assert keys.find("a", None, "k", 1000) is None


def test_the_logs_own_time_goes_on_from_where_it_stopped() -> None:
    clock = Clock(5000.25)
    time = LogTime(clock)
    assert time() == 0
    clock.go(1.5)
    assert time() == 1500
    clock.go(10)
    time.go_on_from(1500)
    assert time() == 1500
    clock.go(0.25)
    assert time() == 1750
