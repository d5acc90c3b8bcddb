"""The door, put together: what is configured of it, and what its connections share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import structlog

from hubbub.client import Frame
from hubbub.core import Core
from hubbub.door.calls import handler_for
from hubbub.door.client import DoorClient
from hubbub.door.codes import CLOSES, DoorClose
from hubbub.door.commands import Empty
from hubbub.door.desk import open_desk
from hubbub.door.dialect import JsonDialect
from hubbub.door.entering import Entering
from hubbub.door.expiry import DoorExpiry
from hubbub.door.floor import DoorFloor
from hubbub.door.origins import origins_like
from hubbub.door.protobuf_dialect import ProtobufDialect
from hubbub.door.session import Carriage, DoorSession, Surroundings
from hubbub.door.settings import DoorSettings
from hubbub.door.strangers import Strangers
from hubbub.door.streams import Handle, Streams
from hubbub.door.tokens import DoorTokens
from hubbub.handlers import Handler
from hubbub.policy import Places
from hubbub.tasks import Tasks
from hubbub.wire.deflated import Compression
from hubbub.wire.door import check_handshake
from hubbub.wire.frames import BINARY, TEXT, binary_frame, text_frame
from hubbub.wire.origins import Origins
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request
from hubbub.wire.upgrade import Opening, SideDoor
from hubbub.wire.websocket import WireSettings

__all__ = ["WEBSOCKET_PATH", "CentrifugoDoor"]

log = structlog.get_logger("hubbub.door")

WEBSOCKET_PATH = "/connection/websocket"

# The subprotocol by which clients ask for Protobuf.
PROTOBUF = "centrifuge-protobuf"

# Bytes of a frame: as many as Centrifugo takes.
MAX_FRAME = 64 * 1024


class CentrifugoDoor:
    """Lets in whoever speaks Centrifugo's protocol.

    Args:
        places: those of all connections of the server.
        wire: what the connections of the server's own protocol share.
        tasks: own what is asked before a connection is let in.
        compression: of WebSocket messages; None for none.

    Attributes:
        json, protobuf: how things look to its clients.
        origins: the pages that may speak to it.
        websocket: lets those in that come by a WebSocket.
        side_doors: ways in for WebSockets, by their paths.
        handlers: what the commands of clients are handled by.
        desk: answers back ends; None where none are to be.
        entering: lets clients in.
        expiry: ends what is not refreshed.
        strangers: who has not said who it is.
        around: what sessions share.
        streams: lets those in that have no WebSockets; None where nobody is let in so.
    """

    def __init__(
        self,
        core: Core,
        settings: DoorSettings,
        places: Places,
        wire: WireSettings,
        tasks: Tasks,
        compression: Compression | None = None,
    ) -> None:
        self.settings = settings
        self.core = core
        self.handlers: dict[str, Handler] = {}
        self.tokens = DoorTokens(settings, core.wall, core.now)
        self.expiry = DoorExpiry(settings.expired_close_delay, settings.expired_sub_close_delay, core.wall)
        self.strangers = Strangers(settings.stale_close_delay, core.now, core.settings.clients_limit)
        floor = DoorFloor(core, settings, self.tokens, self.expiry.note)
        self.expiry.unsubscribe = floor.subscribing.end
        self.handlers.update(floor.handlers)
        self.entering = Entering(core, settings, places, self.tokens, self.expiry, floor.subscribing, self.handlers)
        self.desk = open_desk(core, settings, floor, self.entering)
        self.around = Surroundings(
            core, core.dispatch, places, self.strangers, self.entering.enter, tasks, wire.readers.turnstile
        )
        self.json = JsonDialect(self._shows_offset)
        self.protobuf = ProtobufDialect(self._shows_offset)
        self.origins = Origins(core.settings, core.now, origins_like(settings.allowed_origins))
        self.handlers["connect"] = handler_for("connect", refuse_second)
        self.handlers["refresh"] = handler_for("refresh", self.entering.refresh)
        self.handlers["ping"] = handler_for("ping", answer_ping)
        self.websocket = WebSocketEntrance(self, wire, compression)
        self.side_doors: dict[str, SideDoor] = {WEBSOCKET_PATH: self.websocket} if settings.websocket else {}
        self.streams: Streams | None = None

    @property
    def ping_s(self) -> int:
        """Seconds between the server's pings, as clients are told; 0 for none."""
        return math.ceil(self.core.settings.heartbeat_interval)

    def _shows_offset(self, channel: str) -> bool:
        namespace = self.settings.namespaces.of(channel)
        return namespace is not None and namespace.has_history

    def begin(self) -> None:
        """Tell other nodes of this one; to be called once notices are heard."""
        if self.desk is not None:
            self.desk.begin()

    def tick(self) -> None:
        """End what has had its time; to be called a few times a second."""
        self.strangers.turn_out_late()
        self.expiry.end_late()
        if self.streams is not None:
            self.streams.emulation.tick()

    def open_streams(self, take_place: Callable[[str], None], wire: WireSettings) -> Mapping[str, dict[str, Handle]]:
        """Let clients in without WebSockets, where that is configured; what answers them, by path and method.

        Args:
            take_place: takes a place for a connection from an address, or raises `Denied`.
        """
        settings = self.settings
        if not (settings.http_stream or settings.sse):
            return {}
        self.streams = Streams(
            self.around,
            (self.json, self.protobuf),
            self.origins,
            take_place,
            wire,
            self.ping_s,
            has_http_stream=settings.http_stream,
            has_sse=settings.sse,
        )
        return self.streams.routes


