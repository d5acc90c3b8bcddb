"""A v1 client of the simplest kind that resumes: what the protocol promises, and nothing clever."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chaos.killable import Killable

__all__ = ["Resuming"]

ROOM = "general"
RETRY_S = 0.05
LOST = (ConnectionClosed, InvalidHandshake, OSError, EOFError, TimeoutError, HTTPException)


@dataclass
class Resuming:
    """Says one thing after the other, each as soon as the one before is acked, through any number of restarts.

    Attributes:
        heard: the seq and the text of all that it was shown, in the order that it was.
        acked: the seq that each of its texts was acked with.
        is_talking: whether it says new things; what is unacked is said again in any case.
    """

    server: Killable
    name: str
    token: str
    heard: list[tuple[int, str]] = field(default_factory=list)
    acked: dict[str, int] = field(default_factory=dict)
    is_talking: bool = True
    said: int = 0
    unacked: str | None = None
    epoch: str = ""
    last_seq: int = 0
    faults: list[str] = field(default_factory=list)

    async def live(self) -> None:
        """Connect and talk, again and again, until cancelled."""
        while True:
            try:
                await self._talk()
            except LOST:
                await asyncio.sleep(RETRY_S)

    async def _talk(self) -> None:
        otp = await asyncio.to_thread(self.server.otp, self.token)
        protocols: Any = ["hubbub.v1", f"otp.{otp}"]
        async with connect(self.server.ws_url, subprotocols=protocols, close_timeout=0.1) as connection:
            since = {"since": {"epoch": self.epoch, "seq": self.last_seq}} if self.epoch else {"history": 0}
            await self._send(connection, "join_room", "join", {"room": ROOM} | since)
            async for frame in connection:
                await self._hear(connection, json.loads(frame))

    async def _hear(self, connection: ClientConnection, event: dict[str, Any]) -> None:
        payload = event["payload"]
        if event["type"] == "new_message":
            self._note(payload)
        elif event["type"] == "ack" and event["id"] == "join":
            self._joined(payload)
            await self._say(connection)
        elif event["type"] == "ack":
            self.acked[event["id"]] = payload["seq"]
            self.unacked = None
            await self._say(connection)
        elif event["type"] == "error":
            self.faults.append(f"{self.name}: {event}")

    def _joined(self, payload: dict[str, Any]) -> None:
        if self.epoch and not (payload["recovered"] and payload["epoch"] == self.epoch):
            self.faults.append(
                f"{self.name} was not recovered: {payload['epoch']} {payload['seq']}, at {self.last_seq}"
            )
        if not self.epoch:
            self.epoch, self.last_seq = payload["epoch"], payload["seq"]
        for message in payload["messages"]:
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message["seq"] != self.last_seq + 1:
            self.faults.append(f"{self.name} heard {message['seq']} after {self.last_seq}")
        self.last_seq = message["seq"]
        self.heard.append((message["seq"], message["message"]))

    async def _say(self, connection: ClientConnection) -> None:
        if self.unacked is None and self.is_talking:
            self.said += 1
            self.unacked = f"{self.name} says {self.said}"
        if self.unacked is not None:
            await self._send(connection, "send_message", self.unacked, {"message": self.unacked, "key": self.unacked})

    async def _send(self, connection: ClientConnection, type_: str, id_: str, payload: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # the reader notices, and comes back
            await connection.send(json.dumps({"type": type_, "id": id_, "payload": payload}))
