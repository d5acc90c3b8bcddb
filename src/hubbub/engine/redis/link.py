"""One connection to a Redis server, for what is per message: many calls in flight, and what is published.

redis-py connects, encrypts and authenticates; from then on the socket is ours.  It asks a lock, a pool and a few
coroutines of each call; here a call is a write and a future.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

__all__ = ["LinkLost", "Part", "RedisLink", "open_link"]

Part = bytes | str | int

NOTHING_YET = object()

# Its annotation says that there is one part.
pack = cast("Callable[[tuple[Part, ...]], bytes]", hiredis.pack_command)


class LinkLost(Exception):
    """The connection is gone.  What was asked over it may have been done, or not."""


class RedisLink(asyncio.Protocol):
    """A connection that speaks RESP3.

    Args:
        on_push: is given what the server says unasked: a kind, and what belongs to it.
        on_lost: called once, when the connection is gone, by whoever's hand.
    """

    def __init__(self, on_push: Callable[[list[Any]], None], on_lost: Callable[[], None]) -> None:
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=NOTHING_YET)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self.heard_at = 0.0

    def attach(self, writer: asyncio.StreamWriter) -> None:
        """Take a connection over on which nothing is under way."""
        transport = cast("asyncio.Transport", writer.transport)
        self._transport = transport
        self._writer = writer  # it closes the connection when it is forgotten
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=1 << 30)  # who calls waits for answers, which bounds what is written
        self.heard_at = asyncio.get_running_loop().time()

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def call(self, *parts: Part) -> asyncio.Future[Any]:
        """Send a command.

        Returns:
            Its answer; one that is an error raises `hiredis.ReplyError`, and a connection that goes first `LinkLost`.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport is None:
            answer.set_exception(LinkLost("it is closed"))
            return answer
        self._waiting.append(answer)
        self._transport.write(pack(parts))
        return answer

    def say(self, *parts: Part) -> None:
        """Send a command whose answer is a push, as those of subscribing are; on a closed connection it is ignored."""
        if self._transport is not None:
            self._transport.write(pack(parts))

    def cut(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()
            self._end()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        self._reader.feed(data)
        while self._transport is not None:
            try:
                answer = self._reader.gets()
            except hiredis.ProtocolError:
                self.cut()
                return
            if answer is NOTHING_YET:
                return
            if isinstance(answer, hiredis.PushNotification):
                self._on_push(cast("list[Any]", answer))
            else:
                self._settle(answer)

    def _settle(self, answer: Any) -> None:
        if not self._waiting:
            # An error to what was only said, as where a slot has moved; on a new connection it is said again.
            self.cut()
            return
        future = self._waiting.popleft()
        if future.done():
            return  # whoever asked has given up
        if isinstance(answer, hiredis.ReplyError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def connection_lost(self, _error: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._transport is None:
            return
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(LinkLost("it was lost"))
        self._on_lost()


async def open_link(
    connection: AbstractConnection, on_push: Callable[[list[Any]], None], on_lost: Callable[[], None]
) -> RedisLink:
    """Connect, and let redis-py greet the server.

    Args:
        connection: not connected yet.

    Raises:
        redis.exceptions.RedisError, OSError: there is no connection to be had.
    """
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no annotation there
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    link = RedisLink(on_push, on_lost)
    assert connection._writer is not None
    link.attach(connection._writer)
    connection._reader = connection._writer = None  # it is not to close what it has given away
    return link
