"""RFC 6455 on the wire: frames, fragments, limits, control frames and the closing handshake."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from servers import ServerProcess, running
from wire.raw_clients import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Raw,
    Tickets,
    ask,
    frame,
    page,
    peak_memory,
    say,
    wait_until,
)

MAX_FRAME = 16 * 1024
MIB = 1 << 20


def message_of(size: int) -> bytes:
    """A send_message of exactly so many bytes, the most of them in a field that is ignored."""
    event = {"type": "send_message", "payload": {"message": "sized", "from": ""}}
    event["payload"]["from"] = "x" * (size - len(json.dumps(event)))  # type: ignore[index]  # a dict in it
    return json.dumps(event).encode()


def parts(payload: bytes, size: int) -> list[bytes]:
    """A text message in frames of so many bytes each."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    last = len(pieces) - 1
    return [frame(CONTINUATION if number else TEXT, piece, fin=number == last) for number, piece in enumerate(pieces)]


# Size


@pytest.mark.parametrize("in_parts_of", [MAX_FRAME, 5000, 100], ids=["one frame", "fragments", "small fragments"])
def test_a_message_as_large_as_allowed_is_taken(server: ServerProcess, tickets: Tickets, in_parts_of: int) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send(b"".join(parts(message_of(MAX_FRAME), in_parts_of)))
        assert raw.read_message() == "sized"
        raw.assert_up()


@pytest.mark.parametrize("in_parts_of", [MAX_FRAME + 1, MAX_FRAME, 5000, 1000])
def test_a_message_over_max_frame_closes_with_1009(server: ServerProcess, tickets: Tickets, in_parts_of: int) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send(b"".join(parts(message_of(MAX_FRAME + 1), in_parts_of)))
        raw.assert_closed(1009)


@pytest.mark.parametrize("size", [1 << 20, 1 << 32, (1 << 63) - 1], ids=["1 MiB", "4 GiB", "largest"])
def test_a_frame_over_the_limit_is_refused_by_its_head_alone(
    server: ServerProcess, tickets: Tickets, size: int
) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send(struct.pack("!BBQ", 0x80 | TEXT, 0x80 | 127, size) + b"\0\0\0\0")
        raw.assert_closed(1009)


def test_what_follows_the_head_of_too_large_a_frame_is_not_gathered(tmp_path: Path) -> None:
    with running(tmp_path, "--otp-ttl", "120") as server:
        with Raw.websocket(server, server.login()["otp"]) as raw:
            before = peak_memory(server)
            raw.send(struct.pack("!BBQ", 0x80 | TEXT, 0x80 | 127, 1 << 40) + b"\0\0\0\0")
            try:
                for _ in range(256):
                    raw.send(b"x" * MIB)
            except OSError:
                pass
        assert ask(server, "GET", "/healthz").status == 200
        assert peak_memory(server) - before < 32 * MIB


def test_fragments_without_end_are_not_gathered(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(BINARY, b"x" * 1000, fin=False)
        for _ in range(20):
            raw.send_frame(CONTINUATION, b"x" * 1000, fin=False)
        raw.assert_closed(1009)


def test_another_limit_can_be_set(tmp_path: Path) -> None:
    with running(tmp_path, "--max-frame", "100000", "--otp-ttl", "120") as server:
        tickets = Tickets(server)
        with Raw.websocket(server, tickets.otp()) as raw:
            raw.send_frame(TEXT, message_of(100_000))
            assert raw.read_message() == "sized"
            raw.send_frame(TEXT, message_of(100_001))
            raw.assert_closed(1009)


def test_the_limit_can_be_lifted(tmp_path: Path) -> None:
    flags = ("--max-frame", "0", "--max-message", "0", "--otp-ttl", "120")
    with running(tmp_path, *flags) as server, Raw.websocket(server, Tickets(server).otp()) as raw:
        raw.say("x" * MIB)
        assert raw.read_message() == "x" * MIB
        raw.send(b"".join(parts(message_of(MIB), 100_000)))
        assert raw.read_message() == "sized"


# Text


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'{"type":"\xe2\x82"}', b"\xf0\x9f\x98"],
    ids=repr,
)
def test_text_that_is_not_utf_8_closes_with_1007(server: ServerProcess, tickets: Tickets, text: bytes) -> None:
    for frames in ([frame(TEXT, text)], [frame(TEXT, text, fin=False), frame(CONTINUATION)]):
        with Raw.websocket(server, tickets.otp()) as raw:
            raw.send(b"".join(frames))
            raw.assert_closed(1007)


