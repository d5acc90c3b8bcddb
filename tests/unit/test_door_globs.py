"""Patterns of channels' names."""

from __future__ import annotations

import pytest

from hubbub.door.globs import MAX_GLOB_CHARS, Glob


@pytest.mark.parametrize(
    ("text", "name", "fits"),
    [
        ("", "anything", True),
        ("*", "anything", True),
        ("chat:*", "chat:1", True),
        ("chat:*", "xchat:1", False),
        ("*:1", "chat:1", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[a-]x", "-x", True),
        ("[#:]x", ":x", True),
        ("{a,bc}d", "bcd", True),
        ("{a,bc}d", "bd", False),
        ("a{b,c{d,e}}f", "acef", True),
        ("a,b", "a,b", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("$a", "$a", True),
        ("Chat", "chat", False),
    ],
)
def test_a_pattern_fits_whole_names(text: str, name: str, fits: bool) -> None:
    assert Glob(text).fits(name) is fits


@pytest.mark.parametrize("text", ["{a", "a}", "[", "[]", "\\", "x" * (MAX_GLOB_CHARS + 1), "*a" * 30, "{a,b}" * 30])
def test_what_is_no_pattern_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"it has|at most"):
        Glob(text)
