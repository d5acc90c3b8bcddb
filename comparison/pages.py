"""What the pages say beside the figures: on how it was measured, what is shown of each load, and the aims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from comparison.medians import Medians
from comparison.results import CHANNELS, CHAT, Results

__all__ = ["PAGES", "Aim", "Page", "View", "page_of"]

HERE = Path(__file__).parent

HUBBUB = "hubbub-sqlite"
HUBBUB_TLS = "hubbub-tls"
MEMORY = "hubbub-memory"
CENTRIFUGO = "centrifugo-history"

CPU = "cpu_us_per_delivery"
IDLE = "kib_per_connection"
CONNECT = "connect_cpu_us"


class View(NamedTuple):
    """What is shown of a load.

    Attributes:
        columns: figures; servers are compared by the first.
        bars: those in the plot.
    """

    columns: tuple[str, ...]
    bars: tuple[str, ...]


class Aim(NamedTuple):
    """What Hubbub is meant to reach.

    Attributes:
        of: the measure of it; met at `limit` or below.
        unit: of both; a multiple of another server's figure where there is none.
    """

    says: str
    of: Callable[[Medians], float | None]
    limit: float
    unit: str = ""


def against(load: str, figure: str, to: str, server: str = HUBBUB) -> Callable[[Medians], float | None]:
    """Hubbub's figure as a multiple of another server's."""
    return lambda medians: medians.ratio(load, figure, server, to)


def value(load: str, figure: str, server: str = HUBBUB) -> Callable[[Medians], float | None]:
    """Hubbub's figure itself."""

    def of(medians: Medians) -> float | None:
        spread = medians.spread(load, server, figure)
        return spread.value if spread else None

    return of


class Page(NamedTuple):
    """The page of a suite.

    Attributes:
        file: in the folder of the docs; the plots are in a folder of that name.
        says: what it compares.
        reading: how to read the figures.
        method: how they came about.
        measure: the server that others are shown as a multiple of; under TLS, `measure_tls`.
        measured_by: whose figure that is, for the head of a column.
        views: what is shown of a load, by its name.
        keeps: Markdown on what each server keeps; None for none.
        losses: Markdown, the end of the page.
        has_overview: whether it begins with one table of all loads.
    """

    title: str
    file: str
    says: str
    reading: str
    method: str
    measure: str
    measured_by: str
    views: dict[str, View]
    aims: list[Aim]
    aims_of: str
    losses: Path
    measure_tls: str = ""
    keeps: Path | None = None
    has_overview: bool = False

    @property
    def plots(self) -> str:
        return self.file.removesuffix(".md")


PACE = View((CPU, "deliveries_per_s", "p50_us", "p99_us", "rss_mib"), (CPU,))
QUANTILES = ("p50_us", "p99_us", "p999_us")

# Centrifugo's protocol, v1 and socket.io's

# The loads that are compared by the CPU of a delivery.
PACED = {
    "room-100": "one room of 100",
    "room-1000": "one room of 1,000",
    "rooms-7x33": "seven rooms of 33",
    "pairs": "rooms of two",
    "room-100-full": "one room of 100, as fast as it goes",
    "rooms-100x20": "100 rooms of 20, 4 KiB",
}


def channel_aims() -> list[Aim]:
    """Centrifugo with its history in memory, by the same client and the same protocol."""
    servers = {MEMORY: "memory", HUBBUB: "SQLite"}
    return [
        *(
            Aim(f"{title}, {engine}: Centrifugo's CPU per delivery", against(load, CPU, CENTRIFUGO, server), 1)
            for server, engine in servers.items()
            for load, title in PACED.items()
        ),
        *(
            Aim(
                f"an idle connection, {engine}: a tenth of Centrifugo's memory",
                against("idle-in-room", IDLE, CENTRIFUGO, server),
                1 / 10,
            )
            for server, engine in servers.items()
        ),
        *(
            Aim(
                f"letting a client in, {engine}: 1.2 times Centrifugo's CPU",
                against("connects", CONNECT, CENTRIFUGO, server),
                1.2,
            )
            for server, engine in servers.items()
        ),
    ]


