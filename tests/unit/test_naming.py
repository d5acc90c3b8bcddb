"""Names of rooms: what is one, which are the same, and what takes no time."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Refused, naming
from hubbub.naming import (
    MAX_MARKS,
    RoomName,
    check_dm,
    check_room_name,
    escaped,
    fold,
    old_identity,
    read_room_name,
    users_of_dm,
)


@pytest.mark.parametrize(
    "name", ["general", "a", "x" * 64, "küche", "日本語", "a.b_c-d e", "हिन्दी", "007", ".", "привет", "t-β.ж"]
)
def test_room_names_are_letters_digits_and_four_more(name: str) -> None:
    assert check_room_name(name, 64) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "x" * 65, "a/b", "a\nb", "a\tb", "a\0b", "<b>", "a:b", "😀", "a\u200bb", "a\u202eb"),
        *(" a", "a ", "a  b", "\u00a0a", "a\u00a0b", "\u3000", "DM:a,b", "½", "①"),
        # A letter that is a space and a mark in NFKC, and one that has a bracket.
        *("\ufe70a", "\u3200"),
        # Longer only as what it goes by.
        *("ß" * 33, "\ufdfa" * 4),
    ],
)
def test_other_room_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="room name"):
        check_room_name(name, 64)


@pytest.mark.parametrize(
    "names",
    [
        ("caf\u00e9", "Cafe\u0301", "Caf\u00e9", "CAF\u00c9"),
        ("ops", "Ops", "OPS", "\uff2f\uff30\uff33", "\U0001d428\U0001d429\U0001d42c", "op\u017f"),
        ("strasse 1", "Straße 1", "STRASSE 1", "Stra\u1e9ee \uff11"),
        ("\u03c3\u03bf\u03c6\u03cc\u03c3", "Σοφός", "ΣΟΦΌΣ"),
        ("κλμ.\u03c9\u03b9", "ΚΛΜ.\u1ff3"),
    ],
)
def test_a_room_has_one_name_however_it_is_spelled(names: tuple[str, ...]) -> None:
    assert {check_room_name(name, 64) for name in names} == {names[0]}


def test_how_a_name_is_written_is_shown() -> None:
    assert read_room_name("Ops Room", 64) == RoomName("ops room", "Ops Room")
    assert read_room_name("Cafe\u0301", 64) == RoomName("caf\u00e9", "Caf\u00e9")
    assert read_room_name("\uff2fps", 64) == RoomName("ops", "\uff2fps")


# All of Default_Ignorable_Code_Point that is a letter, a mark or a digit, and some that are not.
IGNORABLE = [
    *("\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180c", "\u180d", "\u180e"),
    *("\u180f", "\u200b", "\u200d", "\u2060", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\uffa0", "\U0001d173"),
    *("\U000e0001", "\U000e0100", "\U000e01ef"),
]


@pytest.mark.parametrize("character", IGNORABLE)
def test_nothing_that_nobody_sees_is_in_a_name(character: str) -> None:
    for name in (character, f"ops{character}", f"{character}ops", f"o{character}ps", f"日{character}本"):
        with pytest.raises(Refused, match="room name"):
            check_room_name(name, 64)


@pytest.mark.parametrize("name", ["p\u0430ypal", "\u041eps", "\u0391lpha", "x\u03b1", "team-\u043ens"])
def test_a_word_does_not_mix_letters_that_look_alike(name: str) -> None:
    with pytest.raises(Refused, match="look alike"):
        check_room_name(name, 64)


@given(st.text())
def test_what_a_room_goes_by_goes_by_itself(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_every_character_goes_by_one_that_goes_by_itself() -> None:
    for code in [*range(0xD800), *range(0xE000, 0x110000)]:
        folded = fold(chr(code))
        assert fold(folded) == folded, hex(code)


@given(st.text() | st.text("a\u0301\u0344\u0f73\u1100\u1161", max_size=300), st.sampled_from([0, 64]))
def test_any_text_is_a_room_name_or_refused(text: str, longest: int) -> None:
    try:
        name, title = read_room_name(text, longest)
    except Refused:
        return
    assert read_room_name(name, longest) == (name, name)
    assert check_room_name(title, longest) == name
    assert not longest or max(len(name), len(title)) <= longest


def test_a_name_is_as_long_as_what_it_goes_by() -> None:
    # Three characters of Greek that NFC makes one of.
    spelled = "\u03c9\u0314\u0342"
    assert check_room_name(spelled * 64, 64) == "\u1f67" * 64
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

    # In naming alone: pytest normalizes what it prints.
    monkeypatch.setattr(
        naming, "unicodedata", SimpleNamespace(category=unicodedata.category, name=unicodedata.name, normalize=fail)
    )


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


@pytest.mark.parametrize("name", ["dm:alice,percy", "dm:a,b", f"dm:{'x' * 128},{'y' * 128}"])
def test_a_room_of_two_is_named_after_both(name: str) -> None:
    assert check_room_name(name, 64) == name


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("dm:%42ob,bob", ["Bob", "bob"]),
        ("dm:a%2Cb,c", ["a,b", "c"]),
        ("dm:zo%C3%AB,zoe%40example.com", ["zoë", "zoe@example.com"]),
        ("dm:%F0%9F%90%9D%20%25,a", ["🐝 %", "a"]),
        ("dm:%64m%3Aa", []),
    ],
)
def test_what_names_of_users_have_besides_is_written_as_in_a_url(name: str, users: list[str]) -> None:
    if users:
        assert check_room_name(name, 64) == name
        assert users_of_dm(name) == users
        for user in users:
            check_dm(name, user)
    else:
        with pytest.raises(Refused, match="two users"):
            check_room_name(name, 64)


@given(st.lists(st.text(max_size=200), min_size=2, max_size=2))
def test_two_users_have_one_room_and_nobody_else_is_in_it(users: list[str]) -> None:
    name = "dm:" + ",".join(sorted(escaped(user) for user in users))
    try:
        check_room_name(name, 64)
    except Refused:
        return
    assert sorted(users_of_dm(name)) == sorted(users)


@given(st.text(alphabet="ab%24CF0,:E", max_size=20))
def test_a_room_of_two_is_written_in_one_way(rest: str) -> None:
    try:
        check_room_name(f"dm:{rest}", 64)
    except Refused:
        return
    users = users_of_dm(f"dm:{rest}")
    assert ",".join(sorted(escaped(user) for user in users)) == rest


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
        f"dm:a,{'b' * 129}",
        f"dm:{'a' * 129},b",
        "dm:a,%62",
        "dm:a,b%2c",
        "dm:a,b%2",
        "dm:a,b%",
        "dm:a,%C3",
        "dm:a,b%00",
        "dm:a,b%E2%80%A8",
        "dm:%61,b",
        "dm:a,b@example.com",
    ],
)
def test_other_rooms_of_two_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="two users"):
        check_room_name(name, 64)


def test_the_name_of_a_room_of_two_has_a_limit_of_its_own() -> None:
    for length in (64, 0):
        assert check_room_name(f"dm:{'%20' * 98}a,{'%20' * 98}b", length)
        with pytest.raises(Refused, match="more than 600"):
            check_room_name(f"dm:{'%20' * 100}a,{'%20' * 100}b", length)


def test_names_of_an_earlier_version_go_by_what_can_be_seen_of_them() -> None:
    names = {
        "Ops ": "ops",
        " a  b": "a b",
        "o\u034fps": "ops",
        "dm:a,b": "dm:a,b",
        " ": "",
        "p\u0430y": "",
        "\u3164": "",
    }
    assert {name: old_identity(name) for name in names} == names


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
