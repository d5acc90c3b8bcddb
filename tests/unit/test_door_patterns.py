"""Regular expressions as RE2 has them, in time that grows with the text alone."""

from __future__ import annotations

import re
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.door.patterns import MAX_STEPS, Expression

# What Python's own expressions say of these is what RE2 says.
ALIKE = [
    *(r"^[a-z0-9]+(?:-[a-z0-9]+)*$", r"^\d+$", r"(a|b)*c", r"^(\w+)*$", r"^[0-9a]{2}-[0-9a]{1,3}$", r"x{2,}y?"),
    *(r"(?i)AbC", r"\bab\b", r"a\B", r"[^a-c]z", r"[]a]", r"[a\-z]", r"[a-]", r"a.c", r"", r"^$", r"(?:a|ab)(?:c|bc)$"),
    *(r"(?P<n>a)b", r"\x61\.\-", r"(?i:a)b", r"a??b*?c+?", r"()*a", r"(a*)*b", r"\Aab", r"\W\S\D", r"a|"),
]


@pytest.mark.parametrize("pattern", ALIKE)
@given(text=st.text("abcxyzABC019-_.:#{},]", max_size=8))
def test_it_says_what_others_say(pattern: str, text: str) -> None:
    assert Expression(pattern).is_in(text) == bool(re.search(pattern, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"^[[:alpha:]]+$", "abc", True),
        (r"^[[:alpha:]]+$", "ab1", False),
        (r"[[:^digit:]]", "12", False),
        (r"^\pL+$", "aé", True),
        (r"^\p{^L}$|\PN", "1", True),
        (r"(?i)\p{Lu}", "a", True),
        (r"^[\d_]$", "_", True),
        (r"^\Qa.b\E*$", "a.bbb", True),
        (r"^\Qa.b", "axb", False),
        (r"\141\z", "ba", True),
        (r"\x{e9}", "é", True),
        (r"(?<name>a)", "a", True),
        (r"(?i)a(?-i)b", "AB", False),
        (r"a(?i)?b", "b", True),
        (r"^x{,2}$", "x{,2}", True),
        (r"[a-c]", "é", False),
        (r"[à-é]", "é", True),
        (r"(?i)[à-é]", "É", True),
        ("\\t\\[", "\t[", True),
    ],
)
def test_it_knows_what_re2_has_beside(pattern: str, text: str, fits: bool) -> None:  # a table
    assert Expression(pattern).is_in(text) is fits


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(a", r"a \( without its \)"),
        ("a)", r"a \) without its \("),
        ("[a", r"a \[ without its \]"),
        ("*a", r"nothing before \*"),
        ("(?i)*", r"nothing before \*"),
        ("a**", "repeats a repetition"),
        ("a{2}{3}", "repeats a repetition"),
        ("a{2,1}", "no number of repetitions"),
        ("a{1001}", "no number of repetitions"),
        ("(?=a)", "nothing that RE2 knows"),
        ("(?!a)", "nothing that RE2 knows"),
        (r"(a)\1", "refers to a group"),
        (r"\Z", "nothing that RE2 knows"),
        ("\\", "nothing that RE2 knows"),
        (r"\p{Greek}", "categories"),
        ("[[:letter:]]", "no class"),
        ("[z-a]", "no range"),
        (r"\x{110000}", "no character"),
        ("(" * 51 + ")" * 51, "more than 50 groups"),
        ("a" * 1001, "more than 1000 characters"),
        ("((a{100}){100}){100}", f"more than {MAX_STEPS} steps"),
    ],
)
def test_what_is_none_is_refused(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Expression(pattern)


def counted(pattern: str, text: str) -> int:
    """The lines that a match takes."""
    expression = Expression(pattern)
    lines = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        expression.is_in(text)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("pattern", [r"^(\w+)*$", r"^(a|a)*$", r"(a*)*(a*)*b", r"^(a?){50}a{50}$"])
def test_the_time_grows_with_the_text_and_not_faster(pattern: str) -> None:
    """With Python's own expressions the first takes longer than the universe is old."""
    one, two = (counted(pattern, "a" * count + "!") for count in (100, 200))
    assert two < one * 2.5


def test_expressions_are_told_apart_by_their_text() -> None:
    assert Expression("a") == Expression("a") != Expression("b")
    assert len({Expression("a"), Expression("a")}) == 1
    assert repr(Expression("a")) == "Expression('a')"
    assert Expression("[[:print:]]").is_in(string.punctuation)