CHANNELS_PAGE = Page(
    title="Comparison",
    file="comparison.md",
    says="""\
Hubbub beside servers that people use for the same: rooms (Centrifugo calls them channels), messages that are answered
when they are taken, and clients that hear all of their rooms. One load generator is the client of all. It speaks
Centrifugo's own protocol to Centrifugo and to Hubbub, byte for byte the same; Hubbub's v1 dialect stands beside it;
the two socket.io servers are spoken to in theirs. `make comparison` measures all and makes this page;
[comparison-chat.md](comparison-chat.md) has the classic dialect, TLS, and servers of a few hundred lines.""",
    reading="""\
Every figure is the median of its rounds, with the least and the most in brackets. CPU is what the server's process
took, user and system; less is better. The last column of a table has its first figure as a multiple of that of
Centrifugo with history in memory, which of the others is the nearest to Hubbub in what it keeps.""",
    method="""\
Each run has a fresh server, pinned to one core, with the load on another, over plain TCP. The servers take turns, so
that whatever happens to the machine happens to all. Every message is published by a client, which gets an answer, and
every delivery is counted: what did not arrive, or was not answered, stands below the table, and a run in which a
server closed a connection does not count and is told of. Latencies count from the moment a message was due. Each
client is a user of its own, by a token (HS256) that the server checks. Hubbub runs as it comes, but for the limits on
what one client sends.""",
    measure=CENTRIFUGO,
    measured_by="Centrifugo's with history",
    views={
        **dict.fromkeys(PACED, PACE),
        "idle-in-room": View((IDLE, "connect_cpu_us", "rss_mib"), (IDLE,)),
        "connects": View((CONNECT, "connects_per_s", "p50_us", "p99_us"), (CONNECT,)),
    },
    aims=channel_aims(),
    aims_of="Hubbub, by Centrifugo's protocol",
    losses=HERE / "losses.md",
    keeps=HERE / "keeps.md",
    has_overview=True,
)

# The classic dialect

CHAT_VIEWS = {
    "fanout-100": PACE,
    "rooms-10x50": PACE,
    "fanout-1000": PACE,
    "fanout-1000-spread": PACE,
    "pairs-200": PACE,
    "half-of-go": View((*QUANTILES[1:], "p50_us", CPU), QUANTILES),
    "connect-storm": View((CONNECT, "connects_per_s", "p50_us", "p99_us"), (CONNECT,)),
    "idle": View((IDLE, "server_cpu"), (IDLE,)),
}

CHAT_AIMS = [
    Aim("one room of 100: a seventh of Go's CPU per delivery", against("fanout-100", CPU, "go"), 1 / 7),
    Aim("ten rooms of 50: a quarter of Go's CPU per delivery", against("rooms-10x50", CPU, "go"), 1 / 4),
    Aim("one room of 1,000: an eighth of Go's CPU per delivery", against("fanout-1000", CPU, "go"), 1 / 8),
    Aim("rooms of two: Go's CPU per delivery", against("pairs-200", CPU, "go"), 1),
    Aim("one room of 100, in memory: 1.4 times the floor", against("fanout-100", CPU, "floor", MEMORY), 1.4),
    Aim("ten rooms of 50, in memory: 1.4 times the floor", against("rooms-10x50", CPU, "floor", MEMORY), 1.4),
    Aim("one room of 1,000, in memory: 1.4 times the floor", against("fanout-1000", CPU, "floor", MEMORY), 1.4),
    Aim("at half of what Go can do: half of Go's p99", against("half-of-go", "p99_us", "go"), 1 / 2),
    Aim("an idle connection: 12 KiB", value("idle", IDLE), 12, "KiB"),
    Aim("an idle connection: Go's memory", against("idle", IDLE, "go"), 1),
    Aim("an idle connection under TLS: 24 KiB", value("idle", IDLE, HUBBUB_TLS), 24, "KiB"),
    Aim("letting a client in: Go's CPU", against("connect-storm", CONNECT, "go"), 1),
    Aim(
        "letting a client in under TLS: Go's CPU under TLS",
        against("connect-storm", CONNECT, "go-tls", HUBBUB_TLS),
        1,
    ),
]

CHAT_PAGE = Page(
    title="Comparison: the classic dialect",
    file="comparison-chat.md",
    says="""\
Hubbub beside servers that do the same chat in the way that is usual where they come from, and beside a bare
C program that does no more than it must (the floor). `make comparison ARGS="--suite chat"` measures all and makes this
page. Messages are not answered here; [comparison.md](comparison.md) has the servers that do answer.""",
    reading="""\
Every figure is the median of its rounds, with the least and the most in brackets. CPU is what the server's
process took; less is better. The last column of a table has its first figure as a multiple of that of
Hubbub with SQLite; for a server under TLS, of the same under TLS.""",
    method="""\
Each run has a fresh server, pinned to one core, with the load on another. The servers take turns, so that
whatever happens to the machine happens to all. Latencies count from the moment a message was due. Under a
load that goes as fast as the server does, a message waits for an earlier one: look at the CPU there, and at
latencies where the pace is the same for all. Hubbub runs as it comes, keeping and checking what it always
does, but without its limits on one account, which makes all of the load.""",
    measure=HUBBUB,
    measure_tls=HUBBUB_TLS,
    measured_by="Hubbub's",
    views=CHAT_VIEWS,
    aims=CHAT_AIMS,
    aims_of="Hubbub, with SQLite unless said",
    losses=HERE / "chat-losses.md",
)

PAGES = {CHANNELS: CHANNELS_PAGE, CHAT: CHAT_PAGE}


def page_of(results: Results) -> Page:
    """The page that results go to."""
    return PAGES[results.suite]
