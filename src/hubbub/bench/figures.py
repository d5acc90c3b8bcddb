"""What a scenario came to: figures, latencies, notes, from what was counted."""

from __future__ import annotations

from hubbub.bench.histogram import Histogram
from hubbub.bench.orders import Tally
from hubbub.bench.results import Figure, Latency, ScenarioResult
from hubbub.bench.stage import Cost, ScenarioRun, cpu_share

__all__ = ["result_of"]

# Beyond these the load was not what it says.
LATE_MS = 5.0
BUSY = 0.9

# The order in which latencies are listed.
TIMED = ("delivery", "before", "while", "after", "catch-up", "connect", "upgrade", "resume")

SETTINGS = {
    "error rate_limited": "messages were refused (rate_limited): on a Hubbub server, lift client_rate, client_burst "
    "and account_share",
    "close 4102": "clients were closed for flooding (4102): on a Hubbub server, lift client_rate, client_burst and "
    "account_share",
    "http 429": "one-time passwords were refused with 429: on a Hubbub server, lift max_otps_per_account and max_otps",
    "http 503": "connections were refused with 503: on a Hubbub server, lift max_clients, max_clients_per_address "
    "(for other machines than its own) and its limit of open files",
    "close 4000": "clients were closed as dead (4000): they, or the server, were too busy for its heartbeat_timeout",
    "close 4001": "clients were closed as too slow (4001): on a Hubbub server, max_outbox is what may wait for one",
    "close 1012": "clients were closed because the server stops (1012)",
    "reconnect": "clients were told that the server stops",
    "gap": "times the server said that its log no longer holds what was missed: lift keep_messages",
    "not caught up": "clients had not caught up in time",
}


def result_of(name: str, about: str, stage: ScenarioRun, trouble: str) -> ScenarioResult:
    """The result of a scenario.

    Args:
        trouble: why it ended before its end; empty if it did not.
    """
    counted = stage.measured
    lost = losses(stage)
    notes = [*([trouble] if trouble else []), *notes_on(stage, lost)]
    shown = [
        *talk_figures(stage, lost),
        *way_in_figures(name, stage),
        *return_figures(stage),
        *slow_figures(stage),
        *idle_figures(name, stage),
        *server_figures(stage),
    ]
    return ScenarioResult(
        scenario=name,
        about=about,
        figures=shown,
        latencies=[latency(counted, each) for each in TIMED if each in counted.latencies],
        timeline=stage.timeline(),
        notes=notes,
        is_good=not (trouble or lost or is_troubled(stage)),
    )


def latency(counted: Tally, name: str) -> Latency:
    return Histogram(counted.latencies[name]).latency(name)


def losses(stage: ScenarioRun) -> int:
    """Deliveries that there should have been and were not."""
    return max(stage.expected - stage.measured.delivered, 0)


def losses_of_slow(stage: ScenarioRun) -> int:
    return max(stage.expected_of_slow - stage.measured.to_slow, 0)


def is_troubled(stage: ScenarioRun) -> bool:
    """Whether anything was refused, closed, skipped or repeated."""
    counts = stage.total.counts
    # A classic server can do no better with a slow client than to let it miss something, or to close it.
    closed = counts.get("slow closed", 0)
    troubles = sum(stage.total.troubles.values()) - (0 if stage.has_v1 else closed)
    is_missed = stage.has_v1 and losses_of_slow(stage) > 0
    names = ("holes", "repeats", "not recovered")
    return troubles > 0 or is_missed or stage.missing > 0 or any(counts.get(name) for name in names)


# Figures


def talk_figures(stage: ScenarioRun, lost: int) -> list[Figure]:
    """Of messages, where there were any."""
    counted = stage.measured
    sent = sum(counted.sent.values())
    if not sent:
        return []
    delivered = counted.delivered + counted.to_slow
    # After a return there is a part of its own before the talk.
    begun = stage.costs.get("returned", Cost(stage.begin_ns / 1e9))
    seconds = max(counted.last_ns / 1e9 - begun.at, 1e-9)
    figures = [
        Figure("messages", sent),
        Figure("deliveries", delivered),
        Figure("deliveries per second", delivered / seconds, "/s"),
        Figure("lost", lost),
        Figure("repeated", counted.counts.get("repeats", 0)),
    ]
    if stage.has_v1:
        figures.append(Figure("holes", counted.counts.get("holes", 0)))
    taken = cpu_s(stage, "returned" if "returned" in stage.costs else "begin", "end")
    if taken is not None and delivered:
        figures.append(Figure("CPU per delivery", taken / delivered * 1e6, "us"))
    return figures


def way_in_figures(name: str, stage: ScenarioRun) -> list[Figure]:
    """Of a storm of connections."""
    if name != "connect-storm":
        return []
    counted = stage.measured
    opened = counted.counts.get("opened", 0)
    seconds = (counted.last_ns - stage.begin_ns) / 1e9
    figures = [Figure("connections", opened), Figure("refused", stage.missing)]
    if opened and seconds > 0:
        figures.append(Figure("connections per second", opened / seconds, "/s"))
    return figures + per_connection(stage, opened)


