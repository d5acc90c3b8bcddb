"""uvicorn's HTTP connections, with one deadline more: a client that does not get on with its request is cut off.

uvicorn itself waits for ever for the first byte, and for a head or a body that comes a byte at a time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HurriedProtocol"]


class HurriedProtocol(HttpToolsProtocol):
    """An HTTP connection whose client has to finish each request in time, and to take each answer in time.

    Args:
        timeout_s: how long each may take; 0 for ever.
        uvicorn: the keyword arguments that uvicorn makes its connections with.
    """

    def __init__(self, timeout_s: float, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def on_message_complete(self) -> None:
        self._stop_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_deadline()

    def handle_websocket_upgrade(self) -> None:
        self._stop_deadline()
        super().handle_websocket_upgrade()

    def _start_deadline(self) -> None:
        self._stop_deadline()
        if self._timeout_s:
            self._deadline = self.loop.call_later(self._timeout_s, self.transport.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
