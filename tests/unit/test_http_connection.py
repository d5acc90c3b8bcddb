"""HTTP connections without a network: what a server owes itself and its clients around the parser."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import weakref
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.wire import common as common_module
from hubbub.wire.common import Common
from hubbub.wire.connection import MAX_DROPPED, MAX_FRAMED, MAX_WAITING, PIECE, HttpConnection, HttpShared
from hubbub.wire.denial import Denied
from hubbub.wire.head import MAX_BODY, MAX_FIELDS, MAX_HEAD, MAX_LARGE_BODY, MAX_TARGET, body_length
from hubbub.wire.hosts import Hosts
from hubbub.wire.http import RECEIVE_BUFFER, HttpServer
from hubbub.wire.request import Request, Response
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

TIMEOUT_S = 10.0

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /ws?otp=x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Timer:
    """A call for later."""

    def __init__(self, due: float, call: Callable[[], object]) -> None:
        self.due = due
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """The loop that runs, with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.due <= self.now]
        self.timers = [timer for timer in self.timers if timer.due > self.now]
        for timer in due:
            if not timer.is_cancelled:
                timer.call()


class Site:
    """A server that answers when it is told to, and one client's connection to it.

    Attributes:
        asked: the requests that are to be answered, or were.
        upgraded: those that became a WebSocket's.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, at_once: bool = True, has_halves: bool = True) -> None:
        self.loop = Loop()
        common = Common(b"X-Common: yes\r\n", self.loop.time)
        self.shared = HttpShared(self._answer, self._upgrade, common, timeout_s, Hosts(["a"]))
        self.server = HttpServer(self.shared)
        self.at_once = at_once
        self.asked: list[Request] = []
        self.upgraded: list[Request] = []
        self._due: list[asyncio.Future[Response]] = []
        self.connection = HttpConnection(self.shared, self.loop)  # type: ignore[arg-type]  # what it needs of one
        self.transport = FakeTransport(self.connection, has_halves=has_halves)
        self.connection.connection_made(self.transport)

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        if not self.at_once:
            answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            self._due.append(answer)
            return await answer
        return Response(200, request.path.encode(), "text/plain")

    def _upgrade(self, transport: asyncio.Transport, request: Request) -> None:
        assert transport is self.transport
        self.upgraded.append(request)

    async def answer(self, body: bytes = b"ok") -> bytes:
        """Answer the request that is at work; what has been written since the last look."""
        self._due.pop(0).set_result(Response(200, body, "text/plain"))
        await self.transport.settle()
        return self.transport.take()

    async def send(self, data: bytes) -> bytes:
        """Let bytes arrive; what is written because of them."""
        self.transport.feed(data)
        await self.transport.settle()
        return self.transport.take()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


def statuses(data: bytes) -> list[int]:
    """The status codes of the answers in it."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: a", *headers, "", ""]).encode("latin-1")


def post(body: bytes, *headers: str) -> bytes:
    head = "\r\n".join(["POST / HTTP/1.1", "Host: a", *headers, "", ""]).encode()
    return head + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return post(body + b"0\r\n" + trailers + b"\r\n", "Transfer-Encoding: chunked")


def assert_refused(site: Site, written: bytes, status: int, code: str = "bad_request") -> None:
    """The only answer is this refusal, nobody was asked, and our half is closed."""
    assert statuses(written) == [status]
    assert b'"code":"%b"' % code.encode() in written
    assert b"Connection: close\r\n" in written
    assert site.asked == []
    assert site.transport.is_half_closed


# A request and its answer


async def test_a_request_is_answered_and_the_connection_stays() -> None:
    site = Site()
    for path in ("/a", "/b"):
        answer = await site.send(get(path))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Common: yes\r\n" in answer
        assert b"\r\nDate: " in answer
        assert b"Connection: close" not in answer
        assert answer.endswith(b"\r\n\r\n" + path.encode())
    assert not site.transport.is_half_closed


