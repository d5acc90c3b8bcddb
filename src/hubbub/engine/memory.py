"""The memory engine: the readable reference, for tests and trials.  What it holds is gone with the process."""

from __future__ import annotations

import heapq
import secrets
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from msgspec.structs import replace

from hubbub.acts import Role
from hubbub.age import Age
from hubbub.engine import (
    MAX_INVITATIONS,
    Access,
    Account,
    Change,
    Draft,
    Followed,
    Grant,
    Head,
    Listener,
    OtpLimit,
    Outcome,
    Page,
    Resumed,
    RoomOutline,
    WhyNot,
)
from hubbub.engine.local import LocalEngine, Silent, resume
from hubbub.engine.memory_following import MemoryFollowing
from hubbub.engine.memory_keys import MemoryKeys
from hubbub.engine.memory_people import MemoryPeople
from hubbub.engine.otps import Otps
from hubbub.engine.scanning import scan, spot_of
from hubbub.engine.searching import Hits, Spot
from hubbub.engine.stamp import Keys, LogTime, Position, amends_of, stamp
from hubbub.events import Message
from hubbub.words import Query

__all__ = ["MemoryEngine"]

# A room keeps no more messages than this, whatever retention is asked for: they are all in memory.
MOST_KEPT = 10_000


class RoomLog(Position):
    """One room's newest messages."""

    __slots__ = ("messages",)

    def __init__(self, keep: int) -> None:
        super().__init__()
        self.messages: deque[Message] = deque(maxlen=keep)

    @property
    def first(self) -> int:
        """The seq of the oldest message."""
        return self.messages[0].seq if self.messages else self.seq + 1

    def newest_first(self, before: Spot | None) -> Iterator[Message]:
        """The messages that were sent before a spot, the newest first; what is dropped meanwhile is left out."""
        seq = self.seq
        if before is not None:
            seq = self.first + bisect_left(self.messages, before, key=spot_of) - 1
        while seq >= self.first:
            yield self.messages[seq - self.first]
            seq -= 1