class Format(NamedTuple):
    """One of the two formats, over WebSockets.

    Attributes:
        settings: what its connections share.
        subprotocol: by which clients ask for it; None for the one that they get otherwise.
    """

    carriage: Carriage
    settings: WireSettings
    opcode: int
    subprotocol: str | None


class Carried(NamedTuple):
    """A client whose WebSocket another server has.

    Attributes:
        is_binary: whether what it is written is bytes, joined as they are.
    """

    session: DoorSession
    is_binary: bool
    subprotocol: str | None


class WebSocketEntrance:
    """Answers requests for a WebSocket of the door (`upgrade.SideDoor`).

    Args:
        compression: of messages; None for none.

    Attributes:
        max_frame: bytes of a message, at most.
    """

    max_frame = MAX_FRAME

    def __init__(self, door: CentrifugoDoor, wire: WireSettings, compression: Compression | None) -> None:
        self._door = door
        self._compression = compression
        ping = door.ping_s if wire.wheel is not None else 0
        json = Carriage(door.json, text_frame, ping=ping)
        protobuf = Carriage(door.protobuf, binary_frame, is_binary=True, ping=ping)
        readers = Readers(MAX_FRAME, wire.readers.turnstile)
        shared = WireSettings(MAX_FRAME, readers, wire.wheel, wire.sockets, closes=CLOSES, watches_at_once=False)
        of_json = replace(shared, ping_frame=text_frame(door.json.ping))
        of_protobuf = replace(shared, ping_frame=binary_frame(door.protobuf.ping))
        self._json = Format(json, of_json, TEXT, None)
        self._protobuf = Format(protobuf, of_protobuf, BINARY, PROTOBUF)
        # Carriages of compressed messages, by their frames.
        self._compressed: dict[Frame, Carriage] = {}

    def carry(self, request: Request, frame: Frame) -> Carried:
        """Let a client in whose WebSocket another server has.

        Args:
            frame: how that carries texts.

        Raises:
            Denied: a page of a foreign origin sends the request.
        """
        self._door.origins.check(request)
        plain = (self._protobuf if asks_for_protobuf(request) else self._json).carriage
        carriage = plain._replace(frame=bytes if plain.is_binary else frame, ping=0)
        session = DoorSession(self._door.around, carriage, request.address)
        return Carried(session, plain.is_binary, PROTOBUF if offers_protobuf(request) else None)

    def receive(self, request: Request) -> Opening:
        key = check_handshake(request)
        self._door.origins.check(request)
        carriage, settings, opcode, subprotocol = self._protobuf if asks_for_protobuf(request) else self._json
        if self._compression is not None and "sec-websocket-extensions" in request.headers:
            settings = self._compression.settings_for(request, settings)
            carriage = self._carriage(carriage, self._compression.frame_for(request, opcode))
        session = DoorSession(self._door.around, carriage, request.address)
        return Opening(key, session, settings, subprotocol if offers_protobuf(request) else None)

    def _carriage(self, plain: Carriage, frame: Frame | None) -> Carriage:
        if frame is None:
            return plain
        if frame not in self._compressed:
            self._compressed[frame] = plain._replace(frame=frame)
        return self._compressed[frame]


def offers_protobuf(request: Request) -> bool:
    """Whether the client of a request has named the subprotocol of Protobuf, which is to be answered then."""
    return "sec-websocket-protocol" in request.headers and PROTOBUF in request.tokens("sec-websocket-protocol")


def asks_for_protobuf(request: Request) -> bool:
    """Whether the client of a request speaks Protobuf."""
    if request.query and "protobuf" in request.query:
        fields = request.query_fields()
        if any("protobuf" in fields.get(name, ()) for name in ("cf_protocol", "format")):
            return True
    return offers_protobuf(request)


# Commands that need nobody else


def refuse_second(_request: Any, client: DoorClient) -> None:
    """Close a connection that says twice who it is."""
    client.close(DoorClose.BAD_REQUEST, "bad request")


def answer_ping(_request: Any, client: DoorClient) -> Any:
    """Answer the command `ping`, which asks whether commands are answered."""
    return client.dialect.result("ping", Empty())