def test_text_that_cannot_become_utf_8_closes_before_its_end(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(TEXT, b"good\xff", fin=False)
        raw.assert_closed(1007)


def test_a_character_may_be_cut_by_a_fragment(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        text = json.dumps({"type": "send_message", "payload": {"message": "caf\u00e9 \U0001f600"}}, ensure_ascii=False)
        raw.send(b"".join(parts(text.encode(), 1)))
        assert raw.read_message() == "caf\u00e9 \U0001f600"


# Broken frames

GOOD = say("hi").encode()


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, GOOD, masked=False),
        frame(PING, b"", masked=False),
        frame(CLOSE, b"", masked=False),
        frame(TEXT, GOOD, rsv=4),
        frame(TEXT, GOOD, rsv=2),
        frame(TEXT, GOOD, rsv=1),
        frame(PING, b"", rsv=4),
        frame(CLOSE, b"", rsv=1),
        frame(CONTINUATION, GOOD),
        frame(CONTINUATION, GOOD, fin=False),
        frame(TEXT, GOOD, fin=False) + frame(TEXT, GOOD),
        frame(TEXT, GOOD, fin=False) + frame(BINARY, GOOD),
        frame(BINARY, GOOD, fin=False) + frame(TEXT, GOOD, fin=False),
        frame(TEXT, GOOD, fin=False) + frame(CONTINUATION) + frame(CONTINUATION),
        frame(TEXT, GOOD, fin=False) + frame(CONTINUATION, b"", rsv=4),
        *(frame(opcode) for opcode in (0x3, 0x7, 0xB, 0xF)),
        frame(PING, b"x", fin=False),
        frame(CLOSE, b"", fin=False),
        frame(PING, b"x" * 126),
        frame(PONG, b"x" * 126),
        frame(CLOSE, b"\x03\xe8" + b"x" * 124),
        b"\x81\xfe\x00\x05" + frame(TEXT, b"12345")[2:],
        b"\x81\xff" + struct.pack("!Q", 5) + frame(TEXT, b"12345")[2:],
        b"\x81\xff" + b"\x80" + b"\0" * 7 + b"\0\0\0\0",
    ],
    ids=lambda data: data[:24].hex(" "),
)
def test_a_broken_frame_closes_with_1002(server: ServerProcess, tickets: Tickets, frames: bytes) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send(frames)
        raw.assert_closed(1002)


def test_nothing_after_a_broken_frame_is_heard(server: ServerProcess, tickets: Tickets, room: str) -> None:
    with (
        page(server, tickets.otp("alice"), "alice", room="general") as alice,
        Raw.websocket(server, tickets.otp()) as raw,
    ):
        raw.send(frame(TEXT, GOOD, rsv=4) + frame(TEXT, GOOD) + frame(PING, b"x"))
        raw.assert_ended(1002)
        alice.assert_up()


def test_frames_may_come_a_byte_at_a_time(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        for byte in frame(TEXT, GOOD) + frame(PING, b"x" * 125):
            raw.send(bytes([byte]))
        kinds = {raw.read_frame()[0] for _ in range(2)}
        assert kinds == {TEXT, PONG}


# Control frames


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 60, b"x" * 125], ids=len)
def test_a_ping_is_answered_with_its_payload(server: ServerProcess, tickets: Tickets, payload: bytes) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(PING, payload)
        assert raw.read_frame() == (PONG, payload)


def test_a_ping_between_fragments_is_answered_at_once(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(TEXT, GOOD[:10], fin=False)
        raw.send_frame(PING, b"now")
        assert raw.read_frame() == (PONG, b"now")
        raw.send_frame(CONTINUATION, GOOD[10:])
        assert raw.read_message() == "hi"


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", [b"", "caf\u00e9".encode()])
def test_a_close_is_echoed_with_its_code(server: ServerProcess, tickets: Tickets, code: int, reason: bytes) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(CLOSE, struct.pack("!H", code) + reason)
        raw.assert_ended(code)


def test_an_empty_close_is_echoed_empty(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(CLOSE)
        raw.assert_ended(None)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_with_a_code_that_may_not_be_sent_is_answered_1002(
    server: ServerProcess, tickets: Tickets, code: int
) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(CLOSE, struct.pack("!H", code))
        raw.assert_closed(1002)


def test_a_close_of_one_byte_is_answered_1002(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(CLOSE, b"\x03")
        raw.assert_closed(1002)


def test_a_close_whose_reason_is_not_utf_8_is_answered_1007_or_1002(server: ServerProcess, tickets: Tickets) -> None:
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send_frame(CLOSE, b"\x03\xe8\xff\xfe")
        assert raw.read_close()[0] in (1002, 1007)


def test_what_was_said_before_a_close_is_heard_and_what_comes_after_is_not(
    server: ServerProcess, tickets: Tickets
) -> None:
    with (
        page(server, tickets.otp("alice"), "alice", room="general") as alice,
        Raw.websocket(server, tickets.otp()) as raw,
    ):
        raw.send(
            frame(TEXT, say("last words").encode())
            + frame(CLOSE, b"\x03\xe8")
            + frame(TEXT, GOOD)
            + frame(PING, b"still there?")
            + frame(CLOSE, b"\x03\xe8")
        )
        alice.assert_hears("last words", "percy")
        assert raw.read_close()[0] == 1000
        raw.assert_cut()
        alice.assert_up()


def test_no_message_follows_the_servers_close(server: ServerProcess, tickets: Tickets) -> None:
    # RFC 6455 section 5.5.1.
    with (
        page(server, tickets.otp("alice"), "alice", room="general") as alice,
        Raw.websocket(server, tickets.otp()) as raw,
    ):
        raw.send_frame(TEXT, b"\xff")
        assert raw.read_close()[0] == 1007
        alice.say("is anyone there?")
        alice.assert_hears("is anyone there?", "alice")
        raw.assert_cut()


def test_a_client_that_goes_without_a_word_is_forgotten(server: ServerProcess, tickets: Tickets) -> None:
    with page(server, tickets.otp("alice"), "alice", room="general") as alice:
        with Raw.websocket(server, tickets.otp()) as raw:
            raw.assert_up()
            assert alice.next_message()["from"] == "percy"
            counted = int(ask(server, "GET", "/debug").body)
        wait_until(lambda: int(ask(server, "GET", "/debug").body) < counted)
        alice.assert_up()
