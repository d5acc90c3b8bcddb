"""Answers that are not over, without a network: on the server's own HTTP and over ASGI."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from gates import Gate
from hubbub.client import Socket
from hubbub.heartbeat import BUCKETS, Wheel
from hubbub.mount.scopes import AsgiMessage
from hubbub.mount.streaming import MISSES, AsgiStream
from hubbub.wire import streaming as streaming_module
from hubbub.wire.request import Request, Response
from hubbub.wire.streaming import MAX_DROPPED, Streaming, frame_for, unconfirmed
from hubbub.wire.websocket import CLOSE_TIMEOUT_S, HIGH_WATER
from unit.test_http_connection import GET, Site, get, statuses
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

BEAT = b": \n\n"


class Writer:
    """Writes an answer, and notes what it hears of it (`wire.streaming.Author`)."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.socket: Socket | None = None
        self.ended: tuple[int, str, bool] | None = None

    def attach(self, socket: Socket) -> None:
        self.socket = socket

    def writing_paused(self) -> None:
        self.heard.append("paused")

    def writing_resumed(self) -> None:
        self.heard.append("resumed")

    def closing(self) -> None:
        self.heard.append("closing")

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        assert self.ended is None
        self.ended = code, reason, by_us


class StreamSite(Site):
    """A server that answers `/` with what is not over, and all else as it is."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.writer = Writer()
        self.sockets: dict[object, None] = {}
        self.wheel = Wheel(9.0, 10.0)

    async def _answer(self, request: Request) -> Response:
        answer = await super()._answer(request)
        self.frame = frame_for(request)
        if request.path != "/":
            return answer
        return Streaming(
            200,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
            author=self.writer,
            sockets=self.sockets,
            wheel=self.wheel,
            beat=BEAT,
            last=lambda code, reason: b"%d %b" % (code, reason.encode()),
        )

    @property
    def stream(self) -> Any:
        assert self.writer.socket is not None
        return self.writer.socket

    def write(self, data: bytes) -> bytes:
        """Write a piece; what comes of it."""
        self.stream.write(self.frame(data))
        return self.transport.take()

    def turn_round(self) -> None:
        """Let the wheel come round to every connection."""
        for _ in range(BUCKETS):
            self.wheel.turn()


async def opened(**more: Any) -> StreamSite:
    """A stream that has begun."""
    site = StreamSite(**more)
    await site.send(GET)
    return site


async def test_the_head_says_that_the_body_comes_in_chunks_and_ends_the_connection() -> None:
    site = StreamSite()
    head = await site.send(GET)
    assert head == (
        b"HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n" + site.shared.common.headers() + b"\r\n"
    )
    assert site.write(b"x" * 20) == b"14\r\n" + b"x" * 20 + b"\r\n"
    assert list(site.sockets) == [site.stream]


async def test_who_speaks_the_older_version_gets_it_as_it_is_until_the_connection_ends() -> None:
    site = StreamSite()
    head = await site.send(get("/", version="1.0"))
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close\r\n" in head
    assert site.write(b"hello") == b"hello"
    site.stream.close(1012, "restart")
    assert site.transport.take() == b"1012 restart"
    assert site.transport.is_half_closed


async def test_no_deadline_ends_it() -> None:
    site = await opened()
    site.loop.go(3600.0)
    await site.transport.settle()
    assert not site.transport.is_closed
    assert site.write(b"late") == b"4\r\nlate\r\n"


async def test_an_end_by_the_server_comes_behind_all_else_and_is_waited_for() -> None:
    site = await opened()
    site.stream.write(site.frame(b"a"))
    site.stream.close(4101, "out")
    site.stream.close(1012, "again")
    assert site.transport.take() == b"1\r\na\r\n8\r\n4101 out\r\n0\r\n\r\n"
    assert site.transport.is_half_closed
    assert site.writer.heard == ["closing"]
    site.transport.feed_eof()  # the client has read it
    await site.transport.settle()
    assert site.writer.ended == (4101, "out", True)
    assert not site.transport.is_cut
    assert site.sockets == {}


async def test_a_client_that_does_not_take_the_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await opened()
    calls: list[tuple[float, Callable[[], None]]] = []

    def note(seconds: float, call: Callable[[], None]) -> Handle:
        calls.append((seconds, call))
        return Handle()

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", note)
    site.stream.close(1012, "")
    monkeypatch.undo()
    [(seconds, call)] = calls
    assert seconds == CLOSE_TIMEOUT_S
    call()
    await site.transport.settle()
    assert site.transport.is_cut
    assert site.writer.ended == (1012, "", True)


class Handle:
    def cancel(self) -> None: ...


async def test_a_client_that_has_gone_is_let_go_of_at_once() -> None:
    site = await opened()
    site.transport.feed_eof()
    await site.transport.settle()
    assert site.transport.is_cut
    assert site.writer.ended == (1006, "", False)
    assert site.sockets == {}
    site.turn_round()  # it is not on the wheel any more
    assert site.transport.take() == b""


@pytest.mark.parametrize("way", ["eof", "cut"])
async def test_one_that_has_gone_before_the_answer_gets_none(way: str) -> None:
    site = StreamSite(at_once=False)
    await site.send(GET)
    if way == "eof":
        site.transport.feed_eof()
    else:
        site.transport.abort()
        await site.transport.settle()
    await site.answer()
    assert site.writer.socket is None
    assert site.writer.ended == (1006, "", False)
    assert site.transport.is_closed


async def test_requests_behind_it_are_not_answered() -> None:
    site = StreamSite(at_once=False)
    await site.send(GET + get("/next") * 40)
    was_paused = site.transport.is_paused
    head = await site.answer()
    assert statuses(head) == [200]
    # Otherwise nobody would see that the client has gone.
    assert (was_paused, site.transport.is_paused) == (True, False)
    assert await site.send(get("/more")) == b""
    assert site.paths == ["/"]
    site.transport.feed_eof()
    await site.transport.settle()
    assert site.writer.ended is not None


async def test_a_client_that_talks_on_and_on_is_cut() -> None:
    site = await opened()
    await site.send(b"x" * MAX_DROPPED)
    assert not site.transport.is_cut
    await site.send(b"x")
    assert site.transport.is_cut


async def test_answers_before_it_on_the_same_connection_stay_whole() -> None:
    site = StreamSite()
    written = await site.send(get("/first") + GET)
    assert statuses(written) == [200, 200]
    assert written.index(b"/first") < written.index(b"chunked")


async def test_a_slow_reader_is_told_of() -> None:
    site = await opened()
    site.transport.protocol.pause_writing()
    site.transport.protocol.resume_writing()
    assert site.writer.heard == ["paused", "resumed"]


async def test_beats_keep_it_open_for_whoever_takes_them() -> None:
    site = await opened()
    for _ in range(5):
        site.turn_round()
        assert site.transport.take() == b"4\r\n: \n\n\r\n"
    assert not site.transport.is_closed


async def test_who_takes_a_little_is_alive_and_who_takes_nothing_is_not() -> None:
    site = await opened()
    site.transport.outbox_size = 1000
    site.turn_round()
    for _ in range(5):
        site.write(b"x" * 100)
        site.transport.outbox_size += 90  # More waits each time.
        site.turn_round()
    assert not site.transport.is_closed
    for _ in range(3):
        beat = site.transport.take()
        site.transport.outbox_size += len(beat)
        site.turn_round()
    assert site.transport.is_cut


async def test_what_the_system_has_passed_on_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await opened()
    site.transport.outbox_size = 100_000  # it does not change before megabytes are gone
    held = iter(range(2_000_000, 0, -1000))
    monkeypatch.setattr(streaming_module, "unconfirmed", lambda _transport: next(held))
    for _ in range(20):
        site.turn_round()
    assert not site.transport.is_closed
    monkeypatch.setattr(streaming_module, "unconfirmed", lambda _transport: 1_000_000)
    for _ in range(4):
        site.turn_round()
    assert site.transport.is_cut


async def test_how_much_the_system_holds_is_asked() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    transport = FakeTransport()
    assert unconfirmed(transport) == 0
    transport.get_extra_info = lambda name, default=None: ours if name == "socket" else default  # type: ignore[method-assign]
    with ours, theirs:
        ours.sendall(b"x" * 1000)
        assert unconfirmed(transport) >= 1000
        theirs.recv(1000)
        assert unconfirmed(transport) == 0
    assert unconfirmed(transport) == 0


async def test_beats_do_not_pile_up() -> None:
    site = await opened()
    site.transport.outbox_size = HIGH_WATER
    site.turn_round()
    assert site.transport.take() == b""


# ASGI


class AsgiSite:
    """A server that has such an answer by ASGI, and its client.

    Attributes:
        gate: the server takes messages while it is open.
    """

    def __init__(self) -> None:
        self.writer = Writer()
        self.sockets: dict[object, None] = {}
        self.wheel = Wheel(9.0, 10.0)
        self.gate = Gate()
        self.sent: list[AsgiMessage] = []
        self.coming: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self.fails: Exception | None = None
        answer = Streaming(
            200,
            author=self.writer,
            sockets=self.sockets,
            wheel=self.wheel,
            beat=BEAT,
            last=lambda code, _reason: b"%d" % code,
        )
        stream = AsgiStream(self.coming.get, self._send, answer)
        self.task = asyncio.get_running_loop().create_task(
            stream.run({"type": "http.response.start", "status": 200, "headers": []})
        )

    async def _send(self, message: AsgiMessage) -> None:
        await self.gate.enter()
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)

    @property
    def stream(self) -> Any:
        assert self.writer.socket is not None
        return self.writer.socket

    async def settled(self) -> bytes:
        """Let the loop turn; the body so far."""
        for _ in range(20):
            await asyncio.sleep(0)
        return b"".join(each["body"] for each in self.sent if each["type"] == "http.response.body")

    def turn_round(self) -> None:
        for _ in range(BUCKETS):
            self.wheel.turn()


async def test_by_asgi_pieces_are_sent_as_they_come_and_the_end_is_the_last() -> None:
    site = AsgiSite()
    await site.settled()
    assert list(site.sockets) == [site.stream]
    site.stream.write(b"a")
    assert await site.settled() == b"a"
    site.stream.write(b"b")
    site.stream.write(b"c")
    assert site.stream.outbox_size == 2
    site.stream.close(4101, "out")
    site.stream.write(b"never")
    assert await site.settled() == b"abc4101"
    assert [each.get("more_body", False) for each in site.sent[1:]] == [True, True, False]
    await site.task
    assert site.writer.ended == (4101, "out", True)
    assert site.sockets == {}


async def test_by_asgi_a_server_that_cancels_ends_it() -> None:
    site = AsgiSite()
    await site.settled()
    site.coming.put_nowait({"type": "http.request", "body": b"", "more_body": False})  # some tell of a body again
    await site.settled()
    assert not site.task.done()
    site.task.cancel()
    await asyncio.gather(site.task, return_exceptions=True)
    assert site.writer.ended == (1006, "", False)


async def test_by_asgi_a_client_that_has_gone_is_let_go_of_at_once() -> None:
    site = AsgiSite()
    await site.settled()
    site.coming.put_nowait({"type": "http.disconnect"})
    await site.task
    assert site.writer.ended == (1006, "", False)
    assert site.sockets == {}


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("the response is over")])
async def test_by_asgi_a_server_that_fails_to_send_has_lost_its_client(error: Exception) -> None:
    site = AsgiSite()
    await site.settled()
    site.fails = error
    site.coming.put_nowait({"type": "http.disconnect"})
    site.stream.write(b"x")
    await site.task
    assert site.writer.ended == (1006, "", False)


async def test_by_asgi_a_slow_reader_is_told_of() -> None:
    site = AsgiSite()
    await site.settled()
    site.gate.close()
    site.stream.write(b"x")
    await site.settled()
    site.stream.write(b"y" * HIGH_WATER)
    assert site.writer.heard == ["paused"]
    site.gate.open()
    await site.settled()
    assert site.writer.heard == ["paused", "resumed"]
    assert site.stream.outbox_size == 0


async def test_by_asgi_beats_are_sent_and_who_takes_nothing_is_cut() -> None:
    site = AsgiSite()
    await site.settled()
    site.turn_round()
    assert await site.settled() == BEAT
    site.gate.close()
    for _ in range(4 * MISSES):
        site.turn_round()
        await site.settled()
    await site.task
    assert site.writer.ended == (1006, "", False)
