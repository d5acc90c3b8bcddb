"""Connections on their way in: through a proxy, too many of them, and more than there are descriptors for."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from servers import SERVE, ServerProcess, running
from wire.raw_clients import Tickets, ask, upgrade_head, wait_until

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n"
PROXY = "127.0.0.9"
TRUST = ("--trusted-proxy", PROXY)


def connected(server: ServerProcess, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=15, source_address=(source, 0))


def proxy_header(source: str) -> bytes:
    packed = ipaddress.ip_address(source).packed
    rest = packed + packed + struct.pack(">HH", 4711, 443)
    family = 0x11 if len(packed) == 4 else 0x21
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, family, len(rest)) + rest


def exchanged(server: ServerProcess, request: bytes, *, source: str = PROXY, before: bytes = b"") -> bytes:
    """What a request is answered, over a connection that begins with these bytes."""
    with ExitStack() as stack, suppress(OSError):
        sock = stack.enter_context(connected(server, source))
        sock.sendall(before)
        if server.tls is not None:
            sock = stack.enter_context(server.tls.wrap_socket(sock, server_hostname="localhost"))
        sock.sendall(request)
        return read_all(sock)
    return b""


def read_all(sock: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    data = b""
    with suppress(ConnectionError):
        while part := sock.recv(4096):
            data += part
    return data


# Behind a proxy


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_proxy_header_says_who_connects(tmp_path: Path, tls: bool) -> None:
    with running(tmp_path, *TRUST, "--proxy-protocol", "--log-level", "debug", tls=tls) as server:
        for number, source in enumerate(("203.0.113.5", "2001:db8::5")):
            path = b"/healthz?%d" % number
            assert b"200 OK" in exchanged(server, GET % (path, b""), before=proxy_header(source))
            assert f"address={source}" in server.log()
        # A proxy's connection without the header, and anybody else's with it.
        assert b"200 OK" not in exchanged(server, GET % (b"/healthz", b""))
        assert b"200 OK" not in exchanged(
            server, GET % (b"/healthz", b""), source="127.0.0.1", before=proxy_header("203.0.113.5")
        )
        assert ask(server, "GET", "/healthz").status == 200


def test_a_header_of_a_proxy_counts_and_nobody_elses(tmp_path: Path) -> None:
    with running(tmp_path, *TRUST, "--max-clients-per-address", "1", "--otp-ttl", "120") as server:
        header = b"X-Forwarded-For: 1.1.1.1, %b\r\n"
        assert b"200" in exchanged(server, GET % (b"/debug", b""), source="127.0.0.1")
        assert b"403" in exchanged(server, GET % (b"/debug", header % b"127.0.0.1"), source="127.0.0.1"), "passed on"
        assert b"403" in exchanged(server, GET % (b"/debug", header % b"203.0.113.5"))
        # Neither a proxy on this machine nor who it says to be on this machine is this machine.
        assert b"403" in exchanged(server, GET % (b"/debug", header % b"127.0.0.1"))
        assert b"403" in exchanged(server, GET % (b"/debug", b""))
        assert b"400" in exchanged(server, GET % (b"/debug", header % b"nonsense"))
        tickets = Tickets(server)
        with ExitStack() as stack:
            for client, status in (("203.0.113.5", b"101"), ("203.0.113.5", b"503"), ("203.0.113.6", b"101")):
                sock = stack.enter_context(connected(server, PROXY))
                sock.sendall(upgrade_head(f"/ws?otp={tickets.otp()}", {"X-Forwarded-For": f"9.9.9.9, {client}"}))
                assert sock.recv(4096).startswith(b"HTTP/1.1 " + status)


def test_a_page_that_came_by_https_has_no_business_with_http(tmp_path: Path) -> None:
    with running(tmp_path, *TRUST, "--otp-ttl", "120") as server:
        tickets = Tickets(server)
        for proto, status in (("http", b"101"), ("https", b"403")):
            headers = {"Origin": "http://localhost", "Host": "localhost", "X-Forwarded-Proto": proto}
            with connected(server, PROXY) as sock:
                sock.sendall(upgrade_head(f"/ws?otp={tickets.otp()}", headers | {"X-Forwarded-For": "203.0.113.5"}))
                assert sock.recv(4096).startswith(b"HTTP/1.1 " + status)


# Too many


def is_ended(sock: socket.socket) -> bool:
    """Whether the server has ended a connection on which it has said nothing."""
    if not select.select([sock], [], [], 0)[0]:
        return False
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except ConnectionError:
        return True


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_who_opens_connections_and_leaves_them_keeps_nobody_out(tmp_path: Path, tls: bool) -> None:
    beginning = b"\x16\x03\x01" if tls else b"GET / HT"
    with running(tmp_path, "--max-pending", "8", "--request-timeout", "0", tls=tls) as server, ExitStack() as stack:
        left = [stack.enter_context(connected(server)) for _ in range(6)]
        for sock in left:
            sock.sendall(beginning)
        # Half of the places are for loopback, and one of them for the last to come.
        assert ask(server, "GET", "/healthz").status == 200
        wait_until(lambda: sum(map(is_ended, left)) >= 2)
        assert "too many connections that do not go on" in server.log()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_server_without_descriptors_says_so_and_goes_on_when_there_are_some(tmp_path: Path, tls: bool) -> None:
    few = ("bash", "-c", 'ulimit -n 64; exec "$0" "$@"', *SERVE)
    with running(tmp_path, "--max-pending", "0", tls=tls, program=few) as server:
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(connected(server))
            wait_until(lambda: "connections cannot be taken" in server.log())
        wait_until(lambda: ask(server, "GET", "/healthz").status == 200)
        assert server.log().count("connections cannot be taken") == 1
        assert "Traceback" not in server.log()
