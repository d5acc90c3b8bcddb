"""The memory engine: the readable reference, for tests and trials.  What it holds is gone with the process."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from hubbub.engine import Account, Deliver, Draft, Grant, Head, Page, Receipt
from hubbub.engine.stamp import Keys, Place, stamp
from hubbub.engine.tickets import Tickets
from hubbub.events import Message

__all__ = ["MemoryEngine"]

# Memory is dear: whatever retention is asked for, a room keeps no more than this.
MOST_KEPT = 10_000


class RoomLog(Place):
    """One room's newest messages."""

    __slots__ = ("messages",)

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.messages: deque[Message] = deque(maxlen=keep)


class MemoryEngine(Tickets):
    """Log, bus and vault in dictionaries.

    Args:
        clock: seconds that never go back, for one-time passwords.
        wall: seconds since 1970, for everything else.
        keep: messages kept of a room; 0 for as many as it keeps of any.
        keep_s: seconds that a message is kept; 0 for ever.
    """

    def __init__(
        self, *, clock: Callable[[], float], wall: Callable[[], float], keep: int = 0, keep_s: float = 0
    ) -> None:
        super().__init__(clock)
        self._wall = wall
        self._keep_s = keep_s
        self._keep = min(keep or MOST_KEPT, MOST_KEPT)
        self._epoch = secrets.token_hex(8)
        self._keys = Keys()
        self._logs: dict[str, RoomLog] = {}
        self._subscribed: set[str] = set()
        self._deliver: Deliver = lambda _room, _messages: None
        self._accounts: dict[str, Account] = {}
        self._sessions: dict[str, tuple[Grant, float]] = {}

    async def open(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def close(self) -> None:
        self._subscribed.clear()

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        stamped = stamp(batch, self._log, self._keys, int(self._wall() * 1000))
        for room, messages in stamped.fresh.items():
            self._logs[room].messages += messages
            if room in self._subscribed:
                self._deliver(room, messages)
        return stamped.receipts

    def _log(self, room: str) -> RoomLog:
        log = self._logs.get(room)
        if log is None:
            log = self._logs[room] = RoomLog(self._keep)
        return log

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        log = self._logs.get(room)
        if log is None:
            return Page(Head(self._epoch, 0), [], more=False)
        self._drop_old(log)
        first = log.seq - len(log.messages) + 1
        if after is not None:
            start = max(after + 1, first)
            stop = min(start + limit, log.seq + 1)
            more = stop <= log.seq
        else:
            stop = min(before if before is not None else log.seq + 1, log.seq + 1)
            start = max(stop - limit, first)
            more = start > first
        found = list(islice(log.messages, start - first, max(stop - first, 0)))
        return Page(Head(self._epoch, log.seq), found, more)

    def _drop_old(self, log: RoomLog) -> None:
        oldest_ms = (self._wall() - self._keep_s) * 1000 if self._keep_s else 0
        while log.messages and log.messages[0].sent < oldest_ms:
            log.messages.popleft()

    async def head(self, room: str) -> Head:
        log = self._logs.get(room)
        return Head(self._epoch, log.seq if log else 0)

    # Bus

    def subscribe(self, room: str) -> None:
        self._subscribed.add(room)

    def unsubscribe(self, room: str) -> None:
        self._subscribed.discard(room)

    # Vault

    async def account(self, user: str) -> Account | None:
        return self._accounts.get(user)

    async def put_account(self, account: Account) -> None:
        self._accounts[account.user] = account

    async def has_accounts(self) -> bool:
        return bool(self._accounts)

    async def put_session(self, grant: Grant, expires: float) -> None:
        # Sessions all live equally long, so the oldest come first and expired ones leave from the front.
        now = self._wall()
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][1] > now:
                break
            del self._sessions[oldest]
        self._sessions[grant.session] = (grant, expires)

    async def session(self, session: str) -> Grant | None:
        found = self._sessions.get(session)
        return found[0] if found and self._wall() < found[1] else None

    async def end_session(self, session: str) -> None:
        self._sessions.pop(session, None)
        self.drop_session(session)

    async def live_sessions(self) -> set[str]:
        now = self._wall()
        return {session for session, (_, expires) in self._sessions.items() if now < expires}
