"""permessage-deflate, held against another implementation of it: the `websockets` library's."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from struct import pack

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.headers import build_extension, parse_extension

from hubbub.client import Participant
from hubbub.dialect import V1
from hubbub.wire.deflate import (
    MAX_COMPRESSED,
    MAX_STREAMS,
    MIN_COMPRESSED,
    SMALL_WINDOW,
    WINDOW,
    DeflatingFrame,
    agree,
    inflated,
)
from hubbub.wire.deflated import Compression
from hubbub.wire.fragments import BadMessage
from hubbub.wire.frames import text_frame
from hubbub.wire.reader import NARROW_READ, Readers
from hubbub.wire.request import Request
from hubbub.wire.turnstile import Turnstile
from hubbub.wire.websocket import SLOW_BYTE_S, WebSocket, WireSettings, open_websocket
from unit.test_door import entrance
from unit.test_websocket import KEY, Clock, Listener, close_code, frame
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

BOTH = "server_no_context_takeover; client_no_context_takeover"
MAX_FRAME = 16384
RSV1 = 4
EMPTY = b"\x00\x00\xff\xff"


def request(*headers: str) -> Request:
    """A request with these offers."""
    return Request("GET", "/ws", "", {"sec-websocket-extensions": list(headers)} if headers else {})


def deflated(data: bytes, level: int = 6, window: int = 15) -> bytes:
    """A compressed message, as RFC 7692 section 7.2.1 makes it."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -window)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert packed.endswith(EMPTY)
    return packed[:-4]


def opened(
    max_frame: int = MAX_FRAME, *, clock: Clock | None = None, offer: str = "permessage-deflate"
) -> tuple[FakeTransport, Listener, WebSocket]:
    """A connection that has agreed on compression, past its 101."""
    transport, listener = FakeTransport(), Listener()
    plain = WireSettings(max_frame, Readers(max_frame, Turnstile(clock or Clock())))
    settings = Compression().settings_for(request(offer), plain)
    listener.socket = open_websocket(transport, KEY, listener, settings)
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; " in transport.take()
    return transport, listener, listener.socket


def peer(window: int = WINDOW) -> PerMessageDeflate:
    """The client's side, of the other implementation."""
    return PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=window,
        local_max_window_bits=15,
    )