class MemoryEngine(LocalEngine, MemoryFollowing, MemoryPeople, MemoryKeys):
    """Everything in dictionaries.

    Args:
        clock: seconds that never go back, for whatever has to end in time.
        wall: seconds since 1970, for when messages are sent, and how old they are.
        keep: messages kept of a room; 0 for as many as it keeps of any.
        keep_s: seconds that a message is kept; 0 for ever.
    """

    is_up = True
    can_search = True

    def __init__(
        self, *, clock: Callable[[], float], wall: Callable[[], float], keep: int = 0, keep_s: float = 0
    ) -> None:
        LocalEngine.__init__(self)
        MemoryFollowing.__init__(self)
        MemoryPeople.__init__(self)
        MemoryKeys.__init__(self)
        self._clock = clock
        self._wall = wall
        self._age = Age(keep_s, clock=clock, wall=wall)
        self._keep = min(keep or MOST_KEPT, MOST_KEPT)
        self._epoch = secrets.token_hex(8)
        self._keys = Keys()
        self._log_time = LogTime(clock)
        self._logs: dict[str, RoomLog] = {}
        self._titles: dict[str, str] = {}
        self._marks: dict[str, dict[str, int]] = {}
        self._accounts: dict[str, Account] = {}
        self._setup: set[str] = set()
        self._sessions: dict[str, tuple[Grant, float]] = {}
        self._otps = Otps(clock)
        self._access_version = 0
        self._invited: dict[str, set[str]] = {}
        # Rooms that are closed, with whether they are to be deleted.
        self._closed: dict[str, bool] = {}

    async def open(self, listener: Listener) -> None:
        self._listener = listener

    async def close(self) -> None:
        self._listener = Silent()

    # Log

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        now, at = int(self._wall() * 1000), self._log_time()
        stamped = stamp(batch, self._log, self._keys, self._bodies(batch), now=now, at=at)
        for (room, seq), (_, body) in stamped.amended.items():
            log = self._logs[room]
            index = seq - log.first
            log.messages[index] = replace(log.messages[index], body=body)
        for room, messages in stamped.fresh.items():
            self._logs[room].messages += messages
        self._deliver(stamped.fresh)
        return stamped.outcomes

    def _bodies(self, batch: Sequence[Draft]) -> dict[tuple[str, int], bytes]:
        """What a batch amends, as it is now."""
        bodies: dict[tuple[str, int], bytes] = {}
        if not any(map(amends_of, batch)):
            return bodies
        for draft in batch:
            for amend in draft.amends:
                log = self._log(draft.room)
                if log.first <= amend.seq < log.first + len(log.messages):
                    bodies[draft.room, amend.seq] = log.messages[amend.seq - log.first].body
        return bodies

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
        oldest_ms = self._age.cutoff_ms()
        while log.messages and log.messages[0].sent < oldest_ms:
            log.messages.popleft()

    async def resume(self, room: str, since: Head, limit: int) -> Resumed:
        return await resume(self, room, since, limit)

    async def head(self, room: str) -> Head:
        log = self._logs.get(room)
        return Head(self._epoch, log.seq if log else 0)

    async def title(self, room: str) -> str:
        return self._titles.get(room, "")

    async def put_title(self, room: str, title: str) -> None:
        self._titles.setdefault(room, title)

    async def empty(self, room: str) -> None:
        if room in self._logs:
            self._logs[room].messages.clear()

    async def clear(self, room: str) -> None:
        self._titles.pop(room, None)
        for marks in self._marks.values():
            marks.pop(room, None)
        await self.empty(room)

    async def search(self, query: Query, rooms: Collection[str], before: Spot | None, limit: int) -> Hits:
        logs = [log for room in rooms if (log := self._logs.get(room)) is not None]
        for log in logs:
            self._drop_old(log)
        return await scan([log.newest_first(before) for log in logs], query, before, limit)

    async def first_since(self, room: str, sent_ms: int) -> int:
        log = self._logs.get(room)
        if log is None:
            return 1
        self._drop_old(log)
        return log.seq + 1 - len(log.messages) + bisect_left(log.messages, sent_ms, key=attrgetter("sent"))

    # Attendance

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        if not seq:
            return await self.read_mark(room, user)  # the mark of a room in which nothing was said is no row
        marks = self._marks.setdefault(user, {})
        marks[room] = max(seq, marks.get(room, 0))
        return marks[room]

    async def read_mark(self, room: str, user: str) -> int:
        return self._marks.get(user, {}).get(room, 0)

    # Rooms of users

    async def followed(self, user: str) -> list[Followed]:
        marks = self._marks.get(user, {})
        return [Followed(room, muted, marks.get(room, 0)) for room, muted in sorted(self.muted.get(user, {}).items())]

    async def outlines(self, rooms: Collection[str]) -> dict[str, RoomOutline]:
        return {room: self._outline(room) for room in rooms}

    def _outline(self, room: str) -> RoomOutline:
        log, title = self._logs.get(room), self._titles.get(room, "")
        if log is None:
            return RoomOutline(title, self._epoch, 0, 0)
        self._drop_old(log)
        return RoomOutline(title, self._epoch, log.seq, log.messages[-1].sent if log.messages else 0)

    async def room_names(self, *, prefix: str = "", after: str = "", limit: int) -> list[str]:
        return heapq.nsmallest(limit, (room for room in self._logs if room > after and room.startswith(prefix)))

    # Vault

    async def account(self, user: str) -> Account | None:
        return self._accounts.get(user)

    async def accounts(self) -> list[str]:
        return sorted(self._accounts)

    async def has_accounts(self) -> bool:
        return bool(self._accounts)

    async def put_account(self, account: Account) -> None:
        old = self._accounts.get(account.user)
        if old is not None:
            account = replace(old, password_hash=account.password_hash)
        else:
            self._note_account(account.user)
        self._accounts[account.user] = account
        self._note_change()
        self._end_all(account.user)

    async def remove_account(self, user: str) -> bool:
        if self._accounts.pop(user, None) is None:
            return False
        self._marks.pop(user, None)
        self.forget_follows_of(user)
        self._forget_person(user)
        for room in [room for room, users in self._invited.items() if user in users]:
            self._drop_invitation(room, user)
        self._note_change()
        self._end_all(user)
        return True

    async def put_setup(self, secret: str) -> None:
        if not self._accounts:
            self._setup.add(secret)

    async def take_setup(self, secret: str) -> bool:
        if secret not in self._setup:
            return False
        self._setup.clear()
        return not self._accounts

    async def put_session(self, grant: Grant, ttl_s: float, most: int = 0) -> None:
        # Sessions all live equally long, so the oldest come first and expired ones leave from the front.
        now = self._clock()
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][1] > now:
                break
            del self._sessions[oldest]
        self._sessions[grant.session] = (grant, now + ttl_s)
        if most:
            of_user = [session for session, (other, _) in self._sessions.items() if other.user == grant.user]
            for session in of_user[:-most]:
                await self.end_session(session)

    async def session(self, session: str) -> Grant | None:
        return self._grant(session)

    async def end_session(self, session: str) -> None:
        grant = self._grant(session)
        self._sessions.pop(session, None)
        if grant is not None:
            self._otps.end(grant.user, [session])
            self._listener.ended(session)

    async def end_sessions(self, user: str) -> int:
        self._otps.end_outside(user)
        return self._end_all(user)

    async def alive(self, sessions: Collection[str]) -> set[str]:
        return {session for session in sessions if self._grant(session) is not None}

    async def issue_otp(
        self, otp: str, grant: Grant, *, ttl_s: float, per_account: int, in_all: int
    ) -> OtpLimit | None:
        return self._otps.issue(otp, grant, ttl_s, per_account=per_account, in_all=in_all)

    async def take_otp(self, otp: str) -> Grant | None:
        grant = self._otps.take(otp)
        if grant is None or not grant.is_kept:
            return grant
        return grant if self._grant(grant.session) is not None else None

    def _grant(self, session: str) -> Grant | None:
        found = self._sessions.get(session)
        return found[0] if found is not None and self._clock() < found[1] else None

    def _end_all(self, user: str, keep: str = "") -> int:
        """End all sessions of a user, but one that is to be kept; how many lived."""
        ended = [session for session, (grant, _) in self._sessions.items() if grant.user == user and session != keep]
        count = 0
        for session in ended:
            is_alive = self._grant(session) is not None
            del self._sessions[session]
            if is_alive:
                count += 1
                self._listener.ended(session)
        self._otps.end(user, ended)
        return count

    # Who may do what

    async def set_role(self, user: str, role: Role) -> Change:
        account = self._accounts.get(user)
        if account is None:
            return self._no_change(WhyNot.NO_ACCOUNT)
        if role is not Role.ADMIN and self._is_last_admin(account):
            return self._no_change(WhyNot.LAST_ADMIN)
        self._accounts[user] = replace(account, role=role)
        return self._note_change()

    async def set_blocked(self, user: str, *, is_blocked: bool) -> Change:
        account = self._accounts.get(user)
        if account is None:
            return self._no_change(WhyNot.NO_ACCOUNT)
        if is_blocked and self._is_last_admin(account):
            return self._no_change(WhyNot.LAST_ADMIN)
        self._accounts[user] = replace(account, is_blocked=is_blocked)
        change = self._note_change()
        if is_blocked:
            self._end_all(user)
            self._drop_links_of(user)
        return change

    def _is_last_admin(self, account: Account) -> bool:
        admins = [each.user for each in self._accounts.values() if each.role is Role.ADMIN and not each.is_blocked]
        return admins == [account.user]

    async def invite(self, room: str, user: str) -> Change:
        if user not in self._accounts:
            return self._no_change(WhyNot.NO_ACCOUNT)
        if sum(map(len, self._invited.values())) >= MAX_INVITATIONS:
            return self._no_change(WhyNot.TOO_MANY)
        self._invited.setdefault(room, set()).add(user)
        return self._note_change()

    async def uninvite(self, room: str, user: str) -> Change:
        self._drop_invitation(room, user)
        return self._note_change()

    def _drop_invitation(self, room: str, user: str) -> None:
        users = self._invited.get(room, set())
        users.discard(user)
        if not users:
            self._invited.pop(room, None)

    async def close_room(self, room: str) -> Change:
        return self._close(room, is_doomed=self._closed.get(room, False))

    async def doom_room(self, room: str) -> Change:
        return self._close(room, is_doomed=True)

    def _close(self, room: str, *, is_doomed: bool) -> Change:
        if room not in self._closed and len(self._closed) >= MAX_INVITATIONS:
            return self._no_change(WhyNot.TOO_MANY)
        self._closed[room] = is_doomed
        return self._note_change()

    async def reopen_room(self, room: str) -> Change:
        if not self._closed.get(room, True):
            del self._closed[room]
        return self._note_change()

    async def forget_room(self, room: str) -> Change:
        self._closed.pop(room, None)
        self._invited.pop(room, None)
        self.forget_followers_of(room)
        return self._note_change()

    async def access(self) -> Access:
        accounts = self._accounts.values()
        return Access(
            self._access_version,
            {account.user: account.role for account in accounts if account.role is not Role.MEMBER},
            {account.user for account in accounts if account.is_blocked},
            {room: set(users) for room, users in self._invited.items()},
            set(self._closed),
            {room for room, is_doomed in self._closed.items() if is_doomed},
        )

    async def access_version(self) -> int:
        return self._access_version

    def _note_change(self) -> Change:
        self._access_version += 1
        return Change(self._access_version)

    def _no_change(self, why_not: WhyNot) -> Change:
        return Change(self._access_version, why_not)
