"""What was heard and not yet taken by the application: a queue with a bound that never makes the network wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TypeVar

from hubbub.errors import HubbubError
from hubbub.sdk.messages import Gap, Heard

__all__ = ["Inbox"]

H = TypeVar("H", bound=Heard)


class Inbox:
    """A bounded queue.

    Putting never waits, so that a client whose application is slow still answers pings and hears its acks.  What
    finds no place is told to whoever put it; messages are in the server's log, and can be fetched from there later.

    Args:
        bound: the most items at once; gaps, of which there are few, are taken beyond it.
    """

    def __init__(self, bound: int) -> None:
        self._bound = max(1, bound)
        self._items: deque[Heard] = deque()
        self._is_closed = False
        self._error: HubbubError | None = None
        self._came = asyncio.Event()
        self._went = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def free(self) -> int:
        """How many more items have a place."""
        return max(0, self._bound - len(self._items))

    def put(self, items: Iterable[H]) -> H | None:
        """Take items in order; the first one for which there is no place, with which taking ends."""
        for item in items:
            if not self.free and not isinstance(item, Gap):
                return item
            self._items.append(item)
            self._came.set()
        return None

    def close(self, error: HubbubError | None) -> None:
        """Let readers take what is there, then end: with the error, if there is one."""
        if not self._is_closed:
            self._is_closed = True
            self._error = error
            self._came.set()

    async def get(self) -> Heard | None:
        """The next item; None when the inbox is closed and empty.

        Raises:
            HubbubError: instead of None, where a reason was given when it was closed.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return None
            self._came.clear()
            await self._came.wait()
        item = self._items.popleft()
        self._went.set()
        return item

    async def has_room(self) -> None:
        """Wait until at least half of the places are free."""
        while self.free < max(1, self._bound // 2):
            self._went.clear()
            await self._went.wait()
