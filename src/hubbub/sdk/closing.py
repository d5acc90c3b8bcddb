"""What the end of a connection asks of the client: come back, or stay away."""

from __future__ import annotations

from hubbub.errors import CloseCode, ConnectionClosed, Flooding, Kicked, SessionEnded

__all__ = ["LOST", "ending"]

# No closing handshake took place (RFC 6455 section 7.1.5): the network or the server went away.
LOST = 1006

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


def ending(code: int, reason: str) -> ConnectionClosed | None:
    """The error that a close code ends the conversation with; None where the client comes back and resumes."""
    if code in COME_BACK or 4000 <= code <= 4099:
        return None
    return ENDINGS.get(code, ConnectionClosed)(code, reason)
