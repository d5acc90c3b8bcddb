"""Users' names, passwords, rates, places and origins."""

from __future__ import annotations

import pytest

from hubbub import Refused
from hubbub.policy import (
    MAX_PASSWORD_CHARS,
    Places,
    Rate,
    RateLimit,
    check_password,
    check_text,
    check_user_name,
    is_allowed_origin,
    is_loopback,
    retry_after,
)


def test_passwords_have_a_first_and_a_last_length() -> None:
    check_password("x")
    check_password("x" * MAX_PASSWORD_CHARS)
    for password in ("", "x" * (MAX_PASSWORD_CHARS + 1)):
        with pytest.raises(Refused, match="password"):
            check_password(password)


@pytest.mark.parametrize("name", ["percy", "a", "a.b_c-9", "x" * 32])
def test_user_names(name: str) -> None:
    check_user_name(name, 32)


@pytest.mark.parametrize("name", ["", "Percy", "a b", "x" * 33, "é", "a\n", "a,b", "dm:a"])
def test_other_user_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="user name"):
        check_user_name(name, 32)


def test_without_a_limit_a_user_name_may_be_long() -> None:
    check_user_name("x" * 1000, 0)


def test_text_has_a_first_and_a_last_length() -> None:
    check_text("x", 10)
    check_text("x" * 10, 10)
    check_text("x" * 10_000, 0)
    for text, code in (("", "bad_payload"), ("x" * 11, "too_large")):
        with pytest.raises(Refused) as refused:
            check_text(text, 10)
        assert refused.value.code == code


def test_a_rate_lets_its_burst_through_and_then_its_average() -> None:
    rate = Rate(RateLimit(10, 5), now=0.0)
    assert [rate.take(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert rate.retry_after == pytest.approx(0.1)
    assert rate.take(0.1)
    assert not rate.take(0.1)
    assert [rate.take(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_flooding_is_ten_times_the_rate_for_long() -> None:
    rate = Rate(RateLimit(10, 1), now=0.0)
    for number in range(1000):
        rate.take(number / 100)
    assert not rate.is_flooding
    for number in range(1200):
        rate.take(10 + number / 200)
    assert rate.is_flooding


def test_a_flood_is_forgotten_in_time() -> None:
    rate = Rate(RateLimit(10, 1), now=0.0)
    for _ in range(502):
        rate.take(0.0)
    assert rate.is_flooding
    rate.take(1.0)
    assert not rate.is_flooding


def test_a_rate_is_exceeded_until_what_came_over_it_is_forgotten() -> None:
    rate = Rate(RateLimit(10, 2), now=0.0)
    exceeded = []
    for now in (0.0, 0.0, 0.0, 0.001, 1.0):
        rate.take(now)
        exceeded.append(rate.is_exceeded)
    assert exceeded == [False, False, True, True, False]


def test_places_in_all_are_counted_for_everybody() -> None:
    places = Places(3, 0)
    assert [places.take(address) for address in ("10.0.0.1", "10.0.0.1", "127.0.0.1")] == [None] * 3
    assert "full: 3 connections" in (places.take("10.0.0.2") or "")
    places.free("127.0.0.1")
    assert places.take("10.0.0.2") is None
    assert places.take("::1") is not None


def test_places_are_counted_by_address_but_not_for_loopback() -> None:
    places = Places(0, 2)
    for address in ("10.0.0.1", "10.0.0.2"):
        assert [places.take(address) for _ in range(2)] == [None] * 2
        assert f"too many connections from {address}: 2" in (places.take(address) or "")
    assert all(places.take(address) is None for address in ("127.0.0.1", "::1") for _ in range(10))
    places.free("10.0.0.1")
    assert places.take("10.0.0.1") is None
    assert places.take("10.0.0.1") is not None
    assert places.take("10.0.0.2") is not None


def test_an_ipv6_host_has_one_address_however_many_it_uses() -> None:
    places = Places(0, 2)
    assert [places.take(f"2001:db8::{host}") for host in range(2)] == [None] * 2
    assert places.take("2001:db8::2") is not None
    assert places.take("2001:db8:0:1::2") is None
    places.free("2001:db8::1")
    assert places.take("2001:db8::3") is None


def test_a_refusal_takes_no_place() -> None:
    places = Places(3, 1)
    assert places.take("10.0.0.1") is None
    for _ in range(10):
        assert places.take("10.0.0.1") is not None
    assert places.take("10.0.0.2") is None
    assert places.take("10.0.0.3") is None
    for _ in range(10):
        assert "full" in (places.take("10.0.0.4") or "")
    places.free("10.0.0.3")
    assert places.take("10.0.0.4") is None, "neither refusal has left a mark on the address"


def test_every_place_is_given_back() -> None:
    places = Places(4, 2)
    for _ in range(10):
        addresses = ["10.0.0.1", "10.0.0.1", "10.0.0.2", "127.0.0.1"]
        assert [places.take(address) for address in addresses] == [None] * 4
        assert places.take("10.0.0.3") is not None
        for address in addresses:
            places.free(address)
    assert not places._by_network, "an address without connections is forgotten"


def test_zero_places_is_no_limit() -> None:
    places = Places(0, 0)
    assert all(places.take("10.0.0.1") is None for _ in range(1000))


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "chat.example", True),
        ("https://chat.example", "chat.example", True),
        ("https://chat.example:443", "chat.example", True),
        ("https://Chat.Example", "chat.example:443", True),
        ("https://localhost:8080", "localhost:8080", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("https://[::1]:8080", "[::1]:8080", True),
        ("https://localhost:8081", "localhost:8080", False),
        ("https://localhost", "localhost:8080", False),
        ("https://chat.example.evil.org", "chat.example", False),
        ("https://evil.org", "chat.example", False),
        ("null", "chat.example", False),
        ("", "", False),
        ("file://", "", False),
        ("https://", "", False),
        ("http://chat.example", "chat.example", True),
        ("http://chat.example:80", "chat.example", True),
        ("http://chat.example:443", "chat.example", False),
        ("ws://chat.example", "chat.example", False),
        ("https://listed.example", "chat.example", True),
        ("https://listed.example.evil.org", "chat.example", False),
        ("http://listed.example", "chat.example", False),
    ],
)
def test_origins(origin: str | None, host: str, expected: bool) -> None:
    assert is_allowed_origin(origin, host, ("https://Listed.example/",), is_tls=False) is expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("https://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example:443", True),
        ("http://chat.example", "chat.example", False),
        ("http://chat.example:443", "chat.example", False),
        ("http://chat.example:443", "chat.example:443", False),
        ("http://localhost:8080", "localhost:8080", False),
        ("https://localhost:8080", "localhost:8080", True),
        ("http://listed.example", "chat.example", True),
        ("https://[::1]", "[::1]", True),
        ("https://[::1]:8080", "[::1]:8080", True),
        ("https://[::1]", "[::1]:8080", False),
    ],
)
def test_with_tls_only_https_is_the_servers_own(origin: str, host: str, expected: bool) -> None:
    assert is_allowed_origin(origin, host, ("http://listed.example",), is_tls=True) is expected


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("", "10.0.0.1", "1270.0.0.1", "::2", "0.0.0.0")))


def test_retry_after_is_at_least_a_second() -> None:
    assert [retry_after(seconds) for seconds in (0.0, 0.2, 1.0, 1.1)] == ["1", "1", "1", "2"]
