"""A connection of the door, from its first frame on, whatever carries it: a WebSocket, or an answer that goes on.

Nothing may come before `connect`, and nothing is handled while that is.  The commands of a frame are handled in order,
some in each turn of the loop; a connection whose commands wait is not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import structlog

from hubbub.client import Frame, Socket
from hubbub.core import Core
from hubbub.door.client import DoorClient
from hubbub.door.codes import CLOSES, DoorClose
from hubbub.door.commands import Asked
from hubbub.door.dialect import Broken, DoorDialect
from hubbub.door.strangers import Strangers
from hubbub.policy import Places
from hubbub.tasks import Tasks
from hubbub.wire.turnstile import Turnstile
from hubbub.wire.upgrade import note_left

__all__ = ["Carriage", "DoorSession", "DoorSocket", "SessionState", "Surroundings"]

log = structlog.get_logger("hubbub.door")

# Frames of this size hold so few commands that they are handled at once.
SHORT_FRAME = 2048
# Commands of a longer frame that are handled in one turn of the loop.
AT_ONCE = 32
# A frame of this size has a turn for itself.  One read of compressed frames may hold a dozen of those, each of which
# takes as long to parse as everything that a client without compression can send at once.
LARGE_FRAME = 16 * 1024
# Frames that may have been read already when the reading stops: of the smallest, one read holds about 600.
MAX_WAITING = 1024
# What somebody may send who has not said who it is, in commands that say nothing, and in attempts to say it.
MAX_STRAY = 64
MAX_ATTEMPTS = 3

# Closes that need no one's attention.
EXPECTED = frozenset(code.value for code in DoorClose if code is not DoorClose.SERVER_ERROR) | {1009}
# Those that a back end gives: ours of these are translated.
GIVEN = range(4000, 5000)


class SessionState(IntEnum):
    """What a connection has come to."""

    STRANGER = 0
    """It has not said who it is."""
    CONNECTING = 1
    """It has, and is looked at; once it has said more nothing is read of it."""
    CONNECTED = 2
    """Its commands are handled."""
    GONE = 3
    """It is closed, or closing: nothing more of it is handled."""


STRANGER, CONNECTING, CONNECTED, GONE = SessionState


class DoorSocket(Socket, Protocol):
    """What a session needs of its connection."""

    def watch(self) -> None:
        """Begin to ask for signs of life, where that is done."""
        ...


class Carriage(NamedTuple):
    """How the texts of one kind of connection look.

    Attributes:
        frame: how they are carried.
        is_binary: whether frames that come are bytes.
        ping: seconds between the server's pings, as clients are told; 0 for none.
    """

    dialect: DoorDialect
    frame: Frame
    is_binary: bool = False
    ping: int = 0


class Surroundings(NamedTuple):
    """What all sessions of a door share.

    Attributes:
        dispatch: that of `core`, untyped: it is given commands that were read already, where other clients have a text.
        enter: lets one in that has sent `connect`.
        tasks: owns that.
        turnstile: where those wait that have sent much at once.
    """

    core: Core
    dispatch: Any
    places: Places
    strangers: Strangers
    enter: Callable[[DoorSession, Asked], Coroutine[Any, Any, None]]
    tasks: Tasks
    turnstile: Turnstile


class DoorSession:
    """One connection (`websocket.Receiver`), and its client's `Socket`.

    It gives back a place that was taken before it was made.

    Args:
        around: what it shares with others.
        carriage: how its texts look.
        address: where it comes from.

    Attributes:
        client: None until it is connected.
        secret, node: by which the commands of a stream reach it; empty for a WebSocket.
    """

    __slots__ = (
        "_around",
        "_attempts",
        "_is_due",
        "_is_halted",
        "_is_held",
        "_socket",
        "_stray",
        "_tell_gone",
        "_waiting",
        "address",
        "carriage",
        "client",
        "state",
    )

    secret = node = ""

    def __init__(self, around: Surroundings, carriage: Carriage, address: str) -> None:
        self.carriage = carriage
        self.address = address
        self.state = STRANGER
        self.client: DoorClient | None = None
        self._around = around
        self._socket: DoorSocket | None = None
        self._tell_gone: Callable[[], None] | None = None
        self._attempts = self._stray = 0
        # What has come and was not handled: frames, the first one perhaps in part.
        self._waiting: deque[str | bytes | Iterator[Asked | None]] | None = None
        # Its client is not read for a while; the session itself reads nothing.
        self._is_held = self._is_halted = False
        # At the turnstile.
        self._is_due = False

    # The connection

    def attach(self, socket: DoorSocket) -> None:
        """Take up the connection: the time within which it has to say who it is begins."""
        self._socket = socket
        self._around.strangers.add(self)

    def when_gone(self, call: Callable[[], None]) -> None:
        """Have something called when the connection is gone."""
        self._tell_gone = call

    @property
    def write(self) -> Callable[[bytes], None]:
        assert self._socket is not None
        return self._socket.write

    @property
    def outbox_size(self) -> int:
        return self._socket.outbox_size if self._socket is not None else 0

    def pause_reading(self) -> None:
        """Read nothing of the client until `resume_reading`."""
        self._is_held = True
        self._pause_or_resume()

    def resume_reading(self) -> None:
        self._is_held = False
        if self._waiting is not None and self.state is CONNECTED:
            self._is_halted = True  # until that is handled
            self._go_on_later(0.0)
        self._pause_or_resume()

    def _halt(self) -> None:
        if not self._is_halted:
            self._is_halted = True
            self._pause_or_resume()

    def _go_on_reading(self) -> None:
        if self._is_halted:
            self._is_halted = False
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        if self._socket is None:
            return
        if self._is_held or self._is_halted:
            self._socket.pause_reading()
        else:
            self._socket.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Close the connection, after what was written; by a code of ours, or of this protocol."""
        if self._socket is not None:
            # SDKs take a reason for advice that looks like JSON.
            self._socket.close(CLOSES.get(code, code), "" if reason.startswith("{") else reason)

    # Receiving

    def receive_text(self, text: str) -> None:
        if self.carriage.is_binary:
            self._break("this is the JSON format, and Protobuf was asked for")
        else:
            self._receive(text)

    def receive_binary(self, data: bytes) -> None:
        if self.carriage.is_binary:
            self._receive(data)
        else:
            self._break("JSON comes in texts; ask for Protobuf by the subprotocol centrifuge-protobuf")

    def _receive(self, frame: str | bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(frame)
            if len(self._waiting) > MAX_WAITING:
                self._break("too many frames at once")
            elif self.state is CONNECTING:
                self._halt()  # only now: most say nothing more until they have their answer
            return
        try:
            if self.state is not CONNECTED:
                self._receive_early(self.carriage.dialect.each(frame))
            elif len(frame) > SHORT_FRAME:
                self._waiting = deque([self.carriage.dialect.each(frame)])
                self._go_on()
                if len(frame) > LARGE_FRAME and self._is_idle():
                    self._waiting = deque()  # of what has come with it
                    self._halt()
                    self._go_on_later(0.0)
            else:
                for asked in self.carriage.dialect.read(frame):
                    if self.state is CONNECTED:
                        self._handle(asked)
        except Broken as error:
            self._break(str(error))

    def _is_idle(self) -> bool:
        """Whether the next command can be handled."""
        return self._waiting is None and self.state is CONNECTED

    def _handle(self, asked: Any) -> None:
        """Hand a command on."""
        if asked is None:
            self._around.dispatch.admit(self.client)
        else:
            self._around.dispatch.receive(self.client, asked)

    def _break(self, why: str) -> None:
        log.debug("broken frame", address=self.address, why=why)
        self.close(DoorClose.BAD_REQUEST, "bad request")

    # What comes in one frame, and does not fit into one turn

    def read_on(self) -> None:
        """Go on with what waits: its turn has come."""
        self._is_due = False
        self._go_on()

    def _go_on(self) -> None:
        """Handle some of what waits; after the rest of it the connection is read again."""
        waiting = self._waiting
        if waiting is None or self.state is not CONNECTED or self._is_held:
            return
        clock = self._around.turnstile.clock
        started = clock()
        left = AT_ONCE
        try:
            while waiting and left > 0:
                first, is_large = waiting[0], False
                if isinstance(first, str | bytes):
                    is_large = len(first) > LARGE_FRAME
                    if is_large and left < AT_ONCE:
                        break
                    first = waiting[0] = self.carriage.dialect.each(first)
                handled = self._handle_some(first, left)
                left = 0 if is_large else left - handled
                if self.state is not CONNECTED or self._is_held:
                    return
        except Broken as error:
            self._break(str(error))
            return
        if waiting:
            self._halt()
            self._go_on_later(clock() - started)
        else:
            self._waiting = None
            self._go_on_reading()

    def _handle_some(self, commands: Iterator[Asked | None], most: int) -> int:
        """Handle so many commands at most, until the client is not read; how many it were."""
        for count in range(most):
            try:
                asked = next(commands)
            except StopIteration:
                assert self._waiting is not None
                self._waiting.popleft()
                return count
            self._handle(asked)
            if self.state is not CONNECTED or self._is_held:
                return count + 1
        return most

    def _go_on_later(self, seconds: float) -> None:
        """Wait for a turn of the loop that has time for as much as has just taken so long."""
        if not self._is_due:
            self._is_due = True
            self._around.turnstile.wait(self, seconds)

    # Before it is connected

    def _receive_early(self, commands: Iterator[Asked | None]) -> None:
        """Take a frame of one that has not said who it is."""
        if self.state is GONE:
            return
        for asked in commands:
            if asked is None:
                if not self.admit(1):
                    return
                continue
            self._attempts += 1
            if asked.type != "connect" or self._attempts > MAX_ATTEMPTS:
                self._break(f"the first command is connect, not {asked.type}")
                return
            self.state = CONNECTING
            self._around.strangers.remove(self)
            self._waiting = deque([commands])
            self._around.tasks.start(self._around.enter(self, asked))
            return

    def begin(self, client: DoorClient, answer: bytes) -> None:
        """Go on as a client that was let in: with the answer, what it was told meanwhile, and what it has sent."""
        self.client = client
        if self._socket is None or self.state is GONE:
            self._around.core.disconnect(client)
            client.detach()
            return
        self.state = CONNECTED
        client.greet(answer)
        try:
            client.attach(self)
        except RuntimeError:
            return  # the transport is closed; its connection_lost is on the way
        self._socket.watch()
        self._go_on()

    def go_back(self, answer: bytes) -> None:
        """Have it try again that is not let in."""
        if self._socket is None or self.state is GONE:
            return
        try:
            self.write(self.carriage.frame(answer))
        except RuntimeError:
            return  # as above
        if self._around.core.is_closed:
            self.close(DoorClose.SHUTDOWN, "shutdown")
            return
        self.state = STRANGER
        self._around.strangers.add(self)
        self._waiting = None
        self._go_on_reading()

    # The wire

    def admit(self, count: int) -> bool:
        if self.client is not None:
            return self._around.core.dispatch.admit(self.client, count)
        self._stray += count
        if self._stray > MAX_STRAY:
            self._break("frames that say nothing")
            return False
        return True

    def is_too_much(self, size: int) -> bool:
        return self.client is not None and self._around.core.dispatch.is_too_much(self.client, size)

    def writing_paused(self) -> None:
        if self.client is not None:
            self._around.core.rooms.feeding.mark_slow(self.client)

    def writing_resumed(self) -> None:
        if self.client is not None:
            self._around.core.mark_caught_up(self.client)

    def closing(self) -> None:
        self._end()
        if self._is_halted:
            # Its own CLOSE is awaited: it would be cut only after a while, and keep its place until then.
            self._is_halted = False
            self._pause_or_resume()
        if self.client is not None:
            self.client.mute()

    def _end(self) -> None:
        if self.state is STRANGER:
            self._around.strangers.remove(self)
        self.state = GONE
        self._waiting = None

    def closed(self, code: int, reason: str, *, by_us: bool) -> None:
        core, client = self._around.core, self.client
        self._end()
        self._socket = None
        if client is not None:
            note_left(core, client, code, reason, by_us=by_us, is_expected=code in EXPECTED or code in GIVEN)
            core.disconnect(client)
            client.detach()
        elif by_us:
            core.counts.close(code)
        self._around.places.free(self.address)
        if self._tell_gone is not None:
            self._tell_gone()
