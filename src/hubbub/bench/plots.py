"""Bars and lines, drawn by matplotlib as SVG text.

A plot is a string that is well-formed XML, and the same for the same values. Its colours are CSS variables, which
`STYLE` sets for a light and a dark screen: the plots of lines are for a page that has `STYLE`, those of bars are files
of their own.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from hubbub.bench.text import known, number, printable, rounded, short

__all__ = ["STYLE", "Bars", "Curve", "Spread", "bars", "lines"]

# The CSS variables, each with its colour on a light and on a dark screen. Those with a number are for series: Okabe and
# Ito's, which the colour-blind can tell apart, darker on white so that text can have them.
COLOURS = {
    "paper": ("#ffffff", "#131a18"),
    "ink": ("#1b2522", "#e6edea"),
    "soft": ("#57635e", "#9db0a9"),
    "line": ("#e4e2da", "#2b3734"),
    "0": ("#0072b2", "#56b4e9"),
    "1": ("#c05000", "#f08a4b"),
    "2": ("#007f5c", "#2bc197"),
    "3": ("#a94f86", "#dd94bd"),
    "4": ("#946000", "#e6b032"),
    "5": ("#2f7db0", "#8fb4ff"),
}
LIGHT = {name: light for name, (light, _dark) in COLOURS.items()}
SERIES = [light for name, light in LIGHT.items() if name.isdigit()]
# matplotlib draws in the light colours, which these then replace.
VARIABLES = {light: f"var(--plot-{name})" for name, light in LIGHT.items()}

LIGHT_COLOURS, DARK_COLOURS = (
    " ".join(f"--plot-{name}: {pair[screen]};" for name, pair in COLOURS.items()) for screen in (0, 1)
)
STYLE = f"""
.plot {{ {LIGHT_COLOURS} }}
@media screen and (prefers-color-scheme: dark) {{ .plot {{ {DARK_COLOURS} }} }}
.plot * {{ stroke-linejoin: round; stroke-linecap: butt; }}
.plot text {{
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif !important;
}}
"""

# Pixels.
PER_INCH = 72  # in matplotlib's SVG
LINES_SIZE = (360, 250)
BARS_WIDTH = 720
BAR = 17
BAR_GAP = 3
ROW_GAP = 11
AROUND_BARS = 100

PALE = 0.55
# Letters; a longer one is cut, so that there is room for a plot.
MAX_CATEGORY = 40
MAX_NAME = 20

SETTINGS: dict[Any, Any] = {
    "font.size": 13,
    "figure.constrained_layout.w_pad": 12 / PER_INCH,
    "figure.constrained_layout.h_pad": 10 / PER_INCH,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "axes.facecolor": "none",
    "axes.edgecolor": LIGHT["soft"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Axes begin and end at round numbers.
    "axes.autolimit_mode": "round_numbers",
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "grid.color": LIGHT["line"],
    "legend.frameon": False,
    "legend.labelcolor": "linecolor",
    "legend.handlelength": 1,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "text.color": LIGHT["ink"],
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 8,
    "ytick.major.pad": 6,
    # Text stays text, and a dollar sign in it is one.
    "svg.fonttype": "none",
    "text.parse_math": False,
}

SVG = "http://www.w3.org/2000/svg"
ET.register_namespace("", SVG)
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")


class Spread(NamedTuple):
    """A value, and the least and the most of what it stands for."""

    value: float
    low: float | None = None
    high: float | None = None


class Bars(NamedTuple):
    """One bar for each category; None where there is nothing to show."""

    name: str
    values: Sequence[Spread | None]


class Curve(NamedTuple):
    """A line through (x, y) points; a y that is not a number breaks it."""

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
) -> str:
    """Horizontal bars, a row for each category, as a file.

    Args:
        label: what the values are, under the axis.
        strong: the categories to stand out; the bars of the others are paler.
    """
    shown = [Bars(one.name, [drawable_spread(spread, is_log=is_log) for spread in one.values]) for one in series]
    extent = [end for one in shown for spread in one.values if spread for end in spread if end is not None]
    row = len(shown) * BAR + ROW_GAP

    def draw(axes: Axes) -> None:
        # A logarithmic axis has no zero: it begins where the shortest bar still has some length.
        start = min(extent) / 2 if is_log else 0.0
        axes.set_xscale("log" if is_log else "linear")
        for index, one in enumerate(shown):
            above = ((len(shown) - 1) / 2 - index) * BAR / row
            for place, (category, spread) in enumerate(zip(categories, one.values, strict=True)):
                alpha = 1 if category in strong or not strong else PALE
                look = {"height": (BAR - BAR_GAP) / row, "color": colour(index), "alpha": alpha}
                draw_bar(axes, place - above, spread, start, **look)
        number_axis(axes.xaxis, is_log=is_log)
        if is_log:
            axes.set_xlim(start, max(extent))
        axes.set(xlabel=printable(label), ylim=(len(categories) - 0.5, -0.5))
        axes.set_yticks(range(len(categories)), [cut(name, MAX_CATEGORY) for name in categories])
        for name, category in zip(axes.get_yticklabels(), categories, strict=True):
            name.set(color=LIGHT["ink"], weight="bold" if category in strong else "normal")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(True)
        axes.spines["bottom"].set_visible(False)
        add_legend(axes, [one.name for one in shown])

    described = describe_bars(categories, shown, label)
    size = (BARS_WIDTH, AROUND_BARS + len(categories) * row)
    return svg(title, described, draw if extent else None, size, is_file=True)


def draw_bar(axes: Axes, y: float, spread: Spread | None, left: float, **look: Any) -> None:
    """Draw one bar, its whisker and its value; a dash where there is none."""
    end = left
    if spread is not None:
        end = spread.value
        axes.barh(y, end - left, left=left, **look)
        if spread.low is not None and spread.high is not None and spread.low < spread.high:
            axes.plot([spread.low, spread.high], [y, y], "|-", color=LIGHT["ink"], linewidth=1.5, markeredgewidth=1.5)
            end = max(end, spread.high)
    said = rounded(spread.value if spread else None)
    axes.annotate(said, (end, y), (8, 0), textcoords="offset points", va="center_baseline", annotation_clip=False)


def lines(
    title: str,
    series: Sequence[Curve],
    *,
    x_label: str = "",
    unit: str = "",
    is_log: bool = False,
    x_ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over one pair of axes, for a page.

    Args:
        unit: of what goes up, which begins at zero unless `is_log`.
        x_ticks: two or more, instead of round numbers, where x means something else than it is; x begins at the first.
    """
    shown = [line for one in series if (line := drawable_line(one, is_log=is_log)).points]

    def draw(axes: Axes) -> None:
        axes.set_yscale("log" if is_log else "linear")
        axes.update_datalim([(0, 0)], updatey=not is_log)
        for index, one in enumerate(shown):
            xs, ys = zip(*one.points, strict=True)
            axes.plot(xs, ys, color=colour(index), marker="o", markevery=lonely(ys))
        number_axis(axes.xaxis)
        number_axis(axes.yaxis, is_log=is_log)
        first, last = axes.dataLim.intervalx
        if x_ticks:
            first, last = x_ticks[0][0], max(last, x_ticks[1][0])
            ticks = [(at, printable(name)) for at, name in x_ticks if at <= last]
            axes.set_xticks(*zip(*ticks, strict=True))
        if first < last:
            axes.set_xlim(first, last)
        axes.set_xlabel(printable(x_label))
        axes.grid(visible=False, axis="x")
        add_legend(axes, [one.name for one in shown])

    described = describe_lines(shown, x_label, unit)
    return svg(f"{title}, {unit}" if unit else title, described, draw if shown else None, LINES_SIZE)


