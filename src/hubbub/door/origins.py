"""The pages that may speak to the door besides the server's own, as Centrifugo writes them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["origins_like"]

# An origin is a scheme, a name of a host, which has 253 characters at most, and a port.
MAX_ORIGIN_CHARS = 300


def origins_like(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether an origin is like one of some patterns, in which `*` stands for any characters."""
    parts = [pattern.lower().rstrip("/").split("*") for pattern in patterns]

    def is_like_any(origin: str) -> bool:
        origin = origin.lower()
        return len(origin) <= MAX_ORIGIN_CHARS and any(is_like(origin, each) for each in parts)

    return is_like_any


def is_like(text: str, parts: list[str]) -> bool:
    """Whether a text begins with the first part, ends with the last, and has the others in between, in order.

    The leftmost place of each part is as good as any other, so that this takes no more than one look at the text for
    each.
    """
    first, *others = parts
    if not others:
        return text == first
    *inner, last = others
    place, end = len(first), len(text) - len(last)
    if place > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in inner:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
