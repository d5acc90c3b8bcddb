"""The connection without a network: picows' frames in, ours out, and every byte string survived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.errors import CloseCode
from hubbub.heartbeat import Wheel
from hubbub.wire.fragments import BYTES_PER_FRAGMENT, FREE_FRAGMENTS
from hubbub.wire.reader import NARROW_READ, ONE_READ, Reader, Readers
from hubbub.wire.turnstile import TURN_S, Turnstile
from hubbub.wire.websocket import (
    CLOSE_TIMEOUT_S,
    HIGH_WATER,
    SCRAP,
    SHORT_READ,
    SLOW_BYTE_S,
    WebSocket,
    WireSettings,
    open_websocket,
)
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Clock:
    """A clock that stands still, but for what each look at it takes."""

    def __init__(self, seconds_a_look: float = 0.0) -> None:
        self.now = 1000.0
        self.seconds_a_look = seconds_a_look

    def __call__(self) -> float:
        self.now += self.seconds_a_look
        return self.now


class Listener:
    """A receiver that notes what it is told.

    Attributes:
        admitted: frames that were counted and are no messages.
        most: how many it takes before it calls them a flood.
    """

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.end: tuple[int, str, bool] | None = None
        self.takes_pings = True
        self.is_muted = False
        self.is_slow = False
        self.admitted = 0
        self.most = 1_000_000
        self.sends_too_much = False
        self.socket: WebSocket | None = None

    def receive_text(self, text: str) -> None:
        self.messages.append(text)

    def receive_binary(self, data: bytes) -> None:
        self.messages.append(data)

    def admit(self, count: int) -> bool:
        self.admitted += count
        if self.admitted > self.most:
            assert self.socket is not None
            self.socket.close(CloseCode.FLOODING, "a flood")
            return False
        return self.takes_pings

    def is_too_much(self, _size: int) -> bool:
        return self.sends_too_much

    def writing_paused(self) -> None:
        self.is_slow = True

    def writing_resumed(self) -> None:
        self.is_slow = False

    def closing(self) -> None:
        self.is_muted = True

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        assert self.end is None
        self.end = (code, reason, by_us)


def opened(
    max_frame: int = 16384, *, has_halves: bool = True, wheel: Wheel | None = None
) -> tuple[FakeTransport, Listener, WebSocket]:
    """A connection past its 101, which has been taken."""
    transport, listener = FakeTransport(has_halves=has_halves), Listener()
    settings = WireSettings(max_frame, Readers(max_frame, Turnstile(Clock())), wheel)
    listener.socket = open_websocket(transport, KEY, listener, settings)
    assert transport.take().startswith(b"HTTP/1.1 101 ")
    return transport, listener, listener.socket


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


# Opening


async def test_a_websocket_hears_that_its_transport_is_over_the_new_limit() -> None:
    class Full(FakeTransport):
        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            self.protocol.pause_writing()

    peer = Listener()
    open_websocket(Full(), KEY, peer, WireSettings(16384, Readers(16384)))
    assert peer.is_slow


async def test_the_handshake_is_answered_with_the_accept_of_the_rfc() -> None:
    transport = FakeTransport()
    open_websocket(transport, KEY, Listener(), WireSettings(16384, Readers(16384)), subprotocol="chat.v1")
    answer = transport.take()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer  # RFC 6455 section 1.3's example
    assert b"Sec-WebSocket-Protocol: chat.v1\r\n" in answer


async def test_fragments_are_joined_around_control_frames() -> None:
    transport, peer, _ = opened()
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
    transport.feed(sent)
    transport.feed(frame(1, b"and another thing"))
    await transport.settle()
    transport.feed(frame(1, b"and another thing"))
    await transport.settle()
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
    transport.feed(frame(1, b"good") + frame(9) + frame(3))
    await asyncio.sleep(0)
    assert peer.messages == ["good"]
    assert transport.take()[:6] == b"\x8a\x00\x88\x28\x03\xea"


async def test_a_second_close_is_not_held_against_the_first() -> None:
    transport, peer, _ = opened()
    transport.feed(frame(8, pack("!H", 1000)) + frame(8))
    await asyncio.sleep(0)
    assert transport.take() == frame(8, pack("!H", 1000), masked=False)
    assert peer.end == (1000, "", False)


async def test_nothing_is_gathered_after_a_broken_rule() -> None:
    transport, _, _ = opened()
    transport.feed(frame(3))
    for _ in range(100):
        assert transport.protocol.get_buffer(-1) is SCRAP
        transport.feed(b"x" * 65536)
        await transport.settle()
        assert transport.unread == 0


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1014, 3000, 4999])
async def test_a_close_is_echoed_and_ends_the_connection(code: int) -> None:
    transport, peer, _ = opened()
    transport.feed(frame(8, pack("!H", code) + b"bye"))
    assert transport.take() == frame(8, pack("!H", code), masked=False)
    await asyncio.sleep(0)
    assert peer.end == (code, "bye", False)


async def test_an_empty_close_is_answered_by_an_empty_one() -> None:
    transport, peer, _ = opened()
    transport.feed(frame(8))
    assert transport.take() == b"\x88\x00"
    await asyncio.sleep(0)
    assert peer.end == (1005, "", False)


async def test_our_close_waits_for_the_peers_and_cuts_a_long_reason() -> None:
    transport, peer, socket = opened()
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
    transport.feed(frame(9, b"x" * 125) + frame(10, b"unasked"))
    assert peer.admitted == 2, "a pong, too, is counted"
    assert transport.take() == b"\x8a\x7d" + b"x" * 125
    peer.takes_pings = False
    transport.feed(frame(9))
    assert transport.take() == b""


async def test_a_buffer_that_has_grown_is_traded_for_a_small_one() -> None:
    transport, peer, _ = opened()
    small = len(transport.protocol.get_buffer(-1))
    transport.feed(frame(1, b"x" * 16000))
    await transport.settle()
    assert len(transport.protocol.get_buffer(-1)) == small
    transport.feed(b"".join(frame(1, b"y" * 100) for _ in range(2000)) + frame(1, b"z")[:3])
    transport.feed(frame(1, b"z")[3:])
    await transport.settle()
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


# Fragments


def parts(payload: bytes, size: int, opcode: int = 1) -> list[bytes]:
    """A message in frames of so many bytes each."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    last = len(pieces) - 1
    return [frame(0 if number else opcode, piece, fin=number == last) for number, piece in enumerate(pieces)]


