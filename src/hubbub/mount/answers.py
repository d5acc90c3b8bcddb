"""Answers as ASGI messages: to a request, and to one for a WebSocket that is refused."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

import structlog

from hubbub.events import encode
from hubbub.mount.scopes import AsgiMessage, Scope, Send, extension
from hubbub.wire.denial import Denied
from hubbub.wire.request import Response

__all__ = ["Answers", "error_response", "redirect"]

log = structlog.get_logger("hubbub.mount")

Fields = list[tuple[bytes, bytes]]

# Those of one connection, which is the server's own business; HTTP/2 knows none (RFC 9113 section 8.2.2).
OF_CONNECTION = frozenset({b"connection", b"upgrade"})


class Answers:
    """Sends answers.

    Args:
        common: the headers that each has, each ending in CRLF.
    """

    def __init__(self, common: bytes) -> None:
        lines = common.decode("latin-1").splitlines()
        self._common = fields_of(tuple(line.split(": ", 1)) for line in lines)  # type: ignore[misc]  # two of them

    async def send(self, scope: Scope, send: Send, response: Response) -> None:
        """Answer a request."""
        await send(self.start(scope, response))
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    def start(self, scope: Scope, response: Response) -> AsgiMessage:
        """The head of the answer to a request."""
        is_http_1 = scope.get("http_version", "1.1").startswith("1")
        headers = [
            (name, value)
            for name, value in [*fields_of(response.fields()), *self._common]
            if is_http_1 or name not in OF_CONNECTION
        ]
        if is_http_1 and "Upgrade" in response.headers:  # for the next hop, which Connection has to say
            headers.append((b"connection", b"upgrade"))
        return {"type": "http.response.start", "status": response.status, "headers": headers}

    async def refuse(self, scope: Scope, send: Send, denied: Denied) -> None:
        """Refuse a request for a WebSocket: with status and reason where the server can send them, or with 403.

        That it cannot be sent is nobody's concern: the client has gone, which servers say by errors of many kinds.
        """
        try:
            await self._refuse(scope, send, denied)
        except Exception as error:
            log.debug("a refusal could not be sent", error=str(error))

    async def _refuse(self, scope: Scope, send: Send, denied: Denied) -> None:
        if extension(scope, "websocket.http.response") is None:
            await send({"type": "websocket.close", "code": 1008, "reason": denied.code})
            return
        response = error_response(denied)
        headers = fields_of(response.fields()) + self._common
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": response.body})


def error_response(denied: Denied) -> Response:
    """The response that turns a request down."""
    body = encode({"error": {"code": denied.code, "message": denied.message}})
    headers = dict(line.split(": ", 1) for line in denied.headers)
    return Response(denied.status.value, body, headers={**headers, "Cache-Control": "no-store"})


def redirect(root: str, query: str) -> Response:
    """To the page of a hub below a root, whose URL without a slash is no folder: its relative links would miss."""
    # One slash: two begin the name of another host (RFC 3986 section 4.2), and a root may come from a request.
    location = f"/{quote(root.lstrip('/'))}/{f'?{query}' if query else ''}"
    return Response(307, headers={"Location": location, "Cache-Control": "no-store"})


def fields_of(pairs: Iterable[tuple[str, str]]) -> Fields:
    """Header fields as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
