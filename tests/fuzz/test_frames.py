"""The frame path: whatever bytes come, in whatever pieces, a connection does what RFC 6455 says, and harms no other."""

from __future__ import annotations

import codecs
from struct import pack
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import cut, cuts, mutate, mutations
from fuzz.effort import effort
from fuzz.watch import run, work
from hubbub.errors import CloseCode
from hubbub.wire.reader import Readers
from hubbub.wire.turnstile import Turnstile
from hubbub.wire.websocket import WireSettings, open_websocket
from unit.test_websocket import KEY, Clock, Listener
from unit.transports import FakeTransport

MAX_FRAME = 1000
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# Close codes below 3000 that an endpoint may send (section 7.4.1).
SENDABLE = frozenset(range(1000, 1015)) - {1004, 1005, 1006}

# Lines and calls of Hubbub's own code for each byte that comes, and for a stream.
STEPS_PER_BYTE, STEPS = 15, 500


# What is sent


def frame(opcode: int, payload: bytes, mask: bytes, *, fin: bool = True, rsv: int = 0, wide: int = 0) -> bytes:
    """A client's frame; `wide` forces a longer field for the length than is needed."""
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    if size < 126 and wide == 0:
        head = pack("!BB", first, masked | size)
    elif size < 65536 and wide < 2:
        head = pack("!BBH", first, masked | 126, size)
    else:
        head = pack("!BBQ", first, masked | 127, size)
    key = mask or bytes(4)
    return head + mask + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


