"""The engine's port: shared state behind one URL.  Everything above is the same whatever the URL says.

An engine is one object with four small interfaces, `Log`, `Bus`, `Attendance` and `Vault`.  The promises in their
docstrings are what the contract tests hold every engine to; `memory` is the readable reference.  `urls` opens the one
that a URL names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Protocol

import msgspec

from hubbub.acts import Role
from hubbub.engine.access import MAX_INVITATIONS, Access, AccessVault, Change, WhyNot
from hubbub.engine.amends import Amend
from hubbub.engine.following import MAX_FOLLOWED, Followed, Following, FollowVault, RoomOutline
from hubbub.engine.grants import Grant
from hubbub.engine.keys import MAX_KEYS, ApiKey, KeyKept, KeyRight, KeyVault
from hubbub.engine.people import NewUser, PeopleVault, Profile, SignUp, SignUpLink
from hubbub.engine.searching import Hits, Searching, Spot, TooLong
from hubbub.errors import KeyConflict, Stale
from hubbub.events import Message

__all__ = [
    "ERASE_S",
    "MAX_FOLLOWED",
    "MAX_INVITATIONS",
    "MAX_KEYS",
    "Access",
    "Account",
    "Amend",
    "ApiKey",
    "Attendance",
    "Bus",
    "Change",
    "Draft",
    "Engine",
    "FollowVault",
    "Followed",
    "Following",
    "Grant",
    "Head",
    "Hits",
    "KeyKept",
    "KeyRight",
    "Listener",
    "Log",
    "NewUser",
    "OtpLimit",
    "Outcome",
    "Page",
    "Profile",
    "Receipt",
    "Resumed",
    "RoomOutline",
    "Searching",
    "SignUp",
    "SignUpLink",
    "Spot",
    "TooLong",
    "UserList",
    "Vault",
    "WhyNot",
]


class Draft(msgspec.Struct, gc=False):
    """An event on its way into a room's log.

    Attributes:
        key: names it for its sender, where given: one key is kept once.
        amends: earlier bodies of the room that are replaced as it is kept, both or neither.
    """

    room: str
    type: str
    body: bytes
    sender: str | None = None
    key: str | None = None
    amends: tuple[Amend, ...] = ()


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where the log put a draft.  `repeated`: it was there already, by its key, and nothing was added."""

    seq: int
    sent: int
    repeated: bool = False


# Seconds within which a body that was replaced is gone from the engine's files.
ERASE_S = 5.0


# What became of a draft of a batch that was kept.
Outcome = Receipt | KeyConflict | Stale


class Head(msgspec.Struct, frozen=True):
    """How far a room's log has come.  A seq means something only together with its epoch."""

    epoch: str
    seq: int


class Page(msgspec.Struct, frozen=True):
    """Messages of one room, oldest first, read at one moment; `more` says that the log held others beyond the limit."""

    head: Head
    messages: list[Message]
    more: bool


class Resumed(msgspec.Struct, frozen=True):
    """What a client has missed since a place in a room's log.

    Attributes:
        page: the messages next after that place, or the newest ones where `is_recovered` is false.
        is_recovered: whether the place is one of this log, and the log still holds every message after it.
    """

    page: Page
    is_recovered: bool


class UserList(msgspec.Struct, frozen=True):
    """Users in a room: the first names in alphabetical order, up to the limit asked for, and how many there are."""

    users: list[str]
    count: int


class Account(msgspec.Struct, frozen=True):
    """A user who can log in, unless it is blocked: the name, an argon2id hash, and the role."""

    user: str
    password_hash: str
    role: Role = Role.MEMBER
    is_blocked: bool = False


class OtpLimit(Enum):
    """Why a one-time password was not issued."""

    OF_ACCOUNT = auto()
    IN_ALL = auto()


