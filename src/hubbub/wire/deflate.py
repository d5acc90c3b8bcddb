"""permessage-deflate (RFC 7692): what is agreed with a client, and messages compressed and inflated.

Neither side keeps a context between messages.  So a text is compressed once for everybody who gets it, an idle
connection keeps nothing, and no message tells anything of another by its size.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from struct import pack
from typing import NamedTuple

from hubbub.client import CostlyFrame
from hubbub.errors import CloseCode
from hubbub.wire.fragments import BadMessage, Fragments
from hubbub.wire.frames import TEXT

__all__ = ["MIN_COMPRESSED", "Deflate", "DeflatedFragments", "DeflatingFrame", "agree", "inflated"]

NAME = "permessage-deflate"

# Measured on v1's messages: level 1 takes 15 ns a byte, and level 6 five times as long for a tenth less.  Above 12
# bits a larger window, and a larger table, make 60 KiB 1 % smaller, and shorter texts no smaller at all.
LEVEL = 1
MEMORY = 5
WINDOW = 12
# For clients that ask for a smaller one.  All of them share it: each window that is in use is one more compression of a
# message.  zlib has none of 8 bits.
SMALL_WINDOW = 9
# Texts below this many bytes are sent as they are.  They would shrink by less than a quarter, at 8 us each, and most of
# them are answers, which nobody else gets.  Those above this many would hold the loop for more than 4 ms.
MIN_COMPRESSED, MAX_COMPRESSED = 192, 256 * 1024

# A header longer than this offers nothing: those of browsers and libraries have less than 100 bytes.
MAX_HEADER = 1024

# What a sender leaves out at the end of a message (section 7.2.1), and a last, empty block.  A stream that is whole has
# its end behind it.
TAIL = b"\x00\x00\xff\xff"
END = b"\x01\x00\x00\xff\xff"
# A message may consist of several streams, each ended by a block with BFINAL (section 7.2.3.4).  Each costs as much as
# a kilobyte, and may have two bytes.
MAX_STREAMS = 16
LARGEST_WINDOW = 1 << 15


# Opening


class Deflate(NamedTuple):
    """What is agreed with a client.

    Attributes:
        window: of what is sent to it, in bits.
        answer: the value of Sec-WebSocket-Extensions.
    """

    window: int
    answer: str


NAME_OR_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# One parameter, or the name of an extension; a value in quotes has to be a token, too (RFC 6455 section 9.1).
PART = re.compile(rf'[ \t]*({NAME_OR_VALUE})[ \t]*(?:=[ \t]*(?:({NAME_OR_VALUE})|"({NAME_OR_VALUE})")[ \t]*)?(;|,|$)')
BITS = re.compile(r"[89]|1[0-5]")

Parameters = list[tuple[str, str | None]]


@lru_cache(maxsize=64)
def agree(header: str) -> Deflate | None:
    """Choose among the offers of a client (RFC 7692 section 5): the first that can be accepted; None for none.

    Args:
        header: the value of its Sec-WebSocket-Extensions; one that breaks the grammar offers nothing.
    """
    if len(header) > MAX_HEADER:
        return None
    for name, parameters in read_offers(header):
        deflate = accept(parameters) if name == NAME else None
        if deflate is not None:
            return deflate
    return None


def read_offers(header: str) -> list[tuple[str, Parameters]]:
    """The extensions that a header names, with their parameters; none where it cannot be read."""
    offers: list[tuple[str, Parameters]] = []
    at, is_new = 0, True
    # Members of a list may be empty (RFC 9110 section 5.6.1).
    header = ",".join(member for member in header.split(",") if member.strip())
    while at < len(header):
        part = PART.match(header, at)
        if part is None:
            return []
        name, value, quoted, end = part.groups()
        value = value or quoted
        if not is_new:
            offers[-1][1].append((name, value))
        elif value is None:
            offers.append((name, []))
        else:
            return []
        at, is_new = part.end(), end == ","
        if end == ";" and at == len(header):
            return []
    return offers


def accept(parameters: Parameters) -> Deflate | None:
    """Accept an offer, unless section 7.1 says that it has to be declined, or zlib has no such window."""
    found = dict(parameters)
    if len(found) < len(parameters) or not all(is_right(name, value) for name, value in parameters):
        return None
    asked = found.get("server_max_window_bits")
    window = WINDOW if asked is None or int(asked) >= WINDOW else SMALL_WINDOW
    if asked is not None and int(asked) < window:
        return None
    answer = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
    # Some clients do not know the parameter; those that send it do.
    return Deflate(window, answer if asked is None else f"{answer}; server_max_window_bits={window}")


def is_right(name: str, value: str | None) -> bool:
    """Whether an offer may have this parameter, with this value."""
    if name in ("server_no_context_takeover", "client_no_context_takeover"):
        return value is None
    if name == "client_max_window_bits" and value is None:
        return True
    return name in ("server_max_window_bits", "client_max_window_bits") and bool(BITS.fullmatch(value or ""))


# Sending


class DeflatingFrame(CostlyFrame):
    """Puts a message into one frame (`client.Frame`), compressed where that makes it smaller.

    One compressor serves all messages: Z_FULL_FLUSH makes it forget what it has seen, and takes a third of the time of
    a new one.

    Args:
        window: how far back it may refer, in bits; from 9 on.
        opcode: of its frames.
    """

    __slots__ = ("_compressor", "_first", "_plain", "_window")

    def __init__(self, window: int, opcode: int = TEXT) -> None:
        self._window = window
        self._plain = 0x80 | opcode
        self._first = 0xC0 | opcode  # with RSV1
        self._compressor = self._new_compressor()

    def _new_compressor(self) -> zlib._Compress:
        return zlib.compressobj(LEVEL, zlib.DEFLATED, -self._window, MEMORY)

    def __call__(self, payload: bytes) -> bytes:
        first, size = self._plain, len(payload)
        if MIN_COMPRESSED <= size <= MAX_COMPRESSED:
            try:
                packed = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_FULL_FLUSH)
            except BaseException:
                self._compressor = self._new_compressor()  # it may have kept a part of the message
                raise
            if len(packed) - len(TAIL) < size:
                first, payload = self._first, packed[: -len(TAIL)]
                size = len(payload)
        if size < 126:
            return pack("!BB", first, size) + payload
        if size < 65536:
            return pack("!BBH", first, 126, size) + payload
        return pack("!BBQ", first, 127, size) + payload


# Receiving


class DeflatedFragments(Fragments):
    """A compressed message, as far as it has come.  It is inflated when it is whole: meanwhile it takes least room.

    Attributes:
        inflated_size: bytes of the message; 0 until it was made.
    """

    __slots__ = ("_is_text", "_most", "inflated_size")

    def __init__(self, *, is_text: bool, most: int) -> None:
        super().__init__(is_text=False)
        self._is_text = is_text
        self._most = most
        self.inflated_size = 0

    def message(self) -> str | bytes:
        data = inflated(bytes(self._data), self._most)
        self.inflated_size = len(data)
        return data.decode() if self._is_text else data


def inflated(data: bytes, most: int) -> bytes:
    """Inflate a message (section 7.2.2).

    Args:
        most: bytes that it may have; 0 is no limit.  Of one that has more, no more than this is made.

    Raises:
        BadMessage: it is longer, or it is no DEFLATE stream, or not a whole one.
    """
    made = b""
    # Nothing at all is no stream.  Other receivers take it for an empty message, and so do we.
    left = data + TAIL + END if data else b""
    for number in range(MAX_STREAMS):
        if not left or (number and left == TAIL + END):
            return made
        # What follows a block with BFINAL may refer to what came before it in the message.
        stream = zlib.decompressobj(-15, zdict=made[-LARGEST_WINDOW:]) if made else zlib.decompressobj(-15)
        try:
            piece = stream.decompress(left, most - len(made) + 1 if most else 0)
        except zlib.error as error:
            raise BadMessage(CloseCode.INVALID_TEXT, f"a message cannot be inflated: {short(error)}") from None
        made = made + piece if made else piece
        if most and len(made) > most:
            raise BadMessage(CloseCode.TOO_LARGE, f"a message has at most {most} bytes, inflated")
        if not stream.eof:
            raise BadMessage(CloseCode.INVALID_TEXT, "a message cannot be inflated: it ends too early")
        left = stream.unused_data
    raise BadMessage(CloseCode.INVALID_TEXT, f"a message has at most {MAX_STREAMS} blocks with BFINAL")


def short(error: zlib.error) -> str:
    """What is wrong, without the number of the error and the words that Python puts before it."""
    return str(error).rpartition(": ")[2]