async def receive(transport: FakeTransport, *frames: bytes) -> None:
    """Let frames arrive, and have their effect."""
    transport.feed(b"".join(frames))
    await transport.settle()


@pytest.mark.parametrize(
    ("size", "in_parts_of"),
    [(16384, 16384), (16384, 5000), (16384, 1024), (16384, 683), (4000, 400), (8, 1), (100, 13)],
)
@pytest.mark.parametrize("opcode", [1, 2])
async def test_a_message_in_a_fair_number_of_fragments_is_one_event(size: int, in_parts_of: int, opcode: int) -> None:
    transport, listener, _ = opened()
    await receive(transport, *parts(b"x" * size, in_parts_of, opcode))
    assert [len(message) for message in listener.messages] == [size]
    assert listener.admitted == 0


@pytest.mark.parametrize("opcode", [1, 2])
async def test_every_fragment_over_a_fair_number_is_counted(opcode: int) -> None:
    transport, listener, _ = opened()
    size = 3 * BYTES_PER_FRAGMENT
    for number in range(1, 3):
        await receive(transport, *parts(b"x" * size, 1, opcode))
        assert len(listener.messages) == number
        # What came with the first and the second KiB, and the very last frame, for which there is a third.
        assert size - FREE_FRAGMENTS - 3 <= listener.admitted / number <= size - FREE_FRAGMENTS


async def test_empty_fragments_are_counted_too() -> None:
    transport, listener, _ = opened()
    await receive(transport, frame(1, fin=False), *[frame(0, fin=False)] * (FREE_FRAGMENTS - 1))
    assert listener.admitted == 0
    await receive(transport, *[frame(0, fin=False)] * 5)
    assert listener.admitted == 5
    await receive(transport, frame(0))
    assert listener.messages == [""]


