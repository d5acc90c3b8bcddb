"""Who may do what, how often, how much: the rules that need no state beyond their own few numbers."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter

from hubbub.budgets import Purses, Use, overdraw, spend, wait_for
from hubbub.errors import ErrorCode, Refused
from hubbub.naming import is_user_name

__all__ = [
    "Places",
    "Rate",
    "RateLimit",
    "check_chosen_password",
    "check_key",
    "check_password",
    "check_text",
    "check_user_name",
    "is_allowed_origin",
    "is_loopback",
    "network_of",
    "retry_after",
]

# A client may run over its rate for this long at ten times the rate before it counts as flooding.
FLOOD_FACTOR = 10
FLOOD_S = 5.0

# Events, and other frames, that a client takes at once from what its account may send; no account's budget counts them
# where they took it longer than this, in seconds.
CREDIT = 16
CREDIT_S = 16.0

MAX_PASSWORD_CHARS = 1024
# Of a password that a user chooses, by itself, for an account that is there or by a link: what the operator sets may be
# shorter, and is the operator's to answer for.
MIN_CHOSEN_CHARS = 8

# A key is a name like a UUID, and is remembered for a while.
MAX_KEY_CHARS = 128


def check_user_name(name: str, longest: int) -> None:
    """Refuse (`bad_payload`) what is not a user name."""
    if len(name) > (longest or len(name)) or not is_user_name(name):
        raise Refused(
            ErrorCode.BAD_PAYLOAD,
            f"{name[:40]!r} is not a user name: 1 to {longest or 'any number of'} of a-z 0-9 . _ -",
        )


def check_password(password: str) -> None:
    """Refuse (`bad_payload`) what is not a password."""
    if not 1 <= len(password) <= MAX_PASSWORD_CHARS:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"a password has 1 to {MAX_PASSWORD_CHARS} characters")


def check_chosen_password(password: str) -> None:
    """Refuse (`bad_payload`) what a user may not choose for a password."""
    if not MIN_CHOSEN_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise Refused(
            ErrorCode.BAD_PAYLOAD, f"a new password has {MIN_CHOSEN_CHARS} to {MAX_PASSWORD_CHARS} characters"
        )


def check_text(text: str, longest: int) -> None:
    """Refuse a message that is empty (`bad_payload`) or longer than `longest` characters (`too_large`)."""
    if not text:
        raise Refused(ErrorCode.BAD_PAYLOAD, "a message has at least 1 character - at `payload.message`")
    if longest and len(text) > longest:
        raise Refused(ErrorCode.TOO_LARGE, f"a message has at most {longest} characters, this one {len(text)}")


def check_key(key: str) -> None:
    """Refuse a key that names no message, or is longer than a name (`bad_payload`)."""
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise Refused(
            ErrorCode.BAD_PAYLOAD, f"a key has 1 to {MAX_KEY_CHARS} characters, this one {len(key)} - at `payload.key`"
        )


class RateLimit:
    """How many events a client may send: `rate` a second on average, `burst` at once; a rate of 0 is no limit."""

    __slots__ = ("burst", "flood", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = max(burst, 1.0)
        self.flood = rate * FLOOD_FACTOR


class Rate:
    """One client's use of a `RateLimit`: a token bucket, and a second one for what ran over the first.

    What it lets through is also taken from the purses of the client's account and address, `CREDIT` at a time, and not
    at all where that many took longer than `CREDIT_S`: who says so little costs nobody anything.

    Args:
        purses: of the client's account and address.
    """

    __slots__ = (
        "_at",
        "_credit",
        "_drawn_at",
        "_excess",
        "_idle_credit",
        "_idle_drawn_at",
        "_idle_until",
        "_limit",
        "_purses",
        "_tokens",
        "_until",
    )

    def __init__(self, limit: RateLimit, now: float, purses: Purses = ()) -> None:
        self._limit = limit
        self._tokens = limit.burst
        self._excess = 0.0
        self._at = now
        self._purses = purses
        self._credit = self._idle_credit = CREDIT
        self._drawn_at = self._idle_drawn_at = now
        self._until = self._idle_until = now

    def take(self, now: float) -> bool:
        """Count one event at `now`, in seconds; False when it is over the rate, or its account is over its budget."""
        limit = self._limit
        elapsed = now - self._at
        self._at = now
        tokens = self._tokens + elapsed * limit.rate
        if self._excess:
            self._excess = max(0.0, self._excess - elapsed * limit.flood)
        if tokens >= 1.0 and (self._credit or self._draw(now)):
            self._credit -= 1
            self._tokens = min(tokens, limit.burst) - 1.0
            return True
        self._tokens = min(tokens, limit.burst)
        self._excess += 1.0
        return False

    def _draw(self, now: float) -> bool:
        if now - self._drawn_at < CREDIT_S:
            wait = wait_for(self._purses, Use.EVENTS, now)
            if wait:
                self._until = now + wait
                return False
            spend(self._purses, Use.EVENTS, CREDIT, now)
        self._drawn_at = now
        self._credit = CREDIT
        return True

    def take_idle(self, now: float, count: int = 1) -> bool:
        """Count frames that are no events; False when one is over the rate, or their account is over its budget.

        They are not counted as events of the account.
        """
        limit = self._limit
        elapsed = now - self._at
        self._at = now
        tokens = min(self._tokens + elapsed * limit.rate, limit.burst)
        within = min(count, int(tokens))
        self._tokens = tokens - within
        self._excess = max(0.0, self._excess - elapsed * limit.flood) + count - within
        self._idle_credit -= count
        if self._idle_credit <= 0:
            used, self._idle_credit = CREDIT - self._idle_credit, CREDIT
            if now - self._idle_drawn_at < CREDIT_S:
                self._idle_until = now + overdraw(self._purses, Use.IDLE, used, now)
            self._idle_drawn_at = now
        return within == count and now >= self._idle_until

    @property
    def rest_s(self) -> float:
        """Seconds for which no frames that are no events are wanted; none where it is about to be closed for a flood.

        What is not read is not counted, so that long rests would keep a flood from its end.
        """
        return self._idle_until - self._at if self._excess <= self._limit.burst else 0.0

    @property
    def is_exceeded(self) -> bool:
        """Whether events have come over the rate lately: in the time that it takes to forget them."""
        return self._excess > 0.0

    @property
    def is_flooding(self) -> bool:
        """Whether the events over the rate have come faster than ten times the rate for about five seconds."""
        return self._excess > self._limit.flood * FLOOD_S

    @property
    def retry_after(self) -> float:
        """Seconds until the next event will be let in."""
        return max(0.0, (1.0 - self._tokens) / self._limit.rate, self._until - self._at)


class Places:
    """How many connections there may be, in all and from one address, or one /64 of IPv6; 0 is no limit."""

    def __init__(self, in_all: int, per_address: int) -> None:
        self._most = in_all
        self._most_per_address = per_address
        self._taken = 0
        self._by_network: Counter[str] = Counter()

    def take(self, address: str) -> str | None:
        """Take a place; a sentence instead of None when there is none."""
        if self.are_taken:
            return f"this server is full: {self._most} connections"
        is_counted = bool(self._most_per_address) and not is_loopback(address)
        network = network_of(address) if is_counted else ""
        if is_counted and self._by_network[network] >= self._most_per_address:
            return f"too many connections from {address}: {self._most_per_address}"
        self._taken += 1
        if is_counted:
            self._by_network[network] += 1
        return None

    def free(self, address: str) -> None:
        """Give a taken place back."""
        self._taken -= 1
        network = network_of(address)
        if network in self._by_network:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    @property
    def are_taken(self) -> bool:
        """Whether there is none left, for whomever."""
        return bool(self._most) and self._taken >= self._most

    @property
    def are_scarce(self) -> bool:
        """Whether no more than the last eighth of all is free."""
        return bool(self._most) and self._most - self._taken <= self._most // 8


def retry_after(seconds: float) -> str:
    """A `Retry-After` header's value (RFC 9110 section 10.2.3): whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


