"""A server with no socket for the Python client, and a loop whose clock goes by itself: every rainy day in no time."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hubbub.sdk.backoff import Backoff
from hubbub.sdk.client import Connection
from hubbub.sdk.transport import Transport, TransportClosed

__all__ = ["SENT", "FakeServer", "FakeTransport", "NoLine", "client", "mangling", "refusal", "run"]

T = TypeVar("T")

SENT = "2026-01-02T03:04:05.678Z"

# Requests that a real server refuses to whoever is not in the room.
OF_MEMBERS = frozenset({"send_message", "leave_room", "history", "presence", "mark_read"})


# Time


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that does not wait: when there is nothing to do, its clock jumps to the next thing that there will be."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(Jumping(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits, and for ever"
        self._loop.jump(max(0.0, timeout))
        return super().select(0)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test on a loop with virtual time; it must leave no task behind."""

    async def alone() -> T:
        async with asyncio.timeout(24 * 3600):
            result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(alone())


# The server


def refusal(code: str, retry_after: float | None = None) -> dict[str, Any]:
    """The payload of an `error`."""
    return {"code": code, "message": f"because {code}"} | ({} if retry_after is None else {"retry_after": retry_after})


class FakeTransport:
    """A connection to a `FakeServer`."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.rooms: set[str] = set()
        self.heard_at = asyncio.get_running_loop().time()
        self.ended: TransportClosed | None = None
        self._frames: deque[str] = deque()
        self._held: list[str] = []
        self._came = asyncio.Event()

    # As the client sees it

    async def receive(self) -> str:
        while not self._frames:
            if self.ended is not None:
                raise self.ended
            self._came.clear()
            await self._came.wait()
        # Other tasks get a turn between two frames, as they do on a network.
        await asyncio.sleep(0)
        return self._frames.popleft()

    async def send(self, text: str) -> None:
        if self.ended is not None:
            raise self.ended
        self.server.take(self, json.loads(text))

    async def close(self) -> None:
        self.end(1000)

    def abort(self) -> None:
        self._frames.clear()
        self.end(1006)

    # As the server sees it

    def push(self, type_: str, payload: dict[str, Any], id_: object = None) -> None:
        """Write an event; a silent or deaf line takes it and it is gone."""
        if self.ended is not None or self.server.is_silent:
            return
        self.heard_at = asyncio.get_running_loop().time()
        frame = {"type": type_, "payload": payload} | ({} if id_ is None else {"id": id_})
        self._held += [json.dumps(mangled) for mangled in self.server.mangle(frame)]
        if not self.server.is_holding:
            self.release()

    def release(self) -> None:
        """Let what was written arrive."""
        self._frames += self._held
        self._held.clear()
        self._came.set()

    def end(self, code: int, reason: str = "") -> None:
        """End the connection, after what was written on it."""
        if self.ended is None:
            self.ended = TransportClosed(code, reason)
            self._came.set()
            self.server.connections.remove(self)


class NoLine:
    """A line for a conversation whose frames a test carries by itself."""

    user = "percy"

    def __init__(self) -> None:
        self.is_asked_to_move = False

    def wake_writer(self) -> None: ...

    def move_within(self, within_s: float) -> None:
        self.is_asked_to_move = True


class FakeServer:
    """A server that does as it is told, and is its own way in.

    Attributes:
        log: by room, the payloads of its messages; `trimmed` says how many of the first are gone.
        requests: all that clients asked, in order.
        openings: when connections were opened, by the loop's clock.
        doors: what the next openings fail with, instead.
        refusals: by request type, the payloads of errors that the next ones are answered with.
        deaf_to: request types that are taken, done, and not answered.
        mangle: makes one frame into those that really come.
        is_old: answers do not say how many users there are, nor how far this one has read.
        is_holding: frames are written, and do not arrive before `release`.
        user: who the next connections are of.
        new_token: as in `WayIn`; what comes by it is renewed.
        expires: seconds that the next connections may last, and that a renewal gives.
    """

    url = "https://fake"

    def __init__(self) -> None:
        self.epoch = "one"
        self.log: dict[str, list[dict[str, Any]]] = {}
        self.trimmed: dict[str, int] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.connections: list[FakeTransport] = []
        self.requests: list[dict[str, Any]] = []
        self.openings: list[float] = []
        self.doors: deque[Exception] = deque()
        self.refusals: dict[str, list[dict[str, Any]]] = {}
        self.deaf_to: set[str] = set()
        self.mangle: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda frame: [frame]
        self.is_silent = False
        self.is_holding = False
        self.is_old = False
        self.marks: dict[str, int] = {}
        self.count = 2
        self.has_left = False
        self.page = 200
        self.limits: dict[str, Any] = {}
        self.heartbeat = {"interval": 0, "timeout": 0}
        self.user = "percy"
        self.new_token: Callable[[], Awaitable[str]] | None = None
        self.expires: float | None = None

    # The way in

    async def open(self) -> Transport:
        self.openings.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        if self.doors:
            raise self.doors.popleft()
        transport = FakeTransport(self)
        self.connections.append(transport)
        self.is_silent = self.is_holding = False
        welcome = {"user": self.user, "limits": self.limits, "heartbeat": self.heartbeat}
        transport.push("welcome", welcome | self.lasting())
        return transport

    async def leave(self) -> None:
        self.has_left = True

    # What a test does with it

    def say(self, room: str, text: str, by: str = "alice", *, heard: bool = True) -> dict[str, Any]:
        """Somebody says something; `heard` or not by those who are connected."""
        log = self.log.setdefault(room, [])
        payload = {"room": room, "seq": len(log) + 1, "from": by, "message": text, "sent": SENT}
        log.append(payload)
        for connection in self.connections if heard else ():
            if room in connection.rooms:
                connection.push("new_message", payload)
        return payload

    def drop(self, code: int = 1006, reason: str = "") -> None:
        """End every connection."""
        for connection in list(self.connections):
            connection.end(code, reason)

    def release(self) -> None:
        """Let what was held arrive, and hold no more."""
        self.is_holding = False
        for connection in self.connections:
            connection.release()

    def push(self, type_: str, payload: dict[str, Any]) -> None:
        """Write an event to everyone."""
        for connection in self.connections:
            connection.push(type_, payload)

    def start_anew(self, epoch: str) -> None:
        """Lose all that was kept."""
        self.epoch = epoch
        self.log.clear()
        self.trimmed.clear()

    def asked(self, type_: str) -> list[dict[str, Any]]:
        """The payloads of all requests of a type."""
        return [request["payload"] for request in self.requests if request["type"] == type_]

    # Requests

    def take(self, connection: FakeTransport, request: dict[str, Any]) -> None:
        self.requests.append(request)
        type_, payload, id_ = request["type"], request["payload"], request.get("id")
        refusals = self.refusals.get(type_)
        if refusals:
            connection.push("error", refusals.pop(0), id_)
            return
        if type_ in OF_MEMBERS and payload["room"] not in connection.rooms:
            connection.push("error", refusal("not_in_room"), id_)
            return
        answer = getattr(self, f"do_{type_}", self.do_other)(connection, payload)
        if id_ is not None and type_ not in self.deaf_to:
            connection.push("ack", answer, id_)
        if type_ == "send_message" and answer.pop("is_new"):
            for each in self.connections:
                if payload["room"] in each.rooms:
                    each.push("new_message", self.log[payload["room"]][-1])

    def do_send_message(self, _connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        is_new = payload["key"] not in self.keys
        if is_new:
            said = self.say(payload["room"], payload["message"], "percy", heard=False)
            self.keys[payload["key"]] = {name: said[name] for name in ("room", "seq", "sent")}
        return {**self.keys[payload["key"]], "is_new": is_new}

    def do_join_room(self, connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        room, since = payload["room"], payload.get("since")
        connection.rooms.add(room)
        log, trimmed = self.log.get(room, []), self.trimmed.get(room, 0)
        recovered = since is not None and since["epoch"] == self.epoch and trimmed <= since["seq"] <= len(log)
        messages = log[since["seq"] :] if since and recovered else log[trimmed:][-payload.get("history", 50) :]
        return {
            "room": room,
            "epoch": self.epoch,
            "seq": len(log),
            "recovered": recovered,
            "messages": messages,
            "members": ["alice", "percy"],
        } | ({} if self.is_old else {"read": self.marks.get(room, 0), "count": self.count})

    def do_leave_room(self, connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        connection.rooms.discard(payload["room"])
        return {"room": payload["room"]}

    def do_history(self, _connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        room, limit = payload["room"], min(self.page, payload["limit"])
        kept = self.log.get(room, [])[self.trimmed.get(room, 0) :]
        if "after" in payload:
            found = [each for each in kept if each["seq"] > payload["after"]]
            messages = found[:limit]
        else:
            found = [each for each in kept if each["seq"] < payload.get("before", len(kept) + 1)]
            messages = found[-limit:]
        return {"room": room, "epoch": self.epoch, "messages": messages, "more": len(found) > len(messages)}

    def do_presence(self, _connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        return {"room": payload["room"], "members": ["alice", "percy"]} | ({} if self.is_old else {"count": self.count})

    def do_mark_read(self, _connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        room = payload["room"]
        self.marks[room] = min(len(self.log.get(room, [])), max(self.marks.get(room, 0), payload["seq"]))
        return {"room": room, "seq": self.marks[room]}

    def do_renew(self, _connection: FakeTransport, _payload: dict[str, Any]) -> dict[str, Any]:
        return self.lasting()

    def lasting(self) -> dict[str, Any]:
        """How long a connection may last, as the server tells it."""
        return {} if self.expires is None else {"expires": self.expires}

    def do_other(self, _connection: FakeTransport, payload: dict[str, Any]) -> dict[str, Any]:
        return {"did": payload}


def client(server: FakeServer, **options: Any) -> Connection:
    """A client of a fake server; its pauses are half of what they can be."""
    return Connection(server, backoff=Backoff(random=lambda: 0.5), **options)


@contextmanager
def mangling(server: FakeServer, mangle: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> Iterator[None]:
    """Let a server's frames come otherwise for a while."""
    before, server.mangle = server.mangle, mangle
    try:
        yield
    finally:
        server.mangle = before
