"""`hubbub bench`: a load for any server that speaks the protocol."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from hubbub.cli.chat import read_password, trust
from hubbub.errors import ConfigError

if TYPE_CHECKING:
    from hubbub.bench.conductor import Ending, Way
    from hubbub.bench.proc import Watched
    from hubbub.bench.results import Run
    from hubbub.bench.scenarios import Load, Scenario

__all__ = ["app"]

HELP = """Put a server under load, and measure what it makes of it.

Without the name of a scenario, all are run. Messages are due at a fixed rate, and their latency counts from then, late
or not. Exit code 0 when everything arrived, 1 when something was lost or refused, 2 when there was no way in. The
password is asked for, or taken from `HUBBUB_PASSWORD`; a `--password` can be read by others on this machine.
"""

# Named here too, so that no load generator is imported for the help; a test compares.
Name = Literal["fanout", "rooms", "pairs", "connect-storm", "resume-storm", "slow-reader", "idle"]

Flag = Annotated[bool, Parameter(negative=())]

MOST_PROCESSES = 4
# What a message says of itself fits into this; the server's limits, 4,000 on a stock one, are its own affair.
SMALLEST = 40
LARGEST = 1_000_000

# The settings of the server, in hubbub.toml and the environment, are not for its clients.
app = cyclopts.App(name="bench", help=HELP, config=())


@app.default
def bench(
    url: str,
    /,
    *scenarios: Name,
    user: str = "percy",
    password: str | None = None,
    path: str = "/ws",
    clients: int | None = None,
    rate: float | None = None,
    seconds: float | None = None,
    size: int | None = None,
    processes: int | None = None,
    window: int = 0,
    pid: int | None = None,
    ca_file: Path | None = None,
    insecure: Flag = False,
    json: Flag = False,
    report: Path | None = None,
    yes_i_own_it: Flag = False,
) -> None:
    """Put a server under load, and measure what it makes of it.

    Parameters
    ----------
    url
        The server, as https://host:port.
    scenarios
        What to run: fanout, rooms, pairs, connect-storm, resume-storm, slow-reader, idle.
    user
        The name to log in with.
    password
        Its password.
    path
        Where the WebSocket is.
    clients
        Clients, instead of the scenario's own number.
    rate
        Messages a second in all, or connections in connect-storm.
    seconds
        How long the messages, or the quiet, last.
    size
        Characters in a message.
    processes
        Processes that make the load; as many as there are cores, 4 at most, unless given.
    window
        Keep this many messages of each sender under way, instead of a fixed rate; does not apply to resume-storm.
    pid
        The server's process on this machine, to see what it takes of processor and memory.
    ca_file
        The certificate authority to trust, PEM.
    insecure
        Trust any certificate: whoever is on the line can read the password.
    json
        Print one JSON document instead of a table.
    report
        Write a page with the figures and plots to this file, HTML; needs matplotlib.
    yes_i_own_it
        Go on although the server is neither on this machine nor on a private network.
    """
    check_numbers(clients, rate, seconds, size, processes, window)
    from hubbub.bench.conductor import check_files
    from hubbub.bench.proc import Watched

    way = way_to(url, path, ca_file, insecure=insecure, is_own=yes_i_own_it)
    chosen = loads(scenarios, clients, rate, seconds, size, window)
    processes = processes or min(MOST_PROCESSES, os.cpu_count() or 1)
    check_files(max(load.clients for _scenario, load in chosen), processes)
    watched = None if pid is None else Watched(pid)
    if report is not None:
        check_report(report)
    given = read_password(user) if password is None else password
    finish(run(way, user, given, chosen, processes, watched), report, is_json=json)


def check_numbers(
    clients: int | None,
    rate: float | None,
    seconds: float | None,
    size: int | None,
    processes: int | None,
    window: int,
) -> None:
    """Refuse what is no load."""
    limits = [
        ("--clients", clients, 2, 1_000_000),
        ("--rate", rate, 0.1, 10_000_000),
        ("--seconds", seconds, 0.1, 24 * 3600),
        ("--size", size, SMALLEST, LARGEST),
        ("--processes", processes, 1, 256),
        ("--window", window, 0, 10_000),
    ]
    for name, value, least, most in limits:
        if value is not None and not least <= value <= most:
            raise ConfigError(f"{name} {value:,g}: it is {least:g} to {most:,}")


def way_to(url: str, path: str, ca_file: Path | None, *, insecure: bool, is_own: bool) -> Way:
    """Where the server is; refuses one that may be somebody else's."""
    from hubbub.bench.conductor import Way
    from hubbub.bench.target import address_of, check_path
    from hubbub.sdk.session import ServerAddress

    try:
        trusted = trust(url, ca_file, insecure=insecure)
        server = ServerAddress(url, trusted)
        path = check_path(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Way(server.url, server.tls, path, address_of(server.host, server.port, is_own=is_own))


def loads(
    names: tuple[Name, ...],
    clients: int | None,
    rate: float | None,
    seconds: float | None,
    size: int | None,
    window: int,
) -> list[tuple[Scenario, Load]]:
    """The scenarios, each with its load."""
    from hubbub.bench.scenarios import SCENARIOS

    chosen = [SCENARIOS[name] for name in dict.fromkeys(names or SCENARIOS)]
    given = {"clients": clients, "rate": rate, "seconds": seconds, "size": size, "window": window}
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return [(each, replace(each.load, **said)) for each in chosen]


def check_report(file: Path) -> None:
    """Refuse a report that cannot be drawn or written, before anything is measured."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("--report draws with matplotlib: pip install 'hubbub[report]'")
    try:
        with file.open("a"):
            pass
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from None


def run(
    way: Way, user: str, password: str, chosen: list[tuple[Scenario, Load]], processes: int, watched: Watched | None
) -> Ending:
    """Run the scenarios, and show how it goes."""
    from hubbub.bench.conductor import conduct
    from hubbub.bench.live import live
    from hubbub.sdk.session import Login

    with live() as viewer:
        return asyncio.run(
            conduct(
                way,
                Login(user, password),
                chosen,
                processes=processes,
                watched=watched,
                command=command(sys.argv),
                viewer=viewer,
            )
        )


def command(arguments: list[str]) -> str:
    """The command line as it may be shown: without a password."""
    shown = ["hubbub"]
    for before, argument in pairwise(arguments):
        is_secret = before == "--password"
        shown.append("..." if is_secret else "--password=..." if argument.startswith("--password=") else argument)
    return shlex.join(shown)


def finish(ending: Ending, report: Path | None, *, is_json: bool) -> None:
    """Say what came of it, and exit."""
    show(ending.run, report, is_json=is_json)
    if ending.failure:
        print(f"hubbub: {ending.failure}", file=sys.stderr)
    if ending.was_interrupted:
        sys.exit(130)
    if ending.failure or not all(result.is_good for result in ending.run.results):
        sys.exit(1)


def show(found: Run, report: Path | None, *, is_json: bool) -> None:
    """Print the run, and write its page."""
    from hubbub.bench.live import show as show_table

    if is_json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        show_table(found)
    if report is not None:
        from hubbub.bench.page import write_page

        try:
            write_page(found, report)
        except OSError as error:
            raise ConfigError(f"{report} cannot be written: {error.strerror or error}") from None