async def test_what_is_asked_is_what_was_sent() -> None:
    site = Site()
    await site.send(
        b"POST /a?b=c&d HTTP/1.1\r\nHost: a\r\n"
        b"X-One: 1\r\nx-one:  2 \r\nX-Latin: \xe9\r\nContent-Length: 5\r\n\r\nhello"
    )
    (request,) = site.asked
    assert (request.method, request.path, request.query) == ("POST", "/a", "b=c&d")
    assert request.headers == {
        "host": ["a"],
        "x-one": ["1", "2"],
        "x-latin": ["\u00e9"],
        "content-length": ["5"],
    }
    assert request.address == "10.0.0.1"
    assert request.body == b"hello"


async def test_one_request_leaves_nothing_to_the_next() -> None:
    site = Site()
    await site.send(post(b"hello", "Content-Length: 5", "X-First: 1") + get("/b?c"))
    first, second = site.asked
    assert (first.body, first.query) == (b"hello", "")
    assert (second.body, second.query, second.headers, second.path) == (b"", "c", {"host": ["a"]}, "/b")


@pytest.mark.parametrize("size", [1, 2, 7, 64, 5000])
async def test_it_does_not_matter_how_the_bytes_come(size: int) -> None:
    data = get("/a") + chunked(b"hel", b"lo") + post(b"x" * 300, "Content-Length: 300") + get("/b")
    site, written = Site(), b""
    for start in range(0, len(data), size):
        written += await site.send(data[start : start + size])
    assert statuses(written) == [200] * 4
    assert [request.body for request in site.asked] == [b"", b"hello", b"x" * 300, b""]


