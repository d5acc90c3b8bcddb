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

    def response(self) -> bytes:
        """The whole HTTP response."""
        body = encode({"error": {"code": self.code, "message": self.message}})
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            *self.headers,
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
