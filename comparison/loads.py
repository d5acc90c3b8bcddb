"""What the servers are put to, and what is taken from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from comparison.peers.peers import BUILD
from comparison.results import Round
from comparison.servers import Candidate, RunFailed, Running, pinned
from hubbub.bench.results import Run, ScenarioResult

__all__ = ["GO_PACE", "LOADS", "Amount", "Findings", "Workload", "make_loadgen", "measure", "weaknesses"]

LOADGEN = BUILD / "loadgen"
SOURCES = Path(__file__).parent / "load"

# Half of what the one reached under the other.
HALF_OF_GO = "half-of-go"
GO_PACE = "fanout-100", "go"

# A load ends by itself, or is stuck.
LIMIT_S = 600.0
# One that is told to end does, or is stuck.
END_S = 5.0

# What the load generator says about the load, not about the server.
SETTINGS = {"clients", "rooms", "senders", "window", "rate", "size", "connects", "in_flight"}
# What a reader has to know of, when it is more than this.
WEAKNESSES = (
    ("missing", 0, "up to {:,.0f} deliveries had not come a second after the last message"),
    ("unsent", 0, "up to {:,.0f} messages not sent in time"),
    ("load_cpu", 0.95, "the load generator took up to {:.0%} of its core"),
)


@dataclass(frozen=True)
class Amount:
    """How much of everything.

    Attributes:
        seconds: of the measured part; some loads take a multiple.
        scale: what numbers of clients are multiplied by.
        half_of_go: deliveries a second; 0 where it is not known.
    """

    seconds: float = 3.0
    scale: float = 1.0
    half_of_go: float = 0.0

    def of(self, number: int, least: int = 1) -> int:
        return max(least, round(number * self.scale))


Words = Callable[[Amount, bool], list[str]]


@dataclass(frozen=True)
class Workload:
    """One load.

    Attributes:
        words: the options of what makes it, for an amount, with TLS or without.
        scenario: that of `hubbub bench`; empty where our load generator makes it.
        rounds: at most.
        unfit: why a peer cannot be put to it, by the peer's name.
    """

    name: str
    title: str
    words: Words
    scenario: str = ""
    rounds: int = sys.maxsize
    unfit: dict[str, str] = field(default_factory=dict)

    def reason_against(self, candidate: Candidate, amount: Amount) -> str:
        """Why a server is not put to it; an empty string if it is."""
        if self.name == HALF_OF_GO and not amount.half_of_go:
            return f"how much is half of Go's pace is not known: {' with '.join(GO_PACE)} was not measured"
        return self.unfit.get(candidate.peer, "")

    def shown(self, amount: Amount, core: int) -> str:
        """What makes it, for a report; with TLS there is more to it."""
        if self.scenario:
            words = ["python", "-m", "hubbub", "bench", "URL", self.scenario]
        else:
            words = [str(LOADGEN.relative_to(BUILD.parent)), "--port", "PORT"]
        return " ".join(pinned(core, [*words, "--pid", "PID", *self.words(amount, False)]))


@dataclass(frozen=True)
class Findings:
    """What one run found.

    Attributes:
        notes: what a reader has to know of it.
    """

    figures: Round
    notes: list[str] = field(default_factory=list)


# The loads


def duration(seconds: float, warm_up: bool = True) -> list[str]:
    """For how long; a third of it comes before, as a warm-up."""
    return [*(["--warm-up", f"{seconds / 3:.2g}"] if warm_up else []), "--seconds", f"{seconds:g}"]


def talk(rooms: int, members: int, *how: str, senders: int = 1) -> Words:
    """Rooms in which some talk."""

    def words(amount: Amount, _tls: bool) -> list[str]:
        # Rooms of two stay rooms of two: then there are fewer.
        in_all, each = (amount.of(rooms), members) if members == 2 else (rooms, amount.of(members, 2))
        sizes = ["--clients", str(in_all * each), "--rooms", str(in_all), "--senders", str(min(senders, each))]
        return [*sizes, *how, *duration(amount.seconds)]

    return words


def half_of_go(amount: Amount, _tls: bool) -> list[str]:
    """An open loop in one room, at half the pace that Go was seen to reach in it."""
    members = amount.of(100, 2)
    senders = min(10, members)
    sizes = ["--clients", str(members), "--senders", str(senders)]
    return [*sizes, "--rate", f"{amount.half_of_go / members / senders:.4g}", *duration(amount.seconds)]


def storm(amount: Amount, _tls: bool) -> list[str]:
    connects = amount.of(2000)
    return ["--connects", str(connects), "--in-flight", str(min(50, connects))]


def idle(amount: Amount, tls: bool) -> list[str]:
    """Long enough that each server pings each connection: all of them do it every nine seconds."""
    clients = amount.of(2000 if tls else 5000)
    return ["--clients", str(clients), "--idle", *duration(3 * amount.seconds, warm_up=False)]


def resume(amount: Amount, _tls: bool) -> list[str]:
    return ["--clients", str(amount.of(200, 10)), *duration(amount.seconds, warm_up=False)]


def slow(amount: Amount, _tls: bool) -> list[str]:
    return ["--clients", str(amount.of(50, 4)), *duration(5 * amount.seconds, warm_up=False)]


NO_RESUME = dict.fromkeys(("go", "node", "fastapi", "floor"), "no resume")
DROPS = {"floor": "not put to it: it drops whoever does not read at once"}
AT_ONCE = ["--rate", "10", "--together"]

LOADS = {
    load.name: load
    for load in (
        Workload("fanout-100", "One room of 100, as fast as it goes", talk(1, 100, "--window", "16")),
        Workload("rooms-10x50", "Ten rooms of 50, as fast as it goes", talk(10, 50, "--window", "4")),
        Workload(
            "fanout-1000",
            "One room of 1,000, ten messages at the same moment, ten times a second",
            talk(1, 1000, *AT_ONCE, senders=10),
        ),
        Workload(
            "fanout-1000-spread",
            "One room of 1,000, 100 messages a second, one after another",
            talk(1, 1000, "--rate", "10", senders=10),
        ),
        Workload("pairs-200", "200 rooms of two, as fast as it goes", talk(200, 2, "--window", "2")),
        Workload(HALF_OF_GO, "One room of 100, at half of Go's pace", half_of_go),
        Workload("connect-storm", "Connections that come and go, 50 at a time", storm),
        Workload("idle", "Idle connections: 5,000, under TLS 2,000", idle),
        Workload(
            "resume-storm",
            "All come back at once, and have missed something (one round)",
            resume,
            scenario="resume-storm",
            rounds=1,
            unfit=NO_RESUME,
        ),
        Workload(
            "slow-reader",
            "One in ten does not read for a while (one round)",
            slow,
            scenario="slow-reader",
            rounds=1,
            unfit=DROPS,
        ),
    )
}


# One run


def make_loadgen() -> None:
    """Make the load generator; raises `CalledProcessError` when that fails."""
    subprocess.run(["make", "-s", "-C", str(SOURCES), f"OUT={BUILD.absolute()}"], check=True)  # noqa: S603, S607  our words


def measure(load: Workload, server: Running, amount: Amount, core: int) -> Findings:
    """Put a server to a load.

    Raises:
        RunFailed: that came to nothing.
    """
    words = load.words(amount, server.candidate.tls)
    if load.scenario:
        return run_scenario(load.scenario, words, server, core)
    return run_loadgen(words, server, core)


def run_loadgen(words: list[str], server: Running, core: int) -> Findings:
    """A run of the load generator."""
    way = ["--port", str(server.port), "--pid", str(server.process.pid), *(["--tls"] if server.ca_file else [])]
    token = ["--token", server.token] if server.token else []
    ended = run_load(pinned(core, [str(LOADGEN), *way, *token, *words]))
    if ended.returncode:
        raise RunFailed(last_line(ended))
    said: dict[str, Any] = json.loads(ended.stdout)
    # What it could not tell is null.
    numbers = {name: value for name, value in said.items() if isinstance(value, int | float)}
    return Findings({name: value for name, value in numbers.items() if name not in SETTINGS})


def weaknesses(rounds: list[Round]) -> list[str]:
    """What a reader has to know before believing the figures of some rounds."""
    notes = []
    for figure, most, says in WEAKNESSES:
        values = [one[figure] for one in rounds if abs(one.get(figure, 0)) > most]
        if values:
            notes.append(f"{says.format(max(values, key=abs))} (in {len(values)} of {len(rounds)} rounds)")
    return notes


def run_scenario(scenario: str, words: list[str], server: Running, core: int) -> Findings:
    """A run of `hubbub bench`."""
    trust = ["--ca-file", str(server.ca_file)] if server.ca_file else []
    options = ["--pid", str(server.process.pid), "--processes", "1", "--json", *trust]
    command = [sys.executable, "-m", "hubbub", "bench", server.url, scenario, *options, *words]
    ended = run_load(pinned(core, command))
    # 1 says that the server lost something: that is a result too.
    if ended.returncode not in (0, 1) or not ended.stdout:
        raise RunFailed(last_line(ended))
    (result,) = msgspec.json.decode(ended.stdout, type=Run).results
    if result.not_offered:
        raise RunFailed(result.not_offered)
    return Findings(figures_of(result), result.notes)


def run_load(words: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run what makes the load to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    with subprocess.Popen(  # noqa: S603  the words are ours
        words,
        env=environment | {"HUBBUB_PASSWORD": "123"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for us
    ) as process:
        try:
            out, errors = process.communicate(timeout=LIMIT_S)
        except BaseException as reason:
            end_load(process)
            if isinstance(reason, subprocess.TimeoutExpired):
                raise RunFailed(f"the load did not end within {LIMIT_S:.0f} s") from None
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def end_load(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a load, so that it ends the processes that it has started, and kill it when it does not."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()


def last_line(ended: subprocess.CompletedProcess[bytes]) -> str:
    said = ended.stderr.decode(errors="replace").strip()
    return said.splitlines()[-1] if said else f"the load ended with {ended.returncode} and no word"


# What is taken from `hubbub bench`, and what it is called here.

LATENCIES = ("p99", "while"), ("p99", "before"), ("p99", "resume"), ("p50", "resume")
FIGURES = {
    "lost": "missing",
    "missed by the slow": "missed_by_slow",
    "slow ones closed": "slow_closed",
    "memory growth": "memory_growth_kib",
    "CPU per return": "cpu_per_return_us",
    "returned": "returned",
    "replayed": "replayed",
    "server memory": "rss_mib",
}


def figures_of(result: ScenarioResult) -> Round:
    """The figures of a scenario, the most telling first."""
    latencies = {latency.name: msgspec.structs.asdict(latency) for latency in result.latencies}
    figures: Round = {
        f"{quantile}_{name}_us": round(latencies[name][quantile] * 1e3, 1)
        for quantile, name in LATENCIES
        if name in latencies
    }
    if "catch-up" in latencies:
        figures["catch_up_ms"] = round(latencies["catch-up"]["max"], 1)
    given = {figure.name: figure.value for figure in result.figures}
    return figures | {ours: round(given[theirs], 1) for theirs, ours in FIGURES.items() if theirs in given}