async def test_a_head_request_gets_the_head_alone() -> None:
    site = Site()
    answer = await site.send(b"HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert statuses(await site.send(GET)) == [200]


@pytest.mark.parametrize(
    "request_",
    [get("/", "Connection: close"), get("/", version="1.0"), get("/", "Connection: keep-alive", version="1.0")],
)
async def test_a_client_may_ask_for_the_end(request_: bytes) -> None:
    site = Site()
    answer = await site.send(request_ + get("/late"))
    assert statuses(answer) == [200]
    assert b"Connection: close\r\n" in answer
    assert site.transport.is_half_closed
    assert await site.send(get("/later")) == b""
    assert site.paths == ["/"]


async def test_where_halves_cannot_be_closed_the_last_answer_closes_the_transport() -> None:
    site = Site(has_halves=False)
    assert statuses(await site.send(get("/", "Connection: close"))) == [200]
    assert site.transport.is_closed
    assert not site.transport.is_cut


async def test_the_date_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def formatdate(*, usegmt: bool) -> str:
        assert usegmt
        made.append("now")
        return f"second {len(made)}"

    monkeypatch.setattr(common_module, "formatdate", formatdate)
    site = Site()
    for now, date in ((1000.0, b"second 1"), (1000.9, b"second 1"), (1001.0, b"second 2")):
        site.loop.now = now
        assert b"Date: %b\r\nX-Common: yes\r\n" % date in await site.send(GET)


# The order of answers, and how many may wait


async def test_answers_come_one_at_a_time_and_in_order() -> None:
    site = Site(at_once=False)
    await site.send(get("/1") + get("/2") + get("/3"))
    assert site.paths == ["/1"]
    for number in (1, 2, 3):
        answer = await site.answer(b"answer %d" % number)
        assert answer.endswith(b"answer %d" % number)
        assert len(site.asked) == min(number + 1, 3)


async def test_a_refusal_waits_for_the_answers_before_it() -> None:
    site = Site(at_once=False)
    assert await site.send(get("/1") + get("/2") + b"nonsense\r\n\r\n" + get("/3")) == b""
    assert statuses(await site.answer()) == [200]
    assert statuses(await site.answer()) == [200, 400]
    assert site.paths == ["/1", "/2"]
    assert site.transport.is_half_closed


async def test_requests_after_the_last_one_are_not_answered() -> None:
    site = Site(at_once=False)
    await site.send(get("/1") + get("/2", "Connection: close") + get("/3"))
    await site.answer()
    assert b"Connection: close" in await site.answer()
    assert site.paths == ["/1", "/2"]


async def test_what_comes_although_reading_is_paused_is_kept_unparsed() -> None:
    # A loop may hand over what it had read before it was told to pause.
    site = Site(at_once=False)
    await site.send(GET * (2 + MAX_WAITING))
    assert site.transport.is_paused
    site.connection.data_received(GET * 10)
    assert len(site.connection._waiting) == 1 + MAX_WAITING
    for _ in range(12 + MAX_WAITING):
        assert statuses(await site.answer()) == [200]


async def test_while_the_last_request_waits_what_follows_is_dropped() -> None:
    site = Site(at_once=False)
    await site.send(get("/1") + get("/2", "Connection: close"))
    await site.send(GET * 1000)
    assert len(site.connection._waiting) == 1
    assert site.transport.unread == 0
    await site.send(b"x" * MAX_DROPPED)
    assert site.transport.is_cut


async def test_a_client_that_does_not_wait_for_answers_is_read_no_further() -> None:
    site = Site(at_once=False)
    paused = []
    for _ in range(2 + MAX_WAITING):
        await site.send(GET)
        paused.append(site.transport.is_paused)
    assert paused == [False] * (1 + MAX_WAITING) + [True]
    await site.send(GET * 100)
    assert site.transport.unread == len(GET) * 100
    for _ in range(1 + MAX_WAITING):
        await site.answer()
        assert len(site.asked) <= 2 + MAX_WAITING
    # All that waited have been asked for; now it is read on.
    for _ in range(101):
        await site.answer()
    assert len(site.asked) == 2 + MAX_WAITING + 100
    assert not site.transport.is_paused


async def test_no_request_is_begun_while_the_client_takes_no_answers() -> None:
    site = Site()
    site.connection.pause_writing()
    assert await site.send(GET * 3) == b""
    assert site.asked == []
    site.connection.resume_writing()
    await site.transport.settle()
    assert statuses(site.transport.take()) == [200] * 3


# Bounds


@pytest.mark.parametrize(
    ("target", "status"),
    [("/" + "x" * (MAX_TARGET - 1), 200), ("/" + "x" * MAX_TARGET, 414), ("/?" + "&" * 20_000, 414)],
)
async def test_the_target_is_bounded(target: str, status: int) -> None:
    site = Site()
    written = await site.send(get(target))
    if status == 200:
        assert statuses(written) == [200]
    else:
        assert_refused(site, written, status)


async def test_the_number_of_fields_is_bounded() -> None:
    fields = [f"X-{number}: x" for number in range(MAX_FIELDS - 1)]
    assert statuses(await Site().send(get("/", *fields) * 2)) == [200, 200]
    site = Site()
    assert_refused(site, await site.send(get("/", *fields, "X: x")), 431)


async def test_the_fields_are_counted_before_the_head_is_whole() -> None:
    site = Site()
    assert await site.send(b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * MAX_FIELDS) == b""
    assert_refused(site, await site.send(b"X: x\r\n"), 431)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX"])
async def test_a_head_without_end_is_refused(data: bytes) -> None:
    site = Site()
    assert await site.send(data + b"x" * (MAX_HEAD - len(data))) == b""
    assert_refused(site, await site.send(b"x"), 431)
    assert not site.connection._unparsed


async def test_a_head_may_have_so_many_bytes() -> None:
    site = Site()
    room = MAX_HEAD - len(get("/", "X: "))
    assert statuses(await site.send(get("/", "X: " + "x" * room))) == [200]
    assert_refused(other := Site(), await other.send(get("/", "X: " + "x" * (room + 1))), 431)


async def test_the_parser_is_given_no_head_before_it_is_whole() -> None:
    site = Site()
    fed: list[bytes] = []
    site.connection._parser = SimpleNamespace(feed_data=fed.append)  # type: ignore[assignment]  # what is called of it
    head = get("/", "X: " + "x" * 8000)
    for start in range(0, len(head), 100):
        assert fed == []
        await site.send(head[start : start + 100])
    assert fed == [head]


async def test_the_bound_is_for_each_request() -> None:
    site = Site()
    for _ in range(2 * MAX_HEAD // PIECE):
        assert statuses(await site.send(get("/", "X: " + "x" * PIECE))) == [200]


async def test_chunks_and_trailers_without_end_are_refused() -> None:
    for data in (
        post(b"1;" + b"x" * MAX_FRAMED, "Transfer-Encoding: chunked"),
        post(b"1\r\nx\r\n" * 20_000, "Transfer-Encoding: chunked"),
        chunked(b"x", trailers=b"X: x\r\n" * 20_000),
    ):
        site = Site()
        assert_refused(site, await site.send(data), 413, "too_large")


@pytest.mark.parametrize(
    ("length", "is_over"),
    [
        ("0", False),
        ("000", False),
        (str(MAX_BODY), False),
        (str(MAX_BODY + 1), True),
        ("9" * 19, True),
        ("0" * 10_000 + "5", False),
        ("0" * 10_000 + str(MAX_BODY + 1), True),
        ("9" * 10_000, True),
    ],
)
def test_a_length_may_be_written_with_many_digits(length: str, is_over: bool) -> None:
    headers = {"content-length": [length]}
    if is_over:
        with pytest.raises(Denied):
            body_length(headers, "1.1")
    else:
        assert body_length(headers, "1.1") == int(length.lstrip("0") or "0")


async def test_a_body_is_refused_by_its_length_alone() -> None:
    site = Site()
    assert_refused(site, await site.send(post(b"", f"Content-Length: {MAX_BODY + 1}")), 413, "too_large")


@pytest.mark.parametrize("zeros", [0, 5000])
async def test_a_body_may_be_as_large_as_allowed(zeros: int) -> None:
    site = Site()
    data = post(b"x" * MAX_BODY, f"Content-Length: {'0' * zeros}{MAX_BODY}") + chunked(b"x" * MAX_BODY)
    assert statuses(await site.send(data)) == [200, 200]
    assert [len(request.body) for request in site.asked] == [MAX_BODY] * 2


async def test_a_body_in_chunks_is_refused_when_it_is_too_large() -> None:
    site = Site()
    assert_refused(site, await site.send(chunked(b"x" * MAX_BODY, b"x")), 413, "too_large")


@pytest.mark.parametrize("length", ["9" * 30, "+5", "-1", "5, 5", "0x5", "", "5\r\nContent-Length: 6"])
async def test_what_is_no_length_is_refused(length: str) -> None:
    site = Site()
    assert_refused(site, await site.send(post(b"hello", f"Content-Length: {length}")), 400)


@pytest.mark.parametrize("coding", ["gzip, chunked", "xchunked", "gzip\r\nTransfer-Encoding: chunked"])
async def test_a_body_in_another_coding_is_refused(coding: str) -> None:
    site = Site()
    written = await site.send(post(b"0\r\n\r\n", f"Transfer-Encoding: {coding}"))
    assert_refused(site, written, 501, "not_implemented")


async def test_the_name_of_a_coding_may_be_in_capitals() -> None:
    site = Site()
    assert statuses(await site.send(post(b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: CHUNKED"))) == [200]


@pytest.mark.parametrize(
    "data",
    [
        post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
        post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"),
        post(b"0\r\n\r\n", "Transfer-Encoding : chunked"),
        post(b"0\r\n\r\n", "Transfer-Encoding: chunked, chunked"),
        get("/", "X: y\r\n z"),
        b"GET / HTTP/1.1\nX: y\n\n",
        get("/", "X: y\rZ: z"),
        get("/", "X: y\0"),
        post(b"5\nhello\n0\n\n", "Transfer-Encoding: chunked"),
        post(b"0x5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        post(b"FFFFFFFFFFFFFFFFFF\r\n", "Transfer-Encoding: chunked"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        get("ftp://example.org/"),
        get("example.org"),
    ],
)
async def test_what_could_be_read_in_two_ways_or_in_none_is_refused(data: bytes) -> None:
    site = Site()
    assert_refused(site, await site.send(data), 400)


@pytest.mark.parametrize("version", ["0.9", "2.0"])
async def test_another_version_is_refused(version: str) -> None:
    site = Site()
    assert_refused(site, await site.send(get("/", version=version)), 505)


async def test_a_line_that_ends_otherwise_is_refused_at_once() -> None:
    for data in (b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\nX"):
        site = Site()
        assert_refused(site, await site.send(data), 400)


async def test_chunks_are_counted_for_each_body() -> None:
    site = Site()
    for _ in range(2 * MAX_FRAMED // MAX_BODY):
        assert statuses(await site.send(chunked(b"x" * MAX_BODY))) == [200]


async def test_trailers_do_not_pass_for_headers() -> None:
    site = Site()
    assert statuses(await site.send(chunked(b"x", trailers=b"Authorization: Bearer x\r\n") + GET)) == [200, 200]
    assert [list(request.headers) for request in site.asked] == [["host", "transfer-encoding"], ["host"]]


async def test_what_comes_after_a_refusal_in_the_same_piece_changes_nothing() -> None:
    for bad in (
        post(b"", "Content-Length: 99999"),
        post(b"", "Transfer-Encoding: gzip, chunked"),
        get("/" + "x" * 9000),
    ):
        site = Site()
        written = await site.send(bad + GET * 3 + UPGRADE)
        assert len(statuses(written)) == 1
        assert site.asked == site.upgraded == []


async def test_much_that_comes_at_once_is_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    feed = HttpConnection._feed

    def note(self: HttpConnection, data: bytes) -> None:
        fed.append(len(data))
        feed(self, data)

    monkeypatch.setattr(HttpConnection, "_feed", note)
    site = Site()
    head = post(b"", f"Content-Length: {MAX_BODY}")
    paused = [site.transport.is_paused]
    site.transport.feed(head + b"x" * MAX_BODY + GET)
    paused.append(site.transport.is_paused)
    assert fed == [len(head), PIECE], "one piece in a turn of the loop"
    await site.transport.settle()
    paused.append(site.transport.is_paused)
    assert fed == [len(head), PIECE, PIECE, len(GET)]
    assert paused == [False, True, False]
    assert statuses(site.transport.take()) == [200, 200]


# Expect: 100-continue


@pytest.mark.parametrize("expected", ["100-continue", "100-Continue"])
async def test_a_client_that_waits_for_leave_gets_it(expected: str) -> None:
    site = Site()
    assert await site.send(post(b"", "Content-Length: 2", f"Expect: {expected}")) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(await site.send(b"ok")) == [200]


async def test_nobody_else_gets_it() -> None:
    site = Site()
    assert_refused(site, await site.send(post(b"", "Content-Length: 2", "Expect: something")), 417)
    site = Site()
    assert await site.send(get("/", "Expect: 100-continue")) != b"HTTP/1.1 100 Continue\r\n\r\n"
    site = Site()
    assert await site.send(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n") == b""


async def test_no_leave_for_a_body_that_is_too_large() -> None:
    site = Site()
    written = await site.send(post(b"", f"Content-Length: {MAX_BODY + 1}", "Expect: 100-continue"))
    assert_refused(site, written, 413, "too_large")


async def test_leave_does_not_come_before_an_earlier_answer() -> None:
    site = Site(at_once=False)
    assert await site.send(GET + post(b"", "Content-Length: 2", "Expect: 100-continue")) == b""
    assert statuses(await site.answer()) == [200]


# The way to a WebSocket


async def test_an_upgrade_request_takes_the_transport_away() -> None:
    site = Site()
    assert await site.send(UPGRADE) == b""
    (request,) = site.upgraded
    assert (request.method, request.path, request.query) == ("GET", "/ws", "otp=x")
    assert site.shared.connections == set()
    site.loop.go(TIMEOUT_S * 2)
    assert not site.transport.is_cut
    assert not hasattr(site.connection, "_parser"), "it would wait for the collector"


async def test_an_upgrade_after_an_answer_is_fine() -> None:
    site = Site()
    assert statuses(await site.send(GET)) == [200]
    await site.send(UPGRADE)
    assert len(site.upgraded) == 1


@pytest.mark.parametrize("protocol", ["WebSocket", "h2c, websocket"])
async def test_the_protocols_name_may_be_in_a_list_and_in_capitals(protocol: str) -> None:
    site = Site()
    await site.send(UPGRADE.replace(b"websocket", protocol.encode()))
    assert len(site.upgraded) == 1


@pytest.mark.parametrize("protocol", ["h2c", "websockets"])
async def test_another_protocol_is_not_upgraded_to(protocol: str) -> None:
    site = Site()
    written = await site.send(UPGRADE.replace(b"websocket", protocol.encode()))
    assert statuses(written) == [200]
    assert b"Connection: close" not in written
    assert site.upgraded == []


async def test_an_offer_of_http_1_0_is_ignored() -> None:
    site = Site()
    assert statuses(await site.send(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))) == [200]
    assert site.upgraded == []


async def test_frames_before_the_answer_are_refused() -> None:
    site = Site()
    with structlog.testing.capture_logs() as lines:
        assert_refused(site, await site.send(UPGRADE + b"\x81\x80\0\0\0\0"), 400)
    assert [(line["log_level"], line["event"], line["address"]) for line in lines] == [
        ("info", "upgrade refused", "10.0.0.1")
    ]
    assert site.upgraded == []


@pytest.mark.parametrize("waiting", [1, 2])
async def test_an_upgrade_request_does_not_overtake_an_answer(waiting: int) -> None:
    site = Site(at_once=False)
    await site.send(GET * waiting + UPGRADE)
    for _ in range(waiting - 1):
        await site.answer()
    assert statuses(await site.answer()) == [200, 400]
    assert site.upgraded == []


async def test_a_websocket_does_not_open_where_answers_are_not_taken() -> None:
    # It would never hear that its outbox was full from the start.
    site = Site()
    site.connection.pause_writing()
    await site.send(UPGRADE)
    assert site.upgraded == []
    site.connection.resume_writing()
    assert_refused(site, site.transport.take(), 400)


async def test_a_refused_upgrade_request_is_not_taken() -> None:
    site = Site()
    assert_refused(site, await site.send(UPGRADE.replace(b"/ws", b"ftp://ws")), 400)
    assert site.upgraded == []


# Deadlines


async def test_a_client_that_sends_nothing_is_cut_in_time() -> None:
    site = Site()
    site.loop.go(TIMEOUT_S - 0.1)
    assert not site.transport.is_closing()
    site.loop.go(0.1)
    assert site.transport.is_cut


async def test_bytes_that_drip_do_not_win_time() -> None:
    site = Site()
    for byte in b"GET / HT":
        site.loop.go(1.0)
        await site.send(bytes([byte]))
    site.loop.go(TIMEOUT_S - 8.0)
    assert site.transport.is_cut


@pytest.mark.parametrize("timeout_s", [0, TIMEOUT_S])
async def test_an_answer_takes_as_long_as_it_takes(timeout_s: float) -> None:
    site = Site(timeout_s=timeout_s, at_once=False)
    await site.send(GET)
    site.loop.go(TIMEOUT_S * 100)
    assert not site.transport.is_closed
    assert statuses(await site.answer()) == [200]


async def test_after_an_answer_there_is_as_much_time_again() -> None:
    site = Site()
    site.loop.go(TIMEOUT_S - 0.1)
    await site.send(GET)
    site.loop.go(TIMEOUT_S - 0.1)
    await site.send(b"GET")
    assert not site.transport.is_closing()
    site.loop.go(0.1)
    assert site.transport.is_cut


async def test_without_a_limit_there_is_no_deadline() -> None:
    site = Site(timeout_s=0)
    await site.send(GET)
    assert site.loop.timers == []


async def test_a_client_that_never_closes_is_cut_after_its_last_answer() -> None:
    site = Site()
    await site.send(get("/", "Connection: close"))
    assert site.transport.is_half_closed
    site.loop.go(TIMEOUT_S)
    assert site.transport.is_cut


async def test_there_is_as_much_time_to_take_a_refusal() -> None:
    site = Site()
    site.loop.go(TIMEOUT_S - 1)
    await site.send(b"nonsense\r\n\r\n")
    site.loop.go(TIMEOUT_S - 1)
    assert not site.transport.is_closing()
    site.loop.go(1)
    assert site.transport.is_cut


async def test_another_request_does_not_give_a_client_more_time_to_take_its_answers() -> None:
    site = Site()
    site.connection.pause_writing()
    site.loop.go(TIMEOUT_S - 1)
    await site.send(GET * 2)
    site.loop.go(1)
    assert site.transport.is_cut


async def test_a_connection_that_has_ended_leaves_no_timer() -> None:
    site = Site()
    await site.send(GET)
    site.transport.close()
    await site.transport.settle()
    assert all(timer.is_cancelled for timer in site.loop.timers)
    assert not hasattr(site.connection, "_parser")


# What comes after the last answer


@pytest.mark.parametrize("last", [get("/", "Connection: close"), b"nonsense\r\n\r\n"])
async def test_a_client_may_send_a_little_after_its_last_answer(last: bytes) -> None:
    site = Site()
    await site.send(last)
    for _ in range(MAX_DROPPED // 65536):
        assert await site.send(b"x" * 65536) == b""
    assert not site.transport.is_closing()
    assert not site.connection._unparsed
    await site.send(b"x")
    assert site.transport.is_cut


async def test_what_came_with_the_last_request_counts_too() -> None:
    site = Site()
    await site.send(get("/", "Connection: close") + b"x" * (MAX_DROPPED + 2 * PIECE))
    assert site.transport.is_cut


# The client's end


async def test_a_client_that_has_ended_its_half_gets_its_answers() -> None:
    site = Site(at_once=False)
    await site.send(get("/1") + get("/2"))
    site.transport.feed_eof()
    assert not site.transport.is_closing()
    assert b"Connection: close" not in await site.answer()
    assert b"Connection: close" in await site.answer()
    assert site.transport.is_closing()
    assert not site.transport.is_half_closed, "both halves at once"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET])
async def test_a_client_that_has_all_its_answers_is_gone_when_it_ends(sent: bytes) -> None:
    site = Site()
    await site.send(sent)
    site.transport.feed_eof()
    assert site.transport.is_closed


async def test_where_halves_cannot_be_closed_an_end_is_one() -> None:
    site = Site(at_once=False, has_halves=False)
    await site.send(GET)
    site.transport.feed_eof()
    assert site.transport.is_closed
    assert await site.answer() == b""


async def test_nothing_is_written_to_a_client_that_is_gone() -> None:
    site = Site(at_once=False)
    await site.send(GET * 3)
    site.transport.abort()
    await site.transport.settle()
    assert await site.answer() == b""
    assert len(site.asked) == 1, "what waited is forgotten"
    assert site.shared.connections == set()


# Stopping


async def test_a_stop_closes_what_waits_for_nothing() -> None:
    site = Site()
    assert site.shared.connections == {site.connection}
    await site.server.stop(10.0)
    assert site.transport.is_cut
    assert site.shared.connections == set()


async def test_a_stop_lets_the_answer_out_that_is_being_made() -> None:
    site = Site(at_once=False)
    await site.send(GET * 2)
    stopping = asyncio.create_task(site.server.stop(10.0))
    await asyncio.sleep(0)
    assert not site.transport.is_closing()
    answer = await site.answer()
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer
    assert site.transport.is_closed
    await stopping
    assert len(site.asked) == 1


async def test_a_stop_does_not_wait_for_ever() -> None:
    site = Site(at_once=False)
    await site.send(GET)
    await site.server.stop(0.0)
    assert site.transport.is_cut


# Handing over


async def test_who_hands_over_answers_what_was_asked_and_waits_for_who_has_come_just_now() -> None:
    site = Site(at_once=False)
    handing = asyncio.create_task(site.server.hand_over(60.0))
    await site.send(GET)
    assert not handing.done()
    answer = await site.answer()
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer, "the next request is for another process"
    assert site.transport.is_half_closed, "as always, so that the answer is read"
    await handing


@pytest.mark.parametrize("rest", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{"])
async def test_who_hands_over_waits_for_a_request_that_has_begun(rest: bytes) -> None:
    site = Site()
    await site.send(GET)
    assert site.connection.is_idle
    await site.send(rest)
    assert not site.connection.is_idle


async def test_who_hands_over_waits_for_nobody_who_asks_nothing_any_more() -> None:
    site = Site()
    await site.send(GET)
    await site.server.hand_over(60.0)
    assert not site.transport.is_closing()


async def test_who_hands_over_does_not_wait_for_ever_for_who_asks_nothing_at_all() -> None:
    site = Site()
    await site.server.hand_over(0.0)
    assert site.shared.connections == {site.connection}


async def test_after_that_no_sockets_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    await site.server.hand_over(0.0)
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", lambda *_: pytest.fail("it listens"))
    with socket.socket() as sock:
        site.server.accept_on([sock])


# Anything


PIECES = [
    GET,
    UPGRADE,
    b"POST / HTTP/1.1\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b"\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]


async def test_any_bytes_are_survived() -> None:
    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=32), max_size=12))
    def check(chunks: list[bytes]) -> None:
        site = Site(at_once=False)
        for chunk in chunks:
            if site.upgraded:
                break
            site.transport.feed(chunk)
        for status in statuses(site.transport.take()):
            assert status >= 400 or status == 100
        site.connection.connection_lost(None)

    check()


# Listening


async def test_the_kernel_holds_little_of_what_a_client_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[tuple[int, int, int]] = []
    listening = SimpleNamespace(
        setsockopt=lambda *option: options.append(option),
        setblocking=lambda _is_blocking: None,
        listen=lambda _backlog: options.append((0, 0, 0)),
    )
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", lambda *_: None)
    await Site().server.start([listening], None)  # type: ignore[list-item]  # what is called of a socket
    assert options == [(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER), (0, 0, 0)], "before it listens"


# Whether anybody waits for an answer


@pytest.mark.parametrize("end", ["half", "whole"])
async def test_a_request_tells_whether_its_client_is_still_there(end: str) -> None:
    site = Site(at_once=False)
    await site.send(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    [request] = site.asked
    assert request.is_wanted()
    if end == "half":
        site.transport.feed_eof()
    else:
        site.transport.abort()
    await site.transport.settle()
    assert not request.is_wanted()


async def test_one_that_has_never_begun_leaves_no_garbage() -> None:
    """As where the TLS handshake fails: thousands of those would wait for the collector, which comes when it wants."""
    site = Site()
    gc.disable()
    try:
        connection = HttpConnection(site.shared, site.loop)  # type: ignore[arg-type]  # as in Site
        gone = weakref.ref(connection)
        del connection
        assert gone() is None
    finally:
        gc.enable()


async def test_a_program_may_say_more_at_once() -> None:
    site = Site()
    head = f"POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: {MAX_LARGE_BODY}\r\n\r\n".encode()
    assert statuses(await site.send(head + b"x" * MAX_LARGE_BODY)) == [200]
    assert [len(request.body) for request in site.asked] == [MAX_LARGE_BODY]


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_what_a_program_says_at_once_is_bounded(framing: str) -> None:
    site = Site()
    data = chunked(b"x" * MAX_LARGE_BODY, b"x")
    if framing == "length":
        data = post(b"", f"Content-Length: {MAX_LARGE_BODY + 1}")
    assert_refused(site, await site.send(data.replace(b"POST /", b"POST /api/publish", 1)), 413, "too_large")