class Listener(Protocol):
    """What an engine tells its process.

    Each method is called on the event loop, waits for nothing and raises nothing.  Those with a room are called for
    subscribed rooms alone.
    """

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        """New messages of the room's log: in the order of their seqs, each once, with no hole but those told by `hole`.

        Those of this process's own `append` come before it returns, in the same turn of the loop, and whoever has
        called it flushes; those that come from elsewhere are followed by a `flush` of the engine's.
        """
        ...

    def flush(self) -> None:
        """Pass on what was delivered from elsewhere since the last flush."""
        ...

    def hole(self, room: str, first: int, last: int) -> None:
        """The log has lost these seqs, both included, before they could be delivered; delivery goes on after them."""
        ...

    def rewound(self, room: str, head: Head) -> None:
        """The room's log goes on under the epoch of `head`, after its seq.

        Where more than that seq was delivered, the rest is not in the log: other messages will get those seqs.
        """
        ...

    def heard(self, room: str, type_: str, payload: bytes) -> None:
        """An event that is not kept; `payload` is a JSON object."""
        ...

    def came(self, room: str, user: str) -> None:
        """A user's first connection, on any node, has entered the room."""
        ...

    def went(self, room: str, user: str) -> None:
        """A user's last connection, on any node, has left the room."""
        ...

    def ended(self, session: str) -> None:
        """A session has ended before its time, by anyone's hand."""
        ...


class Log(Protocol):
    """Ordered, durable messages by room."""

    @property
    def lanes(self) -> int:
        """How many batches may usefully be under way at once; `lane` tells which of a batch's drafts go together."""
        ...

    def lane(self, room: str) -> int:
        """The lane of a room, from 0 up to `lanes`.  Rooms of different lanes do not wait for each other."""
        ...

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        """Keep a batch; one outcome for each draft, in order.

        A draft whose key is known adds nothing: it gets a repeated receipt where it has the type and the body of the
        first one, a `KeyConflict` where it has others.  A key is known for `DEDUPE_WINDOW_MS` of a clock that never
        goes back, and counts only while the log is open.  `sent` is wall time, and never goes back in a room.

        A draft with `amends` replaces those bodies in the same step: whoever reads the log sees both or neither, and so
        does the next process after a crash.  Where a body is not as expected, or is not in the log any more, nothing of
        that draft is kept, and its outcome is `Stale`; a known key is looked at first.  What was replaced is in no
        answer of the log from then on, and within `ERASE_S` in nothing that the engine has written.

        On return the messages are as durable as the engine promises, and each subscribed room's new messages have been
        handed to the listener, in the order of their seqs.  A room's seq rises by exactly one from 1.  Several calls
        may be under way; what two of them say in one room is kept in the order of the calls.

        Raises:
            NotKept: nothing of the batch was kept.
            NotKnown: all of the batch was kept, or nothing; a draft with a key may be appended again.
        """
        ...

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        """The messages next after `after` or next before `before` (the newest, with neither), `limit` at most.

        Raises:
            EngineError: the log cannot be read.
        """
        ...

    async def resume(self, room: str, since: Head, limit: int) -> Resumed:
        """What came after a place that a client names, judged by the log itself; `limit` messages at most.

        Raises:
            EngineError: the log cannot be read.
        """
        ...

    async def head(self, room: str) -> Head:
        """The epoch and the last seq of a room; seq 0 where nothing was said.

        Raises:
            EngineError: the log cannot be read.
        """
        ...

    async def title(self, room: str) -> str:
        """How a room's name is written for show; empty where nothing was put.

        Raises:
            EngineError: it cannot be read.
        """
        ...

    async def put_title(self, room: str, title: str) -> None:
        """Keep how a room's name is written; what was put before stays.

        Raises:
            EngineError: it could not be kept.
        """
        ...

    async def empty(self, room: str) -> None:
        """Delete all messages that a room holds, some at a time; its title and its read marks stay.

        Its seqs go on after the last: none is given again.

        Raises:
            EngineError: some of it may not be deleted.
        """
        ...

    async def clear(self, room: str) -> None:
        """Delete all that a room holds, its title and its read marks too, some at a time.

        Its seqs go on after the last: none is given again.

        Raises:
            EngineError: some of it may not be deleted.
        """
        ...


class Bus(Protocol):
    """Tells this process what happens in the rooms that it subscribes to, whichever process it happens in."""

    async def subscribe(self, room: str) -> None:
        """Begin to tell the listener of a room: what is appended after the return is delivered.

        Raises:
            EngineError: the room cannot be subscribed to.
        """
        ...

    def unsubscribe(self, room: str) -> None:
        """Tell the listener no more of a room."""
        ...

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        """Tell every process's listener (`heard`) an event that is not kept.  Some may miss it; nobody waits for it."""
        ...


