"""Modules joined to one, so that a browser asks once: over a slow line each request costs a round trip.

Each becomes a function that is called once and returns what it exports, and the last one a block.  That means the same
as the modules did only where exports do not change, nothing but the last one waits at its top level and no two modules
need each other; and it is written by looking at lines.  Whatever is not as expected is not joined: then the modules are
loaded as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hubbub.http.modules import imported, resolve, without_indentation

__all__ = ["joined"]

NAME = r"[A-Za-z_$][\w$]*"
FROM = r"""["']([^"'\n]+)["'];?[ \t]*$"""
IMPORT = re.compile(rf"^import\s+(?:(\{{[^{{}}]*\}}|\*\s*as\s+{NAME})\s*from\s*)?{FROM}", re.MULTILINE)
PASSED_ON = re.compile(rf"^export\s*\{{([^{{}}]*)\}}\s*from\s*{FROM}", re.MULTILINE)
LISTED = re.compile(r"^export\s*\{([^{}]*)\};?[ \t]*$", re.MULTILINE)
DECLARED = re.compile(rf"^export\s+((?:const|class|(?:async\s+)?function\s*\*?)\s*({NAME}))", re.MULTILINE)
AS = re.compile(rf"({NAME})(?:\s+as\s+({NAME}))?")

# What is left of statements that were not understood, and what would mean something else in a function.
UNKNOWN = re.compile(r"^[ \t]*(?:import|export)\b|\bimport\s*[.(]", re.MULTILINE)
WAITING = re.compile(r"^(?!.*\basync\b)\S.*\bawait\b|^await\b", re.MULTILINE)


class NotJoined(Exception):
    """A module is not as expected."""


def joined(entry: str, modules: Mapping[str, str]) -> str | None:
    """One module that does what an entry and all that it imports do; None where that cannot be told.

    Args:
        entry: the path of the module that a page loads.
        modules: the code of each, by its path, without comments, indented as it was written.
    """
    try:
        order = sorted_by_need(entry, modules)
        numbers = {path: number for number, path in enumerate(order)}
        return "".join(ModulePart(path, modules[path], numbers).text() for path in order)
    except NotJoined:
        return None


def sorted_by_need(entry: str, modules: Mapping[str, str]) -> list[str]:
    """All modules that one needs, and itself: each behind what it needs.

    Raises:
        NotJoined: two need each other, or one is not there.
    """
    order: dict[str, None] = {}
    begun = {entry}
    stack = [(entry, needs_of(entry, modules))]
    while stack:
        path, needs = stack[-1]
        other = next(needs, None)
        if other is None:
            order[path] = None
            stack.pop()
        elif other not in order:
            if other in begun:
                raise NotJoined(f"{other} needs itself")
            begun.add(other)
            stack.append((other, needs_of(other, modules)))
    return list(order)


def needs_of(path: str, modules: Mapping[str, str]) -> Iterator[str]:
    """What a module imports."""
    if path not in modules:
        raise NotJoined(path)
    return imported(modules[path], path)


class ModulePart:
    """A module on its way to be a part of another one.

    Attributes:
        exports: the properties of what it returns, as they are written in an object.
    """

    def __init__(self, path: str, code: str, numbers: Mapping[str, int]) -> None:
        self.exports: list[str] = []
        self._path = path
        self._code = code
        self._numbers = numbers

    def text(self) -> str:
        """The module as a function, called at once; what it exports has its number. The last one is a block."""
        is_entry = self._numbers[self._path] == len(self._numbers) - 1
        code = self._code
        for statement, change in (
            (IMPORT, self._taken),
            (PASSED_ON, self._passed_on),
            (LISTED, self._listed),
            (DECLARED, self._declared),
        ):
            code = statement.sub(change, code)
        if UNKNOWN.search(code) or (WAITING.search(code) and not is_entry):
            raise NotJoined(self._path)
        code = without_indentation(code)
        if is_entry:  # nobody imports it, and it may wait
            return f"// {self._path}\n{{\n{code}}}\n"
        returned = f"return {{ {', '.join(self.exports)} }};\n"
        return f"// {self._path}\nconst ${self._numbers[self._path]} = (() => {{\n{code}{returned}}})();\n"

    def _constant(self, specifier: str) -> str:
        """What another module's exports are in."""
        number = self._numbers.get(resolve(specifier, self._path))
        if number is None:
            raise NotJoined(specifier)
        return f"${number}"

    def _taken(self, statement: re.Match[str]) -> str:
        what, specifier = statement.groups()
        if what is None:
            return ""
        if what.startswith("*"):
            return f"const {what.split()[-1]} = {self._constant(specifier)};"
        pairs = (name if name == other else f"{name}: {other}" for name, other in names(what[1:-1]))
        return f"const {{ {', '.join(pairs)} }} = {self._constant(specifier)};"

    def _passed_on(self, statement: re.Match[str]) -> str:
        constant = self._constant(statement[2])
        self.exports += [f"{other}: {constant}.{name}" for name, other in names(statement[1])]
        return ""

    def _listed(self, statement: re.Match[str]) -> str:
        for name, other in names(statement[1]):
            if re.search(rf"^(?:let|var)\b.*(?<![\w$]){re.escape(name)}(?![\w$])", self._code, re.MULTILINE):
                raise NotJoined(f"{name} may change")
            self.exports.append(f"{other}: {name}")
        return ""

    def _declared(self, statement: re.Match[str]) -> str:
        self.exports.append(statement[2])
        return statement[1]


def names(clause: str) -> Iterator[tuple[str, str]]:
    """The names in braces, each with the one that it goes by on the other side."""
    for item in filter(None, map(str.strip, clause.split(","))):
        found = AS.fullmatch(item)
        if found is None or found[1] == "default" or found[2] == "default":
            raise NotJoined(item)
        yield found[1], found[2] or found[1]
