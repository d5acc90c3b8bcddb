"""Giving drafts their seqs, and keys their one place."""

from __future__ import annotations

from hubbub.engine import Draft, Receipt
from hubbub.engine.stamp import DEDUPE_WINDOW_MS, Keys, Position, stamp


def draft(room: str = "a", sender: str | None = "percy", key: str | None = None) -> Draft:
    return Draft(room, "new_message", b"{}", sender, key)


class Places(dict[str, Position]):
    def __missing__(self, room: str) -> Position:
        place = self[room] = Position()
        return place


def test_each_draft_gets_the_next_seq_of_its_room() -> None:
    places = Places(a=Position(7))
    stamped = stamp([draft("a"), draft("b"), draft("a")], places.__getitem__, Keys(), 1000)
    assert stamped.receipts == [Receipt(8, 1000), Receipt(1, 1000), Receipt(9, 1000)]
    assert {room: [each.seq for each in fresh] for room, fresh in stamped.fresh.items()} == {"a": [8, 9], "b": [1]}
    assert (places["a"].seq, places["b"].seq) == (9, 1)


def test_a_known_key_adds_nothing() -> None:
    places, keys = Places(), Keys()
    stamp([draft(key="k")], places.__getitem__, keys, 1000)
    stamped = stamp([draft(key="k")], places.__getitem__, keys, 2000)
    assert stamped.receipts == [Receipt(1, 1000, repeated=True)]
    assert stamped.fresh == {}
    assert places["a"].seq == 1


def test_a_batch_that_is_undone_leaves_no_seq_and_no_key() -> None:
    places, keys = Places(a=Position(7)), Keys()
    stamp([draft(key="before")], places.__getitem__, keys, 1000)
    undone = stamp([draft(key="before"), draft(key="k"), draft(), draft("b", key="k")], places.__getitem__, keys, 1000)
    undone.undo(places.__getitem__, keys)
    assert (places["a"].seq, places["b"].seq, len(keys)) == (8, 0, 1)
    again = stamp([draft(key="before"), draft(key="k")], places.__getitem__, keys, 1000)
    assert again.receipts == [Receipt(8, 1000, repeated=True), Receipt(9, 1000)]


def test_keys_past_the_window_are_not_held() -> None:
    keys = Keys()
    for number in range(100):
        keys.add(f"room {number}", "percy", "k", Receipt(1, number))
    assert len(keys) == 100
    keys.forget(DEDUPE_WINDOW_MS + 49)
    assert len(keys) == 50
    stamp([], Places().__getitem__, keys, DEDUPE_WINDOW_MS + 99)
    assert len(keys) == 0


def test_a_key_is_known_within_the_window_to_the_millisecond() -> None:
    keys = Keys()
    keys.add("a", "percy", "k", Receipt(1, 1000))
    assert keys.find(draft(key="k"), 1000 + DEDUPE_WINDOW_MS - 1) == Receipt(1, 1000)
    assert keys.find(draft(key="k"), 1000 + DEDUPE_WINDOW_MS) is None
    assert keys.find(draft(key="k", sender=None), 1000) is None