def lonely(ys: Sequence[float]) -> list[int]:
    """The indexes of points without a neighbour, which no line goes through: they are drawn as dots."""
    around = [math.nan, *ys, math.nan]
    return [index for index in range(len(ys)) if math.isnan(around[index]) and math.isnan(around[index + 2])]


# Values


def drawable(value: float | None, *, is_log: bool) -> float | None:
    value = known(value)
    return None if value is None or (is_log and value <= 0) else value


def drawable_spread(spread: Spread | None, *, is_log: bool) -> Spread | None:
    """A spread of values that can be drawn; None where its middle cannot."""
    value, low, high = (drawable(each, is_log=is_log) for each in spread or (None, None, None))
    return None if value is None else Spread(value, low, high)


def drawable_line(line: Curve, *, is_log: bool) -> Curve:
    """A line of values that can be drawn; it has no points where none of its values can."""
    found = [(known(x), drawable(y, is_log=is_log)) for x, y in line.points]
    points = [(x, math.nan if y is None else y) for x, y in found if x is not None]
    return Curve(line.name, points if any(not math.isnan(y) for _, y in points) else [])


# Parts


def cut(text: str, letters: int) -> str:
    text = printable(text)
    return text if len(text) <= letters else text[: letters - 1] + "…"


def colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def number_axis(axis: Axis, *, is_log: bool = False) -> None:
    """Put few and short numbers at an axis; what it is for has been drawn already."""
    low, high = axis.get_data_interval()
    subs = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs) if is_log else MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: short(value))


