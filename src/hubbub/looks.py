"""What names look like to an eye: two that look alike have a key in common.

A key is a skeleton (UTS #39 section 4): each character becomes the one that stands for all that look like it, so that
four Cyrillic letters that look like "coco" have the same as that.  Which characters look alike is Unicode's list of
confusables, as the package `confusable_homoglyphs` has it: pure data, read when a name first needs it.  Capitals make
no other name, and what looks alike is looked for before and after they are folded: "AIice" with a capital I looks like
"Alice", and "ALICE" is "alice".  So a name has two keys, mostly the same.

Names of ASCII letters and digits are told without the list.  A user's name has one key, which an engine may work out by
itself (`key_of_user`).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files

import msgspec

from hubbub.naming import fold

__all__ = ["key_of_user", "keys_of"]

# What of ASCII letters and digits looks like others; part of the format, as engines keep keys.
ASCII_LOOKS = str.maketrans({"0": "O", "1": "l", "I": "l", "m": "rn"})


class LookAlike(msgspec.Struct):
    """One of the characters, or strings, that look like another one."""

    c: str


def key_of_user(user: str) -> str:
    """What the name of a user looks like, for names of `a-z 0-9 . _ -`."""
    return user.replace("0", "o").replace("1", "l").replace("m", "rn")


def keys_of(name: str) -> tuple[str, ...]:
    """What a name looks like: one key or two, without order.

    It takes linear time where `naming.find_fault` has found no long run of combining marks.
    """
    return tuple({lowered(skeleton(fold(name))), lowered(skeleton(fold(skeleton(name))))})


def lowered(text: str) -> str:
    """A skeleton without capitals: they stand for digits."""
    return text.casefold()


def skeleton(text: str) -> str:
    """The skeleton of a text (UTS #39 section 4); bidirectional controls are in no name."""
    if text.isascii():
        return text.translate(ASCII_LOOKS)
    text = unicodedata.normalize("NFD", text).translate(prototypes())
    return unicodedata.normalize("NFD", text)


@cache
def prototypes() -> dict[int, str]:
    """What stands for each character that looks like others.

    The package lists pairs, in both directions.  Of all that look alike one is in every pair: what stands for them.
    """
    data = (files("confusable_homoglyphs") / "confusables.json").read_bytes()
    pairs = msgspec.json.decode(data, type=dict[str, list[LookAlike]])
    neighbours: dict[str, set[str]] = {}
    for one, others in pairs.items():
        neighbours.setdefault(bare(one), set()).update(bare(other.c) for other in others)
    found: dict[str, str] = {}
    for one in neighbours:
        if len(one) == 1:
            found[one] = max(neighbours[one] | {one}, key=lambda each: standing(each, neighbours))
    table = {ord(one): "".join(found.get(each, each) for each in other) for one, other in found.items()}
    return table | ASCII_LOOKS


def bare(text: str) -> str:
    """An entry without the marks that keep the list readable."""
    return text.strip("\u200e")


def standing(text: str, neighbours: dict[str, set[str]]) -> tuple[int, int, str]:
    """How near a text is to standing for those that look like it: it is in most pairs, or longer, or any of two."""
    return len(neighbours[text]), len(text), text
