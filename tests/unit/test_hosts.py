"""The names that a server answers to."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import structlog

from hubbub.certs import Names, local_certificate, local_names, new_ca, new_leaf, write_pair
from hubbub.names import server_names
from hubbub.settings import Settings
from hubbub.wire.denial import Denied
from hubbub.wire.hosts import LINES, LINES_EVERY_S, MAX_SEEN, MAX_SHOWN, Hosts, host_name, is_pattern, local_address
from unit.transports import FakeTransport

HERE = "192.0.2.1"


def answers(hosts: Hosts, host: str) -> bool:
    name = host_name(host)
    assert name is not None
    return hosts.answer_to(name, lambda: HERE)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a", "a"),
        ("A.Example:80", "a.example"),
        ("a.:", "a"),
        ("[::1]", "::1"),
        ("[0:0::0:1]:65535", "::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("a_b-c~%41", "a_b-c~%41"),
        ("x" * 255, "x" * 255),
    ],
)
def test_the_name_in_a_host(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", ":80", "a:b", "a:65536", "a:000001", "a b", "a/b", "a@b", "a?b", "a,b c", "[a]", "[", "[]", "[::1"),
        *("::1", "[1.2.3.4]", "[::1%eth0]", "\u00fc", "a\u0661", "%4", "%zz", "x" * 256, "a\n", "a:\u0661"),
    ],
)
def test_what_is_no_host(host: str) -> None:
    assert host_name(host) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3", "[::1]", HERE, f"{HERE}:80"])
def test_loopback_and_the_address_come_to_are_always_right(host: str) -> None:
    assert answers(Hosts(), host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "localhost.evil.example",
            "a.localhost",
            "192.0.2.2",
            "0.0.0.0",
            "[::]",
            "127.1",
            "0177.0.0.1",
        ),
        *("2130706433", "127.0.0.1.evil.example", "[2001:db8::1]", "127.0.0.1%2eevil", "1.2.3.4.5"),
    ],
)
def test_all_else_is_not(host: str) -> None:
    assert not answers(Hosts(), host)


@pytest.mark.parametrize("listening", ["0.0.0.0", "::"])
def test_to_listen_everywhere_is_no_name(listening: str) -> None:
    assert not answers(Hosts([listening]), f"[{listening}]" if ":" in listening else listening)


def test_a_connection_that_came_to_no_address_is_right_about_none() -> None:
    assert not Hosts().answer_to("0.0.0.0", lambda: "0.0.0.0")  # the point
    assert not Hosts().answer_to(HERE, lambda: "")


def test_names_that_are_listed() -> None:
    hosts = Hosts(["Chat.Example.", "*.wild.example", "2001:DB8:0::1", "[2001:db8::2]"])
    for host in ("chat.example", "CHAT.example.:8080", "a.wild.example", "[2001:db8::1]", "[2001:db8::2]"):
        assert answers(hosts, host)
    for host in ("wild.example", "a.b.wild.example", ".wild.example", "xchat.example", "a.chat.example", "example"):
        assert not answers(hosts, host)


def test_a_star_is_every_name() -> None:
    for host in ("evil.example", "192.0.2.9", "[2001:db8::9]"):
        assert answers(Hosts(["*"]), host)


@pytest.mark.parametrize("name", ["*", "a", "chat.example.com", "*.example.com", "192.0.2.1", "::1", "A_b-c"])
def test_what_may_be_listed(name: str) -> None:
    assert is_pattern(name)


@pytest.mark.parametrize(
    "name", ["", "*.", "**", "a.*", "*a.b", "a:80", "http://a", "a/b", "a b", "a..b", ".a", "\u00fc.example", "x" * 64]
)
def test_what_may_not(name: str) -> None:
    assert not is_pattern(name)


def test_a_request_for_another_host_is_421_and_a_line_that_names_the_setting() -> None:
    hosts = Hosts()
    with structlog.testing.capture_logs() as lines, pytest.raises(Denied) as denied:
        hosts.check("Evil.example:80", lambda: HERE, "198.51.100.1", 0.0)
    assert denied.value.status == 421
    assert "--allow-host" in denied.value.message
    assert "evil.example" in denied.value.message
    [line] = lines
    assert (line["log_level"], line["host"], line["address"]) == ("warning", "evil.example", "198.51.100.1")
    assert "--allow-host" in line["event"]


def test_what_was_right_is_known_again_and_nothing_else() -> None:
    hosts = Hosts(["*.wild.example"])

    def ask(host: str, here: str = HERE) -> None:
        hosts.check(host, lambda: here, "198.51.100.1", 0.0)

    for _ in range(2):
        for port in range(MAX_SEEN + 10):
            ask(f"localhost:{port}")
        for host in (HERE, "a.wild.example"):
            ask(host)
    assert len(hosts._seen) == MAX_SEEN
    for host in ("localhos", "localhost:99999", "evil.example:1", f"{HERE}1", "wild.example"):
        with pytest.raises(Denied):
            ask(host)
    with pytest.raises(Denied):
        ask(HERE, "192.0.2.2")  # it was right for another connection


def test_a_flood_of_them_does_not_fill_the_log() -> None:
    hosts = Hosts()

    def ask(now: float) -> None:
        with pytest.raises(Denied) as denied:
            hosts.check("x" * 200, lambda: HERE, "198.51.100.1", now)
        assert len(denied.value.message) < 200

    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            ask(0.0)
        assert len(lines) == LINES
        ask(LINES_EVERY_S)
        ask(LINES_EVERY_S)
    assert [line["left_out"] for line in lines] == [0] * LINES + [1000 - LINES]
    assert all(len(line["host"]) == MAX_SHOWN for line in lines)


def test_the_address_that_a_connection_came_to() -> None:
    class At(FakeTransport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            assert name == "sockname"
            return where

    where: object = ("fe80::1%eth0", 80, 0, 2)
    assert local_address(At()) == "fe80::1"
    where = None
    assert local_address(At()) == ""


# What a server lists


def test_a_server_goes_by_where_it_listens_and_by_this_machines_names() -> None:
    names = server_names(
        Settings(host="192.0.2.7", no_tls=True, name=("our.example",), allow_host=("chat.example", "[::2]"))
    )
    assert names == ["192.0.2.7", *local_names(), "our.example", "chat.example", "[::2]"]


def of_another_ca(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """A certificate that this machine's CA would not issue, and its key."""
    now = datetime.datetime.now(datetime.UTC)
    chain, key = folder / "chain.pem", folder / "key.pem"
    write_pair(chain, key, new_leaf(new_ca(Names(["another.example"]), now), Names(names), now))
    return chain, key


def test_a_server_goes_by_the_names_of_its_certificate(tmp_path: Path) -> None:
    chain, key = of_another_ca(tmp_path, ["chat.example", "*.wild.example", "192.0.2.9"])
    names = server_names(Settings(tls_cert=chain, tls_key=key))
    assert sorted(names) == ["*.wild.example", "127.0.0.1", "192.0.2.9", "chat.example"]
    hosts = Hosts(names)
    assert answers(hosts, "a.wild.example")
    assert answers(hosts, "192.0.2.9")
    assert not answers(hosts, "wild.example")


def test_a_certificate_without_names_names_nothing(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    made = local_certificate(tmp_path, Names(["a"]), now)
    assert made.ca is not None
    assert server_names(Settings(tls_cert=made.ca, tls_key=made.key)) == ["127.0.0.1"]
