"""Bringing a client to a room's present: what a join answers, and how one that fell behind is fed.

The newest messages of a live room are at hand (`Room.recent`), and whatever is at hand can be handed over without
waiting.  So catching up is: read from the log until what is at hand follows without a hole, then take the rest and
become an ordinary member in the same turn of the loop.  Nothing can come between, and nothing has to be merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hubbub.client import Client
from hubbub.engine import Head
from hubbub.events import Message, encode
from hubbub.room import Room

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["Caught", "answer_join", "feed"]

# What one answer to `join_room` holds at most, and about how many bytes; a client further behind gets the rest as live
# messages, at its own pace.
MAX_ANSWER = 2000
MAX_ANSWER_BYTES = 1 << 20

PAGE = 200


class Caught(msgspec.Struct, frozen=True):
    """What a joining client is told of the past.

    Attributes:
        messages: as a JSON array, oldest first.
        heard: the seq of the last one, from which live delivery goes on.
        is_present: whether that is the room's last; if not, the client enters behind.
    """

    messages: bytes
    heard: int
    is_recovered: bool
    is_present: bool


async def answer_join(hub: Hub, room: Room, client: Client, since: Head | None, history: int) -> msgspec.Raw:
    """Enter a room whose newest messages are at hand; the payload of the ack."""
    epoch = await hub.epoch()
    caught = await catch_up(hub, room, client, since if since and since.epoch == epoch else None, history)
    if caught.is_present:
        hub.enter(client, room, caught.heard)
    else:
        hub.enter_behind(client, room, caught.heard)
    return msgspec.Raw(
        b'{"room":%b,"epoch":%b,"seq":%d,"recovered":%b,"messages":%b,"members":%b}'
        % (
            encode(room.name),
            encode(epoch),
            caught.heard,
            b"true" if caught.is_recovered else b"false",
            caught.messages,
            room.names,
        )
    )


async def catch_up(hub: Hub, room: Room, client: Client, since: Head | None, history: int) -> Caught:
    """Find what a client has missed since it was last here; without that, the newest page."""
    missed = await messages_since(hub, room, since.seq) if since else None
    recent = room.recent
    # From here on nothing waits: what is at hand now is the present.
    if missed is not None:
        cursor = missed[-1].seq if missed else since.seq if since else 0
        if cursor + 1 >= recent.first_seq:
            older = b",".join([client.dialect.listed(message) for message in missed])
            newer = recent.joined_after(cursor, client.dialect.listed)
            # The log may be ahead of what it has delivered to the room.
            return Caught(join_arrays(older, newer), max(cursor, recent.last_seq), is_recovered=True, is_present=True)
        older = b"[%b]" % b",".join([client.dialect.listed(message) for message in missed])
        return Caught(older, cursor, is_recovered=True, is_present=False)
    newest = recent.joined_after(recent.last_seq - history, client.dialect.listed)
    return Caught(newest, recent.last_seq, is_recovered=False, is_present=True)


async def messages_since(hub: Hub, room: Room, seq: int) -> list[Message] | None:
    """The messages from after `seq` to those at hand; None when the log no longer has them all, or never did."""
    if seq > room.recent.last_seq:
        return None
    found: list[Message] = []
    cursor = seq
    size = 0
    while cursor + 1 < room.recent.first_seq and len(found) < MAX_ANSWER and size < MAX_ANSWER_BYTES:
        page = await hub.engine.read(room.name, after=cursor, limit=PAGE)
        if not page.messages or page.messages[0].seq != cursor + 1:
            return None
        found += page.messages
        size += sum(len(message.body) for message in page.messages)
        cursor = found[-1].seq
    return found


async def feed(hub: Hub, room: Room, client: Client) -> None:
    """Feed a member that is behind from the log, until it is too slow again or has caught up."""
    while client in room.behind and not hub.is_slow(client):
        cursor = room.behind[client]
        recent = room.recent
        if cursor + 1 >= recent.first_seq:
            client.write_frame(b"".join([client.dialect.message(message) for message in recent.after(cursor)]))
            room.enter(client, max(cursor, recent.last_seq))
            return
        page = await hub.engine.read(room.name, after=cursor, limit=PAGE)
        if room.behind.get(client) == cursor:  # else another feeding has taken over meanwhile
            room.behind[client] = write_page(room, client, cursor, page.messages, page.head.seq)


def write_page(room: Room, client: Client, cursor: int, messages: list[Message], last_seq: int) -> int:
    """Write messages read after `cursor`, and say where the log has lost some; the seq that the client has come to."""
    first = messages[0].seq if messages else last_seq + 1
    if first > cursor + 1:
        gap = encode({"room": room.name, "from": cursor + 1, "to": first - 1})
        client.write_frame(client.dialect.event("gap", gap))
    client.write_frame(b"".join([client.dialect.message(message) for message in messages]))
    return messages[-1].seq if messages else last_seq


def join_arrays(inner: bytes, array: bytes) -> bytes:
    """A JSON array with the members of `inner` before those of `array`."""
    if not inner:
        return array
    return b"[%b]" % inner if array == b"[]" else b"[%b,%b" % (inner, array[1:])
