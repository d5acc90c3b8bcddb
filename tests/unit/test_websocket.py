"""The connection without a network: picows' frames in, ours out, and every byte string survived."""

from __future__ import annotations

import asyncio
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.wire.http import HttpConnection, HttpServer
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request, Response
from hubbub.wire.websocket import WebSocket, WireSettings, open_websocket

pytestmark = pytest.mark.anyio

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class FakeTransport(asyncio.Transport):
    """Takes what is written, and feeds its protocol as a loop would."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.protocol: Any = None
        self.protocols = 0
        self.is_closed = False
        self.is_half_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol
        self.protocols += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_half_closed = True

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def feed(self, data: bytes) -> None:
        """Receive bytes, as many at a time as the protocol has room for."""
        while data and not self.is_closed:
            room = self.protocol.get_buffer(-1)
            size = min(len(room), len(data))
            room[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def take(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data


class Listener:
    """A peer that notes what it is told."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.end: tuple[int, str, bool] | None = None
        self.takes_pings = True
        self.is_muted = False
        self.is_slow = False

    def receive_text(self, text: str) -> None:
        self.messages.append(text)

    def receive_binary(self, data: bytes) -> None:
        self.messages.append(data)

    def admit(self) -> bool:
        return self.takes_pings

    def writing_paused(self) -> None:
        self.is_slow = True

    def writing_resumed(self) -> None: ...

    def closing(self) -> None:
        self.is_muted = True

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        self.end = (code, reason, by_us)


