"""Patterns of names with wildcards, as the server API's `channels` takes them (gobwas/glob), in linear time.

`*` stands for any characters, `?` for one, `[abc]`, `[a-z]` and `[!a]` for one of some, `{a,b}` for one of two, and a
backslash takes the meaning from what follows.
"""

from __future__ import annotations

import re

from hubbub.door.patterns import Expression

__all__ = ["Glob"]

# Characters of a pattern, and those of them that stand for others: each multiplies what a name takes.
MAX_GLOB_CHARS = 255
MAX_WILD = 20

# An opening bracket with what it encloses, or a character with a backslash before it, or any other.
_token = re.compile(r"\\(?P<plain>.)|\[(?P<negated>[!^]?)(?P<some>[^\]\\]+)\]|(?P<one>.)", re.DOTALL)
# What other characters stand for.
WILD = {"*": ".*", "?": ".", "{": "(?:", "}": ")"}


class Glob:
    """A pattern of names.

    Raises:
        ValueError: it is none; the text says why.
    """

    __slots__ = ("_is_any", "_pattern", "_prefix")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_GLOB_CHARS:
            raise ValueError(f"a pattern has at most {MAX_GLOB_CHARS} characters")
        self._is_any = not text.strip("*")
        first = re.match(r"[^*?\[\]{}\\]*", text)
        self._prefix = first[0] if first else ""
        self._pattern = Expression(f"^{regex_of(text)}$")

    def fits(self, name: str) -> bool:
        """Whether a name is one of these.  The time is linear in its length."""
        return self._is_any or (name.startswith(self._prefix) and self._pattern.is_in(name))


def regex_of(text: str) -> str:
    """The same as a regular expression."""
    tokens = list(_token.finditer(text))
    if sum(token["one"] in WILD for token in tokens if token["one"]) > MAX_WILD:
        raise ValueError(f"it has more than {MAX_WILD} wildcards")
    depth, parts = 0, []
    for token in tokens:
        if token["plain"] is not None:
            parts.append(literal(token["plain"]))
        elif token["some"] is not None:
            parts.append(f"[{'^' if token['negated'] else ''}{class_of(token['some'])}]")
        else:
            one = token["one"]
            depth += (one == "{") - (one == "}")
            if depth < 0:
                raise ValueError("it has a } without its {")
            parts.append("|" if one == "," and depth else WILD.get(one) or plain(one))
    if depth:
        raise ValueError("it has a { without its }")
    return "".join(parts)


def plain(character: str) -> str:
    """A character that has to stand for itself."""
    if character in ("[", "\\"):
        raise ValueError(f"it has a {character} without what has to follow")
    return literal(character)


def literal(character: str) -> str:
    """A character that stands for itself."""
    return character if character.isalnum() or not character.isascii() else f"\\x{{{ord(character):x}}}"


def class_of(some: str) -> str:
    """What is between brackets, where only a `-` between two characters means anything."""
    return "".join(
        each if each == "-" and 0 < place < len(some) - 1 else literal(each) for place, each in enumerate(some)
    )
