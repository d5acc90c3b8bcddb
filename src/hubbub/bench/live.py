"""How a run goes, on a terminal; and what came of it, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from hubbub.bench.results import Figure, Latency, Run, ScenarioResult
from hubbub.bench.stage import Glimpse

__all__ = ["Live", "live", "show"]


class Live:
    """A line for the scenario under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begins(self, scenario: str) -> None:
        """A scenario begins."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(scenario, total=1.0, status="connecting")

    def goes(self, glimpse: Glimpse) -> None:
        """This is how it goes."""
        if self._task is not None:
            p50 = "" if glimpse.p50 is None else f", p50 {milliseconds(glimpse.p50)} ms"
            status = f"{glimpse.connections:,} connections, {glimpse.delivered:,.0f} deliveries/s{p50}"
            self._progress.update(self._task, completed=glimpse.share, status=status)


@contextmanager
def live() -> Iterator[Live]:
    """Show how it goes on standard error, if that is a terminal; nothing is left of it at the end."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:13}"),
        BarColumn(20),
        TextColumn("{task.fields[status]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Live(progress)


def show(run: Run) -> None:
    """Print what came of it."""
    # What came from the server, such as its errors, is text and no markup.
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(f"{run.url} ({run.dialect}), {run.began}, from {run.machine}", soft_wrap=True)
    for result in run.results:
        console.print(f"\n{result.scenario}: {verdict(result)}")
        console.print(f"  {result.about}", soft_wrap=True)
        if result.latencies:
            console.print(latencies(result.latencies))
        if result.figures:
            console.print(f"  {', '.join(map(figure, result.figures))}", soft_wrap=True)
        for note in result.notes:
            console.print(f"  ! {note}", soft_wrap=True)


def verdict(result: ScenarioResult) -> str:
    if result.not_offered:
        return f"not offered: {result.not_offered}"
    return "good" if result.is_good else "not good"


def latencies(found: list[Latency]) -> Table:
    """The latencies of a scenario."""
    table = Table("ms", box=None, padding=(0, 2))
    for column in ("count", "mean", "p50", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    for each in found:
        figures = (each.mean, each.p50, each.p99, each.p999, each.max)
        table.add_row(each.name, f"{each.count:,}", *map(milliseconds, figures))
    return table


def milliseconds(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def figure(found: Figure) -> str:
    value = f"{found.value:,.0f}" if found.unit in ("", "/s", "KiB") or found.value >= 100 else f"{found.value:,.1f}"
    return f"{found.name} {value}{'' if found.unit == '/s' else ' '}{found.unit}".rstrip()