def opened(max_frame: int = 16384) -> tuple[FakeTransport, Listener, WebSocket]:
    transport, peer = FakeTransport(), Listener()
    socket = open_websocket(transport, KEY, peer, WireSettings(max_frame, Readers(max_frame)))
    return transport, peer, socket


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame."""
    head = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        start = pack("!BB", head, mask | len(payload))
    elif len(payload) < 65536:
        start = pack("!BBH", head, mask | 126, len(payload))
    else:
        start = pack("!BBQ", head, mask | 127, len(payload))
    return start + (bytes(4) if masked else b"") + payload


def close_code(data: bytes) -> int:
    assert data[0] == 0x88, data
    return int.from_bytes(data[2:4], "big")


# Before it is one: the HTTP connection


async def no_answer(_request: Request) -> Response:
    raise AssertionError("nothing is to be answered here")


def full(timeout_s: float) -> tuple[FakeTransport, HttpConnection, list[Request]]:
    """An HTTP connection that has more to write than its client takes."""
    upgraded: list[Request] = []
    server = HttpServer(no_answer, lambda _transport, request: upgraded.append(request), b"", timeout_s)
    connection, transport = HttpConnection(server, asyncio.get_running_loop()), FakeTransport()
    transport.protocol = connection
    connection.connection_made(transport)
    connection.pause_writing()
    return transport, connection, upgraded


async def test_a_websocket_does_not_open_where_answers_are_not_taken() -> None:
    # It would never hear that its outbox was full from the start.
    transport, connection, upgraded = full(timeout_s=0)
    connection.data_received(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert upgraded == []
    connection.resume_writing()
    assert transport.take().startswith(b"HTTP/1.1 400 ")


async def test_a_websocket_hears_that_its_transport_is_over_the_new_limit() -> None:
    class Full(FakeTransport):
        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            self.protocol.pause_writing()

    peer = Listener()
    open_websocket(Full(), KEY, peer, WireSettings(16384, Readers(16384)))
    assert peer.is_slow


async def test_another_request_does_not_give_a_client_more_time_to_take_its_answers() -> None:
    transport, connection, _ = full(timeout_s=0.01)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(10):
        while not transport.is_closed:
            await asyncio.sleep(0.01)


# Then


async def test_the_handshake_is_answered_with_the_accept_of_the_rfc() -> None:
    transport, _, _ = opened()
    answer = transport.take()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer  # RFC 6455 section 1.3's example


async def test_fragments_are_joined_around_control_frames() -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(
        frame(1, "h\u00e9".encode()[:2], fin=False) + frame(9, b"ping") + frame(0, "h\u00e9".encode()[2:] + b"!")
    )
    transport.feed(frame(2, b"\x00", fin=False) + frame(0, b"\xff"))
    assert peer.messages == ["h\u00e9!", b"\x00\xff"]
    assert transport.take() == b"\x8a\x04ping"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"x", rsv=4), 1002),
        (frame(9, b"x", rsv=1), 1002),
        (frame(0, b"x"), 1002),
        (frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
        (frame(1, b"x", fin=False) + frame(2, b"y"), 1002),
        (frame(3), 1002),
        (frame(11), 1002),
        (frame(9, b"x" * 126), 1002),
        (frame(9, fin=False), 1002),
        (frame(1, b"x", masked=False), 1002),
        (frame(8, b"\x03"), 1002),
        *((frame(8, pack("!H", bad)), 1002) for bad in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
        (frame(8, b"\x03\xe8\xff"), 1007),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"\xf0\x9f", fin=False) + frame(0, b"\x41"), 1007),
        (frame(1, b"\xf0\x9f", fin=False) + frame(0), 1007),
        (frame(1, b"x" * 16385), 1009),
        (frame(2, b"x" * 16385), 1009),
        (frame(1, b"x" * 16000, fin=False) + frame(0, b"x" * 400), 1009),
    ],
)
async def test_broken_rules_close_with_their_code_and_nothing_more_is_heard(sent: bytes, code: int) -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(sent)
    transport.feed(frame(1, b"and another thing"))
    await asyncio.sleep(0)
    transport.feed(frame(1, b"and another thing"))
    assert transport.is_half_closed
    written = transport.take()
    assert close_code(written) == code
    assert len(written) == written[1] + 2, "one frame, and no second CLOSE"
    assert peer.messages == []
    transport.close()
    await asyncio.sleep(0)
    assert peer.end is not None
    assert peer.end[0] == code
    assert peer.end[2]


async def test_a_broken_frame_does_not_undo_the_good_one_before_it() -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(frame(1, b"good") + frame(9) + frame(3))
    await asyncio.sleep(0)
    assert peer.messages == ["good"]
    assert transport.take()[:6] == b"\x8a\x00\x88\x28\x03\xea"


async def test_a_second_close_is_not_held_against_the_first() -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(frame(8, pack("!H", 1000)) + frame(8))
    await asyncio.sleep(0)
    assert transport.take() == frame(8, pack("!H", 1000), masked=False)
    assert peer.end == (1000, "", False)


async def test_nothing_is_gathered_after_a_broken_rule() -> None:
    transport, _, _ = opened()
    transport.feed(frame(3))
    sizes = set()
    for _ in range(100):
        transport.feed(b"x" * 65536)
        sizes.add(len(transport.protocol.get_buffer(-1)))
    assert sizes == {65536}


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1014, 3000, 4999])
async def test_a_close_is_echoed_and_ends_the_connection(code: int) -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(frame(8, pack("!H", code) + b"bye"))
    assert transport.take() == frame(8, pack("!H", code), masked=False)
    await asyncio.sleep(0)
    assert peer.end == (code, "bye", False)


async def test_an_empty_close_is_answered_by_an_empty_one() -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(frame(8))
    assert transport.take() == b"\x88\x00"
    await asyncio.sleep(0)
    assert peer.end == (1005, "", False)


async def test_our_close_waits_for_the_peers_and_cuts_a_long_reason() -> None:
    transport, peer, socket = opened()
    transport.take()
    socket.close(1012, "é" * 100)
    socket.close(1000, "")
    written = transport.take()
    assert close_code(written) == 1012
    assert peer.is_muted
    assert written[1] == 124
    assert len(written) == 126
    transport.feed(frame(1, b"too late") + frame(8, pack("!H", 1012)))
    assert transport.take() == b""
    await asyncio.sleep(0)
    assert peer.messages == []
    assert peer.end is not None
    assert peer.end[0] == 1012


async def test_pings_are_answered_with_their_payload_unless_there_are_too_many() -> None:
    transport, peer, _ = opened()
    transport.take()
    transport.feed(frame(9, b"x" * 125) + frame(10, b"unasked"))
    assert transport.take() == b"\x8a\x7d" + b"x" * 125
    peer.takes_pings = False
    transport.feed(frame(9))
    assert transport.take() == b""


async def test_a_buffer_that_has_grown_is_traded_for_a_small_one() -> None:
    transport, peer, _ = opened()
    small = len(transport.protocol.get_buffer(-1))
    transport.feed(frame(1, b"x" * 16000))
    assert len(transport.protocol.get_buffer(-1)) == small
    transport.feed(b"".join(frame(1, b"y" * 100) for _ in range(2000)) + frame(1, b"z")[:3])
    transport.feed(frame(1, b"z")[3:])
    assert len(transport.protocol.get_buffer(-1)) <= 4 * small
    assert [len(message) for message in peer.messages] == [16000] + [100] * 2000 + [1]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit])
async def test_what_a_handler_leaves_behind_is_not_for_the_next_connection(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(_text: str) -> None:
        raise error

    settings = WireSettings(16384, Readers(16384))
    (broken, broken_peer), (other, peer) = ((FakeTransport(), Listener()) for _ in range(2))
    monkeypatch.setattr(broken_peer, "receive_text", fail)
    for transport, each in ((broken, broken_peer), (other, peer)):
        open_websocket(transport, KEY, each, settings)
        transport.take()
    broken.feed(frame(1, b"x") + frame(1, b"a secret") * 2)
    other.feed(frame(1, b"hello"))
    assert close_code(broken.take()) == 1011
    assert peer.messages == ["hello"]


async def test_any_bytes_are_survived() -> None:
    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.binary(max_size=64), max_size=8))
    def check(chunks: list[bytes]) -> None:
        transport, _, _ = opened()
        transport.take()
        for chunk in chunks:
            transport.feed(chunk)
        written = transport.take()
        while written:
            size = written[1] + 2
            assert written[0] in (0x88, 0x8A)
            assert size <= 127
            written = written[size:]

    check()


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_it_does_not_matter_how_the_bytes_come(size: int) -> None:
    transport, peer, _ = opened()
    data = b"".join(frame(1, b"x" * length) for length in (0, 1, 125, 126, 300)) + frame(9, b"?") + frame(8)
    for start in range(0, len(data), size):
        transport.feed(data[start : start + size])
    assert [len(message) for message in peer.messages] == [0, 1, 125, 126, 300]
    assert transport.is_closed
