"""Lua scripts, which the server runs whole or not at all."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

__all__ = ["LuaScript"]


class LuaScript:
    """A script by its name, from `scripts/`.

    Attributes:
        source: its text.
        sha: what the server calls it by, once it has seen the text.
    """

    __slots__ = ("sha", "source")

    def __init__(self, name: str, *, shared: str = "") -> None:
        """Read it.

        Args:
            shared: the name of another one, with functions that it uses.
        """
        folder = files(__package__) / "scripts"
        flags, _, body = (folder / f"{name}.lua").read_text().partition("\n")
        functions = (folder / f"{shared}.lua").read_text() if shared else ""
        self.source = f"{flags}\n{functions}{body}".encode()
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()
