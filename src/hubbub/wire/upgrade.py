"""From an upgrade request to a WebSocket, or to a refusal; and what stands between a connection and its client."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol, TypeVar

import structlog

from hubbub.client import Participant
from hubbub.core import Core
from hubbub.errors import CloseCode
from hubbub.logs import is_debugging
from hubbub.tasks import Tasks
from hubbub.wire.common import Common
from hubbub.wire.denial import Denied
from hubbub.wire.door import RETRY_AFTER_S, Door, unavailable
from hubbub.wire.refusals import UpgradeRefusals
from hubbub.wire.request import Request
from hubbub.wire.websocket import Receiver, WebSocket, WireSettings, open_websocket

__all__ = ["Entrant", "Opening", "SideDoor", "Upgrades", "Visitor", "note_left"]

log = structlog.get_logger("hubbub.wire")

# What a check of a request for a WebSocket gives.
Key = TypeVar("Key")

# Closes that need no one's attention: the peer left, its login ended, or we did.
EXPECTED = frozenset({1000, 1001, 1005, 1006, CloseCode.RESTART, CloseCode.SESSION_ENDED, CloseCode.TURNED_AWAY})


class Entrant(Receiver, Protocol):
    """Stands between a connection, which is there already, and whoever it will turn out to be."""

    def attach(self, socket: WebSocket) -> None:
        """Take up the connection."""
        ...

    def when_gone(self, call: Callable[[], None]) -> None:
        """Have something called when the connection is gone."""
        ...


class Opening(NamedTuple):
    """A request for a WebSocket that is to be answered with 101.

    Attributes:
        key: the request's Sec-WebSocket-Key.
        entrant: takes the connection, and gives its place back in the end.
        settings: what the connection shares with others.
        subprotocol: what is answered as Sec-WebSocket-Protocol.
    """

    key: bytes
    entrant: Entrant
    settings: WireSettings
    subprotocol: str | None


class SideDoor(Protocol):
    """Lets in whoever asks for a WebSocket at a path of its own, and says who it is afterwards."""

    def receive(self, request: Request) -> Opening:
        """Let a client in that has a place already.

        Raises:
            Denied: it is no request for a WebSocket, or a page of a foreign origin sends it.
        """
        ...


class Upgrades:
    """Answers requests for a WebSocket.

    Args:
        door: lets clients in.
        sockets: what their connections share.
        common: makes the headers of every answer.

    Attributes:
        side_doors: other ways in, by their paths; whoever opens one puts it here.
        tasks: the requests that are not answered yet.
    """

    def __init__(self, core: Core, door: Door, sockets: WireSettings, common: Common) -> None:
        self.tasks = Tasks()
        self.side_doors: Mapping[str, SideDoor] = {}
        self.core = core
        self.door = door
        self.sockets = sockets
        self.common = common
        self.refusals = UpgradeRefusals()

    def begin(self, transport: asyncio.Transport, request: Request) -> None:
        """Take over the transport of a request for a WebSocket."""
        Upgrade(self, transport, request)

    async def let_in(
        self, request: Request, door: Door, check: Callable[[Request], Key]
    ) -> tuple[Key, Participant, str | None]:
        """Let in whoever has a place already; what the check gave, the client, and the subprotocol to answer.

        The place is given back where nobody is let in.

        Args:
            check: checks all that needs no waiting.

        Raises:
            Denied: whatever comes of it.
        """
        try:
            return check(request), *await door.admit(request)
        except Denied:
            door.places.free(request.address)
            raise
        except (Exception, asyncio.CancelledError):  # a hook may let go of one of its own
            door.places.free(request.address)
            raise failure() from None

    def sockets_for(self, request: Request) -> WireSettings:
        """What is shared by connections that agree on what the one of this request does."""
        compression = self.door.compression
        return self.sockets if compression is None else compression.settings_for(request, self.sockets)

    def note_denied(self, request: Request, denied: Denied) -> None:
        """Take note of a request that is refused."""
        self.core.audit.refuse("connect", actor="", address=request.address, outcome=denied.code)
        self.core.counts.deny(denied.status.value)
        self.refusals.note(denied, request.address, asyncio.get_running_loop().time())


class Upgrade(asyncio.Protocol):
    """One request for a WebSocket: the protocol of its transport until the 101."""

    def __init__(self, upgrades: Upgrades, transport: asyncio.Transport, request: Request) -> None:
        self._upgrades = upgrades
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        try:
            upgrades.door.take_place(request.address)
        except Denied as denied:
            self._deny(request, denied)
            return
        if request.path in upgrades.side_doors:
            self._receive(request, upgrades.side_doors[request.path])
        else:
            upgrades.tasks.start(self._open(request))

    def data_received(self, _data: bytes) -> None:
        # RFC 6455 section 4.1: a client must wait for the answer.  What it sends before cannot be a frame.
        self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()  # it refers to the transport, and with it to the memory of TLS

    async def _open(self, request: Request) -> None:
        upgrades = self._upgrades
        try:
            key, client, subprotocol = await upgrades.let_in(request, upgrades.door, upgrades.door.check)
        except Denied as denied:
            self._deny(request, denied)
            return
        visitor = Visitor(upgrades, client, request.address)
        if self._transport.is_closing():
            visitor.closed(1006, "", by_us=False)
            return
        sockets = upgrades.sockets_for(request)
        client.attach(open_websocket(self._transport, key, visitor, sockets, subprotocol=subprotocol))

    def _receive(self, request: Request, side_door: SideDoor) -> None:
        try:
            opening = side_door.receive(request)
        except Denied as denied:
            self._upgrades.door.places.free(request.address)
            self._deny(request, denied)
            return
        key, entrant, settings, subprotocol = opening
        entrant.attach(open_websocket(self._transport, key, entrant, settings, subprotocol=subprotocol))

    def _deny(self, request: Request, denied: Denied) -> None:
        self._upgrades.note_denied(request, denied)
        if not self._transport.is_closing():
            common = self._upgrades.common.headers()
            self._transport.write(denied.to_bytes(common, head_only=request.method == "HEAD"))
            self._transport.close()
            # A client that does not take the answer is not waited for.
            self._timer = asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._transport.abort)


def failure() -> Denied:
    """What to answer where the error at hand was not meant for the client."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return unavailable("the server is restarting")
    log.exception("upgrade failed")
    return Denied(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")


class Visitor:
    """Stands between a client of the hub and its connection (`websocket.Receiver`)."""

    __slots__ = ("_address", "_client", "_upgrades", "receive_text")

    def __init__(self, upgrades: Upgrades, client: Participant, address: str) -> None:
        self._upgrades = upgrades
        self._client = client
        self._address = address
        self.receive_text = functools.partial(upgrades.core.dispatch.receive, client)

    def receive_binary(self, _data: bytes) -> None:
        self._upgrades.core.dispatch.receive_binary(self._client)

    def admit(self, count: int) -> bool:
        return self._upgrades.core.dispatch.admit(self._client, count)

    def is_too_much(self, size: int) -> bool:
        return self._upgrades.core.dispatch.is_too_much(self._client, size)

    def writing_paused(self) -> None:
        self._upgrades.core.rooms.feeding.mark_slow(self._client)

    def writing_resumed(self) -> None:
        self._upgrades.core.mark_caught_up(self._client)

    def closing(self) -> None:
        self._client.mute()

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        client = self._client
        core = self._upgrades.core
        note_left(core, client, code, reason, by_us=by_us, is_expected=code in EXPECTED)
        core.disconnect(client)
        client.detach()
        self._upgrades.door.places.free(self._address)


def note_left(core: Core, client: Participant, code: int, reason: str, *, by_us: bool, is_expected: bool) -> None:
    """Count, and log, that a client's connection is gone.

    Args:
        is_expected: whether a close of ours with this code needs no one's attention.
    """
    # A client may send any code, and as often as it likes: that is no reason to look into the server.
    if by_us:
        core.counts.close(code)
    is_worth_a_look = by_us and not is_expected
    if is_worth_a_look or is_debugging():
        write = log.warning if is_worth_a_look else log.debug
        write(
            "client left",
            user=client.user,
            code=code,
            reason=reason,
            by="server" if by_us else "client",
            refused=client.refused,
            dropped=client.dropped,
        )
