"""The engine: shared state behind one URL.  Everything above is the same whatever the URL says.

An engine is one object with three small interfaces, `Log`, `Bus` and `Vault`.  The promises in their
docstrings are what the contract tests hold every engine to; `memory` is the readable reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from hubbub.errors import ConfigError
from hubbub.events import Message

__all__ = [
    "Account",
    "Bus",
    "Deliver",
    "Draft",
    "Engine",
    "Grant",
    "Head",
    "Log",
    "Page",
    "Receipt",
    "Vault",
    "open_engine",
]


class Draft(msgspec.Struct, gc=False):
    """An event on its way into a room's log.  `key`, where given, names it for its sender: one key is kept once."""

    room: str
    type: str
    body: bytes
    sender: str | None = None
    key: str | None = None


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where the log put a draft.  `repeated`: it was there already, by its key, and nothing was added."""

    seq: int
    sent: int
    repeated: bool = False


class Head(msgspec.Struct, frozen=True):
    """How far a room's log has come.  A seq means something only together with its epoch."""

    epoch: str
    seq: int


class Page(msgspec.Struct, frozen=True):
    """Messages of one room, oldest first, read at one moment; `more` says that the log held others beyond the limit."""

    head: Head
    messages: list[Message]
    more: bool


class Grant(msgspec.Struct, frozen=True):
    """Who a one-time password or a session token stands for.  `session` is the hash of the token, never the token."""

    user: str
    session: str


class Account(msgspec.Struct, frozen=True):
    """A user who can log in: the name, and an argon2id hash."""

    user: str
    password_hash: str


Deliver = Callable[[str, Sequence[Message]], None]


class Log(Protocol):
    """Ordered, durable messages by room."""

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        """Keep a batch; one receipt for each draft, in order.  One batch at a time: the next one waits for the return.

        On return the messages are as durable as the engine promises, and each subscribed room's new messages
        have been handed to the bus, in the order of their seqs.  A room's seq rises by exactly one from 1.

        Raises:
            EngineError: nothing of the batch was kept.
        """
        ...

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        """The messages next after `after` or next before `before` (the newest, with neither), `limit` at most."""
        ...

    async def head(self, room: str) -> Head:
        """The epoch and the last seq of a room; seq 0 where nothing was said."""
        ...


class Bus(Protocol):
    """Hands the messages of subscribed rooms to this process, whichever process appended them."""

    def subscribe(self, room: str) -> None:
        """Begin to deliver a room's messages, in seq order, to the function given to `open`."""
        ...

    def unsubscribe(self, room: str) -> None: ...


class Vault(Protocol):
    """Accounts, session tokens and one-time passwords.  Secrets come in hashed; only hashes are kept.

    A one-time password expires by the engine's `clock`, a session, which outlives the process, by its `wall` time.
    """

    async def account(self, user: str) -> Account | None: ...

    async def put_account(self, account: Account) -> None:
        """Add an account, or change its password."""
        ...

    async def has_accounts(self) -> bool:
        """Whether there is anyone who could log in."""
        ...

    async def put_session(self, grant: Grant, expires: float) -> None: ...

    async def session(self, session: str) -> Grant | None:
        """The grant of a live session token, by its hash."""
        ...

    async def end_session(self, session: str) -> None:
        """Forget a session and every one-time password that it was given."""
        ...

    async def live_sessions(self) -> set[str]:
        """All sessions that live; one that is missing has ended, by whoever's hand."""
        ...

    async def put_otp(self, otp: str, grant: Grant, expires: float) -> None: ...

    async def take_otp(self, otp: str) -> Grant | None:
        """Use a one-time password up.  Atomic: of two racing takes, one gets the grant.

        None for one that is unknown, used, expired (at its expiry to the millisecond), or whose session has ended.
        """
        ...

    async def outstanding_otps(self, user: str) -> tuple[int, int]:
        """How many live one-time passwords this user has, and how many there are in all."""
        ...


class Engine(Log, Bus, Vault, Protocol):
    """One place for all shared state, opened once and closed once."""

    async def open(self, deliver: Deliver) -> None:
        """Start; `deliver(room, messages)` is called, on this event loop, for each subscribed room.

        Raises:
            ConfigError: the URL names something that cannot be used.
        """
        ...

    async def close(self) -> None: ...


def open_engine(
    url: str, *, clock: Callable[[], float], wall: Callable[[], float], keep: int = 0, keep_s: float = 0
) -> Engine:
    """Make the engine that a URL names; it is opened by the server.

    Args:
        url: `memory://`, or `sqlite:///` and a path (`sqlite:////` and the rest of an absolute one), with
            `?durability=full` for an fsync a batch.
        clock: seconds that never go back.
        wall: seconds since 1970.
        keep: messages kept of a room; 0 for all.
        keep_s: seconds that a message is kept; 0 for ever.

    Raises:
        ConfigError: for a URL that names no engine.
    """
    from hubbub.engine.memory import MemoryEngine
    from hubbub.engine.sqlite import SqliteEngine

    if url == "memory://":
        return MemoryEngine(clock=clock, wall=wall, keep=keep, keep_s=keep_s)
    path, _, query = url.removeprefix("sqlite:///").partition("?")
    if not url.startswith("sqlite:///") or not path or query not in ("", "durability=full", "durability=normal"):
        raise ConfigError(f"--engine {url!r} names no engine; it is memory:// or sqlite:///FILE[?durability=full]")
    durability = query.removeprefix("durability=") or "normal"
    return SqliteEngine(Path(path), clock=clock, wall=wall, durability=durability, keep=keep, keep_s=keep_s)
