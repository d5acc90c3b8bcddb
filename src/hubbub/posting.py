"""Postings: events on their way into the log, and what one call of a handler has posted."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator
from contextvars import ContextVar
from enum import Enum, auto

import structlog

from hubbub.engine import Draft, Receipt
from hubbub.errors import EngineError

__all__ = ["Call", "Posting", "PostingState", "call_of_task"]

log = structlog.get_logger("hubbub")


class PostingState(Enum):
    """How far a posting has come."""

    PENDING = auto()
    KEPT = auto()
    FAILED = auto()


class Posting(Draft, gc=True, eq=False):
    """An event on its way into a room's log.

    Await it for its `Receipt`; it raises `EngineError` where the event could not be kept.  Return it from a handler to
    acknowledge the request with its `room`, `seq` and `sent`.

    Attributes:
        outcome: its receipt once it is kept, the error once it has failed; None before.
    """

    outcome: Receipt | EngineError | None = None
    # What is called with this posting once it has an outcome, and whether an outcome is waited for at all.
    callbacks: tuple[Callable[[Posting], None], ...] = ()

    @property
    def state(self) -> PostingState:
        if self.outcome is None:
            return PostingState.PENDING
        return PostingState.KEPT if isinstance(self.outcome, Receipt) else PostingState.FAILED

    def __await__(self) -> Generator[None, None, Receipt]:
        if self.outcome is None:
            waiter = asyncio.get_running_loop().create_future()
            self.call_when_settled(functools.partial(wake, waiter))
            yield from waiter.__await__()
        return self.receipt()

    def receipt(self) -> Receipt:
        """The receipt of a posting that is settled; raises what kept it from being kept."""
        if isinstance(self.outcome, EngineError):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome

    def call_when_settled(self, callback: Callable[[Posting], None]) -> None:
        """Call `callback` once there is an outcome, which must be still to come."""
        self.callbacks += (callback,)

    def settle(self, outcome: Receipt | EngineError) -> None:
        """Take the outcome, and tell whoever waits for it; what they do about it stops nobody else."""
        self.outcome = outcome
        if self.callbacks:
            # They refer back to here: left in place, both would wait for the garbage collector.
            callbacks, self.callbacks = self.callbacks, ()
            for callback in callbacks:
                try:
                    callback(self)
                except Exception:
                    log.exception("reply failed", type=self.type)


def wake(waiter: asyncio.Future[None], _posting: Posting) -> None:
    """Wake whoever awaits a posting, if somebody still does."""
    if not waiter.done():
        waiter.set_result(None)


class Call:
    """One call of an asynchronous handler.

    Attributes:
        hold: called with the name of each room that is posted to, before the posting goes anywhere.
        postings: what it has posted, in order.
        is_over: what is posted now is not the call's any more, but that of a task that outlives it.
    """

    __slots__ = ("hold", "is_over", "postings")

    def __init__(self, hold: Callable[[str], None] | None = None) -> None:
        self.hold = hold
        self.postings: list[Posting] = []
        self.is_over = False

    def note(self, posting: Posting) -> None:
        """Take note of a posting."""
        if self.is_over:
            return
        self.postings.append(posting)
        if self.hold is not None:
            self.hold(posting.room)


# The call of an asynchronous handler that the task at work belongs to.
call_of_task: ContextVar[Call | None] = ContextVar("call_of_task", default=None)
