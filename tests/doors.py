"""A hub with a second door and without a server: clients of the door, who send commands and take what is written."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from hubbub import Hub
from hubbub.core import Core
from hubbub.door.client import DoorClient
from hubbub.door.dialect import DoorDialect, JsonDialect
from hubbub.door.floor import DoorFloor
from hubbub.door.namespaces import Namespace, Namespaces
from hubbub.door.settings import DoorSettings, Hidden, TokenSettings
from hubbub.door.tokens import DoorTokens
from hubbub.engine import Engine
from hubbub.policy import Rate, RateLimit
from hubbub.testing import Clock, Guest, Stage, at_work

__all__ = ["OPEN", "SECRET", "Caller", "DoorStage", "door_at_work"]

SECRET = "the secret of the door, long enough for SHA-512, which wants 64 bytes"

# Everything may be done.
OPEN = Namespace(
    presence=True,
    join_leave=True,
    history_size=10_000,
    history_ttl=3600.0,
    allow_subscribe_for_client=True,
    allow_publish_for_client=True,
    allow_presence_for_client=True,
    allow_history_for_client=True,
    allow_positioning=True,
    allow_recovery=True,
)


class Caller(Guest):
    """A client of the door, and the other end of its connection."""

    client: DoorClient

    def __init__(self, core: Core, client: DoorClient) -> None:
        super().__init__(core, client)
        self._numbers = itertools.count(1)
        self._heard: list[dict[str, Any]] = []

    @property
    def id(self) -> str:
        """The name of the connection."""
        return self.client.id

    def send(self, **request: Any) -> int:
        """Send a command without waiting for what it brings about; its id."""
        id_ = next(self._numbers)
        (asked,) = self.client.dialect.read(json.dumps({"id": id_, **request}))
        assert asked is not None
        self._core.dispatch.receive(self.client, asked)  # type: ignore[arg-type]
        return id_

    async def reply(self, **request: Any) -> dict[str, Any]:
        """Send a command; its reply without the id, once all that it brings about has happened."""
        id_ = self.send(**request)
        await self._core.drained()
        self._take_in()
        for text in self._heard:
            if text.get("id") == id_:
                self._heard.remove(text)
                del text["id"]
                return text
        raise AssertionError(f"{request} was not answered; heard was {self._heard}")

    async def subscribe(self, channel: str, **more: Any) -> dict[str, Any]:
        """Subscribe; the result."""
        answer = await self.reply(subscribe={"channel": channel, **more})
        assert "subscribe" in answer, answer
        result: dict[str, Any] = answer["subscribe"]
        return result

    async def turned_down(self, **request: Any) -> int:
        """The number of the error that a command is answered with."""
        answer = await self.reply(**request)
        assert "error" in answer, answer
        number: int = answer["error"]["code"]
        return number

    async def pushes(self) -> list[dict[str, Any]]:
        """What was pushed since the last look, once the hub has nothing left to do."""
        await self._core.drained()
        await asyncio.sleep(0)  # who comes and goes is told in the next turn of the loop
        await self._core.drained()
        self._take_in()
        pushed = [text["push"] for text in self._heard if "push" in text]
        self._heard = [text for text in self._heard if "push" not in text]
        return pushed

    async def publications(self) -> list[Any]:
        """The data of what was published since the last look, and was pushed."""
        return [push["pub"]["data"] for push in await self.pushes() if "pub" in push]

    def _take_in(self) -> None:
        self._heard += self._events()


class DoorStage(Stage):
    """A hub at work that has a second door."""

    floor: DoorFloor
    dialect: DoorDialect
    ends: list[tuple[DoorClient, str]]

    async def caller(
        self, user: str, *, info: bytes = b"", dialect: DoorDialect | None = None, rate: float = 0
    ) -> Caller:
        """Let a client in, as if its user had a token."""
        purses = self.core.budgets.purses(user, None, self.clock())
        limit = Rate(RateLimit(rate, self.settings.client_burst), self.clock(), purses) if rate else None
        client = DoorClient(
            user,
            f"session of {user}",
            dialect or self.dialect,
            line,
            self.floor.handlers,
            id_=f"{user or 'anonymous'}-{next(IDS)}",
            conn_info=info,
            rate=limit,
            purses=purses,
        )
        await self.core.connect(client)
        caller = Caller(self.core, client)
        client.attach(caller)
        return caller


IDS = itertools.count(1)


def line(text: bytes) -> bytes:
    """A text as a line."""
    assert b"\n" not in text
    return text + b"\n"


@asynccontextmanager
async def door_at_work(
    *namespaces: Namespace,
    without: Namespace = OPEN,
    hub: Hub | None = None,
    engine: Engine | None = None,
    clock: Clock | None = None,
    door: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[DoorStage]:
    """Run a hub with a second door while the block runs.

    Args:
        namespaces: by name; and `without`, the options of channels of no namespace.
        door: more of its settings.
        settings: of the hub.
    """
    configured = DoorSettings(
        namespaces=Namespaces(without, namespaces),
        tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)),
        subscription_tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)),
        **(door or {}),
    )
    async with at_work(hub, engine=engine, clock=clock, **settings) as stage:
        found = DoorStage(stage.hub, stage.core, stage.engine, stage.clock)
        core = stage.core
        found.ends = []
        found.floor = DoorFloor(
            core,
            configured,
            DoorTokens(configured, core.wall, core.now),
            lambda client, channel: found.ends.append((client, channel)),
        )

        def shows_offset(channel: str) -> bool:
            namespace = configured.namespaces.of(channel)
            return namespace is not None and namespace.has_history

        found.dialect = JsonDialect(shows_offset)
        yield found


def raw(value: Any) -> msgspec.Raw:
    """JSON, as it is in a request."""
    return msgspec.Raw(json.dumps(value).encode())
