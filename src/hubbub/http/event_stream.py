"""How a room's events look in `text/event-stream` (HTML standard, section 9.2, server-sent events)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from hubbub.dialect import V1Dialect
from hubbub.engine import Head
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Message, encode

__all__ = ["BEAT", "EventStream", "block", "flat", "place", "read_place"]

# A comment: browsers do not tell a page of it.
BEAT = b": \n\n"

# What a stream tells of itself, and what an EventSource tells its page: an event of an application's of such a type
# would pass for that, and has a dot before it.
OF_STREAM = frozenset({"joined", "reset", "closed", "open", "error"})

# What a place has between the epoch and the seq.  An epoch may have anything.
SEPARATOR = ":"
# Digits of a seq, of which there are fewer than 2**62.
MAX_DIGITS = 18


class Reconnect(msgspec.Struct):
    """What the server says when it is about to go; milliseconds."""

    within: int


class Located(msgspec.Struct):
    """What tells of a new place in a room's log: `seq` of an epoch, `to` of a gap."""

    room: str
    epoch: str = ""
    seq: int = 0
    to: int = 0


decode_reconnect = msgspec.json.Decoder(Reconnect).decode
decode_located = msgspec.json.Decoder(Located).decode


class EventStream(V1Dialect):
    """Events with v1's payloads, in blocks of lines; a kept one with its place in the log, to go on from.

    Args:
        epoch_of: the epoch of a live room's log.
        pick: a number of milliseconds up to the one given, so that not all come back at once.
    """

    name = "sse"
    is_greeted = False

    def __init__(self, epoch_of: Callable[[str], str], pick: Callable[[int], int]) -> None:
        self._epoch_of = epoch_of
        self._pick = pick

    def message(self, message: Message) -> bytes:
        id_ = place(self._epoch_of(message.room), message.seq)
        return block(told_as(message.type), self._payload(message), id_)

    listed = message

    def array(self, members: Sequence[bytes]) -> bytes:
        return b"".join(members)

    def extended(self, members: Sequence[bytes], array: bytes) -> bytes:
        return b"".join(members) + array

    def event(self, type_: str, payload: bytes) -> bytes:
        if type_ == "reconnect":
            return retry(self._pick(decode_reconnect(payload).within)) + block(type_, payload)
        if type_ == "epoch":
            found = decode_located(payload)
            return block(type_, payload, place(found.epoch, found.seq))
        if type_ == "gap":
            found = decode_located(payload)
            return block(type_, payload, place(self._epoch_of(found.room), found.to))
        return block(told_as(type_), payload)

    def ack(self, _id: str | int, _payload: bytes) -> bytes:
        return b""

    def error(self, _id: str | int | None, _refused: Refused) -> bytes:
        return b""


def block(type_: str, payload: bytes, id_: bytes = b"") -> bytes:
    """One event.

    Args:
        payload: JSON.
        id_: the client's place after it; empty where that stays as it is.
    """
    id_line = b"id: %b\n" % id_ if id_ else b""
    return b"%bevent: %b\ndata: %b\n\n" % (id_line, one_line(type_), flat(payload))


def flat(payload: bytes) -> bytes:
    """JSON in one line: a line break can only stand between its tokens, where a space does as well."""
    if b"\n" in payload or b"\r" in payload:
        return payload.replace(b"\r", b" ").replace(b"\n", b" ")
    return payload


def told_as(type_: str) -> str:
    """The type of a room's event, as a stream has it."""
    return f".{type_}" if type_ in OF_STREAM else type_


def one_line(type_: str) -> bytes:
    """A type in one line; of what does not print, as an application may have it, the escapes of JSON."""
    if type_.isprintable():
        return type_.encode()
    return encode(type_)[1:-1]


def retry(milliseconds: int) -> bytes:
    """How long a browser is to wait before it comes back, from now on."""
    return b"retry: %d\n\n" % milliseconds


def place(epoch: str, seq: int) -> bytes:
    """A place in a room's log, as an id; none while the epoch is not known."""
    return b"%b%b%d" % (epoch.encode(), SEPARATOR.encode(), seq) if epoch else b""


def read_place(text: str) -> Head:
    """The place that an id stands for.

    Raises:
        Refused: `bad_payload` for what is none of this server's.
    """
    epoch, _, digits = text.rpartition(SEPARATOR)
    if not epoch or not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
        raise Refused(
            ErrorCode.BAD_PAYLOAD, "the last event's id is none of this server's: it looks like 26e2f6ae787a4475:41"
        )
    return Head(epoch, int(digits))
