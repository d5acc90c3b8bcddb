"""Which names look alike."""

from __future__ import annotations

import pytest

from hubbub.looks import key_of_user, keys_of, prototypes, skeleton


def look_alike(one: str, other: str) -> bool:
    return not set(keys_of(one)).isdisjoint(keys_of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ALICE", "alice"),
        ("AIice", "Alice"),  # a capital I
        ("A1ice", "alice"),
        ("B0b", "bob"),
        ("max", "rnax"),
        ("\u0440\u0435rcy", "percy"),  # Cyrillic letters in the word
        ("\u0441\u043e\u0441\u043e", "coco"),  # all of them Cyrillic
        ("\uff21lice", "alice"),  # fullwidth
        ("\U0001d401\U0001d428\U0001d41b", "bob"),  # mathematical bold
        ("O'Neil", "O\u2019Neil"),
        ("Zoe\u0308", "Zo\u00eb"),  # the same in two forms
    ],
)
def test_names_that_look_alike_have_a_key_in_common(one: str, other: str) -> None:
    assert look_alike(one, other)
    assert look_alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("percy", "perry"), ("Zoe", "Zo\u00eb"), ("anna b", "annab"), ("\u043f\u0435\u0440\u0441\u0438", "percy")],
)
def test_others_have_none(one: str, other: str) -> None:
    assert not look_alike(one, other)


@pytest.mark.parametrize("user", ["percy", "m0m1", "a.b_c-d", "0123456789", "abcdefghijklmnopqrstuvwxyz"])
def test_the_key_of_a_user_is_that_of_its_name(user: str) -> None:
    assert keys_of(user) == (key_of_user(user),)


def test_what_is_told_fast_is_told_as_the_list_says() -> None:
    characters = "".join(map(chr, range(128)))
    listed = {character: prototypes().get(ord(character), character) for character in characters}
    for character in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-'":
        assert skeleton(character) == listed[character]


def test_a_long_name_takes_no_explosion_of_work() -> None:
    assert len(keys_of("\u0440" * 64)[0]) == 64
