"""What the conductor and its workers say to each other: one JSON line for each, orders one way and reports the other.

Times are in nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

__all__ = [
    "Buckets",
    "Census",
    "Destination",
    "Done",
    "Drop",
    "End",
    "Gather",
    "Measure",
    "Order",
    "OrderFailed",
    "Part",
    "Report",
    "Rest",
    "Return",
    "Seat",
    "Settle",
    "Setup",
    "Stop",
    "Talk",
    "Tally",
    "Tick",
    "decode_order",
    "decode_report",
    "line",
]


class Destination(msgspec.Struct, frozen=True):
    """Where the server is, and how to get in.

    Attributes:
        path: of the WebSocket.
        family, address: where to connect to, as the socket module writes it: what was checked, not looked up again.
        authorities: certificates to trust, DER; None trusts any.
        token: of a login; empty where the server gives none.
        dialect: "v1" or "classic".
    """

    url: str
    path: str
    family: int
    address: list[str | int]
    authorities: list[bytes] | None
    user: str
    password: str
    token: str = ""
    dialect: str = "v1"

    def __repr__(self) -> str:
        return f"<Destination {self.url}>"  # the secrets are nobody's business


class Seat(msgspec.Struct, frozen=True):
    """One client of a scenario.

    Attributes:
        number: unlike any other's.
        room: where it sits; none if empty.
        opens_ns: when its connection is due, after the beginning.
        first_ns, every_ns: when it sends, after the beginning; `every_ns` of 0 is never.
        leads: it sends for its room when the room is rehearsed.
        is_slow: it will stop reading for a while.
        stays: it does not leave when the others do.
    """

    number: int
    room: str = ""
    opens_ns: int = 0
    first_ns: int = 0
    every_ns: int = 0
    leads: bool = False
    is_slow: bool = False
    stays: bool = False


# Orders


class Setup(msgspec.Struct, frozen=True, tag=True):
    """Comes first, once.

    Attributes:
        mark: what the text of every message of this run begins with.
        doors: how many connections a worker opens at once.
    """

    place: Destination
    mark: str
    doors: int


class Gather(msgspec.Struct, frozen=True, tag=True):
    """Take these seats: connect, and enter the room."""

    seats: list[Seat]
    begin_ns: int


class Talk(msgspec.Struct, frozen=True, tag=True):
    """Send, each seat on its schedule.

    Attributes:
        phase: a number that no other talk of this run has; messages carry it.
        size: characters in a message.
        window: keep this many messages of each sender under way instead; 0 is the schedule.
        parts: the names of the latencies to keep, and between them the times when the next one begins.
        deaf: between these two, the slow do not read.
        is_rehearsal: only those that lead send.
    """

    phase: int
    begin_ns: int
    end_ns: int
    size: int
    window: int = 0
    parts: tuple[str, ...] = ("delivery",)
    bounds: tuple[int, ...] = ()
    deaf: tuple[int, int] | None = None
    is_rehearsal: bool = False


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Wait until each seat has heard this many messages of its room, or nothing comes any more."""

    expected: dict[str, int]


class Drop(msgspec.Struct, frozen=True, tag=True):
    """All but those that stay vanish, without a goodbye."""


class Return(msgspec.Struct, frozen=True, tag=True):
    """They come back, and catch up with their room as far as this seq."""

    begin_ns: int
    spread_ns: int
    until: dict[str, int]


class Rest(msgspec.Struct, frozen=True, tag=True):
    """Do nothing."""

    until_ns: int


class Part(msgspec.Struct, frozen=True, tag=True):
    """Say goodbye, all of you."""


class Measure(msgspec.Struct, frozen=True, tag=True):
    """Report a tick at the end of each interval. Not answered."""

    begin_ns: int
    every_ns: int


class End(msgspec.Struct, frozen=True, tag=True):
    """No more ticks. Not answered."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Give up what is being done, and report on it. Not answered for itself."""


Order = Setup | Gather | Talk | Settle | Drop | Return | Rest | Part | Measure | End | Stop

# Reports

# The buckets of a histogram that are not empty.
Buckets = dict[int, int]


class Tally(msgspec.Struct):
    """What was counted, of one order or of many.

    Attributes:
        sent: messages, by room; one that was refused is taken back, be it in a later tally.
        delivered: how often one has arrived.
        to_slow: how often at one that was slow; these are not among `delivered`.
        newest: the highest seq seen in each room.
        latencies: buckets, by what was timed.
        counts: what went well or is simply so, by its name.
        troubles: what went wrong, by what it was.
        last_ns: when the last delivery, or the last connection, came.
        busy: the share of the time in which the busiest worker worked, or waited for a core to work on.
    """

    sent: dict[str, int] = {}
    delivered: int = 0
    to_slow: int = 0
    newest: dict[str, int] = {}
    latencies: dict[str, Buckets] = {}
    counts: dict[str, int] = {}
    troubles: dict[str, int] = {}
    last_ns: int = 0
    busy: float = 0.0

    def add(self, other: Tally) -> None:
        """Count what another has counted."""
        self.delivered += other.delivered
        self.to_slow += other.to_slow
        sum_up(self.sent, other.sent)
        sum_up(self.counts, other.counts)
        sum_up(self.troubles, other.troubles)
        for name, buckets in other.latencies.items():
            sum_up(self.latencies.setdefault(name, {}), buckets)
        for room, seq in other.newest.items():
            self.newest[room] = max(seq, self.newest.get(room, 0))
        self.last_ns = max(self.last_ns, other.last_ns)
        self.busy = max(self.busy, other.busy)


class Census(msgspec.Struct):
    """Who is there.

    Attributes:
        connected: clients.
        silent: of these, the ones that have heard nothing in the present phase.
        members: of each room, without the slow.
        slow: the others.
    """

    connected: int = 0
    silent: int = 0
    members: dict[str, int] = {}
    slow: int = 0

    def add(self, other: Census) -> None:
        """Take in the clients of another worker."""
        self.connected += other.connected
        self.silent += other.silent
        self.slow += other.slow
        sum_up(self.members, other.members)


class Tick(msgspec.Struct, frozen=True, tag=True):
    """What happened in an interval.

    Attributes:
        number: of the interval, from 0.
        seconds: its length, shorter for the last one.
        latencies: the buckets of all that came in it.
    """

    number: int
    seconds: float
    sent: int
    delivered: int
    connections: int
    latencies: Buckets


class Done(msgspec.Struct, frozen=True, tag=True):
    """An order was carried out, or was stopped."""

    tally: Tally
    standing: Census


class OrderFailed(msgspec.Struct, frozen=True, tag=True):
    """An order could not be carried out, through no fault of the server's."""

    why: str


Report = Tick | Done | OrderFailed

Key = TypeVar("Key", str, int)


def sum_up(mine: dict[Key, int], theirs: dict[Key, int]) -> None:
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


_encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_report = msgspec.json.Decoder(Report).decode


def line(message: Order | Report) -> bytes:
    """A message as a line."""
    return _encode(message) + b"\n"
