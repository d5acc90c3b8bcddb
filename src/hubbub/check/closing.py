"""Checks of closing: what breaks RFC 6455, what is too large, and what is neither."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hubbub.check.outcome import Failed, NotOffered
from hubbub.check.peer import BINARY, PING, TEXT, Peer, V1Peer, frame
from hubbub.check.target import Target

__all__ = [
    "bad_utf8",
    "binary_in_v1",
    "broken_control_frame",
    "close_is_answered",
    "fragments",
    "ping_is_answered",
    "reserved_bits",
    "reserved_opcode",
    "sends_pings",
    "silence_is_closed",
    "too_large",
    "unmasked",
]

HELLO = b'{"type":"typing","payload":{}}'

# The largest frame that is sent whole to see that it is too large.
LARGEST = 1 << 20


@asynccontextmanager
async def each_open(target: Target, dialect: str) -> AsyncIterator[Peer]:
    opening = target.classic() if dialect == "classic" else target.v1()
    async with opening as peer:
        yield peer


def dialects(target: Target) -> list[str]:
    return ["classic", "v1"] if target.has_v1 else ["classic"]


async def closes(target: Target, code: int, data: bytes, said: str) -> None:
    """In each dialect, these bytes close the connection with this code.

    Where the frames are another server's, which the hub is mounted in, the code is that one's to send.
    """
    for dialect in dialects(target):
        async with each_open(target, dialect) as peer:
            peer.send_raw(data, f"{said} ({dialect})")
            try:
                await peer.assert_closed(code)
            except Failed:
                if target.pings or not peer.has_ended_without_code:
                    raise
                raise NotOffered("frames are the server's around, which ended the connection without a code") from None


async def reserved_bits(target: Target) -> None:
    await closes(target, 1002, frame(TEXT, HELLO, rsv=4), "a frame with RSV1 set, and no extension agreed")


async def unmasked(target: Target) -> None:
    await closes(target, 1002, frame(TEXT, HELLO, masked=False), "a frame that is not masked")


async def reserved_opcode(target: Target) -> None:
    await closes(target, 1002, frame(0x3, HELLO), "a frame with the reserved opcode 3")


async def broken_control_frame(target: Target) -> None:
    await closes(target, 1002, frame(PING, b"x", fin=False), "a fragmented ping")
    await closes(target, 1002, frame(PING, b"x" * 126), "a ping of 126 bytes")


async def bad_utf8(target: Target) -> None:
    await closes(target, 1007, frame(TEXT, b'{"type":"\xff"}'), "a text frame that is not UTF-8")


async def binary_in_v1(target: Target) -> None:
    async with target.v1() as peer:
        peer.send_raw(frame(BINARY, HELLO), "a binary frame")
        await peer.assert_closed(1003)


async def too_large(target: Target) -> None:
    if not target.has_v1:
        # Where the limit is not known, a frame that nobody can take: only its head is sent.
        head = b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)
        async with target.classic() as page:
            page.send_raw(head, "the head of a frame of 1 TiB")
            await page.assert_closed(1009)
        return
    async with target.v1() as peer:
        limit = peer.limit("max_frame")
        if not 0 < limit < LARGEST:
            raise NotOffered("no limit, or a large one")
        request = json.dumps({"type": "presence", "id": 1, "payload": {"room": "x"}})
        await peer.send(request + " " * (limit - len(request)))
        await peer.answer(1)
        data = frame(TEXT, request.encode() + b" " * (limit - len(request) + 1))
        peer.send_raw(data, f"a frame of {limit + 1} bytes, one more than max_frame")
        await peer.assert_closed(1009)


async def close_is_answered(target: Target) -> None:
    for dialect in dialects(target):
        async with each_open(target, dialect) as peer:
            target.trace.sent = f"a close with 1000 ({dialect})"
            await peer.connection.close(1000)
            code = peer.connection.close_code
            came = "no close frame" if code in (None, 1006) else f"a close with {code}"
            target.trace.expect(code == 1000, "a close with 1000", came)


async def ping_is_answered(target: Target) -> None:
    for dialect in dialects(target):
        async with each_open(target, dialect) as peer:
            await peer.pong(b"check")
            await peer.pong(b"")


async def fragments(target: Target) -> None:
    async with target.pages(target.user, target.other, room=target.room()) as (listener, speaker):
        text = json.dumps({"type": "send_message", "payload": {"message": "in two parts ☃", "from": "x"}})
        data = text.encode()
        cut = len(data) // 2
        head, tail = frame(TEXT, data[:cut], fin=False), frame(0, data[cut:])
        speaker.send_raw(head + frame(PING, b"between") + tail, "a message in two fragments, a ping between")
        await listener.hears("in two parts ☃")


# The heartbeat


def heartbeat(peer: V1Peer) -> tuple[float, float]:
    found = peer.welcome.get("heartbeat")
    times = [found.get(key) if isinstance(found, dict) else None for key in ("interval", "timeout")]
    interval, timeout = (float(each) if isinstance(each, (int, float)) else 0.0 for each in times)
    if not 0 < interval + timeout <= 30 or not interval:
        raise NotOffered("no heartbeat, or one too slow to wait for")
    return interval, timeout


async def sends_pings(target: Target) -> None:
    async with target.v1() as peer:
        interval, _ = heartbeat(peer)
        target.trace.sent = f"nothing for {interval} s"
        before = peer.connection.pings
        await asyncio.sleep(interval * 1.2 + 0.5)
        target.trace.expect(peer.connection.pings > before, "a ping", "none")


async def silence_is_closed(target: Target) -> None:
    async with target.v1() as peer:
        interval, timeout = heartbeat(peer)
        peer.connection.transport.pause_reading()  # so that no ping is answered
        target.trace.sent = "nothing, not even an answer to the pings"
        await asyncio.sleep(interval + timeout + 2.0)
        peer.connection.transport.resume_reading()
        await peer.assert_closed(4000)
