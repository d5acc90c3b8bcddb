"""Conducts a run: gets in, starts workers, has them play the scenarios one by one, and gathers what they find."""

from __future__ import annotations

import asyncio
import resource
import secrets
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import msgspec
from picows import WSError

from hubbub.bench.figures import result_of
from hubbub.bench.link import Body, Link
from hubbub.bench.orders import Destination, Part, Seat, Setup
from hubbub.bench.proc import Watched, machine
from hubbub.bench.results import Run, ScenarioResult
from hubbub.bench.scenarios import Load, Scenario
from hubbub.bench.stage import GaveUp, Glimpse, ScenarioRun
from hubbub.bench.target import TicketSource, authorities_of, dial, log_out, reachable, server_at
from hubbub.bench.workers import WorkerFailed, WorkerProcess, start_all, stop_all
from hubbub.errors import ConfigError, HubbubError
from hubbub.sdk.session import HttpRefused, Login, ServerAddress

__all__ = ["Ending", "Viewer", "Way", "check_files", "conduct"]

# Connections being opened at once. Each holds an unused one-time password meanwhile, of which a stock server lets an
# account have 64.
DOORS = 32

WELCOME_S = 2.0
ECHO_S = 2.0
ROUND_S = 0.2

# Files of a worker that are not its clients' connections.
RESERVED_FILES = 64


@dataclass(frozen=True)
class Way:
    """How to get to the server.

    Attributes:
        tls: what to trust; None for plain HTTP.
        path: of the WebSocket.
        addresses: family and address of each place where the server may be; all were checked.
    """

    url: str
    tls: ssl.SSLContext | None
    path: str
    addresses: Sequence[tuple[int, list[str | int]]]


class Viewer(Protocol):
    """Shows how it goes."""

    def begins(self, scenario: str) -> None:
        """A scenario begins."""

    def goes(self, glimpse: Glimpse) -> None:
        """This is how it goes."""


@dataclass
class Ending:
    """How a run ended.

    Attributes:
        failure: why it ended before its end, in one line; empty if it did not.
        was_interrupted: it was by Ctrl-C.
    """

    run: Run
    failure: str = ""
    was_interrupted: bool = False


@dataclass
class Found:
    """What was found out about the server, and the login it was found out with."""

    place: Destination
    server: ServerAddress
    echoes: bool = True
    hears_others: bool = True


