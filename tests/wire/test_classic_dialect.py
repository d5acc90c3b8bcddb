"""The classic dialect: what the pages of the two earlier servers rely on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servers import ServerProcess
from wire.raw_clients import BINARY, PING, PONG, TEXT, Raw, Tickets, enter, frame, page, pages, say

SENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def event(type_: Any, payload: Any, **more: Any) -> str:
    return json.dumps({"type": type_, "payload": payload} | more)


# Messages


def test_a_client_starts_in_general(server: ServerProcess, tickets: Tickets) -> None:
    with page(server, tickets.otp()) as percy, page(server, tickets.otp("alice"), "alice", room="general") as alice:
        alice.say("hello, general")
        for someone in (alice, percy):
            while (message := someone.next_message())["message"] != "hello, general":
                pass
            assert message["from"] == "alice"


def test_everyone_in_the_room_hears_a_message_the_sender_too(
    server: ServerProcess, tickets: Tickets, room: str
) -> None:
    with pages(server, tickets, "percy", "alice", "bob", "percy", room=room) as people:
        people[1].say("hello")
        for someone in people:
            someone.assert_hears("hello", "alice")


@pytest.mark.parametrize("claimed", ["alice", "", None, 7, ["percy"], {"name": "percy"}, "x" * 9000], ids=repr)
def test_from_is_the_user_who_logged_in_whatever_the_client_wrote(
    server: ServerProcess, tickets: Tickets, claimed: Any
) -> None:
    with page(server, tickets.otp("bob"), "bob", room="claims") as bob:
        bob.send(event("send_message", {"message": "hi", "from": claimed}))
        bob.assert_hears("hi", "bob")


def test_from_may_be_left_out(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with page(server, tickets.otp(), room=room) as percy:
        percy.send(event("send_message", {"message": "hi"}))
        percy.assert_hears("hi", "percy")


def test_other_fields_are_ignored(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with page(server, tickets.otp(), room=room) as percy:
        percy.send(
            event("send_message", {"message": "one", "from": "percy", "sent": "never", "more": [1]}, id=[], extra=1)
        )
        percy.assert_hears("one", "percy")


def test_a_classic_message_has_no_room_and_no_key(server: ServerProcess, tickets: Tickets, room: str) -> None:
    # These mean something in the other dialect only; here they are fields like any other.
    with page(server, tickets.otp(), room=room) as percy:
        for number in range(2):
            percy.send(event("send_message", {"message": f"again {number}", "key": "k"}))
        percy.send(event("send_message", {"message": "to where I am", "room": "elsewhere"}))
        percy.say("the end")
        heard = [percy.next_message()["message"]]
        while heard[-1] != "the end":
            heard.append(percy.next_message()["message"])
        assert heard == ["again 0", "again 1", "to where I am", "the end"]


def test_sent_is_the_servers_time_with_milliseconds(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with page(server, tickets.otp(), room=room) as percy:
        before = datetime.now(UTC) - timedelta(milliseconds=1)
        percy.say("what time is it?")
        sent = percy.next_message()["sent"]
        assert SENT.fullmatch(sent)
        assert before <= datetime.fromisoformat(sent) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        " ",
        "x" * 4000,
        "\U0001f600" * 3900,
        "e\u0301 \u202e \ufeff \x00 \x7f \u2028",
        '"}}\\ \n\r\t</script>',
        "\U0010ffff\ufffe",
    ],
    ids=["one", "space", "longest", "emoji", "odd", "quotes", "noncharacters"],
)
def test_a_message_arrives_as_it_was_sent(server: ServerProcess, tickets: Tickets, text: str) -> None:
    with page(server, tickets.otp(), room="texts") as percy:
        percy.send(json.dumps({"type": "send_message", "payload": {"message": text}}, ensure_ascii=False))
        percy.assert_hears(text, "percy")


def test_messages_keep_their_order(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with pages(server, tickets, "percy", "alice", room=room) as (percy, alice):
        for number in range(150):
            percy.say(str(number))
        for someone in (percy, alice):
            assert [someone.next_message()["message"] for _ in range(150)] == [str(number) for number in range(150)]


def test_racing_senders_are_heard_in_one_order(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with pages(server, tickets, "percy", "alice", "bob", room=room) as people:
        for number in range(60):
            for someone in people:
                someone.say(f"{someone.user} {number}")
        heard = [[someone.next_message()["message"] for _ in range(180)] for someone in people]
        assert heard[0] == heard[1] == heard[2]


# The Node page's name=


def test_with_name_in_the_url_a_user_does_not_hear_itself(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with (
        page(server, tickets.otp("bob"), "bob", room=room) as bob,
        Raw.websocket(server, tickets.otp(), query="&name=percy") as first,
        Raw.websocket(server, tickets.otp(), query="&name=anything") as second,
    ):
        for raw in (first, second):
            raw.send_frame(TEXT, enter(room).encode())
        first.say("from the first")
        bob.assert_hears("from the first", "percy")
        second.say("from the second")
        bob.assert_hears("from the second", "percy")
        bob.say("the end")
        for raw in (first, second):
            assert raw.read_message() == "the end"


def test_only_connections_with_name_are_spared_their_users_messages(
    server: ServerProcess, tickets: Tickets, room: str
) -> None:
    with (
        page(server, tickets.otp(), room=room) as go,
        Raw.websocket(server, tickets.otp(), query="&name=percy") as node,
    ):
        node.send_frame(TEXT, enter(room).encode())
        node.say("from the Node page")
        go.assert_hears("from the Node page", "percy")


# Rooms


def test_a_room_hears_only_its_own(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with (
        pages(server, tickets, "percy", "alice", room=room) as (percy, alice),
        page(server, tickets.otp("bob"), "bob", room=f"{room}2") as bob,
    ):
        percy.say("here")
        bob.say("there")
        alice.assert_hears("here", "percy")
        percy.assert_hears("here", "percy")
        bob.assert_hears("there", "bob")
        bob.enter(room)
        # What `enter` asks of the room was heard by those in it.
        for someone in (percy, alice):
            assert someone.next_message()["from"] == "bob"
        percy.say("welcome")
        for someone in (percy, alice, bob):
            someone.assert_hears("welcome", "percy")


def test_changing_the_room_leaves_the_old_one(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with pages(server, tickets, "percy", "alice", room=room) as (percy, alice):
        alice.enter(f"{room}2")
        percy.say("still here?")
        percy.assert_hears("still here?", "percy")
        alice.assert_up()


def test_what_is_said_right_after_a_change_goes_to_the_new_room(
    server: ServerProcess, tickets: Tickets, room: str
) -> None:
    with (
        pages(server, tickets, "percy", room=room) as (percy,),
        Raw.websocket(server, tickets.otp("alice")) as alice,
    ):
        burst = [enter(room), say("1"), enter(f"{room}2"), say("2"), enter(room), enter(room), say("3")]
        alice.send(b"".join(frame(TEXT, text.encode()) for text in burst))
        percy.assert_hears("1", "alice")
        percy.assert_hears("3", "alice")
        assert [alice.read_message() for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["r" * 64, "Straße 7", "комната", "部屋", "नमस्ते", "a.b_c-d e", "٣", "0"])
def test_a_room_is_named_with_letters_and_digits_of_any_script(
    server: ServerProcess, tickets: Tickets, name: str
) -> None:
    with pages(server, tickets, "percy", "alice", room=name) as (percy, alice):
        percy.say("hello")
        alice.assert_hears("hello", "percy")


def test_two_spellings_of_a_letter_are_one_room(server: ServerProcess, tickets: Tickets) -> None:
    with page(server, tickets.otp(), room="caf\u00e9") as percy, Raw.websocket(server, tickets.otp("alice")) as alice:
        alice.send_frame(TEXT, enter("cafe\u0301").encode())
        alice.say("hello")
        percy.assert_hears("hello", "alice")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "r" * 65,
        "a/b",
        "a\nb",
        "a\x00b",
        "<b>",
        "dm:alice,bob",
        "dm:percy,alice",
        "\U0001f600",
        "a\u200bb",
        None,
        7,
        [],
        {},
    ],
    ids=repr,
)
def test_a_bad_room_name_leaves_a_client_where_it_is(server: ServerProcess, tickets: Tickets, name: Any) -> None:
    with pages(server, tickets, "percy", "alice", room="steady") as (percy, alice):
        percy.send(event("change_room", {"name": name}))
        percy.assert_up()
        assert alice.next_message()["from"] == "percy"


# Nothing but new_message ever arrives


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        "null",
        "[]",
        "7",
        '"send_message"',
        "{}",
        '{"type":null}',
        '{"type":7,"payload":{}}',
        '{"type":"send_message"}',
        '{"type":"send_message","payload":null}',
        '{"type":"send_message","payload":[]}',
        '{"type":"send_message","payload":"hi"}',
        '{"type":"send_message","payload":{}}',
        '{"type":"send_message","payload":{"message":""}}',
        '{"type":"send_message","payload":{"message":null}}',
        '{"type":"send_message","payload":{"message":7}}',
        '{"type":"send_message","payload":{"message":["hi"]}}',
        '{"type":"send_message","payload":{"message":"\\ud800"}}',
        '{"type":"send_message","payload":{"message":"hi"}',
        '{"type":"send_message","payload":{"message":"hi"}} {}',
        '{"payload":{"message":"hi"}}',
        '{"type":"change_room"}',
        '{"type":"change_room","payload":{}}',
        '{"type":"new_message","payload":{"message":"forged","from":"alice","sent":"now"}}',
        '{"type":"join_room","id":"1","payload":{"room":"x"}}',
        '{"type":"history","id":1,"payload":{"room":"general"}}',
        '{"type":"ping"}',
        '{"type":"__class__","payload":{}}',
        '{"type":"send_message","id":1e999,"payload":{"message":7}}',
        '{"type":"send_message","payload":{"message":1' + "0" * 10_000 + "}}",
        '{"type":"send_message","payload":{"message":' + "[" * 7_000 + "]" * 7_000 + "}}",
        '{"type":"send_message","payload":' + '{"message":' * 1_300 + "1" + "}" * 1_301,
        '{"type":"unknown","payload":' + "[" * 15_000,
        "[" * 16_000,
        '{"a":' * 3_000,
        "\ufeff" + '{"type":"send_message","payload":{"message":"hi"}}',
        json.dumps({"type": "send_message", "payload": {"message": "x" * 4001}}),
        json.dumps({"type": "x" * 15_000, "payload": {}}),
    ],
    ids=lambda text: text[:60] or "empty",
)
def test_a_wrong_event_is_answered_with_nothing_at_all(server: ServerProcess, tickets: Tickets, text: str) -> None:
    with page(server, tickets.otp(), room="wrong events") as percy:
        percy.send(text)
        percy.assert_up()


@pytest.mark.parametrize(
    "payload", [b"", b"hi", say("hi").encode(), b"\xff" * 16_000], ids=["empty", "text", "event", "long"]
)
def test_a_binary_frame_is_answered_with_nothing_at_all(
    server: ServerProcess, tickets: Tickets, payload: bytes
) -> None:
    with page(server, tickets.otp(), room="binary") as percy:
        percy.send(payload)
        percy.assert_up()


def test_frames_of_every_kind_are_answered_with_nothing_but_pongs(
    server: ServerProcess, tickets: Tickets, room: str
) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(TEXT, enter(room).encode())
        raw.send_frame(PONG, b"unasked")
        raw.send_frame(BINARY, b"1", fin=False)
        raw.send_frame(PING, b"between")
        raw.send_frame(0, b"2")
        raw.send_frame(TEXT, b"")
        assert raw.read_frame() == (PONG, b"between")
        raw.assert_up()


def test_one_who_comes_hears_nothing_of_before(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with page(server, tickets.otp(), room=room) as percy:
        percy.say("before")
        percy.assert_hears("before", "percy")
        with page(server, tickets.otp("alice"), "alice", room=room) as alice:
            assert percy.next_message()["from"] == "alice"
            alice.assert_up()
