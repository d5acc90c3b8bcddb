"""What a request looks like on the wire, and what its answer does: a table, on a connection without a network."""

from __future__ import annotations

import asyncio
import json
from email.message import Message
from email.parser import BytesParser
from typing import NamedTuple

import pytest

from hubbub.wire.common import Common
from hubbub.wire.connection import HttpConnection, HttpShared
from hubbub.wire.request import Request, Response
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

COMMON = b"Content-Security-Policy: default-src 'none'\r\nStrict-Transport-Security: max-age=300\r\n"
HOST = b"Host: localhost\r\n"


class Shape(NamedTuple):
    """One row.

    Attributes:
        sent: what the client sends.
        status: the answer's.
        stays: whether the connection stays open after it.
        asked: method, path, host and body, as the routes are asked; None where they are not.
    """

    sent: bytes
    status: int
    stays: bool = False
    asked: tuple[str, str, str | None, bytes] | None = None


def get(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = HOST, body: bytes = b"") -> bytes:
    return b"".join([line, b"\r\n", host, *(field + b"\r\n" for field in fields), b"\r\n", body])


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return get(b"POST /p HTTP/" + version, *fields, body=body)


def served(sent: bytes, asked: tuple[str, str, str | None, bytes], *, status: int = 200, stays: bool = True) -> Shape:
    """A row of a request that comes to the routes."""
    return Shape(sent, status, stays, asked=asked)


ROOT = ("GET", "/", "localhost", b"")
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAA")
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")
JSON = b'{"username":"percy"}'
LENGTH = b"Content-Length: %d" % len(JSON)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON)
POSTED = ("POST", "/p", "localhost", JSON)

