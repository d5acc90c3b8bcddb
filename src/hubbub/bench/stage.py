"""One scenario under way: orders to all workers, and what they count."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubbub.bench.histogram import Histogram
from hubbub.bench.orders import Census, Done, End, Gather, Measure, Order, Seat, Settle, Stop, Talk, Tally, Tick
from hubbub.bench.proc import Watched
from hubbub.bench.results import Sample
from hubbub.bench.workers import WorkerFailed, WorkerProcess

__all__ = ["Cost", "GaveUp", "Glimpse", "ScenarioRun"]

# What an order may take longer than it should: clients that are not answered, or do not catch up.
PATIENCE_S = 30.0
# One connection; a server that checks a password for each may take this long.
PER_CLIENT_S = 0.2
STOP_S = 3.0

TICK_S = (0.25, 1.0)
TICKS = 40


class GaveUp(Exception):
    """The scenario cannot go on; the text says why."""


@dataclass(frozen=True)
class Glimpse:
    """How it goes, for one who watches.

    Attributes:
        share: of the time that it takes, 0 to 1.
    """

    share: float
    connections: int
    delivered: float
    p50: float | None


@dataclass
class Cost:
    """What the server has taken so far, if it is watched."""

    at: float
    cpu_s: float | None = None
    rss: int | None = None


@dataclass
class Interval:
    """What all workers have said of one interval."""

    seconds: float = 0.0
    sent: int = 0
    delivered: int = 0
    connections: int = 0
    latencies: Histogram = field(default_factory=Histogram)


class ScenarioRun:
    """A scenario under way.

    Args:
        prefix: what the names of its rooms begin with.
        echoes: the server sends a client its own messages.
        watched: the server's process.

    Attributes:
        total: what was counted, of all.
        measured: what was counted since the measured part began.
        expected, expected_of_slow: deliveries that there should have been since then, of talks that came to their end.
        standing: who is there.
        missing: clients that did not get in.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        prefix: str,
        *,
        has_v1: bool,
        echoes: bool,
        watched: Watched | None,
        tell: Callable[[Glimpse], None],
    ) -> None:
        self.has_v1 = has_v1
        self.echoes = echoes
        self.total = Tally()
        self.measured = Tally()
        self.expected = 0
        self.expected_of_slow = 0
        self.standing = Census()
        self.missing = 0
        self.seconds = 0.0
        self.begin_ns = 0
        self.costs: dict[str, Cost] = {}
        self.intervals: defaultdict[int, Interval] = defaultdict(Interval)
        self._workers = workers
        self._prefix = prefix
        self._watched = watched
        self._tell = tell
        self._phase = 0
        self._every_ns = 0
        self._sampled: dict[int, Cost] = {}
        self._sampling: asyncio.Task[None] | None = None
        self._open: dict[int, int] = {}
        self._gone = asyncio.Event()
        for worker in workers:
            worker.on_tick = self._on_tick

    def room(self, number: int) -> str:
        """The name of a room that nobody else is in."""
        return f"{self._prefix} {number}"

    def next_phase(self) -> int:
        """A number for a talk."""
        self._phase += 1
        return self._phase

    # Orders

    async def act(self, order: Order, seconds: float = 0.0) -> Tally:
        """Have all workers do the same; what they counted.

        Args:
            seconds: that it should take.

        Raises:
            GaveUp: not in time, or every connection is lost.
            WorkerFailed: one of them could not, or does not answer.
        """
        return await self._all([order] * len(self._workers), seconds)

    async def gather(self, seats: Sequence[Seat], begin_ns: int | None = None) -> None:
        """Bring clients in, spread over the workers."""
        begin_ns = time.monotonic_ns() if begin_ns is None else begin_ns
        count = len(self._workers)
        orders = [Gather(list(seats[number::count]), begin_ns) for number in range(count)]
        last_s = max((seat.opens_ns for seat in seats), default=0) / 1e9
        await self._all(orders, last_s + PER_CLIENT_S * len(seats))
        self.missing = len(seats) - self.standing.connected
        if not self.standing.connected:
            raise GaveUp("no client got in")

    async def talk(self, order: Talk) -> None:
        """Have the senders send, and wait for what they sent."""
        there = self.standing
        found = await self.act(order, (order.end_ns - time.monotonic_ns()) / 1e9)
        found.add(await self.act(Settle(found.sent)))
        for room, count in found.sent.items():
            self.expected += count * max(there.members.get(room, 0) - (not self.echoes), 0)
        self.expected_of_slow += sum(found.sent.values()) * there.slow

    async def _all(self, orders: Sequence[Order], seconds: float) -> Tally:
        """Have each worker do something; what they counted, as far as they got if it ends early."""
        answers = [worker.ask(order) for worker, order in zip(self._workers, orders, strict=True)]
        together = asyncio.gather(*answers)
        together.add_done_callback(look_at)
        gone = asyncio.create_task(self._gone.wait())
        try:
            either: list[asyncio.Future[Any]] = [together, gone]
            await asyncio.wait(either, timeout=seconds + PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            is_done = together.done()
        finally:
            gone.cancel()
            found = await self._counted(answers)
        if not together.done():
            raise WorkerFailed(f"a worker process did not answer within {STOP_S:.0f} s")
        await together  # raises what went wrong in a worker
        if is_done:
            return found
        if self._gone.is_set():
            raise GaveUp("every connection was lost")
        raise GaveUp(f"it was not done {PATIENCE_S:.0f} s after it should have been")

    async def _counted(self, answers: Sequence[asyncio.Future[Done]]) -> Tally:
        """What the workers have counted; those that are not done are told to stop."""
        pending = [answer for answer in answers if not answer.done()]
        if pending:
            for worker in self._workers:
                worker.say(Stop())
            await asyncio.wait(pending, timeout=STOP_S)
        found = Tally()
        self.standing = Census()
        for answer in answers:
            if answer.done() and answer.exception() is None:
                found.add(answer.result().tally)
                self.standing.add(answer.result().standing)
        self.total.add(found)
        self.measured.add(found)
        return found

    # Measuring

    def measure(self, begin_ns: int, seconds: float) -> None:
        """Measure from then on, for about so long."""
        self.begin_ns = begin_ns
        self.seconds = seconds
        self.measured = Tally()
        every_s = min(max(seconds / TICKS, TICK_S[0]), TICK_S[1])
        self._every_ns = int(every_s * 1e9)
        for worker in self._workers:
            worker.say(Measure(begin_ns, self._every_ns))
        for name in ("begin", "before"):
            self.costs.setdefault(name, self.cost())
        self._sampling = asyncio.create_task(self._sample())

    def end(self) -> None:
        """The measured part is over."""
        if self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None
            self.mark("end")
            for worker in self._workers:
                worker.say(End())

    def mark(self, name: str) -> None:
        """Remember what the server has taken up to now."""
        self.costs[name] = self.cost()

    def cost(self) -> Cost:
        """What the server has taken up to now."""
        watched = self._watched
        if watched is None:
            return Cost(time.monotonic())
        return Cost(time.monotonic(), watched.cpu_s(), watched.rss())

    async def _sample(self) -> None:
        """Look at the server at the end of each interval."""
        for number in itertools.count(-1):
            end_ns = self.begin_ns + (number + 1) * self._every_ns
            await asyncio.sleep(max(0.0, (end_ns - time.monotonic_ns()) / 1e9))
            self._sampled[number] = self.cost()
            self.costs["begin"] = self._sampled[-1]

    def _on_tick(self, worker: int, tick: Tick) -> None:
        """Take what a worker says of an interval."""
        interval = self.intervals[tick.number]
        interval.seconds = max(interval.seconds, tick.seconds)
        interval.sent += tick.sent
        interval.delivered += tick.delivered
        interval.connections += tick.connections
        interval.latencies.add(tick.latencies)
        self._open[worker] = tick.connections
        if self.standing.connected and len(self._open) == len(self._workers) and not any(self._open.values()):
            self._gone.set()
        self._tell(self._glimpse(tick.number))

    def _glimpse(self, number: int) -> Glimpse:
        """The last interval that all have reported on, or this one."""
        interval = self.intervals[number - 1 if number else 0]
        share = (time.monotonic_ns() - self.begin_ns) / 1e9 / self.seconds if self.seconds else 0.0
        delivered = interval.delivered / interval.seconds if interval.seconds else 0.0
        connections = sum(self._open.values())
        return Glimpse(min(max(share, 0.0), 1.0), connections, delivered, interval.latencies.quantile(0.5))

    def timeline(self) -> list[Sample]:
        """What happened, interval by interval."""
        return [self._sample_of(number) for number in sorted(self.intervals) if self.intervals[number].seconds > 0]

    def _sample_of(self, number: int) -> Sample:
        interval = self.intervals[number]
        begun = number * self._every_ns / 1e9
        before = self._sampled.get(number - 1)
        after = self._sampled.get(number) or self.costs.get("end")
        return Sample(
            at=begun + interval.seconds,
            sent=interval.sent / interval.seconds,
            delivered=interval.delivered / interval.seconds,
            connections=interval.connections,
            p50=interval.latencies.quantile(0.5),
            p99=interval.latencies.quantile(0.99),
            cpu=cpu_share(before, after),
            rss=after.rss if after else None,
        )


def look_at(future: asyncio.Future[Any]) -> None:
    """An exception that nobody waits for any more is not worth a line of asyncio's."""
    if not future.cancelled():
        future.exception()


def cpu_share(before: Cost | None, after: Cost | None) -> float | None:
    """The share of a core between two looks."""
    if before is None or after is None or before.cpu_s is None or after.cpu_s is None or after.at <= before.at:
        return None
    return (after.cpu_s - before.cpu_s) / (after.at - before.at)