masks = st.binary(min_size=4, max_size=4)
payloads = st.one_of(
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=40),
    st.integers(0, 1300).map(lambda size: b"x" * size),
    st.sampled_from([b"\xed\xa0\x80", b"\xf0\x9f\x92", "\N{PILE OF POO}".encode(), b"\xc0\x80", b"\xf4\x90\x80\x80"]),
)
close_payloads = st.one_of(
    st.just(b""),
    st.builds(lambda code, reason: pack("!H", code) + reason, st.integers(0, 5100), st.binary(max_size=20)),
    st.builds(
        lambda code, reason: pack("!H", code) + reason.encode()[:100],
        st.sampled_from([1000, 1001, 1003, 3000, 4000, 4999]),
        st.text(max_size=10),
    ),
    st.binary(max_size=140),
)
controls = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), masks)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in one frame or in fragments, which may cut characters, with other frames in between."""
    opcode, data = draw(
        st.tuples(st.just(TEXT), st.text(max_size=60).map(str.encode))
        | st.tuples(st.just(BINARY), st.binary(max_size=60))
        | st.tuples(st.just(TEXT), st.integers(100, 500).map(lambda size: b"x" * size))
    )
    pieces = cut(data, draw(st.lists(st.integers(0, 999), max_size=4))) or [b""]
    sent = b""
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        sent += frame(0 if index else opcode, piece, draw(masks), fin=is_last)
        if not is_last and draw(st.booleans()):
            sent += draw(controls)
    return sent


any_frames = st.one_of(
    st.builds(frame, st.just(CLOSE), close_payloads, masks),
    # One fault alone.
    st.builds(frame, st.sampled_from([TEXT, PING]), st.just(b"x"), masks, rsv=st.integers(1, 7)),
    st.builds(frame, st.sampled_from([TEXT, PING]), st.just(b"x"), st.just(b"")),
    st.builds(
        frame,
        st.integers(0, 15),
        payloads,
        masks | st.just(b""),
        fin=st.booleans(),
        rsv=st.integers(0, 7),
        wide=st.integers(0, 2),
    ),
    # A length, and little that follows it.
    st.builds(
        lambda opcode, size: pack("!BBQ", 0x80 | opcode, 0xFF, size), st.integers(0, 15), st.integers(0, 2**64 - 1)
    ),
)
good_streams = st.lists(messages() | messages() | controls, max_size=6).map(b"".join)
good_closes = st.builds(
    frame,
    st.just(CLOSE),
    st.builds(
        lambda code, reason: pack("!H", code) + reason.encode()[:40],
        st.sampled_from([1000, 1001, 3000, 4999]),
        st.text("abc\N{PILE OF POO}", max_size=10),
    ),
    masks,
)
ends = st.just(b"") | good_closes | any_frames | st.lists(any_frames, max_size=3).map(b"".join)
streams = st.one_of(
    st.builds(lambda good, end: good + end, good_streams, ends),
    st.builds(lambda good, end, more: good + end + more, good_streams, ends, good_streams),
    st.builds(mutate, good_streams, mutations),
    st.binary(max_size=200),
)


# What has to come of it, by another reading of the RFC


class Verdict(NamedTuple):
    """What a stream means.

    Attributes:
        messages: those before its end, or before the first broken rule.
        pongs: the answers to its pings.
        ends: what may be its end: a close code to be sent, 1005 for a CLOSE without one, None for none yet.
    """

    messages: list[str | bytes]
    pongs: list[bytes]
    ends: set[int | None]


class Judge:
    """Reads a client's frames, a whole stream at once."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.parts: bytes | None = None
        self.is_text = False

    def judge(self, data: bytes) -> Verdict:
        ends: set[int | None] = {None}
        while data:
            ends, size = self.judge_frame(data)
            if ends:
                break
            data = data[size:]
            ends = {None}
        return Verdict(self.messages, self.pongs, ends)

    def judge_frame(self, data: bytes) -> tuple[set[int | None], int]:  # noqa: C901  # the RFC's rules in a row
        """What may end the connection in the first frame; without anything, how long the frame is."""
        first, second = data[0], data[1] if len(data) > 1 else 0x80
        opcode, size = first & 0xF, second & 0x7F
        faults: set[int | None] = set()
        if first & 0x70 or opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG) or not second & 0x80:
            faults.add(CloseCode.PROTOCOL_ERROR)
        if opcode >= CLOSE and (not first & 0x80 or size > 125):
            faults.add(CloseCode.PROTOCOL_ERROR)
        if opcode < CLOSE and (opcode == 0) != (self.parts is not None):
            faults.add(CloseCode.PROTOCOL_ERROR)
        wide = {126: 2, 127: 8}.get(size, 0)
        if wide and len(data) >= 2 + wide:
            size = int.from_bytes(data[2 : 2 + wide], "big")
            if size < (126 if wide == 2 else 65536) or size >> 63:
                faults.add(CloseCode.PROTOCOL_ERROR)
        if opcode < CLOSE and len(self.parts or b"") + size > MAX_FRAME:
            faults.add(CloseCode.TOO_LARGE)
        start = 2 + wide + 4
        if len(data) < max(2, start + size) or (wide and len(data) < 2 + wide):
            return faults | {None}, 0  # what is wrong with it may be told later
        mask, payload = data[start - 4 : start], data[start : start + size]
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        if opcode == CLOSE:
            return faults or close_of(payload), 0
        if opcode < CLOSE:
            is_text = self.is_text if opcode == 0 else opcode == TEXT
            whole = (self.parts or b"") + payload
            if is_text and not could_be_text(whole, is_whole=bool(first & 0x80)):
                faults.add(CloseCode.INVALID_TEXT)
            if not faults:
                self.take(whole, is_text=is_text, is_whole=bool(first & 0x80))
        elif opcode == PING and not faults:
            self.pongs.append(payload)
        return faults, start + size

    def take(self, data: bytes, *, is_text: bool, is_whole: bool) -> None:
        self.is_text = is_text
        self.parts = None if is_whole else data
        if is_whole:
            self.messages.append(data.decode() if is_text else data)


def could_be_text(data: bytes, *, is_whole: bool) -> bool:
    """Whether it is UTF-8, or may become it."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=is_whole)
    except UnicodeDecodeError:
        return False
    return True


def close_of(payload: bytes) -> set[int | None]:
    """What ends a connection whose peer sends a CLOSE with this payload."""
    if not payload:
        return {1005}
    code = int.from_bytes(payload[:2], "big")
    ends: set[int | None] = set()
    if len(payload) == 1 or not (code in SENDABLE or 3000 <= code <= 4999):
        ends.add(CloseCode.PROTOCOL_ERROR)
    if not could_be_text(payload[2:], is_whole=True):
        ends |= {CloseCode.INVALID_TEXT, CloseCode.PROTOCOL_ERROR}
    return ends or {code}


# What comes of it


class Outcome(NamedTuple):
    """What has become of a connection.

    Attributes:
        messages: what it was heard to say.
        pongs: what it was answered.
        end: the code that was sent, 1005 for a CLOSE without one, None for none.
        is_over: whether the server has ended its half of TCP at least.
    """

    messages: list[str | bytes]
    pongs: list[bytes]
    end: int | None
    is_over: bool


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a server has sent, which are whole, and no longer than a control frame."""
    frames = []
    while data:
        size = data[1]
        assert size <= 125 and len(data) >= 2 + size, data
        frames.append((data[0], data[2 : 2 + size]))
        data = data[2 + size :]
    return frames


