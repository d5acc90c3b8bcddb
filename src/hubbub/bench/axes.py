"""The axes of a plot: from values to pixels, and the round numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = [
    "DASH",
    "LARGEST",
    "SMALLEST",
    "Scale",
    "Tick",
    "known",
    "linear_ticks",
    "log_ticks",
    "number",
    "rounded",
    "scale",
    "short",
    "up_to",
]


# What goes beyond these was not measured: it is left out, and cannot spoil an axis.
LARGEST = 1e15
SMALLEST = 1e-12

DASH = "\N{EN DASH}"


class Tick(NamedTuple):
    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """From values to pixels.

    Attributes:
        low, high: the values at its ends.
        start, end: the pixels there.
    """

    ticks: list[Tick]
    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Where a value is; one outside is at the edge."""
        low, high = self.place(self.low), self.place(self.high)
        share = (self.place(value) - low) / (high - low)
        return self.start + min(max(share, 0), 1) * (self.end - self.start)

    def place(self, value: float) -> float:
        if not self.is_log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    @property
    def origin(self) -> float:
        """Where bars begin."""
        return self.low if self.is_log else 0.0


def scale(values: Collection[float], start: float, end: float, *, is_log: bool) -> Scale:
    """An axis for these values, from one round number to another."""
    low, high = min(values), max(values)
    ticks = log_ticks(low, high) if is_log else linear_ticks(low, high)
    return Scale([Tick(at, short(at)) for at in ticks], ticks[0], ticks[-1], start, end, is_log)


def up_to(last: float, x: Scale, given: Sequence[tuple[float, str]]) -> Scale:
    """The same axis, or one with the ticks that are given, but no longer than what is drawn."""
    ticks = [Tick(*tick) for tick in given] or x.ticks
    high = max(last, ticks[1].at if given else ticks[0].at)
    if high == ticks[0].at:
        return x
    return replace(x, ticks=[tick for tick in ticks if tick.at <= high], low=ticks[0].at, high=high)


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Zero and round numbers around it, 1, 2 or 5 times a power of ten apart, that hold `low` and `high`."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    step = round_up((high - low) / most)
    # What is a hair over a tick, because floats are what they are, needs no further one.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def round_up(least: float) -> float:
    """The next number that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that hold `low` and `high`, both above zero; where these are few, 1, 2 and 5 times as much."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 2:
        every = math.ceil((last - first) / 6)
        return [10.0**power for power in range(first, last + every, every)]
    finer = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    begin = max(index for index, tick in enumerate(finer) if tick <= low * (1 + 1e-9))
    end = next(index for index, tick in enumerate(finer) if tick >= high * (1 - 1e-9))
    return finer[begin : max(end, begin + 1) + 1]


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
