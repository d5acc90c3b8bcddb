"""uvicorn's HTTP connections, made strict: with a deadline for each step, and a limit for the request head.

uvicorn itself waits for ever for the first byte, and for a head or a body that comes a byte at a time; it takes a head
of any size; and it drops what comes with an upgrade request without a word.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubbub.wire.denial import Denied

__all__ = ["HurriedProtocol"]

MAX_HEAD = 64 * 1024

END_OF_HEAD = b"\r\n\r\n"


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
        self._head_size = 0
        self._is_in_head = True
        self._last_bytes = b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    # Requests

    def data_received(self, data: bytes) -> None:
        self._last_bytes = (self._last_bytes + data)[-len(END_OF_HEAD) :]
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                message = f"a request head has at most {MAX_HEAD} bytes"
                self._deny(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_size = 0
        if self.cycle is None or not self.cycle.response_complete:
            self._stop_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_deadline()

    def send_400_response(self, msg: str) -> None:
        self._deny(HTTPStatus.BAD_REQUEST, msg.rstrip("."))

    # Upgrades

    def handle_websocket_upgrade(self) -> None:
        self._stop_deadline()
        if self.cycle is not None and not self.cycle.response_complete:
            # It would overtake the answer to the request before it, which is the last one here.
            self.cycle.keep_alive = False
        elif self.parser.get_http_version() != "1.1":
            self._deny(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "a WebSocket opens with HTTP/1.1")
        elif self._last_bytes != END_OF_HEAD:
            # RFC 6455 section 4.1: a client waits for the answer before it sends anything.
            self._deny(HTTPStatus.BAD_REQUEST, "frames came before the answer to the upgrade request")
        else:
            super().handle_websocket_upgrade()

    # Ends

    def shutdown(self) -> None:
        """The server stops: a request that has not come whole is not waited for."""
        if self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()

    def _deny(self, status: HTTPStatus, message: str) -> None:
        self.transport.write(Denied(status, "bad_request", message).response())
        self.transport.close()

    def _start_deadline(self) -> None:
        self._stop_deadline()
        if self._timeout_s:
            self._deadline = self.loop.call_later(self._timeout_s, self.transport.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
