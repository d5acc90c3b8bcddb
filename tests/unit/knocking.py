"""A second door without a server, from the first frame of a connection on: the other end of such connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hubbub import Hub
from hubbub.door.door import CentrifugoDoor
from hubbub.door.namespaces import Namespace, Namespaces
from hubbub.door.session import Carriage, DoorSession
from hubbub.door.settings import DoorSettings, Hidden, TokenSettings
from hubbub.engine import Engine
from hubbub.policy import Places
from hubbub.tasks import Tasks
from hubbub.testing import Stage, at_work
from hubbub.wire.reader import Readers
from hubbub.wire.websocket import WireSettings

__all__ = ["PING_S", "PLACES", "SECRET", "Knocker", "Porch", "porch", "token"]

SECRET = "the secret of the door, which is long"
PLACES = 100
PING_S = 9


def token(secret: str = SECRET, **claims: Any) -> str:
    """A connection token."""
    signed = b".".join(in_base64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
    return (signed + b"." + in_base64(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


def in_base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Knocker:
    """A connection's other end (`session.DoorSocket`).

    Attributes:
        written: what was written and not taken yet.
        closed: the code that it was closed with; None while it is open.
        reason: and the reason.
        is_reading: whether anything is read of it.
        is_watched: whether it is asked for signs of life.
    """

    def __init__(self, porch: Porch, carriage: Carriage, address: str) -> None:
        self.written: list[bytes] = []
        self.closed: int | None = None
        self.reason = ""
        self.outbox_size = 0
        self.is_reading = True
        self.is_watched = False
        self._porch = porch
        assert porch.places.take(address) is None
        self.session = DoorSession(porch.door.around, carriage, address)
        self.session.attach(self)

    # What it says

    def say(self, *commands: dict[str, Any]) -> None:
        """Send commands in one frame."""
        self.session.receive_text("\n".join(json.dumps(command) for command in commands))

    async def connect(self, **request: Any) -> dict[str, Any]:
        """Send `connect`; its result."""
        answer = await self.ask(connect=request)
        assert "connect" in answer, answer
        result: dict[str, Any] = answer["connect"]
        return result

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a command with the id 1; what is written then."""
        self.say({"id": 1, **request})
        await self._porch.settle()
        (answer,) = self.take()
        return answer

    def is_open(self) -> bool:
        """Whether it was not closed."""
        return self.closed is None

    # What it hears

    def take(self) -> list[dict[str, Any]]:
        """What was written since the last look."""
        written, self.written = self.written, []
        return [json.loads(text) for text in written]

    def hang_up(self) -> None:
        """Be gone."""
        code = self.closed
        self.session.closed(code or 1006, self.reason, by_us=code is not None)

    # What a session calls

    def write(self, data: bytes) -> None:
        assert self.closed is None, "nothing is written after a CLOSE"
        self.written.append(data)

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed, self.reason = code, reason
            self.session.closing()

    def watch(self) -> None:
        self.is_watched = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Porch:
    """A hub with a second door.

    Attributes:
        places: those of connections.
    """

    def __init__(self, stage: Stage, settings: DoorSettings) -> None:
        self.stage = stage
        self.core = stage.core
        self.clock = stage.clock
        self.places = Places(PLACES, 0)
        self.tasks = Tasks()
        wire = WireSettings(0, Readers(0))
        self.door = CentrifugoDoor(stage.core, settings, self.places, wire, self.tasks)
        self.json = Carriage(self.door.json, plain, ping=PING_S)

    def knock(self, address: str = "10.0.0.1", *, carriage: Carriage | None = None) -> Knocker:
        """Open a connection."""
        return Knocker(self, carriage or self.json, address)

    async def guest(self, user: str = "7", **claims: Any) -> Knocker:
        """A connection that is let in."""
        knocker = self.knock()
        await knocker.connect(token=token(sub=user, **claims))
        return knocker

    async def settle(self) -> None:
        """Wait until nothing is left to be done."""
        while self.tasks:
            await self.tasks.wait()
        await self.core.drained()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and end what is over then."""
        self.clock.go(seconds)
        self.door.tick()


def plain(text: bytes) -> bytes:
    """A text as it is."""
    return text


@asynccontextmanager
async def porch(
    hub: Hub | None = None, *, engine: Engine | None = None, namespace: Namespace | None = None, **door: Any
) -> AsyncIterator[Porch]:
    """Open a second door while the block runs.

    Args:
        namespace: the options of all channels.
        door: its settings.
    """
    settings = DoorSettings(
        namespaces=Namespaces(namespace or Namespace()),
        tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)),
        **door,
    )
    async with at_work(hub, engine=engine) as stage:
        yield Porch(stage, settings)
