"""Connections that have not said who they are: few, each for a short time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hubbub.door.codes import DoorClose
from hubbub.policy import is_loopback, network_of

__all__ = ["Stranger", "Strangers"]

# Strangers at a time, in all, and from one address, or one /64 of IPv6.  A newcomer takes the place of the one that has
# waited longest: who means to come in says so with its first frame.
MOST = 1024
MOST_PER_NETWORK = 128


class Stranger(Protocol):
    """A connection that has not said who it is."""

    @property
    def address(self) -> str: ...

    def close(self, code: int, reason: str) -> None: ...


class Strangers:
    """Who has not said who it is, and until when.

    Args:
        delay_s: within which it has to.
        clock: seconds that never go back.
        places: connections that there may be, of which strangers get a quarter; 0 is no limit.
    """

    def __init__(self, delay_s: float, clock: Callable[[], float], places: int = 0) -> None:
        self._delay_s = delay_s
        self._most = max(1, min(MOST, places // 4)) if places else MOST
        self._clock = clock
        # Who has waited longest comes first; each with the moment at which its time is over.
        self._all: dict[Stranger, float] = {}
        self._by_network: dict[str, dict[Stranger, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, stranger: Stranger) -> None:
        """Take up a newcomer; for one too many the one that has waited longest is closed."""
        if len(self._all) >= self._most:
            self._make_room(next(iter(self._all)))
        network = network_of(stranger.address)
        of_network = self._by_network.setdefault(network, {})
        # Who comes from this machine is a proxy, and whoever is behind it.
        if len(of_network) >= MOST_PER_NETWORK and not is_loopback(stranger.address):
            self._make_room(next(iter(of_network)))
            of_network = self._by_network.setdefault(network, {})
        of_network[stranger] = None
        self._all[stranger] = self._clock() + self._delay_s

    def remove(self, stranger: Stranger) -> None:
        """Forget one that has said who it is, or has gone; one that is not here is ignored."""
        if self._all.pop(stranger, None) is None:
            return
        network = network_of(stranger.address)
        of_network = self._by_network[network]
        del of_network[stranger]
        if not of_network:
            del self._by_network[network]

    def _make_room(self, stranger: Stranger) -> None:
        """Close one that has waited longest: with a number after which it comes back, in case it was about to speak."""
        self.remove(stranger)
        stranger.close(DoorClose.TOO_MANY, "too many connections")

    def turn_out_late(self) -> None:
        """Close those whose time is over; to be called a few times a second."""
        now = self._clock()
        while self._all:
            first = next(iter(self._all))
            if self._all[first] > now:
                return
            self.remove(first)
            first.close(DoorClose.STALE, "stale")

    def turn_out_all(self) -> None:
        """Close all, because the server stops."""
        while self._all:
            first = next(iter(self._all))
            self.remove(first)
            first.close(DoorClose.SHUTDOWN, "shutdown")
