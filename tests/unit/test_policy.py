"""Names, rates, places and origins."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Refused, policy
from hubbub.policy import (
    MAX_MARKS,
    MAX_PASSWORD_CHARS,
    Places,
    Rate,
    RateLimit,
    check_dm,
    check_password,
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


@given(st.text() | st.text("a\u0301\u0344\u0f73\u1100\u1161", max_size=300), st.sampled_from([0, 64]))
def test_any_text_is_a_room_name_or_refused(text: str, longest: int) -> None:
    try:
        name = check_room_name(text, longest)
    except Refused:
        return
    assert check_room_name(name, longest) == name


def test_a_name_is_as_long_as_its_one_spelling() -> None:
    # Four characters of Greek that NFC makes one of.
    spelled = unicodedata.normalize("NFD", "\u1faf")
    assert len(spelled) == 4
    assert check_room_name(spelled * 64, 64) == "\u1faf" * 64
    for too_long in (spelled * 65, spelled * 64 + "a", "a" * 65, "\ufb2d" * 22):
        with pytest.raises(Refused, match="room name"):
            check_room_name(too_long, 64)


def test_without_a_limit_a_room_name_may_be_long() -> None:
    for name in ("x" * 10_000, "\u00e9" * 10_000):
        assert check_room_name(name, 0) == name


@pytest.mark.parametrize("longest", [64, 0])
def test_many_combining_marks_in_a_row_are_no_name(longest: int) -> None:
    most = "a" + "\u0315" * MAX_MARKS
    assert check_room_name(most * 2, longest and 64) == most * 2
    # U+0344 is one mark, and two in NFC.
    for name in (most + "\u0315", "a" + "\u0344" * (MAX_MARKS // 2 + 1), "a" + "\u0f73" * (MAX_MARKS // 2 + 1)):
        with pytest.raises(Refused, match="room name"):
            check_room_name(name, longest)


@pytest.fixture
def unnormalized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that nothing is normalized."""

    def fail(_form: object, _name: object) -> str:
        raise AssertionError("this name must not be normalized")

    # In policy alone: pytest normalizes what it prints.
    monkeypatch.setattr(policy, "unicodedata", SimpleNamespace(category=unicodedata.category, normalize=fail))


@pytest.mark.usefixtures("unnormalized")
@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("\u00e9" * 257, 64),
        ("a" + "\u0315\u0300" * 8000, 0),
        ("\u0f73" * 16_000, 0),
        ("\u0344" * 16_000, 64),
    ],
)
def test_what_would_take_long_to_normalize_is_refused_before(name: str, longest: int) -> None:
    with pytest.raises(Refused, match="room name"):
        check_room_name(name, longest)


@pytest.mark.parametrize("name", ["dm:alice,percy", "dm:a,b", f"dm:{'x' * 32},{'y' * 32}"])
def test_a_room_of_two_is_named_after_both(name: str) -> None:
    assert check_room_name(name, 64, 32) == name


@pytest.mark.parametrize(
    "name",
    [
        "dm:",
        "dm:a",
        "dm:a,",
        "dm:,a",
        "dm:b,a",
        "dm:a,a",
        "dm:a,b,c",
        "dm:a,B",
        "dm:a, b",
        f"dm:a,{'b' * 33}",
        f"dm:{'a' * 33},b",
    ],
)
def test_other_rooms_of_two_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="two users"):
        check_room_name(name, 64, 32)


def test_without_a_limit_to_user_names_a_room_of_two_has_none() -> None:
    name = f"dm:{'a' * 1000},{'b' * 1000}"
    assert check_room_name(name, 64, 0) == name


def test_a_room_of_two_is_for_these_two() -> None:
    check_dm("general", "carol")
    check_dm("dm:alice,percy", "alice")
    check_dm("dm:alice,percy", "percy")
    for user in ("carol", "ali", ""):
        with pytest.raises(Refused) as refused:
            check_dm("dm:alice,percy", user)
        assert refused.value.code == "forbidden"


def test_a_refusal_of_a_room_of_two_quotes_no_more_than_the_beginning_of_its_name() -> None:
    with pytest.raises(Refused) as refused:
        check_dm("dm:" + "\u00ad" * 7000, "carol")  # soft hyphens, each written as an escape
    assert len(refused.value.message) < 500


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
    assert not places._by_address, "an address without connections is forgotten"


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
