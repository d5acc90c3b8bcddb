"""Requests that have no answer yet: what to write next, what again, and what not.

Knows no socket: time is passed in, and whoever made a request is told by its `settle`.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from hubbub.errors import ErrorCode, HubbubError, Rejected, Unanswered
from hubbub.sdk.backoff import full_jitter
from hubbub.sdk.reading import Failure

__all__ = ["RESEND_S", "RETRY_S", "Entry", "Kind", "Outbox", "Reply"]

# The server forgets a key after five minutes; past that, asking again could say the same thing twice.
RESEND_S = 240.0

# How long a request that is refused for now is asked again.
RETRY_S = 30.0
RETRY_BASE_S = 0.5
RETRY_CAP_S = 5.0

WORTH_ANOTHER_TRY = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE})

Reply = dict[str, Any] | HubbubError


class Kind(Enum):
    """What becomes of a request that was written when the connection goes."""

    KEYED = auto()  # written again with its key, while the server remembers that
    REPEATABLE = auto()  # written again: doing it twice is doing it once
    ONCE = auto()  # given up
    OF_CONNECTION = auto()  # forgotten: it meant this connection
    FLEETING = auto()  # forgotten, and nobody waits for an answer


@dataclass(eq=False, slots=True)
class Entry:
    """One request.

    Attributes:
        number: its id on the wire, and its place in the order.
        lane: requests of one lane do not overtake each other, even when one is refused for now.
        settle: called once, with the answer's payload or with the error; never once the request is withdrawn.
        written_at: when it was first written, unless it was refused since.
        not_before: when it may be written (again).
        is_over: settled or withdrawn.
        is_given_up: nobody waits for the answer, which still takes effect.
    """

    number: int
    type: str
    payload: dict[str, Any]
    kind: Kind
    lane: object
    settle: Callable[[Reply], None]
    written_at: float | None = None
    first_refused_at: float | None = None
    refusals: int = 0
    not_before: float = 0.0
    is_over: bool = False
    is_given_up: bool = False


class Outbox:
    """The requests of one client, in order, over all its connections.

    Args:
        random: gives numbers from 0 up to 1.
        retry_s: how long a request that is refused for now is asked again.
    """

    def __init__(self, random: Callable[[], float], retry_s: float = RETRY_S) -> None:
        self._random = random
        self._retry_s = retry_s
        self._number = 0
        # What is to be written is sorted by number; requests that mean this connection go before all.
        self._first: list[Entry] = []
        self._waiting: list[Entry] = []
        self._written: dict[int, Entry] = {}
        self._resuming: list[Entry] = []

    def __len__(self) -> int:
        return len(self._first) + len(self._waiting) + len(self._written)

    def add(
        self, type_: str, payload: dict[str, Any], kind: Kind, settle: Callable[[Reply], None], lane: object = None
    ) -> Entry:
        """Take a request.  Without a lane it goes its own way."""
        self._number += 1
        entry = Entry(self._number, type_, payload, kind, lane or self._number, settle)
        if kind is Kind.OF_CONNECTION:
            self._first.append(entry)
            if lane is not None:
                self._resuming.append(entry)
            return entry
        if kind is Kind.FLEETING:
            # Only the newest of its kind says anything.
            self._waiting = [other for other in self._waiting if (other.type, other.lane) != (type_, lane)]
        self._waiting.append(entry)
        return entry

    # Writing

    def next(self, now: float) -> Entry | None:
        """The request to write now; None where there is none yet."""
        found = self._find(self._first, set(), now) or self._find_other(now)
        if found is not None and found.kind is not Kind.FLEETING:
            found.written_at = now if found.written_at is None else found.written_at
            self._written[found.number] = found
        return found

    def _find_other(self, now: float) -> Entry | None:
        # Until the server has answered what brings back the rooms, it would say "not in this room" to all the rest.
        if any(entry.refusals == 0 for entry in self._resuming):
            return None
        return self._find(self._waiting, {entry.lane for entry in self._resuming}, now)

    def _find(self, entries: list[Entry], held_up: set[object], now: float) -> Entry | None:
        for index, entry in enumerate(entries):
            if entry.lane in held_up:
                continue
            if entry.not_before <= now:
                return entries.pop(index)
            held_up.add(entry.lane)
        return None

    def next_at(self, now: float) -> float | None:
        """When to look again though nothing else happens; None for never."""
        return min(
            (entry.not_before for entry in [*self._first, *self._waiting] if entry.not_before > now), default=None
        )

    # Looking

    def has(self, type_: str, room: str) -> bool:
        """Whether a request of this type for a room has no answer yet."""
        entries = [*self._waiting, *self._written.values()]
        return any(entry.type == type_ and entry.lane == room for entry in entries)

    def fronts(self) -> dict[object, Entry]:
        """Of each lane, the request that is written next."""
        found: dict[object, Entry] = {}
        for entry in self._waiting:
            found.setdefault(entry.lane, entry)
        return found

    # Answers

    @property
    def has_written(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._written)

    def written(self, number: object) -> Entry | None:
        """The request that an answer with this id is for."""
        return self._written.get(number) if isinstance(number, int) else None

    def acked(self, entry: Entry, payload: dict[str, Any]) -> None:
        """Take the answer to a request."""
        self.settle(entry, payload)

    def refused(self, entry: Entry, failure: Failure, now: float) -> bool:
        """Take the refusal of a request; whether it is final, and not asked again."""
        entry.first_refused_at = now if entry.first_refused_at is None else entry.first_refused_at
        wait_s = failure.retry_after
        if wait_s is None:
            wait_s = full_jitter(entry.refusals, RETRY_BASE_S, RETRY_CAP_S, self._random)
        is_lasting = entry.kind is Kind.OF_CONNECTION
        is_in_time = is_lasting or now + wait_s <= entry.first_refused_at + self._retry_s
        if failure.code not in WORTH_ANOTHER_TRY or not is_in_time or entry.is_given_up:
            self.settle(entry, Rejected(failure.code, failure.message, failure.retry_after))
            return True
        entry.refusals += 1
        entry.not_before = now + wait_s
        entry.written_at = None  # nothing of it was kept, so its key is as good as new
        del self._written[entry.number]
        bisect.insort(self._first if entry.kind is Kind.OF_CONNECTION else self._waiting, entry, key=number_of)
        return False

    def settle(self, entry: Entry, answer: Reply) -> None:
        """Tell whoever made a request what has come of it."""
        self.withdraw(entry)
        entry.settle(answer)

    # Giving up

    def give_up(self, entry: Entry) -> None:
        """Keep a request that nobody waits for any more until it is answered."""
        entry.is_given_up = True

    def withdraw(self, entry: Entry) -> None:
        """Forget a request; an answer still to come means nothing."""
        entry.is_over = True
        if entry in self._resuming:
            self._resuming.remove(entry)
        if self._written.pop(entry.number, None) is None:
            for entries in (self._first, self._waiting):
                if entry in entries:
                    entries.remove(entry)

    # Ends

    def drop(self) -> None:
        """The connection is gone: what was written is in doubt, and waits again where it may."""
        written, self._written = list(self._written.values()), {}
        self._first.clear()
        self._resuming.clear()
        for entry in written:
            if entry.kind is Kind.ONCE:
                self.settle(entry, Unanswered(f"the connection went before {entry.type} was answered"))
            elif entry.kind is not Kind.OF_CONNECTION:
                bisect.insort(self._waiting, entry, key=number_of)
        self._waiting = [entry for entry in self._waiting if entry.kind is not Kind.FLEETING]

    def expire(self, now: float) -> None:
        """Give up what was written so long ago that the server has forgotten its key."""
        for entry in list(self._waiting):
            if entry.kind is Kind.KEYED and entry.written_at is not None and now - entry.written_at > RESEND_S:
                self.settle(entry, Unanswered(f"{entry.type} was not answered within {RESEND_S:g} s"))

    def fail(self, error: HubbubError) -> None:
        """Nothing will be written any more."""
        entries = [*self._first, *self._waiting, *self._written.values()]
        self._first, self._waiting, self._written, self._resuming = [], [], {}, []
        for entry in sorted(entries, key=number_of):
            self.settle(entry, error)


def number_of(entry: Entry) -> int:
    return entry.number
