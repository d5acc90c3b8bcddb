"""Regular expressions as Centrifugo has them: RE2's syntax, and matching in time that grows with the text alone.

Python's own expressions go back when they fail, so that a client that chooses the text could keep the server busy for
hours with a pattern as innocent as `^(\\w+)*$`.  This walks all alternatives at once (Thompson's construction), and
knows neither references nor looking around, as RE2 does not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Expression"]

# Characters of a pattern, groups within each other, and steps of the program that it becomes, which `{n}` multiplies.
MAX_PATTERN_CHARS = 1000
MAX_DEPTH = 50
MAX_STEPS = 1000
# Of a repetition, as in RE2.
MAX_REPEATS = 1000

Test = Callable[[str], bool]

DIGITS = frozenset("0123456789")
WORD = frozenset("0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
SPACES = frozenset("\t\n\f\r ")
PERL = {"d": DIGITS, "w": WORD, "s": SPACES}
ASCII = frozenset(map(chr, range(128)))
POSIX = {
    "alnum": WORD - {"_"},
    "alpha": WORD - DIGITS - {"_"},
    "ascii": ASCII,
    "blank": frozenset("\t "),
    "cntrl": frozenset(each for each in ASCII if unicodedata.category(each) == "Cc"),
    "digit": DIGITS,
    "graph": frozenset(map(chr, range(0x21, 0x7F))),
    "lower": frozenset("abcdefghijklmnopqrstuvwxyz"),
    "print": frozenset(map(chr, range(0x20, 0x7F))),
    "punct": frozenset(map(chr, range(0x21, 0x7F))) - WORD | {"_"},
    "space": SPACES | {"\v"},
    "upper": frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "word": WORD,
    "xdigit": frozenset("0123456789abcdefABCDEF"),
}
CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_group = re.compile(r"\(\?(?:P?<(?P<name>\w+)>|(?P<on>[imsU]*)(?:-(?P<off>[imsU]+))?(?P<end>[:)]))")
_counts = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_hex = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_octal = re.compile(r"[0-7]{1,3}")
_category = re.compile(r"[pP](?:\{(\^?)(\w+)\}|(\w))")
_categories = re.compile(r"[CLMNPSZ][a-z]?")
_posix = re.compile(r"\[:(\^?)(\w+):\]")


# What a pattern is made of


class One(NamedTuple):
    """One character."""

    test: Test


class Anchor(NamedTuple):
    """No character, but where the text is: one of `^ $ b B`."""

    kind: str


class Series(NamedTuple):
    """One after the other."""

    parts: tuple[Part, ...]


class Choice(NamedTuple):
    """One of several."""

    parts: tuple[Part, ...]


class Repeat(NamedTuple):
    """The same several times; without a most where it is None."""

    part: Part
    least: int
    most: int | None


Part = One | Anchor | Series | Choice | Repeat


class ExpressionReader:
    """Reads a pattern once, from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._ignores_case = False

    def read(self) -> Part:
        if len(self._text) > MAX_PATTERN_CHARS:
            raise ValueError(f"it has more than {MAX_PATTERN_CHARS} characters")
        part = self._choice()
        if self._at < len(self._text):
            raise ValueError("it has a ) without its (")
        return part

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _choice(self) -> Part:
        ignored_case = self._ignores_case
        parts = [self._row()]
        while self._next() == "|":
            self._at += 1
            parts.append(self._row())
        self._ignores_case = ignored_case
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _row(self) -> Part:
        parts: list[Part] = []
        while (character := self._next()) not in ("", "|", ")"):
            if character in "*+?" or _counts.match(self._text, self._at):
                if not parts:
                    raise ValueError(f"there is nothing before {character} to repeat")
                parts[-1] = self._repeated(parts[-1])
            else:
                parts += self._group() if character == "(" else self._atom()
        return Series(tuple(parts))

    def _repeated(self, part: Part) -> Part:
        if counts := self._take(_counts):
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3]) if counts[3] else None
            if max(least, most or 0) > MAX_REPEATS or (most is not None and most < least):
                raise ValueError(f"{counts[0]} is no number of repetitions: up to {MAX_REPEATS}, the smaller one first")
        else:
            character = self._next()
            self._at += 1
            least, most = int(character == "+"), 1 if character == "?" else None
        if self._next() == "?":
            self._at += 1  # the shorter match first, which is the same where only a match is asked for
        if (self._next() and self._next() in "*+?") or _counts.match(self._text, self._at):
            raise ValueError("it repeats a repetition; put the inner one into (?:...)")
        return Repeat(part, least, most)

    def _group(self) -> list[Part]:
        found = self._take(_group)
        if found is None:
            if self._text.startswith("(?", self._at):
                raise ValueError(f"{self._text[self._at : self._at + 4]} is nothing that RE2 knows")
            self._at += 1
        ignored_case = self._ignores_case
        if found and found["end"]:
            self._ignores_case = ("i" in found["on"] or ignored_case) and "i" not in (found["off"] or "")
            if found["end"] == ")":
                return []  # for the rest of the group that it is in
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it has more than {MAX_DEPTH} groups within each other")
        part = self._choice()
        if self._next() != ")":
            raise ValueError("it has a ( without its )")
        self._at += 1
        self._depth -= 1
        self._ignores_case = ignored_case
        return [part]

    def _atom(self) -> list[Part]:
        character = self._next()
        self._at += 1
        match character:
            case "^" | "$":
                return [Anchor(character)]
            case ".":
                return [One(lambda each: each != "\n")]
            case "[":
                return [One(self._class())]
            case "\\":
                return self._escape()
            case _:
                return [self._literal(character)]

    def _literal(self, character: str) -> One:
        if self._ignores_case:
            return One({character.lower(), character.upper()}.__contains__)
        return One(character.__eq__)

    def _escape(self) -> list[Part]:
        character = self._next()
        if character and character in "AzbB":
            self._at += 1
            return [Anchor({"A": "^", "z": "$"}.get(character, character))]
        if character == "Q":
            end = self._text.find("\\E", self._at)
            quoted = self._text[self._at + 1 : end if end >= 0 else None]
            self._at = len(self._text) if end < 0 else end + 2
            return [self._literal(each) for each in quoted]
        found = self._escaped_class()
        return [One(found) if found else self._literal(self._escaped_character())]

    def _escaped_class(self) -> Test | None:
        """What comes after a backslash, where it stands for several characters."""
        character = self._next()
        if character and character.lower() in PERL:
            self._at += 1
            return inverted(PERL[character.lower()].__contains__, is_not=character.isupper())
        if found := self._take(_category):
            name = found[2] or found[3]
            if not _categories.fullmatch(name):
                raise ValueError(f"{found[0]} is not known here: of Unicode there are the categories, such as \\p{{L}}")
            is_not = found[0].startswith("P") != bool(found[1])
            ignores_case = self._ignores_case

            def is_one(each: str) -> bool:
                cases = {each, each.lower(), each.upper()} if ignores_case else {each}
                return any(unicodedata.category(one).startswith(name) for one in cases if len(one) == 1)

            return inverted(is_one, is_not=is_not)
        return None

    def _escaped_character(self) -> str:
        """What comes after a backslash, where it stands for one character."""
        if found := self._take(_hex):
            code = int(found[1] or found[2], 16)
            if code > 0x10FFFF:
                raise ValueError(f"\\{found[0]} is no character")
            return chr(code)
        if found := self._take(_octal):
            if found[0][0] != "0" and len(found[0]) < 2:
                raise ValueError(f"\\{found[0]} refers to a group, which RE2 does not")
            return chr(int(found[0], 8))
        character = self._next()
        self._at += 1
        if character in CONTROLS:
            return CONTROLS[character]
        if not character or character in WORD or not character.isascii():
            raise ValueError(f"\\{character} is nothing that RE2 knows")
        return character

    def _class(self) -> Test:
        is_not = self._next() == "^"
        self._at += is_not
        tests: list[Test] = []
        characters: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._next() != "]":
            first = False
            if not self._next():
                raise ValueError("it has a [ without its ]")
            if test := self._class_in_class():
                tests.append(test)
                continue
            low = self._character_in_class()
            if self._next() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
                characters.add(low)
                continue
            self._at += 1
            high = self._character_in_class()
            if high < low:
                raise ValueError(f"{low}-{high} is no range of characters, the smaller one comes first")
            ranges.append((low, high))
        self._at += 1
        return inverted(any_of(tests, characters, ranges, ignores_case=self._ignores_case), is_not=is_not)

    def _class_in_class(self) -> Test | None:
        if found := self._take(_posix):
            if found[2] not in POSIX:
                raise ValueError(f"{found[0]} is no class of characters")
            return inverted(POSIX[found[2]].__contains__, is_not=bool(found[1]))
        if self._next() != "\\":
            return None
        self._at += 1
        test = self._escaped_class()
        if test is None:
            self._at -= 1
        return test

    def _character_in_class(self) -> str:
        character = self._next()
        self._at += 1
        return self._escaped_character() if character == "\\" else character


