"""The sockets that a server listens on: for all addresses of a host, or for none."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hubbub import listening
from hubbub.errors import ConfigError
from hubbub.listening import bind, bind_slots, cannot_bind

HAS_IPV6 = socket.has_ipv6


class Sockets(socket.socket):
    """Sockets that are counted."""

    made: list[socket.socket]

    def __init__(self, *args: int) -> None:
        super().__init__(*args)
        self.made.append(self)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """The sockets made for the code under test."""
    Sockets.made = []
    monkeypatch.setattr(socket, "socket", Sockets)
    yield Sockets.made
    for sock in Sockets.made:
        sock.close()


@contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets as a server has them, closed afterwards."""
    sockets = bind(host, port)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def addresses(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let a name stand for these addresses of this machine."""

    def find(_host: str, port: int, **_more: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", find)


def test_port_0_is_a_free_one() -> None:
    with bound("127.0.0.1", 0) as (sock,):
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port > 0


def test_all_addresses_of_a_host_get_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3")
    with bound("all.example", 0) as sockets:
        assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_a_port_is_had_again_as_soon_as_it_is_left() -> None:
    with bound("127.0.0.1", 0) as (sock,):
        port = sock.getsockname()[1]
        sock.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            there, _ = sock.accept()
            there.close()  # first: this side of the connection is in TIME_WAIT from here on
            assert client.recv(1) == b""
    with bound("127.0.0.1", port):
        pass


def test_a_port_that_is_taken_is_named_and_no_socket_is_left(
    monkeypatch: pytest.MonkeyPatch, made: list[socket.socket]
) -> None:
    with taken() as port:
        addresses(monkeypatch, "127.0.0.2", "127.0.0.1")
        with pytest.raises(ConfigError, match=f"^--port {port} is taken on all.example; "):
            bind("all.example", port)
        assert [sock.fileno() for sock in made[-2:]] == [-1, -1]


def test_slots_share_all_addresses_and_one_port(monkeypatch: pytest.MonkeyPatch, made: list[socket.socket]) -> None:
    addresses(monkeypatch, "127.0.0.1", "127.0.0.2")
    slots = bind_slots("all.example", 0, 3)
    assert sum(slots, []) == made  # noqa: RUF017  # three short lists
    assert [[sock.getsockname()[0] for sock in slot] for slot in slots] == [["127.0.0.1", "127.0.0.2"]] * 3
    assert len({sock.getsockname()[1] for slot in slots for sock in slot}) == 1
    for slot in slots:
        slot[1].listen()
    port = slots[0][0].getsockname()[1]
    for _ in range(50):
        with socket.socket() as client:
            client.connect(("127.0.0.2", port))
    listening = [slot[1] for slot in slots]
    found, _, _ = select.select(listening, [], [], 0)
    assert found == listening, "by chance one has none, once in 10^8 runs"


def test_slots_do_not_join_those_of_another_server(made: list[socket.socket]) -> None:
    slots = bind_slots("127.0.0.1", 0, 2)
    for [sock] in slots:
        sock.listen()
    port = slots[0][0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"^--port {port} is taken"):
        bind_slots("127.0.0.1", port, 2)


def test_of_slots_that_cannot_be_had_no_socket_is_left(
    monkeypatch: pytest.MonkeyPatch, made: list[socket.socket]
) -> None:
    def fail(_first: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(listening, "bind_beside", fail)
    with pytest.raises(ConfigError, match="Too many open files"):
        bind_slots("127.0.0.1", 0, 2)
    assert [sock.fileno() for sock in made] == [-1]


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300, "-", "999.0.0.1"])
def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def find(*_args: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    if host != "a" * 300:  # that one is no name at all, and no resolver is asked
        monkeypatch.setattr(socket, "getaddrinfo", find)
    with pytest.raises(ConfigError, match=f"^--host {host}: no such address"):
        bind(host, 0)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--host 192\.0\.2\.1 is no address of this machine"):
        bind("192.0.2.1", 0)  # RFC 5737: for documentation


def test_a_port_for_the_superuser_is_named() -> None:
    assert cannot_bind("127.0.0.1", 80, OSError(errno.EACCES, "")).startswith("--port 80 is not for this user")


def test_what_else_the_system_says_is_passed_on() -> None:
    assert cannot_bind("::", 80, OSError(errno.ENOBUFS, "No buffer space available")).endswith(
        "No buffer space available"
    )


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
def test_ipv6_leaves_ipv4_alone() -> None:
    try:
        sockets = bind("::1", 0)
    except ConfigError:
        pytest.skip("this machine has no IPv6 address")
    with sockets[0] as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
