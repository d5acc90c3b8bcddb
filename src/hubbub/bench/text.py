"""Numbers and text, as a report shows them."""

from __future__ import annotations

import html
import math

__all__ = ["DASH", "escape", "known", "number", "printable", "rounded", "short"]

# A larger number was not measured, and a smaller one is nothing: neither may spoil a table or an axis.
LARGEST = 1e15
SMALLEST = 1e-12

DASH = "\N{EN DASH}"


def known(value: float | None) -> float | None:
    """The value, or None where there is none that could have been measured."""
    if value is None or not math.isfinite(value) or abs(value) > LARGEST:
        return None
    return float(value) if abs(value) > SMALLEST else 0.0


def number(value: float | None) -> str:
    """A number to read: three digits, or all of a large one's before the point."""
    value = known(value)
    return f"{value:,.0f}" if value is not None and 1000 <= abs(value) < 1e9 else rounded(value)


def rounded(value: float | None) -> str:
    """A number in three digits."""
    value = known(value)
    if value is None:
        return DASH
    value = float(f"{value:.3g}")
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:g}"


def short(value: float) -> str:
    """A number where there is little room."""
    value = float(f"{value:.3g}")
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return rounded(value)


def printable(text: str) -> str:
    """Text with a space for each character that cannot be printed, many of which XML cannot hold."""
    return "".join(each if each.isprintable() else " " for each in text)


def escape(text: str) -> str:
    """Text as HTML and XML can hold it."""
    return html.escape(printable(text))
