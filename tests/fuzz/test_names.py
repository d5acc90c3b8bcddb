"""Names: each has one spelling, whoever writes it, and patterns take no more time than they have characters."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.effort import effort
from fuzz.watch import work
from hubbub.errors import Refused
from hubbub.naming import check_room_name
from hubbub.policy import check_user_name
from hubbub.rules import Pattern

LONGEST = 64
STEPS_PER_CHARACTER, STEPS = 30, 100

names = st.one_of(
    st.text(max_size=80),
    st.text("aAbB .-_ßée\u0301\u0308\u0344\ufb01\u212b\u200b\u00ad\ufeff", max_size=80),
    st.text(st.characters(categories=["Mn", "Mc", "Lo"]), max_size=80),
    st.builds(
        "dm:{}{}{}".format, st.text("ab.-_A ", max_size=5), st.sampled_from([",", "", ",,"]), st.text("abc", max_size=5)
    ),
)


@effort(400)
@given(names)
def test_a_room_name_has_one_spelling(name: str) -> None:
    with work() as done:
        try:
            found = check_room_name(name, LONGEST)
        except Refused as refused:
            assert refused.code == "bad_payload" and len(refused.message) < 1000
            found = None
    assert done.steps <= STEPS + STEPS_PER_CHARACTER * len(name)
    if found is None:
        return
    assert check_room_name(found, LONGEST) == found
    for form in ("NFC", "NFD"):
        assert check_room_name(unicodedata.normalize(form, found), LONGEST) == found
    assert len(found) <= LONGEST or found.startswith("dm:")
    assert not any(unicodedata.category(character)[0] == "C" for character in found)


@effort(100)
@given(st.text(max_size=40) | st.text("ab.-_A1 ", max_size=40))
def test_a_user_name_is_plain(name: str) -> None:
    try:
        check_user_name(name, 32)
    except Refused as refused:
        assert refused.code == "bad_payload"
    else:
        assert re.fullmatch(r"[a-z0-9._-]{1,32}", name)


@effort(500)
@given(st.text("ab*", max_size=12), st.text("ab", max_size=16))
def test_a_pattern_fits_what_a_regular_expression_would(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
    assert Pattern(pattern).fits(name) == expected


@pytest.mark.parametrize("pattern", ["a*" * 128, "*a*b" * 64, "*" * 256, "*" + "ab*" * 80])
def test_a_pattern_with_many_stars_is_held_against_a_name_in_one_pass(pattern: str) -> None:
    with work() as done:
        Pattern(pattern).fits("ab" * 32)
    assert done.steps <= STEPS + STEPS_PER_CHARACTER * len(pattern)