class Attendance(Protocol):
    """Who is in a room, on all nodes, and how far each user has read it."""

    def enter(self, room: str, user: str) -> None:
        """Note a user's first connection of this process in a room.  Does not wait.

        Where it is the user's first on any node, every listener is told (`came`).
        """
        ...

    def leave(self, room: str, user: str) -> None:
        """Note that a user's last connection of this process has left a room; listeners are told by `went`."""
        ...

    async def members(self, room: str, limit: int) -> UserList:
        """The users in a room.

        Raises:
            EngineError: they cannot be read.
        """
        ...

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        """Keep how far a user has read; it never goes back.  The furthest mark, which outlives the process.

        A seq of 0 leaves nothing.

        Raises:
            EngineError: it could not be kept.
        """
        ...

    async def read_mark(self, room: str, user: str) -> int:
        """How far a user has read a room; 0 before the first mark.

        Raises:
            EngineError: it cannot be read.
        """
        ...


class Vault(AccessVault, PeopleVault, KeyVault, Protocol):
    """Accounts, session tokens and one-time passwords, and who may do what.

    Secrets come in hashed; only hashes are kept.

    One-time passwords and sessions expire by a clock that never goes back: however the wall clock jumps, while the
    engine is open a session ends after its time and not before.  The end of a session that outlives the process is
    kept as wall time, and counted from the wall clock as it is when the engine is made again.
    Each method raises `EngineError` where shared state cannot be read or changed.
    """

    async def account(self, user: str) -> Account | None: ...

    async def accounts(self) -> list[str]:
        """The names of all users that have an account, sorted."""
        ...

    async def has_accounts(self) -> bool:
        """Whether there is anyone who could log in."""
        ...

    async def put_account(self, account: Account) -> None:
        """Add an account, or change its password: then the user's sessions and one-time passwords end.

        The role is for a new account: that of one that is there stays, and so does a block.
        """
        ...

    async def remove_account(self, user: str) -> bool:
        """Remove an account, its invitations and what it follows; the user's sessions and one-time passwords end.

        False where there is none.
        """
        ...

    async def put_setup(self, secret: str) -> None:
        """Keep one more secret with which the first account can be made, while there is none."""
        ...

    async def take_setup(self, secret: str) -> bool:
        """Use a secret of `put_setup` up, and every other one with it.  False where there is an account already."""
        ...

    async def put_session(self, grant: Grant, ttl_s: float, most: int = 0) -> None:
        """Keep a session for `ttl_s` seconds.

        Args:
            most: live sessions of its user, this one included; the oldest beyond them end.  0 is no limit.
        """
        ...

    async def session(self, session: str) -> Grant | None:
        """The grant of a live session token, by its hash."""
        ...

    async def end_session(self, session: str) -> None:
        """Forget a session and every one-time password that it was given."""
        ...

    async def end_sessions(self, user: str) -> int:
        """Do the same with all sessions of a user, and forget its one-time passwords of sessions that are not kept.

        How many sessions lived.
        """
        ...

    async def alive(self, sessions: Collection[str]) -> set[str]:
        """Those of the sessions that live; one that is missing has expired or ended, by whoever's hand."""
        ...

    async def issue_otp(
        self, otp: str, grant: Grant, *, ttl_s: float, per_account: int, in_all: int
    ) -> OtpLimit | None:
        """Keep a one-time password for `ttl_s` seconds, in one step with the limits to outstanding ones (0 for none).

        Returns:
            None where it was issued; the limit that kept it from being issued otherwise.
        """
        ...

    async def take_otp(self, otp: str) -> Grant | None:
        """Use a one-time password up.  Atomic: of two racing takes, one gets the grant.

        None for one that is unknown, used, expired (at its expiry to the millisecond), or whose session has ended,
        where the vault keeps that (`Grant.is_kept`).
        """
        ...


class Engine(Log, Bus, Attendance, Vault, FollowVault, Searching, Protocol):
    """One place for all shared state, opened once and closed once."""

    @property
    def is_shared(self) -> bool:
        """Whether several processes can use it at once."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether it is known to be reachable, as of the last thing that was asked of it."""
        ...

    async def open(self, listener: Listener) -> None:
        """Start.

        Raises:
            ConfigError: the URL names something that cannot be used.
        """
        ...

    async def close(self) -> None: ...
