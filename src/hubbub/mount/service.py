"""A hub at work within another application: requests and WebSockets that come by ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog

from hubbub.client import Participant
from hubbub.engine import Engine
from hubbub.http.app import is_from_here
from hubbub.hub import Hub
from hubbub.mount.answers import Answers, error_response, redirect
from hubbub.mount.records import Divider, record
from hubbub.mount.scopes import Left, Receive, Scope, Scopes, Send, extension, path_below, read_body
from hubbub.mount.streaming import AsgiStream
from hubbub.mount.websocket import AsgiWebSocket
from hubbub.service import Service, second_door_of
from hubbub.settings import Settings
from hubbub.wire.denial import Denied
from hubbub.wire.door import Door
from hubbub.wire.hosts import Hosts
from hubbub.wire.request import Request
from hubbub.wire.streaming import Streaming
from hubbub.wire.upgrade import Opening, Upgrades, Visitor
from hubbub.wire.websocket import Receiver, open_websocket

__all__ = ["TRANSPORT", "MountedService"]

log = structlog.get_logger("hubbub.mount")

# The extension by which a server hands the transport of a request for a WebSocket over (`hubbub.uvicorn`): `transport`,
# `take`, which is given what the server is to call when it stops and says whether it may be had, and `left`, which is
# called when the connection is gone.
TRANSPORT = "hubbub"


class MountedService(Service):
    """A service that listens nowhere; TLS, hosts and heartbeats are those of the server around.

    Args:
        settings: without TLS of its own.
    """

    def __init__(self, hub: Hub, settings: Settings, engine: Engine) -> None:
        super().__init__(hub, settings, engine, second_door=second_door_of(settings, ()))
        hosts = Hosts(settings.allow_host) if settings.allow_host else None
        self._scopes = Scopes(self._proxies, hosts, self._core.now)
        self._answers = Answers(self._common.fixed)
        self._divider = Divider()
        # Its clients are told that no pings of ours come; whether messages are compressed is for the server around.
        silent = replace(settings, heartbeat_interval=0.0, compression=False)
        self._door = Door(self._core, self._credentials, silent, record, self._upgrades.door.places)

    @property
    def is_local(self) -> bool:
        return False  # nobody knows

    @property
    def where(self) -> str:
        return "hubbub.asgi"

    # HTTP

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        root = scope.get("root_path", "").rstrip("/")
        if not path_below(scope["path"], root):
            response = redirect(root, scope.get("query_string", b"").decode("latin-1"))
            await self._answers.send(scope, send, response)
            return
        leaving: asyncio.Task[None] | None = None
        body = None
        try:
            body = await read_body(scope, receive, self._settings.request_timeout)
            # Passwords are not checked for somebody who has gone.
            leaving = asyncio.get_running_loop().create_task(until_left(receive)) if scope["method"] == "POST" else None
            is_wanted = (lambda: not leaving.done()) if leaving is not None else (lambda: True)
            request = self._scopes.request(scope, body, is_wanted, method=scope["method"])
            self._check_demo(request)
            response = await self._app.answer(request)
            if isinstance(response, Streaming) and leaving is not None and leaving.done():
                response.author.closed(1006, "", by_us=False)
                return
        except Left:
            return
        except Denied as denied:
            response = error_response(denied)
            if body is None:  # RFC 9112 section 9.3: otherwise the server reads the rest of it, which may have no end
                response.headers["Connection"] = "close"
        finally:
            if leaving is not None:
                leaving.cancel()
        if isinstance(response, Streaming):
            await AsgiStream(receive, send, response).run(self._answers.start(scope, response))
        else:
            await self._answers.send(scope, send, response)

    def _check_demo(self, request: Request) -> None:
        """Keep others away from accounts whose password everybody knows."""
        if self._settings.demo and not is_from_here(request):
            raise Denied(HTTPStatus.FORBIDDEN, "forbidden", "a demo is for programs on this machine")

    # WebSockets

    async def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, or refuse it."""
        await receive()  # websocket.connect
        handed = extension(scope, TRANSPORT)
        door = self._door if handed is None else self._upgrades.door
        request = None
        try:
            request = self._scopes.request(scope)
            self._check_demo(request)
            door.take_place(request.address)
            if request.path in self._upgrades.side_doors:
                await self._receive(request, handed, receive, send)
                return
            key, client, subprotocol = await self._let_in(request, door, handed)
        except Denied as denied:
            if request is not None:
                self._upgrades.note_denied(request, denied)
            await self._answers.refuse(scope, send, denied)
            return
        if handed is not None:
            self._hand_over(handed, client, request, key, subprotocol)
        else:
            await self._carry(client, request, receive, send, subprotocol)

    async def _let_in(self, request: Request, door: Door, handed: object) -> tuple[bytes, Participant, str | None]:
        """Let a client in, in a task that a stop can end.

        Raises:
            Denied: it is refused.
        """
        check = check_opening(door) if handed is None else door.check
        outcome: list[tuple[bytes, Participant, str | None] | Denied] = []

        async def let_in() -> None:
            try:
                outcome.append(await self._upgrades.let_in(request, door, check))
            except Denied as denied:
                outcome.append(denied)

        try:
            await self._upgrades.tasks.start(let_in())
        except asyncio.CancelledError:
            # By the server, in the turn in which the task has ended, or before it has begun: otherwise it is told.
            if not outcome:
                door.places.free(request.address)
            elif not isinstance(outcome[0], Denied):
                Visitor(self._upgrades, outcome[0][1], request.address).closed(1006, "", by_us=False)
            raise
        [found] = outcome
        if isinstance(found, Denied):
            raise found
        return found

    async def _carry(
        self, client: Participant, request: Request, receive: Receive, send: Send, subprotocol: str | None
    ) -> None:
        """Serve a client over the server's own WebSocket."""
        visitor = Visitor(self._upgrades, client, request.address)
        socket = AsgiWebSocket(receive, send, visitor, self._divider, self._settings.max_frame)
        await self._run(socket, visitor, send, subprotocol, lambda: client.attach(socket))

    async def _run(
        self,
        socket: AsgiWebSocket,
        receiver: Receiver,
        send: Send,
        subprotocol: str | None,
        attach: Callable[[], None],
    ) -> None:
        """Accept a WebSocket, and serve it to its end."""
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
        except BaseException as error:
            receiver.closed(1006, "", by_us=False)
            if isinstance(error, OSError):  # it has gone meanwhile
                return
            raise
        sockets = self._wire.sockets
        sockets[socket] = None
        try:
            attach()
            await socket.run()
        finally:
            del sockets[socket]

    def _hand_over(
        self, handed: dict[str, Any], client: Participant, request: Request, key: bytes, subprotocol: str | None
    ) -> None:
        """Serve a client over the transport itself, as a server of our own does."""
        visitor = Guided(self._upgrades, client, request.address, handed["left"])
        if not handed["take"](self.drain_soon):
            visitor.closed(1006, "", by_us=False)
            return
        sockets = self._upgrades.sockets_for(request)
        client.attach(open_websocket(handed["transport"], key, visitor, sockets, subprotocol=subprotocol))

    async def _receive(self, request: Request, handed: dict[str, Any] | None, receive: Receive, send: Send) -> None:
        """Serve a client of the second door, which has a place.

        Raises:
            Denied: it is refused; its place is free again.
        """
        assert self.second_door is not None
        way_in = self.second_door.websocket
        try:
            if handed is not None:
                self._hand_over_unknown(handed, way_in.receive(request))
                return
            session, is_binary, subprotocol = way_in.carry(request, record)
        except Denied:
            self._upgrades.door.places.free(request.address)
            raise
        socket = AsgiWebSocket(receive, send, session, self._divider, way_in.max_frame, is_binary=is_binary)
        await self._run(socket, session, send, subprotocol, lambda: session.attach(socket))

    def _hand_over_unknown(self, handed: dict[str, Any], opening: Opening) -> None:
        """Serve whoever it is over the transport itself."""
        key, entrant, settings, subprotocol = opening
        entrant.when_gone(handed["left"])
        if handed["take"](self.drain_soon):
            entrant.attach(open_websocket(handed["transport"], key, entrant, settings, subprotocol=subprotocol))
        else:
            entrant.closed(1006, "", by_us=False)


class Guided(Visitor):
    """A visitor whose connection another server has taken, which is told when it is gone."""

    __slots__ = ("_left",)

    def __init__(self, upgrades: Upgrades, client: Participant, address: str, left: Callable[[], None]) -> None:
        super().__init__(upgrades, client, address)
        self._left = left

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        self._left()
        super().closed(code, reason, by_us=by_us)


def check_opening(door: Door) -> Callable[[Request], bytes]:
    """What a door checks where there is no key to answer: the server has seen to the handshake."""

    def check(request: Request) -> bytes:
        door.check_opening(request)
        return b""

    return check


async def until_left(receive: Receive) -> None:
    """Wait until the client of a request, whose body has come, has gone."""
    try:
        message = await receive()
    except Exception as error:
        log.debug("a server does not tell whether a client has gone", error=str(error))
    else:
        if message["type"] == "http.disconnect":
            return
    await asyncio.Event().wait()  # one that tells of a body again may do so for ever
