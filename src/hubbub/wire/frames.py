"""Prepared frames: the bytes of a whole server frame (RFC 6455 section 5.2), made once and written to many."""

from __future__ import annotations

from struct import pack

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "binary_frame",
    "close_frame",
    "control_frame",
    "short_reason",
    "text_frame",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# A control frame's payload has 125 bytes at most (section 5.5), and a close reason is what the code leaves of them.
MAX_REASON = 123


def text_frame(payload: bytes) -> bytes:
    """A whole text message in one frame, unmasked as a server's are."""
    size = len(payload)
    if size < 126:
        return pack("!BB", 0x81, size) + payload
    if size < 65536:
        return pack("!BBH", 0x81, 126, size) + payload
    return pack("!BBQ", 0x81, 127, size) + payload


def binary_frame(payload: bytes) -> bytes:
    """A whole binary message in one frame."""
    size = len(payload)
    if size < 126:
        return pack("!BB", 0x82, size) + payload
    if size < 65536:
        return pack("!BBH", 0x82, 126, size) + payload
    return pack("!BBQ", 0x82, 127, size) + payload


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A PING or PONG; the payload has 125 bytes at most."""
    return pack("!BB", 0x80 | opcode, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A CLOSE, its reason cut to what fits without splitting a character; None for a close without a code."""
    if code is None:
        return control_frame(CLOSE)
    return control_frame(CLOSE, pack("!H", code) + short_reason(reason).encode())


def short_reason(reason: str) -> str:
    """The reason of a CLOSE, cut to what fits into its frame without splitting a character."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