def inverted(test: Test, *, is_not: bool) -> Test:
    return (lambda each: not test(each)) if is_not else test


def any_of(tests: list[Test], characters: set[str], ranges: list[tuple[str, str]], *, ignores_case: bool) -> Test:
    """Whether a character is one of a class, which is told at once for those of ASCII."""

    def is_one(each: str) -> bool:
        return (
            each in characters or any(low <= each <= high for low, high in ranges) or any(test(each) for test in tests)
        )

    def is_one_in_any_case(each: str) -> bool:
        return is_one(each) or is_one(each.lower()) or is_one(each.upper())

    test = is_one_in_any_case if ignores_case else is_one
    known = frozenset(filter(test, ASCII))
    return lambda each: each in known or (not each.isascii() and test(each))


# The program that a pattern becomes: each step has its way on, or two, or a test of a character or of the place


class Step(NamedTuple):
    """A step: with a test it takes a character, with a place it looks, and else it goes both ways."""

    test: Test | None
    place: str
    ways: tuple[int, ...]


class Program:
    """The steps of a pattern, made from its end to its beginning; the first, number 0, is the match."""

    def __init__(self, part: Part) -> None:
        self.steps: list[Step] = [Step(None, "", ())]
        self.start = self._add(part, 0)

    def _new(self, step: Step) -> int:
        if len(self.steps) >= MAX_STEPS:
            raise ValueError(f"it is too long: it has more than {MAX_STEPS} steps, each {{n}} counted n times")
        self.steps.append(step)
        return len(self.steps) - 1

    def _add(self, part: Part, then: int) -> int:
        """Add what a part does before a step; where it begins."""
        match part:
            case One():
                return self._new(Step(part.test, "", (then,)))
            case Anchor():
                return self._new(Step(None, part.kind, (then,)))
            case Series():
                for each in reversed(part.parts):
                    then = self._add(each, then)
                return then
            case Choice():
                return self._new(Step(None, "", tuple(self._add(each, then) for each in part.parts)))
            case Repeat():
                return self._add_repeat(part, then)

    def _add_repeat(self, part: Repeat, then: int) -> int:
        if part.most is None:
            loop = self._new(Step(None, "", ()))
            self.steps[loop] = Step(None, "", (self._add(part.part, loop), then))
            then = loop
        else:
            end = then
            for _ in range(part.most - part.least):
                then = self._new(Step(None, "", (self._add(part.part, then), end)))
        for _ in range(part.least):
            then = self._add(part.part, then)
        return then