SHAPES = {
    # What is right
    "plain": served(get(), ROOT),
    "host with port": served(get(host=b"Host: localhost:8080\r\n"), ("GET", "/", "localhost:8080", b"")),
    "host in capitals": served(get(host=b"HOST: LocalHost\r\n"), ("GET", "/", "LocalHost", b"")),
    "host with dot": served(get(host=b"Host: localhost.\r\n"), ("GET", "/", "localhost.", b"")),
    "host with empty port": served(get(host=b"Host: localhost:\r\n"), ("GET", "/", "localhost:", b"")),
    "loopback address": served(get(host=b"Host: 127.0.0.1:80\r\n"), ("GET", "/", "127.0.0.1:80", b"")),
    "another loopback address": served(get(host=b"Host: 127.9.8.7\r\n"), ("GET", "/", "127.9.8.7", b"")),
    "loopback IPv6": served(get(host=b"Host: [::1]:80\r\n"), ("GET", "/", "[::1]:80", b"")),
    "own address": served(get(host=b"Host: 192.0.2.1\r\n"), ("GET", "/", "192.0.2.1", b"")),
    "empty lines before": served(b"\r\n\r\n" + get(), ROOT),
    "close": served(get(b"GET / HTTP/1.1", b"Connection: close"), ROOT, stays=False),
    "1.0": served(get(b"GET / HTTP/1.0"), ROOT, stays=False),
    "1.0 without host": served(get(b"GET / HTTP/1.0", host=b""), ("GET", "/", None, b""), stays=False),
    "1.0 keep-alive": served(get(b"GET / HTTP/1.0", b"Connection: keep-alive"), ROOT, stays=False),
    "1.0 expect": served(post(LENGTH, b"Expect: x", body=JSON, version=b"1.0"), POSTED, stays=False),
    "1.0 websocket": served(get(b"GET / HTTP/1.0", *WEBSOCKET), ROOT, stays=False),
    "HEAD": served(get(b"HEAD / HTTP/1.1"), ("HEAD", "/", "localhost", b"")),
    "OPTIONS *": served(get(b"OPTIONS * HTTP/1.1"), ("OPTIONS", "*", "localhost", b"")),
    "PUT": served(get(b"PUT / HTTP/1.1"), ("PUT", "/", "localhost", b"")),
    "TRACE": served(get(b"TRACE / HTTP/1.1"), ("TRACE", "/", "localhost", b"")),
    "escapes": served(get(b"GET /%77eb/a%20b?c=%20 HTTP/1.1"), ("GET", "/web/a b", "localhost", b"")),
    "escapes twice": served(get(b"GET /%2577 HTTP/1.1"), ("GET", "/%77", "localhost", b"")),
    "escaped UTF-8": served(get(b"GET /%C3%BC HTTP/1.1"), ("GET", "/ü", "localhost", b"")),
    "absolute": served(get(b"GET http://localhost/x HTTP/1.1"), ("GET", "/x", "localhost", b"")),
    "absolute wins": served(
        get(b"GET http://localhost:1/x HTTP/1.1", host=b"Host: evil.example\r\n"), ("GET", "/x", "localhost:1", b"")
    ),
    "body": served(post(LENGTH, body=JSON), POSTED),
    "body in chunks": served(post(CHUNKED, body=CHUNKS), POSTED),
    "GET with body": served(get(b"GET / HTTP/1.1", LENGTH, body=JSON), ("GET", "/", "localhost", JSON)),
    "h2c": served(get(b"GET / HTTP/1.1", *H2C), ROOT),
    "h2c with body": served(post(*H2C, LENGTH, body=JSON), POSTED),
    "h2c with chunks": served(post(*H2C, CHUNKED, body=CHUNKS), POSTED),
    "h2c first": served(post(LENGTH, *H2C, body=JSON), POSTED),
    "websocket without Connection": served(get(b"GET / HTTP/1.1", b"Upgrade: websocket"), ROOT),
    "100 fields": served(get(b"GET / HTTP/1.1", *[b"X: y"] * 99), ROOT),
    # Hosts
    "no host": Shape(get(host=b""), 400),
    "two hosts": Shape(get(host=HOST * 2), 400),
    "two hosts in 1.0": Shape(get(b"GET / HTTP/1.0", host=HOST * 2), 400),
    "two hosts and absolute": Shape(get(b"GET http://localhost/ HTTP/1.1", host=HOST * 2), 400),
    "bad host and absolute": Shape(get(b"GET http://localhost/ HTTP/1.1", host=b"Host: a b\r\n"), 400),
    "no host and absolute": Shape(get(b"GET http://localhost/ HTTP/1.1", host=b""), 400),
    "empty host": Shape(get(host=b"Host:\r\n"), 400),
    "host with user": Shape(get(host=b"Host: me@localhost\r\n"), 400),
    "host with path": Shape(get(host=b"Host: localhost/x\r\n"), 400),
    "host with space": Shape(get(host=b"Host: local host\r\n"), 400),
    "host is a list": Shape(get(host=b"Host: localhost, evil.example\r\n"), 400),
    "host with bad port": Shape(get(host=b"Host: localhost:99999\r\n"), 400),
    "host with a port of letters": Shape(get(host=b"Host: localhost:http\r\n"), 400),
    "host with half a bracket": Shape(get(host=b"Host: [::1\r\n"), 400),
    "host with a bad address": Shape(get(host=b"Host: [::1::2]\r\n"), 400),
    "host not ASCII": Shape(get(host=b"Host: \xfcber.example\r\n"), 400),
    "another host": Shape(get(host=b"Host: evil.example\r\n"), 421),
    "another host, HEAD": Shape(get(b"HEAD / HTTP/1.1", host=b"Host: evil.example\r\n"), 421),
    "another host, HEAD after an empty line": Shape(
        b"\r\n" + get(b"HEAD / HTTP/1.1", host=b"Host: evil.example\r\n"), 421
    ),
    "another host, 1.0": Shape(get(b"GET / HTTP/1.0", host=b"Host: evil.example\r\n"), 421),
    "another host, absolute": Shape(get(b"GET http://evil.example/ HTTP/1.1"), 421),
    "another host, websocket": Shape(get(b"GET /ws HTTP/1.1", *WEBSOCKET, host=b"Host: evil.example\r\n"), 421),
    "another address": Shape(get(host=b"Host: 192.0.2.9\r\n"), 421),
    "no address": Shape(get(host=b"Host: 0.0.0.0\r\n"), 421),
    "a host below": Shape(get(host=b"Host: x.localhost\r\n"), 421),
    # Lines
    "0.9": Shape(b"GET /\r\n\r\n", 400),
    "0.9 by name": Shape(get(b"GET / HTTP/0.9"), 505),
    "2.0": Shape(get(b"GET / HTTP/2.0"), 505),
    "1.2": Shape(get(b"GET / HTTP/1.2"), 505),
    "HEAD of 2.0": Shape(get(b"HEAD / HTTP/2.0"), 505),
    "preface of HTTP/2": Shape(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "RTSP": Shape(get(b"GET / RTSP/1.0"), 400),
    "RTSP's own": Shape(get(b"DESCRIBE rtsp://localhost/ RTSP/1.0"), 400),
    "ICE": Shape(get(b"SOURCE / ICE/1.0"), 400),
    "TLS": Shape(b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "two spaces": Shape(get(b"GET  / HTTP/1.1"), 400),
    "space at the end": Shape(get(b"GET / HTTP/1.1 "), 400),
    "no target": Shape(get(b"GET HTTP/1.1"), 400),
    "target with space": Shape(get(b"GET /a b HTTP/1.1"), 400),
    "target not ASCII": Shape(get(b"GET /\xc3\xbc HTTP/1.1"), 400),
    "lower case HTTP": Shape(get(b"GET / http/1.1"), 400),
    "line feeds": Shape(get().replace(b"\r\n", b"\n"), 400),
    "one line feed": Shape(get(b"GET / HTTP/1.1", b"X: y\nZ: z"), 400),
    "fold": Shape(get(b"GET / HTTP/1.1", b"X: y", b" z"), 400),
    "fold of an offer": Shape(get(b"GET / HTTP/1.1", b"Upgrade: h2c", b" websocket", b"Connection: upgrade"), 400),
    "space before colon": Shape(get(b"GET / HTTP/1.1", b"X : y"), 400),
    "NUL": Shape(get(b"GET / HTTP/1.1", b"X: \x00"), 400),
    "unknown method": Shape(get(b"BREW / HTTP/1.1"), 501),
    "method of others": Shape(get(b"PROPFIND / HTTP/1.1"), 501),
    "method in lower case": Shape(get(b"get / HTTP/1.1"), 501),
    "CONNECT": Shape(get(b"CONNECT localhost:80 HTTP/1.1"), 501),
    "GET *": Shape(get(b"GET * HTTP/1.1"), 400),
    "bad escape": Shape(get(b"GET /%zz HTTP/1.1"), 400),
    "half an escape": Shape(get(b"GET /% HTTP/1.1"), 400),
    "escaped NUL": Shape(get(b"GET /%00 HTTP/1.1"), 400),
    "escapes of no text": Shape(get(b"GET /%ff HTTP/1.1"), 400),
    "fragment": Shape(get(b"GET /#x HTTP/1.1"), 400),
    "another scheme": Shape(get(b"GET ftp://localhost/ HTTP/1.1"), 400),
    "long target": Shape(get(b"GET /" + b"x" * 8192 + b" HTTP/1.1"), 414),
    "longer target": Shape(b"GET /" + b"x" * 9000, 414),
    "101 fields": Shape(get(b"GET / HTTP/1.1", *[b"X: y"] * 100), 431),
    "101 fields, HEAD": Shape(get(b"HEAD / HTTP/1.1", *[b"X: y"] * 100), 431),
    "large head": Shape(get(b"GET / HTTP/1.1", b"X: " + b"y" * 16384), 431),
    # Bodies
    "1.0 in chunks": Shape(post(CHUNKED, body=CHUNKS, version=b"1.0"), 400),
    "length and chunks": Shape(post(LENGTH, CHUNKED, body=CHUNKS), 400),
    "chunks and length": Shape(post(CHUNKED, LENGTH, body=CHUNKS), 400),
    "two lengths": Shape(post(LENGTH, LENGTH, body=JSON), 400),
    "no length": Shape(post(b"Content-Length: x", body=JSON), 400),
    "gzip": Shape(post(b"Transfer-Encoding: gzip", body=CHUNKS), 501),
    "gzip and chunks": Shape(post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501),
    "identity": Shape(post(b"Transfer-Encoding: identity", body=JSON), 501),
    "chunks and gzip": Shape(post(b"Transfer-Encoding: chunked, gzip", body=CHUNKS), 400),
    "bad chunk": Shape(post(CHUNKED, body=b"x\r\n"), 400),
    "large body": Shape(post(b"Content-Length: 8193"), 413),
    "large body, HEAD": Shape(get(b"HEAD / HTTP/1.1", b"Content-Length: 8193"), 413),
    "another expectation": Shape(post(LENGTH, b"Expect: 200-ok", body=JSON), 417),
    "websocket with body": Shape(get(b"GET /ws HTTP/1.1", *WEBSOCKET, LENGTH, body=JSON), 400),
    "websocket with chunks": Shape(get(b"GET /ws HTTP/1.1", *WEBSOCKET, CHUNKED, body=CHUNKS), 400),
    "websocket and more": Shape(get(b"GET /ws HTTP/1.1", *WEBSOCKET, body=b"\x81\x80abcd"), 400),
}


class At(FakeTransport):
    """A connection that came to 192.0.2.1."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 8080) if name == "sockname" else super().get_extra_info(name, default)


class Desk:
    """A connection, and what is asked and upgraded on it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.asked: list[Request] = []
        self.upgraded: list[Request] = []
        shared = HttpShared(self._answer, self._upgrade, Common(COMMON, loop.time), 0)
        connection = HttpConnection(shared, loop)
        self.transport = At(connection)
        connection.connection_made(self.transport)

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(200, b"answer", "text/plain")

    def _upgrade(self, _transport: asyncio.Transport, request: Request) -> None:
        self.upgraded.append(request)

    async def send(self, data: bytes) -> bytes:
        self.transport.feed(data)
        await self.transport.settle()
        return self.transport.take()


def read_answer(written: bytes) -> tuple[int, Message, bytes]:
    """The status, the headers and the rest of an answer."""
    head, _, rest = written.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    version, status, _phrase = line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status), BytesParser().parsebytes(fields + b"\r\n\r\n"), rest


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("name", SHAPES)
async def test_shapes(name: str, step: int | None) -> None:
    shape = SHAPES[name]
    desk = Desk()
    # One byte at a time tells where a line or a field is looked at before it is whole; long ones say nothing new.
    size = step if step and len(shape.sent) < 1000 else len(shape.sent)
    for start in range(0, len(shape.sent), size):
        desk.transport.feed(shape.sent[start : start + size])
        if desk.upgraded:
            assert name == "websocket and more"
            return  # what followed came after the answer, as it should
    await desk.transport.settle()
    written = desk.transport.take()
    status, headers, rest = read_answer(written)
    assert status == shape.status
    for header in ("Date", "Content-Security-Policy", "Strict-Transport-Security"):
        assert len(headers.get_all(header, [])) == 1, header
    is_head = shape.sent.lstrip().startswith(b"HEAD ")
    length = int(headers["Content-Length"])
    assert length > 0
    assert len(rest) == (0 if is_head else length)
    if shape.asked is None:
        assert desk.asked == []
        if not is_head:
            assert set(json.loads(rest)["error"]) == {"code", "message"}
    else:
        [request] = desk.asked
        host = request.header("host")
        assert (request.method, request.path, host, request.body) == shape.asked
    assert (headers["Connection"] is None) is shape.stays
    assert desk.transport.is_half_closed is not shape.stays
    if shape.stays:
        again = await desk.send(get(b"GET /again HTTP/1.1"))
        assert read_answer(again)[0] == 200
        assert desk.asked[-1].path == "/again"


async def test_a_refused_request_leaves_nothing_to_be_taken_for_another() -> None:
    for name, shape in SHAPES.items():
        if shape.asked is None:
            desk = Desk()
            await desk.send(shape.sent + get(b"GET /smuggled HTTP/1.1"))
            assert desk.asked == desk.upgraded == [], name


@pytest.mark.parametrize("expected", [b"100-continue", b"100-CONTINUE", b"100-Continue"])
async def test_leave_is_given_in_any_case(expected: bytes) -> None:
    desk = Desk()
    assert await desk.send(post(LENGTH, b"EXPECT: " + expected)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert read_answer(await desk.send(JSON))[0] == 200


async def test_nobody_waits_for_leave_to_send_nothing() -> None:
    assert read_answer(await Desk().send(get(b"GET / HTTP/1.1", b"Expect: 100-continue")))[0] == 200


@pytest.mark.parametrize("offer", [b"websocket", b"h2c, WebSocket", b"h2c\r\nUpgrade: websocket"])
async def test_a_websocket_may_be_one_offer_of_many(offer: bytes) -> None:
    desk = Desk()
    assert await desk.send(get(b"GET /ws HTTP/1.1", b"Connection: upgrade", b"Upgrade: " + offer)) == b""
    assert len(desk.upgraded) == 1
