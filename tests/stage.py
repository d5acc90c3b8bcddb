"""A hub on the memory engine, and clients with pretended sockets: the rules without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hubbub.client import Client, Dialect
from hubbub.engine import Engine
from hubbub.engine.memory import MemoryEngine
from hubbub.hub import Hub
from hubbub.policy import Rate, RateLimit
from hubbub.settings import Settings
from hubbub.wire.dialects import CLASSIC

__all__ = ["Clock", "FakeSocket", "Stage", "events_in", "stage"]


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


class FakeSocket:
    """Takes what is written; `outbox_size` is what the test says."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.outbox_size = 0
        self.closed: tuple[int, str] | None = None
        self.is_reading = True
        self.is_broken = False

    def write(self, data: bytes) -> None:
        if self.is_broken:
            raise RuntimeError("the transport is closed")
        self.written.append(data)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def close_code(self) -> int | None:
        return self.closed[0] if self.closed else None

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def take(self) -> list[dict[str, Any]]:
        """The events written since the last look."""
        data, self.written = b"".join(self.written), []
        return events_in(data)


def events_in(data: bytes) -> list[dict[str, Any]]:
    """The events in a run of server frames, each a whole text message."""
    events = []
    while data:
        assert data[0] == 0x81, "a whole text message"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        events.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return events


class Stage:
    """A running hub, and its clients."""

    def __init__(self, hub: Hub, engine: Engine, clock: Clock, settings: Settings) -> None:
        self.hub = hub
        self.engine = engine
        self.clock = clock
        self.settings = settings

    async def client(
        self, user: str, dialect: Dialect = CLASSIC, *, session: str = "", echo: bool = True, rate: float = 0
    ) -> tuple[Client, FakeSocket]:
        """A connected client, and the socket that it writes to."""
        limit = Rate(RateLimit(rate, self.settings.client_burst), self.clock()) if rate else None
        client = Client(user, session or f"session of {user}", dialect, echo=echo, rate=limit)
        await self.hub.connect(client)
        socket = FakeSocket()
        client.attach(socket)
        return client, socket

    async def say(self, client: Client, type_: str, payload: object, id_: object = None) -> None:
        """Send an event as a client, and wait until all that it brings about has happened."""
        self.send(client, type_, payload, id_)
        await self.settle()

    def send(self, client: Client, type_: str, payload: object, id_: object = None) -> None:
        """Send an event as a client."""
        envelope = {"type": type_, "payload": payload} | ({} if id_ is None else {"id": id_})
        self.hub.receive(client, json.dumps(envelope))

    async def settle(self) -> None:
        """Wait until the hub has nothing left to do."""
        await self.hub.drained()


@asynccontextmanager
async def stage(hub: Hub | None = None, engine: Engine | None = None, **settings: Any) -> AsyncIterator[Stage]:
    """A hub at work."""
    clock = Clock()
    engine = engine or MemoryEngine(clock=clock, wall=clock)
    hub = hub or Hub()
    chosen = replace(Settings(), **settings)
    hub.bind(engine, chosen, clock, clock)
    await engine.open(hub.deliver)
    pump = asyncio.get_running_loop().create_task(hub.pump.run())
    try:
        yield Stage(hub, engine, clock, chosen)
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        await engine.close()
