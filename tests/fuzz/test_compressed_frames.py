"""Compressed messages: whatever bytes come, they are inflated as DEFLATE says, within the limit, or refused."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import Mutation, cut, cuts, mutate, mutations
from fuzz.effort import effort
from fuzz.test_frames import TEXT, controls, frame, masks, server_frames
from fuzz.watch import run, work
from hubbub.wire.deflate import MAX_HEADER, WINDOW, DeflatingFrame, agree, inflated
from hubbub.wire.deflated import Compression
from hubbub.wire.fragments import BadMessage
from hubbub.wire.reader import Readers
from hubbub.wire.turnstile import Turnstile
from hubbub.wire.websocket import WireSettings, open_websocket
from unit.test_deflate import request
from unit.test_websocket import KEY, Clock, Listener
from unit.transports import FakeTransport

MAX_FRAME = 1000
RSV1 = 4
TAIL = b"\x00\x00\xff\xff"

# Lines and calls of Hubbub's own code for each byte that comes, and for a stream.
STEPS_PER_BYTE, STEPS = 20, 500

texts = st.one_of(
    st.text(max_size=60),
    st.text("abc ", min_size=20, max_size=300),
    st.integers(0, 1100).map(lambda size: "x" * size),
)


@st.composite
def packed(draw: st.DrawFn, data: bytes) -> bytes:
    """A message as any sender may compress it: in blocks of all kinds, some of them the last one of a stream."""
    level, window = draw(st.integers(0, 9)), -draw(st.integers(9, 15))
    packer = zlib.compressobj(level, zlib.DEFLATED, window)
    sent = b""
    for piece in cut(data, draw(st.lists(st.integers(0, 999), max_size=3))):
        sent += packer.compress(piece)
        how = draw(st.sampled_from([zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH]))
        sent += packer.flush(how) if how else b""
        if how == zlib.Z_FINISH:
            packer = zlib.compressobj(level, zlib.DEFLATED, window)
    sent += packer.flush(zlib.Z_SYNC_FLUSH)
    return sent[:-4]


def read_plainly(data: bytes) -> bytes | None:
    """What a message is inflated to, by a reading that knows no limit; None for none."""
    made, left = b"", data + TAIL
    while left:
        stream = zlib.decompressobj(-15, zdict=made[-32768:]) if made else zlib.decompressobj(-15)
        try:
            made += stream.decompress(left)
        except zlib.error:
            return None
        if not stream.eof:
            return made
        left = stream.unused_data
    return made


@effort(150)
@given(st.data(), texts.map(str.encode), mutations)
def test_a_message_is_inflated_to_what_it_was_or_refused(
    data: st.DataObject, text: bytes, changes: list[Mutation]
) -> None:
    sent = data.draw(packed(text))
    assert inflated(sent, len(text) or 1) == text
    for broken in (mutate(sent, changes), data.draw(st.binary(max_size=60))):
        try:
            made = inflated(broken, MAX_FRAME)
        except BadMessage as bad:
            assert bad.code in (1007, 1009)
            plainly = read_plainly(broken)
            assert bad.code == 1007 or (plainly is None or len(plainly) > MAX_FRAME)
        else:
            assert len(made) <= MAX_FRAME
            assert not broken or made == read_plainly(broken)


@effort(100)
@given(st.lists(st.binary(max_size=400) | texts.map(str.encode), max_size=5))
def test_what_is_sent_is_read_by_itself(payloads: list[bytes]) -> None:
    deflating = DeflatingFrame(WINDOW)
    for payload in payloads:
        sent = deflating(payload)
        size, start = (sent[1], 2) if sent[1] < 126 else (int.from_bytes(sent[2:4], "big"), 4)
        assert len(sent) == start + size
        assert (inflated(sent[start:], len(payload)) if sent[0] & 0x40 else sent[start:]) == payload


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A text, and its frames: compressed or not, in fragments, with control frames in between."""
    text = draw(texts)
    is_packed = draw(st.booleans())
    payload = draw(packed(text.encode())) if is_packed else text.encode()
    pieces = cut(payload, draw(st.lists(st.integers(0, 999), max_size=4))) or [b""]
    sent = b""
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        rsv = RSV1 if is_packed and not index else 0
        sent += frame(0 if index else TEXT, piece, draw(masks), fin=is_last, rsv=rsv)
        if not is_last and draw(st.booleans()):
            sent += draw(controls)
    return text, sent


anything = st.builds(frame, st.integers(0, 15), st.binary(max_size=40), masks, fin=st.booleans(), rsv=st.integers(0, 7))


async def outcome(pieces: list[bytes]) -> tuple[list[str | bytes], int | None]:
    """What was heard of a stream, and the code that it was closed with."""
    transport, listener = FakeTransport(), Listener()
    plain = WireSettings(MAX_FRAME, Readers(MAX_FRAME, Turnstile(Clock())))
    settings = Compression().settings_for(request("permessage-deflate"), plain)
    listener.socket = open_websocket(transport, KEY, listener, settings)
    transport.take()
    for piece in pieces:
        transport.feed(piece)
    await transport.settle()
    frames = server_frames(transport.take())
    closes = [payload for opcode, payload in frames if opcode == 0x88]
    assert len(closes) <= 1
    return listener.messages, (int.from_bytes(closes[0][:2], "big") if closes else None)


@effort(100)
@given(st.lists(messages(), max_size=4), st.lists(anything, max_size=3), cuts)
def test_a_stream_means_the_same_however_it_is_cut(
    said: list[tuple[str, bytes]], more: list[bytes], places: list[int]
) -> None:
    good = b"".join(sent for _, sent in said)
    data = good + b"".join(more)
    heard, end = run(outcome(cut(data, places)))
    texts = [text for text, _ in said]
    fitting = next((number for number, text in enumerate(texts) if len(text.encode()) > MAX_FRAME), len(texts))
    assert heard[:fitting] == texts[:fitting]
    if fitting < len(texts):
        assert heard == texts[:fitting] and end == 1009
    assert (heard, end) == run(outcome([data] if data else []))
    assert (heard, end) == run(outcome([data[at : at + 1] for at in range(len(data))]))


@effort(60)
@given(st.lists(messages().map(lambda each: each[1]) | anything, max_size=6), cuts)
def test_the_work_is_in_proportion_to_what_comes(frames: list[bytes], places: list[int]) -> None:
    data = b"".join(frames)

    async def scene() -> int:
        with work() as done:
            await outcome(cut(data, places))
        return done.steps

    assert run(scene()) <= STEPS + STEPS_PER_BYTE * len(data)


NAMES = ("permessage-deflate", "server_max_window_bits", "client_max_window_bits", "server_no_context_takeover")
SIGNS = ("=", ";", ",", " ", '"', "\t", "\\", "0", "8", "9", "12", "15")
offers = st.lists(st.sampled_from(NAMES + SIGNS) | st.text(max_size=3), max_size=16).map("".join)


@effort(300)
@given(offers | st.text(max_size=2 * MAX_HEADER))
def test_an_offer_is_agreed_on_or_not(header: str) -> None:
    deflate = agree(header)
    if deflate is not None:
        assert "permessage-deflate" in header
        assert deflate.window in (9, WINDOW)
        assert deflate.answer.isascii() and "\r" not in deflate.answer
