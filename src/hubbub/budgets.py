"""Budgets by account and by address: what all the connections of one may use together.

A limit for each connection is multiplied by opening more of them.  So what costs the server something is counted
against the account and against the address, too.  Each has a purse that its connections share, with a bucket for each
use.  What something costs is often known only when it is done: a bucket may be overdrawn, and the next of its kind
waits until it has filled up again.  So nothing is ever too large to be served, and one that comes back after a long
time is served like others.

Behind one address there may be many users (NAT), so it may use as much as many accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from itertools import islice
from typing import NamedTuple

import structlog

from hubbub.settings import Settings

__all__ = [
    "ROW_BYTES",
    "Allowance",
    "Bucket",
    "Budgets",
    "Purse",
    "Purses",
    "Use",
    "overdraw",
    "spend",
    "take_one",
    "wait_for",
]

log = structlog.get_logger("hubbub")

# Purses of accounts, and of addresses.  Beyond them, those without a connection are forgotten whatever they have used.
MAX_PURSES = 100_000
# Purses that are looked at, at a time, whether anybody needs them.
LOOKS = 256

# What an event may have on average before its size counts against an account.
BYTES_PER_EVENT = 4096

# For each event that an account may send, rooms that it may enter: one that comes back has hundreds to enter at once.
JOINS_PER_EVENT = 4

# Connections that an account may open, a second and at once.
OPENINGS_RATE, OPENINGS_BURST = 100.0, 10_000.0

# Connections and joins of a new account or address that are not counted, and how many more there are for each look.
FREE = 64
FREE_A_LOOK = 8

DAY_S = 86_400.0
# How long a key is remembered.
KEY_S = 300.0
# What a post has in the log besides its body, about: room, seq, sender, time, type and check.
ROW_BYTES = 64
# Posts are counted after so many bytes, or a sixteenth of what may be used, if that is less.
MOST_CREDIT = 4096

# Nobody is told to come back later than this.
MAX_RETRY_S = 30.0

# What is over budget is told in the log once in this time.
REPORT_S = 10.0


class Use(Enum):
    """What is counted."""

    # That of `Enum` is written in Python, and each look at a bucket asks for it.
    __hash__ = object.__hash__

    EVENTS = "events"
    IDLE = "pings, pongs and fragments"
    RECEIVED = "bytes received"
    SENT = "bytes asked for"
    JOINS = "rooms entered"
    OPENINGS = "connections opened"
    KEPT = "bytes kept"
    KEYS = "keys remembered"
    ROOMS = "rooms made"


# What one account alone may use; where it comes from does not matter.
OF_ACCOUNT = frozenset({Use.KEPT, Use.KEYS, Use.ROOMS})


class Allowance(NamedTuple):
    """So much a second on average, and so much at once."""

    rate: float
    burst: float

    def times(self, factor: float) -> Allowance:
        """So many times as much."""
        return Allowance(self.rate * factor, self.burst * factor)


class Bucket:
    """What is left of an allowance; it may be less than nothing, by as much as the burst."""

    __slots__ = ("_allowance", "_at", "_last_cost", "_level", "_promised")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._level = allowance.burst
        self._at = now
        self._last_cost = 0.0
        self._promised = now

    def wait(self, now: float) -> float:
        """Seconds until there is something in it; 0 while there is."""
        rate, burst = self._allowance
        self._level = min(burst, self._level + (now - self._at) * rate)
        self._at = now
        return 0.0 if self._level > 0.0 else -self._level / rate + 0.001

    def spend(self, cost: float, now: float) -> None:
        """Take out what something has cost, whatever is left, until a whole burst is owed."""
        self.wait(now)
        self._level = max(self._level - cost, -self._allowance.burst)
        self._last_cost = cost

    def promise(self, now: float) -> float:
        """Seconds after which one that is refused now should ask again.

        Each is told a later moment than the one before, by about what one of them costs, so that those who obey come
        back one after the other.  Thousands that come back at the same moment would be refused again, all but one.
        """
        first = now + self.wait(now)
        self._promised = max(self._promised, first) + self._last_cost / self._allowance.rate
        if self._promised > now + MAX_RETRY_S:
            self._promised = first
        return max(self._promised, first) - now

    def is_full(self, now: float) -> bool:
        """Whether it is as good as a new one."""
        self.wait(now)
        return self._level >= self._allowance.burst


class Purse:
    """What one account, or one address, may use.

    Attributes:
        connections: how many share it.
        free: connections and joins that are still not counted: most accounts never come to the end of it.
        credit: bytes that posts may add to the log before they are counted, by `settle`; each post is on the path of a
            message, so several are counted together.
        keys: those of the posts since the last time.
    """

    __slots__ = ("_buckets", "_full_until", "_granted", "_name", "_register", "connections", "credit", "free", "keys")

    def __init__(self, register: Register, name: str, now: float) -> None:
        self._register = register
        self._name = name
        self._buckets: dict[Use, Bucket] | None = None
        self.connections = 0
        self.free = FREE
        self.keys = 0
        self.credit = self._granted = register.credit
        self._full_until = now

    def settle(self, now: float) -> float:
        """Count the posts since the last time; where there were too many already, the seconds to wait instead."""
        if now < self._full_until:
            self.credit, self.keys = 0.0, 0
            return self._full_until - now
        kept = self._granted - self.credit
        wait = max(overdraw((self,), Use.KEPT, kept, now), overdraw((self,), Use.KEYS, self.keys, now))
        self._full_until = now + wait
        self.keys = 0
        # Each post is looked at where there may be no more, of anything.
        is_scarce = wait or wait_for((self,), Use.ROOMS, now)
        self.credit = self._granted = 0.0 if is_scarce else self._register.credit
        return 0.0

    def bucket(self, use: Use, now: float) -> Bucket | None:
        """What is left for a use; None for one without a limit."""
        if self._buckets is None:
            self._buckets = {}
        bucket = self._buckets.get(use)
        if bucket is None and use in self._register.allowances:
            bucket = self._buckets[use] = Bucket(self._register.allowances[use], now)
        return bucket

    def note_excess(self, use: Use, now: float) -> bool:
        """Count a use over budget; whether it is to be refused."""
        return self._register.note_excess(self._name, use, now)

    def is_idle(self, now: float) -> bool:
        """Whether nobody needs it, and it is as good as a new one."""
        is_untouched = not self.connections and self.free == FREE
        return is_untouched and all(bucket.is_full(now) for bucket in (self._buckets or {}).values())


# The purses that pay for what a connection does: its account's and its address's.
Purses = tuple[Purse, ...]


def wait_for(purses: Purses, use: Use, now: float) -> float:
    """Seconds after which to ask again, where any of the purses is empty; 0 where something may be used."""
    for purse in purses:
        bucket = purse.bucket(use, now)
        if bucket is not None and bucket.wait(now) and purse.note_excess(use, now):
            return bucket.promise(now)
    return 0.0


def take_one(purses: Purses, use: Use, now: float) -> float:
    """Count a connection or a join; where any of the purses is empty, the seconds after which to ask again instead."""
    for purse in purses:
        if purse.free:
            purse.free -= 1
        else:
            wait = wait_for((purse,), use, now)
            if wait:
                return wait
            spend((purse,), use, 1.0, now)
    return 0.0


def spend(purses: Purses, use: Use, cost: float, now: float) -> None:
    """Take out of each purse what something has cost."""
    for purse in purses:
        bucket = purse.bucket(use, now)
        if bucket is not None:
            bucket.spend(cost, now)


def overdraw(purses: Purses, use: Use, cost: float, now: float) -> float:
    """Take out of each purse the cost of what has come already; seconds for which no more of it is wanted."""
    longest = 0.0
    for purse in purses:
        bucket = purse.bucket(use, now)
        if bucket is not None:
            bucket.spend(cost, now)
            wait = bucket.wait(now)
            if wait and purse.note_excess(use, now):
                longest = max(longest, wait)
    return longest


class Register:
    """The purses of all accounts, or of all addresses.

    Args:
        what: these are.

    Attributes:
        credit: bytes that posts may add to the log before they are counted.
    """

    def __init__(self, what: str, allowances: Mapping[Use, Allowance], *, is_enforced: bool) -> None:
        self.allowances = allowances
        self.credit = credit(allowances)
        self._what = what
        self._is_enforced = is_enforced
        self._purses: dict[str, Purse] = {}
        self._excess: Counter[Use] = Counter()
        self._reported_at: dict[Use, float] = {}

    def __len__(self) -> int:
        return len(self._purses)

    def purse(self, name: str, now: float) -> Purse:
        """The one of this name."""
        purse = self._purses.get(name)
        if purse is None:
            if len(self._purses) >= MAX_PURSES:
                self.forget_idle(now)
            purse = self._purses[name] = Purse(self, name, now)
        return purse

    def forget_idle(self, now: float) -> None:
        """Look at those that were not looked at for longest, and forget what nobody needs."""
        is_full = len(self._purses) >= MAX_PURSES
        for name in list(islice(self._purses, LOOKS)):
            purse = self._purses.pop(name)
            if not (purse.is_idle(now) or (is_full and not purse.connections)):
                purse.free = min(FREE, purse.free + FREE_A_LOOK)
                self._purses[name] = purse

    def note_excess(self, name: str, use: Use, now: float) -> bool:
        """Count a use over budget, and tell of it in the log now and then; whether it is to be refused."""
        self._excess[use] += 1
        reported_at = self._reported_at.get(use)
        if reported_at is None or now - reported_at >= REPORT_S:
            self._reported_at[use] = now
            count = self._excess.pop(use)
            log.warning("rate-limited", **{self._what: name}, what=use.value, times=count, is_refused=self._is_enforced)
        return self._is_enforced


class Budgets:
    """What accounts and addresses may use.

    Attributes:
        accounts: a purse for each.
        addresses: a purse for each.
        keys: a purse for each key of another program, with as much in it as an address has.
    """

    def __init__(self, settings: Settings) -> None:
        is_enforced = settings.limits == "enforce"
        of_account = allowances(settings)
        share = settings.address_share
        of_address = (
            {use: each.times(share) for use, each in of_account.items() if use not in OF_ACCOUNT} if share else {}
        )
        self.accounts = Register("account", of_account, is_enforced=is_enforced)
        self.addresses = Register("address", of_address, is_enforced=is_enforced)
        of_key = {use: each.times(share) for use, each in of_account.items()} if share else {}
        self.keys = Register("key", of_key, is_enforced=is_enforced)

    def purses(self, user: str, network: str | None, now: float) -> Purses:
        """The purses of a user's connection from a network; None for one that is exempt."""
        account = self.accounts.purse(user, now)
        return (account,) if network is None else (account, self.addresses.purse(network, now))

    def forget_idle(self, now: float) -> None:
        """Forget some of what nobody needs; to be called a few times a second."""
        self.accounts.forget_idle(now)
        self.addresses.forget_idle(now)
        self.keys.forget_idle(now)


