"""The newest messages of a live room, ready to be sent again.

Thousands of clients that come back at once ask for the same few messages.  They are kept here as the log delivered
them, encoded at most once in each dialect, and joined at most once for all who ask from the same place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

from hubbub.amending import CHANGES, apply_changes
from hubbub.dialect import Dialect
from hubbub.engine import Head, Page
from hubbub.events import Message

__all__ = ["HISTORY", "RECENT", "Recent"]

# Messages that a join or a page of history brings when no number is asked for.
HISTORY = 50

# Also the most that `history` gives at once, so that the newest page never needs the log.
RECENT = 200

# Joined answers kept between two messages, in bytes; who asks for others is answered all the same.
MAX_JOINED_BYTES = 256 * 1024

type_of = attrgetter("type")
seq_of = attrgetter("seq")


class Recent:
    """A run of messages without holes that ends with the room's last.

    Where the log has lost some of its newest messages, the run begins after those; older ones are held for answers to
    joins alone.

    Attributes:
        epoch: names the log that the seqs belong to; empty until the log was read.
        last_seq: the seq of the room's last message; 0 before the first one.
    """

    __slots__ = ("_joined", "_listed", "_messages", "_removed", "_whole_from", "epoch", "last_seq")

    def __init__(self) -> None:
        self.epoch = ""
        self.last_seq = 0
        self._messages: deque[Message] = deque(maxlen=RECENT)
        self._whole_from = 0  # no hole is after the message before this one
        self._removed = 0  # up to where messages were deleted by hand
        # Messages as members of a list, in each dialect that has asked, and runs of them joined.
        self._listed: dict[Dialect, dict[int, bytes]] = {}
        self._joined: dict[tuple[Dialect, int], bytes] = {}

    @property
    def first_seq(self) -> int:
        """The seq of the oldest message in the run; one past the last where none is."""
        return max(self._messages[0].seq, self._whole_from) if self._messages else self.last_seq + 1

    def extend(self, messages: Sequence[Message]) -> None:
        """Add what the log delivered, in seq order; what is held already is left out."""
        if messages[0].seq <= self.last_seq:
            messages = [message for message in messages if message.seq > self.last_seq]
            if not messages:
                return
        if messages[0].seq != self.last_seq + 1:
            self._messages.clear()  # a run has no holes
        self._messages += messages
        self.last_seq = messages[-1].seq
        if self._listed or self._joined:
            self._forget_encoded()
        if not CHANGES.isdisjoint(map(type_of, messages)):
            self._change(messages)

    def find(self, seq: int) -> Message | None:
        """The message with a seq, if it is held."""
        index = bisect_left(self._messages, seq, key=seq_of)
        if index < len(self._messages) and (found := self._messages[index]).seq == seq:
            return found
        return None

    def changed(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages that were read from the log a moment ago, as they are after the changes that are held."""
        changed = apply_changes(messages, self._messages)
        return [changed.get(message.seq, message) for message in messages] if changed else messages

    def _change(self, events: Sequence[Message]) -> None:
        """Change what is held by the changes among some events."""
        for seq, message in apply_changes(self._messages, events).items():
            self._messages[bisect_left(self._messages, seq, key=seq_of)] = message
            for dialect, listed in self._listed.items():
                if seq in listed:
                    listed[seq] = dialect.listed(message)

    def fill(self, page: Page) -> None:
        """Put a newest page, read from the log, before what was delivered meanwhile."""
        delivered = list(self._messages)
        self._messages.clear()
        self.epoch, self.last_seq = page.head.epoch, page.head.seq
        read = [message for message in page.messages if message.seq > self._removed]
        self._messages += read
        self._whole_from = self.last_seq + 1
        for message in reversed(read):
            if message.seq != self._whole_from - 1:
                break
            self._whole_from = message.seq
        if delivered:
            self.extend(delivered)

    def rewind(self, head: Head) -> None:
        """Go on from another place, under another epoch; what is held after that place is no longer true."""
        self.epoch = head.epoch
        while self._messages and self._messages[-1].seq > head.seq:
            self._messages.pop()
        if self.last_seq > head.seq:
            self._listed.clear()
            self._joined.clear()
        self.last_seq = min(self.last_seq, head.seq)
        self._whole_from = min(self._whole_from, self.last_seq + 1)

    def skip_to(self, seq: int) -> None:
        """Take note that the log has lost everything up to `seq`."""
        if seq > self.last_seq:
            self._messages.clear()
            self.last_seq = seq
            self._forget_encoded()

    def remove_to(self, seq: int) -> None:
        """Forget what was deleted by hand: everything up to `seq`, also where it is in a page that is on its way."""
        self._removed = max(self._removed, seq)
        while self._messages and self._messages[0].seq <= seq:
            self._messages.popleft()
        self._forget_encoded()

    def drop_older(self, oldest_ms: int) -> None:
        """Forget what was sent before a time: the log has forgotten it too."""
        if self._messages and self._messages[0].sent < oldest_ms:
            while self._messages and self._messages[0].sent < oldest_ms:
                self._messages.popleft()
            self._forget_encoded()

    def after(self, seq: int) -> list[Message]:
        """The messages held after a seq."""
        if seq + 1 < self.first_seq:
            return [message for message in self._messages if message.seq > seq]
        count = min(self.last_seq - seq, len(self._messages))
        return list(islice(self._messages, len(self._messages) - count, None)) if count > 0 else []

    def joined_after(self, seq: int, dialect: Dialect) -> bytes:
        """The messages held after a seq, as a list in a dialect."""
        found = self._joined.get((dialect, seq))
        if found is None:
            listed = self._listed.setdefault(dialect, {})
            found = dialect.array([list_one(message, dialect, listed) for message in self.after(seq)])
            if sum(map(len, self._joined.values())) + len(found) <= MAX_JOINED_BYTES:
                self._joined[dialect, seq] = found
        return found

    def _forget_encoded(self) -> None:
        """Drop what was encoded of messages no longer held; it was added in about the order of their seqs."""
        self._joined.clear()
        first = self.first_seq
        for dialect, listed in list(self._listed.items()):
            while listed and (seq := next(iter(listed))) < first:
                del listed[seq]
            if not listed:
                del self._listed[dialect]


def list_one(message: Message, dialect: Dialect, listed: dict[int, bytes]) -> bytes:
    """A message as a member of a list, encoded if it is not in `listed` already."""
    found = listed.get(message.seq)
    if found is None:
        found = listed[message.seq] = dialect.listed(message)
    return found
