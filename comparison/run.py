"""Measures Hubbub beside its peers: `python -m comparison.run`, from the project's root. README.md tells more."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from comparison import results as kept
from comparison.candidates import Candidate
from comparison.loads import GO_PACE, Amount, Workload
from comparison.measuring import make_loadgen, measure, weaknesses
from comparison.peers.peers import BUILD
from comparison.report import DOCS, figure_of, page_of, scaled, view_of, write_report
from comparison.servers import RunFailed, make_certificate, started
from comparison.suites import SUITES, Suite
from hubbub.bench.plots import Spread
from hubbub.bench.proc import machine
from hubbub.bench.text import rounded
from hubbub.settings import raise_file_limit

__all__ = ["main"]

HELP = """Measure Hubbub and its peers, each in turn, and make the comparison page: about an hour. A part (--only,
--servers, --scale) does not replace the whole: unless told otherwise, it goes to .comparison/."""

# More programs than this that want a core as it begins are told of.
QUIET = 0.7

INTERRUPTED = 130


@dataclass
class Countdown:
    """How far it is.

    Attributes:
        left: runs to come, by load.
        took_s: those that there were.
    """

    left: dict[str, int]
    took_s: dict[str, list[float]] = field(default_factory=dict)

    def ended(self, load: str, took_s: float) -> None:
        self.left[load] -= 1
        self.took_s.setdefault(load, []).append(took_s)

    def says(self) -> str:
        """The time left, if each run takes as long as its load took so far, or else any load."""
        all_s = [took_s for runs in self.took_s.values() for took_s in runs]
        left_s = sum(count * mean(self.took_s.get(load, all_s)) for load, count in self.left.items())
        return f"{left_s / 60:.0f} min left" if left_s > 90 else f"{left_s:.0f} s left"


@dataclass
class Campaign:
    """Everything that is measured in one go.

    Attributes:
        servers: those that could be built.
        cores: of the server and of the load.
        data: the folder with the certificate.
        results: what was found so far.
    """

    loads: list[Workload]
    servers: list[Candidate]
    amount: Amount
    cores: tuple[int, int]
    data: Path
    results: kept.Results
    countdown: Countdown

    def run(self, out: Path) -> None:
        """Put all servers to all loads, and keep what is found after each load.

        Raises:
            RunFailed: there is no certificate for those that need one.
        """
        if any(server.tls for server in self.servers):
            with TemporaryDirectory(dir=self.data) as own:
                make_certificate(self.data, Path(own), self.cores[0])
        for load in self.loads:
            amount = self.amount_now()
            self.results.loads.append(kept.LoadRecord(load.name, load.title, load.shown(amount, self.cores[1])))
            try:
                self.play(load, amount)
            finally:
                kept.write(self.results, out)

    def amount_now(self) -> Amount:
        """The amount, with what has been found out about Go."""
        load, server = GO_PACE
        rounds = self.results.rounds_of.get(load, {}).get(server, [])
        return replace(self.amount, half_of_go=median(one["deliveries_per_s"] for one in rounds) / 2 if rounds else 0)

    def play(self, load: Workload, amount: Amount) -> None:
        """Put all servers to one load. They take turns, so that whatever happens to the machine happens to all."""
        fit = [server for server in self.servers if not load.reason_against(server, amount)]
        for server in self.servers:
            if server not in fit:
                self.note(load, server, load.reason_against(server, amount))
        rounds = min(load.rounds, self.results.rounds)
        self.countdown.left[load.name] = rounds * len(fit)
        failures: dict[str, Counter[str]] = {server.name: Counter() for server in fit}
        try:
            for number in range(rounds):
                # Another one begins each time.
                for server in rotated(fit, number):
                    self.play_once(load, server, amount, f"{number + 1}/{rounds}", failures[server.name])
        finally:
            for server in fit:
                self.conclude(load, server, failures[server.name], rounds)

    def play_once(self, load: Workload, server: Candidate, amount: Amount, turn: str, failures: Counter[str]) -> None:
        """One run: a fresh server, one load, and an end of both."""
        began_s = time.monotonic()
        try:
            with (
                TemporaryDirectory(dir=self.data, prefix="run-") as own,
                started(server, self.data, Path(own), self.cores[0]) as running,
            ):
                found = measure(load, running, amount, self.cores[1])
        except RunFailed as failed:
            failures[str(failed)] += 1
            said = f"failed: {failed}"
        else:
            self.results.rounds_of.setdefault(load.name, {}).setdefault(server.name, []).append(found.figures)
            for text in found.notes:
                self.note(load, server, text)
            said = self.main_figure(found.figures)
        self.countdown.ended(load.name, time.monotonic() - began_s)
        say(f"{load.name:18} {turn}  {server.name:18} {said:40} {self.countdown.says()}")

    def main_figure(self, figures: kept.Round) -> str:
        """What servers are compared by under the load of now."""
        name, *_ = [*view_of(self.results, self.results.loads[-1]).columns, ""]
        if name not in figures:
            return ""
        figure = figure_of(name)
        return f"{figure.heading} {rounded(scaled(Spread(figures[name]), figure).value)} {figure.unit}"

    def conclude(self, load: Workload, server: Candidate, failures: Counter[str], rounds: int) -> None:
        """Note what a reader has to know of the rounds of a server under a load."""
        for failure, count in failures.items():
            self.note(load, server, f"{failure} (in {count} of {rounds} rounds, which do not count)")
        if not load.scenario:  # `hubbub bench` has said it itself
            for text in weaknesses(self.results.rounds_of.get(load.name, {}).get(server.name, [])):
                self.note(load, server, text)

    def note(self, load: Workload, server: Candidate, text: str) -> None:
        notes = self.results.notes.setdefault(load.name, {})
        notes[server.name] = f"{notes[server.name]}; {text}" if server.name in notes else text


def rotated(servers: list[Candidate], by: int) -> list[Candidate]:
    start = by % len(servers) if servers else 0
    return servers[start:] + servers[:start]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# Before the first run


def why_not(servers: list[Candidate]) -> dict[str, str]:
    """Build all servers: why one cannot be measured, by its name; an empty string where it can."""
    reasons: dict[str, str] = {}
    for server in servers:
        if server.peer not in reasons:
            reasons[server.peer] = build(server)
    return {server.name: reasons[server.peer] for server in servers}


def build(server: Candidate) -> str:
    """Build a server: why it cannot be measured, or an empty string."""
    if missing := server.missing():
        return missing
    try:
        server.build()
    except subprocess.CalledProcessError:
        return f"{server.peer} could not be built"
    return ""


def two_cores() -> tuple[int, int]:
    """A core for the server and one for the load. Ends the program where a run cannot be pinned to them."""
    if shutil.which("taskset") is None:
        sys.exit(
            "comparison: taskset is missing (on Debian: apt-get install util-linux); without it nothing can be pinned"
        )
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        sys.exit("comparison: this takes two cores, one for the server and one for the load, and there is only one")
    return ours[0], ours[1]


def busy() -> float:
    """How many programs want a core, if it is more than a quiet machine has."""
    wanting = round(os.getloadavg()[0], 1)
    return wanting if wanting > QUIET else 0


def commit() -> str:
    """What is checked out, with a + when it was changed since."""
    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def git(*words: str) -> str:
    command = ["git", "--no-optional-locks", *words]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603  the words are ours


def circumstances(cores: tuple[int, int], scale: float) -> str:
    """What was measured on, and how."""
    server, load = cores
    quick = f"; a quick look, all numbers of clients times {scale:g}" if scale != 1 else ""
    return (
        f"{machine()}, Python {platform.python_version()}; the server pinned to core {server}, "
        f"the load to core {load}, databases on {file_system(BUILD)}{quick}"
    )


def file_system(path: Path) -> str:
    """The kind of file system that a path is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    around = [(len(point), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(around)[1]


# The command line


def names(text: str) -> list[str]:
    return text.split(",")


def check_names(parser: argparse.ArgumentParser, asked: list[str] | None, known: Collection[str]) -> None:
    """End the program where a name is not known."""
    if unknown := [name for name in asked or () if name not in known]:
        parser.error(f"{', '.join(unknown)}: there are {', '.join(known)}")


def at_least(least: float, kind: Callable[[str], float] = float) -> Callable[[str], float]:
    """Reads a number."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is not a number that can be here") from None
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return read


def options_from(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m comparison.run", description=HELP)
    option = parser.add_argument
    option("--rounds", type=at_least(1, int), default=5, help="of each load, on each server; %(default)s")
    option("--seconds", type=at_least(0.1), default=3.0, help="that a load lasts; some take a multiple; %(default)s")
    suites = [f"{suite.name}: {', '.join(suite.loads)}" for suite in SUITES.values()]
    servers = [f"{suite.name}: {', '.join(suite.servers)}" for suite in SUITES.values()]
    option("--suite", choices=SUITES, default=kept.CHANNELS, help="which servers and loads; %(default)s")
    option("--only", type=names, metavar="LOAD,...", help=f"these loads only; {'; '.join(suites)}")
    option("--servers", type=names, metavar="NAME,...", help=f"these only; {'; '.join(servers)}")
    option("--scale", type=at_least(0.001), default=1.0, help="more or fewer clients: 0.02 for a quick look")
    option("--out", type=Path, metavar="FILE", help="where results go; a file beside this program")
    option("--report", type=Path, metavar="DIR", help=f"where the page goes; {DOCS}")
    options = parser.parse_args(words)
    suite = SUITES[options.suite]
    check_names(parser, options.only, suite.loads)
    check_names(parser, options.servers, suite.servers)
    is_part = options.only or options.servers or options.scale != 1
    file = kept.FILES[suite.name]
    options.out = options.out or (BUILD / file.name if is_part else file)
    options.report = options.report or (BUILD if is_part else DOCS)
    return options


def prepare(options: argparse.Namespace, cores: tuple[int, int], data: Path) -> Campaign:
    """Build what is to be measured."""
    besides = busy()  # before building, which is busy itself
    suite: Suite = SUITES[options.suite]
    loads = [load for load in suite.loads.values() if load.name in (options.only or suite.loads)]
    servers = [server for server in suite.servers.values() if server.name in (options.servers or suite.servers)]
    reasons = why_not(servers)
    able = [server for server in servers if not reasons[server.name]]
    results = kept.Results(
        began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine=circumstances(cores, options.scale),
        commit=commit(),
        rounds=options.rounds,
        servers=[
            kept.ServerRecord(server.name, server.title, server.tls, server.versions(), server.shown(cores[0]))
            if server in able
            else kept.ServerRecord(server.name, server.title, server.tls)
            for server in servers
        ],
        loads=[],
        rounds_of={},
        notes={},
        suite=suite.name,
        busy=besides,
    )
    amount = Amount(options.seconds, options.scale)
    countdown = Countdown({load.name: min(load.rounds, options.rounds) * len(able) for load in loads})
    campaign = Campaign(loads, able, amount, cores, data, results, countdown)
    for server in servers:
        for load in loads if reasons[server.name] else ():
            campaign.note(load, server, f"not measured: {reasons[server.name]}")
    return campaign


def main(words: list[str] | None = None) -> None:
    options = options_from(words)
    cores = two_cores()
    raise_file_limit()  # for thousands of connections; the servers and the load inherit it
    # Whoever stops us is to find no server of ours afterwards.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        make_loadgen()
    except (OSError, subprocess.CalledProcessError):
        sys.exit("comparison: the load generator cannot be made: it needs gcc, make and libssl-dev")
    try:
        with TemporaryDirectory(dir=BUILD, prefix="comparison-") as data:
            campaign = prepare(options, cores, Path(data))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            campaign.run(options.out)
    except RunFailed as failed:
        sys.exit(f"comparison: {failed}")
    except KeyboardInterrupt:
        say(f"interrupted; what was found so far is in {options.out}")
        sys.exit(INTERRUPTED)
    write_report(campaign.results, options.report)
    say(f"{options.out}, {options.report / page_of(campaign.results).file}")


if __name__ == "__main__":
    main()
