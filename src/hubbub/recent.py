"""The newest messages of a live room, ready to be sent again.

Thousands of clients that come back at once ask for the same few messages.  They are kept here as the log delivered
them, encoded at most once, and joined at most once for all who ask from the same place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from hubbub.events import Message

__all__ = ["HISTORY", "RECENT", "Recent"]

# Messages that a join or a page of history brings when no number is asked for.
HISTORY = 50

# Also the most that `history` gives at once, so that the newest page never needs the log.
RECENT = 200

# Joined answers kept between two messages, in bytes; who asks for others is answered all the same.
MAX_JOINED_BYTES = 256 * 1024


class Recent:
    """A run of messages without holes that ends with the room's last.

    Attributes:
        last_seq: the seq of the room's last message; 0 before the first one.
    """

    __slots__ = ("_joined", "_messages", "_payloads", "last_seq")

    def __init__(self) -> None:
        self.last_seq = 0
        self._messages: deque[Message] = deque(maxlen=RECENT)
        self._payloads: dict[int, bytes] = {}
        self._joined: dict[int, bytes] = {}

    @property
    def first_seq(self) -> int:
        """The seq of the oldest message held; one past the last where none is."""
        return self._messages[0].seq if self._messages else self.last_seq + 1

    def extend(self, messages: Sequence[Message]) -> None:
        """Add what the log delivered, in seq order; what is held already is left out."""
        if messages[0].seq <= self.last_seq:
            messages = [message for message in messages if message.seq > self.last_seq]
            if not messages:
                return
        if messages[0].seq != self.last_seq + 1:
            self._messages.clear()  # a run without holes, or none
        self._messages += messages
        self.last_seq = messages[-1].seq
        if self._payloads or self._joined:
            self._joined.clear()
            self._forget_payloads()

    def drop_older(self, oldest_ms: int) -> None:
        """Forget what was sent before a time: the log has forgotten it too."""
        if self._messages and self._messages[0].sent < oldest_ms:
            while self._messages and self._messages[0].sent < oldest_ms:
                self._messages.popleft()
            self._joined.clear()
            self._forget_payloads()

    def fill(self, messages: Sequence[Message], last_seq: int) -> None:
        """Put a newest page, read from the log, before what was delivered meanwhile."""
        delivered = list(self._messages)
        self._messages.clear()
        self.last_seq = last_seq
        self._messages += messages
        if delivered:
            self.extend(delivered)

    def after(self, seq: int) -> list[Message]:
        """The messages held after a seq."""
        count = min(self.last_seq - seq, len(self._messages))
        return list(islice(self._messages, len(self._messages) - count, None)) if count > 0 else []

    def joined_after(self, seq: int, payload: Callable[[Message], bytes]) -> bytes:
        """The payloads of the messages held after a seq, as a JSON array."""
        found = self._joined.get(seq)
        if found is None:
            found = b"[%b]" % b",".join([self._payload(message, payload) for message in self.after(seq)])
            if sum(map(len, self._joined.values())) + len(found) <= MAX_JOINED_BYTES:
                self._joined[seq] = found
        return found

    def _payload(self, message: Message, payload: Callable[[Message], bytes]) -> bytes:
        found = self._payloads.get(message.seq)
        if found is None:
            found = self._payloads[message.seq] = payload(message)
        return found

    def _forget_payloads(self) -> None:
        """Drop the payloads of messages no longer held; they were added in about the order of their seqs."""
        first, payloads = self.first_seq, self._payloads
        while payloads and (seq := next(iter(payloads))) < first:
            del payloads[seq]
