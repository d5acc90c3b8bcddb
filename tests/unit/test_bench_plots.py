"""Plots: the numbers and names that they show, XML whatever is drawn, and nothing that was not measured."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from hubbub.bench.plots import COLOURS, STYLE, Bars, Curve, Spread, bars, lines

pytestmark = pytest.mark.thorough

HOSTILE = "</style><script>alert(1)</script> $x^2$ \x00\x1b[2J\ud800 \"' & ]]> -->"
STRANGE = [0.0, -3.5, 5e-324, 1e-9, 1.0, 1e14, 1.7e308, math.nan, -math.inf]
SVG = "{http://www.w3.org/2000/svg}"

RISING = [(0.0, 1.0), (1.0, 2.0)]


def parsed(plot: str) -> ET.Element:
    """The plot, which must be XML that can be written to a file, and have no number that is none."""
    plot.encode()
    root = ET.fromstring(plot)
    assert (root.tag, root.get("role"), root.get("class")) == (f"{SVG}svg", "img", "plot")
    for element in root.iter():
        for name in ("x", "y", "width", "height", "d", "transform"):
            assert not re.search("nan|inf", element.get(name, "")), ET.tostring(element)
    return root


def texts(plot: str) -> list[str]:
    return [element.text or "" for element in parsed(plot).iter(f"{SVG}text")]


def description(plot: str) -> str | None:
    return parsed(plot).findtext(f"{SVG}desc")


def drawn(plot: str, variable: str, what: str = "fill") -> list[ET.Element]:
    """The paths in a colour."""
    colour = f"{what}: var(--plot-{variable})"
    return [path for path in parsed(plot).iter(f"{SVG}path") if colour in path.get("style", "")]


def width(path: ET.Element) -> float:
    across = [float(x) for x, _ in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d", ""))]
    return max(across) - min(across)


# Bars


def test_bars_show_names_and_values_and_are_as_long_as_these() -> None:
    plot = bars("CPU", ["Go", "Hubbub"], [Bars("", [Spread(40, 36, 44), Spread(10)])], label="µs")
    long, short = drawn(plot, "0")
    assert width(long) == pytest.approx(4 * width(short), rel=1e-3)
    assert {"CPU", "Go", "Hubbub", "40", "10", "µs"} <= set(texts(plot))
    assert parsed(plot).findtext(f"{SVG}title") == "CPU"
    assert description(plot) == "µs. Go: 40; Hubbub: 10."


def test_a_whisker_goes_from_the_least_to_the_most() -> None:
    plot = bars("CPU", ["Go", "Hubbub"], [Bars("", [Spread(40, 30, 50), Spread(10, 10, 10)])])
    (whisker,) = (path for path in drawn(plot, "ink", "stroke") if width(path) > 1)
    assert width(whisker) == pytest.approx(width(drawn(plot, "0")[0]) / 2, rel=1e-3)


def test_logarithmic_bars_grow_by_factors() -> None:
    plot = bars("t", ["a", "b", "c"], [Bars("", [Spread(1), Spread(10), Spread(100)])], is_log=True)
    first, second, third = map(width, drawn(plot, "0"))
    assert third - second == pytest.approx(second - first, rel=1e-3)
    assert first > 1, "the shortest can be seen"
    assert {"1", "10", "100"} <= set(texts(plot))


def test_several_series_are_told_apart_and_what_is_missing_is_a_dash() -> None:
    series = [Bars(name, [Spread(value), None]) for name, value in (("p50", 1), ("p99", 100))]
    plot = bars("Latency", ["Go", "Node"], series, is_log=True)
    assert {"p50", "p99"} <= set(texts(plot))
    assert texts(plot).count("\N{EN DASH}") == 2
    assert len(drawn(plot, "0")) == len(drawn(plot, "1")) == 1
    assert description(plot) == "Go: p50 1, p99 100; Node: p50 \N{EN DASH}, p99 \N{EN DASH}."
    assert "p50" not in texts(bars("Latency", ["Go", "Node"], series[:1]))


def test_the_bars_of_others_are_paler() -> None:
    plot = bars("CPU", ["Go", "Hubbub"], [Bars("", [Spread(40), Spread(10)])], strong=["Hubbub"])
    assert ["opacity" in path.get("style", "") for path in drawn(plot, "0")] == [True, False]
    bold = [text.text for text in parsed(plot).iter(f"{SVG}text") if "font-weight" in text.get("style", "")]
    assert bold == ["Hubbub", "CPU"]


@pytest.mark.parametrize("is_log", [True, False])
def test_strange_values_spoil_no_bars(is_log: bool) -> None:
    for value in STRANGE:
        spreads = [Spread(value, value, value), Spread(1.0, None, value)]
        parsed(bars("t", ["a", "b"], [Bars("s", spreads)], is_log=is_log))
    parsed(bars("t", ["a"] * len(STRANGE), [Bars("s", [Spread(value) for value in STRANGE])], is_log=is_log))


# Lines


def test_lines_show_what_they_are_of_and_how_far_they_go() -> None:
    plot = lines("CPU", [Curve("", [(0, 10), (3, 48), (6, 20)])], x_label="seconds", unit="%")
    assert {"CPU, %", "seconds", "0", "2", "4", "6", "10", "50"} <= set(texts(plot))
    assert description(plot) == "% over seconds. : from 10 to 20, at least 10, at most 48."
    assert {"1", "10", "100"} <= set(texts(lines("t", [Curve("", [(0, 2), (1, 40)])], is_log=True)))


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    plot = lines("CPU", [Curve("", [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 1.0)])])
    (line,) = (path for path in drawn(plot, "0", "stroke") if path.get("d", "").count("L"))
    assert line.get("d", "").count("L") == 1
    assert len(list(parsed(plot).iter(f"{SVG}use"))) == 1, "the one that stands alone is a dot"


def test_several_lines_have_names() -> None:
    named = texts(lines("t", [Curve("p50", RISING), Curve("a name that is long", RISING)]))
    assert {"p50", "a name that is long"} <= set(named)
    assert "p50" not in texts(lines("t", [Curve("p50", RISING)]))


def test_given_ticks_are_shown_as_far_as_there_is_a_line() -> None:
    ticks = [(0.3, "half"), (1, "most"), (2, "nearly all"), (3, "all")]
    shown = texts(lines("t", [Curve("", [(0.3, 1), (2.5, 2)])], x_ticks=ticks))
    assert {"half", "most", "nearly all"} <= set(shown)
    assert "all" not in shown
    for x in (0.1, 0.3, 0.5, 99):
        parsed(lines("t", [Curve("", [(x, 1)])], x_ticks=ticks))


@pytest.mark.parametrize("is_log", [True, False])
def test_strange_values_spoil_no_line(is_log: bool) -> None:
    for value in STRANGE:
        for points in ([(value, value)], [(value, 1.0), (1.0, value)]):
            parsed(lines("t", [Curve("s", points)], is_log=is_log))
    every = [(x, y) for x in STRANGE for y in STRANGE]
    parsed(lines("t", [Curve("s", every), Curve("r", [])], is_log=is_log))


# Both


@pytest.mark.parametrize(
    "plot",
    [
        bars("t", [], []),
        bars("t", ["a"], [Bars("s", [None])]),
        bars("t", ["a"], [Bars("s", [Spread(-1)])], is_log=True),
        lines("t", []),
        lines("t", [Curve("s", [])]),
        lines("t", [Curve("s", [(1, math.nan)])]),
        lines("t", [Curve("s", [(1, 0)])], is_log=True),
    ],
)
def test_a_plot_of_nothing_says_so(plot: str) -> None:
    assert set(texts(plot)) == {"t", "no data"}


def test_hostile_text_stays_text() -> None:
    series = [Bars(HOSTILE, [Spread(1)]), Bars("b", [Spread(2)])]
    for plot in (
        bars(HOSTILE, [HOSTILE], series, label=HOSTILE, strong=[HOSTILE]),
        lines(HOSTILE, [Curve(HOSTILE, RISING), Curve("b", RISING)], unit=HOSTILE),
    ):
        assert not list(parsed(plot).iter(f"{SVG}script"))
        assert "<script" not in plot
        assert any("<script>alert(1)</script> $x^2$" in text for text in texts(plot))


def test_long_names_are_cut_and_leave_room() -> None:
    long = "a name " * 20
    plot = bars(long, [long, "b"], [Bars(long, [Spread(1), Spread(2)]), Bars("b", [Spread(1), Spread(2)])])
    assert {long, f"{long[:39]}…", f"{long[:19]}…"} <= set(texts(plot))
    assert width(drawn(plot, "0")[1]) > 200


def test_every_colour_is_one_for_a_light_and_a_dark_screen() -> None:
    series = [Bars(str(index), [Spread(1, 0.5, 2), None]) for index in range(7)]
    for plot in (bars("t", ["a", "b"], series), lines("t", [Curve("a", RISING), Curve("b", RISING)])):
        styles = [element.get("style", "") for element in parsed(plot).iter()]
        assert not re.search("#[0-9a-f]{3}", " ".join(styles))
    for name, screens in COLOURS.items():
        for colour in screens:
            assert f"--plot-{name}: {colour};" in STYLE


def test_only_a_file_brings_its_style() -> None:
    assert STYLE in bars("t", ["a"], [Bars("s", [Spread(1)])])
    assert "<style" not in lines("t", [Curve("a", RISING)])


def test_plots_share_a_page() -> None:
    plots = [lines("t", [Curve("", [(0, value)])]) for value in (1, 2)]
    first, second = ({element.get("id") for element in parsed(plot).iter()} - {None} for plot in plots)
    assert first
    assert second
    assert not first & second


def test_the_same_values_give_the_same_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    def plot() -> str:
        return bars("t", ["a", "b"], [Bars("s", [Spread(1, 0.5, 2), Spread(3)])], strong={"a", "b"})

    before = plot()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with mpl.rc_context({"font.size": 30, "axes.linewidth": 5, "svg.fonttype": "path"}):
        assert plot() == before
        assert mpl.rcParams["font.size"] == 30, "the user's settings are left as they are"
