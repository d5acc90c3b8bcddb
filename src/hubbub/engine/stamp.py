"""Giving drafts their place: the seqs of a room and the keys of its recent senders.

Both engines of one process know where each room stands, and stamp a batch before they keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hubbub.engine import Draft, Receipt
from hubbub.events import Message

__all__ = ["DEDUPE_WINDOW_MS", "Place", "Stamped", "stamp"]

DEDUPE_WINDOW_MS = 300_000

Key = tuple[str, str]


class Place:
    """Where a room stands: its last seq, and what was sent with which key within the dedupe window."""

    __slots__ = ("keys", "seq")

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq
        self.keys: dict[Key, Receipt] = {}

    def forget_keys(self, now: int) -> None:
        """Drop the keys past the window.  They are in order of time, so only those are touched."""
        while self.keys:
            oldest = next(iter(self.keys))
            if self.keys[oldest].sent + DEDUPE_WINDOW_MS > now:
                return
            del self.keys[oldest]


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

    def undo(self, places: Callable[[str], Place]) -> None:
        """Take the places back: the batch was not kept."""
        for room, messages in self.fresh.items():
            place = places(room)
            place.seq = messages[0].seq - 1
            for message in messages:
                key = self.keys.get((room, message.seq))
                if key is not None:
                    place.keys.pop((message.sender or "", key), None)


def stamp(batch: Sequence[Draft], places: Callable[[str], Place], now: int) -> Stamped:
    """Give each draft the next seq of its room at `now`, in milliseconds; one with a known key gets the first one's."""
    stamped = Stamped()
    receipts, fresh = stamped.receipts, stamped.fresh
    for draft in batch:
        place = places(draft.room)
        if draft.key is not None:
            place.forget_keys(now)
            known = place.keys.get((draft.sender or "", draft.key))
            if known is not None:
                receipts.append(Receipt(known.seq, known.sent, repeated=True))
                continue
        seq = place.seq = place.seq + 1
        receipt = Receipt(seq, now)
        receipts.append(receipt)
        if draft.key is not None:
            place.keys[draft.sender or "", draft.key] = receipt
            stamped.keys[draft.room, seq] = draft.key
        message = Message(draft.room, seq, now, draft.sender, draft.type, draft.body)
        if draft.room in fresh:
            fresh[draft.room].append(message)
        else:
            fresh[draft.room] = [message]
    return stamped
