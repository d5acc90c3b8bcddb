"""Numbers that are short enough to read, and text that XML can hold."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from hubbub.bench.text import escape, known, number, rounded, short


@pytest.mark.parametrize(
    ("value", "read", "in_short"),
    [
        (0, "0", "0"),
        (0.94567, "0.946", "0.946"),
        (12.0, "12", "12"),
        (999.7, "1,000", "1k"),
        (1234.5, "1,234", "1.23k"),
        (20_000, "20,000", "20k"),
        (1_234_567, "1,234,567", "1.23M"),
        (-5_000, "-5,000", "-5k"),
        (3e9, "3e+09", "3G"),
    ],
)
def test_numbers_are_short_enough_to_read(value: float, read: str, in_short: str) -> None:
    assert number(value) == read
    assert short(value) == in_short


def test_three_digits_are_enough_beside_a_spread() -> None:
    assert rounded(1_234_567) == "1,230,000"
    assert rounded(1.2345) == "1.23"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e300])
def test_what_cannot_have_been_measured_is_a_dash(value: float | None) -> None:
    assert known(value) is None
    assert number(value) == rounded(value) == "\N{EN DASH}"


def test_escaped_text_is_text_of_xml() -> None:
    told = escape("<script>&\"'\x00\x1b[2J\ud800\n")
    told.encode()
    assert ET.fromstring(f"<p a='{told}'>{told}</p>").text == "<script>&\"'  [2J  "
