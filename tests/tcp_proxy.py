"""A TCP proxy whose link can be cut, held up and slowed down, for the tests of what then happens.

It runs in a thread of its own, so that it goes on while a test waits, and a test needs no loop to steer it. What a
method says is so when it returns.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from hubbub.cluster.port import HOST, free_port

__all__ = ["TcpProxy", "tcp_proxy"]

# Bytes of one direction of a connection that wait; beyond these the sender is not read.
MOST_WAITING = 4 * 1024 * 1024
STEER_S = 10.0


class TcpProxy:
    """Forwards a port of 127.0.0.1 to another one.

    Args:
        target: the port that connections go to.

    Attributes:
        port: where it listens; the same when it listens again after a cut.
        accepted: how many connections it has taken so far.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.accepted = 0
        self._target = target
        self._delay_s = 0.0
        self._is_open = True
        self._ends: set[End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    # Steering

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """End all of it."""
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Drop all connections, and refuse new ones."""
        self._do(self._cut())

    def drop(self) -> None:
        """Drop all connections, but take new ones."""
        self._do(self._drop())

    def hold(self) -> None:
        """Let nothing through, either way, ends of connections included; new ones are taken. What is said comes later.

        So a network looks that carries no packets for a while.
        """
        self._do(self._set(self._delay_s, is_open=False))

    def delay(self, seconds: float) -> None:
        """Let each byte arrive so much later, either way; order and throughput stay."""
        self._do(self._set(seconds, is_open=self._is_open))

    def heal(self) -> None:
        """Forward as at the start: listen, let through what is held up, and delay nothing that is said from now on."""
        self._do(self._set(0.0, is_open=True))
        self._do(self._listen())

    def point_at(self, target: int) -> None:
        """Forward new connections to another port."""
        self._target = target

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return sum(end.is_near for end in self._ends)

    @property
    def held(self) -> int:
        """How many bytes clients have sent that were not passed on yet."""
        return sum(end.waiting for end in list(self._ends) if end.is_near)

    def _do(self, steering: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(steering, self._loop).result(STEER_S)

    # In the thread

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(self._new_end, HOST, self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for end in list(self._ends):
            end.drop()
        while self._ends:
            await asyncio.sleep(0)  # each is told in a turn of the loop that it is lost

    async def _set(self, delay_s: float, *, is_open: bool) -> None:
        self._delay_s, self._is_open = delay_s, is_open
        for end in list(self._ends):
            end.pump()

    def _new_end(self) -> End:
        near = End(self, is_near=True)
        self.accepted += 1
        task = self._loop.create_task(self._connect(near))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return near

    async def _connect(self, near: End) -> None:
        try:
            await self._loop.create_connection(lambda: self._far_end(near), HOST, self._target)
        except OSError:
            near.drop()

    def _far_end(self, near: End) -> End:
        far = End(self, is_near=False)
        far.other, near.other = near, far
        return far

    # What the ends of connections ask

    @property
    def due(self) -> float:
        """When what comes now may leave, in the loop's time."""
        return self._loop.time() + self._delay_s

    @property
    def is_open(self) -> bool:
        """Whether anything gets through."""
        return self._is_open

    def call_when(self, due: float, pump: Callable[[], None]) -> bool:
        """Whether the time has come; calls back when it comes, otherwise."""
        if due <= self._loop.time():
            return True
        self._loop.call_at(due, pump)
        return False

    def come(self, end: End) -> None:
        """Take an end in."""
        self._ends.add(end)

    def go(self, end: End) -> None:
        """Forget an end."""
        self._ends.discard(end)


class End(asyncio.Protocol):
    """One of the two sockets of a connection, and what has been read from it and not been passed on."""

    def __init__(self, proxy: TcpProxy, *, is_near: bool) -> None:
        self.is_near = is_near
        self.other: End | None = None
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        # Bytes; none for the end of what is said, None for a connection that is lost.
        self._read: deque[tuple[float, bytes | None]] = deque()
        self._waiting = 0
        self._is_full = False  # its peer does not read what is written to it
        self._is_ended = False

    @property
    def waiting(self) -> int:
        """Bytes that have been read and not been passed on."""
        return self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy.come(self)
        if self.other is not None:
            self.other.pump()

    def data_received(self, data: bytes) -> None:
        self._waiting += len(data)
        self._take(data)

    def eof_received(self) -> bool:
        self._take(b"")
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._proxy.go(self)
        self._take(None)

    def pause_writing(self) -> None:
        self._is_full = True
        if self.other is not None:
            self.other.pace()

    def resume_writing(self) -> None:
        self._is_full = False
        if self.other is not None:
            self.other.pace()

    def pace(self) -> None:
        """Read from the socket, or do not, as much as waits."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._waiting > MOST_WAITING or (self.other is not None and self.other._is_full):
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pump(self) -> None:
        """Pass on what is due."""
        while self._read and self._proxy.is_open and self.other is not None and self.other._transport is not None:
            due, data = self._read[0]
            if not self._proxy.call_when(due, self.pump):
                return
            self._read.popleft()
            self._pass_on(data, self.other, self.other._transport)

    def drop(self) -> None:
        """End the connection, at once."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, data: bytes | None) -> None:
        self._read.append((self._proxy.due, data))
        self.pump()
        self.pace()

    def _pass_on(self, data: bytes | None, other: End, out: asyncio.Transport) -> None:
        if data is None:
            out.abort()
        elif data:
            self._waiting -= len(data)
            out.write(data)
            self.pace()
        else:
            self._is_ended = True
            out.write_eof()
            if other._is_ended:
                out.close()
                if self._transport is not None:
                    self._transport.close()


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    """A proxy that runs, to a port of 127.0.0.1."""
    proxy = TcpProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
