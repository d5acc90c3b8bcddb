"""Answers that are not over, over ASGI: pieces are sent one after the other by one task, besides one that listens.

The server frames what it is given.  How much may wait, and for how long a client may take nothing, is as it is where
the server is our own (`wire.streaming`).
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from hubbub.mount.scopes import AsgiMessage, Receive, Send
from hubbub.wire.streaming import Streaming
from hubbub.wire.websocket import CLOSE_TIMEOUT_S, HIGH_WATER, NO_CLOSE, End

__all__ = ["AsgiStream"]

log = structlog.get_logger("hubbub.mount")

# Waiting bytes at which a client that is slow is no longer.
LOW_WATER = HIGH_WATER // 4
# How often a client may seem to take nothing.  What the system holds is the server's to know: some megabytes, which a
# slow client takes in minutes, and the system takes no more before a good part of them is gone.
MISSES = 6
# How long a server may take to tell that the client is gone, after it has failed to send.
GONE_S = 1.0


class AsgiStream:
    """The connection of one such answer (`client.Socket`, `heartbeat.Pulse`).

    Args:
        receive, send: those of the request.
    """

    __slots__ = (
        "_answer",
        "_end",
        "_is_gone",
        "_is_slow",
        "_limit",
        "_misses",
        "_outbox",
        "_receive",
        "_send",
        "_sleeping",
        "_taken",
        "_written",
        "bucket",
        "is_alive",
        "outbox_size",
        "pinged_at",
    )

    def __init__(self, receive: Receive, send: Send, answer: Streaming) -> None:
        self._receive = receive
        self._send = send
        self._answer = answer
        self._outbox: deque[bytes] = deque()
        self.outbox_size = 0
        self._written = self._taken = self._misses = 0
        self._is_slow = False
        # How it ends, from its close on; and whether the client is gone.
        self._end: End | None = None
        self._is_gone = False
        self._sleeping: asyncio.Future[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self.is_alive = True
        self.pinged_at = 0
        self.bucket = 0

    async def run(self, start: AsgiMessage) -> None:
        """Send the answer until it has ended.

        Args:
            start: its head.
        """
        answer = self._answer
        answer.sockets[self] = None
        if answer.watches_at_once:
            self.watch()
        answer.author.attach(self)
        listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            async with asyncio.timeout(None) as self._limit:
                if self._end is not None:
                    self._cut_after(CLOSE_TIMEOUT_S)
                await self._send(start)
                await self._write()
        except TimeoutError:
            pass  # the client does not take the end; the server cuts the connection as we return
        except OSError:
            pass  # the client is gone, which a server may say like this
        except Exception as error:
            # What is sent to a client that has gone fails in more ways than the specification knows of.
            await asyncio.wait([listening], timeout=GONE_S)
            if self._is_gone:
                log.debug("sent to a client that has gone", error=str(error))
            else:
                log.exception("stream failed")
        finally:
            self._is_gone, self._limit = True, None
            listening.cancel()
            if answer.wheel is not None:
                answer.wheel.remove(self)
            del answer.sockets[self]
            code, reason, by_us = self._end or NO_CLOSE
            answer.author.closed(code, reason, by_us=by_us)
            await asyncio.gather(listening, return_exceptions=True)

    # Writing

    def write(self, data: bytes) -> None:
        """Queue a piece."""
        if self._end is not None or self._is_gone:
            return
        self._queue(data)
        if self.outbox_size > HIGH_WATER and not self._is_slow:
            self._is_slow = True
            self._answer.author.writing_paused()

    def _queue(self, data: bytes) -> None:
        self._outbox.append(data)
        self.outbox_size += len(data)
        self._written += len(data)
        self._wake()

    def _wake(self) -> None:
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)
        self._sleeping = None

    async def _write(self) -> None:
        """Send what is queued, and at last the end."""
        outbox = self._outbox
        while not self._is_gone:
            while outbox:
                piece = self._next_piece()
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                self._note_sent(len(piece))
            if self._end is not None:
                await self._send({"type": "http.response.body", "body": b""})
                return
            self._sleeping = asyncio.get_running_loop().create_future()
            await self._sleeping

    def _next_piece(self) -> bytes:
        """What is queued, up to about `HIGH_WATER` bytes of it: each message to a server costs as much as a KiB."""
        outbox = self._outbox
        if len(outbox) == 1:
            return outbox.popleft()
        pieces, size = [], 0
        while outbox and size < HIGH_WATER:
            pieces.append(outbox.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    def _note_sent(self, size: int) -> None:
        self.outbox_size -= size
        if self._is_slow and self.outbox_size <= LOW_WATER:
            self._is_slow = False
            self._answer.author.writing_resumed()

    # Reading: the request is over, and all that can come is that the client goes

    async def _listen(self) -> None:
        try:
            message = await self._receive()
            while message["type"] != "http.disconnect":
                await asyncio.sleep(GONE_S)  # one that tells of a body again may do so for ever
                message = await self._receive()
        except Exception as error:
            log.debug("a server does not tell whether a client has gone", error=str(error))
            return
        self._is_gone = True
        self._cut_after(CLOSE_TIMEOUT_S)
        self._wake()

    def pause_reading(self) -> None:
        """Nothing comes that could be handled."""

    def resume_reading(self) -> None:
        """As `pause_reading`."""

    # Heartbeat

    def watch(self) -> None:
        """Begin to send beats, and to look for signs of life."""
        if self._answer.wheel is not None and self._end is None:
            self._answer.wheel.add(self)

    def ping(self) -> None:
        """Send a beat; whoever has taken anything since the last one, or all there is, is alive."""
        taken = self._written - self.outbox_size
        if not self.outbox_size or taken != self._taken:
            self.is_alive = True
            self._misses = 0
        self._taken = taken
        if self.outbox_size < HIGH_WATER and self._answer.beat and self._end is None:
            self._queue(self._answer.beat)

    def pulse_lost(self) -> None:
        """It takes nothing of what is sent, as far as can be told."""
        self._misses += 1
        if self._misses < MISSES:
            self.watch()
            return
        self._is_gone = True
        self._cut_after(0.0)
        self._wake()

    # Ends

    def close(self, code: int, reason: str = "") -> None:
        """End the answer, behind what is queued; a client that does not take that in time is cut."""
        if self._end is not None or self._is_gone:
            return
        self._end = (int(code), reason, True)
        last = self._answer.last(code, reason)
        if last:
            self._queue(last)
        self._answer.author.closing()
        self._cut_after(CLOSE_TIMEOUT_S)
        self._wake()

    def _cut_after(self, seconds: float) -> None:
        if self._limit is not None and (self._limit.when() is None or not seconds):
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)
