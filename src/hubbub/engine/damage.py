"""Telling a message in the file that is not as it was written."""

from __future__ import annotations

import zlib

import msgspec

__all__ = ["crc_of", "decode_loosely", "is_good"]


def crc_of(seq: int, sent: int, sender: str | None, type_: str, body: bytes) -> int:
    """A check of a message, with which its damage is found."""
    return zlib.crc32(body, zlib.crc32(f"{seq} {sent} {sender} {type_}".encode()))


def is_good(seq: int, sent: int, sender: str | None, type_: str, body: bytes, crc: int | None) -> bool:
    """Whether a message is as it was written; one of an earlier schema has no check but that it is JSON."""
    try:
        if crc is not None:
            return crc == crc_of(seq, sent, sender, type_, body)
        msgspec.json.decode(body)
    except (msgspec.DecodeError, TypeError, UnicodeError):
        return False  # a value may be of another type, where SQLite's own record is damaged
    return True


def decode_loosely(text: bytes) -> str:
    """Text of the file; what is damaged need not be UTF-8."""
    return text.decode(errors="replace")