def credit(allowances: Mapping[Use, Allowance]) -> float:
    """Bytes that posts may add to the log before they are counted."""
    most: list[float] = [MOST_CREDIT]
    if Use.KEPT in allowances:
        most.append(allowances[Use.KEPT].burst / 16)
    if Use.KEYS in allowances:
        most.append(allowances[Use.KEYS].burst / 16 * ROW_BYTES)
    return min(most)


def allowances(settings: Settings) -> dict[Use, Allowance]:
    """What one account may use."""
    found = {Use.OPENINGS: Allowance(OPENINGS_RATE, OPENINGS_BURST)}
    if settings.daily_rooms:
        found[Use.ROOMS] = Allowance(settings.daily_rooms / DAY_S, settings.daily_rooms)
    if settings.daily_bytes:
        found[Use.KEPT] = Allowance(settings.daily_bytes / DAY_S, settings.daily_bytes)
    if settings.max_keys_per_account:
        # Half at once and half within the time that a key is remembered: so never more than that many.
        half = settings.max_keys_per_account / 2
        found[Use.KEYS] = Allowance(half / KEY_S, half)
    if settings.replay_rate:
        found[Use.SENT] = Allowance(settings.replay_rate, max(settings.replay_burst, settings.replay_rate))
    events = Allowance(settings.client_rate, max(settings.client_burst, 1.0)).times(settings.account_share)
    if events.rate:
        found[Use.EVENTS] = found[Use.IDLE] = events
        found[Use.RECEIVED] = events.times(BYTES_PER_EVENT)
        found[Use.JOINS] = events.times(JOINS_PER_EVENT)
    return found