@pytest.mark.parametrize("piece", [b"", b"x"])
async def test_fragments_without_end_are_a_flood(piece: bytes) -> None:
    transport, listener, socket = opened()
    listener.most = 100
    await receive(transport, frame(1, piece, fin=False), *[frame(0, piece, fin=False)] * 500, frame(0), frame(1, b"x"))
    written = transport.take()
    assert close_code(written) == 4102
    assert len(written) == written[1] + 2, "one CLOSE, and nothing more"
    assert listener.admitted == 101, "nothing is counted after it, because nothing is heard"
    assert listener.messages == []
    assert transport.is_half_closed
    assert socket._fragments is None, "what had come is forgotten"


async def test_a_message_whose_last_fragment_is_one_too_many_is_not_delivered() -> None:
    transport, listener, _ = opened()
    listener.most = 0
    await receive(transport, *parts(b"x" * (FREE_FRAGMENTS + 1), 1))
    assert close_code(transport.take()) == 4102
    assert listener.messages == []


async def test_a_fragment_over_the_rate_is_still_a_part_of_its_message() -> None:
    transport, listener, _ = opened()
    listener.takes_pings = False
    await receive(transport, *parts(b"0123456789" * 3, 1))
    assert listener.messages == ["0123456789" * 3]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_characters_may_be_cut_by_fragments(size: int) -> None:
    text = "caf\u00e9 \u20ac \U0001f600 \u65e5\u672c"
    transport, listener, _ = opened()
    await receive(transport, *parts(text.encode(), size))
    assert listener.messages == [text]


