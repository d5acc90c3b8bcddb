"""A batch as the journal keeps it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from hubbub.engine.tail import Row

__all__ = ["AmendRow", "GenerationEnd", "JournalBatch", "KeyRow", "decode_batch", "encode_batch"]


class GenerationEnd(NamedTuple):
    """The seq of a room's last message before its first one of a generation."""

    room: int
    generation: int
    seq: int


class KeyRow(NamedTuple):
    """A key as the file has it."""

    at: int
    room: int
    seq: int
    sent: int
    sender: str | None
    key: str
    digest: int | None


class AmendRow(NamedTuple):
    """A body that takes the place of a message's; `by` is the seq of the event that has done it."""

    room: int
    seq: int
    by: int
    body: bytes


class JournalBatch(NamedTuple):
    """What the journal keeps of a batch: rooms that are new, ends of generations, messages, keys, amendments."""

    rooms: list[tuple[int, str]]
    ends: list[GenerationEnd]
    rows: list[Row]
    keys: list[KeyRow]
    amends: tuple[AmendRow, ...] = ()


encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(JournalBatch).decode
