"""Amendments: bodies in the log that are replaced in the step in which a draft is kept."""

from __future__ import annotations

import msgspec

from hubbub.events import rfc3339

__all__ = ["Amend"]


class Amend(msgspec.Struct, frozen=True, gc=False):
    """A body in a room's log that is to be replaced, if it still is as it was read.

    Attributes:
        seq: the message whose body it is.
        expected: the body as it was read.
        body: what takes its place; where `rest` is given, what comes before the place of the draft.
        rest: what comes after that place; None for a body that does not name it.
    """

    seq: int
    expected: bytes
    body: bytes
    rest: bytes | None = None

    def filled(self, seq: int, sent: int) -> bytes:
        """The new body, for a draft that has got its place."""
        return self.body if self.rest is None else self.body + place_of(seq, sent) + self.rest


def place_of(seq: int, sent: int) -> bytes:
    """A place in a log, as bodies name it."""
    return b'{"seq":%d,"sent":"%b"}' % (seq, rfc3339(sent))
