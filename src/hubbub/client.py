"""One connected client: who it is, which rooms it is in, and the way out to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from hubbub.errors import CloseCode, ErrorCode, Refused
from hubbub.events import Event, Message, encode_payload
from hubbub.policy import Rate

if TYPE_CHECKING:
    from hubbub.room import Room

__all__ = ["Audience", "Client", "Dialect", "Envelope", "Socket", "Write"]


class Socket(Protocol):
    """What a client needs of its connection.  None of these wait."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Queues prepared frames."""
        ...

    @property
    def outbox_size(self) -> int:
        """Bytes written that the peer has not taken yet."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Envelope(Protocol):
    """What every dialect's requests have."""

    @property
    def type(self) -> str: ...

    @property
    def payload(self) -> msgspec.Raw: ...

    @property
    def id(self) -> str | int | None: ...


class Dialect(Protocol):
    """How events look on one kind of connection.  Frames come prepared; empty ones are not for this dialect's ears."""

    name: str
    first_room: str | None
    takes_binary: bool
    resumes: bool

    def decode(self, text: str) -> Envelope: ...

    def id_of(self, text: str) -> str | int | None: ...

    def message(self, message: Message) -> bytes: ...

    def listed(self, message: Message) -> bytes: ...

    def event(self, type_: str, payload: bytes) -> bytes: ...

    def ack(self, id_: str | int, payload: bytes) -> bytes: ...

    def error(self, id_: str | int | None, refused: Refused) -> bytes: ...


Write = Callable[[bytes], None]

# Members that get the same bytes: they speak one dialect, and the same user's messages (or nobody's) are left out.
Audience = tuple[Dialect, str | None]


def discard(_frame: bytes) -> None:
    """Where frames go that have nowhere to go."""


class Client:
    """One connection of one user.

    Attributes:
        user: the name it logged in with.
        session: the login it came from, shared by the connections that one token opened.
        rooms: the rooms it is in, by name.
        info: a place for the application's own notes about this connection.
    """

    __slots__ = (
        "__weakref__",
        "_info",
        "_unsent",
        "address",
        "audience",
        "backlog",
        "closing",
        "dialect",
        "dropped",
        "is_paused",
        "is_stuck",
        "rate",
        "refused",
        "rooms",
        "session",
        "socket",
        "user",
        "write",
    )

    def __init__(
        self,
        user: str,
        session: str,
        dialect: Dialect,
        *,
        address: str = "",
        echo: bool = True,
        rate: Rate | None = None,
    ) -> None:
        self.user = user
        self.session = session
        self.dialect = dialect
        self.address = address
        self.audience: Audience = (dialect, None if echo else user)
        self.rate = rate
        self.rooms: dict[str, Room] = {}
        self.socket: Socket | None = None
        self._unsent: list[bytes] | None = []
        self.write: Write = self._unsent.append
        self.backlog: deque[str] | None = None
        self.closing: tuple[int, str] | None = None
        self.is_paused = False
        self.is_stuck = False
        self.refused = 0
        self.dropped = 0
        self._info: dict[str, object] | None = None

    def __repr__(self) -> str:
        return f"<Client {self.user} {self.dialect.name}>"

    @property
    def info(self) -> dict[str, object]:
        if self._info is None:
            self._info = {}
        return self._info

    def attach(self, socket: Socket) -> None:
        """Take up the connection, and write what was sent while there was none."""
        self.socket = socket
        self._write_to(socket.write)
        unsent, self._unsent = self._unsent, None
        for frame in unsent or ():
            socket.write(frame)
        if self.closing is not None:
            socket.close(*self.closing)

    def detach(self) -> None:
        """Let go of the connection, which is gone: holding each other, they would wait for the collector."""
        self.socket = None
        self.mute()

    def mute(self) -> None:
        """Write nothing more: the connection is closing."""
        self._write_to(discard)

    def _write_to(self, write: Write) -> None:
        self.write = write
        for room in self.rooms.values():
            room.rewire(self)

    def send(self, event: Event) -> None:
        """Send an event to this client alone, unkept.  A classic client hears nothing."""
        self.write_frame(self.dialect.event(type(event).tag, encode_payload(event)))

    def close(self, code: int = CloseCode.KICKED, reason: str = "") -> None:
        """Close the connection; by default with 4101, which tells the client to stay away."""
        if self.socket is not None:
            self.socket.close(code, reason)
        else:
            self.closing = (code, reason)

    def room(self, name: str | None = None) -> Room:
        """A room that this client is in; without a name, its only one.

        Raises:
            Refused: `not_in_room`, or `bad_payload` when the name was needed.
        """
        if name is not None:
            found = self.rooms.get(name)
            if found is None:
                raise Refused(ErrorCode.NOT_IN_ROOM, f"you are not in the room {name[:80]!r}; join it first")
            return found
        if len(self.rooms) == 1:
            return next(iter(self.rooms.values()))
        if not self.rooms:
            raise Refused(ErrorCode.NOT_IN_ROOM, "you are in no room; join one first")
        raise Refused(ErrorCode.BAD_PAYLOAD, f"you are in {len(self.rooms)} rooms: say which - at `payload.room`")

    def ack(self, id_: str | int, payload: bytes) -> None:
        """Answer a request."""
        self.write_frame(self.dialect.ack(id_, payload))

    def error(self, id_: str | int | None, refused: Refused) -> None:
        """Turn a request down."""
        self.refused += 1
        self.write_frame(self.dialect.error(id_, refused))

    def pause(self) -> None:
        """Stop reading from the connection for a while."""
        if self.socket is not None and not self.is_paused:
            self.is_paused = True
            self.socket.pause_reading()

    def resume(self) -> None:
        """Read on after a `pause`."""
        if self.socket is not None and self.is_paused:
            self.is_paused = False
            self.socket.resume_reading()

    def write_frame(self, frame: bytes) -> None:
        """Write one prepared frame; an empty one is nothing."""
        if frame:
            try:
                self.write(frame)
            except RuntimeError:
                pass  # the transport closed under us; its connection_lost is on the way