def is_loopback(address: str) -> bool:
    """Whether a peer's address is this machine's own."""
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the /64 that an IPv6 host may choose its own address from."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))


DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_allowed_origin(origin: str | None, host: str, allowed: tuple[str, ...], *, is_tls: bool) -> bool:
    """Whether a page of this origin may connect.

    A page may connect from a listed origin and from the server's own: the same host and port as `Host`, by https.
    Without TLS of its own the server may be reached by http, or by https through a proxy, so both are its own.
    A request without an Origin comes from a program, not from a page, and is let in (RFC 6455 section 10.2).

    Args:
        allowed: the listed origins.
        is_tls: whether the server has TLS of its own.
    """
    if origin is None:
        return True
    origin = origin.lower()
    if origin in (listed.lower().rstrip("/") for listed in allowed):
        return True
    scheme, _, netloc = origin.partition("://")
    if not netloc or scheme not in (("https",) if is_tls else DEFAULT_PORTS):
        return False
    default = DEFAULT_PORTS[scheme]
    return with_port(netloc, default) == with_port(host.lower(), default)


def with_port(netloc: str, default: str) -> str:
    """A host with its port, by default `default`; an IPv6 address has colons of its own, in brackets."""
    return netloc if ":" in netloc.rpartition("]")[2] else netloc + default
