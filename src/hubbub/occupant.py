"""A process that has a worker's slot, the slot, and what can be done about such processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["Occupant", "Overseer", "ProcessPhase", "Slot"]


class ProcessPhase(Enum):
    """What a process is at."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"


@dataclass(eq=False, slots=True)
class Occupant:
    """A process that has a slot, had it, or is to have it.

    Attributes:
        slot: the number of its slot.
        pid: of the process.
        phase: what it is at.
        since: when it came to that.
        kill_at: when it has to have ended, or to have become ready.
        heard_at: when it last gave a sign of life.
        is_silent: whether that is too long ago.
        accepts: the slots that it was told to take connections of.
    """

    slot: int
    pid: int
    since: float
    kill_at: float
    phase: ProcessPhase = ProcessPhase.STARTING
    heard_at: float = 0.0
    is_silent: bool = False
    accepts: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Slot:
    """A worker's place.

    Attributes:
        serving: the process that takes its connections.
        coming: the one that is to.
        has_listened: whether there may be connections in it.
        start_at: when the next process is started; infinite while none is needed.
        deaths: how often processes have died here, since one was steady.
    """

    number: int
    serving: Occupant | None = None
    coming: Occupant | None = None
    has_listened: bool = False
    start_at: float = math.inf
    deaths: int = 0


class Overseer(Protocol):
    """Does what has to be done about processes.  None of it waits, and none of it fails but `start`."""

    def start(self, slot: int, *, is_first: bool) -> int:
        """Start a process for a slot; its pid.

        Raises:
            OSError: the system starts no process.
        """
        ...

    def accept(self, pid: int, slots: tuple[int, ...]) -> None:
        """Have a process take the connections of some slots, and of no others."""
        ...

    def leave(self, pid: int) -> None:
        """Have a process stop, and leave its slot to another one."""
        ...

    def stop(self, pid: int) -> None:
        """Have a process stop."""
        ...

    def terminate(self, pid: int) -> None:
        """End a process that is not ready."""
        ...

    def kill(self, pid: int) -> None:
        """End a process at once."""
        ...
