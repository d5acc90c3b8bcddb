"""Style sheets as text: what they are within a page."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hubbub.http.modules import resolve

__all__ = ["inlined", "is_alone"]

# A text, which stays as it is, or a comment.
TEXT_OR_COMMENT = re.compile(r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|url\([^)]*\))|/\*.*?\*/""", re.DOTALL)
SPACE = re.compile(r"\s*\n\s*")
URL = re.compile(r"""url\((["']?)([^"'()]+)\1\)""")
ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|/|#", re.IGNORECASE)


def is_alone(attributes: Mapping[str, str], sheet: str) -> bool:
    """Whether a linked sheet can be put into the page: it is for all media, and leads to no other sheet."""
    return "media" not in attributes and "@import" not in sheet and "</" not in sheet


def inlined(sheet: str, path: str) -> str:
    """A sheet from a path as it may stand in a page at the root: its URLs from there, no comments and indentation."""

    def from_root(url: re.Match[str]) -> str:
        return url[0] if ABSOLUTE.match(url[2]) else f'url("{resolve(url[2], path)[1:]}")'

    bare = TEXT_OR_COMMENT.sub(lambda found: found[1] or "", sheet)
    return URL.sub(from_root, SPACE.sub("\n", bare).strip() + "\n")
