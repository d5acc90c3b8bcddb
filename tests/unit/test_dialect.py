"""What each dialect puts on the wire, and what it takes from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Refused
from hubbub.dialect import CLASSIC, V1, dialect_of
from hubbub.events import Message, encode
from hubbub.testing import Stage

SAID = Message("general", 7, 0, "percy", "new_message", b'{"message":"hi"}')
OWN = Message("lunch", 8, 0, None, "tally", b'{"count":2}')
EMPTY = Message("lunch", 9, 0, None, "ping", b"{}")

SENT = "1970-01-01T00:00:00.000Z"


def read(*texts: bytes) -> list[Any]:
    return [json.loads(text) for text in texts]


def test_classic_hears_new_message_and_nothing_else() -> None:
    assert read(CLASSIC.message(SAID)) == [
        {"type": "new_message", "payload": {"message": "hi", "from": "percy", "sent": SENT}}
    ]
    assert CLASSIC.message(OWN) == b""
    assert CLASSIC.listed(SAID) == b""
    assert CLASSIC.event("typing", b"{}") == b""
    assert CLASSIC.ack("c1", b"{}") == b""
    assert CLASSIC.error("c1", Refused("internal", "")) == b""


def test_v1_hears_kept_events_with_their_place() -> None:
    said, own, empty = read(V1.message(SAID), V1.message(OWN), V1.message(EMPTY))
    assert said == {
        "type": "new_message",
        "payload": {"room": "general", "seq": 7, "from": "percy", "message": "hi", "sent": SENT},
    }
    assert own == {"type": "tally", "payload": {"room": "lunch", "seq": 8, "sent": SENT, "count": 2}}
    assert empty == {"type": "ping", "payload": {"room": "lunch", "seq": 9, "sent": SENT}}


def test_v1_lists_events_as_their_payloads_and_those_of_an_application_with_their_type() -> None:
    said, own, empty = read(V1.listed(SAID), V1.listed(OWN), V1.listed(EMPTY))
    assert said == {"room": "general", "seq": 7, "from": "percy", "message": "hi", "sent": SENT}
    assert own == {"type": "tally", "room": "lunch", "seq": 8, "sent": SENT, "count": 2}
    assert empty == {"type": "ping", "room": "lunch", "seq": 9, "sent": SENT}


def test_v1_answers() -> None:
    refused = Refused("rate_limited", 'say "please"', 0.5)
    assert read(V1.ack(5, b'{"room":"x"}'), V1.error("c1", refused), V1.error(None, Refused("internal", "x"))) == [
        {"type": "ack", "id": 5, "payload": {"room": "x"}},
        {
            "type": "error",
            "id": "c1",
            "payload": {"code": "rate_limited", "message": 'say "please"', "retry_after": 0.5},
        },
        {"type": "error", "payload": {"code": "internal", "message": "x"}},
    ]


@pytest.mark.parametrize(
    ("offered", "dialect", "answered"),
    [
        ([], CLASSIC, None),
        (["chat", "otp.secret"], CLASSIC, None),
        (["hubbub.v1"], V1, "hubbub.v1"),
        (["otp.secret", "hubbub.v1"], V1, "hubbub.v1"),
    ],
)
def test_the_subprotocol_asked_for_chooses_the_dialect(offered: list[str], dialect: object, answered: str) -> None:
    assert dialect_of(offered) == (dialect, answered)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.text(alphabet=st.characters(codec="utf-8")))
def test_no_text_breaks_out_of_its_field(room: str, text: str) -> None:
    message = Message(room, 1, 0, "percy", "new_message", encode({"message": text}))
    v1, listed, classic = read(V1.message(message), V1.listed(message), CLASSIC.message(message))
    assert v1["payload"]["message"] == listed["message"] == classic["payload"]["message"] == text
    assert v1["payload"]["room"] == listed["room"] == room


@pytest.mark.anyio
async def test_arbitrary_text_never_closes_a_classic_connection_and_brings_it_nothing(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)

    @given(st.text() | st.from_regex(r'\{"type":"(send_message|change_room|x)","payload":.{0,40}\}', fullmatch=True))
    def check(text: str) -> None:
        percy.say_text(text)
        assert percy.close_code is None

    check()
    assert all(event["type"] == "new_message" for event in await percy.hear())
