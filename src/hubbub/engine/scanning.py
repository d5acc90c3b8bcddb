"""Looking for words in messages that are in memory, a little at a time: the loop goes on in between."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable

import msgspec

from hubbub.engine.searching import Hits, Spot
from hubbub.events import Message
from hubbub.words import Query

__all__ = ["MESSAGE_S", "MOST_SCANNED", "SEARCHED", "has", "scan", "spot_of"]

# The type of events that are searched.
SEARCHED = "new_message"

# Messages that one search looks at, how many in one turn of the loop, and what each takes: half a millisecond a turn.
MOST_SCANNED = 20_000
AT_ONCE = 64
MESSAGE_S = 8e-6


class Text(msgspec.Struct):
    """What is read of a message."""

    message: str = ""


decode_text = msgspec.json.Decoder(Text).decode


async def scan(rooms: Iterable[Iterable[Message]], query: Query, before: Spot | None, limit: int) -> Hits:
    """Look for words in messages, the newest first.

    Args:
        rooms: the messages of each room, newest first; their order must not change meanwhile.
    """
    found: list[Message] = []
    newest_first = heapq.merge(*rooms, key=spot_of, reverse=True)
    looked_at = taken = 0
    for taken, message in enumerate(newest_first, 1):
        # What an earlier page has looked at does not count as looked at: each page gets further than the one before.
        if before is None or spot_of(message) < before:
            looked_at += 1
            if has(message, query):
                found.append(message)
            if len(found) == limit or looked_at == MOST_SCANNED:
                return Hits(found, spot_of(message), spent_s=taken * MESSAGE_S)
        if taken % AT_ONCE == 0:
            await asyncio.sleep(0)
    return Hits(found, None, spent_s=taken * MESSAGE_S)


def spot_of(message: Message) -> Spot:
    return Spot(message.sent, message.room, message.seq)


def has(message: Message, query: Query) -> bool:
    """Whether a message has what is looked for."""
    if message.type != SEARCHED:
        return False
    try:
        return query.finds(decode_text(message.body).message)
    except msgspec.DecodeError:
        return False
