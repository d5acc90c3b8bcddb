"""What engines of one process have in memory, and no more of it than they need."""

from __future__ import annotations

from hubbub.engine.local import LocalEngine, Users


def test_an_empty_room_leaves_nothing_behind() -> None:
    engine = LocalEngine()
    for number in range(10):
        engine.enter(f"room {number}", "percy")
        engine.leave(f"room {number}", "percy")
        engine.leave(f"nowhere {number}", "percy")
    assert vars(engine)["_users"] == {}


def test_no_more_names_are_kept_in_order_than_are_asked_for() -> None:
    users = Users()
    for number in range(100):
        users.add(f"{number:03}")
    assert users._first == []
    assert users.first(5) == ["000", "001", "002", "003", "004"]
    for number in range(100):
        users.add(f"{number:03} too")
    assert len(users._first) == 10
    assert users.first(3) == ["000", "000 too", "001"]
