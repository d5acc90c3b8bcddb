"""JavaScript modules as text: what they import, and what they are without their comments.

No parser: the page's own modules are read, in which an import statement begins a line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

__all__ = ["imported", "needed", "resolve", "without_comments", "without_indentation"]

# `import "x"`, `import ... from "x"` and `export ... from "x"`, over several lines too.
STATEMENT = re.compile(r"""^[ \t]*(?:import|export)\b(?:[^"';]*?\bfrom)?[ \t]*(["'])([^"'\n]+)\1""", re.MULTILINE)
LINE_COMMENT = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
BLOCK_COMMENT = re.compile(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*$", re.MULTILINE | re.DOTALL)
INDENT = re.compile(r"^[ \t]+", re.MULTILINE)


def imported(code: str, path: str) -> Iterator[str]:
    """The paths of what a module at a path imports with statements, in their order."""
    for statement in STATEMENT.finditer(code):
        if statement[2].startswith(("/", "./", "../")):
            yield resolve(statement[2], path)


def resolve(specifier: str, path: str) -> str:
    """The path that a specifier means in a module at a path."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), specifier))


def needed(entry: str, modules: Mapping[str, str]) -> list[str]:
    """The paths of all modules that one needs, without it, each once: those that are needed soonest first.

    Args:
        modules: the code of each module, by its path; what is not among them is left out.
    """
    found = {entry: None}
    waiting = [entry]
    while waiting:
        path = waiting.pop(0)
        for each in imported(modules[path], path):
            if each in modules and each not in found:
                found[each] = None
                waiting.append(each)
    return list(found)[1:]


def without_comments(code: str) -> str:
    """A module without the comments that fill whole lines; each line keeps its number.

    A line may be part of a text only where one goes over several lines: such a module stays as it is.
    """
    bare = BLOCK_COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), code)
    bare = LINE_COMMENT.sub("", bare)
    return bare if is_by_lines(bare) else code


def without_indentation(code: str) -> str:
    """A module without the indentation of its lines, under the same condition."""
    return INDENT.sub("", code) if is_by_lines(code) else code


def is_by_lines(code: str) -> bool:
    """Whether no text of a module goes over several lines, as far as can be told."""
    return not any(line.count("`") % 2 or line.endswith("\\") for line in code.splitlines())
