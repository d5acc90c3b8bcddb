"""The promises of the protocol, where another server has the WebSockets: by ASGI messages, and queues of our own."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import hubbub
from asgi_server import AsgiSocket
from contract.test_promises import Promises, relaying, slow_enough
from gates import Gate, turns
from hubbub.engine import Grant
from hubbub.http.site import read_site
from hubbub.mount import websocket
from hubbub.mount.mounted import Mounted
from hubbub.mount.service import MountedService
from hubbub.settings import Settings
from hubbub.testing import V1, Clock, Guest, Stage

SITE = functools.cache(read_site)

# Bytes that wait for a client before it is slow, and before it is fed from the log: a handful of messages.
SLOW, FULL = 400, 1500

# Turns of the loop that anything takes that waits for no client.
MANY = 10_000


class MountedGuest(Guest):
    """A client of the hub at the other end of an ASGI server's WebSocket."""

    def __init__(self, stage: MountedStage, socket: AsgiSocket) -> None:
        self._socket = socket
        self._stage = stage

    def say(self, type_: str, payload: object, id_: object = None) -> None:
        self._socket.say(type_, payload, id_)

    def take(self) -> list[dict[str, Any]]:
        taken = [
            event for event in self._socket.taken if event["type"] not in ("welcome", "room_added", "room_changed")
        ]
        self._socket.taken.clear()
        return taken

    def hang_up(self) -> None:
        self._socket.gate.open()
        self._socket.coming.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def read_slowly(self) -> None:
        self._socket.gate.close()

    def read_on(self) -> None:
        self._socket.gate.open()

    @property
    def is_idle(self) -> bool:
        """Whether all that it has said has come to the hub, and all that it is to hear to it."""
        return self._socket.coming.empty() and (
            bool(self._socket.gate.waiting) or not self._stage.waits_for(self._socket)
        )

    @property
    def close_code(self) -> int | None:
        return self._socket.closed[0] if self._socket.closed else None


class MountedStage(Stage):
    """A mounted hub, and its clients."""

    def __init__(self, chat: Mounted, service: MountedService) -> None:
        super().__init__(chat._hub, service._core, service._engine, Clock())
        self._chat = chat
        self._service = service
        self.guests: list[MountedGuest] = []
        self._sockets: dict[AsgiSocket, object] = {}

    async def client(self, user: str, dialect: Any = V1, **_more: Any) -> Guest:
        otp = await self._service._credentials._otps.issue(Grant(user, f"session of {user}", is_kept=False))
        subprotocols = ["hubbub.v1"] if dialect is V1 else []
        known = set(self._service._wire.sockets)
        socket = await AsgiSocket(self._chat, subprotocols=[*subprotocols, f"otp.{otp}"]).opened()
        assert socket.refused is None, socket.refused
        [self._sockets[socket]] = set(self._service._wire.sockets) - known
        guest = MountedGuest(self, socket)
        self.guests.append(guest)
        return guest

    def waits_for(self, socket: AsgiSocket) -> bool:
        """Whether something waits for a client."""
        link = self._sockets[socket]
        assert isinstance(link, websocket.AsgiWebSocket)
        return link in self._service._wire.sockets and bool(link.outbox_size)

    async def settle(self, *, may_wait: bool = True) -> None:
        """Let everything happen; with `may_wait`, the end of handlers too."""
        rests = 0
        for _ in range(MANY):
            if may_wait:
                await self.core.drained()
            await turns(3)
            rests = rests + 1 if all(guest.is_idle for guest in self.guests) else 0
            if rests == 2:
                return
        raise AssertionError("it does not come to rest")


class MountedPromises(Promises):
    """The same through an ASGI server, whose clients are slow where their server does not take what is sent."""

    async def start(self) -> Stage:
        self.gate = Gate(is_open=False)
        for name, value in (("HIGH_WATER", SLOW), ("LOW_WATER", SLOW // 4)):
            self.life.enter_context(patch.object(websocket, name, value))
        self.life.enter_context(patch.object(websocket, "CLOSE_TIMEOUT_S", 0.05))  # nobody reads slowly any more
        self.life.enter_context(patch("hubbub.drain.HANDLERS_S", 0.0))
        self.life.enter_context(patch("hubbub.drain.MIN_HANDLERS_S", 0.0))
        self.life.enter_context(patch("hubbub.service.read_site", SITE))
        self.life.enter_context(patch("hubbub.mount.mounted.tell_setup"))
        settings = Settings(
            engine=self.url.format(Path(self.folder.name)),
            data_dir=Path(self.folder.name),
            client_rate=0,
            max_outbox=FULL,
            log_level="error",
        )
        chat = hubbub.asgi(relaying(self.gate), settings)
        service = await self.life.enter_async_context(chat.at_work())
        assert isinstance(service, MountedService)
        return MountedStage(chat, service)

    async def settle(self) -> None:
        assert isinstance(self.stage, MountedStage)
        await self.stage.settle(may_wait=False)  # what was said has come to the hub
        await super().settle()
        await self.stage.settle(may_wait=not self.gate.waiting)

    async def hang_up(self, guest: Guest) -> None:
        guest.hang_up()
        assert isinstance(guest, MountedGuest)
        await guest._socket.task
        assert isinstance(self.stage, MountedStage)
        self.stage.guests.remove(guest)


MountedPromises.TestCase.settings = slow_enough
TestMounted = pytest.mark.thorough(MountedPromises.TestCase)
