"""What can come of a check, and what it keeps for its report: the last thing sent, the last thing that came."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Failed", "NotOffered", "Trace", "printable"]

# Characters of a frame in a report.
MAX_SHOWN = 200


class Failed(Exception):
    """The server broke a promise.

    Attributes:
        sent: what it was sent.
        came: what it did.
        wanted: what would have been right.
    """

    def __init__(self, sent: str, came: str, wanted: str = "") -> None:
        super().__init__(sent, came, wanted)
        self.sent = sent
        self.came = came
        self.wanted = wanted


class NotOffered(Exception):
    """There is nothing here to hold the server to, or no way to see it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Trace:
    """The last words of a conversation."""

    sent: str = "nothing"
    came: str = "nothing"

    def clear(self) -> None:
        """Begin anew."""
        self.sent = self.came = "nothing"

    def failed(self, wanted: str, came: str | None = None) -> Failed:
        """What is wrong about the last thing that came, or about `came`."""
        return Failed(self.sent, self.came if came is None else came, wanted)

    def expect(self, is_right: bool, wanted: str, came: str | None = None) -> None:  # reads as assert
        """Fail unless it is right."""
        if not is_right:
            raise self.failed(wanted, came)


def printable(text: str | bytes) -> str:
    """Anything at all on one line of a terminal or in a file of XML, and not too much of it."""
    if isinstance(text, bytes):
        text = text[: MAX_SHOWN * 4].decode("utf-8", "backslashreplace")
    shown = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text[:MAX_SHOWN]
    )
    return shown + ("…" if len(text) > MAX_SHOWN else "")
