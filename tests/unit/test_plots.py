"""Plots: XML whatever is drawn, round ticks, and nothing that was not measured."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from hubbub.bench.axes import known, linear_ticks, log_ticks, number, rounded, short
from hubbub.bench.plots import Bars, Line, Spread, bars, lines, spread_apart

HOSTILE = "</style><script>alert(1)</script> \x00\x1b[2J\ud800 \"' & ]]> -->"
STRANGE = [0.0, -0.0, -3.5, 5e-324, 1e-30, 1e-9, 1.0, 1e14, 1e300, 1.7e308, -1e308, math.nan, math.inf, -math.inf]
SVG = "{http://www.w3.org/2000/svg}"


def parsed(plot: str) -> ET.Element:
    """The plot, which must be XML that can be written to a file, and have no number that is none."""
    plot.encode()
    root = ET.fromstring(plot)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    for element in root.iter():
        for name in ("x", "y", "width", "height", "cx", "cy", "d"):
            assert not re.search("nan|inf", element.get(name, "")), ET.tostring(element)
    return root


def texts(plot: str) -> list[str]:
    return [element.text or "" for element in parsed(plot).iter(f"{SVG}text")]


def drawn(plot: str, css: str) -> list[ET.Element]:
    return [element for element in parsed(plot).iter() if css in element.get("class", "").split()]


# Numbers


@pytest.mark.parametrize(
    ("value", "read", "in_short"),
    [
        (0, "0", "0"),
        (0.94567, "0.946", "0.946"),
        (12.0, "12", "12"),
        (999.7, "1,000", "1k"),
        (1234.5, "1,234", "1.23k"),
        (20_000, "20,000", "20k"),
        (1_234_567, "1,234,567", "1.23M"),
        (-5_000, "-5,000", "-5k"),
        (3e9, "3e+09", "3G"),
    ],
)
def test_numbers_are_short_enough_to_read(value: float, read: str, in_short: str) -> None:
    assert number(value) == read
    assert short(value) == in_short


def test_three_digits_are_enough_beside_a_spread() -> None:
    assert rounded(1_234_567) == "1,230,000"
    assert rounded(1.2345) == "1.23"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e300])
def test_what_cannot_have_been_measured_is_a_dash(value: float | None) -> None:
    assert known(value) is None
    assert number(value) == rounded(value) == "\N{EN DASH}"


# Ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 48, [0, 10, 20, 30, 40, 50]),
        (0.1, 0.3, [0, 0.1, 0.2, 0.3]),
        (-3, 5, [-4, -2, 0, 2, 4, 6]),
        (-7, -1, [-8, -6, -4, -2, 0]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_one_two_or_five_apart_and_hold_zero(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("exponent", range(-12, 16))
@pytest.mark.parametrize("factor", [1, 1.01, 2.4, 3.14, 9.99])
def test_ticks_are_few_and_hold_every_value(exponent: int, factor: float) -> None:
    high = factor * 10.0**exponent
    ticks = linear_ticks(0, high)
    assert 3 <= len(ticks) <= 7
    assert ticks[-1] >= high * (1 - 1e-8)
    assert f"{ticks[1]:.3e}"[:5] in ("1.000", "2.000", "5.000")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (3, 48, [2, 5, 10, 20, 50]),
        (1, 1, [1, 2]),
        (0.04, 900, [0.01, 0.1, 1, 10, 100, 1000]),
        (0.2, 0.5, [0.2, 0.5]),
    ],
)
def test_logarithmic_ticks_are_powers_of_ten_or_finer_where_these_are_few(
    low: float, high: float, ticks: list[float]
) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_logarithmic_ticks_are_few_over_any_range() -> None:
    for low in (1e-12, 0.3, 7e5):
        for high in (1e-11, 0.31, 8e14):
            if low <= high:
                ticks = log_ticks(low, high)
                assert len(ticks) <= 9
                assert ticks[0] <= low * (1 + 1e-8)
                assert ticks[-1] >= high * (1 - 1e-8)


def test_labels_do_not_run_into_each_other() -> None:
    places = spread_apart([50, 20, 51, 52], 15, 0, 100)
    assert places[1] == 20
    assert all(after - before >= 15 for before, after in pairwise(sorted(places)))
    assert max(spread_apart([99, 98, 97], 15, 0, 100)) <= 100
    assert min(spread_apart([1, 2, 3], 15, 10, 100)) >= 10


# Bars


def test_a_bar_is_as_long_as_its_value() -> None:
    plot = bars("CPU", ["Go", "Hubbub"], [Bars("", [Spread(40, 36, 44), Spread(10)])], label="µs", standalone=True)
    long, short_one = (float(bar.get("width", "")) for bar in drawn(plot, "bar"))
    assert long == pytest.approx(4 * short_one, rel=1e-3)
    assert len(drawn(plot, "whisker")) == 1
    assert {"CPU", "Go", "Hubbub", "40", "10", "µs"} <= set(texts(plot))
    assert parsed(plot).findtext(f"{SVG}title") == "CPU"
    assert parsed(plot).findtext(f"{SVG}desc") == "µs. Go: 40; Hubbub: 10."


def test_several_series_have_a_legend_and_a_colour_each() -> None:
    series = [Bars(name, [Spread(value), None]) for name, value in (("p50", 1), ("p99", 100))]
    plot = bars("Latency", ["Go", "Node"], series, is_log=True)
    assert texts(plot)[:3] == ["Latency", "p50", "p99"]
    assert texts(plot).count("\N{EN DASH}") == 2
    assert {css for bar in drawn(plot, "bar") for css in bar.get("class", "").split()} == {"bar", "c0", "c1"}


def test_the_bars_of_others_are_paler() -> None:
    plot = bars("CPU", ["Go", "Hubbub"], [Bars("", [Spread(40), Spread(10)])], strong=["Hubbub"])
    assert [element.text for element in drawn(plot, "strong")] == ["Hubbub"]
    assert len(drawn(plot, "pale")) == 1


@pytest.mark.parametrize("is_log", [True, False])
def test_strange_values_spoil_no_bars(is_log: bool) -> None:
    for value in STRANGE:
        for other in (1.0, value):
            parsed(
                bars(
                    "t",
                    ["a", "b"],
                    [Bars("s", [Spread(value, value, value), Spread(other, None, value)])],
                    is_log=is_log,
                )
            )
    parsed(bars("t", ["a"] * len(STRANGE), [Bars("s", [Spread(value) for value in STRANGE])], is_log=is_log))


# Lines


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 1.0)]
    plot = lines("CPU", [Line("", points)], x_label="seconds", y_label="%")
    assert len(drawn(plot, "line")) == 1
    assert len(drawn(plot, "dot")) == 1
    assert {"CPU", "seconds", "%", "0", "2", "3"} <= set(texts(plot))


def test_a_name_stands_beside_its_line_or_in_a_legend_when_it_is_long() -> None:
    points = [(0.0, 1.0), (1.0, 2.0)]
    beside = lines("t", [Line("p50", points), Line("p99", points)])
    assert [element.text for element in drawn(beside, "name")] == ["p50", "p99"]
    legend = lines("t", [Line("p50", points), Line("a name that is long", points)])
    assert not drawn(legend, "name")
    assert "a name that is long" in texts(legend)
    assert "p50" not in texts(lines("t", [Line("p50", points)]))


def test_given_ticks_are_shown_as_far_as_there_is_a_line() -> None:
    ticks = [(0.3, "half"), (1, "most"), (2, "nearly all"), (3, "all")]
    shown = texts(lines("t", [Line("", [(0.3, 1), (2.5, 2)])], x_ticks=ticks))
    assert {"half", "most", "nearly all"} <= set(shown)
    assert "all" not in shown
    for x in (0.1, 0.3, 0.5, 99):
        parsed(lines("t", [Line("", [(x, 1)])], x_ticks=ticks))


def test_a_line_goes_from_the_left_edge_to_the_right() -> None:
    first, last = (
        re.findall(r"[ML]([0-9.]+) ", drawn(lines("t", [Line("", [(0, 1), (end, 2)])]), "line")[0].get("d", ""))
        for end in (4.02, 9.7)
    )
    assert first == last


@pytest.mark.parametrize("is_log_x", [True, False])
@pytest.mark.parametrize("is_log_y", [True, False])
def test_strange_values_spoil_no_line(is_log_x: bool, is_log_y: bool) -> None:
    for x in STRANGE:
        for y in STRANGE:
            for rest in ([], [(1.0, 1.0)]):
                parsed(lines("t", [Line("s", [(x, y), *rest])], is_log_x=is_log_x, is_log_y=is_log_y))
    every = [(x, y) for x in STRANGE for y in STRANGE]
    parsed(lines("t", [Line("s", every), Line("r", [])], is_log_x=is_log_x, is_log_y=is_log_y))


# Both


@pytest.mark.parametrize(
    "plot",
    [
        bars("t", [], []),
        bars("t", ["a"], [Bars("s", [None])]),
        bars("t", ["a"], [Bars("s", [])]),
        bars("t", ["a"], [Bars("s", [Spread(-1)])], is_log=True),
        lines("t", []),
        lines("t", [Line("s", [])]),
        lines("t", [Line("s", [(1, math.nan)])]),
        lines("t", [Line("s", [(1, 0)])], is_log_y=True, standalone=True),
    ],
)
def test_a_plot_of_nothing_says_so(plot: str) -> None:
    assert texts(plot) == ["t", "no data"]


def test_hostile_text_stays_text() -> None:
    series = [Bars(HOSTILE, [Spread(1)]), Bars("b", [Spread(2)])]
    points = [(0.0, 1.0), (1.0, 2.0)]
    for plot in (
        bars(HOSTILE, [HOSTILE], series, label=HOSTILE, strong=[HOSTILE], standalone=True),
        lines(HOSTILE, [Line(HOSTILE, points), Line("b", points)], x_label=HOSTILE, y_label=HOSTILE, standalone=True),
        lines("t", [Line("a", points)], x_ticks=[(0, HOSTILE), (1, HOSTILE)]),
    ):
        assert not list(parsed(plot).iter(f"{SVG}script"))
        assert "<script" not in plot
        assert any("<script>alert(1)</script>" in text for text in texts(plot))


def test_only_a_plot_of_its_own_brings_its_style() -> None:
    assert "<style>" in bars("t", ["a"], [Bars("s", [Spread(1)])], standalone=True)
    assert "<style>" not in bars("t", ["a"], [Bars("s", [Spread(1)])])


def test_the_same_values_give_the_same_plot() -> None:
    def plot() -> str:
        return bars("t", ["a", "b"], [Bars("s", [Spread(1, 0.5, 2), Spread(3)])], strong={"a", "b"})

    assert plot() == plot()
