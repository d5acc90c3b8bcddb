"""A slow reader harms no one but itself, and no connection keeps more memory than it needs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers import ServerProcess, running
from wire.raw_clients import (
    CLOSE,
    PING,
    TEXT,
    Raw,
    Tickets,
    ask,
    enter,
    frame,
    memory,
    peak_memory,
    say,
)

MIB = 1 << 20
FREE = ("--client-rate", "0", "--otp-ttl", "300", "--max-otps-per-account", "0", "--heartbeat-interval", "0")
# Four bytes a character: with 49 readers, a megabyte for each message or two.
LONG = "\U0001f600" * 3900
MOST_MESSAGES = 2000


def long_message(number: int) -> bytes:
    event = {"type": "send_message", "payload": {"message": f"{number} {LONG}"}}
    return frame(TEXT, json.dumps(event, ensure_ascii=False).encode())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_stops_reading_is_dropped_and_the_others_hear_everything(tmp_path: Path, tls: bool) -> None:
    with running(tmp_path, "--max-outbox", "65536", *FREE, tls=tls) as server, ExitStack() as stack:
        tickets = Tickets(server)
        stalled = stack.enter_context(Raw.websocket(server, tickets.otp("alice"), receive_buffer=4096))
        others = [stack.enter_context(Raw.websocket(server, tickets.otp())) for _ in range(49)]
        before = memory(server)
        said = 0
        while connected(server) > len(others):
            others[0].send(long_message(said))
            for other in others:
                assert other.read_message() == f"{said} {LONG}"
            said += 1
            assert said < MOST_MESSAGES, "a client that does not read is still connected"
        assert memory(server) - before < 32 * MIB
        others[0].assert_up()
        assert_told_or_cut(stalled)


def connected(server: ServerProcess) -> int:
    return int(ask(server, "GET", "/debug").body)


def assert_told_or_cut(stalled: Raw) -> None:
    """What one who reads again at last finds: old messages, then 4001 or the end."""
    try:
        kind, payload = stalled.read_frame()
        while kind == TEXT:
            kind, payload = stalled.read_frame()
        assert (kind, int.from_bytes(payload[:2], "big")) == (CLOSE, 4001)
    except (EOFError, ConnectionError):
        pass


def test_who_asks_and_does_not_read_the_answers_is_dropped(tmp_path: Path) -> None:
    with running(tmp_path, "--max-outbox", "65536", *FREE) as server:
        before = peak_memory(server)
        with Raw.websocket(server, Tickets(server).otp(), receive_buffer=4096) as raw:
            pings = frame(PING, b"x" * 125) * 500
            with pytest.raises(OSError):
                while True:
                    raw.send(pings)
        assert peak_memory(server) - before < 32 * MIB


def test_who_reads_slowly_but_reads_hears_everything(tmp_path: Path) -> None:
    with running(tmp_path, *FREE) as server, Raw.websocket(server, Tickets(server).otp(), receive_buffer=4096) as raw:
        for number in range(40):
            raw.send(long_message(number))
        assert [raw.read_message().split(" ")[0] for _ in range(40)] == [str(number) for number in range(40)]
        raw.assert_up()


# Memory

CROWD = 50


def test_a_large_frame_costs_no_memory_once_it_is_read(tmp_path: Path) -> None:
    with running(tmp_path, *FREE) as server, ExitStack() as stack:
        tickets = Tickets(server)
        crowd = [stack.enter_context(Raw.websocket(server, tickets.otp())) for _ in range(CROWD)]
        before = memory(server)
        for raw in crowd:
            raw.send_frame(TEXT, b" " * 16_384)
            raw.send_frame(PING)
            assert raw.read_frame()[0] != CLOSE
        # 50 buffers of 16 KiB and their doubles would be 1.6 MB and more; the allocator's habits get some room.
        assert memory(server) - before < 8 * MIB


@pytest.mark.parametrize("ending", [b"", b"\x81"], ids=["whole", "half a frame behind"])
def test_a_burst_costs_no_memory_once_it_is_over(tmp_path: Path, ending: bytes) -> None:
    with running(tmp_path, *FREE) as server, ExitStack() as stack:
        tickets = Tickets(server)
        crowd = [stack.enter_context(Raw.websocket(server, tickets.otp())) for _ in range(20)]
        before = memory(server)
        nonsense = frame(TEXT, b"x" * 1000) * 8000
        for raw in crowd:
            raw.send(nonsense + frame(PING, b"done") + ending)
            while raw.read_frame() != (0xA, b"done"):
                pass
        # 8 MB came in on each; a megabyte a connection is generous.
        assert memory(server) - before < 20 * MIB


def test_rooms_that_were_left_cost_no_memory(tmp_path: Path) -> None:
    with running(tmp_path, *FREE) as server, Raw.websocket(server, Tickets(server).otp()) as raw:
        wander(raw, 0, 2000)
        before = memory(server)
        wander(raw, 2000, 22_000)
        assert memory(server) - before < 16 * MIB


def wander(raw: Raw, first: int, last: int) -> None:
    """Enter one room after the other, and say nothing but in the last."""
    for start in range(first, last, 500):
        raw.send(b"".join(frame(TEXT, enter(f"room {number}").encode()) for number in range(start, start + 500)))
        raw.send_frame(TEXT, say(f"{start}").encode())
        assert raw.read_message() == f"{start}"


def test_clients_that_left_cost_no_memory(tmp_path: Path) -> None:
    with running(tmp_path, *FREE) as server:
        tickets = Tickets(server)
        come_and_go(server, tickets, 300)
        before = memory(server)
        come_and_go(server, tickets, 600)
        assert memory(server) - before < 8 * MIB


def come_and_go(server: ServerProcess, tickets: Tickets, times: int) -> None:
    for _ in range(times):
        with Raw.websocket(server, tickets.otp()) as raw:
            raw.send_frame(CLOSE)
            raw.assert_ended(None)
