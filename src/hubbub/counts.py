"""What has happened in this process, counted where it happens: plain numbers, which somebody reads from time to time.

Counting is an addition, made for a batch or a flush and not for a message or a member, so that it costs nothing that
could be measured.  What a client chooses is never counted apart: a code that is none of ours counts as `OTHER`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from hubbub.errors import CloseCode, ErrorCode

__all__ = [
    "CLOSES",
    "CODES",
    "DENIALS",
    "DIALECTS",
    "OTHER",
    "SECONDS",
    "SIZES",
    "Buckets",
    "EngineCounts",
    "HubCounts",
]

OTHER = "other"
DIALECTS = ("classic", "v1", "sse", "centrifugo", "centrifugo-protobuf")
CODES = (*(code.value for code in ErrorCode), OTHER)
# Of clients of the second door, in its own numbers (`door.codes.DoorClose`).
OF_DOOR = tuple(map(str, (3001, 3004, 3005, 3006, 3008, 3012, 3013, 3500, 3501, 3502, 3503, 3504, 3506, 3507, 3508)))
CLOSES = (*(str(code.value) for code in CloseCode), *OF_DOOR, OTHER)
# Of requests for a WebSocket, by status.
DENIALS = ("400", "401", "403", "404", "405", "426", "500", "503", OTHER)

# From a tenth of a millisecond, in which a quick disk has a batch, to the longest that anything is waited for.
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Buckets:
    """How often something was how large.

    Attributes:
        bounds: the largest of each bucket, rising; one more bucket is for what is larger.
        buckets: how many there were in each.
        total: of all together.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value


class EngineCounts:
    """What an engine that is reached over a network counts.  One that does has it as its attribute `counts`.

    Attributes:
        round_trips: calls that were answered.
        retries: calls that were repeated because their answer was lost, or was that it cannot be done now.
        reconnects: connections opened anew after the first.
        repairs: holes in what the bus has told that were read from the log.
        heard: messages that came from other processes.
    """

    __slots__ = ("heard", "reconnects", "repairs", "retries", "round_trips")

    def __init__(self) -> None:
        self.round_trips = 0
        self.retries = 0
        self.reconnects = 0
        self.repairs = 0
        self.heard = 0


class HubCounts:
    """What a hub counts.

    Attributes:
        connections: open now, by dialect.
        opened: since the start, by dialect.
        closes: connections closed by the server, by code.
        denied: requests for a WebSocket that were refused, by status.
        kept: messages that were appended to the log, repeated ones included.
        not_kept: messages whose senders were told that they were not kept, or that nobody knows.
        batches: sizes of the batches appended.
        append: seconds that each took, kept or not.
        delivery: seconds from the first message of a batch to the end of its flush.
        deliveries: messages written to members: those of a flush times the members that it is written to.
        fed: of these, messages written to members that were behind.
        behind: memberships that are behind now.
        refused: events turned down, by code.
        recovered: joins that said since when, and were told all that they had missed.
        not_recovered: those that could not be told all of it.
        gaps: events `gap` that were sent.
        holes: times that the log had lost messages before they could be delivered.
        rewinds: times that the log of a live room had lost messages that were delivered already.
        epochs: times that the log of a live room went on under another epoch, with nothing lost.
        lag: seconds that the loop was late, looked at a few times a second.
    """

    __slots__ = (
        "append",
        "batches",
        "behind",
        "closes",
        "connections",
        "deliveries",
        "delivery",
        "denied",
        "epochs",
        "fed",
        "gaps",
        "holes",
        "kept",
        "lag",
        "not_kept",
        "not_recovered",
        "opened",
        "recovered",
        "refused",
        "rewinds",
    )

    def __init__(self) -> None:
        self.connections = dict.fromkeys(DIALECTS, 0)
        self.opened = dict.fromkeys(DIALECTS, 0)
        self.closes = dict.fromkeys(CLOSES, 0)
        self.denied = dict.fromkeys(DENIALS, 0)
        self.kept = 0
        self.not_kept = 0
        self.batches = Buckets(SIZES)
        self.append = Buckets(SECONDS)
        self.delivery = Buckets(SECONDS)
        self.deliveries = 0
        self.fed = 0
        self.behind = 0
        self.refused = dict.fromkeys(CODES, 0)
        self.recovered = 0
        self.not_recovered = 0
        self.gaps = 0
        self.holes = 0
        self.rewinds = 0
        self.epochs = 0
        self.lag = Buckets(SECONDS)

    def batch(self, size: int, append_s: float, delivery_s: float) -> None:
        """Count a batch; written out, because every message comes this way, and often alone."""
        self.batches.buckets[bisect_left(SIZES, size)] += 1
        self.batches.total += size
        append, delivery = self.append, self.delivery
        append.buckets[bisect_left(SECONDS, append_s)] += 1
        append.total += append_s
        delivery.buckets[bisect_left(SECONDS, delivery_s)] += 1
        delivery.total += delivery_s

    def refuse(self, code: str) -> None:
        """Count an event that is turned down."""
        self.refused[code if code in self.refused else OTHER] += 1

    def deny(self, status: int) -> None:
        """Count a request for a WebSocket that is refused."""
        text = str(status)
        self.denied[text if text in self.denied else OTHER] += 1

    def close(self, code: int) -> None:
        """Count a connection that the server has closed."""
        text = str(int(code))
        self.closes[text if text in self.closes else OTHER] += 1
