"""The door, put together: what is configured of it, and what its connections share."""

from __future__ import annotations

import math
from typing import Any

import structlog

from hubbub.core import Core
from hubbub.door.calls import handler_for
from hubbub.door.client import DoorClient
from hubbub.door.codes import CLOSES, DoorClose
from hubbub.door.commands import Empty
from hubbub.door.dialect import JsonDialect
from hubbub.door.entering import Entering
from hubbub.door.expiry import DoorExpiry
from hubbub.door.floor import DoorFloor
from hubbub.door.session import Carriage, DoorSession, Surroundings
from hubbub.door.settings import DoorSettings
from hubbub.door.strangers import Strangers
from hubbub.door.tokens import DoorTokens
from hubbub.handlers import Handler
from hubbub.policy import Places
from hubbub.tasks import Tasks
from hubbub.wire.door import check_handshake
from hubbub.wire.frames import text_frame
from hubbub.wire.origins import Origins
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request
from hubbub.wire.upgrade import Opening, SideDoor
from hubbub.wire.websocket import WireSettings

__all__ = ["WEBSOCKET_PATH", "CentrifugoDoor"]

log = structlog.get_logger("hubbub.door")

WEBSOCKET_PATH = "/connection/websocket"

# Bytes of a frame: as many as Centrifugo takes.
MAX_FRAME = 64 * 1024


class CentrifugoDoor:
    """Lets in whoever speaks Centrifugo's protocol.

    Args:
        places: those of all connections of the server.
        wire: what the connections of the server's own protocol share.
        tasks: own what is asked before a connection is let in.

    Attributes:
        side_doors: ways in for WebSockets, by their paths.
        handlers: what the commands of clients are handled by.
        entering: lets clients in.
        expiry: ends what is not refreshed.
        strangers: who has not said who it is.
        around: what sessions share.
    """

    def __init__(self, core: Core, settings: DoorSettings, places: Places, wire: WireSettings, tasks: Tasks) -> None:
        self.settings = settings
        self.core = core
        self.handlers: dict[str, Handler] = {}
        self.tokens = DoorTokens(settings, core.wall, core.now)
        self.expiry = DoorExpiry(settings.expired_close_delay, settings.expired_sub_close_delay, core.wall)
        self.strangers = Strangers(settings.stale_close_delay, core.now)
        floor = DoorFloor(core, settings, self.tokens, self.expiry.note)
        self.expiry.unsubscribe = floor.subscribing.end
        self.handlers.update(floor.handlers)
        self.entering = Entering(core, settings, places, self.tokens, self.expiry, floor.subscribing, self.handlers)
        self.around = Surroundings(core, places, self.strangers, self.entering.enter, tasks)
        self.json = JsonDialect(self._shows_offset)
        self.handlers["connect"] = handler_for("connect", refuse_second)
        self.handlers["refresh"] = handler_for("refresh", self.entering.refresh)
        self.handlers["ping"] = handler_for("ping", answer_ping)
        self.side_doors: dict[str, SideDoor] = {}
        if settings.websocket:
            self.side_doors[WEBSOCKET_PATH] = WebSocketEntrance(self, wire)

    def _shows_offset(self, channel: str) -> bool:
        namespace = self.settings.namespaces.of(channel)
        return namespace is not None and namespace.has_history

    def tick(self) -> None:
        """End what has had its time; to be called a few times a second."""
        self.strangers.turn_out_late()
        self.expiry.end_late()


class WebSocketEntrance:
    """Answers requests for a WebSocket of the door (`upgrade.SideDoor`)."""

    def __init__(self, door: CentrifugoDoor, wire: WireSettings) -> None:
        self._around = door.around
        self._origins = Origins(door.core.settings, door.core.now)
        readers = Readers(MAX_FRAME, wire.readers.turnstile)
        ping = math.ceil(door.core.settings.heartbeat_interval) if wire.wheel is not None else 0
        self._json = Carriage(door.json, text_frame, ping=ping)
        self._of_json = WireSettings(
            MAX_FRAME,
            readers,
            wire.wheel,
            wire.sockets,
            ping_frame=text_frame(door.json.ping),
            closes=CLOSES,
            watches_at_once=False,
        )

    def receive(self, request: Request) -> Opening:
        key = check_handshake(request)
        self._origins.check(request)
        return Opening(key, DoorSession(self._around, self._json, request.address), self._of_json, None)


# Commands that need nobody else


def refuse_second(_request: Any, client: DoorClient) -> None:
    """Close a connection that says twice who it is."""
    client.close(DoorClose.BAD_REQUEST, "bad request")


def answer_ping(_request: Any, client: DoorClient) -> Any:
    """Answer the command `ping`, which asks whether commands are answered."""
    return client.dialect.result("ping", Empty())
