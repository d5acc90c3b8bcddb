"""Giving drafts their place: the seq in a room, and the one place of a key.

Both engines of one process know where each room stands, and stamp a batch before they keep it.

Keys are remembered by the log's own time, which no change of the wall clock touches: milliseconds that the log was
open, over all the processes that had it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from zlib import crc32

import msgspec

from hubbub.engine import Draft, Outcome, Receipt
from hubbub.errors import KeyConflict, Stale
from hubbub.events import Message

__all__ = ["DEDUPE_WINDOW_MS", "KeyEntry", "Keys", "LogTime", "Position", "Stamped", "amends_of", "digest_of", "stamp"]

DEDUPE_WINDOW_MS = 300_000

# What a draft amends: looked at in C for a whole batch, most of which amend nothing.
amends_of = attrgetter("amends")


class LogTime:
    """The time that a log has been open, in whole milliseconds; it never goes back.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.go_on_from(0)

    def __call__(self) -> int:
        return int(self._clock() * 1000) - self._zero

    def go_on_from(self, at: int) -> None:
        """Go on where an earlier process has stopped.  What was between is not counted: a key lives longer for it."""
        self._zero = int(self._clock() * 1000) - at


class KeyEntry(msgspec.Struct, frozen=True, gc=False):
    """What a sender's key in a room stands for.

    Attributes:
        at: when it was kept, by the log's own time.
        digest: of the message's type and body; the same key with another one is a conflict.
    """

    room: str
    sender: str | None
    key: str
    seq: int
    sent: int
    at: int
    digest: int


class Keys:
    """What was sent with which key within the dedupe window, of all rooms; iterated over from the oldest on."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], KeyEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[KeyEntry]:
        return iter(self._entries.values())

    def add(self, entry: KeyEntry) -> None:
        """Remember a key.  Entries are added in the order of their `at`, which is the order they are forgotten in."""
        self._entries[entry.room, entry.sender or "", entry.key] = entry

    def find(self, room: str, sender: str | None, key: str, at: int) -> KeyEntry | None:
        """What the key was first kept with, if that is within the window before `at`."""
        found = self._entries.get((room, sender or "", key))
        return found if found is not None and found.at + DEDUPE_WINDOW_MS > at else None

    def drop(self, entry: KeyEntry) -> None:
        """Forget a key at once."""
        self._entries.pop((entry.room, entry.sender or "", entry.key), None)

    def forget(self, at: int) -> None:
        """Drop what is past the window.  Only those are touched."""
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].at + DEDUPE_WINDOW_MS > at:
                return
            del self._entries[oldest]


class Position:
    """Where a room stands: the seq of its last message, and when that was sent; no later one is sent before that."""

    __slots__ = ("sent", "seq")

    def __init__(self, seq: int = 0, sent: int = 0) -> None:
        self.seq = seq
        self.sent = sent


class Stamped:
    """A batch that has its places.

    Attributes:
        outcomes: one for each draft.
        fresh: the new messages of each room, in order.
        keys: the keys of the new messages that have one, by room and seq.
        sent_before: when the last message before the new ones was sent, of each room that has new ones.
        amended: bodies that take the place of others, by room and seq, each with the seq of the event that does it.
    """

    __slots__ = ("amended", "fresh", "keys", "outcomes", "sent_before")

    def __init__(self) -> None:
        self.amended: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.outcomes: list[Outcome] = []
        self.fresh: dict[str, list[Message]] = {}
        self.keys: dict[tuple[str, int], KeyEntry] = {}
        self.sent_before: dict[str, int] = {}

    def has_expected(self, draft: Draft, bodies: Mapping[tuple[str, int], bytes]) -> bool:
        """Whether what a draft amends is as it was read."""
        room = draft.room
        for amend in draft.amends:
            amended = self.amended.get((room, amend.seq))
            if (amended[1] if amended is not None else bodies.get((room, amend.seq))) != amend.expected:
                return False
        return True

    def amend(self, draft: Draft, seq: int, sent: int) -> None:
        """Note what a draft amends that has got its place."""
        for amend in draft.amends:
            self.amended[draft.room, amend.seq] = seq, amend.filled(seq, sent)

    def undo(self, places: Callable[[str], Position], keys: Keys) -> None:
        """Take the places back: the batch was not kept."""
        for room, messages in self.fresh.items():
            place = places(room)
            place.seq = messages[0].seq - 1
            place.sent = self.sent_before[room]
        for entry in self.keys.values():
            keys.drop(entry)


def stamp(
    batch: Sequence[Draft],
    places: Callable[[str], Position],
    keys: Keys,
    bodies: Mapping[tuple[str, int], bytes],
    *,
    now: int,
    at: int,
) -> Stamped:
    """Give each draft the next seq of its room; one with a known key gets the first one's, or is in conflict with it.

    One that amends what is not as it was read is stale.

    Args:
        bodies: the present bodies of messages that are amended, by room and seq.
        now: milliseconds since 1970.
        at: the log's own time.
    """
    keys.forget(at)
    stamped = Stamped()
    outcomes, fresh = stamped.outcomes, stamped.fresh
    for draft in batch:
        room = draft.room
        place = places(room)
        digest = 0
        if draft.key is not None:
            digest = digest_of(draft.type, draft.body)
            known = keys.find(room, draft.sender, draft.key, at)
            if known is not None:
                outcomes.append(repeated(known, digest))
                continue
        if draft.amends and not stamped.has_expected(draft, bodies):
            outcomes.append(Stale(draft.amends[0].seq))
            continue
        seq = place.seq = place.seq + 1
        messages = fresh.get(room)
        if messages is None:
            messages = fresh[room] = []
            stamped.sent_before[room] = place.sent
            if place.sent < now:
                place.sent = now
        sent = place.sent
        if draft.amends:
            stamped.amend(draft, seq, sent)
        outcomes.append(Receipt(seq, sent))
        if draft.key is not None:
            entry = KeyEntry(room, draft.sender, draft.key, seq, sent, at, digest)
            keys.add(entry)
            stamped.keys[room, seq] = entry
        messages.append(Message(room, seq, sent, draft.sender, draft.type, draft.body))
    return stamped


def digest_of(type_: str, body: bytes) -> int:
    """What tells messages with one key apart.  Who makes two of them meet deceives nobody but their own sender."""
    return crc32(body, crc32(type_.encode()))


def repeated(known: KeyEntry, digest: int) -> Outcome:
    """What a draft gets whose key is known."""
    if digest != known.digest:
        return KeyConflict(known.key, known.seq)
    return Receipt(known.seq, known.sent, repeated=True)
