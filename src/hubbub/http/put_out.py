"""Sessions whose streams the server has ended for good: a browser would come back by itself, whatever the reason.

A WebSocket's client is told by the close code to stay away.  An EventSource knows none; it stays away from an answer
that is no stream.  So the session of a stream that was put out gets none for a while, on any node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from hubbub.errors import ErrorCode, Refused
from hubbub.events import encode
from hubbub.notices import Notices

__all__ = ["PutOut"]

PUT_OUT = "put_out"

# Close codes that tell a client to stay away (`errors.CloseCode`).
STAY_AWAY = range(4100, 4200)
# For so long; a browser comes back within seconds, unless it sleeps.
AWAY_S = 300.0
MAX_SESSIONS = 10_000


class Away(msgspec.Struct):
    """What nodes tell each other: the hash of a session's token."""

    session: str


decode_away = msgspec.json.Decoder(Away).decode


class PutOut:
    """Who was put out lately.

    Args:
        notices: tells all nodes.
        clock: seconds that never go back.
    """

    def __init__(self, notices: Notices, clock: Callable[[], float]) -> None:
        self._notices = notices
        self._clock = clock
        # The oldest come first.
        self._since: dict[str, float] = {}
        notices.on(PUT_OUT, self._hear)

    def note(self, session: str, code: int) -> None:
        """Take note of a stream that the server has ended."""
        if code in STAY_AWAY:
            self._add(session)
            self._notices.tell(PUT_OUT, encode(Away(session)))

    def check(self, session: str) -> None:
        """Refuse (`forbidden`) a session that was put out a moment ago."""
        since = self._since.get(session)
        if since is not None and self._clock() - since < AWAY_S:
            raise Refused(ErrorCode.FORBIDDEN, "the server has ended a stream of this session, for good")

    def _add(self, session: str) -> None:
        self._since.pop(session, None)
        if len(self._since) >= MAX_SESSIONS:
            del self._since[next(iter(self._since))]
        self._since[session] = self._clock()

    def _hear(self, payload: bytes) -> None:
        """Take a notice of any node, this one included."""
        with contextlib.suppress(msgspec.DecodeError):  # a node of another version
            self._add(decode_away(payload).session)
