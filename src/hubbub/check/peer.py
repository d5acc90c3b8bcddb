"""The other end of a connection: a well-behaved client that can also write what no client should.

It judges little by itself: events that a check does not ask for are kept and passed over, so that a server that is
wrong in one thing fails in one line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from hubbub.check.outcome import Failed, NotOffered, Trace, printable

__all__ = ["BINARY", "PING", "TEXT", "ClassicPeer", "Peer", "ReceivedEvent", "V1Peer", "WatchedConnection", "frame"]

TEXT, BINARY, PING = 0x1, 0x2, 0x9

MASK = b"\x37\xfa\x21\x3d"

# Frames read by one peer; past them the server talks without end.
MAX_FRAMES = 1000

# How long silence is listened to. What would break it has been written already.
QUIET_S = 0.2

numbers = itertools.count(1)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame (RFC 6455 section 5.2), or one that no client should send."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


@dataclass(frozen=True)
class ReceivedEvent:
    """An event, as it came."""

    text: str
    type: str
    payload: dict[str, Any]
    id: object = None
    keys: frozenset[str] = frozenset()


def read_event(text: str) -> ReceivedEvent | None:
    """Read an event; None when it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    type_, payload = found.get("type"), found.get("payload")
    if not isinstance(type_, str) or not isinstance(payload, dict):
        return None
    return ReceivedEvent(printable(text), type_, payload, found.get("id"), frozenset(found))


class WatchedConnection(ClientConnection):
    """A connection that notes the server's pings: nothing else begins with this byte when no one speaks."""

    pings = 0

    def data_received(self, data: bytes) -> None:
        self.pings += data[:1] == b"\x89"
        super().data_received(data)


class Peer:
    """A connection.

    Attributes:
        user: who it was opened for.
        heard: every event that has come.
    """

    def __init__(self, connection: WatchedConnection, user: str, trace: Trace) -> None:
        self.connection = connection
        self.user = user
        self.heard: list[ReceivedEvent] = []
        self.trace = trace
        self._frames = 0

    # Sending

    async def send(self, data: str | bytes) -> None:
        """Send one message, text or binary."""
        self.trace.sent = (
            (printable(data) or "an empty frame")
            if isinstance(data, str)
            else f"a binary frame {printable(repr(data))}"
        )
        try:
            await self.connection.send(data)
        except ConnectionClosed as closed:
            raise self._ended(closed, "an open connection") from None

    def send_raw(self, data: bytes, said: str) -> None:
        """Write bytes as they are; `said` describes them."""
        self.trace.sent = said
        self.connection.transport.write(data)

    # Receiving

    async def receive(self) -> ReceivedEvent:
        """The next frame, which must be an event."""
        wanted = 'a text frame {"type": ..., "payload": {...}}'
        try:
            data = await self.connection.recv()
        except ConnectionClosed as closed:
            raise self._ended(closed, wanted) from None
        self._count()
        self.trace.came = printable(data) if isinstance(data, str) else f"a binary frame {printable(repr(data))}"
        event = read_event(data) if isinstance(data, str) else None
        if event is None:
            raise self.trace.failed(wanted)
        self.heard.append(event)
        return event

    def _count(self) -> None:
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise self.trace.failed("an end of it", f"over {MAX_FRAMES} frames, the last one {self.trace.came}")

    async def quiet(self) -> None:
        """Take what has come, and wait a moment for more."""
        await self.pong()
        try:
            async with asyncio.timeout(QUIET_S):
                while True:
                    await self.receive()
        except TimeoutError:
            pass

    async def pong(self, data: bytes = b"check") -> None:
        """Ping, and wait for the answer."""
        before = self.trace.sent
        try:
            waiter = await self.connection.ping(data)
            self.trace.sent = f"{before}, then a ping"
            await waiter
        except ConnectionClosed as closed:
            raise self._ended(closed, "an open connection") from None
        self.trace.sent = before

    async def assert_closed(self, code: int) -> None:
        """The server closes with this code, whatever it says before that."""
        try:
            while True:
                self.trace.came = printable(await self.connection.recv())
                self._count()
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != code:
                raise self._ended(closed, f"a close with {code}") from None

    @property
    def has_ended_without_code(self) -> bool:
        """Whether the server has ended the connection, and not said why."""
        protocol = self.connection.protocol
        return protocol.close_code == 1005 or (protocol.close_code == 1006 and protocol.close_sent is None)

    def _ended(self, closed: ConnectionClosed, wanted: str) -> Failed:
        if closed.rcvd is not None:
            self.trace.came = f"a close with {closed.rcvd.code} {printable(closed.rcvd.reason)}".rstrip()
        elif closed.sent is not None:
            self.trace.came = f"a frame that breaks RFC 6455: {printable(closed.sent.reason)}"
        else:
            self.trace.came = "the end of the connection, without a close frame"
        return self.trace.failed(wanted)


