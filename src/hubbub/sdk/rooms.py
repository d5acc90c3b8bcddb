"""Which messages of a room to show next: each once, in order, and no hole that is not told.

Messages come from three sides: live, in the answer that resumes a room, and from history.  All go through one
`RoomCursor`, which knows nothing of sockets: it takes what came and gives what may be shown now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto

from hubbub.naming import DM, fold
from hubbub.sdk.messages import Gap, Message
from hubbub.sdk.reading import Entered

__all__ = ["MAX_HELD", "Membership", "RoomCursor", "Shown", "known_as"]

Shown = Message | Gap

# Messages of one room that wait for an earlier one.  Beyond it they are dropped, and asked for again.
MAX_HELD = 256


def known_as(name: str) -> str:
    """What a room goes by, as nearly as can be told here; the server has the last word."""
    return name if name.startswith(DM) else fold(name)  # those of two users are written in one way only


class Membership(Enum):
    """Whether this client is in a room that it has to do with."""

    ENTERING = auto()  # a join was asked for, and none has been answered
    IN = auto()  # the server has let this connection in
    AWAY = auto()  # the connection that was in is gone, and the next one is not in yet


class RoomCursor:
    """Where this client is in one room: whether it is in, and how far its messages have been shown.

    Attributes:
        membership: whether this connection is in the room.
        epoch: names the server's log; seqs of two epochs have nothing to do with each other.  None while entering.
        last: the seq of the newest message shown.
        head: the newest seq known to exist.
        read: the furthest seq that this user is known to have read.
        title: the name as it is shown.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.title = name
        self.membership = Membership.ENTERING
        self.epoch: str | None = None
        self.last = 0
        self.head = 0
        self.read = 0
        self._held: dict[int, Message] = {}

    @property
    def is_behind(self) -> bool:
        """Whether there are messages after `last` that did not come by themselves, and must be asked for."""
        return self.membership is Membership.IN and self.last < self.head

    @property
    def since(self) -> dict[str, object]:
        """Where to resume."""
        return {"epoch": self.epoch, "seq": self.last}

    # Coming and going

    def enter(self, entered: Entered) -> list[Shown]:
        """Take the answer to a join that asked for no resumption; its messages are for whoever joined."""
        if self.membership is Membership.ENTERING:
            self.last = self.head = newest(entered)
        self.epoch = entered.epoch
        self.membership = Membership.IN
        self.mark_read(entered.read)
        self.head = max(self.head, entered.seq)
        return self._release()

    def resume(self, entered: Entered) -> list[Shown]:
        """Take the answer to a join that asked for what came after `since`."""
        # An earlier epoch's place may be part of the log that goes on under another one.
        is_recovered = entered.recovered and entered.seq >= self.last
        shown: list[Shown] = [] if is_recovered else self._start_over(entered)
        self.epoch = entered.epoch
        self.membership = Membership.IN
        self.mark_read(entered.read)
        self.head = max(self.last, newest(entered))
        for message in entered.messages:
            shown += self._take(message)
        return shown + self._release()

    def _start_over(self, entered: Entered) -> list[Shown]:
        first = entered.messages[0].seq if entered.messages else entered.seq + 1
        is_new_log = entered.epoch != self.epoch or entered.seq < self.last
        if not is_new_log and first <= self.last + 1:
            return []  # refused, and yet the newest page reaches back to what was shown
        missing_from = 1 if is_new_log else self.last + 1
        self.last = first - 1
        return [Gap(self.name, missing_from, first - 1, is_new_log)]

    def drop(self) -> None:
        """Note that the connection is gone; what was held will come again."""
        if self.membership is Membership.IN:
            self.membership = Membership.AWAY
        self._held.clear()

    def go_on(self, epoch: str, seq: int) -> bool:
        """Take note that the log goes on under another epoch, with all that it had up to a seq.

        Returns:
            False where messages were shown that the log has lost: only a resumption tells what is there now.
        """
        if self.membership is not Membership.IN:
            return True  # the answer to the join that is on its way says which epoch it is
        if self.last > seq:
            return False
        self.epoch = epoch
        return True

    def mark_read(self, seq: int) -> None:
        """Take note that this user has read up to a message; what was read stays read."""
        self.read = max(self.read, seq)

    # Messages

    def hear(self, message: Message) -> list[Shown]:
        """Take a live message."""
        if self.membership is Membership.IN:
            return self._take(message)
        self._hold(message)  # the answer to the join is still to come
        return []

    def fill(self, messages: Sequence[Message], after: int) -> list[Shown]:
        """Take the page of history that follows `after`; what it lacks is not kept any more."""
        later = [message for message in messages if message.seq > self.last]
        # When `last` has moved on since it was asked, the page says nothing about what follows `last` now.
        shown: list[Shown] = [] if after != self.last else self._tell_gap(later)
        for message in later:
            shown += self._take(message)
        return shown + self._release()

    def _tell_gap(self, later: Sequence[Message]) -> list[Shown]:
        known = [message.seq for message in later] + [seq for seq in self._held if seq > self.last]
        return self._skip_to(min(known, default=self.head + 1))

    def lose(self, first: int, last: int) -> list[Shown]:
        """Take the server's word that it does not keep these any more."""
        self.head = max(self.head, last)
        if self.membership is not Membership.IN or first > self.last + 1:
            return []  # earlier ones are missing too: asking for those finds this gap
        return self._skip_to(last + 1) + self._release()

    def _skip_to(self, seq: int) -> list[Shown]:
        missing_from, self.last = self.last + 1, max(self.last, seq - 1)
        return [Gap(self.name, missing_from, self.last)] if self.last >= missing_from else []

    def rewind(self, message: Message) -> None:
        """Take back that this message and later ones were shown: there was no place for them."""
        self.last = message.seq - 1

    def _take(self, message: Message) -> list[Shown]:
        self.head = max(self.head, message.seq)
        if message.seq == self.last + 1:
            self.last = message.seq
            return [message, *self._release()]
        if message.seq > self.last:
            self._hold(message)
        return []

    def _hold(self, message: Message) -> None:
        if len(self._held) < MAX_HELD:
            self._held[message.seq] = message
        else:
            self.head = max(self.head, message.seq)

    def _release(self) -> list[Shown]:
        """What was held and follows now."""
        shown: list[Shown] = []
        while (message := self._held.pop(self.last + 1, None)) is not None:
            self.last = message.seq
            shown.append(message)
        if self._held:
            self._held = {seq: held for seq, held in self._held.items() if seq > self.last}
            self.head = max(self.head, self.last, *self._held)
        return shown


def newest(entered: Entered) -> int:
    """The newest seq that an answer knows of."""
    return max(entered.seq, *seqs(entered.messages), 0)


def seqs(messages: Iterable[Message]) -> list[int]:
    return [message.seq for message in messages]
