"""Clients that share no code with the server: plain HTTP, classic pages, and a socket that says anything at all."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message as Headers
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from servers import ServerProcess

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "DEADLINE_S",
    "PING",
    "PONG",
    "TEXT",
    "Answer",
    "Page",
    "Raw",
    "Tickets",
    "ask",
    "enter",
    "frame",
    "memory",
    "page",
    "pages",
    "peak_memory",
    "say",
    "upgrade_head",
    "wait_until",
]

# Reached only where something is broken.
DEADLINE_S = 30.0

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

MASK = b"\x37\xfa\x21\x3d"

numbers = itertools.count(1)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what shows only to one who asks again."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


# HTTP


@dataclass(frozen=True)
class Answer:
    """What an HTTP request was answered."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of an error, its body being what every error's is."""
        body = self.json
        assert set(body) == {"error"}, body
        assert set(body["error"]) == {"code", "message"}, body
        assert body["error"]["message"]
        return str(body["error"]["code"])


def ask(
    server: ServerProcess, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One HTTP request on a connection of its own.  Nothing is added to it, no Content-Type either."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", server.port, timeout=DEADLINE_S, context=server.tls)
        if server.tls
        else http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    )
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Tickets:
    """One login of each user, and one-time passwords from it: a login costs a password hash, a ticket nothing."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._tokens: dict[str, str] = {}

    def token(self, user: str) -> str:
        if user not in self._tokens:
            self._tokens[user] = str(self._server.login(user)["token"])
        return self._tokens[user]

    def otp(self, user: str = "percy") -> str:
        return self._server.otp(self.token(user))


# Classic pages


def say(text: str, by: str = "somebody else") -> str:
    """A send_message as the earlier pages write it."""
    return json.dumps({"type": "send_message", "payload": {"message": text, "from": by}})


def enter(room: str) -> str:
    """A change_room as the earlier pages write it."""
    return json.dumps({"type": "change_room", "payload": {"name": room}})


class Page:
    """A classic client, as strict as the earlier pages: any other type than new_message is an error."""

    def __init__(self, connection: ClientConnection, user: str) -> None:
        self.connection = connection
        self.user = user

    def say(self, text: str) -> None:
        self.connection.send(say(text))

    def enter(self, room: str) -> None:
        """Go to a room, and wait until there."""
        self.connection.send(enter(room))
        self.assert_up()

    def send(self, text: str | bytes) -> None:
        """Send one frame, text or binary."""
        self.connection.send(text)

    def next_message(self) -> dict[str, str]:
        """The payload of the next event, which must be a new_message with nothing strange about it."""
        text = self.connection.recv(DEADLINE_S)
        assert isinstance(text, str), text
        event = json.loads(text)
        assert set(event) == {"type", "payload"}, event
        assert event["type"] == "new_message", event
        assert set(event["payload"]) == {"message", "from", "sent"}, event
        payload: dict[str, str] = event["payload"]
        return payload

    def assert_hears(self, text: str, by: str) -> None:
        """The next event is this message."""
        message = self.next_message()
        assert (message["message"], message["from"]) == (text, by)

    def assert_up(self) -> None:
        """The connection is up, and nothing has arrived that was not taken."""
        probe = f"probe {next(numbers)}"
        self.say(probe)
        self.assert_hears(probe, self.user)

    def assert_closed(self, code: int) -> list[str]:
        """The server closes with this code; what it said before that."""
        heard = []
        try:
            while True:
                heard.append(str(self.connection.recv(DEADLINE_S)))
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "cut without a close frame"
            assert closed.rcvd.code == code, closed.rcvd
        return heard


@contextmanager
def page(
    server: ServerProcess,
    otp: str,
    user: str = "percy",
    *,
    path: str = "/ws",
    query: str = "",
    room: str | None = None,
    **options: Any,
) -> Iterator[Page]:
    """A classic client, connected; by default in `general`, or in a room of its choice."""
    url = f"{server.ws_url.removesuffix('/ws')}{path}?otp={otp}{query}"
    settings: dict[str, Any] = {"open_timeout": DEADLINE_S, "ping_interval": None, "proxy": None, "ssl": server.tls}
    with connect(url, **settings | options) as connection:
        found = Page(connection, user)
        if room is not None:
            found.enter(room)
        yield found


@contextmanager
def pages(server: ServerProcess, tickets: Tickets, *users: str, room: str) -> Iterator[list[Page]]:
    """Classic clients of these users, each in the room before the next one comes, with nothing left to hear."""
    with ExitStack() as stack:
        found: list[Page] = []
        for user in users:
            newcomer = stack.enter_context(page(server, tickets.otp(user), user))
            newcomer.connection.send(enter(room))
            probe = f"{user} is here {next(numbers)}"
            newcomer.say(probe)
            found.append(newcomer)
            for member in found:
                member.assert_hears(probe, user)
        yield found


# Anything at all


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame (RFC 6455 section 5.2), or one that no client should send."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    return head + MASK + masked_bytes(payload) if masked else head + payload


def masked_bytes(payload: bytes) -> bytes:
    if not payload:
        return b""
    mask = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return number.to_bytes(len(payload), "big")


def upgrade_head(target: str, headers: Mapping[str, str | None] | None = None, *, extra: Sequence[str] = ()) -> bytes:
    """A good upgrade request, but for what `headers` changes, or takes away with None, and for the `extra` lines."""
    fields: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    fields |= headers or {}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, *extra, "", ""]).encode("latin-1")


class Raw:
    """A socket to the server, with and without TLS, that sends what it is told to."""

    def __init__(self, server: ServerProcess, *, receive_buffer: int | None = None) -> None:
        sock = socket.socket()
        sock.settimeout(DEADLINE_S)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", server.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket | ssl.SSLSocket = sock
        if server.tls is not None:
            self.socket = server.tls.wrap_socket(sock, server_hostname="127.0.0.1")
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @classmethod
    def websocket(
        cls,
        server: ServerProcess,
        otp: str,
        *,
        query: str = "",
        headers: Mapping[str, str | None] | None = None,
        receive_buffer: int | None = None,
    ) -> Self:
        """A connection past its 101."""
        raw = cls(server, receive_buffer=receive_buffer)
        raw.send(upgrade_head(f"/ws?otp={otp}{query}", headers))
        answer = raw.read_answer()
        assert answer.status == 101, answer
        return raw

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_frame(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        self.send(frame(opcode, payload, **options))

    def say(self, text: str) -> None:
        self.send_frame(TEXT, say(text).encode())

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._unread) < size:
            self._read_more()
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    def _read_more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the server closed after {bytes(self._unread[:200])!r}")
        self._unread += data

    def read_answer(self) -> Answer:
        """An HTTP answer."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._read_more()
        head = self.read(end + 4)
        status_line, _, rest = head.partition(b"\r\n")
        headers = http.client.parse_headers(BytesIO(rest))
        status = int(status_line.split(b" ")[1])
        body = self.read(int(headers.get("Content-Length") or 0))
        return Answer(status, headers, body)

    def read_frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of the server's next frame, which must be whole and unmasked."""
        first, second = self.read(2)
        assert first & 0xF0 == 0x80, f"a server frame begins with {first:#x}"
        assert second < 0x80, "a masked server frame"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self.read(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self.read(8))
        assert size < 126 or first & 0x0F < CLOSE, "an oversized control frame"
        return first & 0x0F, self.read(size)

    def read_message(self) -> str:
        """The text of the next new_message; pings are passed over."""
        kind, payload = self.read_frame()
        while kind == PING:
            kind, payload = self.read_frame()
        assert kind == TEXT, (kind, payload)
        event = json.loads(payload)
        assert event["type"] == "new_message"
        return str(event["payload"]["message"])

    def read_close(self) -> tuple[int | None, str]:
        """Read up to the server's CLOSE: its code and its reason."""
        kind, payload = self.read_frame()
        while kind != CLOSE:
            kind, payload = self.read_frame()
        if not payload:
            return None, ""
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def assert_closed(self, code: int | None) -> None:
        """The server says CLOSE with this code."""
        found, reason = self.read_close()
        assert found == code, (found, reason)

    def assert_ended(self, code: int | None) -> None:
        """The server says CLOSE with this code, then nothing more, and ends the connection."""
        self.assert_closed(code)
        self.assert_cut()

    def read_to_end(self) -> bytes:
        """All bytes until the server ends the connection, one way or the other."""
        data = bytes(self._unread)
        self._unread.clear()
        try:
            while more := self.socket.recv(65536):
                data += more
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
        return data

    def assert_cut(self) -> None:
        """The server ends the connection without another byte."""
        assert self.read_to_end() == b""

    def assert_up(self) -> None:
        """A message comes back, and nothing before it."""
        probe = f"probe {next(numbers)}"
        self.say(probe)
        assert self.read_message() == probe


# Memory


def memory(server: ServerProcess) -> int:
    """The bytes of memory that the server holds now."""
    pages_held = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages_held * os.sysconf("SC_PAGE_SIZE")


def peak_memory(server: ServerProcess) -> int:
    """The most bytes of memory that the server has ever held."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
