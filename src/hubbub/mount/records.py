"""Texts on their way to an ASGI server, which takes them one by one: joined for an audience, and divided again once.

What the hub writes to a client is bytes, which it joins for all members of an audience.  Here each text is a record
with a byte at its end that no JSON text has (RFC 7464 takes it for the same purpose).
"""

from __future__ import annotations

__all__ = ["Divider", "record"]

# ASCII's record separator.
SEPARATOR = b"\x1e"
ESCAPED = b"\\u001e"


def record(text: bytes) -> bytes:
    """A text as a record."""
    if SEPARATOR in text:  # an application has put it there by hand; in two parts it could pass for another event
        text = text.replace(SEPARATOR, ESCAPED)
    return text + SEPARATOR


class Divider:
    """Divides joined records.  All members of an audience are written the same bytes one after the other: so it is done
    for the first of them."""

    __slots__ = ("_joined", "_texts")

    def __init__(self) -> None:
        self._joined = b""
        self._texts: tuple[str, ...] = ()

    def texts(self, joined: bytes) -> tuple[str, ...]:
        """The texts of joined records."""
        if joined is not self._joined:
            self._joined = joined
            self._texts = tuple(joined[:-1].decode(errors="replace").split("\x1e"))
        return self._texts
