"""A v1 client that talks, resumes through any fault, and checks all that it is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from chaos.room_view import RoomView

__all__ = ["ANSWER_S", "Acked", "Gone", "Unauthorized", "Witness", "post"]

LOST = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError, TimeoutError)

HOST = "127.0.0.1"
OPEN_S = 20.0
# Seconds that everything is answered within, an `unavailable` included.
ANSWER_S = 30.0
# Of the messages, one in so many has no key.
KEYLESS = 10


class Gone(Exception):
    """The connection was lost before the answer came."""


class Unauthorized(Exception):
    """The server does not know the session."""


@dataclass(frozen=True)
class Acked:
    """A message as it was acked, and how often its sender had then been told that something may be lost."""

    room: str
    seq: int
    text: str
    changes: int


@dataclass
class Unacked:
    """A message that is still to be acked.

    Attributes:
        is_doubtful: whether it may have come into the log by a request whose answer was lost or `unavailable`.
    """

    room: str
    text: str
    key: str | None
    is_doubtful: bool = False


class Witness:
    """One client.

    Args:
        ports: where the nodes listen that it connects to, in turn.
        token: of its session.

    Attributes:
        ports, port: where it connects to, and where it is now.
        acked: what it was acked.
        faults: what broke a promise.
        unacked: what it is saying now.
        is_talking: whether it says new things; what is unacked is said again in any case.
        visits: how often it has tried to connect.
        pause_s: about how long it waits between two messages.
        counts: `unavailable` answers, `refused` connections, `closed 4001`, `reconnect` events.
        slowest_s: how long an answer took at most.
        patience_s: how long an answer may take.
    """

    def __init__(self, name: str, user: str, token: str, ports: Sequence[int], rooms: Sequence[str]) -> None:
        self.name = name
        self.user = user
        self.views = {room: RoomView(room, self._complainer(room)) for room in rooms}
        self.acked: list[Acked] = []
        self.faults: list[str] = []
        self.unacked: Unacked | None = None
        self.is_talking = True
        self.pause_s = 1.0
        self.counts: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.patience_s = ANSWER_S
        self.typed: set[tuple[str, str]] = set()
        self.ports = list(ports)
        self.port = self.ports[0]
        self._token = token
        self.visits = 0
        self._said = 0
        self._ids = 0
        self._asked: dict[str, tuple[asyncio.Future[dict[str, Any] | None], Callable[[Mapping[str, Any]], None]]] = {}
        self._connection: ClientConnection | None = None

    @property
    def is_in(self) -> bool:
        """Whether it is in all of its rooms."""
        return all(view.is_in for view in self.views.values())

    async def live(self) -> None:
        """Connect and talk, again and again, until cancelled."""
        while True:
            try:
                await self._visit()
            except ConnectionRefusedError:
                self.counts["refused"] += 1
            except Unauthorized as error:
                self.faults.append(f"{self.name}: {error}")
            except LOST as error:
                self.counts[f"lost: {type(error).__name__}"] += 1
            await asyncio.sleep(random.uniform(0.05, 0.4))

    async def ask(
        self, type_: str, payload: object, take: Callable[[Mapping[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Ask something; the event that answers.

        Args:
            take: is given the payload of an ack as it comes.

        Raises:
            Gone: there is no connection any more.
        """
        if self._connection is None:
            raise Gone
        self._ids += 1
        id_ = str(self._ids)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer: asyncio.Future[dict[str, Any] | None] = loop.create_future()
        self._asked[id_] = answer, take
        try:
            await self._connection.send(msgspec.json.encode({"type": type_, "id": id_, "payload": payload}), text=True)
            async with asyncio.timeout(self.patience_s):
                event = await answer
        except TimeoutError:
            self.faults.append(f"{self.name}: {type_} was not answered within {self.patience_s:g} s")
            raise Gone from None
        except ConnectionClosed:
            raise Gone from None
        finally:
            self._asked.pop(id_, None)
        if event is None:
            raise Gone
        self.slowest_s = max(self.slowest_s, loop.time() - began)
        if event["type"] == "error":
            code = event["payload"]["code"]
            self.counts[code] += 1
            if code != "unavailable":
                self.faults.append(f"{self.name}: {type_} is answered {event}")
        return event

    # One connection

    async def _visit(self) -> None:
        port = self.port = self.ports[self.visits % len(self.ports)]
        self.visits += 1
        status, answer = await post(port, "/otp", token=self._token)
        if status == 401:
            raise Unauthorized("its session is not known any more")
        if status != 200:
            self.counts[f"/otp {status}"] += 1
            return
        protocols: Any = ["hubbub.v1", f"otp.{answer['otp']}"]
        url = f"ws://{HOST}:{port}/ws"
        async with connect(
            url,
            subprotocols=protocols,
            ping_interval=None,
            compression=None,
            open_timeout=OPEN_S,
            close_timeout=0.1,
            max_size=None,
        ) as connection:
            self._connection = connection
            talking = asyncio.create_task(self._talk())
            try:
                async for frame in connection:
                    self._take(msgspec.json.decode(frame))
            finally:
                self._leave()
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
                if not talking.cancelled() and not isinstance(error := talking.exception(), Gone | None):
                    self.faults.append(f"{self.name}: {error!r}")
                if connection.close_code is not None:
                    self.counts[f"closed {connection.close_code}"] += 1

    def _leave(self) -> None:
        self._connection = None
        for view in self.views.values():
            view.is_in = False
        asked, self._asked = self._asked, {}
        for answer, _ in asked.values():
            if not answer.done():
                answer.set_result(None)
        if self.unacked is not None:
            self.unacked.is_doubtful = True
            if self.unacked.key is None:
                self.unacked = None

    def _take(self, event: dict[str, Any]) -> None:
        payload = event.get("payload", {})
        match event["type"]:
            case "ack" | "error":
                answer, take = self._asked.get(event.get("id", ""), (None, None))
                if answer is not None and take is not None and not answer.done():
                    if event["type"] == "ack":
                        take(payload)
                    answer.set_result(event)
            case "new_message":
                self._hear(payload)
            case "reconnect":
                self.counts["reconnect"] += 1
            case "welcome":
                pass
            case type_ if payload["room"] in self.views:
                self._note(type_, self.views[payload["room"]], payload)

    def _note(self, type_: str, view: RoomView, payload: Mapping[str, Any]) -> None:
        """Take what else is told of one of its rooms."""
        match type_:
            case "member_joined":
                view.members.add(payload["user"])
            case "member_left":
                view.members.discard(payload["user"])
            case "epoch":
                self.counts["epoch"] += 1
                view.go_on(payload["epoch"], payload["seq"])
            case "typing":
                if payload["on"]:
                    self.typed.add((view.room, payload["user"]))
            case "read" | "room_changed":  # of others, and of the user's own on another connection
                pass
            case _:
                self.faults.append(f"{self.name}: {type_} {payload}")

    def _hear(self, message: Mapping[str, Any]) -> None:
        unacked = self.unacked
        if unacked is not None and unacked.text == message["message"] and not unacked.is_doubtful:
            self.faults.append(f"{self.name}: its own {unacked.text!r} came before its ack")
        self.views[message["room"]].hear(message)

    # Talking

    async def _talk(self) -> None:
        for view in self.views.values():
            while (await self.ask("join_room", view.request, view.joined))["type"] == "error":
                await asyncio.sleep(random.uniform(0.1, 0.5))
        while True:
            if self.unacked is None:
                await asyncio.sleep(random.uniform(0.5, 1.5) * self.pause_s)
                if not self.is_talking:
                    continue
                self._say_new()
            await self._say()

    def _say_new(self) -> None:
        self._said += 1
        text = f"{self.name} says {self._said}"
        self.unacked = Unacked(random.choice(list(self.views)), text, text if self._said % KEYLESS else None)

    async def _say(self) -> None:
        unacked = self.unacked
        assert unacked is not None

        def take(payload: Mapping[str, Any]) -> None:
            view = self.views[unacked.room]
            self.acked.append(Acked(unacked.room, payload["seq"], unacked.text, view.changes))
            self.unacked = None

        key = {} if unacked.key is None else {"key": unacked.key}
        event = await self.ask("send_message", {"room": unacked.room, "message": unacked.text} | key, take)
        if event["type"] == "error":
            unacked.is_doubtful = True
            if unacked.key is None:
                self.unacked = None
            await asyncio.sleep(random.uniform(0.1, 0.5))

    def _complainer(self, room: str) -> Callable[[str], None]:
        return lambda what: self.faults.append(f"{self.name}, {room}: {what}")


async def post(port: int, path: str, body: object = None, *, token: str = "") -> tuple[int, Any]:
    """The status and the JSON of a POST.

    Raises:
        OSError, EOFError, TimeoutError: there was no answer.
    """
    data = b"" if body is None else msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    async with asyncio.timeout(OPEN_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(head.encode() + b"\r\n" + data)
            answer = await reader.read()
        finally:
            writer.transport.abort()
    first, _, rest = answer.partition(b"\r\n")
    if not first:
        raise EOFError
    text = rest.partition(b"\r\n\r\n")[2]
    return int(first.split()[1]), msgspec.json.decode(text) if text else None
