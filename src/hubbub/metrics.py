"""What a server has counted, as Prometheus reads it: `docs/metrics.md` tells of each metric.

Everything is read when somebody asks, from plain numbers (`counts.py`) and from what is known anyway: nothing here goes
through members or rooms.  The labels are few, and all known beforehand.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from enum import Enum
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as as_text
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPEN_METRICS
from prometheus_client.openmetrics.exposition import generate_latest as as_open_metrics
from prometheus_client.registry import Collector

from hubbub.core import Core, ServiceState
from hubbub.counts import CLOSES, CODES, DENIALS, DIALECTS, SECONDS, SIZES, Buckets, EngineCounts
from hubbub.ration import Ration
from hubbub.samples import EVERY_S
from hubbub.tallies import VARIABLE, Shown, Tallies, Tally

__all__ = ["TABLE", "MetricEntry", "MetricKind", "Metrics", "folder_of"]

log = structlog.get_logger("hubbub")

# Whoever asks again within this time gets the same answer: a flood of requests costs no more than others do.
FRESH_S = 0.5
# How often the other processes are shown what this one has counted.
SHOW_S = 1.0
# How often the loop is asked whether it is late.
LAG_S = 0.25

LINES, LINES_EVERY_S = 3, 60.0

STATM = Path("/proc/self/statm")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

WHICH = {"dialect": DIALECTS, "code": CODES, "close": CLOSES, "status": DENIALS}


class MetricKind(Enum):
    """What a metric's numbers are."""

    COUNTER = "counter"
    """They only rise."""
    GAUGE = "gauge"
    """They are what is now."""
    HISTOGRAM = "histogram"
    """How many there were in each bucket, and the sum."""


COUNTER, GAUGE, HISTOGRAM = MetricKind


class MetricEntry(NamedTuple):
    """A metric.

    Attributes:
        name: as exported, without what Prometheus adds to it (`_total`, `_bucket`, ...).
        label: what tells its numbers apart, if there are several.
        bounds: of a histogram's buckets.
    """

    kind: MetricKind
    name: str
    text: str
    label: str | None = None
    bounds: tuple[float, ...] = ()


TABLE = (
    MetricEntry(GAUGE, "hubbub_workers", "Processes that serve."),
    MetricEntry(GAUGE, "hubbub_ready", "Processes that take new clients, as /readyz tells."),
    MetricEntry(GAUGE, "hubbub_draining", "Processes that are about to stop."),
    MetricEntry(GAUGE, "hubbub_connections", "Clients that are connected.", "dialect"),
    MetricEntry(COUNTER, "hubbub_connections_opened", "Clients that were let in.", "dialect"),
    MetricEntry(COUNTER, "hubbub_connections_closed", "Clients that the server has closed, by close code.", "close"),
    MetricEntry(
        COUNTER, "hubbub_upgrades_refused", "Requests for a WebSocket that were refused, by HTTP status.", "status"
    ),
    MetricEntry(GAUGE, "hubbub_rooms", "Rooms that somebody is in; of several processes, each counts its own."),
    MetricEntry(COUNTER, "hubbub_messages", "Messages kept, those included that were repeated with their key."),
    MetricEntry(COUNTER, "hubbub_messages_failed", "Messages that were not kept, or of which nobody knows."),
    MetricEntry(COUNTER, "hubbub_deliveries", "Messages written to members."),
    MetricEntry(COUNTER, "hubbub_deliveries_fed", "Of these, messages written to members that were behind."),
    MetricEntry(HISTOGRAM, "hubbub_batch_messages", "Messages in a batch that is appended to the log.", bounds=SIZES),
    MetricEntry(HISTOGRAM, "hubbub_append_seconds", "Time for a batch to be kept, or refused.", bounds=SECONDS),
    MetricEntry(
        HISTOGRAM,
        "hubbub_delivery_seconds",
        "Time from a batch's first message to the end of the writes of all of it.",
        bounds=SECONDS,
    ),
    MetricEntry(GAUGE, "hubbub_slow_clients", "Clients that have yet to take what they were sent."),
    MetricEntry(GAUGE, "hubbub_behind_members", "Members of rooms that are fed from the log, counted in each room."),
    MetricEntry(COUNTER, "hubbub_refusals", "Events turned down, by error code.", "code"),
    MetricEntry(COUNTER, "hubbub_resumes_recovered", "Returns that were told all that they had missed."),
    MetricEntry(COUNTER, "hubbub_resumes_not_recovered", "Returns that could not be told all of it."),
    MetricEntry(COUNTER, "hubbub_gaps", "Events `gap` sent to clients."),
    MetricEntry(
        COUNTER, "hubbub_holes", "Times that the log of a live room has lost messages before they were delivered."
    ),
    MetricEntry(COUNTER, "hubbub_rewinds", "Times that the log of a live room has lost messages that were delivered."),
    MetricEntry(
        COUNTER, "hubbub_epochs", "Times that the log of a live room went on under another epoch, with no loss."
    ),
    MetricEntry(GAUGE, "hubbub_engine_up", "Processes that can keep messages, as far as they know."),
    MetricEntry(COUNTER, "hubbub_engine_round_trips", "Calls over the network that the engine has had answered."),
    MetricEntry(COUNTER, "hubbub_engine_retries", "Calls that it has repeated."),
    MetricEntry(COUNTER, "hubbub_engine_reconnects", "Connections that it has opened anew."),
    MetricEntry(COUNTER, "hubbub_engine_repairs", "Holes in what it was told by others that it has read from the log."),
    MetricEntry(COUNTER, "hubbub_engine_heard", "Messages that it was told by other processes."),
    MetricEntry(
        HISTOGRAM, "hubbub_loop_lag_seconds", "How late the event loop was, four times a second.", bounds=SECONDS
    ),
    MetricEntry(GAUGE, "hubbub_memory_bytes", "Resident memory."),
    MetricEntry(COUNTER, "hubbub_cpu_seconds", "Processor time used."),
)

