"""An HTTP request, and what may be answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from hubbub.wire.denial import Denied

__all__ = ["STATUS_LINES", "Request", "RequestTarget", "Response", "always", "read_target", "without_controls"]

MAX_QUERY_FIELDS = 64
# Members of a header that is a list.
MAX_TOKENS = 64

END_OF_AUTHORITY = re.compile(r"[/?#]")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


def always() -> bool:
    """Somebody waits."""
    return True


class Request(msgspec.Struct, frozen=True):
    """A whole request.

    Attributes:
        query: what stands behind the `?`, unread.
        headers: their values, under names in lower case.
        address: the client's.
        is_secure: whether a trusted proxy says that it came by HTTPS.
        is_wanted: whether the client still waits for the answer.
        scope: the ASGI scope that it came with, where another application's server has taken it.
        version: of HTTP.
    """

    method: str
    path: str
    query: str
    headers: dict[str, list[str]]
    address: str = ""
    body: bytes = b""
    is_secure: bool = False
    is_wanted: Callable[[], bool] = always
    scope: dict[str, Any] | None = None
    version: str = "1.1"

    @property
    def root(self) -> str:
        """The path that the hub is mounted under, as in `/chat`; empty for the root of the site."""
        return "" if self.scope is None else self.scope.get("root_path", "").rstrip("/")

    def header(self, name: str) -> str | None:
        """A header's only value; None without one.  `Denied` (400) when there are several."""
        values = self.headers.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", f"{len(values)} {name} headers, one is right")
        return values[0]

    def tokens(self, name: str) -> list[str]:
        """The members of a header that is a list (RFC 9110 section 5.6.1); `Denied` (400) when there are too many."""
        parts = ",".join(self.headers.get(name, ())).split(",", MAX_TOKENS)
        if len(parts) > MAX_TOKENS:
            raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", f"over {MAX_TOKENS} members in {name}")
        return [token for part in parts if (token := part.strip())]

    def query_fields(self) -> dict[str, list[str]]:
        """The fields of the query, or `Denied` (400)."""
        try:
            return parse_qs(self.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise unreadable() from None


class RequestTarget(NamedTuple):
    """What a request is for.

    Attributes:
        path: with its escapes read, once.
        query: what stands behind the `?`, unread.
        authority: host and port of a whole URL; None where the target is none.
    """

    path: str
    query: str
    authority: str | None = None


def read_target(target: str, method: str) -> RequestTarget:
    """Read a request's target (RFC 9112 section 3.2); `Denied` (400) for one that cannot be read."""
    if target == "*":
        if method != "OPTIONS":
            raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", "* stands for the server, and only OPTIONS asks of it")
        return RequestTarget("*", "")
    authority = None
    rest = target
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise unreadable()
        authority = END_OF_AUTHORITY.split(rest, maxsplit=1)[0]
        rest = rest[len(authority) :]
    if "#" in rest:
        raise unreadable()
    path, _, query = rest.partition("?")
    return RequestTarget(unescaped(path) if "%" in path else path or "/", query, authority)


def unescaped(path: str) -> str:
    """A path with its escapes read; `Denied` (400) for one that stands for no text, or for control characters."""
    if BAD_ESCAPE.search(path):
        raise unreadable()
    try:
        plain = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise unreadable() from None
    return without_controls(plain)


def without_controls(path: str) -> str:
    """A path that has no control characters; `Denied` (400) for one that has."""
    if CONTROLS.search(path):
        raise unreadable()
    return path


def unreadable() -> Denied:
    """A target that cannot be read."""
    return Denied(HTTPStatus.BAD_REQUEST, "bad_request", "the request's URL cannot be read")


class Response(msgspec.Struct, frozen=True):
    """What a request is answered.

    Attributes:
        headers: besides those of the content.
    """

    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = {}

    def fields(self) -> list[tuple[str, str]]:
        """The headers, those of the content among them."""
        fields = list(self.headers.items())
        if self.body:
            fields.append(("Content-Type", self.media_type))
        if self.status not in (204, 304):  # RFC 9110 section 8.6
            fields.append(("Content-Length", str(len(self.body))))
        return fields

    def to_bytes(self, common: bytes, *, keep_alive: bool, head_only: bool = False) -> bytes:
        """The whole response; `common` are the headers, each ending in CRLF, of every answer."""
        lines = [STATUS_LINES[self.status]]
        for name, value in self.fields():
            lines.append(f"{name}: {value}\r\n")
        # Upgrade is for the next hop, which Connection has to say (RFC 9110 section 7.8).
        if "Upgrade" in self.headers:
            lines.append("Connection: upgrade\r\n" if keep_alive else "Connection: upgrade, close\r\n")
        elif not keep_alive:
            lines.append("Connection: close\r\n")
        head = "".join(lines).encode("latin-1") + common + b"\r\n"
        return head if head_only else head + self.body
