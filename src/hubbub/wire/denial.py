"""Turning an HTTP request down for good: the answer, after which its connection ends."""

from __future__ import annotations

from http import HTTPStatus

from hubbub.events import encode

__all__ = ["Denied"]


class Denied(Exception):
    """A request is answered with an error, and the connection ends."""

    def __init__(self, status: HTTPStatus, code: str, message: str, *headers: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def to_bytes(self, common: bytes, *, head_only: bool = False) -> bytes:
        """The whole response; `common` are the headers, each ending in CRLF, of every answer."""
        body = encode({"error": {"code": self.code, "message": self.message}})
        # Upgrade is for the next hop, which Connection has to say (RFC 9110 section 7.8).
        is_offer = self.status is HTTPStatus.UPGRADE_REQUIRED
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            f"Connection: {'upgrade, close' if is_offer else 'close'}",
            *self.headers,
        ]
        head = "\r\n".join(lines).encode() + b"\r\n" + common + b"\r\n"
        return head if head_only else head + body
