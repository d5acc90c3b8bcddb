"""One client's connection: in, its frames, out, and what there is to check about its room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from hubbub.bench.orders import Destination, Seat
from hubbub.bench.target import dial
from hubbub.errors import ProtocolError

if TYPE_CHECKING:
    from hubbub.sdk.session import ServerAddress

__all__ = ["SUBPROTOCOL", "Body", "Link", "Progress"]

SUBPROTOCOL = "hubbub.v1"

# A frame from the server: what was missed comes in one, up to 2,000 messages.
MAX_FRAME = 64 * 1024 * 1024

# The kernel takes in this much for a client that does not read, instead of megabytes.
SLOW_BUFFER = 8 * 1024

# The one request that is waited for.
JOIN = "join"

NO_STATUS = 1005
ABNORMAL = 1006


class Listed(msgspec.Struct, gc=False):
    """A message in an answer."""

    seq: int = 0


class Body(msgspec.Struct, gc=False):
    """Whatever an event's payload may say that matters here."""

    room: str = ""
    seq: int = 0
    message: str = ""
    code: str = ""
    epoch: str = ""
    recovered: bool = False
    messages: tuple[Listed, ...] = ()


class ServerEvent(msgspec.Struct, gc=False):
    """What the server sends."""

    type: str
    payload: Body
    id: str | int | None = None


_decode = msgspec.json.Decoder(ServerEvent).decode
_encode = msgspec.json.Encoder().encode


class Progress:
    """How far a client has come in its room, if the server numbers its messages.

    Attributes:
        holes: messages that were skipped.
        repeats: messages that came again, or late.
    """

    __slots__ = ("epoch", "holes", "repeats", "seq")

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = 0
        self.holes = 0
        self.repeats = 0

    def enter(self, answer: Body) -> None:
        """Take the answer to joining, with what was missed if the server still had it."""
        if answer.recovered:
            for message in answer.messages:
                self.hear(message.seq)
            self.holes += max(answer.seq - self.seq, 0)
        self.epoch, self.seq = answer.epoch, answer.seq

    def hear(self, seq: int) -> None:
        """Take the next message."""
        if seq == self.seq + 1:
            self.seq = seq
        elif seq > self.seq:
            self.holes += seq - self.seq - 1
            self.seq = seq
        else:
            self.repeats += 1


