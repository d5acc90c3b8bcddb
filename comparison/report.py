"""Makes docs/comparison.md and its plots from results.json: `python -m comparison.report`, from the project's root."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from comparison.results import FILE, LoadRecord, Results, ServerRecord, read
from hubbub.bench.plots import Bars, Spread, bars
from hubbub.bench.text import DASH, escape, rounded

__all__ = ["AIMS", "DOCS", "Aim", "Medians", "figure_of", "scaled", "view_of", "write_report"]

DOCS = Path("docs")
LOSSES = Path(__file__).with_name("losses.md")

HUBBUB = "hubbub-sqlite"
HUBBUB_TLS = "hubbub-tls"
MEMORY = "hubbub-memory"

CPU = "cpu_us_per_delivery"

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


class View(NamedTuple):
    """What is shown of a load.

    Attributes:
        columns: figures; servers are compared by the first.
        bars: those in the plot.
    """

    columns: tuple[str, ...]
    bars: tuple[str, ...]


PACE = View(("cpu_us_per_delivery", "deliveries_per_s", "p50_us", "p99_us", "rss_mib"), ("cpu_us_per_delivery",))
QUANTILES = ("p50_us", "p99_us", "p999_us")
VIEWS = {
    "fanout-100": PACE,
    "rooms-10x50": PACE,
    "fanout-1000": PACE,
    "fanout-1000-spread": PACE,
    "pairs-200": PACE,
    "half-of-go": View((*QUANTILES[1:], "p50_us", "cpu_us_per_delivery"), QUANTILES),
    "connect-storm": View(("connect_cpu_us", "connects_per_s", "p50_us", "p99_us"), ("connect_cpu_us",)),
    "idle": View(("kib_per_connection", "server_cpu"), ("kib_per_connection",)),
}


class Medians:
    """The middle of each figure's rounds, with the least and the most of them."""

    def __init__(self, results: Results) -> None:
        self._rounds_of = results.rounds_of

    def spread(self, load: str, server: str, figure: str) -> Spread | None:
        """One figure; None when no round has it."""
        rounds = self._rounds_of.get(load, {}).get(server, [])
        values = [one[figure] for one in rounds if figure in one]
        return Spread(median(values), min(values), max(values)) if values else None

    def ratio(self, load: str, figure: str, server: str, to: str) -> float | None:
        """One server's figure as a multiple of another's."""
        mine, theirs = self.spread(load, server, figure), self.spread(load, to, figure)
        return mine.value / theirs.value if mine and theirs and theirs.value else None


class Aim(NamedTuple):
    """What Hubbub is meant to reach.

    Attributes:
        of: the measure of it; met at `limit` or below.
        unit: of both; a multiple of another server's figure where there is none.
    """

    says: str
    of: Callable[[Medians], float | None]
    limit: float
    unit: str = ""

    def show(self, value: float | None) -> str:
        """A value, as the table has it."""
        if value is None:
            return DASH
        return f"{rounded(value)} {self.unit}" if self.unit else times(value)


def against(load: str, figure: str, to: str, server: str = HUBBUB) -> Callable[[Medians], float | None]:
    """Hubbub's figure as a multiple of another server's."""
    return lambda medians: medians.ratio(load, figure, server, to)


def value(load: str, figure: str, server: str = HUBBUB) -> Callable[[Medians], float | None]:
    """Hubbub's figure itself."""

    def of(medians: Medians) -> float | None:
        spread = medians.spread(load, server, figure)
        return spread.value if spread else None

    return of


AIMS = [
    Aim("one room of 100: a seventh of Go's CPU per delivery", against("fanout-100", CPU, "go"), 1 / 7),
    Aim("ten rooms of 50: a quarter of Go's CPU per delivery", against("rooms-10x50", CPU, "go"), 1 / 4),
    Aim("one room of 1,000: an eighth of Go's CPU per delivery", against("fanout-1000", CPU, "go"), 1 / 8),
    Aim("rooms of two: Go's CPU per delivery", against("pairs-200", CPU, "go"), 1),
    Aim("one room of 100, in memory: 1.4 times the floor", against("fanout-100", CPU, "floor", MEMORY), 1.4),
    Aim("ten rooms of 50, in memory: 1.4 times the floor", against("rooms-10x50", CPU, "floor", MEMORY), 1.4),
    Aim("one room of 1,000, in memory: 1.4 times the floor", against("fanout-1000", CPU, "floor", MEMORY), 1.4),
    Aim("at half of what Go can do: half of Go's p99", against("half-of-go", "p99_us", "go"), 1 / 2),
    Aim("an idle connection: 12 KiB", value("idle", "kib_per_connection"), 12, "KiB"),
    Aim("an idle connection: Go's memory", against("idle", "kib_per_connection", "go"), 1),
    Aim("an idle connection under TLS: 24 KiB", value("idle", "kib_per_connection", HUBBUB_TLS), 24, "KiB"),
    Aim("letting a client in: Go's CPU", against("connect-storm", "connect_cpu_us", "go"), 1),
    Aim(
        "letting a client in under TLS: Go's CPU under TLS",
        against("connect-storm", "connect_cpu_us", "go-tls", HUBBUB_TLS),
        1,
    ),
]


