"""Makes the pages and plots in docs/ from what was measured: `python -m comparison.report`, from the project's root."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from comparison.medians import Medians
from comparison.pages import Aim, Page, View, page_of
from comparison.results import FILES, LoadRecord, Results, ServerRecord, read
from hubbub.bench.plots import Bars, Spread, bars
from hubbub.bench.text import DASH, escape, rounded

__all__ = ["DOCS", "figure_of", "page_of", "scaled", "view_of", "write_report"]

DOCS = Path("docs")

TIMES = "\N{MULTIPLICATION SIGN}"


class FigureFormat(NamedTuple):
    """How a figure of a round is shown.

    Attributes:
        unit: what one is, times `factor`.
    """

    heading: str
    unit: str
    factor: float = 1

    @property
    def label(self) -> str:
        return f"{self.heading}, {self.unit}" if self.unit else self.heading


FIGURES = {
    "cpu_us_per_delivery": FigureFormat("CPU per delivery", "µs"),
    "deliveries_per_s": FigureFormat("deliveries", "/s"),
    "p50_us": FigureFormat("p50", "ms", 1e-3),
    "p99_us": FigureFormat("p99", "ms", 1e-3),
    "p999_us": FigureFormat("p99.9", "ms", 1e-3),
    "connects_per_s": FigureFormat("connects", "/s"),
    "connect_cpu_us": FigureFormat("CPU per connection", "µs"),
    "kib_per_connection": FigureFormat("memory per connection", "KiB"),
    "rss_mib": FigureFormat("memory in all", "MiB"),
    "server_cpu": FigureFormat("CPU", "% of a core", 100),
}
# The units that the name of any other figure can end in.
UNITS = {"_per_s": "/s", "_us": "µs", "_ms": "ms", "_s": "s", "_kib": "KiB", "_mib": "MiB"}


def main() -> None:
    """Make the comparison pages and their plots from what was measured."""
    parser = argparse.ArgumentParser(prog="python -m comparison.report", description=main.__doc__)
    parser.add_argument("--results", type=Path, metavar="FILE", help="what was measured; without it, all pages")
    parser.add_argument("--report", type=Path, default=DOCS, metavar="DIR", help="where the page goes; %(default)s")
    options = parser.parse_args()
    for file in [options.results] if options.results else FILES.values():
        try:
            results = read(file)
        except (OSError, msgspec.DecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            sys.exit(f"{file.name}: {reason}; make comparison writes it")
        write_report(results, options.report)


def write_report(results: Results, docs: Path, losses: str | None = None) -> None:
    """Write the page and its plots, and remove the plots of loads that are no more.

    Args:
        losses: Markdown; the page's own where none is given.
    """
    about = page_of(results)
    losses = about.losses.read_text("utf-8") if losses is None else losses
    folder = docs / about.plots
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for load in results.loads:
        (folder / f"{load.name}.svg").write_text(plot(results, load), "utf-8")
    (docs / about.file).write_text(page(results, losses), "utf-8")


def page(results: Results, losses: str) -> str:
    """The page, as Markdown."""
    about = page_of(results)
    medians = Medians(results)
    parts = [*beginning(results, about)]
    if about.has_overview:
        parts += ["## At a glance", *overview(results, about)]
    parts += ["## The aims", aims(medians, about)]
    if about.keeps:
        parts += ["## What each keeps", about.keeps.read_text("utf-8").strip()]
    parts += ["## The servers", servers(results)]
    for load in results.loads:
        parts += load_section(results, load)
    parts += ["## Where we lose, and why", losses.strip()]
    return "\n\n".join(parts) + "\n"


def beginning(results: Results, about: Page) -> Iterator[str]:
    """What was measured, how and on what."""
    yield f"# {about.title}"
    yield about.says
    rounds = "one round" if results.rounds == 1 else f"{results.rounds} rounds"
    yield (
        f"Measured at {plain(results.began)}, in {rounds}, Hubbub at {plain(results.commit)}, on this machine:\n"
        f"{plain(results.machine)}."
    )
    if results.busy:
        yield (
            f"**The machine was busy with other things**: {rounded(results.busy)} programs wanted a core as it began.\n"
            "All servers met that in turn, so the multiples tell something, and the figures themselves little."
        )
    yield f"{about.reading} {DASH} is what was not measured."
    yield about.method


def overview(results: Results, about: Page) -> Iterator[str]:
    """One table of all loads."""
    medians = Medians(results)
    firsts = [(load, next(iter(view_of(results, load).columns), "")) for load in results.loads]
    yield "\n".join(
        f"{number}. {plain(load.title)}: {plain(figure_of(first).label)}"
        for number, (load, first) in enumerate(firsts, start=1)
    )
    yield table(
        ["server", *(str(number) for number, _ in enumerate(firsts, start=1))],
        (
            [title_of(server), *(glance(medians, load, first, server, about) for load, first in firsts)]
            for server in results.servers
        ),
    )


def glance(medians: Medians, load: LoadRecord, figure: str, server: ServerRecord, about: Page) -> str:
    """One server's first figure under one load, and what multiple it is."""
    spread = medians.spread(load.name, server.name, figure)
    if spread is None:
        return DASH
    middle = rounded(scaled(spread, figure_of(figure)).value)
    multiple = medians.ratio(load.name, figure, server.name, about.measure)
    return middle if multiple is None or server.name == about.measure else f"{middle} ({times(multiple)})"


def servers(results: Results) -> str:
    """What was measured, and how it was started."""
    return table(
        ["server", "versions", "started with"],
        (
            [
                title_of(server),
                plain(", ".join(f"{name} {version}" for name, version in server.versions.items())) or DASH,
                code(server.start) if server.start else DASH,
            ]
            for server in results.servers
        ),
        side="---",
    )


