"""The memory engine: the readable reference, for tests and trials.  What it holds is gone with the process."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from hubbub.engine import Account, Deliver, Draft, Grant, Head, Page, Receipt
from hubbub.events import Message

__all__ = ["MemoryEngine"]

KEPT_PER_ROOM = 10_000
DEDUPE_WINDOW_S = 300.0


class RoomLog:
    """One room's newest messages and the keys of its recent senders."""

    __slots__ = ("keys", "messages", "seq")

    def __init__(self, keep: int) -> None:
        self.seq = 0
        self.messages: deque[Message] = deque(maxlen=keep)
        self.keys: dict[tuple[str, str], tuple[Receipt, float]] = {}

    def forget_keys(self, now: float) -> None:
        """Drop the keys past the window.  They are in order of time, so only those are touched."""
        while self.keys:
            oldest = next(iter(self.keys))
            if self.keys[oldest][1] + DEDUPE_WINDOW_S > now:
                return
            del self.keys[oldest]


class MemoryEngine:
    """Log, bus and vault in dictionaries.

    Args:
        clock: seconds that never go back; expiry is judged by it.
        wall: seconds since 1970, for the `sent` of messages.
        keep: messages kept of a room.
    """

    def __init__(
        self, *, clock: Callable[[], float], wall: Callable[[], float] = time.time, keep: int = KEPT_PER_ROOM
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._wall = wall
        self._epoch = secrets.token_hex(8)
        self._logs: dict[str, RoomLog] = {}
        self._subscribed: set[str] = set()
        self._deliver: Deliver = lambda _room, _messages: None
        self._accounts: dict[str, Account] = {}
        self._sessions: dict[str, tuple[Grant, float]] = {}
        self._otps: dict[str, tuple[Grant, float]] = {}
        self._otps_of: dict[str, int] = {}

    async def open(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def close(self) -> None:
        self._subscribed.clear()

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Receipt]:
        sent = int(self._wall() * 1000)
        fresh: dict[str, list[Message]] = {}
        receipts = []
        for draft in batch:
            log = self._logs.get(draft.room)
            if log is None:
                log = self._logs[draft.room] = RoomLog(self._keep)
            if draft.key is not None:
                receipt = self._repeat(log, draft)
                if receipt is not None:
                    receipts.append(receipt)
                    continue
            log.seq += 1
            message = Message(draft.room, log.seq, sent, draft.sender, draft.type, draft.body)
            receipt = Receipt(log.seq, sent)
            log.messages.append(message)
            receipts.append(receipt)
            if draft.key is not None:
                log.keys[draft.sender or "", draft.key] = (receipt, self._clock())
            if draft.room in fresh:
                fresh[draft.room].append(message)
            else:
                fresh[draft.room] = [message]
        for room, messages in fresh.items():
            if room in self._subscribed:
                self._deliver(room, messages)
        return receipts

    def _repeat(self, log: RoomLog, draft: Draft) -> Receipt | None:
        log.forget_keys(self._clock())
        found = log.keys.get((draft.sender or "", draft.key or ""))
        return Receipt(found[0].seq, found[0].sent, repeated=True) if found else None

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        log = self._logs.get(room)
        if log is None:
            return Page(Head(self._epoch, 0), [], more=False)
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

    async def put_session(self, grant: Grant, expires: float) -> None:
        # Sessions all live equally long, so the oldest come first and expired ones leave from the front.
        now = self._clock()
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][1] > now:
                break
            del self._sessions[oldest]
        self._sessions[grant.session] = (grant, expires)

    async def session(self, session: str) -> Grant | None:
        found = self._sessions.get(session)
        return found[0] if found and self._clock() < found[1] else None

    async def end_session(self, session: str) -> None:
        self._sessions.pop(session, None)
        for otp in [otp for otp, (grant, _) in self._otps.items() if grant.session == session]:
            self._drop_otp(otp)

    async def put_otp(self, otp: str, grant: Grant, expires: float) -> None:
        self._otps[otp] = (grant, expires)
        self._otps_of[grant.user] = self._otps_of.get(grant.user, 0) + 1

    async def take_otp(self, otp: str) -> Grant | None:
        if otp not in self._otps:
            return None
        grant, expires = self._drop_otp(otp)
        return grant if self._clock() < expires and grant.session in self._sessions else None

    async def outstanding_otps(self, user: str) -> tuple[int, int]:
        now = self._clock()
        while self._otps:
            oldest = next(iter(self._otps))
            if self._otps[oldest][1] > now:
                break
            self._drop_otp(oldest)
        return self._otps_of.get(user, 0), len(self._otps)

    def _drop_otp(self, otp: str) -> tuple[Grant, float]:
        grant, expires = self._otps.pop(otp)
        left = self._otps_of[grant.user] - 1
        if left:
            self._otps_of[grant.user] = left
        else:
            del self._otps_of[grant.user]
        return grant, expires
