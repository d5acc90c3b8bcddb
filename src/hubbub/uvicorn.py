"""Our own WebSockets under uvicorn: `uvicorn app:app --ws hubbub.uvicorn:FastPath`.

A request for a WebSocket of a hub takes the connection itself over: its frames are read and written as by a server of
our own, with our heartbeats, and a stop tells its clients when to come back.  Others' WebSockets are uvicorn's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from hubbub.mount.service import TRANSPORT

__all__ = ["FastPath"]


class Handed(asyncio.Transport):
    """Stands for a transport that somebody else has."""

    def close(self) -> None:
        """Leave it open."""


class FastPath(WebSocketsSansIOProtocol):
    """A connection of uvicorn's from a request for a WebSocket on, until the application takes it."""

    _end: Callable[[], None] | None = None
    _is_early = False

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:  # it is a request for a WebSocket; the application is called in a turn of its own
            offered = {"transport": self.transport, "take": self._take, "left": self._left}
            cast("dict[str, Any]", self.scope["extensions"])[TRANSPORT] = offered

    def data_received(self, data: bytes) -> None:
        # RFC 6455 section 4.1: a client must wait for the answer.
        self._is_early = self.handshake_initiated and not self.handshake_complete
        super().data_received(data)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if self._end is not None:
            # It is there for a stop alone from now on, and an idle client should cost little.
            del self.conn, self.queue, self.request, self.response, self.scope

    def shutdown(self) -> None:
        if self._end is not None:
            self._end()
        else:
            super().shutdown()

    def _take(self, end: Callable[[], None]) -> bool:
        """Give the transport away, if the client is there and has waited for its answer.

        Args:
            end: called when uvicorn stops; the connection is waited for then.
        """
        is_there = not (self._is_early or self.disconnected or self.transport.is_closing())
        if is_there:
            self._end = end
        else:
            self.transport.abort()
        # Nothing that is done here after this reaches the connection.
        self.handshake_complete = True
        self.transport = Handed()
        return is_there

    def _left(self) -> None:
        if self._end is not None:  # otherwise the connection ends here
            self.connections.discard(self)
