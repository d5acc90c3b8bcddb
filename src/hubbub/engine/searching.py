"""The port's part for searching: the words of messages, and the time at which they were sent."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

from hubbub.errors import EngineError
from hubbub.events import Message
from hubbub.words import Query

__all__ = ["Hits", "Searching", "Spot", "TooLong"]


class Spot(NamedTuple):
    """Where a message is in all rooms, by time.  Of two that were sent at the same time, the room decides."""

    sent: int
    room: str
    seq: int


class Hits(NamedTuple):
    """What was found.

    Attributes:
        messages: newest first.
        next: where to go on: before this place there may be more; None where there is nothing.  There may be one even
            where no message was found: the search has taken its time.
        is_partial: some of the log is not indexed yet.
        spent_s: how long the search has kept a thread busy, or the loop.
    """

    messages: list[Message]
    next: Spot | None
    is_partial: bool = False
    spent_s: float = 0.0


class TooLong(EngineError):
    """A search has taken far too long, and has not got on.

    Args:
        spent_s: how long it has kept a thread busy.
    """

    def __init__(self, spent_s: float) -> None:
        super().__init__("it takes too long; name a room, or rarer words")
        self.spent_s = spent_s


class Searching(Protocol):
    """Finding messages, other than by their seqs."""

    @property
    def can_search(self) -> bool:
        """Whether `search` finds anything."""
        ...

    async def search(self, query: Query, rooms: Collection[str], before: Spot | None, limit: int) -> Hits:
        """The newest messages (`new_message`) of some rooms that have all words of a query.

        It costs a bounded time, which does not delay anything else that is asked of the engine.

        Args:
            before: where an earlier search ended.
            limit: messages at most.

        Raises:
            EngineError: this engine cannot search, or the index cannot be read.
            TooLong: the search has not got on; what it has cost is told all the same.
        """
        ...

    async def first_since(self, room: str, sent_ms: int) -> int:
        """The seq of a room's first message that was sent at a time or later; one past the last where none was.

        Raises:
            EngineError: the log cannot be read.
        """
        ...
