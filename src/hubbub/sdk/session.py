"""Getting in over HTTP: logging in, tickets for a connection, logging out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import msgspec

from hubbub.errors import AuthError, ProtocolError

__all__ = ["HttpRefused", "Login", "ServerAddress", "Session", "ask_ticket", "failure"]

# One request, from the first packet to the last byte of the answer.
REQUEST_S = 10.0
LOGOUT_S = 2.0
MAX_ANSWER = 64 * 1024

# What a server answers that has other pages there, or none (RFC 9110 sections 15.5.5 and 15.5.6).
NO_ROUTE = (404, 405)
NOT_HERE = "there is no Hubbub server; the URL of one that is mounted in an application ends in its path, such as /chat"


class HttpRefused(Exception):
    """The server answered no, for now or for good.

    Attributes:
        status: of HTTP.
        retry_after: seconds until asking again makes sense, where the server said so.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(status, message, retry_after)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"

    @property
    def is_for_now(self) -> bool:
        """Whether asking again may help."""
        return self.status in (408, 425, 429) or self.status >= 500


@dataclass(frozen=True)
class Login:
    """A name and a password, which nothing prints."""

    user: str
    password: str = field(repr=False)


class ServerAddress:
    """Where a server is, and what to trust it with.

    Args:
        url: `https://host:port` or `http://host:port`; a path before the server's own is kept.
        tls: what to trust; None takes the system's authorities.

    Raises:
        ValueError: this is no such URL, or `tls` is given for plain HTTP.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no server's URL; write https://host:port")
        is_secure = parts.scheme == "https"
        if tls is not None and not is_secure:
            raise ValueError(f"{url!r} is plain HTTP, where there is nothing to trust; write https://")
        self.url = url.rstrip("/")
        self.tls = (tls or ssl.create_default_context()) if is_secure else None
        self.host = parts.hostname
        self.port = parts.port or (443 if is_secure else 80)
        self.netloc = netloc(parts)
        self.path = parts.path.rstrip("/")

    @property
    def ws_url(self) -> str:
        """Where its WebSocket is."""
        return f"{'wss' if self.tls else 'ws'}://{self.netloc}{self.path}/ws"


def netloc(parts: SplitResult) -> str:
    """Host and port, without a user that someone may have written into the URL."""
    return parts.netloc.rpartition("@")[2]


class LoginReply(msgspec.Struct):
    """What logging in, or asking for another ticket, is answered."""

    otp: str
    token: str = ""


class Problem(msgspec.Struct):
    message: str = ""


class ErrorBody(msgspec.Struct):
    error: Problem = msgspec.field(default_factory=Problem)


class Session:
    """One login, made when it is needed and again when it has run out."""

    def __init__(self, server: ServerAddress, credentials: Login) -> None:
        self._server = server
        self._credentials = credentials
        self._token = ""

    async def ticket(self) -> str:
        """A one-time password for a connection.

        Raises:
            AuthError: wrong name or password.
            HttpRefused: not now.
            ProtocolError: what answers is no such server.
            OSError: no one answers.
        """
        if self._token:
            try:
                return (await ask_ticket(self._server, "/otp", None, self._token)).otp
            except HttpRefused as denied:
                if denied.status != 401:
                    raise
                self._token = ""  # ended, or the server has forgotten it
        return await self._log_in()

    async def _log_in(self) -> str:
        body = {"username": self._credentials.user, "password": self._credentials.password}
        try:
            tickets = await ask_ticket(self._server, "/login", body, self._token)
        except HttpRefused as denied:
            if denied.status == 401:
                raise AuthError(denied.message) from None
            raise
        self._token = tickets.token
        return tickets.otp

    async def log_out(self) -> None:
        """End the login, if there is one and the server can be told."""
        token, self._token = self._token, ""
        if token:
            with contextlib.suppress(HttpRefused, ProtocolError, OSError, TimeoutError):
                async with asyncio.timeout(LOGOUT_S):
                    await request(self._server, "/logout", b"", token)


async def ask_ticket(server: ServerAddress, path: str, body: object, token: str) -> LoginReply:
    """Ask for a one-time password.

    Raises:
        HttpRefused: the answer is not a good one.
        ProtocolError: what answers is no such server.
        OSError: no one answers.
    """
    answer = await request(server, path, msgspec.json.encode(body) if body else b"", token)
    try:
        return msgspec.json.decode(answer, type=LoginReply)
    except (msgspec.DecodeError, UnicodeError):
        raise ProtocolError(f"{server.url}{path} answers, but is no Hubbub server") from None


# HTTP


class HttpAnswer:
    """Collects an HTTP response as httptools reads it."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


async def request(server: ServerAddress, path: str, body: bytes, token: str = "") -> bytes:
    """Send one POST on a connection of its own; the body of the answer.

    Raises:
        HttpRefused: the answer is not a good one.
        ProtocolError: it is no HTTP.
        OSError: there is none.
    """
    async with asyncio.timeout(REQUEST_S):
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=server.tls)
        try:
            writer.write(head(server, path, len(body), token) + body)
            status, answer = await read_answer(reader)
        finally:
            # Nothing more is said on this connection, so nobody need wait for its end.
            writer.transport.abort()
    if not 200 <= status < 300:
        raise denied(status, answer.body, answer.headers.get("retry-after", ""))
    return answer.body


def head(server: ServerAddress, path: str, size: int, token: str) -> bytes:
    lines = [
        f"POST {server.path}{path} HTTP/1.1",
        f"Host: {server.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {size}",
        "Connection: close",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, HttpAnswer]:
    # Whoever imports the client need not load the parser; whoever logs in does.
    import httptools

    answer = HttpAnswer()
    parser = httptools.HttpResponseParser(answer)
    size = 0
    while not answer.is_complete:
        data = await reader.read(MAX_ANSWER)
        if not data:
            if answer.headers and "content-length" not in answer.headers:
                break  # a body that ends with the connection (RFC 9112 section 6.3)
            raise ConnectionResetError("the server closed before it had answered")
        size += len(data)
        if size > MAX_ANSWER:
            raise ProtocolError(f"an answer of over {MAX_ANSWER} bytes is not a Hubbub server's")
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ProtocolError(f"what answers does not speak HTTP: {error}") from None
    return parser.get_status_code(), answer


def denied(status: int, body: bytes | bytearray, retry_after: str) -> HttpRefused:
    """The refusal that an answer with this status is."""
    try:
        message = msgspec.json.decode(body, type=ErrorBody).error.message
    except (msgspec.DecodeError, UnicodeError):
        message = ""
    # A date is the header's other form (RFC 9110 section 10.2.3); no Hubbub server sends it.
    unsaid = NOT_HERE if status in NO_ROUTE else "no reason given"
    return HttpRefused(status, message or unsaid, float(retry_after) if retry_after.isdecimal() else 0.0)


def failure(error: Exception) -> str:
    """Why a try to reach a server has failed, and what is to be done about it where that is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or str(error)
        return f"its certificate is not trusted ({why}); ca_file= of connect, or tls= of a Publisher, names another CA"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what listens there speaks no TLS; if that is right, the URL begins with http://"
    return str(error) or type(error).__name__