def main() -> None:
    """Make the comparison page and its plots from what was measured."""
    parser = argparse.ArgumentParser(prog="python -m comparison.report", description=main.__doc__)
    parser.add_argument("--results", type=Path, default=FILE, metavar="FILE", help="what was measured; %(default)s")
    parser.add_argument("--report", type=Path, default=DOCS, metavar="DIR", help="where the page goes; %(default)s")
    options = parser.parse_args()
    try:
        results = read(options.results)
    except (OSError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        sys.exit(f"{options.results.name}: {reason}; make comparison writes it")
    write_report(results, options.report)


def write_report(results: Results, docs: Path, losses: str | None = None) -> None:
    """Write the page and its plots, and remove the plots of loads that are no more.

    Args:
        losses: Markdown; that of losses.md where none is given.
    """
    losses = LOSSES.read_text("utf-8") if losses is None else losses
    folder = docs / "comparison"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for load in results.loads:
        (folder / f"{load.name}.svg").write_text(plot(results, load), "utf-8")
    (docs / "comparison.md").write_text(page(results, losses), "utf-8")


def page(results: Results, losses: str) -> str:
    """The page, as Markdown."""
    parts = [*beginning(results)]
    for load in results.loads:
        parts += load_section(results, load)
    parts += ["## The aims", aims(Medians(results)), "## Where we lose, and why", losses.strip()]
    return "\n\n".join(parts) + "\n"


def beginning(results: Results) -> Iterator[str]:
    """What was measured, how and on what."""
    yield "# Comparison"
    yield (
        "Hubbub beside servers that do the same chat in the way that is usual where they come from, and beside a bare\n"
        "C program that does no more than it must (the floor). `make comparison` measures all and makes this page."
    )
    rounds = "one round" if results.rounds == 1 else f"{results.rounds} rounds"
    yield (
        f"Measured at {plain(results.began)}, in {rounds}, Hubbub at {plain(results.commit)}, on this machine:\n"
        f"{plain(results.machine)}."
    )
    yield (
        "Every figure is the median of its rounds, with the least and the most in brackets. CPU is what the server's\n"
        "process took; less is better. The last column of a table has its first figure as a multiple of that of\n"
        f"Hubbub with SQLite; for a server under TLS, of the same under TLS. {DASH} is what was not measured."
    )
    yield (
        "Each run has a fresh server, pinned to one core, with the load on another. The servers take turns, so that\n"
        "whatever happens to the machine happens to all. Latencies count from the moment a message was due. Under a\n"
        "load that goes as fast as the server does, a message waits for an earlier one: look at the CPU there, and at\n"
        "latencies where the pace is the same for all. Hubbub runs as it comes, keeping and checking what it always\n"
        "does, but without its limits on one account, which makes all of the load."
    )
    yield table(
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
    columns = view_of(results, load).columns
    yield f"## {plain(load.title)}"
    if load.command:
        yield f"    {' '.join(load.command.split())}"
    if columns:
        figures = [figure_of(column) for column in columns]
        yield table(
            ["server", *(plain(figure.label) for figure in figures), f"{plain(figures[0].heading)}, {TIMES} Hubbub's"],
            (row(medians, load, server, columns) for server in results.servers),
        )
    notes = results.notes.get(load.name, {})
    if told := [
        f"- {title_of(server)}: {plain(notes[server.name])}" for server in results.servers if server.name in notes
    ]:
        yield "\n".join(told)
    yield f"![{plain(load.title)}](comparison/{load.name}.svg)"


def row(medians: Medians, load: LoadRecord, server: ServerRecord, columns: Iterable[str]) -> list[str]:
    """One server under one load."""
    first, *_ = columns
    multiple = medians.ratio(load.name, first, server.name, HUBBUB_TLS if server.tls else HUBBUB)
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
    if load.name in VIEWS:
        return VIEWS[load.name]
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


def aims(medians: Medians) -> str:
    """What was meant to be reached, and was it."""

    def lines() -> Iterator[list[str]]:
        for aim in AIMS:
            found = aim.of(medians)
            verdict = DASH if found is None else "met" if found <= aim.limit else "**not met**"
            yield [plain(aim.says), aim.show(aim.limit), aim.show(found), verdict]

    return table(["Hubbub, with SQLite unless said", "at most", "measured", ""], lines())


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