@pytest.mark.parametrize("broken", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90"])
async def test_what_cannot_become_utf_8_closes_before_the_message_ends(broken: bytes) -> None:
    transport, listener, _ = opened()
    await receive(transport, frame(1, b"good", fin=False), *parts(broken, 1, 0)[:-1], frame(0, broken[-1:], fin=False))
    assert close_code(transport.take()) == 1007
    assert listener.messages == []


async def test_bytes_in_fragments_need_not_be_utf_8() -> None:
    transport, listener, _ = opened()
    await receive(transport, *parts(b"\xff\xfe\xc0", 1, 2))
    assert listener.messages == [b"\xff\xfe\xc0"]


async def test_without_a_limit_messages_in_fragments_may_be_large() -> None:
    transport, listener, _ = opened(max_frame=0)
    await receive(transport, *parts(b"x" * 200_000, 10_000))
    assert [len(message) for message in listener.messages] == [200_000]


# Closing, from every state


async def test_a_close_that_answers_ours_ends_tcp() -> None:
    transport, listener, socket = opened()
    socket.close(1001, "going")
    assert not transport.is_closing()
    await receive(transport, frame(8, pack("!H", 1000) + b"bye"))
    assert close_code(transport.take()) == 1001
    assert transport.is_closed
    assert listener.end == (1001, "going", True), "the first CLOSE counts"


async def test_after_our_close_only_the_peers_is_heard() -> None:
    transport, listener, socket = opened()
    socket.close(1001)
    transport.take()
    late = [frame(1, b"x"), frame(1, b"x", fin=False), frame(0), frame(9, b"?"), frame(10), frame(2), frame(1, b"\xff")]
    await receive(transport, *late)
    assert transport.take() == b""
    assert (listener.messages, listener.admitted) == ([], 0)
    assert not transport.is_closed


async def test_a_broken_frame_ends_a_connection_that_is_closing() -> None:
    transport, listener, socket = opened()
    socket.close(1001)
    transport.take()
    await receive(transport, frame(3))
    assert transport.take() == b"", "no second CLOSE"
    assert transport.is_half_closed
    transport.close()
    await transport.settle()
    assert listener.end == (1001, "", True)


async def test_only_the_first_close_is_written() -> None:
    for first, second in (("close", "fail"), ("fail", "close"), ("close", "close"), ("fail", "fail")):
        transport, _, socket = opened()
        getattr(socket, first)(1001, "")
        getattr(socket, second)(4000, "")
        assert transport.take() == frame(8, pack("!H", 1001), masked=False)


async def test_after_the_peers_close_nothing_is_written_or_heard() -> None:
    transport, listener, socket = opened()
    transport.feed(frame(8, pack("!H", 1000)))
    transport.take()
    transport.feed(frame(1, b"x"))
    socket.close(1001, "")
    socket.fail(4000, "")
    socket.ping()
    await transport.settle()
    socket.close(1001, "")
    socket.fail(4000, "")
    assert transport.take() == b""
    assert listener.messages == []
    assert listener.end == (1000, "", False)
    assert not transport.is_half_closed


async def test_a_connection_that_is_lost_was_closed_by_nobody() -> None:
    transport, listener, _ = opened()
    transport.close()
    await transport.settle()
    assert listener.end == (1006, "", False)
    assert listener.is_muted is False


async def test_one_flooding_is_not_even_heard_to_say_goodbye() -> None:
    transport, listener, socket = opened()
    socket.close(CloseCode.FLOODING, "enough")
    assert transport.is_half_closed
    await receive(transport, frame(8, pack("!H", 1000)))
    assert not transport.is_closed, "the timer ends it, or the peer"
    transport.close()
    await transport.settle()
    assert listener.end == (4102, "enough", True)


async def test_where_halves_cannot_be_closed_a_broken_rule_closes_the_transport() -> None:
    transport, _, _ = opened(has_halves=False)
    await receive(transport, frame(3))
    assert transport.is_closed
    assert not transport.is_cut


async def test_a_transport_that_closed_under_us_takes_no_close() -> None:
    transport, listener, socket = opened()
    transport.is_half_closed = True
    socket.ping()
    socket.close(1001, "")
    assert listener.is_muted


class Timers:
    """The calls for later of a loop, whose time does not go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: list[tuple[float, Callable[..., object], asyncio.TimerHandle]] = []
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    def _call_later(self, seconds: float, call: Callable[..., object], *_arguments: object) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self._loop.time() + seconds, call, (), self._loop)
        self.due.append((seconds, call, handle))
        return handle

    def fire(self) -> None:
        """Let the only one come due."""
        ((_seconds, call, handle),) = self.due
        assert not handle.cancelled()
        call()


@pytest.mark.parametrize("how", ["close", "fail", "peer"])
async def test_a_peer_has_two_seconds_for_its_end_and_is_then_cut(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    timers = Timers(monkeypatch)
    transport, listener, socket = opened()
    if how == "peer":
        transport.feed(frame(8, pack("!H", 1000)))
    else:
        getattr(socket, how)(1001, "")
    assert [seconds for seconds, *_ in timers.due] == [CLOSE_TIMEOUT_S]
    timers.fire()
    assert transport.is_cut
    await transport.settle()
    assert listener.end is not None
    assert timers.due[0][2].cancelled(), "it would keep the connection"


async def test_nothing_after_a_broken_rule_is_heard_not_even_a_close() -> None:
    transport, listener, _ = opened()
    await receive(transport, frame(1, b"x", rsv=4) + frame(8, pack("!H", 1000)))
    assert close_code(transport.take()) == 1002
    assert not transport.is_closed
    assert transport.is_half_closed
    assert listener.messages == []


@pytest.mark.parametrize("how", ["close", "fail", "peer"])
async def test_after_its_end_nothing_is_read(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def read(_reader: Reader, _owner: object, _size: int) -> None:
        raise AssertionError("it is dead")

    transport, _, socket = opened()
    if how == "peer":
        transport.feed(frame(8))
        transport.is_closed = False  # as if more had been on its way
    else:
        getattr(socket, how)(CloseCode.FLOODING, "")
    monkeypatch.setattr(Reader, "read", read)
    await receive(transport, frame(1, b"x"), frame(1, b"x" * 2000))


async def test_a_transport_that_is_gone_lets_go_of_its_connection() -> None:
    transport, _, socket = opened()
    transport.feed(frame(1, b"half")[:5])
    reader = socket._reader
    assert reader is not None
    transport.close()
    await transport.settle()
    assert transport.protocol is not socket, "uvloop's TLS would keep it"
    assert reader.is_worn, "half a frame of one is nobody else's"
    assert len(transport.protocol.get_buffer(-1)) > 0


async def test_a_worn_reader_reads_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, listener, socket = opened()
    readers = socket._readers
    shared = readers.shared
    monkeypatch.setattr(listener, "receive_text", lambda _text: shared.fail(1011, "the library failed"))
    transport.feed(frame(1, b"x"))
    assert close_code(transport.take()) == 1011
    assert readers.shared is not shared


# Heartbeat


async def test_a_ping_is_an_empty_ping() -> None:
    transport, _, socket = opened()
    socket.ping()
    assert transport.take() == b"\x89\x00"


async def test_one_that_is_not_read_from_need_not_answer_while_it_reads_itself() -> None:
    transport, _, socket = opened()
    socket.pause_reading()
    socket.is_alive = False
    transport.outbox_size = HIGH_WATER - 1
    socket.ping()
    assert socket.is_alive
    assert transport.take() == b""
    socket.is_alive = False
    transport.outbox_size = HIGH_WATER
    socket.ping()
    assert not socket.is_alive
    assert transport.take() == b"\x89\x00"


async def test_one_that_is_closing_is_not_pinged() -> None:
    transport, _, socket = opened()
    socket.close(1001)
    transport.take()
    socket.ping()
    assert transport.take() == b""


@pytest.mark.parametrize("sign", [frame(1, b"x"), frame(2), frame(9), frame(10), frame(1, b"x", fin=False)])
async def test_any_whole_frame_is_a_sign_of_life(sign: bytes) -> None:
    transport, _, socket = opened()
    socket.is_alive = False
    transport.feed(sign[:-1])
    assert not socket.is_alive
    transport.feed(sign[-1:])
    assert socket.is_alive


async def test_without_a_sign_of_life_it_is_closed_with_4000_and_watched_no_more() -> None:
    wheel = Wheel(9.0, 10.0)
    transport, listener, _ = opened(wheel=wheel)
    for _ in range(30):
        wheel.turn()
    written = transport.take()
    assert written.startswith(b"\x89\x00" * 2)
    assert close_code(written[4:]) == 4000
    transport.close()
    await transport.settle()
    assert listener.end is not None
    assert not any(wheel._buckets)


async def test_a_lost_connection_is_watched_no_more() -> None:
    wheel = Wheel(9.0, 10.0)
    transport, _, socket = opened(wheel=wheel)
    assert socket in socket._settings.sockets
    transport.close()
    await transport.settle()
    assert not any(wheel._buckets)
    assert not socket._settings.sockets


# Flow


def hasty(seconds_a_read: float = 0.0, *, is_over_rate: bool = True) -> tuple[FakeTransport, Listener, WebSocket]:
    """A connection whose reads take so long, of a client that sends more than it may."""
    transport, listener = FakeTransport(), Listener()
    listener.sends_too_much = is_over_rate
    readers = Readers(16384, Turnstile(Clock(seconds_a_read)))
    listener.socket = open_websocket(transport, KEY, listener, WireSettings(16384, readers))
    return transport, listener, listener.socket


async def test_one_over_its_rate_is_read_once_in_a_turn_of_the_loop_and_little() -> None:
    transport, listener, _ = hasty()
    transport.feed(frame(1, b"x" * 10) * 500)
    assert transport.reads == 1
    assert len(listener.messages) == ONE_READ // 16
    for turn in (1, 2, 3):
        await asyncio.sleep(0)  # the turnstile
        await asyncio.sleep(0)  # the loop
        assert transport.reads == 1 + turn
        assert len(listener.messages) == (ONE_READ + turn * NARROW_READ) // 16
    await transport.settle()
    assert listener.messages == ["x" * 10] * 500


async def test_one_within_its_rate_may_send_as_much_as_it_likes() -> None:
    transport, listener, _ = hasty(is_over_rate=False)
    transport.feed(frame(1, b"x" * 100) * 300)
    assert len(listener.messages) == 300


@pytest.mark.parametrize(("share", "waits"), [(0.9, False), (1.1, True)])
async def test_one_whose_bytes_take_long_is_read_once_in_a_turn(share: float, waits: bool) -> None:
    transport, _, _ = hasty(share * ONE_READ * SLOW_BYTE_S, is_over_rate=False)
    transport.feed(frame(1, b"x" * 100) * (2 * ONE_READ // 106))
    assert transport.is_paused is waits
    assert (transport.unread > 0) is waits


@pytest.mark.parametrize("size", [SHORT_READ, SHORT_READ + 1])
async def test_a_short_read_is_not_looked_into(size: int) -> None:
    transport, listener, _ = hasty(1000.0)
    transport.feed(frame(1, b"x" * (size - 8)))
    assert len(listener.messages) == 1
    assert transport.is_paused is (size > SHORT_READ)
    assert NARROW_READ > SHORT_READ, "a full read is looked into"


async def test_one_that_is_closing_is_read_once_in_a_turn() -> None:
    transport, _, socket = hasty(is_over_rate=False)
    socket.close(1001)
    transport.feed(frame(1, b"x" * 100) * 300)
    assert transport.reads == 1


async def test_one_that_is_gone_when_its_turn_comes_takes_no_reader() -> None:
    transport, _, socket = hasty()
    transport.feed(frame(1, b"x" * 100) * 100)
    socket.connection_lost(None)
    transport.is_closed = True
    await transport.settle()
    assert socket._reader is None
    assert transport.is_paused


async def test_after_its_turn_one_reads_like_everybody_else() -> None:
    transport, listener, socket = hasty()
    transport.feed(frame(1, b"x" * 100) * 10)
    await transport.settle()
    assert len(transport.protocol.get_buffer(-1)) == NARROW_READ
    listener.sends_too_much = False
    transport.feed(frame(1, b"x"))
    assert socket._reader is None
    assert len(transport.protocol.get_buffer(-1)) == ONE_READ
    assert len(listener.messages) == 11


@pytest.mark.parametrize("is_dead", [False, True])
async def test_those_that_wait_take_turns(is_dead: bool) -> None:
    readers = Readers(0, Turnstile(Clock(TURN_S)))
    order: list[str] = []

    class Named(FakeTransport):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def resume_reading(self) -> None:
            order.append(self.name)
            super().resume_reading()

    transports = []
    for name in "ab":
        transport = Named(name)
        listener = Listener()
        listener.sends_too_much = True
        open_websocket(transport, KEY, listener, WireSettings(0, readers))
        if is_dead:
            transport.feed(frame(3))
        transports.append(transport)
    for transport in transports:
        transport.feed(frame(1, b"x" * 100) * (10_000 if is_dead else 100))
    await asyncio.gather(*(transport.settle() for transport in transports))
    assert order == ["a", "b"] * (len(order) // 2)
    assert len(order) > 10


async def test_one_that_is_paused_is_not_read_on_by_the_turnstile() -> None:
    transport, listener, socket = hasty()
    transport.feed(frame(1, b"x" * 100) * 50)
    socket.pause_reading()
    await transport.settle()
    assert transport.is_paused
    socket.resume_reading()
    await transport.settle()
    assert len(listener.messages) == 50


async def test_one_at_the_turnstile_is_not_read_on_by_its_receiver() -> None:
    transport, listener, socket = hasty()
    transport.feed(frame(1, b"x" * 100) * 50)
    socket.pause_reading()
    socket.resume_reading()
    assert transport.is_paused
    assert transport.reads == 1
    await transport.settle()
    assert len(listener.messages) == 50


async def test_one_that_reads_on_its_own_waits_once() -> None:
    # A loop may hand over what it had read before it was told to pause.
    transport, _, socket = hasty()
    data = frame(1, b"x" * 1000)
    for _ in range(3):
        transport.protocol.get_buffer(-1)[: len(data)] = data
        transport.protocol.buffer_updated(len(data))
    assert len(socket._readers.turnstile._waiting) == 1


async def test_a_transport_that_is_closing_is_not_read_on() -> None:
    transport, _, socket = hasty()
    transport.feed(frame(1, b"x" * 100) * 50)
    socket.pause_reading()
    transport.close()
    transport.is_paused = True
    socket.resume_reading()
    await transport.settle()
    assert transport.is_paused


async def test_the_receiver_hears_of_a_full_outbox_and_of_an_empty_one() -> None:
    transport, listener, socket = opened()
    heard = []
    for tell in (socket.pause_writing, socket.resume_writing):
        tell()
        heard.append(listener.is_slow)
    assert heard == [True, False]
    transport.outbox_size = 5
    assert socket.outbox_size == 5
