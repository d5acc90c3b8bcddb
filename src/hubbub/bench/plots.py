"""Bars and lines, as SVG text.

A plot is a string: it goes into a page as it is, or into a file of its own with `standalone`. Its colours are CSS
variables, set by `STYLE` for a light and a dark screen, so a page that has plots in it needs `STYLE` too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from hubbub.bench.axes import DASH, Scale, Tick, known, number, rounded, scale, up_to

__all__ = ["STYLE", "Bars", "Line", "Spread", "bars", "escape", "lines"]

# After Okabe and Ito's colours, which the colour-blind can tell apart; darker on white, so that text can have them.
STYLE = """
.plot {
  --plot-paper: #ffffff; --plot-ink: #1b2522; --plot-soft: #57635e; --plot-line: #e4e2da;
  --plot-0: #0072b2; --plot-1: #c05000; --plot-2: #007f5c; --plot-3: #a94f86; --plot-4: #946000; --plot-5: #2f7db0;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
@media screen and (prefers-color-scheme: dark) {
  .plot {
    --plot-paper: #131a18; --plot-ink: #e6edea; --plot-soft: #9db0a9; --plot-line: #2b3734;
    --plot-0: #56b4e9; --plot-1: #f08a4b; --plot-2: #2bc197; --plot-3: #dd94bd; --plot-4: #e6b032; --plot-5: #8fb4ff;
  }
}
.plot text { fill: var(--plot-soft); }
.plot .title { fill: var(--plot-ink); font-size: 15px; font-weight: 600; }
.plot .value { fill: var(--plot-ink); }
.plot .strong { fill: var(--plot-ink); font-weight: 600; }
.plot .paper { fill: var(--plot-paper); }
.plot .grid { stroke: var(--plot-line); }
.plot .base { stroke: var(--plot-soft); }
.plot .bar { fill: var(--plot); }
.plot .pale { fill-opacity: 0.55; }
.plot .whisker { fill: none; stroke: var(--plot-ink); stroke-width: 1.5; }
.plot .line { fill: none; stroke: var(--plot); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.plot .dot { fill: var(--plot); }
.plot text.name { fill: var(--plot); font-weight: 600; }
.plot .c0 { --plot: var(--plot-0); }
.plot .c1 { --plot: var(--plot-1); }
.plot .c2 { --plot: var(--plot-2); }
.plot .c3 { --plot: var(--plot-3); }
.plot .c4 { --plot: var(--plot-4); }
.plot .c5 { --plot: var(--plot-5); }
"""
COLOURS = 6

# Pixels.
LETTER = 7.5  # what one of 13 px takes, on the large side of the average
TITLE_HEIGHT = 40.0
LEGEND_HEIGHT = 24.0
AXIS_HEIGHT = 26.0
LABEL_HEIGHT = 20.0
BAR = 16.0
BAR_GAP = 3.0
GROUP_GAP = 13.0
NAME_HEIGHT = 15.0
MIN_WHISKER = 4.0  # a shorter one is a blot
# A longer name does not stand beside its line, but in a legend.
MAX_NAME = 10


class Spread(NamedTuple):
    """A value, and the least and the most of what it stands for."""

    value: float
    low: float | None = None
    high: float | None = None


class Bars(NamedTuple):
    """One bar in each category; None where there is nothing to show."""

    name: str
    values: Sequence[Spread | None]


class Line(NamedTuple):
    """A line through (x, y) points."""

    name: str
    points: Sequence[tuple[float, float]]


def bars(
    title: str,
    categories: Sequence[str],
    series: Sequence[Bars],
    *,
    label: str = "",
    is_log: bool = False,
    strong: Collection[str] = (),
    standalone: bool = False,
    width: float = 720,
) -> str:
    """Horizontal bars, a group for each category.

    Args:
        label: what the values are, under the axis.
        strong: the categories to stand out; the bars of the others are paler.
    """
    shown = [Bars(one.name, [spread_of(value) for value in one.values]) for one in series]
    extent = [end for one in shown for spread in one.values if spread for end in spread if end is not None]
    if is_log:
        extent = [end for end in extent if end > 0]
    if not extent:
        return nothing(title, width, standalone=standalone)

    colours = legend([one.name for one in shown], width) if len(shown) > 1 else Legend([], 0)
    group = len(shown) * (BAR + BAR_GAP) - BAR_GAP
    top = TITLE_HEIGHT + colours.height
    bottom = top + len(categories) * (group + GROUP_GAP)
    height = bottom + AXIS_HEIGHT + (LABEL_HEIGHT if label else 0)
    letters = max(min(max(map(len, categories)), int(width * 0.36 / LETTER)), 1)
    # A bar needs some length on a logarithmic axis, the shortest too.
    ends = [min(extent) / 2, *extent] if is_log else extent
    x = scale(ends, letters * LETTER + 26, width - 76, is_log=is_log)

    parts = [*colours.parts, *grid_below(x, top, bottom, label)]
    for row, category in enumerate(categories):
        y = top + GROUP_GAP / 2 + row * (group + GROUP_GAP)
        is_strong = category in strong
        name = category if len(category) <= letters else category[: letters - 1] + "…"
        parts.append(text(x.start - 10, y + group / 2 + 4.5, name, "strong" if is_strong else "", "end"))
        for number_of, one in enumerate(shown):
            spread = one.values[row] if row < len(one.values) else None
            css = f"c{number_of % COLOURS}" + (" pale" if strong and not is_strong else "")
            parts += bar(spread, x, y + number_of * (BAR + BAR_GAP), css)
    parts.append(upright(x.at(x.origin), top, bottom, "base"))
    return svg(title, describe_bars(categories, shown, label), width, height, parts, standalone=standalone)


def bar(spread: Spread | None, x: Scale, y: float, css: str) -> Iterator[str]:
    """One bar, its whisker and its value."""
    middle = y + BAR / 2
    if spread is None:
        yield text(x.at(x.origin) + 8, middle + 4.5, DASH)
        return
    # Nothing on a logarithmic axis stands for zero, and less.
    begin, end = sorted((x.at(x.origin), x.at(spread.value)))
    length = max(end - begin, 1)
    yield f'<rect class="bar {css}" x="{begin:.2f}" y="{y:.2f}" width="{length:.2f}" height="{BAR:g}" rx="2"/>'
    low, high = (None if value is None else x.at(value) for value in spread[1:])
    if low is not None and high is not None and high - low > MIN_WHISKER:
        yield (
            f'<path class="whisker" d="M{low:.2f} {middle - 4:.2f}v8M{low:.2f} {middle:.2f}H{high:.2f}'
            f'M{high:.2f} {middle - 4:.2f}v8"/>'
        )
    yield text(max(end, high or end) + 8, middle + 4.5, rounded(spread.value), "value")


def lines(
    title: str,
    series: Sequence[Line],
    *,
    x_label: str = "",
    y_label: str = "",
    is_log_x: bool = False,
    is_log_y: bool = False,
    x_ticks: Sequence[tuple[float, str]] = (),
    standalone: bool = False,
    width: float = 440,
    height: float = 270,
) -> str:
    """Lines over one pair of axes, which begin at zero when they are not logarithmic.

    Args:
        x_ticks: two or more, instead of round numbers, where x means something else than it is; x begins at the first.
    """
    shown = drawable(series, is_log_x=is_log_x, is_log_y=is_log_y)
    if not shown:
        return nothing(title, width, standalone=standalone)

    names = [one.name for one in shown]
    is_beside = 1 < len(names) <= 5 and max(map(len, names)) <= MAX_NAME
    colours = legend(names, width) if len(names) > 1 and not is_beside else Legend([], 0)
    top = TITLE_HEIGHT + colours.height + (LABEL_HEIGHT if y_label else 0)
    bottom = height - AXIS_HEIGHT - (LABEL_HEIGHT if x_label else 0)
    y = scale([y for one in shown for _, y in one.points if not math.isnan(y)], bottom, top, is_log=is_log_y)
    left = 20 + LETTER * max(len(tick.label) for tick in y.ticks)
    margin = max([16, *(LETTER * len(label) / 2 for _, label in x_ticks)])
    right = width - (20 + LETTER * max(map(len, names)) if is_beside else margin)
    level = [x for one in shown for x, _ in one.points]
    x = up_to(max(level), scale(level, left, right, is_log=is_log_x), x_ticks)

    parts = [*colours.parts, *grid_beside(y, left, right, y_label, top)]
    parts += axis_below(x, bottom, x_label)
    for index, one in enumerate(shown):
        parts += line(one, x, y, f"c{index % COLOURS}")
    if is_beside:
        parts += names_beside(shown, y, right + 8)
    return svg(title, describe_lines(shown, x_label, y_label), width, height, parts, standalone=standalone)


def line(one: Line, x: Scale, y: Scale, css: str) -> Iterator[str]:
    """A line, broken where a value is missing; a point that stands alone is a dot."""
    for is_missing, points in groupby(one.points, key=lambda point: math.isnan(point[1])):
        if is_missing:
            continue
        places = [f"{x.at(right):.2f} {y.at(up):.2f}" for right, up in points]
        if len(places) > 1:
            yield f'<path class="line {css}" d="M{"L".join(places)}"/>'
        else:
            across, down = places[0].split()
            yield f'<circle class="dot {css}" cx="{across}" cy="{down}" r="3"/>'


def names_beside(series: Sequence[Line], y: Scale, left: float) -> Iterator[str]:
    """The name of each line where it ends."""
    ends = [y.at(next(up for _, up in reversed(one.points) if not math.isnan(up))) for one in series]
    for index, place in enumerate(spread_apart(ends, NAME_HEIGHT, y.end, y.start)):
        yield text(left, place + 4.5, series[index].name, f"name c{index % COLOURS}")


def nothing(title: str, width: float, *, standalone: bool) -> str:
    """A plot without data."""
    return svg(title, "no data", width, 96, [text(16, 62, "no data")], standalone=standalone)


# Values


def spread_of(spread: Spread | None) -> Spread | None:
    """A spread of known values only."""
    value = known(spread.value) if spread else None
    return None if spread is None or value is None else Spread(value, known(spread.low), known(spread.high))


def drawable(series: Iterable[Line], *, is_log_x: bool, is_log_y: bool) -> list[Line]:
    """What can be drawn of lines: a missing y becomes not a number; what has no x, and a line without any y, goes."""

    def point(x: float, y: float) -> tuple[float, float] | None:
        right, up = known(x), known(y)
        if right is None or (is_log_x and right <= 0):
            return None
        return right, math.nan if up is None or (is_log_y and up <= 0) else up

    found = [Line(one.name, [place for xy in one.points if (place := point(*xy))]) for one in series]
    return [one for one in found if any(not math.isnan(y) for _, y in one.points)]


def spread_apart(places: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """These places, moved as little as keeps them `gap` apart, and in bounds where there is room."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = [places[index] for index in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    limit = bottom
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    moved[0] = max(moved[0], top)
    for before, after in pairwise(range(len(moved))):
        moved[after] = max(moved[after], moved[before] + gap)
    found = dict(zip(order, moved, strict=True))
    return [found[index] for index in range(len(places))]


# Parts


def grid_below(x: Scale, top: float, bottom: float, label: str) -> Iterator[str]:
    """An axis of values below bars, with lines up through them."""
    for tick in roomy(x):
        yield upright(x.at(tick.at), top, bottom, "grid")
        yield text(x.at(tick.at), bottom + 18, tick.label, anchor="middle")
    if label:
        yield text((x.start + x.end) / 2, bottom + 18 + LABEL_HEIGHT, label, anchor="middle")


def grid_beside(y: Scale, left: float, right: float, label: str, top: float) -> Iterator[str]:
    """An axis of values beside lines, with lines through them, and what it shows above it."""
    for tick in y.ticks:
        place = y.at(tick.at)
        css = "base" if tick == y.ticks[0] else "grid"
        yield f'<path class="{css}" d="M{left:.2f} {place:.2f}H{right:.2f}"/>'
        yield text(left - 8, place + 4.5, tick.label, anchor="end")
    if label:
        yield text(16, top - 14, label)


def axis_below(x: Scale, bottom: float, label: str) -> Iterator[str]:
    """The axis below lines."""
    for tick in roomy(x):
        yield f'<path class="base" d="M{x.at(tick.at):.2f} {bottom:.2f}v5"/>'
        yield text(x.at(tick.at), bottom + 19, tick.label, anchor="middle")
    if label:
        yield text((x.start + x.end) / 2, bottom + 19 + LABEL_HEIGHT, label, anchor="middle")


def roomy(x: Scale) -> Iterator[Tick]:
    """The ticks of a level axis whose labels do not run into the one before."""
    free = -math.inf
    for tick in x.ticks:
        half = len(tick.label) * LETTER / 2
        if x.at(tick.at) - half >= free:
            free = x.at(tick.at) + half + 8
            yield tick


class Legend(NamedTuple):
    parts: list[str]
    height: float


def legend(names: Iterable[str], width: float) -> Legend:
    """Which colour is what, in as many rows as it takes."""
    parts: list[str] = []
    x, y = 16.0, TITLE_HEIGHT
    for index, name in enumerate(names):
        needs = 18 + len(name) * LETTER + 16
        if x > 16 and x + needs > width:
            x, y = 16.0, y + LEGEND_HEIGHT
        css = f"c{index % COLOURS}"
        parts.append(f'<rect class="bar {css}" x="{x:.2f}" y="{y:.2f}" width="12" height="12" rx="2"/>')
        parts.append(text(x + 18, y + 10.5, name))
        x += needs
    return Legend(parts, y - TITLE_HEIGHT + LEGEND_HEIGHT)


def upright(x: float, top: float, bottom: float, css: str) -> str:
    return f'<path class="{css}" d="M{x:.2f} {top:.2f}V{bottom:.2f}"/>'


def text(x: float, y: float, content: str, css: str = "", anchor: str = "start") -> str:
    of_class = f' class="{css}"' if css else ""
    at_anchor = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{of_class} x="{x:.2f}" y="{y:.2f}"{at_anchor}>{escape(content)}</text>'


def svg(title: str, description: str, width: float, height: float, parts: Iterable[str], *, standalone: bool) -> str:
    """The plot around its parts."""
    inside = "\n".join(parts)
    alone = ""
    if standalone:
        paper = f'<rect class="paper" width="{width:g}" height="{height:g}" rx="12"/>'
        alone = f"<style>{STYLE}</style>\n{paper}\n"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n{alone}"
        f"{text(16, 25, title, 'title')}\n{inside}\n</svg>\n"
    )


def describe_bars(categories: Sequence[str], series: Sequence[Bars], label: str) -> str:
    """The bars for those who cannot see them."""

    def values(row: int) -> Iterator[str]:
        for one in series:
            spread = one.values[row] if row < len(one.values) else None
            yield f"{one.name} {number(spread.value if spread else None)}".strip()

    rows = "; ".join(f"{category}: {', '.join(values(row))}" for row, category in enumerate(categories))
    return f"{label}. {rows}." if label else f"{rows}."


def describe_lines(series: Sequence[Line], x_label: str, y_label: str) -> str:
    """The lines for those who cannot see them."""

    def range_of(one: Line) -> str:
        ys = [y for _, y in one.points if not math.isnan(y)]
        ends = f"from {number(ys[0])} to {number(ys[-1])}"
        return f"{one.name}: {ends}, at least {number(min(ys))}, at most {number(max(ys))}"

    axes = " over ".join(label for label in (y_label, x_label) if label)
    return ". ".join([axes, *map(range_of, series)] if axes else map(range_of, series)) + "."


def escape(content: str) -> str:
    """Text as HTML and XML can hold it: what cannot be printed is a space."""
    return html.escape("".join(each if each.isprintable() else " " for each in content))
