"""Stopping: what was taken is delivered, everyone is told, and nobody can hold it up."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers import ServerProcess, running
from wire.raw_clients import PING, TEXT, Raw, Tickets, ask, enter, frame, page, say, upgrade_head

PATIENT = ("--otp-ttl", "120", "--max-otps-per-account", "0", "--client-rate", "0")
# The promise is ten seconds; a slow machine gets a little more.
STOP_S = 15.0

COMPLAINTS = ("Traceback", "was destroyed", "never retrieved", "never awaited", "exception", "ResourceWarning")


def exit_code(server: ServerProcess) -> int:
    """Wait for a server that was told to stop; `stop` would tell it again, and that means at once."""
    return server._process.wait(STOP_S)


def assert_quiet(server: ServerProcess) -> None:
    """The log holds no sign of trouble."""
    log = server.log()
    assert not [word for word in COMPLAINTS if word.lower() in log.lower()], log


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_messages_taken_are_delivered_then_everyone_is_told_1012(tmp_path: Path, tls: bool) -> None:
    with running(tmp_path, *PATIENT, tls=tls) as server, ExitStack() as stack:
        tickets = Tickets(server)
        people = [stack.enter_context(page(server, tickets.otp(user), user)) for user in ("percy", "alice", "bob")]
        v1 = stack.enter_context(Raw.websocket(server, tickets.otp(), headers={"Sec-WebSocket-Protocol": "hubbub.v1"}))
        speaker = people[0].connection
        for number in range(300):
            speaker.send(say(f"message {number}"))
        people[1].assert_hears("message 0", "percy")
        os.kill(server.pid, signal.SIGTERM)
        heard = [someone.assert_closed(1012) for someone in people]
        heard[1].insert(0, heard[0][0])
        # The same for all, with nothing missing in the middle.
        assert heard[0] == heard[1] == heard[2]
        assert all(f'"message {number}"' in event for number, event in enumerate(heard[0]))
        v1.assert_closed(1012)
        assert exit_code(server) == 0
        assert_quiet(server)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_twenty_dead_peers_do_not_hold_up_a_stop(tmp_path: Path, tls: bool) -> None:
    with running(tmp_path, *PATIENT, "--max-outbox", "0", tls=tls) as server, ExitStack() as stack:
        tickets = Tickets(server)
        dead = [
            stack.enter_context(Raw.websocket(server, tickets.otp("alice"), receive_buffer=4096)) for _ in range(20)
        ]
        percy = stack.enter_context(page(server, tickets.otp()))
        for _ in range(500):  # until well over what the system's own buffers take
            percy.say("x" * 4000)
            percy.next_message()
        dead[0].send_frame(PING)
        assert server.stop() == 0
        assert_quiet(server)


def test_unfinished_requests_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    beginnings = [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 36\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        upgrade_head("/ws?otp=x")[:-2],
    ]
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        for beginning in beginnings * 4:
            stack.enter_context(Raw(server)).send(beginning)
        assert ask(server, "GET", "/healthz").status == 200
        assert server.stop() == 0
        assert_quiet(server)


def test_unfinished_tls_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT, tls=True) as server, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Raw(server))
        trusted, server.tls = server.tls, None
        for beginning in (b"", b"\x16\x03\x01", b"\x16\x03\x01") * 4:
            stack.enter_context(Raw(server)).send(beginning)
        server.tls = trusted
        assert ask(server, "GET", "/healthz").status == 200
        assert server.stop() == 0
        assert_quiet(server)


def test_while_it_drains_a_server_is_not_ready_and_lets_no_one_in(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, ExitStack() as stack:
        tickets = Tickets(server)
        otp = tickets.otp()
        # A peer that does not answer keeps the drain open for as long as it is waited for.
        silent = stack.enter_context(Raw.websocket(server, tickets.otp()))
        kept_alive = [stack.enter_context(Raw(server)) for _ in range(4)]
        for raw in kept_alive:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.read_answer().status == 200
            assert raw.read(0) == b""
        os.kill(server.pid, signal.SIGTERM)
        silent.assert_closed(1012)
        login = b'{"username":"percy","password":"123"}'
        requests = [
            b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(login), login),
            b"POST /otp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Length: 0\r\n\r\n"
            % tickets.token("percy").encode(),
            upgrade_head(f"/ws?otp={otp}"),
        ]
        for raw, request in zip(kept_alive, requests, strict=True):
            assert_turned_away(raw, request)
        assert exit_code(server) == 0
        assert_quiet(server)


def assert_turned_away(raw: Raw, request: bytes) -> None:
    """503 with a time to come back, or no answer."""
    try:
        raw.send(request)
        answer = raw.read_answer()
    except (EOFError, ConnectionError):
        return
    assert answer.status == 503
    assert b"readyz" in request or int(answer.headers["Retry-After"]) >= 1


STUBBORN = """
import asyncio, threading
from hubbub import Client, Event, Hub

hub = Hub()

class Wait(Event, tag="wait"):
    pass

@hub.on
async def wait(wait: Wait, client: Client) -> None:
    client.send(wait)
    while True:
        try:
            await asyncio.to_thread(threading.Event().wait)
        except asyncio.CancelledError:
            pass
"""


def test_a_handler_that_ignores_its_cancellation_and_its_thread_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    with (
        running(tmp_path, *PATIENT, target="stubborn:hub") as server,
        Raw.websocket(server, Tickets(server).otp(), headers={"Sec-WebSocket-Protocol": "hubbub.v1"}) as v1,
    ):
        v1.send_frame(TEXT, b'{"type":"wait","payload":{}}')
        assert b"welcome" in v1.read_frame()[1]
        assert b"wait" in v1.read_frame()[1]
        assert server.stop() == 0
        assert "handlers ignore their cancellation" in server.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_one_signal_is_an_orderly_stop(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as server:
        os.kill(server.pid, number)
        assert exit_code(server) == 0
        assert_quiet(server)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, Raw.websocket(server, Tickets(server).otp()) as silent:
        os.kill(server.pid, signal.SIGTERM)
        silent.assert_closed(1012)  # the first one has been seen, and this peer is waited for
        os.kill(server.pid, signal.SIGTERM)
        assert exit_code(server) == 128 + signal.SIGTERM


def test_the_port_is_free_again_after_a_stop(tmp_path: Path) -> None:
    with running(tmp_path, *PATIENT) as server, page(server, Tickets(server).otp()) as percy:
        port = str(server.port)
        percy.assert_up()
        assert server.stop() == 0
        with running(tmp_path, "--port", port) as again:
            assert ask(again, "GET", "/healthz").status == 200


def test_clients_that_talk_without_end_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    with (
        running(tmp_path, *PATIENT) as server,
        Raw.websocket(server, Tickets(server).otp(), query="&name=percy") as raw,
    ):
        burst = frame(TEXT, enter("here").encode()) + frame(TEXT, say("x" * 100).encode()) * 50
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(OSError):
            while True:
                raw.send(burst)
        assert exit_code(server) == 0
        assert_quiet(server)
