"""Clients that do not get on: a slow head, a slow body, nothing at all, and no TLS handshake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import ServerProcess, running
from wire.raw_clients import Raw, Tickets, ask, upgrade_head

SHORT = ("--request-timeout", "0.5", "--otp-ttl", "120")


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running(tmp_path_factory.mktemp("hurried"), *SHORT) as server:
        yield server


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: loc",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 36\r\n\r\n{",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        upgrade_head("/ws?otp=x")[:-2],
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk", "half an upgrade"],
)
def test_a_request_that_does_not_go_on_is_cut_off(hurried: ServerProcess, beginning: bytes) -> None:
    with Raw(hurried) as raw:
        raw.send(beginning)
        raw.assert_cut()


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000\r\n\r\n", b" "),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["head", "body", "chunks"],
)
def test_a_request_that_comes_drop_by_drop_is_cut_off(hurried: ServerProcess, beginning: bytes, drop: bytes) -> None:
    with Raw(hurried) as raw:
        raw.send(beginning)
        raw.socket.settimeout(0.1)  # the pause between two drops
        assert drips(raw, drop)


def drips(raw: Raw, drop: bytes) -> bool:
    """Send a drop at a time until the server has had enough of it."""
    for _ in range(300):
        try:
            if not raw.socket.recv(1):
                return True
        except TimeoutError:
            pass
        except ConnectionError:
            return True
        try:
            raw.send(drop)
        except ConnectionError:
            return True
    return False


def test_a_connection_that_is_done_and_idle_is_closed(hurried: ServerProcess) -> None:
    with Raw(hurried) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.read_answer().status == 200
        assert raw.read(2) == b"ok" if raw._unread else True
        raw.read_to_end()


def test_a_connection_is_closed_that_sends_the_rest_of_a_refused_body_and_then_nothing(hurried: ServerProcess) -> None:
    with Raw(hurried) as raw:
        raw.send(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n" + b" " * 9000)
        assert raw.read_answer().status == 413
        raw.send(b" " * 1000)
        raw.assert_cut()


def test_a_websocket_has_no_such_deadline(hurried: ServerProcess) -> None:
    with Raw.websocket(hurried, Tickets(hurried).otp()) as quiet:
        with Raw(hurried) as raw:
            raw.assert_cut()  # a deadline has passed that began after the websocket
        quiet.assert_up()


def test_a_tls_handshake_that_never_begins_is_cut_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("tls"), *SHORT, tls=True) as server:
        trusted, server.tls = server.tls, None
        with Raw(server) as silent, Raw(server) as slow, Raw(server) as plain:
            slow.send(b"\x16\x03\x01")
            plain.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            silent.assert_cut()
            slow.read_to_end()
            plain.read_to_end()
        server.tls = trusted
        assert ask(server, "GET", "/healthz").status == 200
        assert "Traceback" not in server.log()


def test_a_tls_client_that_says_nothing_after_its_handshake_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("tls"), *SHORT, tls=True) as server, Raw(server) as raw:
        raw.assert_cut()
