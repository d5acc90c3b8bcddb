"""Answers that routes have in common: refusals, secrets, and what a body should have been."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog

from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import encode
from hubbub.policy import retry_after
from hubbub.wire.denial import Denied
from hubbub.wire.request import Request, Response

__all__ = ["NO_STORE", "HttpError", "Route", "as_http", "error_response", "read_body", "secret", "unavailable"]

log = structlog.get_logger("hubbub.http")

Route = Callable[[Request], Awaitable[Response]]

NO_STORE = {"Cache-Control": "no-store"}

STATUS: dict[str, int] = {
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NO_SUCH_ROOM: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}

T = TypeVar("T")


class HttpError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def secret(answer: dict[str, object], headers: dict[str, str] | None = None) -> Response:
    """An answer that no cache may keep."""
    return Response(200, encode(answer), headers={**NO_STORE, **(headers or {})})


def read_body(body: bytes, decode: Callable[[bytes], T], example: str) -> T:
    """Read a JSON body."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise HttpError(400, "bad_request", f"{error}; send {example}") from None


def error_response(error: HttpError) -> Response:
    """An error as the protocol page wants it."""
    body = encode({"error": {"code": error.code, "message": error.message}})
    return Response(error.status, body, headers={**NO_STORE, **error.headers})


def as_http(error: Exception, request: Request) -> HttpError:
    """An error as HTTP says it."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, Refused):
        headers = {} if error.retry_after is None else {"Retry-After": retry_after(error.retry_after)}
        return HttpError(STATUS.get(error.code, 400), error.code, error.message, headers)
    if isinstance(error, Denied):
        headers = dict(header.split(": ", 1) for header in error.headers)
        return HttpError(error.status.value, error.code, error.message, headers)
    if isinstance(error, EngineError):
        return unavailable(str(error))
    # Our fault: the details are for the log, not for the client.
    log.error("request failed", path=request.path, exc_info=error)
    return HttpError(500, "internal", "the server failed; its log says why")


def unavailable(message: str) -> HttpError:
    """Shared state is out of reach, or the server is going away: worth another try."""
    return HttpError(503, "unavailable", message, {"Retry-After": "5"})
