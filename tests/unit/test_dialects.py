"""What each dialect puts on the wire, and what it takes from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Refused
from hubbub.events import Message, encode
from hubbub.wire.dialects import CLASSIC, V1
from stage import events_in, stage

SAID = Message("general", 7, 0, "percy", "new_message", b'{"message":"hi"}')
OWN = Message("lunch", 8, 0, None, "tally", b'{"count":2}')
EMPTY = Message("lunch", 9, 0, None, "ping", b"{}")


def test_classic_hears_new_message_and_nothing_else() -> None:
    assert events_in(CLASSIC.message(SAID)) == [
        {"type": "new_message", "payload": {"message": "hi", "from": "percy", "sent": "1970-01-01T00:00:00.000Z"}}
    ]
    assert CLASSIC.message(OWN) == b""
    assert CLASSIC.event("typing", b"{}") == b""
    assert CLASSIC.ack("c1", b"{}") == b""
    assert CLASSIC.error("c1", Refused("internal", "")) == b""


def test_v1_hears_kept_events_with_their_place() -> None:
    said, own, empty = events_in(V1.message(SAID) + V1.message(OWN) + V1.message(EMPTY))
    sent = "1970-01-01T00:00:00.000Z"
    assert said == {
        "type": "new_message",
        "payload": {"room": "general", "seq": 7, "from": "percy", "message": "hi", "sent": sent},
    }
    assert own == {"type": "tally", "payload": {"room": "lunch", "seq": 8, "sent": sent, "count": 2}}
    assert empty == {"type": "ping", "payload": {"room": "lunch", "seq": 9, "sent": sent}}


def test_v1_answers() -> None:
    refused = Refused("rate_limited", 'say "please"', 0.5)
    assert events_in(
        V1.ack(5, b'{"room":"x"}') + V1.error("c1", refused) + V1.error(None, Refused("internal", "x"))
    ) == [
        {"type": "ack", "id": 5, "payload": {"room": "x"}},
        {
            "type": "error",
            "id": "c1",
            "payload": {"code": "rate_limited", "message": 'say "please"', "retry_after": 0.5},
        },
        {"type": "error", "payload": {"code": "internal", "message": "x"}},
    ]


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.text(alphabet=st.characters(codec="utf-8")))
def test_no_text_breaks_out_of_its_field(room: str, text: str) -> None:
    message = Message(room, 1, 0, "percy", "new_message", encode({"message": text}))
    assert events_in(V1.message(message))[0]["payload"]["message"] == text
    assert events_in(V1.message(message))[0]["payload"]["room"] == room
    assert events_in(CLASSIC.message(message))[0]["payload"]["message"] == text


@pytest.mark.anyio
async def test_arbitrary_text_never_closes_a_classic_connection_and_brings_it_nothing() -> None:
    async with stage() as on_stage:
        client, socket = await on_stage.client("percy")

        @given(
            st.text() | st.from_regex(r'\{"type":"(send_message|change_room|x)","payload":.{0,40}\}', fullmatch=True)
        )
        def check(text: str) -> None:
            on_stage.hub.receive(client, text)
            assert socket.close_code() is None

        check()
        await on_stage.settle()
        assert all(event["type"] == "new_message" for event in socket.take())
