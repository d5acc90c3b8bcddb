"""One connected client: who it is, which rooms it is in, and the way out to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hubbub.acts import Role
from hubbub.budgets import Purses
from hubbub.dialect import Dialect
from hubbub.engine import Grant
from hubbub.errors import CloseCode, Refused
from hubbub.events import Event, encode_payload
from hubbub.policy import Rate

__all__ = ["Audience", "Client", "CostlyFrame", "Frame", "Participant", "Socket"]

# Puts a text into the frame that a kind of connection carries it in.
Frame = Callable[[bytes], bytes]


class CostlyFrame:
    """A `Frame` that is much more work than a copy of the text.

    Attributes:
        factor: how many times as much a byte counts that is sent on request, to one client alone.
    """

    __slots__ = ()

    # As much as a byte that comes from the log.
    factor = 4


# Members that get the same bytes: one dialect in one kind of frame, and the user whose messages are left out, if any.
Audience = tuple[Dialect, Frame, str | None]


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


class Client:
    """One connection of one user, as handlers and hooks get it.

    Attributes:
        user: the name it logged in with.
        role: what its user is: admin, member or guest; by the account, unless whoever vouches for the user says it.
        uses_channels: it has come by the second door, and names rooms as channels.
    """

    __slots__ = ("__weakref__", "_info", "_rooms", "role", "user")

    uses_channels = False

    def __init__(self, user: str) -> None:
        self.user = user
        self.role = Role.MEMBER
        self._rooms: dict[str, int] = {}
        self._info: dict[str, object] | None = None

    @property
    def rooms(self) -> tuple[str, ...]:
        """The names of the rooms it is in, in the order that it entered them."""
        return tuple(self._rooms)

    @property
    def info(self) -> dict[str, object]:
        """A place for the application's own notes about this connection.

        It begins with what the application's check, or a token, has said of the user.
        """
        if self._info is None:
            self._info = {}
        return self._info

    def send(self, event: Event) -> None:
        """Send an event to this client alone, unkept.  A classic client hears nothing."""
        raise NotImplementedError

    def close(self, code: int = CloseCode.KICKED, reason: str = "") -> None:
        """Close the connection; by default with 4101, which tells the client to stay away."""
        raise NotImplementedError


def discard(_frame: bytes) -> None:
    """Drop a frame: there is no connection to write it to."""


class Participant(Client):
    """A client as the hub itself knows it.

    Attributes:
        session: the hash of the login's token, shared by the connections that the token opened.
        dialect: how events look to it.
        frame: how its connection carries texts.
        audience: the members of a room that it is written to together with.
        rate: how much of its rate it has used; None where there is no limit.
        purses: its account's and its address's, which pay for what it costs.
        write: queues bytes for its connection: whole frames.
        is_connected: it has been let in, and its connection is not gone.
        joined: the names of the rooms it is in, each with what it may do there (`acts.Act`, as bits); kept by
            `rooms.Rooms`.
        address: where it connects from, for the audit log.
        terms: what it was granted besides its user and its session; None for nothing.
        refused: requests that were turned down.
        dropped: requests over its rate.
        handlers: of its own (`handlers.Handler`, by type), in place of the hub's; None for a client of the hub's own
            protocol.
    """

    handlers: Mapping[str, Any] | None = None

    __slots__ = (
        "_closing",
        "_is_paused",
        "_unsent",
        "address",
        "audience",
        "dialect",
        "dropped",
        "frame",
        "is_connected",
        "joined",
        "purses",
        "rate",
        "refused",
        "session",
        "socket",
        "terms",
        "write",
    )

    def __init__(
        self,
        user: str,
        session: str,
        dialect: Dialect,
        frame: Frame,
        *,
        echo: bool = True,
        rate: Rate | None = None,
        purses: Purses = (),
        address: str = "",
        terms: Grant | None = None,
    ) -> None:
        super().__init__(user)
        self.terms = terms
        if terms is not None and terms.info:
            self.info.update(copy.deepcopy(terms.info))  # others have the same grant
        self.address = address
        self.session = session
        self.dialect = dialect
        self.frame = frame
        self.audience: Audience = (dialect, frame, None if echo else user)
        self.rate = rate
        self.purses = purses
        self.is_connected = False
        self.joined = self._rooms
        self.refused = 0
        self.dropped = 0
        self.socket: Socket | None = None
        self._unsent: list[bytes] | None = []
        self.write: Callable[[bytes], None] = self._unsent.append
        self._closing: tuple[int, str] | None = None
        self._is_paused = False

    def __repr__(self) -> str:
        return f"<Client {self.user} {self.dialect.name}>"

    # The connection

    def attach(self, socket: Socket) -> None:
        """Take up the connection, and write what was sent while there was none."""
        self.socket = socket
        self.write = socket.write
        unsent, self._unsent = self._unsent, None
        for frame in unsent or ():
            socket.write(frame)
        if self._closing is not None:
            socket.close(*self._closing)

    def greet(self, text: bytes) -> None:
        """Write a text before all that was written while there was no connection."""
        if self._unsent is not None:
            self._unsent.insert(0, self.frame(text))

    def detach(self) -> None:
        """Let go of the connection, which is gone: holding each other, they would wait for the garbage collector."""
        self.socket = None
        self.mute()

    def mute(self) -> None:
        """Write nothing more: the connection is closing."""
        self.write = discard

    def close(self, code: int = CloseCode.KICKED, reason: str = "") -> None:
        if self.socket is not None:
            self.socket.close(code, reason)
        else:
            self._closing = (code, reason)

    def turn_away(self, reason: str) -> None:
        """Let the connection, which is not there yet, be for nothing but the reason that it ends for."""
        self._unsent = []
        self.write = discard
        self._closing = (CloseCode.TURNED_AWAY, reason)

    def pause(self) -> None:
        """Stop reading from the connection for a while."""
        if self.socket is not None and not self._is_paused:
            self._is_paused = True
            self.socket.pause_reading()

    def resume(self) -> None:
        """Read on after a `pause`."""
        if self.socket is not None and self._is_paused:
            self._is_paused = False
            self.socket.resume_reading()

    # The way out

    @property
    def cost_of_byte(self) -> int:
        """What a byte counts that is written to this client alone."""
        return self.frame.factor if isinstance(self.frame, CostlyFrame) else 1

    def send(self, event: Event) -> None:
        self.write_text(self.dialect.event(type(event).tag, encode_payload(event)))

    def error(self, id_: str | int | None, refused: Refused) -> None:
        """Turn a request down."""
        self.refused += 1
        self.write_text(self.dialect.error(id_, refused))

    def write_text(self, text: bytes) -> None:
        """Write one text; an empty one is not for this client's dialect."""
        if text:
            try:
                self.write(self.frame(text))
            except RuntimeError:
                pass  # as in `write_frames`; written out here, because every answer comes this way

    def write_texts(self, texts: Iterable[bytes]) -> None:
        """Write several texts at once."""
        self.write_frames(b"".join([self.frame(text) for text in texts if text]))

    def write_frames(self, frames: bytes) -> None:
        """Write prepared frames, if there are any."""
        if frames:
            try:
                self.write(frames)
            except RuntimeError:
                pass  # the transport closed under us; its connection_lost is on the way