def payload_of(sent: bytes) -> tuple[int, bytes]:
    """The first byte and the payload of a server's only frame."""
    size, start = sent[1], 2
    if size == 126:
        size, start = int.from_bytes(sent[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(sent[2:10], "big"), 10
    assert len(sent) == start + size
    return sent[0], sent[start:]


def read_by_peer(sent: bytes, window: int = WINDOW) -> bytes:
    """What the other implementation reads in a frame of ours."""
    first, payload = payload_of(sent)
    got = Frame(Opcode(first & 0xF), payload, fin=True, rsv1=bool(first & 0x40))
    return bytes(peer(window).decode(got).data)


def sent_by_peer(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A message that the other implementation has compressed."""
    made = peer().encode(Frame(opcode, data, fin=True))
    assert made.rsv1
    return frame(int(opcode), bytes(made.data), rsv=RSV1)


def prose(size: int) -> bytes:
    words = ["room", "message", "seq", "hello", "\N{SNOWMAN}", "history", "café"]
    chosen = random.Random(size)
    text = "".join(f"{chosen.choice(words)}{chosen.randrange(100)} " for _ in range(size // 4))
    return text.encode()[:size].decode(errors="ignore").encode()


# Opening


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; client_max_window_bits=8", BOTH),
        ('permessage-deflate; client_max_window_bits="15"', BOTH),
        ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", BOTH),
        ("permessage-deflate; server_max_window_bits=15", f"{BOTH}; server_max_window_bits={WINDOW}"),
        (f"permessage-deflate; server_max_window_bits={WINDOW}", f"{BOTH}; server_max_window_bits={WINDOW}"),
        ("permessage-deflate; server_max_window_bits=11", f"{BOTH}; server_max_window_bits={SMALL_WINDOW}"),
        ("permessage-deflate; server_max_window_bits=9", f"{BOTH}; server_max_window_bits=9"),
        ('permessage-deflate ; server_max_window_bits = "10" ,', f"{BOTH}; server_max_window_bits=9"),
        ("x-webkit-deflate-frame, permessage-deflate", BOTH),
        (", , other; a=1; b,\tpermessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH),
        (
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9",
            f"{BOTH}; server_max_window_bits=9",
        ),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=9", BOTH),
    ],
)
def test_the_first_offer_that_can_be_accepted_is(header: str, answer: str) -> None:
    agreed = agree(header)
    assert agreed is not None
    assert agreed.answer == f"permessage-deflate; {answer}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        # Section 7.1: not known, not allowed, twice, or without a value that it needs.
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        *(
            f"permessage-deflate; {side}_max_window_bits={bits}"
            for side in ("client", "server")
            for bits in ("7", "16", "08", "0", "-9", "+9", "9.0", "1e1", "150", "٩")
        ),
        # No window of 8 bits is to be had from zlib.
        "permessage-deflate; server_max_window_bits=8",
        # RFC 6455 section 9.1: what breaks the grammar offers nothing at all.
        "permessage-deflate;",
        "permessage-deflate; ; client_max_window_bits",
        "permessage-deflate=1",
        'permessage-deflate; client_max_window_bits=""',
        'permessage-deflate; client_max_window_bits="9',
        'other; a=", permessage-deflate"',
        "permessage-deflate client_max_window_bits",
        "permessage-deflate, \x00",
        # So does one that is too long.
        "permessage-deflate" + "; client_max_window_bits" * 100,
        "other, " * 200 + "permessage-deflate",
    ],
)
def test_no_offer_that_is_wrong_is_accepted(header: str) -> None:
    assert agree(header) is None


@pytest.mark.parametrize("asked", [None, 8, 9, 11, 12, 15])
@pytest.mark.parametrize("limit", [None, True, 9, 15])
@pytest.mark.parametrize("takeover", [(False, False), (True, True)])
def test_another_implementation_takes_the_answer(
    asked: int | None, limit: bool | int | None, takeover: tuple[bool, bool]
) -> None:
    client = ClientPerMessageDeflateFactory(*takeover, asked, limit)
    offered = build_extension([(client.name, client.get_request_params())])
    agreed = agree(offered)
    assert (agreed is None) == (asked == 8)
    if agreed is not None:
        [(name, parameters)] = parse_extension(agreed.answer)
        found = client.process_response_params(parameters, [])
        assert name == "permessage-deflate"
        assert found.remote_no_context_takeover and found.local_no_context_takeover
        assert found.remote_max_window_bits >= agreed.window


def test_an_answer_is_a_line_of_the_101_only_where_there_is_an_offer() -> None:
    plain = WireSettings(MAX_FRAME, Readers(MAX_FRAME))
    compression = Compression()
    for headers in ((), ("other",), ("",)):
        assert compression.frame_for(request(*headers)) is None
        assert compression.settings_for(request(*headers), plain) is plain
    offers = request("other", "permessage-deflate")
    assert compression.settings_for(offers, plain) is compression.settings_for(offers, plain)
    assert compression.settings_for(offers, plain).sockets is plain.sockets


def test_clients_with_the_same_window_are_one_audience() -> None:
    compression = Compression()
    offers = [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; client_max_window_bits",
    ]
    assert len({compression.frame_for(request(offer)) for offer in offers}) == 1
    small = [f"permessage-deflate; server_max_window_bits={bits}" for bits in (9, 10, 11)]
    assert len({compression.frame_for(request(offer)) for offer in offers + small}) == 2


# Sending


@pytest.mark.parametrize("window", [SMALL_WINDOW, WINDOW])
@pytest.mark.parametrize("size", [0, 125, MIN_COMPRESSED - 1, MIN_COMPRESSED, 600, 70_000, 200_000, MAX_COMPRESSED + 1])
def test_another_implementation_reads_what_is_sent(window: int, size: int) -> None:
    deflating = DeflatingFrame(window)
    for number in range(3):
        text = prose(size + number)
        sent = deflating(text)
        assert read_by_peer(sent, window) == text
        is_packed = MIN_COMPRESSED <= len(text) <= MAX_COMPRESSED
        assert sent[0] == (0xC1 if is_packed else 0x81)
        assert len(sent) < len(text) if is_packed else sent == text_frame(text)


def test_the_bytes_of_a_message_depend_on_nothing_before_it() -> None:
    first, second = DeflatingFrame(WINDOW), DeflatingFrame(WINDOW)
    for size in (100, 300, 5000, 300, 20_000):
        first(prose(size))
        assert first(prose(400)) == second(prose(400))


def test_what_grows_is_sent_as_it_is() -> None:
    noise = random.Random(1).randbytes(1000)
    assert payload_of(DeflatingFrame(WINDOW, 2)(noise)) == (0x82, noise)
    assert payload_of(DeflatingFrame(WINDOW, 2)(noise * 2))[0] == 0xC2


def test_a_message_that_fails_leaves_nothing_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def compress(self, _data: bytes) -> bytes:
            raise MemoryError

    deflating = DeflatingFrame(WINDOW)
    monkeypatch.setattr(deflating, "_compressor", Failing())
    with pytest.raises(MemoryError):
        deflating(prose(500))
    assert read_by_peer(deflating(prose(400))) == prose(400)


def test_a_byte_for_one_client_alone_costs_more_when_it_is_compressed() -> None:
    assert Participant("percy", "", V1, text_frame).cost_of_byte == 1
    assert Participant("percy", "", V1, DeflatingFrame(WINDOW)).cost_of_byte == 4


# Receiving


@pytest.mark.parametrize("size", [0, 1, 100, 5000, MAX_FRAME])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
async def test_what_another_implementation_sends_is_read(size: int, opcode: Opcode) -> None:
    transport, listener, _ = opened()
    data = prose(size)
    transport.feed(sent_by_peer(data, opcode) + frame(int(opcode), b"plain"))
    await transport.settle()
    whole: Sequence[bytes | str] = [data, b"plain"]
    assert listener.messages == ([each.decode() for each in (data, b"plain")] if opcode is Opcode.TEXT else whole)


@pytest.mark.parametrize("pieces", [1, 2, 7, 40])
@pytest.mark.parametrize("level", [0, 1, 9])
async def test_a_compressed_message_may_come_in_fragments_with_others_in_between(pieces: int, level: int) -> None:
    transport, listener, _ = opened()
    packed = deflated(prose(5000), level)
    step = -(-len(packed) // pieces)
    parts = [packed[at : at + step] for at in range(0, len(packed), step)] + [b""]
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        transport.feed(frame(0 if number else 1, part, fin=is_last, rsv=0 if number else RSV1))
        if not is_last:
            transport.feed(frame(9, b"?"))
    await transport.settle()
    assert listener.messages == [prose(5000).decode()]
    assert transport.take() == b"\x8a\x01?" * (len(parts) - 1)


# RFC 7692 section 7.2.3: its own examples.
HELLO = bytes.fromhex("f248cdc9c90700")


@pytest.mark.parametrize(
    "payload",
    [
        HELLO,
        bytes.fromhex("000500faff48656c6c6f00"),  # without compression
        bytes.fromhex("f348cdc9c9070000"),  # with BFINAL
        bytes.fromhex("f24805000000ffffcac9c90700"),  # two blocks
        bytes.fromhex("f348cdc9c90700"),  # with BFINAL, and nothing behind it
        bytes.fromhex("0300f348cdc9c907000300"),  # empty ones around it
    ],
    ids=["a block", "stored", "final", "two blocks", "final alone", "empty ones"],
)
async def test_the_examples_of_the_rfc_say_hello(payload: bytes) -> None:
    transport, listener, _ = opened()
    transport.feed(frame(1, payload, rsv=RSV1))
    assert listener.messages == ["Hello"]


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x03\x00", b"\x02\x00"])
async def test_an_empty_message_is_empty(payload: bytes) -> None:
    transport, listener, _ = opened()
    transport.feed(frame(1, payload, rsv=RSV1) + frame(1, payload, rsv=RSV1, fin=False) + frame(0))
    assert listener.messages == ["", ""]


def test_what_follows_a_final_block_may_refer_to_what_came_before() -> None:
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = first.compress(prose(3000)) + first.flush()
    then = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=prose(3000))
    two = then.compress(prose(3000)) + then.flush(zlib.Z_SYNC_FLUSH)
    assert len(two) < 50
    assert inflated(one + two[:-4], MAX_FRAME) == prose(3000) * 2


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # Reserved bits: only RSV1, and only in the first frame of a message (section 6.1).
        (frame(1, HELLO, rsv=2), 1002),
        (frame(1, HELLO, rsv=1), 1002),
        (frame(1, HELLO, rsv=7), 1002),
        (frame(0, HELLO, rsv=RSV1), 1002),
        (frame(1, HELLO[:3], rsv=RSV1, fin=False) + frame(0, HELLO[3:], rsv=RSV1), 1002),
        (frame(1, b"x", fin=False) + frame(0, HELLO, rsv=RSV1), 1002),
        (frame(1, HELLO[:3], rsv=RSV1, fin=False) + frame(1, HELLO, rsv=RSV1), 1002),
        (frame(1, b"x", fin=False) + frame(1, HELLO, rsv=RSV1), 1002),
        *((frame(opcode, b"", rsv=RSV1), 1002) for opcode in (3, 7, 8, 9, 10, 11)),
        (frame(8, pack("!H", 1000), rsv=RSV1), 1002),
        # No stream, half a stream, one with something wrong behind it.
        (frame(1, b"\xff\xff\xff", rsv=RSV1), 1007),
        (frame(1, b"plain text", rsv=RSV1), 1007),
        (frame(1, HELLO[:4], rsv=RSV1), 1007),
        (frame(1, deflated(prose(900))[:-2], rsv=RSV1), 1007),
        (frame(1, HELLO + b"\xff", rsv=RSV1), 1007),
        (frame(1, b"\x03\x00\xff", rsv=RSV1), 1007),
        (frame(2, HELLO + EMPTY, rsv=RSV1, fin=False) + frame(0, b"\x06", fin=True), 1007),
        # A distance to what was never said, or only in another message.
        (frame(1, HELLO, rsv=RSV1) + frame(1, bytes.fromhex("f200110000"), rsv=RSV1), 1007),
        # Whole, and no UTF-8.
        (frame(1, deflated(b"\xff\xfe"), rsv=RSV1), 1007),
        (frame(1, deflated(b"x" * 400 + b"\xf0\x9f"), rsv=RSV1), 1007),
        # Too much.
        (frame(1, deflated(b"x" * (MAX_FRAME + 1)), rsv=RSV1), 1009),
        (frame(2, deflated(bytes(10_000_000)), rsv=RSV1), 1009),
        (frame(1, b"\x03\x00" * (MAX_STREAMS + 1), rsv=RSV1), 1007),
        (frame(1, b"\x03\x00" * 8000, rsv=RSV1), 1007),
    ],
)
async def test_what_is_wrong_closes_with_its_code(sent: bytes, code: int) -> None:
    transport, listener, _ = opened()
    transport.feed(sent + frame(1, b"and another thing"))
    await transport.settle()
    assert close_code(transport.take()) == code
    assert [each for each in listener.messages if each != "Hello"] == []


async def test_without_an_agreement_there_is_no_compression() -> None:
    transport, listener = FakeTransport(), Listener()
    open_websocket(transport, KEY, listener, WireSettings(MAX_FRAME, Readers(MAX_FRAME, Turnstile(Clock()))))
    assert b"Extensions" not in transport.take()
    transport.feed(frame(1, HELLO, rsv=RSV1))
    assert close_code(transport.take()) == 1002


async def test_a_bomb_in_fragments_is_never_inflated_beyond_the_limit() -> None:
    transport, _, _ = opened()
    packed = deflated(bytes(14_000_000), 9)
    assert len(packed) < MAX_FRAME
    transport.feed(frame(2, packed[:5000], rsv=RSV1, fin=False) + frame(0, packed[5000:]))
    await transport.settle()
    assert close_code(transport.take()) == 1009


def test_of_a_bomb_no_more_is_made_than_a_message_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counting:
        def __init__(self, window: int, **more: bytes) -> None:
            self._stream = decompressobj(window, **more)

        def decompress(self, data: bytes, most: int) -> bytes:
            made = self._stream.decompress(data, most)
            sizes.append(len(made))
            return made

        def __getattr__(self, name: str) -> object:
            return getattr(self._stream, name)

    decompressobj = zlib.decompressobj
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(MAX_FRAME // 2)) + packer.flush()  # its last block has BFINAL
    bombs = {"one": deflated(bytes(5_000_000), 9), "parts": part * 5}
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    for bomb in bombs.values():
        sizes.clear()
        with pytest.raises(BadMessage) as bad:
            inflated(bomb, MAX_FRAME)
        assert bad.value.code == 1009
        assert sum(sizes) == MAX_FRAME + 1


# Who pays


async def test_what_a_message_is_inflated_to_is_counted_like_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, listener, _ = opened()
    counted: list[int] = []
    monkeypatch.setattr(listener, "is_too_much", counted.append)
    transport.feed(frame(1, deflated(b"x" * 500), rsv=RSV1))
    assert counted == [], "so little is not looked into"
    transport.feed(frame(1, deflated(b"x" * 16000), rsv=RSV1) * 2)
    assert counted == [32000]


async def test_one_that_sends_too_much_inside_little_waits_for_its_turn() -> None:
    transport, listener, _ = opened()
    listener.sends_too_much = True
    sent = frame(1, deflated(b"x" * 16000), rsv=RSV1)
    transport.feed(sent * 100)
    assert transport.reads == 1
    assert len(listener.messages) == NARROW_READ // len(sent)
    await transport.settle()
    assert len(listener.messages) == 100


@pytest.mark.parametrize(("share", "waits"), [(0.9, False), (1.1, True)])
async def test_one_whose_inflated_bytes_take_long_waits_for_its_turn(share: float, waits: bool) -> None:
    transport, _, _ = opened(clock=Clock(share * 16000 * SLOW_BYTE_S))
    transport.feed(frame(1, deflated(b"x" * 16000), rsv=RSV1))
    assert transport.is_paused is waits


async def test_a_message_is_compressed_once_for_all_that_hear_it(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[bytes] = []
    call = DeflatingFrame.__call__

    def counting(self: DeflatingFrame, payload: bytes) -> bytes:
        packed.append(payload)
        return call(self, payload)

    monkeypatch.setattr(DeflatingFrame, "__call__", counting)
    offer = "permessage-deflate; client_max_window_bits"
    async with entrance(compression=True) as here:
        lines = []
        for user, header in (("percy", offer), ("alice", offer), ("bob", offer), ("carol", None)):
            lines.append(await here.knock(user, sec_websocket_extensions=header))
            lines[-1].say(b'{"type":"join_room","id":1,"payload":{"room":"lunch"}}')
        await here.stage.settle()
        packed.clear()
        text = b'{"type":"send_message","payload":{"room":"lunch","message":"%b"}}' % (b"hungry, " * 40)[:-1]
        lines[3].feed(frame(1, text))
        await here.stage.settle()
        assert len(packed) == 1
        *three, plain = [line.writes[-1] for line in lines]
        assert three[0] is three[1] is three[2]
        assert three[0][0] == 0xC1 and len(three[0]) < len(plain)
        assert read_by_peer(three[0]) == packed[0] == payload_of(plain)[1]
