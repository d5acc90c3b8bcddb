"""The report of a run: one file, well-formed, that holds everything and asks nobody for anything."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hubbub.bench.page import curve, page, write_page
from hubbub.bench.results import Figure, Latency, Run, Sample, ScenarioResult

pytestmark = pytest.mark.thorough

DASH = "\N{EN DASH}"
HOSTILE = "</style><script>alert(1)</script> \x00\x1b[2J\ud800 $url ${facts} \"' & ]]> -->"
NOTHING = Run("https://localhost:8080", "v1", "2030-01-02T03:04:05Z", "a machine", "0.1.0", "hubbub bench", [])


def run_of(*results: ScenarioResult) -> Run:
    return Run("https://localhost:8080", "v1", "2030-01-02T03:04:05Z", "a machine", "0.1.0", "hubbub bench", [*results])


def delivery(count: int = 1000) -> Latency:
    return Latency("delivery", count, 1.5, 1.25, 3.5, 7.5, 12, [(0.0, 1), (0.5, 1.25), (0.99, 3.5), (1.0, 12)])


def fanout() -> ScenarioResult:
    timeline = [Sample(at, 200, 20_000, 100, 1.25, 3.5, 0.25, 2**26) for at in (0.5, 1, 1.5)]
    figures = [
        Figure("deliveries per second", 20_012.3, "/s"),
        Figure("CPU per delivery", 1.317, "us"),
        Figure("lost", 0),
    ]
    return ScenarioResult("fanout", "One room of 100.", figures, [delivery()], timeline)


def parsed(html: str) -> ET.Element:
    """The page, which must be XML that can be written to a file."""
    html.encode()
    return ET.fromstring(html)


def plot_titles(html: str) -> list[str]:
    found = parsed(html).iterfind(".//figure/{*}svg/{*}title")
    return [title.text or "" for title in found]


def said(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


def rows(table: ET.Element) -> list[list[str]]:
    return [[said(cell) for cell in row] for row in table.iter("tr")]


def test_the_head_says_what_was_measured() -> None:
    root = parsed(page(run_of(fanout())))
    assert [said(heading) for heading in root.iter("h1")] == ["https://localhost:8080"]
    header = root.find(".//header")
    assert header is not None
    for fact in ("v1", "2030-01-02T03:04:05Z", "a machine", "hubbub 0.1.0", "hubbub bench"):
        assert fact in said(header)


def test_the_table_of_all_has_the_columns_that_there_are_values_for() -> None:
    idle = ScenarioResult("idle", "Quiet.", [Figure("memory per connection", 10.7, "KiB")], is_good=False)
    classic = ScenarioResult("resume-storm", "Away and back.", not_offered="no resume in classic")
    table = next(parsed(page(run_of(fanout(), idle, classic))).iter("table"))
    assert rows(table) == [
        [
            "scenario",
            "deliveries per second",
            "CPU per delivery",
            "memory per connection",
            "latency of",
            "p50",
            "p99",
            "p99.9",
        ],
        ["fanout good", "20,012", "1.32 µs", DASH, "delivery", "1.25 ms", "3.5 ms", "7.5 ms"],
        ["idle not good", DASH, DASH, "10.7 KiB", DASH, DASH, DASH, DASH],
        ["resume-storm not offered", DASH, DASH, DASH, DASH, DASH, DASH, DASH],
    ]


def test_a_scenario_has_its_sentence_figures_latencies_and_plots() -> None:
    html = page(run_of(fanout()))
    (section,) = (each for each in parsed(html).iter("section") if each.get("id") == "scenario-1")
    assert "One room of 100." in said(section)
    assert [said(figure) for figure in section.iterfind("dl/div")] == [
        "deliveries per second20,012",
        "CPU per delivery1.32 µs",
        "lost0",
    ]
    (table,) = section.iter("table")
    assert rows(table)[1] == ["delivery", "1,000", "1.5 ms", "1.25 ms", "3.5 ms", "7.5 ms", "12 ms"]
    assert plot_titles(html) == [
        "Latency, ms",
        "Deliveries, per second",
        "Latency over time, ms",
        "CPU of the server, % of a core",
        "Memory of the server, MiB",
    ]


def test_links_of_the_table_lead_to_sections() -> None:
    root = parsed(page(run_of(fanout(), fanout())))
    targets = [link.get("href") for link in root.iter("a")]
    assert targets == ["#scenario-1", "#scenario-2"]
    assert {f"#{section.get('id')}" for section in root.iter("section") if section.get("id")} == set(targets)


def test_notes_and_what_is_not_offered_stand_out() -> None:
    limited = ScenarioResult("rooms", "Ten rooms.", notes=["12 messages were refused"])
    classic = ScenarioResult("resume-storm", "Away and back.", not_offered="no resume in classic")
    notes = [said(note) for note in parsed(page(run_of(limited, classic))).iter("li")]
    assert notes == ["12 messages were refused", "Not offered: no resume in classic"]


def test_only_what_happened_is_drawn() -> None:
    storm = [Sample(at, 0, 0, 50 * at) for at in (1, 2, 3)]
    assert plot_titles(page(run_of(ScenarioResult("connect-storm", "", timeline=storm)))) == ["Open connections"]
    idle = [Sample(at, 0, 0, 1000, cpu=0.01, rss=2**27) for at in (1, 2, 3)]
    titles = plot_titles(page(run_of(ScenarioResult("idle", "", timeline=idle))))
    assert titles == ["CPU of the server, % of a core", "Memory of the server, MiB"]


def test_a_latency_of_nothing_is_no_latency() -> None:
    none = Latency("delivery", 0, 0, 0, 0, 0, 0)
    html = page(run_of(ScenarioResult("fanout", "", latencies=[none])))
    assert plot_titles(html) == []
    assert " ms" not in said(parsed(html))


def test_the_curve_goes_by_nines_and_has_an_end() -> None:
    nines, milliseconds = zip(*curve(delivery(1000)), strict=True)
    assert nines == pytest.approx((math.log10(2), 2, math.log10(2000)))
    assert milliseconds == (1.25, 3.5, 12)
    odd = Latency("x", 0, 0, 0, 0, 0, 0, [(-1, 1), (2, 1), (math.nan, 1), (1.0, 5)])
    assert all(math.isfinite(nines) for nines, _ in curve(odd))


def test_a_run_of_nothing_says_so() -> None:
    assert "Nothing was measured." in said(parsed(page(NOTHING)))
    parsed(page(Run("", "", "", "", "", "", [ScenarioResult("", "")])))


def test_hostile_text_stays_text() -> None:
    result = ScenarioResult(
        HOSTILE,
        HOSTILE,
        [Figure(HOSTILE, 1, HOSTILE), Figure("CPU per delivery", 1, HOSTILE)],
        [Latency(HOSTILE, 1, 1, 1, 1, 1, 1, [(0.5, 1), (1, 2)]), delivery()],
        [Sample(1, 1, 1, 1, 1, 1, 1, 1), Sample(2, 1, 1, 2, 1, 1, 1, 1)],
        [HOSTILE],
        HOSTILE,
    )
    html = page(Run(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, [result]))
    assert not list(parsed(html).iter("script"))
    assert html.count("<script") == 0
    assert html.count("</style>") == 1
    assert html.count("$url ${facts}") > 8  # what looks like a place in the template is none


@pytest.mark.parametrize("value", [0.0, -1.0, 5e-324, 1e300, math.nan, math.inf, -math.inf])
def test_strange_values_spoil_no_page(value: float) -> None:
    latency = Latency("x", 5, value, value, value, value, value, [(0.5, value), (value, 1), (1, value)])
    samples = [Sample(value, value, value, 1, value, value, value, 0), Sample(1, value, 1, 2)]
    html = page(run_of(ScenarioResult("s", "about", [Figure("CPU per delivery", value, "us")], [latency], samples)))
    parsed(html)
    assert not re.search(r"\b(nan|inf)\b", html)


def test_the_page_asks_nobody_for_anything() -> None:
    html = page(run_of(fanout()))
    policy = parsed(html).find(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert policy.get("content") == "default-src 'none'; style-src 'unsafe-inline'"
    assert not re.search(r"<(script|img|link|iframe|object|embed|form|base)\b|@import|url\(|\bsrc=", html)
    assert {link.get("href", "")[0] for link in parsed(html).iter("a")} == {"#"}


def test_the_page_is_written_to_a_file_or_says_why_not(tmp_path: Path) -> None:
    write_page(run_of(fanout()), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(FileNotFoundError):
        write_page(NOTHING, tmp_path / "nowhere" / "report.html")
