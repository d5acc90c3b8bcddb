"""A message that comes in fragments."""

from __future__ import annotations

import codecs

__all__ = ["BYTES_PER_FRAGMENT", "FREE_FRAGMENTS", "BadMessage", "Fragments"]

# Of frames that a message may come in, for nothing, and of the bytes of it that let it come in one more.
FREE_FRAGMENTS = 8
BYTES_PER_FRAGMENT = 1024


class BadMessage(Exception):
    """A message that cannot be taken: the close code for it, and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Fragments:
    """A message that comes in fragments (RFC 6455 section 5.4), as far as it has come.

    A message may come in 8 frames, and in one more for each KiB of it.  A frame more than that is counted against the
    client's rate, like an event.  So 16 KiB in pieces of 700 bytes cost no more than in one frame, but a client that
    goes on with tiny pieces is flooding.

    Args:
        is_text: whether it is a text message; its UTF-8 is checked as it comes.

    Attributes:
        size: bytes that have come.
    """

    __slots__ = ("_count", "_data", "_decoder")

    def __init__(self, *, is_text: bool) -> None:
        self._data = bytearray()
        self._count = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")() if is_text else None

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def is_in_too_many(self) -> bool:
        """Whether the last frame was one more than the message may come in."""
        return self._count > FREE_FRAGMENTS + self.size // BYTES_PER_FRAGMENT

    def add(self, data: bytes) -> None:
        """Take the next frame's payload.

        Raises:
            UnicodeDecodeError: what has come of a text message cannot become UTF-8.
        """
        if self._decoder is not None:
            self._decoder.decode(data)
        self._data += data
        self._count += 1

    def message(self) -> str | bytes:
        """The whole message.

        Raises:
            UnicodeDecodeError: a text message ends within a character.
            BadMessage: it cannot be taken for another reason.
        """
        return self._data.decode() if self._decoder is not None else bytes(self._data)
