"""The scenarios: what each does, with the numbers that it has unless told otherwise."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from hubbub.bench.orders import Drop, Rest, Return, Seat, Settle, Talk
from hubbub.bench.schedule import seats_for
from hubbub.bench.stage import ScenarioRun

__all__ = ["SCENARIOS", "Load", "Scenario", "seats_of"]

# A stock server takes 50 messages a second from a client; senders are as many as it takes to stay well below.
MOST_PER_SENDER = 40.0

# From an order to the moment that all workers begin.
LEAD_NS = 200_000_000

# A classic server does not say when a client is in its room, so the room is rehearsed until all have heard something.
REHEARSALS = 10
REHEARSAL_NS = 100_000_000

SLOW_SHARE = 0.1
AWAY_MESSAGES = 50
RETURN_S = 2.0


@dataclass(frozen=True)
class Load:
    """How much of it.

    Attributes:
        rate: messages, or connections, a second, in all.
        size: characters in a message.
        window: messages of each sender under way, in a closed loop; 0 is the open one.
    """

    clients: int
    rate: float
    seconds: float
    size: int = 100
    window: int = 0


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        rooms: how many there are; 0 means rooms of two.
        senders: in each room, at least.
        about: the load in one sentence, with the load's and the scenario's fields in braces.
        needs_v1: why a classic server cannot be put to this; empty where it can.
        talks: its clients hear each other.
    """

    name: str
    about: str
    play: Callable[[Scenario, Load, ScenarioRun], Awaitable[None]]
    load: Load
    rooms: int = 1
    senders: int = 1
    needs_v1: str = ""
    talks: bool = True

    def rooms_for(self, load: Load) -> int:
        """How many rooms there are."""
        return min(self.rooms or load.clients // 2, load.clients)

    def says(self, load: Load) -> str:
        """What is done, in one sentence."""
        rate = f"{load.window} messages of each sender under way" if load.window else f"{load.rate:g} messages/s"
        slow = slow_of(load.clients)
        return self.about.format(load=load, rooms=self.rooms_for(load), rate=rate, slow=slow, away=AWAY_MESSAGES)


def seats_of(scenario: Scenario, load: Load, stage: ScenarioRun, silent: int = 0) -> list[Seat]:
    """The seats of a scenario; the last `silent` ones do not send."""
    rooms = [stage.room(number) for number in range(scenario.rooms_for(load))]
    senders = max(scenario.senders, math.ceil(load.rate / len(rooms) / MOST_PER_SENDER))
    return seats_for(load.clients, rooms, load.rate, min(senders, load.clients - silent))


def slow_of(clients: int) -> int:
    return max(1, int(clients * SLOW_SHARE))


async def assemble(seats: list[Seat], stage: ScenarioRun) -> None:
    """Bring the clients in, and be sure that each is in its room."""
    await stage.gather(seats)
    if stage.has_v1:
        return
    for _ in range(REHEARSALS):
        begin_ns = time.monotonic_ns()
        talk = Talk(stage.next_phase(), begin_ns, begin_ns + REHEARSAL_NS, 1, is_rehearsal=True)
        await stage.act(talk)
        await stage.act(Settle({}))
        if stage.standing.silent <= (0 if stage.echoes else len({seat.room for seat in seats})):
            return


async def converse(load: Load, stage: ScenarioRun, parts: tuple[str, ...] = ("delivery",)) -> None:
    """Let the senders send, and count what arrives."""
    begin_ns = stage.begin_ns
    length_ns = int(load.seconds * 1e9)
    bounds = tuple(begin_ns + length_ns * part // len(parts) for part in range(1, len(parts)))
    talk = Talk(
        stage.next_phase(),
        begin_ns,
        begin_ns + length_ns,
        load.size,
        window=load.window,
        parts=parts,
        bounds=bounds,
        deaf=(bounds[0], bounds[1]) if len(bounds) == 2 else None,
    )
    await stage.talk(talk)


async def play_talk(scenario: Scenario, load: Load, stage: ScenarioRun) -> None:
    """Everyone is there; the senders send; everyone hears it."""
    await assemble(seats_of(scenario, load, stage), stage)
    stage.measure(time.monotonic_ns() + LEAD_NS, load.seconds)
    await converse(load, stage)
    stage.end()


async def play_slow(scenario: Scenario, load: Load, stage: ScenarioRun) -> None:
    """As `play_talk`, with some that do not read in the middle third."""
    slow = slow_of(load.clients)
    seats = seats_of(scenario, load, stage, slow)
    seats[-slow:] = [msgspec.structs.replace(seat, is_slow=True) for seat in seats[-slow:]]
    await assemble(seats, stage)
    stage.measure(time.monotonic_ns() + LEAD_NS, load.seconds)
    await converse(load, stage, ("before", "while", "after"))
    stage.end()


async def play_storm(_scenario: Scenario, load: Load, stage: ScenarioRun) -> None:
    """Connections come at a fixed rate."""
    every_ns = int(1e9 / load.rate)
    seats = [Seat(number, opens_ns=number * every_ns) for number in range(load.clients)]
    stage.measure(time.monotonic_ns() + LEAD_NS, load.clients / load.rate)
    await stage.gather(seats, stage.begin_ns)
    stage.end()


async def play_idle(_scenario: Scenario, load: Load, stage: ScenarioRun) -> None:
    """Many connect, then nothing is said."""
    stage.mark("before")
    await stage.gather([Seat(number) for number in range(load.clients)])
    stage.mark("opened")
    stage.measure(time.monotonic_ns() + LEAD_NS, load.seconds)
    await stage.act(Rest(stage.begin_ns + int(load.seconds * 1e9)))
    stage.end()


async def play_resume(scenario: Scenario, load: Load, stage: ScenarioRun) -> None:
    """All drop at once, miss something, come back within two seconds, and go on."""
    rooms = [stage.room(number) for number in range(scenario.rooms_for(load))]
    seats = [msgspec.structs.replace(seat, every_ns=0) for seat in seats_for(load.clients, rooms, 0, 1)]
    every_ns = int(1e9 * len(rooms) / load.rate)
    seats += [
        Seat(load.clients + number, room, first_ns=every_ns * number // len(rooms), every_ns=every_ns, stays=True)
        for number, room in enumerate(rooms)
    ]
    away_ns = AWAY_MESSAGES * every_ns
    await stage.gather(seats)
    # Unheard by those it is for, so nothing of this part is counted.
    await stage.act(Drop())
    begin_ns = time.monotonic_ns() + LEAD_NS
    missed = await stage.act(Talk(stage.next_phase(), begin_ns, begin_ns + away_ns, load.size), away_ns / 1e9)
    missed.add(await stage.act(Settle(missed.sent)))
    stage.measure(time.monotonic_ns() + LEAD_NS, RETURN_S + load.seconds)
    order = Return(stage.begin_ns, int(RETURN_S * 1e9), missed.newest)
    await stage.act(order, RETURN_S)
    stage.mark("returned")
    talk_ns = time.monotonic_ns() + LEAD_NS
    await stage.talk(Talk(stage.next_phase(), talk_ns, talk_ns + int(load.seconds * 1e9), load.size))
    stage.end()


TALK = "{load.clients} clients in {rooms} rooms, {rate}, {load.size} characters each, for {load.seconds:g} s"

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "fanout",
            "{load.clients} clients in one room, {rate}, {load.size} characters each, for {load.seconds:g} s",
            play_talk,
            Load(100, 200, 10),
            senders=10,
        ),
        Scenario("rooms", TALK, play_talk, Load(500, 200, 10), rooms=10, senders=2),
        Scenario("pairs", TALK, play_talk, Load(200, 1000, 10), rooms=0, senders=2),
        Scenario(
            "connect-storm",
            "{load.clients} connections, {load.rate:g} a second, each with a one-time password of its own",
            play_storm,
            Load(500, 100, 5),
            talks=False,
        ),
        Scenario(
            "resume-storm",
            "{load.clients} clients in {rooms} rooms drop at once, miss {away} messages a room, come back within 2 s, "
            "and hear {load.rate:g} messages/s for {load.seconds:g} s",
            play_resume,
            Load(200, 300, 3),
            rooms=10,
            needs_v1="there is no resume in classic",
        ),
        Scenario(
            "slow-reader",
            "{load.clients} clients in one room, {rate}, {load.size} characters each, for {load.seconds:g} s; "
            "{slow} of them do not read in the middle third",
            play_slow,
            Load(50, 400, 15, size=3900),
            senders=10,
        ),
        Scenario(
            "idle",
            "{load.clients} connections, quiet for {load.seconds:g} s",
            play_idle,
            Load(1000, 1, 10),
            talks=False,
        ),
    )
}
