"""Connections that are no WebSockets yet: how many there may be, in all and from one address.

One costs memory and a descriptor from the first packet on, before anything is known of who opens it.  Over a limit,
room is made for a new one by cutting the one that has kept the server waiting for the longest: in its TLS handshake, in
a request that it has not finished, or idle after an answer.  Who goes on is hardly ever that one, so whoever opens
connections and leaves them pays for it, and the others come in.  One that waits for its answer is not cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from hubbub.policy import network_of

__all__ = ["Arrival", "Arrivals"]

log = structlog.get_logger("hubbub.wire")

# Seconds between two lines of the log about connections over a limit.
LOG_EVERY_S = 10.0


class Arrival:
    """A connection's place, until it is given back with `leave`.

    Attributes:
        address: where it comes from.
        cut: ends the connection.
    """

    __slots__ = ("_arrivals", "_network", "address", "cut")

    def __init__(self, address: str, cut: Callable[[], object], arrivals: Arrivals | None = None) -> None:
        self.address = address
        self.cut = cut
        self._arrivals = arrivals
        self._network = ""

    def move(self, address: str) -> bool:
        """Count for another address: the one behind a proxy.  Whether there was room for it there."""
        self.address = address
        return self._arrivals is None or self._arrivals.move(self, address)

    def wait(self) -> None:
        """The server waits for the client from now on."""
        if self._arrivals is not None:
            self._arrivals.wait(self, self._network)

    def work(self) -> None:
        """The client waits for the server."""
        if self._arrivals is not None:
            self._arrivals.work(self, self._network)

    def leave(self) -> None:
        """Give the place back; nothing where that has been done."""
        if self._arrivals is not None:
            self._arrivals.leave(self, self._network)
            self._arrivals = None

    def stand(self, network: str) -> None:
        """Note for which network it counts."""
        self._network = network


class Arrivals:
    """The places.

    Args:
        in_all: how many there are; 0 is no limit.
        per_address: how many of them one address may take, or one /64 of IPv6; 0 is no limit.
        is_shared: whether many may be behind an address, such as a proxy's: half of the places are for it.
        clock: in seconds.

    Attributes:
        cut: how many were cut to make room.
        in_all: as given.
        refused: how many found no room.
    """

    def __init__(
        self, in_all: int, per_address: int, is_shared: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self.cut = 0
        self.refused = 0
        self.in_all = in_all
        self._per_address = per_address
        self._is_shared = is_shared
        self._clock = clock
        self._open = 0
        self._by_network: Counter[str] = Counter()
        # Those that keep the server waiting, from the longest on.
        self._idle: dict[Arrival, None] = {}
        self._idle_by_network: dict[str, dict[Arrival, None]] = {}
        self._log_at = float("-inf")
        self._unlogged = 0

    def enter(self, address: str, cut: Callable[[], object]) -> Arrival | None:
        """A place for a connection, which keeps the server waiting; None where there is no room."""
        network = network_of(address)
        if not self._has_room(network, address) or not self._has_room_in_all():
            self._note(address, was_refused=True)
            return None
        arrival = Arrival(address, cut, self)
        self._open += 1
        self._count(arrival, network)
        return arrival

    def move(self, arrival: Arrival, address: str) -> bool:
        """Count a connection for another address, whether there was room there."""
        network = network_of(address)
        self._uncount(arrival, arrival._network)
        has_room = self._has_room(network, address)
        self._count(arrival, network)
        if not has_room:
            self._note(address, was_refused=True)
        return has_room

    def wait(self, arrival: Arrival, network: str) -> None:
        self.work(arrival, network)
        self._idle[arrival] = None
        self._idle_by_network.setdefault(network, {})[arrival] = None

    def work(self, arrival: Arrival, network: str) -> None:
        self._idle.pop(arrival, None)
        idle = self._idle_by_network.get(network)
        if idle is not None:
            idle.pop(arrival, None)
            if not idle:
                del self._idle_by_network[network]

    def leave(self, arrival: Arrival, network: str) -> None:
        self._uncount(arrival, network)
        self._open -= 1

    def make_room(self, count: int) -> None:
        """Cut so many that keep the server waiting, as far as there are any: no descriptor is left."""
        for _ in range(count):
            if not self._make_room(self._idle):
                return

    def _count(self, arrival: Arrival, network: str) -> None:
        arrival.stand(network)
        self._by_network[network] += 1
        self.wait(arrival, network)

    def _uncount(self, arrival: Arrival, network: str) -> None:
        self.work(arrival, network)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]

    def _has_room(self, network: str, address: str) -> bool:
        most = self._per_address
        if self._is_shared(address):
            most = max(1, self.in_all // 2) if self.in_all else 0
        return not most or self._by_network[network] < most or self._make_room(self._idle_by_network.get(network))

    def _has_room_in_all(self) -> bool:
        return not self.in_all or self._open < self.in_all or self._make_room(self._idle)

    def _make_room(self, idle: dict[Arrival, None] | None) -> bool:
        """Cut the one that has kept the server waiting for the longest, if any does."""
        if not idle:
            return False
        oldest = next(iter(idle))
        oldest.leave()
        self.cut += 1
        self._note(oldest.address, was_refused=False)
        oldest.cut()
        return True

    def _note(self, address: str, *, was_refused: bool) -> None:
        """Write a line for the log now and then, not for each: they can be many."""
        self.refused += was_refused
        self._unlogged += 1
        now = self._clock()
        if now - self._log_at >= LOG_EVERY_S:
            log.warning("too many connections that do not go on", count=self._unlogged, address=address)
            self._log_at = now
            self._unlogged = 0
