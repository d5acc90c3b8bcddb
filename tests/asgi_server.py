"""An ASGI server in memory: it calls an application, and is the client at the other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from gates import Gate
from hubbub.mount.scopes import AsgiApp, AsgiMessage, Receive, Send

__all__ = ["Answered", "AsgiMessage", "AsgiSocket", "ask", "call", "lifespan", "scope_of"]


def scope_of(type_: str, path: str = "/", **more: Any) -> dict[str, Any]:
    """What a server tells of a request."""
    headers = {"host": "chat.example", **more.pop("headers", {})}
    path, _, query = path.partition("?")
    scope = {
        "type": type_,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if type_ == "websocket" else "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {"websocket.http.response": {}} if type_ == "websocket" else {},
    }
    if type_ == "websocket":
        scope |= {"subprotocols": []}
    return scope | more


class Answered(NamedTuple):
    """An answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(app: AsgiApp, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Call an application."""
    await app(scope, receive, send)


def answered(messages: list[AsgiMessage], kind: str = "http.response") -> Answered:
    """What messages of the application make."""
    start, *rest = messages
    assert start["type"] == f"{kind}.start"
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], headers, b"".join(each["body"] for each in rest))


async def ask(app: AsgiApp, method: str, path: str, *parts: bytes, **more: Any) -> Answered:
    """Send a request whose body comes in these parts, and wait for its answer."""
    coming = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts or (b"",), 1)
    ]
    sent: list[AsgiMessage] = []

    async def receive() -> AsgiMessage:
        if coming:
            return coming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    await app(scope_of("http", path, method=method, **more), receive, send)
    return answered(sent)


@asynccontextmanager
async def lifespan(app: AsgiApp) -> AsyncIterator[list[AsgiMessage]]:
    """Tell an application of its start, and of its end after the block; what it has answered."""
    told: asyncio.Queue[AsgiMessage] = asyncio.Queue()
    answers: list[AsgiMessage] = []
    has_answered = asyncio.Event()

    async def send(message: AsgiMessage) -> None:
        answers.append(message)
        has_answered.set()

    task = asyncio.create_task(call(app, {"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, send))
    told.put_nowait({"type": "lifespan.startup"})
    await has_answered.wait()
    yield answers
    told.put_nowait({"type": "lifespan.shutdown"})
    await task


class AsgiSocket:
    """A client's WebSocket, and the server between it and the application.

    Attributes:
        taken: the events that the application has sent and nobody has taken yet.
        sends: how many messages the application has sent.
        accepted: the subprotocol, once it is accepted.
        refused: the answer of an application that refuses it.
        closed: the close code and the reason, once the application has closed it.
        gate: the server takes messages of the application while it is open.
    """

    def __init__(self, app: AsgiApp, path: str = "/ws", **more: Any) -> None:
        self.taken: list[dict[str, Any]] = []
        self.sends = 0
        self.accepted: str | None = None
        self.refused: Answered | None = None
        self.closed: tuple[int, str] | None = None
        self.gate = Gate()
        self.coming: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self.received = 0
        self._denial: list[AsgiMessage] = []
        self._is_accepted = asyncio.Event()
        self._heard = asyncio.Event()
        self.coming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(call(app, scope_of("websocket", path, **more), self._receive, self._send))

    async def opened(self) -> AsgiSocket:
        """Wait until it is accepted or refused."""
        accepted = asyncio.create_task(self._is_accepted.wait())
        await asyncio.wait([accepted, self.task], return_when=asyncio.FIRST_COMPLETED)
        accepted.cancel()
        return self

    # The application's side

    async def _receive(self) -> AsgiMessage:
        message = await self.coming.get()
        self.received += 1
        return message

    async def _send(self, message: AsgiMessage) -> None:
        await self.gate.enter()
        self.sends += 1
        match message["type"]:
            case "websocket.accept":
                self.accepted = message["subprotocol"]
                self._is_accepted.set()
            case "websocket.send":
                self.taken.append(json.loads(message["text"]))
                self._heard.set()
            case "websocket.close":
                self.closed = (message["code"], message["reason"])
                self._heard.set()
            case "websocket.http.response.start" | "websocket.http.response.body":
                self._denial.append(message)
                if message["type"].endswith("body"):
                    self.refused = answered(self._denial, "websocket.http.response")
            case other:
                raise AssertionError(other)

    # The client's

    def say_text(self, text: str) -> None:
        self.coming.put_nowait({"type": "websocket.receive", "text": text})

    def say(self, type_: str, payload: object, id_: object = None) -> None:
        envelope = {"type": type_, "payload": payload} | ({} if id_ is None else {"id": id_})
        self.say_text(json.dumps(envelope))

    def say_binary(self, data: bytes) -> None:
        self.coming.put_nowait({"type": "websocket.receive", "bytes": data})

    async def hear(self) -> dict[str, Any]:
        """The next event."""
        while not self.taken:
            assert self.closed is None, self.closed
            self._heard.clear()
            await self._heard.wait()
        return self.taken.pop(0)

    async def answer(self, type_: str, payload: object, id_: object = "ask") -> Any:
        """Send a request; the payload of its answer, what comes before it is dropped."""
        self.say(type_, payload, id_)
        while (event := await self.hear()).get("id") != id_:
            pass
        return event["payload"]

    async def leave(self, code: int = 1001) -> None:
        """Go away, and wait until the application has taken note."""
        self.coming.put_nowait({"type": "websocket.disconnect", "code": code})
        await self.task
