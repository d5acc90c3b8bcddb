"""Fetching what a URL has, within a time and a size, whatever its server does."""

from __future__ import annotations

import functools
import io
import socket
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

__all__ = ["fetch"]

PART = 64 << 10


def fetch(url: str, accept: str, within_s: float, most: int) -> bytes:
    """What a URL has; redirects are not followed.

    Args:
        accept: the media types to ask for.
        within_s: seconds for the answer, its head included, once its server has been reached.
        most: bytes that it may have.

    Raises:
        OSError: there is no answer, or not in time, or one that says no.
        ValueError: it has more bytes.
    """
    hurry = functools.partial(HurriedResponse, time.monotonic() + within_s)
    opener = urllib.request.build_opener(NoRedirect, PlainHandler(hurry), SecureHandler(hurry))
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310  # the caller knows the scheme
    try:
        with opener.open(request, timeout=within_s) as response:
            return read_all(response.read1, most)
    except HTTPException as error:
        raise OSError(f"it does not speak HTTP: {error!r}") from None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: who may be believed is what the operator has named."""

    def redirect_request(self, *_args: object) -> None:
        return None


class HurriedReader(io.RawIOBase):
    """What a server sends, up to a moment: one that sends a byte at a time has no more than that."""

    def __init__(self, deadline: float, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._deadline = deadline
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class HurriedResponse(HTTPResponse):
    """An answer that has its time for all of it, its head included."""

    def __init__(self, deadline: float, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = io.BufferedReader(HurriedReader(deadline, sock, self.fp.detach()))


class PlainHandler(urllib.request.HTTPHandler):
    """Opens connections whose answers are in a hurry."""

    def __init__(self, response: Callable[..., HTTPResponse]) -> None:
        super().__init__()
        self._response = response

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(functools.partial(connected, HTTPConnection, self._response), req)


class SecureHandler(urllib.request.HTTPSHandler):
    """The same, with TLS."""

    def __init__(self, response: Callable[..., HTTPResponse]) -> None:
        super().__init__()
        self._response = response

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(functools.partial(connected, HTTPSConnection, self._response), req)


def connected(
    kind: type[HTTPConnection], response: Callable[..., HTTPResponse], host: str, **options: Any
) -> HTTPConnection:
    """A connection that reads its answers in a way of its own."""
    connection = kind(host, **options)
    connection.response_class = response  # type: ignore[assignment]
    return connection


def read_all(read: Callable[[int], bytes], most: int) -> bytes:
    """What a server sends, up to a size."""
    data = b""
    while part := read(PART):
        data += part
        if len(data) > most:
            raise ValueError(f"it has more than {most} bytes")
    return data
