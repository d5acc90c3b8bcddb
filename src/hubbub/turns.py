"""Waiting for one's turn to have a password checked: the loop's side of `logins.Queue`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hubbub.errors import Refused
from hubbub.logins import Attempt, Queue, refusal

__all__ = ["Checked", "LoginTurns", "always"]

# A login that is refused because too many wait is told so after this time: it would be back at once.
REFUSAL_S = 1.0
# So many wait for that at most: each keeps a connection's place, and the others' requests need some.
MAX_REFUSED = 128

# What those without a name stand in line as.  Half of a surrogate pair is in no text that anybody can send, so nobody
# guesses under such a name, which would hold up those whose address is in it.
NEWCOMERS = "\udc00"


def always() -> bool:
    """Somebody waits for the answer."""
    return True


class Checked:
    """What came of an attempt, once it is known.

    Attributes:
        is_right: as for `logins.Queue.end`.
    """

    is_right: bool | None = None


class LoginTurns:
    """Attempts that wait for their turns, and are told when it comes.

    Args:
        queue: whose turn it is next.
        clock: seconds that never go back.
    """

    def __init__(self, queue: Queue, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._clock = clock
        self._futures: dict[Attempt, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # How many are held back before they are refused.
        self._refused = 0

    def attempt(
        self, user: str, source: str, session: str = "", is_wanted: Callable[[], bool] = always, guess: int = 0
    ) -> Attempt:
        """An attempt, to be handed to `checking`; see `logins.Attempt`."""
        return Attempt(user, source, session, is_wanted, self._given_up, guess=guess)

    def newcomer(self, source: str, is_wanted: Callable[[], bool] = always) -> Attempt:
        """An attempt of somebody who gives no name: all of one address are as one, and no account's guesses."""
        return self.attempt(f"{NEWCOMERS} {source}", source, "", is_wanted)

    @asynccontextmanager
    async def checking(self, attempt: Attempt) -> AsyncIterator[Checked]:
        """Wait for an attempt's turn, and take note of what the block makes of it."""
        await self._turn(attempt)
        checked = Checked()
        try:
            yield checked
        finally:
            self._queue.end(attempt, self._clock(), is_right=checked.is_right)
            self._call_next()

    async def _turn(self, attempt: Attempt) -> None:
        """Wait for a login's turn; the queue has to be told of its end."""
        turn = self._futures[attempt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.add(attempt, self._clock())
            self._call_next()
            await turn
        except Refused:
            await self._hold_back(attempt)
            raise
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._queue.end(attempt, self._clock(), is_right=None)
            self._queue.remove(attempt)
            self._call_next()
            raise
        finally:
            del self._futures[attempt]

    async def _hold_back(self, attempt: Attempt) -> None:
        """Have a refused client wait for its answer, where it would be back at once and there is room for it."""
        if self._refused < MAX_REFUSED and attempt.is_wanted():
            self._refused += 1
            try:
                await asyncio.sleep(REFUSAL_S)  # a flood gets its refusals slowly
            finally:
                self._refused -= 1

    def _given_up(self, attempt: Attempt) -> None:
        turn = self._futures[attempt]
        if not turn.done():
            turn.set_exception(refusal("this login has waited too long for its turn"))

    def _call_next(self) -> None:
        """Let those go on whose turn has come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while (attempt := self._queue.next(now)) is not None:
            turn = self._futures[attempt]
            if turn.done():  # cancelled a moment ago
                self._queue.end(attempt, now, is_right=None)
            else:
                turn.set_result(None)
        later = self._queue.next_at(now)
        if later < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, later - now), self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._queue.expire(self._clock())
        self._call_next()

    def recognize(self, user: str, source: str) -> None:
        """Remember that a user is at an address: guesses elsewhere do not hold logins from there up."""
        self._queue.recognize(user, source)

    def close(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