def load_section(results: Results, load: LoadRecord) -> Iterator[str]:
    """All servers under one load."""
    medians = Medians(results)
    about = page_of(results)
    columns = view_of(results, load).columns
    yield f"## {plain(load.title)}"
    if load.command:
        yield f"    {' '.join(load.command.split())}"
    if columns:
        figures = [figure_of(column) for column in columns]
        yield table(
            [
                "server",
                *(plain(figure.label) for figure in figures),
                f"{plain(figures[0].heading)}, {TIMES} {about.measured_by}",
            ],
            (row(medians, load, server, columns, about) for server in results.servers),
        )
    notes = results.notes.get(load.name, {})
    if told := [
        f"- {title_of(server)}: {plain(notes[server.name])}" for server in results.servers if server.name in notes
    ]:
        yield "\n".join(told)
    yield f"![{plain(load.title)}]({about.plots}/{load.name}.svg)"


def row(medians: Medians, load: LoadRecord, server: ServerRecord, columns: Iterable[str], about: Page) -> list[str]:
    """One server under one load."""
    first, *_ = columns
    multiple = medians.ratio(load.name, first, server.name, about.measure_tls if server.tls else about.measure)
    return [
        title_of(server),
        *(spread_of(medians.spread(load.name, server.name, column), figure_of(column)) for column in columns),
        DASH if multiple is None else times(multiple),
    ]


def plot(results: Results, load: LoadRecord) -> str:
    """The servers that have something to show under one load."""
    medians = Medians(results)
    figures = view_of(results, load).bars
    found = {server.name: results.rounds_of.get(load.name, {}).get(server.name) for server in results.servers}
    servers = [server for server in results.servers if found[server.name]]

    def bar(server: ServerRecord, name: str) -> Spread | None:
        spread = medians.spread(load.name, server.name, name)
        return spread and scaled(spread, figure_of(name))

    return bars(
        load.title,
        [server.title for server in servers],
        [Bars(figure_of(name).heading, [bar(server, name) for server in servers]) for name in figures],
        label=axis_label([figure_of(name) for name in figures]),
        is_log=len(figures) > 1,
        strong=[server.title for server in servers if is_ours(server)],
    )


def axis_label(figures: list[FigureFormat]) -> str:
    """What the bars mean."""
    if not figures:
        return ""
    said = figures[0].label if len(figures) == 1 else f"{figures[0].unit}, logarithmic"
    return f"{said}; {'more' if figures[0].unit == '/s' else 'less'} is better"


def view_of(results: Results, load: LoadRecord) -> View:
    """What to show of a load: of one that is not known here, all that was found."""
    views = page_of(results).views
    if load.name in views:
        return views[load.name]
    rounds = [one for rounds in results.rounds_of.get(load.name, {}).values() for one in rounds]
    found = tuple(dict.fromkeys(figure for one in rounds for figure in one))
    timed = tuple(figure for figure in found if figure.startswith("p") and figure.endswith("_us"))
    return View(found, timed or found[:1])


def figure_of(name: str) -> FigureFormat:
    """How to show a figure: of one that is not known here, its name tells."""
    if name in FIGURES:
        return FIGURES[name]
    if name.endswith("_us") and name.startswith("p"):
        return FigureFormat(name.removesuffix("_us").replace("_", " ").replace("p999", "p99.9"), "ms", 1e-3)
    ending = next((ending for ending in UNITS if name.endswith(ending)), "")
    return FigureFormat(name.removesuffix(ending).replace("_", " "), UNITS.get(ending, ""))


def aims(medians: Medians, about: Page) -> str:
    """What was meant to be reached, and was it."""

    def lines() -> Iterator[list[str]]:
        for aim in about.aims:
            found = aim.of(medians)
            verdict = DASH if found is None else "met" if found <= aim.limit else "**not met**"
            yield [plain(aim.says), shown(aim, aim.limit), shown(aim, found), verdict]

    return table([about.aims_of, "at most", "measured", ""], lines())


def shown(aim: Aim, value: float | None) -> str:
    """A value of an aim, as the table has it."""
    if value is None:
        return DASH
    return f"{rounded(value)} {aim.unit}" if aim.unit else times(value)


def scaled(spread: Spread, figure: FigureFormat) -> Spread:
    """A spread in the unit that is shown."""
    low, high = (None if value is None else value * figure.factor for value in (spread.low, spread.high))
    return Spread(spread.value * figure.factor, low, high)


# Markdown


def table(head: list[str], rows: Iterable[list[str]], side: str = "---:") -> str:
    """A table; `side` is where the cells after the first lean."""
    sides = ["---", *(side for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, sides, *rows))


def title_of(server: ServerRecord) -> str:
    return f"**{plain(server.title)}**" if is_ours(server) else plain(server.title)


def is_ours(server: ServerRecord) -> bool:
    return server.name.startswith("hubbub")


def spread_of(spread: Spread | None, figure: FigureFormat) -> str:
    """A median with the least and the most, where these differ."""
    if spread is None:
        return DASH
    middle, low, high = map(rounded, scaled(spread, figure))
    return middle if low == high else f"{middle} ({low}{DASH}{high})"


def times(multiple: float) -> str:
    return f"{rounded(multiple)}{TIMES}"


def plain(text: str) -> str:
    """Text that means nothing to Markdown, on one line."""
    said = escape(" ".join(text.split())).replace("&#x27;", "'").replace("&quot;", '"')
    for mark in "\\`*[]|":
        said = said.replace(mark, f"\\{mark}")
    return said


def code(text: str) -> str:
    """A command in a table."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    main()
