"""A transport without a network: it takes what is written, and feeds its protocol as a loop would."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["FakeTransport"]

# What uvloop reads at once for a protocol without a buffer of its own.
ONE_READ = 256 * 1024
# More turns of the loop than pass between two reads, and more reads than any test takes.
TURNS = 100
MANY_READS = 10_000


class FakeTransport(asyncio.Transport):
    """A client's connection.

    Args:
        has_halves: whether one half can be closed alone; TLS cannot.

    Attributes:
        is_paused: whether its protocol wants nothing to read.
        outbox_size: what the client has not taken, as the test says.
        reads: how often the protocol was handed something.
        written: what was written since the last `take`.
    """

    def __init__(self, protocol: Any = None, *, has_halves: bool = True) -> None:
        super().__init__()
        self.protocol = protocol
        self.has_halves = has_halves
        self.outbox_size = 0
        self.is_closed = False
        self.is_cut = False
        self.is_half_closed = False
        self.is_paused = False
        self.reads = 0
        self.written = bytearray()
        self._unread = b""
        self._has_eof = False

    # What a protocol calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("10.0.0.1", 5000) if name == "peername" else default

    def write(self, data: Any) -> None:
        if self.is_closed or self.is_half_closed:
            raise RuntimeError("the transport is closed")
        self.written += data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.outbox_size

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        if self.is_paused:
            self.is_paused = False
            asyncio.get_running_loop().call_soon(self._deliver)

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return self.has_halves

    def write_eof(self) -> None:
        assert self.has_halves
        self.is_half_closed = True

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        self.is_cut = True
        self.close()

    def _lose(self) -> None:
        self.protocol.connection_lost(None)

    # What a test calls

    def feed(self, data: bytes) -> None:
        """Let bytes arrive.  What the protocol does not read now it gets when it reads on."""
        self._unread += data
        self._deliver()

    def feed_eof(self) -> None:
        """Let the client end its half."""
        self._has_eof = True
        self._deliver()

    async def settle(self) -> None:
        """Let the loop turn until everything has been read that will be, and has had its effect."""
        for _ in range(MANY_READS):
            unread = len(self._unread)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if len(self._unread) == unread:
                return
        raise AssertionError("it goes on and on")

    def take(self) -> bytes:
        """What was written since the last look."""
        data = bytes(self.written)
        self.written.clear()
        return data

    @property
    def unread(self) -> int:
        """Bytes that have arrived and were not read."""
        return len(self._unread)

    def _deliver(self) -> None:
        while self._unread and not self.is_paused and not self.is_closed:
            self.reads += 1
            if hasattr(self.protocol, "get_buffer"):
                room = self.protocol.get_buffer(-1)
                size = min(len(room), len(self._unread))
                room[:size] = self._unread[:size]
                self._unread = self._unread[size:]
                self.protocol.buffer_updated(size)
            else:
                data, self._unread = self._unread[:ONE_READ], self._unread[ONE_READ:]
                self.protocol.data_received(data)
        if self._has_eof and not self._unread and not self.is_paused and not self.is_closed:
            self._has_eof = False
            if not self.protocol.eof_received():
                self.close()
