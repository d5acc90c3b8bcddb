"""Names, rates, places and origins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Refused
from hubbub.policy import (
    Places,
    Rate,
    RateLimit,
    check_room_name,
    check_text,
    check_user_name,
    is_allowed_origin,
    is_loopback,
    retry_after,
)


@pytest.mark.parametrize("name", ["general", "a", "x" * 64, "Küche", "日本語", "a.b_c-d e", "हिन्दी", "007"])
def test_room_names_are_letters_digits_and_four_more(name: str) -> None:
    assert check_room_name(name, 64) == name


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 65, "a/b", "a\nb", "a\tb", "a\0b", "<b>", "a:b", "😀", "a\u200bb", "a\u202eb"]
)
def test_other_room_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="room name"):
        check_room_name(name, 64)


def test_a_room_has_one_name_however_it_is_spelled() -> None:
    assert check_room_name("Cafe\u0301", 64) == check_room_name("Caf\u00e9", 64)


@given(st.text())
def test_any_text_is_a_room_name_or_refused(text: str) -> None:
    try:
        name = check_room_name(text, 64)
    except Refused:
        return
    assert check_room_name(name, 64) == name


@pytest.mark.parametrize("name", ["percy", "a", "a.b_c-9", "x" * 32])
def test_user_names(name: str) -> None:
    check_user_name(name, 32)


@pytest.mark.parametrize("name", ["", "Percy", "a b", "x" * 33, "é", "a\n", "a,b", "dm:a"])
def test_other_user_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="user name"):
        check_user_name(name, 32)


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


def test_places_are_counted_in_all_and_by_address_but_not_for_loopback() -> None:
    places = Places(4, 2)
    assert places.take("10.0.0.1") is None
    assert places.take("10.0.0.1") is None
    assert "10.0.0.1" in (places.take("10.0.0.1") or "")
    assert places.take("127.0.0.1") is None
    assert places.take("127.0.0.1") is None
    assert "full" in (places.take("::1") or "")
    places.free("10.0.0.1")
    assert places.take("10.0.0.1") is None


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
