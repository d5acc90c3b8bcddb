"""What the end of a connection asks of the client: come back, or stay away."""

from __future__ import annotations

from hubbub.errors import CloseCode, ConnectionClosed, ErrorCode, Flooding, HubbubError, Kicked, Rejected, SessionEnded

__all__ = ["LAST_ENDING", "LOST", "ending", "is_ending"]

# No closing handshake took place (RFC 6455 section 7.1.5): the network or the server went away.
LOST = 1006
# The last of the codes that say: do not come back.
LAST_ENDING = 4199

COME_BACK = frozenset(
    {
        CloseCode.GOING_AWAY,
        1005,  # a CLOSE without a code, as proxies send
        LOST,
        CloseCode.INTERNAL_ERROR,
        CloseCode.RESTART,
        CloseCode.OVERLOADED,
        1014,  # a proxy has lost the server
    }
)

ENDINGS: dict[int, type[ConnectionClosed]] = {
    CloseCode.SESSION_ENDED: SessionEnded,
    CloseCode.KICKED: Kicked,
    CloseCode.FLOODING: Flooding,
}


def is_ending(code: int) -> bool:
    """Whether a close code ends the conversation: otherwise the client comes back and resumes."""
    return code not in COME_BACK and not 4000 <= code <= 4099


def ending(code: int, reason: str) -> HubbubError:
    """The error that such a close code ends the conversation with."""
    if code == CloseCode.TURNED_AWAY:
        return Rejected(ErrorCode.FORBIDDEN, reason or "the server does not let this user in")
    return ENDINGS.get(code, ConnectionClosed)(code, reason)
