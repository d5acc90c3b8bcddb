"""Messages that change, as the Python client and the terminal's screen take them."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.cli.chat_screen import RoomView, line_of
from hubbub.errors import ProtocolError
from hubbub.sdk import Changed, Message
from hubbub.sdk.reading import read_changed, read_message

SENT = "2026-11-26T10:00:00.000Z"
LATER = "2026-11-26T10:00:01.000Z"


def said(**more: Any) -> Message:
    payload = {"room": "lunch", "seq": 1, "from": "percy", "sent": SENT, "message": "soup", **more}
    return read_message("new_message", payload)


def change(type_: str, **fields: Any) -> Changed:
    payload = {"room": "lunch", "seq": 2, "from": "fred", "sent": LATER, "of": 1, **fields}
    return read_changed(read_message(type_, payload))


MADE = [
    pytest.param(
        change("message_edited", message="stew"),
        said(message="stew", edited={"seq": 2, "sent": LATER}),
        id="an edit",
    ),
    pytest.param(change("message_edited"), said(), id="an edit that was overtaken"),
    pytest.param(
        change("message_deleted"),
        said(message="", edited={"seq": 2, "sent": LATER}, deleted=True),
        id="a deletion",
    ),
    pytest.param(
        change("reacted", emoji="👍", on=True),
        said(reactions=[{"emoji": "👍", "users": ["fred"]}]),
        id="a reaction",
    ),
    pytest.param(change("reacted", emoji="👍", on=False), said(), id="a reaction that is not there"),
]


def told(message: Message) -> tuple[object, ...]:
    return message.text, message.edited, message.deleted, message.reactions


@pytest.mark.parametrize(("made", "after"), MADE)
def test_a_change_makes_of_a_message_what_the_server_shows(made: Changed, after: Message) -> None:
    assert told(made.apply_to(said())) == told(after)
    assert told(made.apply_to(after)) == told(after)  # once more changes nothing


def test_a_change_concerns_its_message_alone() -> None:
    other = said(seq=3)
    assert change("message_deleted").apply_to(other) is other
    deleted = change("message_deleted").apply_to(said())
    assert change("message_edited", message="stew").apply_to(deleted) is deleted


def test_a_change_that_cannot_be_read_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError):
        change("message_edited", of="one")
    with pytest.raises(ProtocolError):
        said(reactions=[{"emoji": 1}])


def test_the_screen_shows_what_was_made_of_a_message() -> None:
    view = RoomView("lunch")
    view.lines.append(said())
    assert view.change(change("reacted", emoji="👍", on=True))
    assert view.change(change("message_edited", message="stew"))
    (line,) = view.lines
    assert isinstance(line, Message)
    assert line_of(line, is_numbered=True).plain.endswith("percy: stew (edited)  👍 1")
    assert view.last("percy") is line
    assert view.find(1) is line
    assert view.change(change("message_deleted"))
    assert view.last("percy") is None
    (line,) = view.lines
    assert isinstance(line, Message)
    assert line_of(line).plain.endswith("percy: (deleted)")
