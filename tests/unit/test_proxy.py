"""Who stands behind a proxy: what is believed, of whom, and what is said of the rest."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.policy import is_loopback, network_of
from hubbub.wire.denial import Denied
from hubbub.wire.proxy import (
    MAX_HOPS,
    MAX_REST,
    SIGNATURE,
    Proxies,
    Sender,
    proxy_header_size,
    proxy_header_source,
)

TRUSTED = Proxies(["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"])
PEER = "10.0.0.1"

X_FORWARDED = [
    (["203.0.113.5"], "203.0.113.5"),
    (["203.0.113.5:4711"], "203.0.113.5"),
    ([" 203.0.113.5 "], "203.0.113.5"),
    (["2001:db8::5"], "2001:db8::5"),
    (["[2001:db8::5]"], "2001:db8::5"),
    (["[2001:db8::5]:443"], "2001:db8::5"),
    (["2001:DB8:0::0005"], "2001:db8::5"),
    (["::ffff:203.0.113.5"], "203.0.113.5"),
    (["[::ffff:203.0.113.5]:80"], "203.0.113.5"),
    # What a client has made up stands on the left, and is not looked at.
    (["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
    (["nonsense, , 127.0.0.1, 203.0.113.5"], "203.0.113.5"),
    (["10.0.0.9, 203.0.113.5"], "203.0.113.5"),
    (["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
    (["1.1.1.1,2.2.2.2", "203.0.113.5, 10.2.3.4"], "203.0.113.5"),
    # Several trusted proxies.
    (["203.0.113.5, 10.0.0.2"], "203.0.113.5"),
    (["203.0.113.5, 2001:db8:1::2, 10.0.0.2"], "203.0.113.5"),
    (["1.1.1.1, 203.0.113.5, 10.0.0.3, 10.0.0.2"], "203.0.113.5"),
    (["203.0.113.5, ::ffff:10.0.0.2"], "203.0.113.5"),
    # All are trusted: the first of them has asked itself.
    (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    # A proxy that does not tell is as far as is known.
    (["unknown"], "10.0.0.1"),
    (["Unknown, 10.0.0.2"], "10.0.0.2"),
    (["203.0.113.5, _hidden, 10.0.0.2"], "10.0.0.2"),
    (["_hidden:_port"], "10.0.0.1"),
    # A loopback that is not ours.
    (["127.0.0.2"], "proxied:127.0.0.2"),
    (["::1"], "proxied:::1"),
    (["::ffff:127.0.0.2"], "proxied:127.0.0.2"),
    (["127.0.0.1"], "proxied:127.0.0.1"),
]


@pytest.mark.parametrize(("lines", "address"), X_FORWARDED)
def test_x_forwarded_for_is_read_from_its_end(lines: list[str], address: str) -> None:
    assert TRUSTED.sender(PEER, {"x-forwarded-for": lines}).address == address


FORWARDED = [
    (["for=203.0.113.5"], "203.0.113.5", False),
    (["For=203.0.113.5;Proto=HTTPS"], "203.0.113.5", True),
    (["for=203.0.113.5;proto=http"], "203.0.113.5", False),
    (['for="203.0.113.5:80" ; by=10.0.0.1;proto=https'], "203.0.113.5", True),
    (['for="[2001:db8::5]:4711"'], "2001:db8::5", False),
    (['for="[2001:db8::5]"'], "2001:db8::5", False),
    (['for="203.0.\\1\\13.5"'], "203.0.113.5", False),
    (["for=1.1.1.1;proto=https, for=203.0.113.5"], "203.0.113.5", False),
    (["for=1.1.1.1", "for=203.0.113.5;proto=https"], "203.0.113.5", True),
    (["for=203.0.113.5;proto=https, for=10.0.0.2;proto=http"], "203.0.113.5", True),
    (['for="a, for=9.9.9.9", for=203.0.113.5'], "203.0.113.5", False),
    (["for=unknown"], "10.0.0.1", False),
    (["for=_a.b-c"], "10.0.0.1", False),
    (["proto=https"], "10.0.0.1", True),
    (['for="_gazonk:_x"'], "10.0.0.1", False),
    (["for=127.0.0.5"], "proxied:127.0.0.5", False),
]


@pytest.mark.parametrize(("lines", "address", "is_secure"), FORWARDED)
def test_forwarded_is_read_from_its_end(lines: list[str], address: str, is_secure: bool) -> None:
    assert TRUSTED.sender(PEER, {"forwarded": lines}) == Sender(address, is_secure)


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        *[("x-forwarded-for", [value]) for value in ("", "nonsense", "203.0.113.5,", "203.0.113", "203.0.113.05")],
        *[("x-forwarded-for", [value]) for value in ("[2001:db8::5", "2001:db8::5]", "[203.0.113.5]", "1.2.3.4:5:6")],
        *[("x-forwarded-for", [value]) for value in ("fe80::1%eth0", "_", "a.example", "[]", "203.0.113.5 x")],
        ("x-forwarded-for", ["203.0.113.5, 10.0.0.2, nonsense"]),
        ("x-forwarded-for", [",".join(["10.0.0.2"] * (MAX_HOPS + 1))]),
        *[
            ("forwarded", [value])
            for value in ("", "for", "for=", "for=;", "203.0.113.5", "for=203.0.113.5;", "for = x")
        ],
        *[("forwarded", [value]) for value in ('for="203.0.113.5', "for=203.0.113.5,", "for=203.0.113.5;for=1.1.1.1")],
        *[
            ("forwarded", [value])
            for value in ("for=2001:db8::5", "for=[2001:db8::5]", 'for="x" y', "for=203.0.113.5 x")
        ],
        # A quote does not reach over what a trusted proxy has added.
        ("forwarded", ['for=9.9.9.9;by="', 'for="[2001:db8::5]"']),
        ("forwarded", ['for=9.9.9.9;by=", for="[2001:db8::5]"']),
    ],
)
def test_what_a_trusted_proxy_sends_and_cannot_be_read_is_said(header: str, lines: list[str]) -> None:
    with pytest.raises(Denied) as denied:
        TRUSTED.sender(PEER, {header: lines})
    assert denied.value.status == 400
    assert header in denied.value.message.lower()


def test_the_headers_of_anybody_else_mean_nothing() -> None:
    headers = {"x-forwarded-for": ["1.1.1.1"], "forwarded": ["nonsense"], "x-forwarded-proto": ["https"]}
    for proxies, peer in ((TRUSTED, "203.0.113.9"), (TRUSTED, "127.0.0.2"), (TRUSTED, ""), (Proxies(), "127.0.0.1")):
        assert proxies.sender(peer, headers) == Sender(peer)


def test_two_headers_have_to_agree_because_one_may_be_the_clients() -> None:
    both = {"x-forwarded-for": ["1.1.1.1, 203.0.113.5"], "forwarded": ["for=203.0.113.5;proto=https"]}
    assert TRUSTED.sender(PEER, both) == Sender("203.0.113.5", is_secure=True)
    with pytest.raises(Denied, match="different clients"):
        TRUSTED.sender(PEER, {**both, "forwarded": ["for=1.1.1.1"]})


@pytest.mark.parametrize(
    ("lines", "is_secure"),
    [
        (["https"], True),
        (["WSS"], True),
        (["http"], False),
        (["https, http"], False),
        (["http", "https"], True),
        ([], False),
    ],
)
def test_the_nearest_proxy_says_whether_it_is_https(lines: list[str], is_secure: bool) -> None:
    headers = {"x-forwarded-for": ["203.0.113.5"], "x-forwarded-proto": lines}
    assert TRUSTED.sender(PEER, headers).is_secure is is_secure


def test_a_proxy_on_this_machine_has_none_of_its_privileges() -> None:
    for headers in ({}, {"x-forwarded-for": ["unknown"]}, {"x-forwarded-for": ["127.0.0.1"]}):
        assert not is_loopback(TRUSTED.sender("127.0.0.1", headers).address)


@given(st.text(alphabet='for=";,\\[]:. 0129a_\t', max_size=60))
def test_a_client_cannot_choose_its_address(prefix: str) -> None:
    for headers in (
        {"x-forwarded-for": [prefix + ", 203.0.113.5"]},
        {"x-forwarded-for": [prefix, "203.0.113.5"]},
        {"forwarded": [prefix, 'for="203.0.113.5"']},
        {"forwarded": [prefix + ', for="203.0.113.5"']},
    ):
        try:
            sender = TRUSTED.sender(PEER, headers)
        except Denied:
            continue
        assert sender.address == "203.0.113.5"


def test_a_client_counts_with_its_whole_network() -> None:
    assert network_of("203.0.113.5") == network_of("::ffff:203.0.113.5") == "203.0.113.5"
    assert network_of("2001:db8::5") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::5") != network_of("2001:db8::5")
    assert network_of("proxied:::1") == "proxied:::1"


# The PROXY protocol


def prefix(command: int = 0x21, family: int = 0x11, size: int = 12) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, size)


def addresses(source: str) -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + packed + struct.pack(">HH", 4711, 443)


@pytest.mark.parametrize(
    ("head", "rest", "source"),
    [
        (prefix(), addresses("203.0.113.5"), "203.0.113.5"),
        (prefix(), addresses("203.0.113.5") + b"\x04\x00\x01x", "203.0.113.5"),
        (prefix(family=0x21), addresses("2001:db8::5"), "2001:db8::5"),
        (prefix(family=0x21), addresses("::ffff:203.0.113.5"), "203.0.113.5"),
        (prefix(command=0x20, family=0), b"", None),
        (prefix(command=0x20), addresses("203.0.113.5"), None),
        (prefix(family=0x31), bytes(216), None),
        (prefix(family=0), b"", None),
    ],
)
def test_a_proxy_header_names_the_source(head: bytes, rest: bytes, source: str | None) -> None:
    assert proxy_header_source(head, rest) == source


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.1.1",
        b"\x16\x03\x01" + bytes(13),
        prefix(command=0x11),
        prefix(size=MAX_REST + 1),
    ],
)
def test_what_is_no_proxy_header_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY"):
        proxy_header_size(head)


def test_a_broken_proxy_header_is_refused() -> None:
    assert proxy_header_size(prefix(size=MAX_REST)) == MAX_REST
    for head, rest in ((prefix(command=0x22), bytes(12)), (prefix(), bytes(11)), (prefix(family=0x21), bytes(35))):
        with pytest.raises(ValueError, match=r"right|known"):
            proxy_header_source(head, rest)
