"""What a load is, and how much of it there is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from comparison.candidates import CLASSIC, Candidate, pinned
from comparison.peers.peers import BUILD, SECRET

__all__ = ["GO_PACE", "HALF_OF_GO", "LOADGEN", "Amount", "Words", "Workload", "duration", "spoken"]

LOADGEN = BUILD / "loadgen"

# Half of what the one reached under the other.
HALF_OF_GO = "half-of-go"
GO_PACE = "fanout-100", "go"


@dataclass(frozen=True)
class Amount:
    """How much of everything.

    Attributes:
        seconds: of the measured part; some loads take a multiple.
        scale: what numbers of clients are multiplied by.
        half_of_go: deliveries a second; 0 where it is not known.
    """

    seconds: float = 3.0
    scale: float = 1.0
    half_of_go: float = 0.0

    def of(self, number: int, least: int = 1) -> int:
        return max(least, round(number * self.scale))


Words = Callable[[Amount, bool], list[str]]


@dataclass(frozen=True)
class Workload:
    """One load.

    Attributes:
        words: the options of what makes it, for an amount, with TLS or without.
        scenario: that of `hubbub bench`; empty where our load generator makes it.
        rounds: at most.
        unfit: why a peer cannot be put to it, by the peer's name.
    """

    name: str
    title: str
    words: Words
    scenario: str = ""
    rounds: int = sys.maxsize
    unfit: dict[str, str] = field(default_factory=dict)

    def reason_against(self, candidate: Candidate, amount: Amount) -> str:
        """Why a server is not put to it; an empty string if it is."""
        if self.name == HALF_OF_GO and not amount.half_of_go:
            return f"how much is half of Go's pace is not known: {' with '.join(GO_PACE)} was not measured"
        return self.unfit.get(candidate.peer, "")

    def shown(self, amount: Amount, core: int) -> str:
        """What makes it, for a report; with TLS there is more to it."""
        if self.scenario:
            words = ["python", "-m", "hubbub", "bench", "URL", self.scenario]
        else:
            words = [str(LOADGEN.relative_to(BUILD.parent)), "--port", "PORT"]
        return " ".join(pinned(core, [*words, "--pid", "PID", *self.words(amount, False)]))


def duration(seconds: float, warm_up: bool = True) -> list[str]:
    """For how long; a third of it comes before, as a warm-up."""
    return [*(["--warm-up", f"{seconds / 3:.2g}"] if warm_up else []), "--seconds", f"{seconds:g}"]


def spoken(protocol: str) -> list[str]:
    """What the load generator is to speak; a token for each client goes with most."""
    return ["--protocol", protocol, *([] if protocol == CLASSIC else ["--secret", SECRET])]