# Metrics whose numbers count no more when their process has ended.
PASSING = frozenset(entry.name for entry in TABLE if entry.kind is GAUGE)

NO_ENGINE = EngineCounts()


class Metrics:
    """What a process, or all processes of a server, have counted.

    Args:
        is_ready: whether new clients should be sent here.
        folder: where several processes show each other what they have counted; None for one process.
        clock: seconds that never go back.
    """

    def __init__(
        self, core: Core, is_ready: Callable[[], bool], folder: Path | None, clock: Callable[[], float]
    ) -> None:
        self._core = core
        self._is_ready = is_ready
        self._tallies = Tallies(folder) if folder is not None else None
        self._clock = clock
        self._build = {"version": version("hubbub"), "python": platform.python_version()}
        self._lines = Ration(LINES, LINES_EVERY_S)
        self._answers: dict[bool, tuple[float, bytes]] = {}

    def answer(self, accept: str) -> tuple[bytes, str]:
        """The text that a scrape gets, and its media type.

        Args:
            accept: the request's `Accept` header; OpenMetrics is for who names it.
        """
        is_open = "application/openmetrics-text" in accept
        now = self._clock()
        made_at, body = self._answers.get(is_open, (-FRESH_S, b""))
        if now - made_at >= FRESH_S:
            families = Families(self._all(), self._build)
            body = as_open_metrics(families) if is_open else as_text(families)  # type: ignore[no-untyped-call]  # it has none
            self._answers[is_open] = now, body
        return body, OPEN_METRICS if is_open else CONTENT_TYPE_PLAIN_0_0_4

    def _all(self) -> Tally:
        """What there is to tell, of all processes; of this one alone where the others cannot be read."""
        own = self.tally()
        if self._tallies is None:
            return own
        try:
            # What is told has to be in the file: whoever tells next must not tell less.
            self._tallies.write(shown(own))
            return self._tallies.read()
        except OSError as error:
            self._complain("metrics are of one process alone", error)
            return own

    def _complain(self, trouble: str, error: OSError) -> None:
        left_out = self._lines.take(self._clock())
        if left_out is not None:
            log.warning(trouble, error=str(error), lines_left_out=left_out)

    def tally(self) -> Tally:
        """What this process has counted, in the order of `TABLE`."""
        core, counts = self._core, self._core.counts
        engine = getattr(core.engine, "counts", None)
        if not isinstance(engine, EngineCounts):
            engine = NO_ENGINE
        numbers: list[float | Buckets | Mapping[str, float]] = [
            *(1, self._is_ready(), core.state is not ServiceState.SERVING),
            *(counts.connections, counts.opened, counts.closes, counts.denied, core.rooms.count),
            *(counts.kept, counts.not_kept, counts.deliveries, counts.fed),
            *(counts.batches, counts.append, counts.delivery),
            *(len(core.rooms.feeding.slow), counts.behind, counts.refused),
            *(counts.recovered, counts.not_recovered, counts.gaps, counts.holes, counts.rewinds, counts.epochs),
            *(core.keeps_messages, engine.round_trips, engine.retries, engine.reconnects, engine.repairs, engine.heard),
            *(counts.lag, resident_memory(), time.process_time()),
        ]
        return {entry.name: plain(number) for entry, number in zip(TABLE, numbers, strict=True)}

    # The background

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the server does."""
        return [self.watch_loop()] if self._tallies is None else [self.watch_loop(), self.show(self._tallies)]

    async def show(self, tallies: Tallies) -> None:
        """Show the other processes for ever what this one has counted, and once more at the end."""
        try:
            while True:
                self._show(tallies)
                await asyncio.sleep(SHOW_S)
        finally:
            self._show(tallies)

    def _show(self, tallies: Tallies) -> None:
        try:
            tallies.write(shown(self.tally()))
        except OSError as error:
            self._complain("metrics are not shown to the other processes", error)

    async def sample(self, wall: Callable[[], float]) -> None:
        """Note for ever, every few seconds, how all processes did: admins are shown the last hour."""
        samples = self._core.oversight.samples
        while True:
            samples.note(int(wall() * 1000), self._clock(), self._all())
            await asyncio.sleep(EVERY_S)

    async def watch_loop(self) -> None:
        """Note for ever how late the loop is."""
        clock, lag = asyncio.get_running_loop().time, self._core.counts.lag
        while True:
            due = clock() + LAG_S
            await asyncio.sleep(LAG_S)
            lag.add(max(0.0, clock() - due))


class Families(Collector):
    """A tally, as the library writes it."""

    def __init__(self, tally: Tally, build: dict[str, str]) -> None:
        self._tally = tally
        self._build = build

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("hubbub_build", "What is running.", value=self._build)
        for entry in TABLE:
            yield family(entry, self._tally[entry.name])


def family(entry: MetricEntry, numbers: list[float]) -> Metric:
    """A metric with its numbers."""
    if entry.kind is HISTOGRAM:
        *buckets, total = numbers
        names = [*(f"{bound:g}" for bound in entry.bounds), "+Inf"]
        rising = list(zip(names, accumulate(buckets), strict=True))
        return HistogramMetricFamily(entry.name, entry.text, buckets=rising, sum_value=total)
    labels = () if entry.label is None else ("code" if entry.label == "close" else entry.label,)
    of_kind = CounterMetricFamily if entry.kind is COUNTER else GaugeMetricFamily
    made = of_kind(entry.name, entry.text, labels=labels)
    for values, number in zip([(each,) for each in WHICH[entry.label]] if entry.label else [()], numbers, strict=True):
        made.add_metric(values, number)
    return made


def shown(tally: Tally) -> Shown:
    """A tally, as other processes are shown it."""
    parts: tuple[Tally, Tally] = ({}, {})
    for name, numbers in tally.items():
        parts[name in PASSING][name] = numbers
    return Shown(*parts)


def plain(number: float | Buckets | Mapping[str, float]) -> list[float]:
    """What was counted, as numbers alone."""
    if isinstance(number, Buckets):
        return [*number.buckets, number.total]
    return [*number.values()] if isinstance(number, Mapping) else [float(number)]


def resident_memory() -> int:
    """Bytes of memory that this process takes; 0 where the system does not tell (proc_pid_statm(5))."""
    try:
        return int(STATM.read_bytes().split()[1]) * PAGE_SIZE
    except OSError:
        return 0


def folder_of(environ: Mapping[str, str]) -> Path | None:
    """Where the processes of this server show each other what they have counted; None for a server of one."""
    folder = environ.get(VARIABLE)
    return Path(folder) if folder else None
