"""What an ASGI server tells of a request (ASGI 3.0, HTTP and WebSocket message format 2.4), as a `Request`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, cast

from hubbub.wire.denial import Denied
from hubbub.wire.head import body_too_large, largest_body
from hubbub.wire.hosts import Hosts, no_host
from hubbub.wire.proxy import Proxies
from hubbub.wire.request import Request, always, without_controls

__all__ = [
    "AsgiApp",
    "AsgiMessage",
    "Left",
    "Receive",
    "Scope",
    "Scopes",
    "Send",
    "extension",
    "path_below",
    "read_body",
]

# As frameworks have them, so that type checkers take one for the other.
Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# What stands for a client that the server does not tell of, as behind a Unix socket.
UNKNOWN = "unknown"


class Left(Exception):
    """The client has gone before it had sent its request."""


class Scopes:
    """Makes requests of scopes.

    Args:
        proxies: those that are trusted.
        hosts: the names that are answered to; without any, that is left to the application around.
        now: a clock, in seconds.
    """

    def __init__(self, proxies: Proxies, hosts: Hosts | None, now: Callable[[], float]) -> None:
        self._proxies = proxies
        self._hosts = hosts
        self._now = now

    def request(
        self, scope: Scope, body: bytes = b"", is_wanted: Callable[[], bool] = always, *, method: str = "GET"
    ) -> Request:
        """The request that a scope stands for.

        Raises:
            Denied: 400 for a request that is none, 421 for one that is for another host.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
        if scope.get("subprotocols"):
            headers.setdefault("sec-websocket-protocol", [", ".join(scope["subprotocols"])])
        client, server = scope.get("client"), scope.get("server")
        address, is_secure = self._proxies.sender(str(client[0]) if client else UNKNOWN, headers)
        self._check_host(headers, str(server[0]) if server else "", address)
        return Request(
            method,
            without_controls(path_below(scope["path"], scope.get("root_path", ""))) or "/",
            scope.get("query_string", b"").decode("latin-1"),
            headers,
            address,
            body,
            is_secure or scope.get("scheme") in ("https", "wss"),
            is_wanted,
            cast("dict[str, Any]", scope),
        )

    def _check_host(self, headers: dict[str, list[str]], here: str, address: str) -> None:
        hosts = headers.get("host", ())
        if len(hosts) > 1:
            raise no_host()
        if self._hosts is not None and hosts:  # only HTTP/1.0 goes without, which no browser speaks
            self._hosts.check(hosts[0], lambda: here, address, self._now())


def path_below(path: str, root: str) -> str:
    """The rest of a path below a root; empty for the root without a slash.

    By the specification a path has its root in it, and some servers leave it out.
    """
    root = root.rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def extension(scope: Scope, name: str) -> Any:
    """What a server offers beyond the specification under a name; None where it does not."""
    return (scope.get("extensions") or {}).get(name)


async def read_body(scope: Scope, receive: Receive, within_s: float) -> bytes:
    """The body of a request.

    Args:
        within_s: seconds that the client may take; 0 is for ever.

    Raises:
        Denied: 413 for one that is larger than its path takes, 408 for one that is not there in time.
        Left: the client has gone.
    """
    most = largest_body(path_below(scope["path"], scope.get("root_path", "")))
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > most:
            raise body_too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(within_s or None):
            has_more = True
            while has_more:
                message = await receive()
                if message["type"] != "http.request":
                    raise Left
                body += message.get("body", b"")
                if len(body) > most:
                    raise body_too_large(most)
                has_more = message.get("more_body", False)
    except TimeoutError:
        raise Denied(HTTPStatus.REQUEST_TIMEOUT, "bad_request", f"no whole request in {within_s:g} s") from None
    return bytes(body)
