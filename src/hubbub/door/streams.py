"""The door without WebSockets: what the server says is an answer that does not end, what the client says are requests.

JSON comes as lines, or as server-sent events; Protobuf as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec

from hubbub.client import Frame
from hubbub.door.codes import CLOSES
from hubbub.door.commands import DisconnectPush
from hubbub.door.dialect import DoorDialect, JsonDialect
from hubbub.door.emulation import EmulatedSession, Emulation
from hubbub.door.protobuf_dialect import ProtobufDialect
from hubbub.door.session import Carriage, Surroundings
from hubbub.events import encode
from hubbub.http.event_stream import flat
from hubbub.wire.denial import Denied
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request, Response
from hubbub.wire.streaming import Streaming, chunk, frame_for
from hubbub.wire.websocket import WireSettings

__all__ = ["EMULATION_PATH", "HTTP_STREAM_PATH", "SSE_PATH", "Handle", "Streams"]

HTTP_STREAM_PATH = "/connection/http_stream"
SSE_PATH = "/connection/sse"
EMULATION_PATH = "/emulation"

BINARY = "application/octet-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

# What pages of other origins may send; a browser asks again after so many seconds.
ALLOWED = "Authorization, Content-Type"
MAX_AGE_S = 600

Handle = Callable[[Request], Awaitable[Response]]


def line(text: bytes) -> bytes:
    """An object in a line of its own."""
    return flat(text) + b"\n"


def event(text: bytes) -> bytes:
    """An object as a server-sent event."""
    return b"data: %b\n\n" % flat(text)


def chunked_line(text: bytes) -> bytes:
    return chunk(line(text))


def chunked_event(text: bytes) -> bytes:
    return chunk(event(text))


# What carries a text, for a server that frames what it is given, and for our own: one function for all connections of a
# kind, which are written to together.
CHUNKED: Mapping[Frame, Frame] = {line: chunked_line, event: chunked_event, bytes: chunk}


class Streams:
    """Answers the requests of clients without WebSockets.

    Args:
        around: what the sessions of the door share.
        take_place: takes a place for a connection, or raises `Denied`.
        wire: what the connections of the server share.
        ping_s: seconds between the server's pings; 0 for none.

    Attributes:
        routes: by path, then by method.
        emulation: hands commands to connections.
    """

    def __init__(
        self,
        around: Surroundings,
        dialects: tuple[JsonDialect, ProtobufDialect],
        origins: Origins,
        take_place: Callable[[str], None],
        wire: WireSettings,
        ping_s: int,
        *,
        has_http_stream: bool,
        has_sse: bool,
    ) -> None:
        self._around = around
        self._json, self._protobuf = dialects
        self._origins = origins
        self._take_place = take_place
        self._wire = wire
        self._ping_s = ping_s if wire.wheel is not None else 0
        self._carriages: dict[tuple[Frame, Frame], Carriage] = {}
        self.emulation = Emulation(around.core)
        self.routes: dict[str, dict[str, Handle]] = {EMULATION_PATH: self._methods(POST=self._emulate)}
        if has_http_stream:
            self.routes[HTTP_STREAM_PATH] = self._methods(POST=self._http_stream)
        if has_sse:
            self.routes[SSE_PATH] = self._methods(GET=self._sse, POST=self._sse)

    def _methods(self, **handles: Handle) -> dict[str, Handle]:
        methods = {method: functools.partial(self._answer, handle) for method, handle in handles.items()}
        return {**methods, "OPTIONS": functools.partial(self._allow, ", ".join(handles))}

    # Pages of other origins

    async def _answer(self, handle: Handle, request: Request) -> Response:
        """Answer a page that may ask, so that it can read what it is answered."""
        self._origins.check(request)
        try:
            response = await handle(request)
        except Denied as denied:
            response = refusal(denied)
        return readable(response, request)

    async def _allow(self, methods: str, request: Request) -> Response:
        """Tell a browser what a page may send."""
        self._origins.check(request)
        headers = {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ALLOWED,
            "Access-Control-Max-Age": str(MAX_AGE_S),
        }
        return readable(Response(204, headers=headers), request)

    # What the server says

    async def _http_stream(self, request: Request) -> Response:
        if request.header("content-type") == BINARY:
            return self._open(request, request.body, self._protobuf, bytes, BINARY)
        return self._open(request, text_of(request.body), self._json, line, "text/plain; charset=utf-8")

    async def _sse(self, request: Request) -> Response:
        is_post = request.method == "POST"
        first = text_of(request.body) if is_post else request.query_fields().get("cf_connect", [""])[0]
        return self._open(request, first, self._json, event, "text/event-stream")

    def _open(
        self, request: Request, first: str | bytes, dialect: DoorDialect, body: Frame, media_type: str
    ) -> Streaming:
        """Begin an answer that does not end.

        Args:
            first: the commands that come with the request: `connect`.
            body: what carries a text.

        Raises:
            Denied: there are no such commands, or no place.
        """
        if not first:
            raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", "the command connect comes with the request")
        self._take_place(request.address)
        emulation, wire = self.emulation, self._wire
        carriage = self._carriage(dialect, body, frame_for(request), is_binary=isinstance(first, bytes))
        return Streaming(
            200,
            media_type=media_type,
            headers=HEADERS,
            author=EmulatedSession(self._around, carriage, request.address, first, emulation.node, emulation.sessions),
            sockets=wire.sockets,
            wheel=wire.wheel,
            beat=body(dialect.ping),
            watches_at_once=False,
            last=functools.partial(last_push, dialect, body),
        )

    def _carriage(self, dialect: DoorDialect, body: Frame, outer: Frame, *, is_binary: bool) -> Carriage:
        found = self._carriages.get((body, outer))
        if found is None:
            frame = CHUNKED[body] if outer is chunk else body
            found = Carriage(dialect, frame, is_binary, self._ping_s)
            self._carriages[body, outer] = found
        return found

    # What the client says

    async def _emulate(self, request: Request) -> Response:
        await self.emulation.receive(request)
        return Response(204)


def last_push(dialect: DoorDialect, body: Frame, code: int, reason: str) -> bytes:
    """What a stream ends with."""
    return body(dialect.push("", "disconnect", DisconnectPush(int(CLOSES.get(code, code)), reason)))


def text_of(body: bytes) -> str:
    """The text of a request; `Denied` (400) for what is none."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", "the body is not UTF-8") from None


def readable(response: Response, request: Request) -> Response:
    """An answer that the page may read that has asked: it was looked at whether it may."""
    origin = request.header("origin")
    if origin is None or not (origin.isascii() and origin.isprintable()):  # a pattern may be like anything
        return response
    headers = {**response.headers, "Vary": "Origin", "Access-Control-Allow-Origin": origin}
    return msgspec.structs.replace(response, headers=headers)


def refusal(denied: Denied) -> Response:
    """An error as the house says it."""
    headers = dict(header.split(": ", 1) for header in denied.headers)
    body = encode({"error": {"code": denied.code, "message": denied.message}})
    return Response(denied.status.value, body, headers={**headers, "Cache-Control": "no-store"})