class ClassicPeer(Peer):
    """A classic client.

    Attributes:
        echoes: whether the server sends this client its own messages.
    """

    echoes = True

    async def say(self, text: str, by: str | None = None) -> None:
        """Say something, as the earlier pages write it."""
        payload = {"message": text, "from": self.user if by is None else by}
        await self.send(json.dumps({"type": "send_message", "payload": payload}))

    async def enter(self, room: str) -> None:
        """Ask to go to a room; nothing tells when that is done."""
        await self.send(json.dumps({"type": "change_room", "payload": {"name": room}}))

    async def hears(self, text: str) -> ReceivedEvent:
        """The message with this text, among what comes."""
        while True:
            event = await self.receive()
            if event.type == "new_message" and event.payload.get("message") == text:
                return event

    async def assert_up(self) -> None:
        """The connection is up; where the server echoes, what has come is taken."""
        if not self.echoes:
            await self.pong()
            return
        said, probe = self.trace.sent, f"probe {next(numbers)}"
        await self.say(probe)
        self.trace.sent = f"{said}, then {probe!r}"
        await self.hears(probe)
        self.trace.sent = said

    def assert_only_messages(self, *texts: str) -> None:
        """Nothing has come but new_message, and of these `texts` none."""
        for event in self.heard:
            is_fine = event.type == "new_message" and event.payload.get("message") not in texts
            self.trace.expect(is_fine, "nothing of the kind, ever", event.text)


class V1Peer(Peer):
    """A v1 client.

    Attributes:
        welcome: the payload of the welcome, empty without one.
    """

    def __init__(self, connection: WatchedConnection, user: str, trace: Trace) -> None:
        super().__init__(connection, user, trace)
        self.welcome: dict[str, Any] = {}
        self._waiting: deque[ReceivedEvent] = deque()

    def limit(self, name: str) -> int:
        """A limit that the welcome names; 0 for none."""
        limits = self.welcome.get("limits")
        found = limits.get(name) if isinstance(limits, dict) else None
        return int(found) if isinstance(found, (int, float)) and 0 < found < 2**31 else 0

    async def request(self, type_: str, payload: object, id_: str | int | None = None) -> None:
        """Send a request, with an id if there is one."""
        id_member = {} if id_ is None else {"id": id_}
        await self.send(json.dumps({"type": type_, **id_member, "payload": payload}))

    async def answer(self, id_: str | int | None) -> ReceivedEvent:
        """The next ack or error, which must have this id; other events wait to be asked for."""
        while (event := await self.receive()).type not in ("ack", "error"):
            self._waiting.append(event)
        is_mine = event.id == id_ and type(event.id) is type(id_)
        self.trace.expect(is_mine, f"an answer with the id {id_!r}" if id_ is not None else "an answer without an id")
        return event

    async def ask(self, type_: str, payload: object) -> ReceivedEvent:
        """Send a request; its ack or error."""
        id_ = f"c{next(numbers)}"
        await self.request(type_, payload, id_)
        return await self.answer(id_)

    async def ack(self, type_: str, payload: object) -> dict[str, Any]:
        """Send a request; the payload of its ack."""
        answer = await self.ask(type_, payload)
        self.trace.expect(answer.type == "ack", "an ack")
        return answer.payload

    async def assert_refused(self, code: str, type_: str, payload: object) -> ReceivedEvent:
        """A request is refused with this code."""
        answer = await self.ask(type_, payload)
        self.assert_error(answer, code)
        return answer

    def assert_error(self, answer: ReceivedEvent, code: str) -> None:
        """This is an error with this code, and a sentence."""
        is_right = answer.type == "error" and answer.payload.get("code") == code
        self.trace.expect(is_right, f"an error with the code {code}", answer.text)
        self.trace.expect(isinstance(answer.payload.get("message"), str), "an error with a message", answer.text)

    async def need_account(self) -> None:
        """Go on only where this user has an account: one of an application's own needs none."""
        answer = await self.ask("profile", {})
        if answer.type == "error" and answer.payload.get("code") == "bad_payload":
            raise NotOffered(f"{self.user} has no account here")

    async def join(self, room: str, **more: object) -> dict[str, Any]:
        """Join a room; the payload of the ack."""
        return await self.ack("join_room", {"room": room, **more})

    async def say(self, room: str, text: str, **more: object) -> dict[str, Any]:
        """Say something; the payload of the ack."""
        return await self.ack("send_message", {"room": room, "message": text, **more})

    async def next(self, type_: str) -> ReceivedEvent:
        """The next event of this type; others are passed over."""
        while self._waiting:
            if (event := self._waiting.popleft()).type == type_:
                return event
        while (event := await self.receive()).type != type_:
            pass
        return event
