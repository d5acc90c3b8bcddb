"""The head of a request: bounded before it is parsed, and held to what RFC 9112 asks of it.

The parser keeps what it is given, accepts what other protocols send, and has one error for all that is wrong.  So a
head comes to it whole, counted, and with a request line that has been read.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from hubbub.wire.denial import Denied
from hubbub.wire.hosts import host_name, no_host

__all__ = [
    "MAX_BODY",
    "MAX_FIELDS",
    "MAX_HEAD",
    "MAX_LARGE_BODY",
    "MAX_TARGET",
    "Gauge",
    "asked_host",
    "bad",
    "body_length",
    "body_too_large",
    "check_line",
    "expects_continue",
    "largest_body",
    "without_offers",
]

# Bytes of a head, its request line and the empty line at its end included, and the fields in it.
MAX_HEAD = 16 * 1024
MAX_FIELDS = 100
MAX_TARGET = 8 * 1024
MAX_BODY = 8 * 1024
# Of requests of other programs, which say much at once, and of clients that have no WebSocket to say it.
MAX_LARGE_BODY = 64 * 1024
LARGE_BODIES = ("/api/", "/connection/", "/emulation")
# Bytes of a request line besides its target: a method, two spaces, a version and CRLF, with room to spare.
MAX_AROUND_TARGET = 64

IMPLEMENTED = frozenset({b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"})
# These exist, and no resource here has them: 405 with what it has.  All else is unknown here: 501 (RFC 9110 section
# 9.1).  CONNECT asks for a proxy.
KNOWN = IMPLEMENTED | {b"PUT", b"TRACE", b"PATCH"}
# RFC 9110 section 5.6.2; the version is any digits, so that another one is told from what is no HTTP.
TOKEN_CHARACTERS = rb"!#$%&'*+.^_`|~0-9A-Za-z-"
REQUEST_LINE = re.compile(rb"([%b]+) ([!-~]+) HTTP/([0-9]+)\.([0-9]+)\r\n" % TOKEN_CHARACTERS)
BEGINNING = re.compile(rb"[%b]" % TOKEN_CHARACTERS)
VERSIONS = ((b"1", b"0"), (b"1", b"1"))
EMPTY_LINES = re.compile(rb"(?:\r\n)+")
OFFER = re.compile(rb"\r\nupgrade:([^\r\n]*)", re.IGNORECASE)


class Gauge:
    """Finds the end of a head in what has come, and measures it on the way; it holds none of it."""

    __slots__ = ("_has_line", "_lines", "_seen")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._seen = 0
        self._lines = 0
        self._has_line = False

    def end(self, data: bytearray) -> int:
        """Where the head ends that begins `data`; 0 while it is not complete.

        `data` grows from one call to the next, and begins with the next head after an end was found.

        Raises:
            Denied: 431, 414, or what is wrong with the request line, as early as it can be told.
        """
        if not self._has_line and data.startswith(b"\r"):
            skip_empty_lines(data)
            self._seen = 0
            if data == b"\r":
                return 0
        end = data.find(b"\r\n\r\n", max(0, self._seen - 3))
        stop = end + 4 if end >= 0 else len(data)
        lines = data.count(b"\n", self._seen, stop)
        if lines != data.count(b"\r\n", max(0, self._seen - 1), stop):
            raise bad("a line of a request's head ends in CRLF, not in LF alone")
        self._lines += lines
        self._seen = stop
        self._check_first(data)
        # The request line and, once it has come, the empty line are no fields.
        if self._lines - 1 - (end >= 0) > MAX_FIELDS:
            raise too_many_fields()
        if stop > MAX_HEAD:
            raise Denied(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "bad_request", f"a request's head has over {MAX_HEAD} bytes"
            )
        if end < 0:
            return 0
        self._begin()
        return stop

    def _check_first(self, data: bytearray) -> None:
        """Check the first line when it is there, and what can be told of it before."""
        if self._has_line:
            return
        if self._lines:
            self._has_line = True
            check_line(bytes(data[: data.index(b"\n") + 1]))
        elif len(data) > MAX_TARGET + MAX_AROUND_TARGET:
            raise target_too_long()
        elif data and not BEGINNING.match(data):
            raise no_request()


def skip_empty_lines(data: bytearray) -> None:
    """Remove the empty lines before a request (RFC 9112 section 2.2)."""
    found = EMPTY_LINES.match(data)
    if found is not None:
        del data[: found.end()]


def check_line(line: bytes) -> None:
    """Check a request line, which ends in CRLF.

    Raises:
        Denied: 400 for what is none, 414 for its target, 505 for its version, 501 for its method.
    """
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise target_too_long() if len(line) > MAX_TARGET + MAX_AROUND_TARGET else no_request()
    method, target, *version = found.groups()
    if tuple(version) not in VERSIONS:
        raise Denied(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_request", "this server speaks HTTP/1.1 and HTTP/1.0")
    if method not in KNOWN:
        message = f"the method {method[:20].decode('latin-1')} is not known here"
        raise Denied(HTTPStatus.NOT_IMPLEMENTED, "not_implemented", message)
    if len(target) > MAX_TARGET:
        raise target_too_long()


def without_offers(head: bytes) -> bytes:
    """A head without offers of protocols that are not taken, so that the request's body is read as one.

    An offer may be ignored (RFC 9110 section 7.8), and is in HTTP/1.0; the parser would hand over at its end.
    """
    offers = OFFER.findall(head)
    if not offers:
        return head
    protocols = [offer.strip().lower() for offer in b",".join(offers).split(b",")]
    if b"websocket" in protocols and not head.partition(b"\r\n")[0].endswith(b"/1.0"):
        return head
    return OFFER.sub(b"", head)


def largest_body(path: str) -> int:
    """How many bytes the body of a request for a path may have."""
    return MAX_LARGE_BODY if f"{path}/".startswith(LARGE_BODIES) else MAX_BODY


def body_length(headers: dict[str, list[str]], version: str, most: int = MAX_BODY) -> int | None:
    """How many bytes the body has; None for one in chunks.  The parser has seen that a length is a number.

    Args:
        most: bytes that it may have.

    Raises:
        Denied: 400 for what could be read in two ways, 501 for an unknown coding, 413 for a length over `most`.
    """
    codings = headers.get("transfer-encoding")
    if codings is not None:
        if version == "1.0":
            raise bad("a request of HTTP/1.0 has no Transfer-Encoding")  # RFC 9112 section 6.1
        if [coding.lower() for coding in codings] != ["chunked"]:
            message = "no transfer coding but chunked is known here"
            raise Denied(HTTPStatus.NOT_IMPLEMENTED, "not_implemented", message)
        return None
    lengths = headers.get("content-length")
    if lengths is None:
        return 0
    # Zeros may lead it, more of them than `int` reads.
    digits = lengths[0].lstrip("0") or "0"
    if len(digits) > len(str(most)) or int(digits) > most:
        raise body_too_large(most)
    return int(digits)


def expects_continue(headers: dict[str, list[str]], version: str) -> bool:
    """Whether the client waits for leave to send the body (RFC 9110 section 10.1.1).

    Raises:
        Denied: 417 for another expectation.
    """
    expected = headers.get("expect")
    if expected is None or version == "1.0":
        return False
    if any(value.lower() != "100-continue" for value in expected):
        raise Denied(HTTPStatus.EXPECTATION_FAILED, "bad_request", "no expectation but 100-continue can be met")
    return True


def asked_host(headers: dict[str, list[str]], authority: str | None, version: str) -> str | None:
    """The host that a request is for: that of its target, or else of its Host (RFC 9112 section 3.2.2).

    None for one of HTTP/1.0, which may go without: no browser sends it.

    Raises:
        Denied: 400 for no Host, or for two.
    """
    hosts = headers.get("host", [])
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        raise bad(f"{len(hosts) or 'no'} Host headers, one is right")
    if authority is None:
        return hosts[0] if hosts else None
    if hosts and host_name(hosts[0]) is None:
        raise no_host()
    return authority


def body_too_large(most: int) -> Denied:
    """The body is over its bound."""
    return Denied(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body has over {most} bytes")


def bad(message: str) -> Denied:
    """A request that breaks a rule."""
    return Denied(HTTPStatus.BAD_REQUEST, "bad_request", message)


def no_request() -> Denied:
    """What has come is no request line."""
    return bad("this is not an HTTP request: its first line is like GET /path HTTP/1.1")


def target_too_long() -> Denied:
    """The target is over its bound."""
    return Denied(HTTPStatus.REQUEST_URI_TOO_LONG, "bad_request", f"a request's target has at most {MAX_TARGET} bytes")


def too_many_fields() -> Denied:
    """The fields are over their bound."""
    message = f"a request has at most {MAX_FIELDS} header fields"
    return Denied(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "bad_request", message)
