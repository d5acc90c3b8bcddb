"""Connections of the door whose server speaks by an answer that does not end, and whose client speaks by requests.

Each such request names the connection by a secret.  It may come to another node, which has every node told of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from hubbub.budgets import Use, overdraw
from hubbub.client import Socket
from hubbub.core import Core
from hubbub.door.codes import DoorClose
from hubbub.door.protobuf import Field, FieldKind, Malformed, Shape
from hubbub.door.session import Carriage, DoorSession, Surroundings
from hubbub.events import encode
from hubbub.policy import is_loopback, network_of, retry_after
from hubbub.wire.denial import Denied
from hubbub.wire.request import Request

__all__ = ["MAX_POSTS", "EmulatedSession", "Emulation"]

# Requests whose commands wait for their turn, of one connection; a browser has six on their way.
MAX_POSTS = 32
# Commands of a frame larger than this count as bytes, too, as those of a WebSocket do.
LONG_FRAME = 512

NODE, COMMANDS = "door_node", "door_commands"
# Seconds after which a node says again that it is there, and after which it is not if it does not.
ANNOUNCE_S, FORGET_S = 10.0, 35.0
MAX_NODES = 1024


class EmulatedPost(NamedTuple):
    """What a request with commands says.

    Attributes:
        frame: the commands: a text in JSON, bytes in Protobuf.
    """

    node: str
    session: str
    frame: str | bytes


class EmulatedText(msgspec.Struct):
    """Such a request in JSON."""

    session: str
    data: str
    node: str = ""


class EmulatedBytes(msgspec.Struct):
    """Such a request in Protobuf."""

    node: str = ""
    session: str = ""
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


BYTES = Shape(
    EmulatedBytes,
    Field(1, "node", FieldKind.STRING),
    Field(2, "session", FieldKind.STRING),
    Field(3, "data", FieldKind.JSON),  # bytes, whatever is in them
)


class Announced(msgspec.Struct):
    """A node is there."""

    node: str


class Relayed(msgspec.Struct, omit_defaults=True):
    """Commands for a connection that another node has: a text, or bytes."""

    node: str
    session: str
    text: str = ""
    data: bytes = b""


decode_text = msgspec.json.Decoder(EmulatedText).decode
decode_announced = msgspec.json.Decoder(Announced).decode
decode_relayed = msgspec.json.Decoder(Relayed).decode


class Waiting(NamedTuple):
    """Commands that wait for their turn, and what tells whoever has sent them that it has come."""

    frame: str | bytes
    taken: asyncio.Future[None]


class EmulatedSession(DoorSession):
    """A connection of the door by an answer that does not end (`wire.streaming.Author`).

    Args:
        first: the commands that have come with the request.

    Attributes:
        secret: 128 random bits, by which commands reach it.
    """

    __slots__ = ("_first", "_sessions", "_waiting_posts", "node", "secret")

    def __init__(
        self,
        around: Surroundings,
        carriage: Carriage,
        address: str,
        first: str | bytes,
        node: str,
        sessions: dict[str, EmulatedSession],
    ) -> None:
        super().__init__(around, carriage, address)
        self.secret = secrets.token_urlsafe(16)
        self.node = node
        self._first = first
        self._sessions = sessions
        self._waiting_posts: deque[Waiting] = deque()

    # The connection

    def attach(self, socket: Socket) -> None:
        super().attach(socket)  # type: ignore[arg-type]  # both kinds of streams can be watched
        self._sessions[self.secret] = self
        first, self._first = self._first, b""
        self._take(first)

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        self._sessions.pop(self.secret, None)
        while self._waiting_posts:
            tell(self._waiting_posts.popleft().taken)
        super().closed(code, reason, by_us=by_us)

    # Commands

    def post(self, frame: str | bytes) -> asyncio.Future[None] | None:
        """Take the commands of a request, behind those that came before; what to wait for where they have to wait."""
        if not self._waiting_posts and not self._is_paused:
            self._take(frame)
            return None
        if len(self._waiting_posts) >= MAX_POSTS:
            self.close(DoorClose.SLOW, "too many requests at once")
            return None
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_posts.append(Waiting(frame, taken))
        return taken

    @property
    def _is_paused(self) -> bool:
        return self._is_held or self._is_halted

    def _take(self, frame: str | bytes) -> None:
        if len(frame) > LONG_FRAME:
            self.is_too_much(len(frame))
        if isinstance(frame, str):
            self.receive_text(frame)
        else:
            self.receive_binary(frame)

    def _pause_or_resume(self) -> None:
        super()._pause_or_resume()
        if self._waiting_posts and not self._is_paused:
            asyncio.get_running_loop().call_soon(self._take_waiting)

    def _take_waiting(self) -> None:
        """Take what waits, until the connection is not read again."""
        while self._waiting_posts and not self._is_paused:
            frame, taken = self._waiting_posts.popleft()
            tell(taken)
            self._take(frame)


class Emulation:
    """Hands the commands of requests to the connections that they are for.

    Attributes:
        node: names this process among those that share an engine.
        sessions: the connections of this node, by their secrets.
    """

    def __init__(self, core: Core) -> None:
        self.node = secrets.token_hex(8)
        self.sessions: dict[str, EmulatedSession] = {}
        self._core = core
        # When others were heard of, the longest ago first.
        self._nodes: dict[str, float] = {}
        self._announced_at = float("-inf")
        if core.engine.is_shared:
            core.notices.on(NODE, self._hear_node)
            core.notices.on(COMMANDS, self._hear_commands)

    async def receive(self, request: Request) -> None:
        """Take a request with commands; it is over when they have had their turn.

        Raises:
            Denied: 400 for what is none, 404 where no node has the connection, 429 for too much for other nodes.
        """
        is_binary = request.header("content-type") == "application/octet-stream"
        asked = read_request(request.body, is_binary=is_binary)
        if asked.node not in ("", self.node):
            self._relay(request, asked)
            return
        session = self.sessions.get(asked.session)
        if session is None:  # it has just ended; its client hears of that by itself
            return
        taken = session.post(asked.frame)
        if taken is not None:
            await taken

    # Several nodes

    def tick(self) -> None:
        """Say now and then that this node is there; to be called a few times a second."""
        now = self._core.now()
        if self._core.engine.is_shared and now - self._announced_at >= ANNOUNCE_S:
            self._announce()
            for node in [node for node, heard_at in self._nodes.items() if now - heard_at > FORGET_S]:
                del self._nodes[node]

    def _announce(self) -> None:
        self._announced_at = self._core.now()
        self._core.notices.tell(NODE, encode(Announced(self.node)))

    def _hear_node(self, payload: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # a node of another version
            node = decode_announced(payload).node
            if node == self.node:
                return
            is_new = self._nodes.pop(node, None) is None
            if len(self._nodes) < MAX_NODES:
                self._nodes[node] = self._core.now()
                if is_new:  # it has just come, and knows nobody
                    self._announce()

    def _relay(self, request: Request, asked: EmulatedPost) -> None:
        if asked.node not in self._nodes:
            raise Denied(HTTPStatus.NOT_FOUND, "not_found", "there is no such node")
        # Every node is told, so that whoever has no session at all could have much done with little.
        if not is_loopback(request.address):
            network = network_of(request.address)
            now = self._core.now()
            purses = self._core.budgets.purses(f"\n{network}", network, now)
            wait = overdraw(purses, Use.RECEIVED, len(request.body), now)
            if wait:
                header = f"Retry-After: {retry_after(wait)}"
                raise Denied(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "this address sends too much", header)
        frame = asked.frame
        if isinstance(frame, str):
            relayed = Relayed(asked.node, asked.session, text=frame)
        else:
            relayed = Relayed(asked.node, asked.session, data=frame)
        self._core.notices.tell(COMMANDS, encode(relayed))

    def _hear_commands(self, payload: bytes) -> None:
        """Take what another node has been sent for a connection of this one; there is nobody to wait."""
        with contextlib.suppress(msgspec.DecodeError):
            relayed = decode_relayed(payload)
            session = self.sessions.get(relayed.session) if relayed.node == self.node else None
            if session is not None:
                session.post(relayed.text or relayed.data)


def read_request(body: bytes, *, is_binary: bool) -> EmulatedPost:
    """What a request with commands says.

    Raises:
        Denied: 400 for what is none.
    """
    try:
        if is_binary:
            found: EmulatedBytes = BYTES.decode(body)
            return EmulatedPost(found.node, found.session, bytes(found.data) if found.data else b"")
        asked = decode_text(body)
        return EmulatedPost(asked.node, asked.session, asked.data)
    except (msgspec.DecodeError, Malformed, UnicodeError, RecursionError) as error:
        message = f'{error}; send {{"session": "...", "node": "...", "data": "..."}}'
        raise Denied(HTTPStatus.BAD_REQUEST, "bad_request", message) from None


def tell(taken: asyncio.Future[None]) -> None:
    """Tell whoever waits, if anybody does still."""
    if not taken.done():
        taken.set_result(None)
