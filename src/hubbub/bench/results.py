"""What a measurement finds: the shape of `hubbub bench --json`, and what its report is made from."""

from __future__ import annotations

import msgspec

__all__ = ["Figure", "Latency", "Run", "Sample", "ScenarioResult"]


class Figure(msgspec.Struct, frozen=True):
    """One number and its unit: `""` for a plain count, else such as `/s`, `ms`, `us`, `KiB`, `%`."""

    name: str
    value: float
    unit: str = ""


class Latency(msgspec.Struct, frozen=True):
    """How long one kind of thing took, in milliseconds from the moment it was due.

    Attributes:
        name: what was timed, such as "delivery" or "connect".
        curve: (quantile, milliseconds) pairs, rising, for a plot.
    """

    name: str
    count: int
    mean: float
    p50: float
    p99: float
    p999: float
    max: float
    curve: list[tuple[float, float]] = []


class Sample(msgspec.Struct, frozen=True):
    """What happened in one interval of a scenario.

    Attributes:
        at: seconds since the scenario's measured part began, at the interval's end.
        sent: messages sent, per second.
        delivered: deliveries, per second.
        connections: open at its end.
        p50: of the latencies in it, in milliseconds; None without any.
        cpu: share of one core that the server took, 0 to 1 a core; None without its pid.
        rss: the server's resident memory, bytes.
    """

    at: float
    sent: float
    delivered: float
    connections: int
    p50: float | None = None
    p99: float | None = None
    cpu: float | None = None
    rss: int | None = None


class ScenarioResult(msgspec.Struct, frozen=True):
    """What one scenario found.

    Attributes:
        about: the load in one sentence, its numbers included.
        not_offered: why the server cannot be put to this; then there are no figures.
        notes: what a reader has to know: limits that the server set, messages that did not come.
        is_good: nothing was lost, repeated or refused.
    """

    scenario: str
    about: str
    figures: list[Figure] = []
    latencies: list[Latency] = []
    timeline: list[Sample] = []
    notes: list[str] = []
    not_offered: str = ""
    is_good: bool = True


class Run(msgspec.Struct, frozen=True):
    """One run of `hubbub bench`.

    Attributes:
        dialect: "v1" or "classic".
        began: when, RFC 3339 UTC.
        machine: processor, cores and kernel of the machine that the load came from.
    """

    url: str
    dialect: str
    began: str
    machine: str
    version: str
    command: str
    results: list[ScenarioResult]
