"""Giving drafts their place: the seq in a room, and the one place of a key.

Both engines of one process know where each room stands, and stamp a batch before they keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hubbub.engine import Draft, Receipt
from hubbub.events import Message

__all__ = ["DEDUPE_WINDOW_MS", "Keys", "Position", "Stamped", "stamp"]

DEDUPE_WINDOW_MS = 300_000


class Keys:
    """What was sent with which key within the dedupe window, of all rooms."""

    def __init__(self) -> None:
        self._receipts: dict[tuple[str, str, str], Receipt] = {}

    def __len__(self) -> int:
        return len(self._receipts)

    def add(self, room: str, sender: str | None, key: str, receipt: Receipt) -> None:
        self._receipts[room, sender or "", key] = receipt

    def find(self, draft: Draft, now: int) -> Receipt | None:
        """What the draft's key was first kept with, if that is within the window before `now`."""
        found = self._receipts.get((draft.room, draft.sender or "", draft.key or ""))
        return found if found is not None and found.sent + DEDUPE_WINDOW_MS > now else None

    def drop(self, room: str, sender: str | None, key: str) -> None:
        self._receipts.pop((room, sender or "", key), None)

    def forget(self, now: int) -> None:
        """Drop what is past the window.  They are in about the order of time, so only those are touched."""
        while self._receipts:
            oldest = next(iter(self._receipts))
            if self._receipts[oldest].sent + DEDUPE_WINDOW_MS > now:
                return
            del self._receipts[oldest]


class Position:
    """Where a room stands: its last seq."""

    __slots__ = ("seq",)

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq


class Stamped:
    """A batch that has its places.

    Attributes:
        receipts: one for each draft.
        fresh: the new messages of each room, in order, with the key of each that has one.
    """

    __slots__ = ("fresh", "keys", "receipts")

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.fresh: dict[str, list[Message]] = {}
        self.keys: dict[tuple[str, int], str] = {}

    def undo(self, places: Callable[[str], Position], keys: Keys) -> None:
        """Take the places back: the batch was not kept."""
        for room, messages in self.fresh.items():
            places(room).seq = messages[0].seq - 1
            for message in messages:
                key = self.keys.get((room, message.seq))
                if key is not None:
                    keys.drop(room, message.sender, key)


def stamp(batch: Sequence[Draft], places: Callable[[str], Position], keys: Keys, now: int) -> Stamped:
    """Give each draft the next seq of its room at `now`, in milliseconds; one with a known key gets the first one's."""
    keys.forget(now)
    stamped = Stamped()
    receipts, fresh = stamped.receipts, stamped.fresh
    for draft in batch:
        place = places(draft.room)
        if draft.key is not None:
            known = keys.find(draft, now)
            if known is not None:
                receipts.append(Receipt(known.seq, known.sent, repeated=True))
                continue
        seq = place.seq = place.seq + 1
        receipt = Receipt(seq, now)
        receipts.append(receipt)
        if draft.key is not None:
            keys.add(draft.room, draft.sender, draft.key, receipt)
            stamped.keys[draft.room, seq] = draft.key
        message = Message(draft.room, seq, now, draft.sender, draft.type, draft.body)
        if draft.room in fresh:
            fresh[draft.room].append(message)
        else:
            fresh[draft.room] = [message]
    return stamped
