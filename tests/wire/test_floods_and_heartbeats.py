"""Clients that say too much, and clients that say nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from servers import ServerProcess, running
from wire.raw_clients import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Page,
    Raw,
    Tickets,
    frame,
    page,
    say,
)

# Floods

FLOOD = 400


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that takes five events at once, and then one a second."""
    flags = ("--client-rate", "1", "--client-burst", "5", "--otp-ttl", "120", "--max-otps-per-account", "0")
    with running(tmp_path_factory.mktemp("strict"), *flags) as server:
        yield server


@pytest.mark.parametrize(
    "flooding",
    [
        frame(TEXT, say("flood").encode()),
        frame(TEXT, b"not json"),
        frame(TEXT, b""),
        frame(PING, b"flood"),
        frame(BINARY, b"flood"),
        frame(BINARY, b"", fin=False) + frame(CONTINUATION, b""),
        frame(BINARY, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 10 + frame(CONTINUATION, b"x"),
    ],
    ids=["messages", "nonsense", "empty", "pings", "binary", "messages in fragments", "fragments"],
)
def test_a_flood_is_dropped_then_closed_with_4102(strict: ServerProcess, flooding: bytes) -> None:
    with Raw.websocket(strict, Tickets(strict).otp()) as raw:
        raw.send(flooding * FLOOD)
        answers = 0
        while (found := raw.read_frame())[0] != CLOSE:
            answers += 1
        assert struct.unpack("!H", found[1][:2]) == (4102,)
        # What the burst allows, and a second's more for each second that a slow machine takes.
        assert answers < FLOOD / 4


def test_events_over_the_rate_are_dropped_without_a_word(strict: ServerProcess) -> None:
    with page(strict, Tickets(strict).otp()) as percy:
        for number in range(20):
            percy.say(str(number))
        # All that were let in come back in order; the rest is gone.
        assert percy.next_message()["message"] == "0"
        heard = [0]
        while len(heard) < 5:
            heard.append(int(percy.next_message()["message"]))
        assert heard == sorted(heard)
        say_until_heard(percy)


def say_until_heard(percy: Page) -> None:
    """The connection is up: at some time the rate lets a message through again."""
    while True:
        percy.say("and now?")
        try:
            while percy.connection.recv(0.5):
                pass
        except TimeoutError:
            return


def test_a_flood_harms_no_one_else(strict: ServerProcess) -> None:
    tickets = Tickets(strict)
    with (
        page(strict, tickets.otp("alice"), "alice", room="quiet") as alice,
        Raw.websocket(strict, tickets.otp()) as raw,
    ):
        raw.send(frame(TEXT, say("flood").encode()) * FLOOD)
        raw.assert_closed(4102)
        alice.assert_up()


@pytest.mark.parametrize("piece", [b"", b"x"])
def test_a_message_in_tiny_fragments_is_a_flood(server: ServerProcess, tickets: Tickets, piece: bytes) -> None:
    # With the limits that a server has by itself; a good message of 1,000 bytes would pass.
    with Raw.websocket(server, tickets.otp()) as raw:
        raw.send(frame(TEXT, say("hi").encode()))
        assert raw.read_message() == "hi"
        raw.send(frame(TEXT, piece, fin=False) + frame(CONTINUATION, piece, fin=False) * 4000)
        raw.assert_ended(4102)


def test_an_unlimited_client_is_never_flooding(tmp_path_factory: pytest.TempPathFactory) -> None:
    flags = ("--client-rate", "0", "--otp-ttl", "120")
    with (
        running(tmp_path_factory.mktemp("free"), *flags) as server,
        Raw.websocket(server, Tickets(server).otp()) as raw,
    ):
        raw.send(frame(TEXT, say("flood").encode()) * 3000)
        assert [raw.read_message() for _ in range(3000)] == ["flood"] * 3000
        raw.assert_up()


# Heartbeats


@pytest.fixture(scope="module")
def nervous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a quick pulse."""
    flags = ("--heartbeat-interval", "0.3", "--heartbeat-timeout", "0.4", "--otp-ttl", "120", "--client-rate", "0")
    with running(tmp_path_factory.mktemp("nervous"), *flags) as server:
        yield server


@pytest.fixture(scope="module")
def nervous_tickets(nervous: ServerProcess) -> Tickets:
    return Tickets(nervous)


def test_a_silent_peer_is_pinged_and_closed_with_4000(nervous: ServerProcess, nervous_tickets: Tickets) -> None:
    with Raw.websocket(nervous, nervous_tickets.otp()) as raw:
        assert raw.read_frame()[0] == PING
        raw.assert_ended(4000)


# Twice the silence that closes a connection, counted in pings.
ROUNDS = 6


@pytest.mark.parametrize(
    "sign_of_life",
    [
        frame(PONG),
        frame(PONG, b"not what was asked"),
        frame(PING),
        frame(TEXT, b"nonsense"),
        frame(BINARY, b"\x00"),
    ],
    ids=["pong", "wrong pong", "ping", "text", "binary"],
)
def test_any_frame_is_a_sign_of_life(nervous: ServerProcess, nervous_tickets: Tickets, sign_of_life: bytes) -> None:
    with Raw.websocket(nervous, nervous_tickets.otp()) as raw:
        pings = 0
        while pings < ROUNDS:
            kind, payload = raw.read_frame()
            assert kind in (PING, PONG), payload
            if kind == PING:
                pings += 1
                raw.send(sign_of_life)


def test_a_fragment_is_a_sign_of_life(nervous: ServerProcess, nervous_tickets: Tickets) -> None:
    with Raw.websocket(nervous, nervous_tickets.otp()) as raw:
        raw.send_frame(TEXT, b"", fin=False)
        for _ in range(ROUNDS):
            assert raw.read_frame()[0] == PING
            raw.send_frame(CONTINUATION, b"", fin=False)


def test_half_a_frame_that_drips_is_no_sign_of_life(nervous: ServerProcess, nervous_tickets: Tickets) -> None:
    with Raw.websocket(nervous, nervous_tickets.otp()) as raw:
        half = iter(frame(TEXT, b"x" * 10_000))
        kind, payload = raw.read_frame()
        while kind == PING:
            raw.send(bytes([next(half)]))
            kind, payload = raw.read_frame()
        assert (kind, payload[:2]) == (CLOSE, struct.pack("!H", 4000))


def test_a_well_behaved_client_stays_for_as_long_as_it_likes(nervous: ServerProcess, nervous_tickets: Tickets) -> None:
    with (
        page(nervous, nervous_tickets.otp(), room="calm") as percy,
        Raw.websocket(nervous, nervous_tickets.otp()) as raw,
    ):
        while raw.read_frame()[0] == PING:  # the other one has been cut off meanwhile
            pass
        percy.assert_up()


def test_without_heartbeats_a_silent_peer_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    flags = ("--heartbeat-interval", "0", "--otp-ttl", "120")
    with (
        running(tmp_path_factory.mktemp("calm"), *flags) as server,
        Raw.websocket(server, Tickets(server).otp()) as raw,
    ):
        raw.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            raw.read_frame()
        raw.socket.settimeout(30)
        raw.assert_up()
