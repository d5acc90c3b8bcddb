"""Whose password is checked next: a fair queue of logins, and delays that grow with wrong guesses.

Checking a password is dear on purpose, and guessing has to be slow; but whoever floods the server with guesses must
not keep anybody else out, the owner of the account included.  So nobody is locked out: who has to wait, waits in line.

- The addresses take turns, so that the flood of one waits behind itself.  At one address the names take turns, and for
  one name the different passwords: a flood of guesses for one account, or of one guess, holds nobody else up there.
- Who is known by the account has a line of its own, whatever else comes from the same address.
- Wrong guesses delay the next check for the same account from all addresses that are not known for it, together.  An
  address where the account has been logged in before passes them, and is delayed only by wrong guesses for this account
  from there; so is a client that shows a session of the account, wherever it is.
- An address with many wrong guesses is delayed as a whole, whatever names it tries.

All of this goes by names as they are sent, whether there are such accounts or not: nothing here tells which there are.

Nothing here waits or hashes: `Queue` says who is next at the time that it is given; `accounts.Accounts` does the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar

from hubbub.budgets import Allowance, Bucket
from hubbub.errors import ErrorCode, Refused

__all__ = ["HASHERS", "Attempt", "Queue", "refusal"]

# Passwords that are checked at once.  argon2id at the library's default cost takes tens of milliseconds and 64 MiB:
# two keep a core and most of the memory free.
HASHERS = 2

# Logins that wait: in all, and in one line.
MAX_WAITING = 512
MAX_WAITING_PER_SOURCE = 128
# A login is answered within this time, if only by a refusal.
MAX_WAIT_S = 30.0

# A login that has waited for less is not asked whether its client is still there: one may end its half of the
# connection and wait for the answer.
ASK_AFTER_S = 1.0
# Where a line is full, all of them are asked, but no more often than this: a flood must not make work by its rate.
ASK_EVERY_S = 0.1

# Wrong guesses are forgotten when none has come for this long.
FORGET_S = 900.0
# What is remembered of accounts and addresses, and how many are known by both; beyond that the oldest is forgotten.
MAX_REMEMBERED = 50_000

# Characters of a name that it is remembered by; a longer one is hardly an account's.
KEY_CHARS = 64


class Tempo(NamedTuple):
    """How often passwords are checked.

    Attributes:
        delays: from so many wrong guesses on, one check at a time, and so many seconds after the last one began.
        checks: how many may be begun, right ones included: a second, and at once.
    """

    delays: tuple[tuple[int, float], ...]
    checks: Allowance


# For an account, from all addresses that are not known for it.
OF_ACCOUNT = Tempo(((10, 0.5), (60, 1.0), (120, 2.0), (240, 5.0)), Allowance(4.0, 256.0))
# For an account from an address that is: its owner may be in the same line.
OF_KNOWN = Tempo(((10, 0.5), (60, 1.0), (120, 2.0)), Allowance(4.0, 256.0))
# From an address, for all accounts that it is not known for.  Many users may share it.
OF_SOURCE = Tempo(((20, 0.2),), Allowance(16.0, 1024.0))


@dataclass(eq=False, slots=True)
class Attempt:
    """A login that waits for its password to be checked.

    Attributes:
        user: the name, as it was sent.
        source: the network that it comes from.
        session: a session of this user that it shows; empty without one.
        is_wanted: whether the client still waits for the answer.
        give_up: is called when it has been taken out of the line without its turn.
        deadline: when that happens at the latest.
        guess: tells the same password from another one.
        gates: those that it has been let through.
        place: the key of the line that it is in.
    """

    user: str
    source: str
    session: str
    is_wanted: Callable[[], bool]
    give_up: Callable[[Attempt], None]
    deadline: float = math.inf
    guess: int = 0
    gates: list[Gate] = field(default_factory=list, init=False)
    place: tuple[str, ...] = field(default=(), init=False)


class Gate:
    """Lets logins through at a tempo, which gets slower with wrong guesses."""

    __slots__ = ("_bucket", "_checking", "_failed_at", "_failures", "_started_at", "_tempo")

    def __init__(self, tempo: Tempo, now: float) -> None:
        self._tempo = tempo
        self._bucket = Bucket(tempo.checks, now)
        self._failures = 0
        self._checking = 0
        self._started_at = -math.inf
        self._failed_at = -math.inf

    def opens_at(self, now: float) -> float:
        """When the next login may be checked, unless something happens before; in the past for now."""
        if self._failures and now - self._failed_at > FORGET_S:
            self._failures = 0
        due = now + self._bucket.wait(now)
        delays = self._tempo.delays
        if self._failures + self._checking < delays[0][0]:
            return due
        if self._checking:
            return math.inf
        return max(due, self._started_at + max(seconds for least, seconds in delays if self._failures >= least))

    def start(self, now: float) -> None:
        """Let one through; `end` has to follow."""
        self._bucket.spend(1.0, now)
        self._checking += 1
        self._started_at = now

    def end(self, now: float, *, is_wrong: bool) -> None:
        """Take note of what came of one."""
        self._checking -= 1
        if is_wrong:
            self._failures += 1
            self._failed_at = now

    def forget_failures(self) -> None:
        """Go on as if there had been no wrong guesses."""
        self._failures = 0

    def is_idle(self, now: float) -> bool:
        """Whether it is as good as a new one."""
        is_forgotten = not self._failures or now - self._failed_at > FORGET_S
        return is_forgotten and not self._checking and self._bucket.is_full(now)


class LoginLine:
    """The logins that wait from one address, or for one account from where it is known.

    Names take turns, and so do the passwords that are tried for one; those of the same password are in the order of
    their arrival.
    """

    __slots__ = ("_by_user", "_count")

    def __init__(self) -> None:
        self._by_user: dict[str, dict[int, list[Attempt]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def firsts(self) -> list[Attempt]:
        """The next one of each name, in the order of their turns."""
        return [next(iter(guesses.values()))[0] for guesses in self._by_user.values()]

    def append(self, attempt: Attempt) -> None:
        """Put a login in line."""
        self._by_user.setdefault(attempt.user, {}).setdefault(attempt.guess, []).append(attempt)
        self._count += 1

    def remove(self, attempt: Attempt, *, is_turn: bool = False) -> None:
        """Take a login out of the line; where it has had its turn, its name and its password go behind the others."""
        guesses = self._by_user[attempt.user]
        same = guesses[attempt.guess]
        same.remove(attempt)
        self._count -= 1
        if is_turn or not same:
            del guesses[attempt.guess]
            if same:
                guesses[attempt.guess] = same
        if is_turn or not guesses:
            del self._by_user[attempt.user]
            if guesses:
                self._by_user[attempt.user] = guesses

    def last(self, attempt: Attempt | None = None) -> Attempt | None:
        """The last one of those that there are most of: of one name, then of one password.

        Args:
            attempt: one that is to take the place; None where it has no more right to it.
        """
        longest = max(self._by_user, key=self._count_of, default="")
        own = "" if attempt is None else attempt.user
        if attempt is not None and longest != own and self._count_of(longest) <= self._count_of(own) + 1:
            longest = own
        guesses = self._by_user.get(longest, {})
        same = max(guesses.values(), key=len, default=[])
        if attempt is not None and longest == own and len(same) <= len(guesses.get(attempt.guess, ())) + 1:
            return None
        return same[-1] if same else None

    def _count_of(self, user: str) -> int:
        return sum(map(len, self._by_user.get(user, {}).values()))


class Queue:
    """The logins that wait, and what is remembered of earlier ones.

    Args:
        workers: how many processes share the processor, each with its own queue and its part of the places.
        at_once: how many passwords all of them check at once.

    Attributes:
        hashers: how many passwords are checked at once.
    """

    def __init__(self, workers: int = 1, at_once: int = HASHERS) -> None:
        self.hashers = max(1, at_once // workers)
        self._max_waiting = max(1, MAX_WAITING // workers)
        self._max_per_source = max(1, MAX_WAITING_PER_SOURCE // workers)
        # In the order of their turns.
        self._lines: dict[tuple[str, ...], LoginLine] = {}
        # All that wait, in the order of their arrival, which is that of their deadlines.
        self._waiting: dict[Attempt, None] = {}
        self._checking = 0
        # When those that wait may be asked again whether anybody wants them.
        self._ask_at = -math.inf
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._known: dict[tuple[str, str], None] = {}
        # Whether the last one that was checked came from a known address: the others get every second turn.
        self._was_known = False
        # None that waits can be checked before.
        self._open_at = math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    # In line

    def add(self, attempt: Attempt, now: float) -> None:
        """Put a login in line.

        Raises:
            Refused: `rate_limited` where the line, or this address's part of it, is full.
        """
        place = self._place_of(attempt)
        if self._is_full_for(place) and now >= self._ask_at:
            self._ask_at = now + ASK_EVERY_S
            self._drop_unwanted(now, ask_after_s=0.0)
        if self._length(place) >= self._max_per_source:
            self._make_room_in(self._lines.get(place, LoginLine()), attempt)
        elif len(self._waiting) >= self._max_waiting:
            self._make_room(place)
        attempt.deadline = now + MAX_WAIT_S
        attempt.place = place
        self._lines.setdefault(place, LoginLine()).append(attempt)
        self._waiting[attempt] = None
        self._open_at = min(self._open_at, self._opens_at(attempt, now))

    def remove(self, attempt: Attempt) -> None:
        """Take a login out of the line; one that is not in it is ignored."""
        if attempt in self._waiting:
            del self._waiting[attempt]
            line = self._lines[attempt.place]
            line.remove(attempt)
            if not line:
                del self._lines[attempt.place]

    def _place_of(self, attempt: Attempt) -> tuple[str, ...]:
        """The key of the line that a login belongs to."""
        if self._is_known(attempt):
            return ("known", attempt.session or attempt.source, attempt.user[:KEY_CHARS])
        return ("source", attempt.source)

    def _length(self, place: tuple[str, ...]) -> int:
        return len(self._lines.get(place, ()))

    def _is_full_for(self, place: tuple[str, ...]) -> bool:
        return len(self._waiting) >= self._max_waiting or self._length(place) >= self._max_per_source

    def _make_room(self, place: tuple[str, ...]) -> None:
        """Give one of the longest line up, for the sake of a shorter one."""
        longest = max(self._lines, key=self._length)
        last = self._lines[longest].last()
        if last is None or self._length(longest) <= self._length(place) + 1:
            raise refusal("too many logins wait for their turn")
        self._give_up(last)

    def _make_room_in(self, line: LoginLine, attempt: Attempt) -> None:
        """Give one up of the name, or the password, that takes most of a line, for the sake of another."""
        last = line.last(attempt)
        if last is None:
            raise refusal("too many logins from this address wait for their turn")
        self._give_up(last)

    def _give_up(self, attempt: Attempt) -> None:
        self.remove(attempt)
        attempt.give_up(attempt)

    def _drop_unwanted(self, now: float, ask_after_s: float = ASK_AFTER_S) -> None:
        """Give up those that have waited too long, and those whose client has gone."""
        asked = now + MAX_WAIT_S - ask_after_s
        for attempt in list(self._waiting):
            if attempt.deadline <= now or (attempt.deadline <= asked and not attempt.is_wanted()):
                self._give_up(attempt)

    # Turns

    def next(self, now: float) -> Attempt | None:
        """Take the login out of the line that is checked now, and has to be ended; None where none is."""
        if self._checking >= self.hashers or self._open_at > now:
            return None
        self._drop_unwanted(now)
        chosen = self._choose(now)
        if chosen is None:
            return None
        self._open_at = now  # there may be another
        self._was_known = self._is_known(chosen)
        del self._waiting[chosen]
        line = self._lines.pop(chosen.place)
        line.remove(chosen, is_turn=True)
        if line:
            self._lines[chosen.place] = line  # behind the others
        self._checking += 1
        for key, tempo in self._gates_of(chosen):
            gate = self._gate(key, tempo, now)
            gate.start(now)  # before another one is made, and what is idle is forgotten
            chosen.gates.append(gate)
        return chosen

    def _choose(self, now: float) -> Attempt | None:
        """The first that may be checked, of those that are known and of the others by turns."""
        self._open_at = math.inf
        first: dict[bool, Attempt] = {}
        for line in self._lines.values():
            for attempt in line.firsts():
                opens_at = self._opens_at(attempt, now)
                if opens_at <= now:
                    first.setdefault(self._is_known(attempt), attempt)
                self._open_at = min(self._open_at, opens_at)
        return first.get(not self._was_known) or first.get(self._was_known)

    def end(self, attempt: Attempt, now: float, *, is_right: bool | None) -> None:
        """Take note of what came of a login that was checked; None for one that could not be."""
        self._checking -= 1
        for gate in attempt.gates:
            gate.end(now, is_wrong=is_right is False)
        if is_right:
            self.recognize(attempt.user, attempt.source)
            for key, _ in self._gates_of(attempt):  # as one that is known
                if key in self._gates:
                    self._gates[key].forget_failures()
        self._open_at = -math.inf if self._waiting else math.inf

    def next_at(self, now: float) -> float:
        """When to ask for the next one, unless one is added or ends before; infinite where no time helps."""
        if not self._waiting:
            return math.inf
        deadline = next(iter(self._waiting)).deadline
        return min(deadline, max(self._open_at, now)) if self._checking < self.hashers else deadline

    def expire(self, now: float) -> None:
        """Give up those that have waited too long."""
        self._drop_unwanted(now)

    # Memory

    def recognize(self, user: str, source: str) -> None:
        """Remember that an account is used at an address."""
        remember(self._known, (source, user[:KEY_CHARS]), None)

    def _is_known(self, attempt: Attempt) -> bool:
        return bool(attempt.session) or (attempt.source, attempt.user[:KEY_CHARS]) in self._known

    def _gates_of(self, attempt: Attempt) -> tuple[tuple[tuple[str, ...], Tempo], ...]:
        """What a login has to pass."""
        user, source = attempt.user[:KEY_CHARS], attempt.source
        if self._is_known(attempt):
            return ((("known", attempt.session or source, user), OF_KNOWN),)
        return ((("account", user), OF_ACCOUNT), (("source", source), OF_SOURCE))

    def _opens_at(self, attempt: Attempt, now: float) -> float:
        opens_at = now
        for key, _ in self._gates_of(attempt):
            gate = self._gates.get(key)
            if gate is not None:
                opens_at = max(opens_at, gate.opens_at(now))
        return opens_at

    def _gate(self, key: tuple[str, ...], tempo: Tempo, now: float) -> Gate:
        gate = self._gates.get(key)
        if gate is None:
            self._forget_idle(now)
            gate = Gate(tempo, now)
            remember(self._gates, key, gate)
        return gate

    def _forget_idle(self, now: float) -> None:
        """Look at two of the gates that were not looked at for longest: more go than come."""
        for key in list(islice(self._gates, 2)):
            gate = self._gates.pop(key)
            if not gate.is_idle(now):
                self._gates[key] = gate


Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Put an entry at the end of a bounded memory."""
    memory.pop(key, None)
    if len(memory) >= MAX_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value


def refusal(why: str) -> Refused:
    """Tell a client that its password was not looked at."""
    return Refused(ErrorCode.RATE_LIMITED, f"{why}; try again soon", 5.0)
