"""The headers of every answer, refusals included."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

__all__ = ["Common"]


class Common:
    """Makes the headers that every answer carries.

    Args:
        fixed: those that do not change, each ending in CRLF.
        clock: seconds; the date is made once in each.

    Attributes:
        fixed: as given.
    """

    def __init__(self, fixed: bytes, clock: Callable[[], float]) -> None:
        self.fixed = fixed
        self._clock = clock
        self._dated = b""
        self._second = -1

    def headers(self) -> bytes:
        """The headers, each ending in CRLF, the date (RFC 9110 section 6.6.1) among them."""
        now = int(self._clock())
        if now != self._second:
            self._second = now
            self._dated = b"Date: %b\r\n%b" % (formatdate(usegmt=True).encode(), self.fixed)
        return self._dated