def check_files(clients: int, processes: int) -> None:
    """Refuse a load that needs more open files than there may be.

    Raises:
        ConfigError: it does.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = -(-clients // processes) + RESERVED_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ConfigError(
            f"{clients} clients in {processes} processes take {needed} open files in each, and the limit is {hard}: "
            f"raise it (ulimit -Hn {needed}), or take more --processes"
        )


async def conduct(
    way: Way,
    credentials: Login,
    chosen: Sequence[tuple[Scenario, Load]],
    *,
    processes: int,
    watched: Watched | None,
    command: str,
    viewer: Viewer,
) -> Ending:
    """Run scenarios.

    Raises:
        ConfigError: there was no way in.
    """
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = await get_in(way, credentials)
    run = Run(way.url, found.place.dialect, began, machine(), version("hubbub"), command, [])
    ending = Ending(run)
    mark = secrets.token_hex(2)
    setup = Setup(found.place, f"bench {mark} ", max(1, DOORS // processes))
    workers: list[WorkerProcess] = []

    try:
        workers += await start_all(processes, setup)
        for scenario, load in chosen:
            viewer.begins(scenario.name)
            prefix = f"bench {mark} {scenario.name}"
            stage = ScenarioRun(
                workers,
                prefix,
                has_v1=found.place.dialect == "v1",
                echoes=found.echoes,
                watched=watched,
                tell=viewer.goes,
            )
            await play(scenario, load, found, stage, ending)
            if ending.failure or ending.was_interrupted:
                break
    finally:
        await stop_all(workers)
        await log_out(found.place, found.server, found.place.token)
    return ending


async def play(scenario: Scenario, load: Load, found: Found, stage: ScenarioRun, ending: Ending) -> None:
    """Play one scenario, and add its result to the run."""
    about = scenario.says(load)
    reason = reason_against(scenario, found)
    if reason:
        ending.run.results.append(ScenarioResult(scenario.name, about, not_offered=reason))
        return
    trouble = ""
    try:
        await scenario.play(scenario, load, stage)
        await stage.act(Part())
    except GaveUp as gave_up:
        trouble = str(gave_up)
        if await is_gone(found.place):
            ending.failure = trouble = f"{trouble}: there is no server at {found.place.url} any more"
    except WorkerFailed as failed:
        ending.failure = trouble = str(failed)
    except asyncio.CancelledError:
        ending.was_interrupted = True
        trouble = "interrupted"
    finally:
        stage.end()
    ending.run.results.append(result_of(scenario.name, about, stage, trouble))


def reason_against(scenario: Scenario, found: Found) -> str:
    """Why the server cannot be put to a scenario; empty if it can."""
    if scenario.needs_v1 and found.place.dialect != "v1":
        return scenario.needs_v1
    if scenario.talks and not found.hears_others:
        return "this server does not send a user's messages to that user's other connections, and this takes one user"
    return ""


async def is_gone(place: Destination) -> bool:
    """Whether no one answers any more."""
    try:
        (await dial(place)).close()
    except OSError:
        return True
    return False


# Getting in


async def get_in(way: Way, credentials: Login) -> Found:
    """Log in, and find out what the server speaks.

    Raises:
        ConfigError: there is no way in.
    """
    places = [
        Destination(way.url, way.path, family, address, [], credentials.user, credentials.password)
        for family, address in way.addresses
    ]
    server = ServerAddress(way.url, way.tls)
    try:
        place = await reachable(places)
        tickets = TicketSource(place, server)
        otp = await tickets.take()
        # Now the context has loaded the authority that it needs.
        place = msgspec.structs.replace(place, authorities=authorities_of(way.tls), token=tickets.token)
        found = Found(place, server_at(place))
        if await speaks_v1(found, otp):
            return found
        found.place = msgspec.structs.replace(place, dialect="classic")
        await listen_for_echoes(found)
    except (HubbubError, HttpRefused, WSError, OSError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or "no answer in time"
        raise ConfigError(f"cannot log in at {way.url} as {credentials.user}: {reason}") from None
    return found


async def speaks_v1(found: Found, otp: str) -> bool:
    """Whether the server agrees to v1, and means it: some libraries agree to anything."""
    link = Link(Seat(0), nothing, nothing)
    try:
        async with asyncio.timeout(WELCOME_S):
            await link.open(found.place, found.server, otp, has_v1=True, is_trial=True)
        return link.has_echo()
    except TimeoutError:
        return False
    finally:
        link.drop()


async def listen_for_echoes(found: Found) -> None:
    """Find out who hears what a classic client says: itself, and another one of the same user."""
    text = f"bench {secrets.token_hex(8)}"
    heard: set[int] = set()

    def hear(link: Link, body: Body) -> None:
        if body.message == text:
            heard.add(link.seat.number)

    links = [Link(Seat(number, text), hear, nothing) for number in (0, 1)]
    tickets = TicketSource(found.place, found.server)
    try:
        for link in links:
            await link.open(found.place, found.server, await tickets.take(), has_v1=False)
            await link.enter()
        end = time.monotonic() + ECHO_S
        while len(heard) < 2 and time.monotonic() < end:
            links[0].say(text.encode())
            await asyncio.sleep(ROUND_S)
    finally:
        for link in links:
            link.drop()
    found.echoes, found.hears_others = 0 in heard, 1 in heard


def nothing(_link: Link, _what: object) -> None:
    """Nobody listens."""