class Expression:
    """A regular expression.

    Raises:
        ValueError: it is none, or one that is not known here; the text says why.
    """

    __slots__ = ("_program", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._program = Program(ExpressionReader(text).read())

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def is_in(self, text: str) -> bool:
        """Whether it matches anywhere in a text.  The time is linear in the text's length."""
        steps = self._program.steps
        current: set[int] = set()
        for at in range(len(text) + 1):
            reached = self._reach([*current, self._program.start], text, at)
            if 0 in reached:
                return True
            if at < len(text):
                current = {step.ways[0] for number in reached if (step := steps[number]).test and step.test(text[at])}
        return False

    def _reach(self, numbers: list[int], text: str, at: int) -> set[int]:
        """The steps that are reached from some without another character."""
        reached: set[int] = set()
        while numbers:
            number = numbers.pop()
            if number in reached:
                continue
            reached.add(number)
            step = self._program.steps[number]
            if step.test is None and (not step.place or is_place(step.place, text, at)):
                numbers.extend(step.ways)
        return reached


def is_place(kind: str, text: str, at: int) -> bool:
    """Whether a text is at a place: its beginning, its end, or the edge of a word."""
    if kind == "^":
        return at == 0
    if kind == "$":
        return at == len(text)
    before, after = at > 0 and text[at - 1] in WORD, at < len(text) and text[at] in WORD
    return (before != after) == (kind == "b")