def per_connection(stage: ScenarioRun, opened: int) -> list[Figure]:
    figures = []
    taken = cpu_s(stage, "before", "opened" if "opened" in stage.costs else "end")
    if taken is not None and opened:
        figures.append(Figure("CPU per connection", taken / opened * 1e6, "us"))
    grown = growth(stage)
    if grown is not None and opened:
        figures.append(Figure("memory per connection", grown / opened / 1024, "KiB"))
    return figures


def return_figures(stage: ScenarioRun) -> list[Figure]:
    """Of clients that came back."""
    counts = stage.measured.counts
    if "returned" not in stage.costs:
        return []
    returned = counts.get("returned", 0)
    figures = [Figure("returned", returned), Figure("replayed", counts.get("replayed", 0))]
    taken = cpu_s(stage, "begin", "returned")
    if taken is not None and returned:
        figures.append(Figure("CPU per return", taken / returned * 1e6, "us"))
    return figures


def slow_figures(stage: ScenarioRun) -> list[Figure]:
    """Of clients that did not read."""
    if not stage.expected_of_slow:
        return []
    closed = stage.total.counts.get("slow closed", 0)
    figures = [Figure("missed by the slow", losses_of_slow(stage)), Figure("slow ones closed", closed)]
    most = max((sample.rss for sample in stage.timeline() if sample.rss is not None), default=None)
    begin = stage.costs["begin"].rss
    if most is not None and begin is not None:
        figures.append(Figure("memory growth", (most - begin) / 1024, "KiB"))
    return figures


def idle_figures(name: str, stage: ScenarioRun) -> list[Figure]:
    """Of clients that do nothing."""
    if name != "idle":
        return []
    opened = stage.total.counts.get("opened", 0)
    lost = sum(count for what, count in stage.total.troubles.items() if what.startswith("close "))
    figures = [
        Figure("connections", opened),
        Figure("refused", stage.missing),
        Figure("connections lost", lost),
        Figure("pings answered", stage.total.counts.get("pings", 0)),
    ]
    return figures + per_connection(stage, opened)


def server_figures(stage: ScenarioRun) -> list[Figure]:
    """Of the server's process as a whole."""
    begin, end = stage.costs.get("begin"), stage.costs.get("end")
    share = cpu_share(begin, end)
    figures = [] if share is None else [Figure("server CPU", share * 100, "%")]
    if end is not None and end.rss is not None:
        figures.append(Figure("server memory", end.rss / 1024 / 1024, "MiB"))
    return figures


def cpu_s(stage: ScenarioRun, from_: str, to: str) -> float | None:
    begin, end = stage.costs.get(from_), stage.costs.get(to)
    if begin is None or end is None or begin.cpu_s is None or end.cpu_s is None:
        return None
    return end.cpu_s - begin.cpu_s


def growth(stage: ScenarioRun) -> int | None:
    """Memory that the server has taken on since before the first client."""
    before, end = stage.costs.get("before"), stage.costs.get("end")
    if before is None or end is None or before.rss is None or end.rss is None:
        return None
    return end.rss - before.rss


# Notes


def notes_on(stage: ScenarioRun, lost: int) -> list[str]:
    """What a reader has to know."""
    counts = stage.total.counts
    notes = [f"{count} {SETTINGS.get(what, what_else(what))}" for what, count in sorted(stage.total.troubles.items())]
    if stage.missing:
        notes.append(f"{stage.missing} clients did not get in, so the load was less than it says")
    if lost:
        hint = "" if stage.has_v1 else " (a Hubbub server drops what a classic client sends faster than client_rate)"
        notes.append(f"{lost} deliveries never came{hint}")
    if missed := losses_of_slow(stage):
        notes.append(f"the slow clients missed {missed} messages{'' if stage.has_v1 else ', as classic ones may'}")
    if counts.get("holes"):
        notes.append(f"seq skipped {counts['holes']} messages")
    if counts.get("repeats"):
        notes.append(f"{counts['repeats']} messages came again, or out of order")
    if counts.get("not recovered"):
        notes.append(f"{counts['not recovered']} clients came back to a room that was not recovered")
    return notes + weaknesses(stage)


def what_else(what: str) -> str:
    if what.startswith("close "):
        return f"connections were closed with {what.removeprefix('close ')}"
    if what.startswith("error "):
        return f"messages were refused with {what.removeprefix('error ')}"
    if what.startswith("http "):
        return f"connections were refused with {what.removeprefix('http ')}"
    return f"times: {what}"


def weaknesses(stage: ScenarioRun) -> list[str]:
    """Where the load was not what it should have been, and it was not the server's doing."""
    late = Histogram(stage.measured.latencies.get("lateness")).quantile(0.99) or 0.0
    reasons = []
    if late > LATE_MS:
        reasons.append(f"what it did was up to {late:.0f} ms late (p99)")
    if stage.measured.busy > BUSY:
        reasons.append(f"one of its processes worked, or waited for a core, {stage.measured.busy:.0%} of the time")
    return [f"the load generator was the bottleneck: {', and '.join(reasons)}"] if reasons else []