class Link(WSListener):
    """A client, connected or not.

    Args:
        on_message: gets each chat message.
        on_trouble: gets `error` and the code of a message that was refused, `close` and the code of a connection that
            was not to end, and whatever else is not as it should be.

    Attributes:
        heard: messages of the present phase that it has heard.
        under_way: messages that it has sent and not yet heard itself; counted only in a closed loop.
        pings: of the server's, each answered.
    """

    def __init__(
        self,
        seat: Seat,
        on_message: Callable[[Link, Body], None],
        on_trouble: Callable[[Link, str], None],
    ) -> None:
        self.seat = seat
        self.progress = Progress()
        self.heard = 0
        self.under_way = 0
        self.pings = 0
        self.has_v1 = False
        self._on_message = on_message
        self._on_trouble = on_trouble
        self._transport: WSTransport | None = None
        self._close_code = ABNORMAL
        self._parts: list[bytes] = []
        self._waiting: dict[str, asyncio.Future[Body]] = {}

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None

    # In and out

    async def open(
        self, place: Destination, server: ServerAddress, otp: str, *, has_v1: bool, is_trial: bool = False
    ) -> None:
        """Connect; v1 waits for its welcome.

        Args:
            is_trial: nobody knows yet whether the server has v1, so the password goes where any server looks for it.

        Raises:
            picows.WSError: the upgrade was turned down, or is none.
            ProtocolError: no welcome.
            OSError: no one answers.
        """
        self.has_v1 = has_v1
        welcome = self._expect("welcome") if has_v1 else None
        offered = SUBPROTOCOL if is_trial else f"{SUBPROTOCOL}, otp.{otp}"
        query = f"?otp={otp}" if is_trial or not has_v1 else ""
        await ws_connect(
            lambda: self,
            server.ws_url.removesuffix("/ws") + place.path + query,
            ssl_context=server.tls,
            # Its default asks every connection's clock; the conductor has a deadline of its own.
            enable_auto_ping=False,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=MAX_FRAME,
            extra_headers={"Sec-WebSocket-Protocol": offered} if has_v1 else None,
            max_redirects=0,  # would take the password's ticket to someone else
            read_buffer_init_size=4096,
            socket_factory=lambda _url: dial(place, SLOW_BUFFER if self.seat.is_slow else 0),
        )
        if self._transport is None:
            raise ConnectionResetError("closed before the upgrade was answered")
        if welcome is not None and self.has_echo():
            await welcome

    def has_echo(self) -> bool:
        """Whether the server has agreed to v1."""
        assert self._transport is not None
        response = cast(Any, self._transport).response
        return bool(response.headers.get("Sec-WebSocket-Protocol") == SUBPROTOCOL)

    async def enter(self, *, is_back: bool = False) -> Body:
        """Enter the room; a classic server does not say when that is done.

        Args:
            is_back: go on where it left.
        """
        name = self.seat.room
        if not self.has_v1:
            self.send(b'{"type":"change_room","payload":{"name":%b}}' % _encode(name))
            return Body()
        since = {"since": {"epoch": self.progress.epoch, "seq": self.progress.seq}} if is_back else {"history": 0}
        answer = self._expect(JOIN)
        self.send(_encode({"type": "join_room", "id": JOIN, "payload": {"room": name, **since}}))
        found = await answer
        if found.code:
            raise ProtocolError(f"join_room was refused: {found.code}")
        return found

    def say(self, text: bytes) -> None:
        """Send a message, `text` being without anything that JSON escapes."""
        if self.has_v1:
            room = _encode(self.seat.room)
            self.send(b'{"type":"send_message","payload":{"room":%b,"message":"%b"}}' % (room, text))
        else:
            self.send(b'{"type":"send_message","payload":{"message":"%b","from":""}}' % text)

    def send(self, frame: bytes) -> None:
        """Send a frame, if there is a connection."""
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, frame)

    def show_life(self) -> None:
        """Tell the server that this client is there, though it may not read."""
        if self._transport is not None:
            self._transport.send_pong(b"")

    def read(self, *, is_on: bool) -> None:
        """Stop reading, or go on."""
        if self._transport is not None:
            socket = self._transport.underlying_transport
            (socket.resume_reading if is_on else socket.pause_reading)()

    def close(self) -> None:
        """Say goodbye."""
        if (transport := self._let_go()) is not None:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def drop(self) -> None:
        """Vanish."""
        if (transport := self._let_go()) is not None:
            transport.disconnect(graceful=False)

    def _let_go(self) -> WSTransport | None:
        transport, self._transport = self._transport, None
        return transport

    def _expect(self, what: str) -> asyncio.Future[Body]:
        self._waiting[what] = asyncio.get_running_loop().create_future()
        return self._waiting[what]

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        self._close_code = ABNORMAL
        self._parts.clear()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        type_ = frame.msg_type
        if type_ is WSMsgType.TEXT and frame.fin:
            self._hear(frame.get_payload_as_bytes())
        elif type_ is WSMsgType.PING:
            self.pings += 1
            transport.send_pong(frame.get_payload_as_bytes())
        elif type_ is WSMsgType.CLOSE:
            self._close_code = int(frame.get_close_code().value) or NO_STATUS
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif type_ in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                self._hear(b"".join(self._parts))
                self._parts.clear()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection ended."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError(f"closed with {self._close_code}"))
                waiting.exception()  # nobody may be waiting any more
        self._waiting.clear()
        if transport is self._transport:
            self._transport = None
            self._on_trouble(self, f"close {self._close_code}")

    def _hear(self, data: bytes) -> None:
        try:
            event = _decode(data)
        except msgspec.MsgspecError:
            self._on_trouble(self, "not understood")
            return
        body = event.payload
        if event.type == "new_message":
            if self.has_v1:
                self.progress.hear(body.seq)
            self._on_message(self, body)
        elif event.type in ("ack", "error", "welcome"):
            self._answered(event)
        elif event.type in ("gap", "reconnect"):
            self._on_trouble(self, event.type)

    def _answered(self, event: ServerEvent) -> None:
        waiting = self._waiting.pop(str(event.id or event.type), None)
        if event.type == "ack" and event.id == JOIN:
            self.progress.enter(event.payload)  # at once: what follows the answer may have come with it
        if waiting is not None and not waiting.done():
            waiting.set_result(event.payload)
        elif event.type == "error":
            # Only messages are sent without an id.
            self._on_trouble(self, f"error {event.payload.code}")
