"""The report of a run: one HTML file with all in it, that asks nothing of anybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from string import Template

from hubbub.bench.plots import STYLE, Curve, lines
from hubbub.bench.results import Figure, Latency, Run, Sample, ScenarioResult
from hubbub.bench.text import DASH, escape, known, number

__all__ = ["write_page"]

# The figures that the table of all scenarios shows, of those that are there.
HEADLINES = (
    "deliveries per second",
    "connections per second",
    "CPU per delivery",
    "CPU per connection",
    "memory per connection",
)

# Quantiles are drawn by their nines, from the median on, so that the slowest have as much room as the rest.
NINES = [(math.log10(2), "50"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999")]

MIB = 2**20
UNTIMED = Latency("", 0, 0, 0, 0, 0, 0)

# The heading of a column and its cells.
Column = tuple[str, list[str]]


def write_page(run: Run, file: Path) -> None:
    """Write the report of a run. `OSError` when it cannot be written."""
    file.write_text(page(run), encoding="utf-8")


def page(run: Run) -> str:
    """The report as HTML that is well-formed XML, too."""
    package = files("hubbub")
    return Template((package / "bench/page.html").read_text("utf-8")).substitute(
        title=escape(f"{run.url}: Hubbub bench"),
        style=(package / "bench/page.css").read_text("utf-8") + STYLE,
        icon=(package / "web/icon.svg").read_text("utf-8").strip(),
        url=escape(run.url),
        facts="\n".join(facts(run)),
        summary=summary(run.results),
        sections="\n".join(section(result, index) for index, result in enumerate(run.results, 1)),
    )


def facts(run: Run) -> Iterator[str]:
    """What was measured, when, from where and with what."""
    told = {
        "Dialect": escape(run.dialect),
        "Began": escape(run.began),
        "Machine": escape(run.machine),
        "Measured with": escape(f"hubbub {run.version}"),
        "Command": f"<code>{escape(run.command)}</code>",
    }
    for name, value in told.items():
        yield f"<dt>{name}</dt><dd>{value}</dd>"


# All scenarios


def summary(results: list[ScenarioResult]) -> str:
    """A row for each scenario, and a column for each thing that any of them has."""
    if not results:
        return '<p class="about">Nothing was measured.</p>'
    first = [next((latency for latency in result.latencies if latency.count), UNTIMED) for result in results]
    columns = [headline(name, results) for name in HEADLINES]
    columns += [("latency of", [escape(latency.name) for latency in first]), *quantiles(first)]
    names = [
        f'<a href="#scenario-{index}">{escape(result.scenario)}</a> {verdict(result)}'
        for index, result in enumerate(results, 1)
    ]
    return table("scenario", names, [column for column in columns if any(column[1])])


def headline(name: str, results: Iterable[ScenarioResult]) -> Column:
    """One figure of all scenarios."""

    def cell(result: ScenarioResult) -> str:
        return next((quantity(figure) for figure in result.figures if figure.name == name), "")

    return escape(name), [cell(result) for result in results]


def verdict(result: ScenarioResult) -> str:
    if result.not_offered:
        return '<span class="verdict">not offered</span>'
    return '<span class="verdict good">good</span>' if result.is_good else '<span class="verdict bad">not good</span>'


# One scenario


def section(result: ScenarioResult, index: int) -> str:
    """All there is to say about one scenario."""
    parts = [
        f'<section class="card" id="scenario-{index}">',
        f'<div class="title"><h2>{escape(result.scenario)}</h2>{verdict(result)}</div>',
        f'<p class="about">{escape(result.about)}</p>',
        *callouts(result),
    ]
    if result.figures:
        parts.append(f'<dl class="figures">{"".join(map(tile, result.figures))}</dl>')
    if result.latencies:
        parts.append(latency_table(result.latencies))
    if drawn := [f"<figure>{plot}</figure>" for plot in plots(result)]:
        parts.append(f'<div class="plots">{"".join(drawn)}</div>')
    return "\n".join([*parts, "</section>"])


def callouts(result: ScenarioResult) -> Iterator[str]:
    """What a reader has to know."""
    notes = [f"Not offered: {result.not_offered}", *result.notes] if result.not_offered else result.notes
    if notes:
        yield f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def tile(figure: Figure) -> str:
    return f"<div><dt>{escape(figure.name)}</dt><dd>{quantity(figure)}</dd></div>"


def latency_table(latencies: list[Latency]) -> str:
    columns: list[Column] = [
        ("count", [number(latency.count) for latency in latencies]),
        ("mean", [milliseconds(latency, latency.mean) for latency in latencies]),
        *quantiles(latencies),
        ("longest", [milliseconds(latency, latency.max) for latency in latencies]),
    ]
    return table("latency of", [escape(latency.name) for latency in latencies], columns)


def quantiles(latencies: list[Latency]) -> list[Column]:
    return [
        ("p50", [milliseconds(latency, latency.p50) for latency in latencies]),
        ("p99", [milliseconds(latency, latency.p99) for latency in latencies]),
        ("p99.9", [milliseconds(latency, latency.p999) for latency in latencies]),
    ]


def milliseconds(latency: Latency, value: float) -> str:
    return with_unit(value, "ms") if latency.count else ""


# Plots


def plots(result: ScenarioResult) -> Iterator[str]:
    """Where the latencies lie, and what happened in the course of time."""
    if any(latency.curve for latency in result.latencies):
        curves = [Curve(latency.name, curve(latency)) for latency in result.latencies]
        label = "% that took no longer"
        yield lines("Latency", curves, x_label=label, unit="ms", x_ticks=NINES, is_log=True)
    timeline = result.timeline

    def over_time(value: Callable[[Sample], float | None], name: str = "") -> Curve:
        return Curve(name, [(sample.at, math.nan if (y := value(sample)) is None else y) for sample in timeline])

    if any(sample.delivered for sample in timeline):
        delivered = over_time(lambda sample: sample.delivered)
        yield lines("Deliveries", [delivered], x_label="seconds", unit="per second")
    if any(sample.p50 is not None for sample in timeline):
        both = [over_time(lambda sample: sample.p50, "p50"), over_time(lambda sample: sample.p99, "p99")]
        yield lines("Latency over time", both, x_label="seconds", unit="ms", is_log=True)
    if len({sample.connections for sample in timeline}) > 1:
        connections = over_time(lambda sample: sample.connections)
        yield lines("Open connections", [connections], x_label="seconds")
    if any(sample.cpu is not None for sample in timeline):
        cpu = over_time(lambda sample: None if sample.cpu is None else sample.cpu * 100)
        yield lines("CPU of the server", [cpu], x_label="seconds", unit="% of a core")
    if any(sample.rss is not None for sample in timeline):
        rss = over_time(lambda sample: None if sample.rss is None else sample.rss / MIB)
        yield lines("Memory of the server", [rss], x_label="seconds", unit="MiB")


def curve(latency: Latency) -> list[tuple[float, float]]:
    """The curve by its nines; the longest, which has no end of them, half a step after the last but one."""
    last = 1 - 0.5 / max(latency.count, 1)
    return [(-math.log10(1 - min(share, last)), ms) for share, ms in latency.curve if 0.5 <= share <= 1]


# Parts


def table(corner: str, names: Iterable[str], columns: list[Column]) -> str:
    """A table; names, headings and cells are HTML. A narrow screen shows the headings in the cells."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in (corner, *(heading for heading, _ in columns)))
    rows = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(cell(heading, cells[index]) for heading, cells in columns)}</tr>\n'
        for index, name in enumerate(names)
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"


def cell(heading: str, content: str) -> str:
    if not content:
        return f'<td class="none">{DASH}</td>'
    return f'<td data-heading="{heading}"><span>{content}</span></td>'


def quantity(figure: Figure) -> str:
    """A figure's value, with its unit unless its name says it."""
    return with_unit(figure.value, "" if figure.name.endswith("per second") else figure.unit)


def with_unit(value: float, unit: str) -> str:
    """A number and its unit, as HTML that does not break between them."""
    if known(value) is None or not unit:
        return number(value)
    return f'{number(value)}<span class="unit">&#160;{escape("µs" if unit == "us" else unit)}</span>'
