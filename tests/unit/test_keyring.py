"""Keys of other programs: what each is good for."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.engine import ApiKey, KeyRight
from hubbub.errors import Refused
from hubbub.keyring import MAX_SECRET_CHARS, KeyScope, new_key


def scope(*rooms: str) -> KeyScope:
    return KeyScope(ApiKey("worker", (KeyRight.PUBLISH,), rooms, 0))


def test_a_new_key_has_a_secret_of_its_own() -> None:
    one, key = new_key("worker", ["history", "publish", "publish"], ["news-*"], 12.5)
    other, _ = new_key("worker", ["publish"], ["news-*"], 12.5)
    assert key == ApiKey("worker", (KeyRight.HISTORY, KeyRight.PUBLISH), ("news-*",), 12500)
    assert one != other
    assert one.startswith("hbk_")
    assert 30 < len(one) < MAX_SECRET_CHARS


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "no name of a key"),
        ({"name": "Worker"}, "no name of a key"),
        ({"name": "x" * 65}, "no name of a key"),
        ({"rights": []}, "it may publish"),
        ({"rights": ["fly"]}, "may not fly; it may publish"),
        ({"rooms": []}, "1 to 50 names of rooms"),
        ({"rooms": ["x"] * 51}, "1 to 50 names of rooms"),
        ({"rooms": [""]}, "of 1 to 256 characters"),
        ({"rooms": ["x" * 257]}, "of 1 to 256 characters"),
    ],
)
def test_what_no_key_is_gets_told(changed: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"name": "worker", "rights": ["publish"], "rooms": ["*"], "now": 0}
    with pytest.raises(Refused, match=message):
        new_key(**(arguments | changed))


def test_a_key_is_for_what_it_says() -> None:
    assert scope("*").allows(KeyRight.PUBLISH)
    assert not scope("*").allows(KeyRight.HISTORY)


def test_a_key_is_for_rooms_that_fit() -> None:
    assert scope("news-*", "ops").covers("news-today")
    assert scope("news-*", "Ops").covers("ops")
    assert not scope("news-*", "ops").covers("sports")


def test_rooms_of_two_users_have_to_be_named() -> None:
    assert not scope("*").covers("dm:alice,bob")
    assert not scope("d*").covers("dm:alice,bob")
    assert scope("dm:*").covers("dm:alice,bob")
    assert scope("dm:alice,*").covers("dm:alice,bob")
    assert not scope("dm:*").covers("ops")