class Server:
    """What the connections of one server share, and an honest client of it."""

    def __init__(self) -> None:
        self.settings = WireSettings(MAX_FRAME, Readers(MAX_FRAME, Turnstile(Clock())))
        self.honest, self.listener = self.connect()
        self.said: list[str | bytes] = []

    def connect(self, *, has_halves: bool = True) -> tuple[FakeTransport, Listener]:
        transport, listener = FakeTransport(has_halves=has_halves), Listener()
        listener.socket = open_websocket(transport, KEY, listener, self.settings)
        transport.take()
        return transport, listener

    def say(self, *, half: int) -> None:
        """Have the honest client say something, a half of it at a time."""
        text = f"message {len(self.said) // 2}".encode()
        whole = frame(TEXT, text, b"abcd")
        self.honest.feed([whole[:7], whole[7:]][half])
        self.said.append(text.decode())

    def assert_unharmed(self) -> None:
        assert self.listener.messages == self.said[1::2]
        assert self.listener.end is None and self.honest.take() == b""


async def outcome(pieces: list[bytes], *, has_halves: bool = True) -> Outcome:
    """Send a stream, while an honest client of the same server talks."""
    server = Server()
    transport, listener = server.connect(has_halves=has_halves)
    for index, piece in enumerate(pieces):
        server.say(half=index % 2)
        transport.feed(piece)
    await transport.settle()
    if len(pieces) % 2:
        server.say(half=1)
    await server.honest.settle()
    server.assert_unharmed()
    frames = server_frames(transport.take())
    closes = [payload for opcode, payload in frames if opcode == 0x88]
    assert len(closes) <= 1 and (not closes or frames[-1][0] == 0x88)
    assert {opcode for opcode, _ in frames} <= {0x88, 0x8A}
    end = (int.from_bytes(closes[0][:2], "big") or 1005) if closes else None
    assert listener.is_muted == bool(closes)
    is_over = transport.is_half_closed or transport.is_closed
    return Outcome(listener.messages, [payload for opcode, payload in frames if opcode == 0x8A], end, is_over)


@effort(200)
@given(streams, cuts, st.booleans())
def test_a_stream_means_what_the_rfc_says_however_it_is_cut(data: bytes, places: list[int], has_halves: bool) -> None:
    found = run(outcome(cut(data, places), has_halves=has_halves))
    verdict = Judge().judge(data)
    assert (found.messages, found.pongs) == (verdict.messages, verdict.pongs)
    assert found.end in verdict.ends
    assert found.is_over == (found.end is not None)
    assert found == run(outcome([data] if data else [], has_halves=has_halves))
    assert found == run(outcome([data[at : at + 1] for at in range(len(data))], has_halves=has_halves))


@effort(60)
@given(streams, cuts)
def test_the_work_is_in_proportion_to_what_comes(data: bytes, places: list[int]) -> None:
    async def scene() -> int:
        server = Server()
        transport, _ = server.connect()
        with work() as done:
            for piece in cut(data, places):
                transport.feed(piece)
            await transport.settle()
        return done.steps

    assert run(scene()) <= STEPS + STEPS_PER_BYTE * len(data)


@effort(20)
@given(st.lists(st.tuples(streams, cuts), max_size=6))
def test_many_that_share_a_server_are_told_apart(clients: list[tuple[bytes, list[int]]]) -> None:
    async def scene() -> list[tuple[list[str | bytes], bytes]]:
        server = Server()
        there = [(*server.connect(), cut(data, places)) for data, places in clients]
        for turn in range(max((len(pieces) for *_, pieces in there), default=0)):
            for transport, _, pieces in there:
                if turn < len(pieces):
                    transport.feed(pieces[turn])
        for transport, *_ in there:
            await transport.settle()
        server.assert_unharmed()
        return [(listener.messages, transport.take()) for transport, listener, _ in there]

    for (messages, written), (data, places) in zip(run(scene()), clients, strict=True):
        alone = run(outcome(cut(data, places)))
        assert messages == alone.messages
        assert [payload for opcode, payload in server_frames(written) if opcode == 0x8A] == alone.pongs
