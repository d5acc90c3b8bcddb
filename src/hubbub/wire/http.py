"""uvicorn's HTTP connections, with one deadline more: a client that does not get on with its request is cut off.

uvicorn itself waits for ever for the first byte, and for a head or a body that comes a byte at a time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["http_protocol"]


def http_protocol(timeout_s: float) -> type[HttpToolsProtocol]:
    """The protocol class for a server that gives its clients `timeout_s` for each step; 0 for ever."""

    class HurriedProtocol(HttpToolsProtocol):
        """An HTTP connection whose client has to finish each request in time, and to take its answer in time."""

        _deadline: asyncio.TimerHandle | None = None

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
            if timeout_s:
                self._deadline = self.loop.call_later(timeout_s, self._too_slow)

        def _stop_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self.transport.abort()

    return HurriedProtocol