def add_legend(axes: Axes, names: Sequence[str]) -> None:
    """Name the colours above the axes; a single one needs no name."""
    if len(names) > 1:
        handles = [Line2D([], [], color=colour(index), linewidth=4) for index in range(len(names))]
        axes.legend(handles, [cut(name, MAX_NAME) for name in names], loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def svg(
    title: str,
    description: str,
    draw: Callable[[Axes], None] | None,
    size: tuple[float, float],
    *,
    is_file: bool = False,
) -> str:
    """A whole plot as SVG.

    Args:
        draw: draws into the axes; None where there is nothing to draw, which the plot then says.
        size: width and height in pixels.
        is_file: the plot has a background and `STYLE` of its own.
    """
    title, description = printable(title), printable(description)
    width, height = size
    with mpl.rc_context():
        mpl.rcdefaults()  # The user may have other settings.
        mpl.rcParams.update(SETTINGS | {"svg.hashsalt": title + description})
        figure = Figure((width / PER_INCH, height / PER_INCH), layout="constrained")
        figure.set_facecolor(LIGHT["paper"] if is_file else "none")
        figure.suptitle(title, x=0.02, horizontalalignment="left")
        axes = figure.add_subplot()
        if draw is None:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no data", horizontalalignment="center")
        else:
            draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"]))
    root = ET.fromstring(file.getvalue())  # noqa: S314  matplotlib wrote it
    fit_into_page(root)
    root.attrib |= {"class": "plot", "role": "img", "width": f"{width:g}", "height": f"{height:g}"}
    said = {"title": title, "desc": description} | ({"style": STYLE} if is_file else {})
    for place, (tag, text) in enumerate(said.items()):
        element = ET.Element(tag)
        element.text = text
        root.insert(place, element)
    return ET.tostring(root, "unicode") + "\n"


def fit_into_page(root: ET.Element) -> None:
    """Let several plots share one page, and let the page set their colours."""
    # The root's own definitions are a style, which would apply to all of the page, and clips, which cut nothing off.
    for element in root.findall(f"{{{SVG}}}defs"):
        root.remove(element)
    for element in root.iter():
        element.attrib.pop("clip-path", None)
        if element.tag == f"{{{SVG}}}g":
            element.attrib.pop("id", None)  # Every plot has the same ones.
        if style := element.get("style"):
            element.set("style", re.sub("#[0-9a-f]{6}", lambda found: VARIABLES[found[0]], style))


def describe_bars(categories: Sequence[str], series: Sequence[Bars], label: str) -> str:
    """The bars for those who cannot see them."""

    def values(row: int) -> Iterator[str]:
        for one in series:
            spread = one.values[row]
            yield f"{one.name} {number(spread.value if spread else None)}".strip()

    rows = "; ".join(f"{category}: {', '.join(values(row))}" for row, category in enumerate(categories))
    return f"{label}. {rows}." if label else f"{rows}."


def describe_lines(series: Sequence[Curve], x_label: str, unit: str) -> str:
    """The lines for those who cannot see them."""

    def range_of(one: Curve) -> str:
        ys = [y for _, y in one.points if not math.isnan(y)]
        ends = f"from {number(ys[0])} to {number(ys[-1])}"
        return f"{one.name}: {ends}, at least {number(min(ys))}, at most {number(max(ys))}"

    axes = " over ".join(label for label in (unit, x_label) if label)
    return ". ".join([axes, *map(range_of, series)] if axes else map(range_of, series)) + "."
