"""A WebSocket that an ASGI server has: messages in, texts out, one task besides the server's own.

The server does what the protocol of WebSockets asks, heartbeats included.  Here are the rules of the hub: how much a
client may send and have waiting, how it is not read for a while, and how its connection is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog

from hubbub.errors import CloseCode
from hubbub.mount.records import Divider
from hubbub.mount.scopes import AsgiMessage, Receive, Send
from hubbub.wire.frames import short_reason
from hubbub.wire.websocket import CLOSE_TIMEOUT_S, HIGH_WATER, NO_CLOSE, End, Receiver

__all__ = ["AsgiWebSocket"]

log = structlog.get_logger("hubbub.mount")

# Waiting bytes at which a client that is slow is no longer.
LOW_WATER = HIGH_WATER // 4
# Messages that are handled, and texts that are sent, in one turn of the loop: a server has many ready, and none of them
# makes us wait.
TAKEN_AT_ONCE = 16
SENT_AT_ONCE = 64
# How long a server may take to tell that the peer is gone, after it has failed to send.
GONE_S = 1.0
# Received bytes after which they are counted, all together.
COUNTED_SIZE = 512


class AsgiWebSocket:
    """One connection, from the server's `accept` on (`client.Socket`).

    Args:
        receive, send: those of the ASGI connection.
        receiver: takes its messages.
        divider: shared by the connections of a server.
        max_frame: bytes that a message may have; 0 is no limit.
        is_binary: what is written goes out as it is, as one binary message.  That is for a protocol whose messages say
            where they end.
    """

    __slots__ = (
        "_divider",
        "_end",
        "_is_binary",
        "_is_gone",
        "_is_slow",
        "_limit",
        "_max_frame",
        "_may_read",
        "_outbox",
        "_receive",
        "_receiver",
        "_send",
        "_sleeping",
        "outbox_size",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        receiver: Receiver,
        divider: Divider,
        max_frame: int,
        *,
        is_binary: bool = False,
    ) -> None:
        self._receive = receive
        self._send = send
        self._receiver = receiver
        self._divider = divider
        self._max_frame = max_frame
        self._is_binary = is_binary
        self._outbox: deque[tuple[tuple[str | bytes, ...], int]] = deque()
        self.outbox_size = 0
        self._is_slow = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        # How it ends, from the first CLOSE on; and whether the peer is gone.
        self._end: End | None = None
        self._is_gone = False
        self._sleeping: asyncio.Future[None] | None = None
        self._limit: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Carry messages both ways until the connection has ended."""
        reader = asyncio.get_running_loop().create_task(self._read())
        try:
            async with asyncio.timeout(None) as self._limit:
                if self._end is not None:
                    self._cut_later()
                await self._write()
        except TimeoutError:
            pass  # the peer does not take its CLOSE; the server cuts the connection as we return
        except OSError:
            pass  # the peer is gone, which a server may say like this
        except Exception as error:
            # What is sent to a peer that has gone fails in more ways than the specification knows of.
            await asyncio.wait([reader], timeout=GONE_S)
            if self._is_gone:
                log.debug("sent to a client that has gone", error=str(error))
            else:
                log.exception("connection failed")
        finally:
            self._is_gone, self._limit = True, None
            reader.cancel()
            code, reason, by_us = self._end or NO_CLOSE
            self._receiver.closed(code, reason, by_us=by_us)
            await asyncio.gather(reader, return_exceptions=True)

    # Writing

    def write(self, data: bytes) -> None:
        """Queue joined records; bytes as they are, for one that is binary."""
        if self._end is not None or self._is_gone:
            return
        size = len(data)
        self._outbox.append(((data,) if self._is_binary else self._divider.texts(data), size))
        self.outbox_size += size
        if self._sleeping is not None:
            self._wake()
        if self.outbox_size > HIGH_WATER and not self._is_slow:
            self._is_slow = True
            self._receiver.writing_paused()

    def _wake(self) -> None:
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)
        self._sleeping = None

    async def _write(self) -> None:
        """Send what is queued, and at last the CLOSE."""
        send, outbox, kind = self._send, self._outbox, "bytes" if self._is_binary else "text"
        while not self._is_gone:
            while outbox:
                texts, size = outbox.popleft()
                for number, text in enumerate(texts, 1):
                    await send({"type": "websocket.send", kind: text})
                    if not number % SENT_AT_ONCE:
                        await asyncio.sleep(0)
                self._note_sent(size)
            if self._end is not None:
                if self._end[2]:
                    code, reason, _ = self._end
                    await send({"type": "websocket.close", "code": code, "reason": short_reason(reason)})
                return
            self._sleeping = asyncio.get_running_loop().create_future()
            await self._sleeping

    def _note_sent(self, size: int) -> None:
        self.outbox_size -= size
        if self._is_slow and self.outbox_size <= LOW_WATER:
            self._is_slow = False
            self._receiver.writing_resumed()

    def watch(self) -> None:
        """Leave it to the server to ask for signs of life."""

    # Reading

    async def _read(self) -> None:
        """Take what comes until the peer is gone."""
        taken = received = 0
        try:
            while True:
                await self._may_read.wait()
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    self._end = self._end or (message.get("code") or 1005, message.get("reason") or "", False)
                    return
                received += self._take(message)
                taken += 1
                is_too_much = False
                if received > COUNTED_SIZE:
                    is_too_much = self._receiver.is_too_much(received)
                    received = 0
                if is_too_much or taken >= TAKEN_AT_ONCE:
                    taken = 0
                    await asyncio.sleep(0)
        except Exception:
            log.exception("connection failed")
            self.close(CloseCode.INTERNAL_ERROR, "")
        finally:
            if self._end is None or not self._end[2]:
                self._is_gone = True
            self._cut_later()
            self._wake()

    def _take(self, message: AsgiMessage) -> int:
        """Hand a message on; its size in bytes, or about it."""
        if self._end is not None:
            return 0
        text: Any = message.get("text")
        if text is None:
            data = message.get("bytes") or b""
            if self._max_frame and len(data) > self._max_frame:
                self._refuse_size()
            else:
                self._receiver.receive_binary(data)
            return len(data)
        size = len(text)
        if self._max_frame and size * 4 > self._max_frame:  # a character has 4 bytes at most
            size = len(text.encode(errors="surrogatepass"))
            if size > self._max_frame:
                self._refuse_size()
                return size
        self._receiver.receive_text(text)
        return size

    def _refuse_size(self) -> None:
        self.close(CloseCode.TOO_LARGE, f"a message has at most {self._max_frame} bytes")

    def pause_reading(self) -> None:
        """Stop reading; the server stops too, once it has a message that waits."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`."""
        self._may_read.set()

    # Closing

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection, behind what is queued; a peer that does not take that in time is cut."""
        if self._end is None and not self._is_gone:
            self._end = (int(code), reason, True)
            self._receiver.closing()
            self._cut_later()
            self._wake()

    def _cut_later(self) -> None:
        if self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S)
