"""Puts a server to a load, and takes from it what it found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from comparison.candidates import pinned
from comparison.loads import LOADGEN, Amount, Workload, spoken
from comparison.peers.peers import BUILD
from comparison.results import Round
from comparison.servers import RunFailed, Running
from hubbub.bench.results import Run, ScenarioResult

__all__ = ["Findings", "make_loadgen", "measure", "weaknesses"]

SOURCES = Path(__file__).parent / "load"

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
    ("unacked", 0, "up to {:,.0f} messages not answered by then"),
    ("load_cpu", 0.95, "the load generator took up to {:.0%} of its core"),
)


@dataclass(frozen=True)
class Findings:
    """What one run found.

    Attributes:
        notes: what a reader has to know of it.
    """

    figures: Round
    notes: list[str] = field(default_factory=list)


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
    protocol = spoken(server.candidate.protocol)
    ended = run_load(pinned(core, [str(LOADGEN), *way, *protocol, *token, *words]))
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
