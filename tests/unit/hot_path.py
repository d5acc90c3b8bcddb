"""A server without its network, and exact counts of what it does: calls, bytecodes, memory.

From the bytes of a frame, put into a connection's buffer as a loop would, to the write on each member's transport,
everything is the real code.  Counted is what that code does and what it calls; the tests and the loop are left out.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.events
import asyncio.selector_events
import gc
import json
import math
import selectors
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from struct import pack
from types import CodeType, FrameType
from typing import Any, Self

import anyio

import hubbub.testing
from hubbub.dialect import V1, Dialect
from hubbub.engine import Grant
from hubbub.engine.memory import MemoryEngine
from hubbub.heartbeat import Wheel
from hubbub.otp import OneTimePasswords
from hubbub.recent import RECENT
from hubbub.testing import Clock, Stage, at_work
from hubbub.wire.common import Common
from hubbub.wire.door import Door, Identification, OtpCredentials
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request
from hubbub.wire.upgrade import Upgrades
from hubbub.wire.websocket import WireSettings

__all__ = ["Bytecodes", "Calls", "Introduced", "Line", "Memory", "Scene", "set_up", "traced", "turns"]

# More turns of the loop than anything here takes.
TURNS = 16

# What is not counted: the tests, what runs them, and their loop; the server's is uvloop, which has no bytecodes.
TESTS = (str(Path(__file__).parents[1]), str(Path(anyio.__file__).parent), hubbub.testing.__file__)
LOOP = frozenset(
    module.__file__ for module in (asyncio.base_events, asyncio.events, asyncio.selector_events, selectors)
)


class Line(asyncio.Transport):
    """A client's connection: it feeds what the client says to its protocol, and counts what is written to it.

    Args:
        query: more of what its URL asks for.

    Attributes:
        writes: how often it was written to since the scene was last cleared.
        last: what was written last.
        says: the frame of a message to the room that its client is in.
    """

    def __init__(self, number: int, room: str, dialect: Dialect, query: str = "") -> None:
        super().__init__()
        self.user = f"user{number:04}"
        self.address = f"10.0.{number // 256}.{number % 256}"
        self.room = room
        self.dialect = dialect
        self.query = query
        self.writes = 0
        self.last = b""
        self.protocol: Any = None
        self.says = self.message(room)

    def message(self, room: str) -> bytes:
        """The frame of a message to a room."""
        return self.frame("send_message", {"message": "Hello, all of you!", "room": room})

    def joining(self, room: str, history: int = 0) -> bytes:
        """The frame that takes the client to a room."""
        if self.dialect is V1:
            return self.frame("join_room", {"room": room, "history": history})
        return self.frame("change_room", {"name": room})

    def frame(self, type_: str, payload: dict[str, object]) -> bytes:
        """An event as a client of the dialect sends it, masked with zeros."""
        envelope = {"type": type_, "payload": payload} | ({"id": "c1"} if self.dialect is V1 else {})
        text = json.dumps(envelope).encode()
        assert len(text) < 126
        return pack("!BBI", 0x81, 0x80 | len(text), 0) + text

    def request(self, otp: str = "") -> Request:
        """The request to upgrade."""
        headers = {
            "host": ["chat.example"],
            "upgrade": ["websocket"],
            "connection": ["Upgrade"],
            "sec-websocket-version": ["13"],
            "sec-websocket-key": ["dGhlIHNhbXBsZSBub25jZQ=="],
            "origin": ["https://chat.example"],
        }
        if self.dialect is V1:
            headers["sec-websocket-protocol"] = [f"hubbub.v1, otp.{otp}"]
            return Request("GET", "/ws", self.query, headers, self.address)
        return Request("GET", "/ws", f"otp={otp}{self.query}", headers, self.address)

    def feed(self, data: bytes) -> None:
        """Receive bytes; there is room for all of them."""
        self.protocol.get_buffer(-1)[: len(data)] = data
        self.protocol.buffer_updated(len(data))

    def write(self, data: Any) -> None:
        self.writes += 1
        self.last = data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False


class Introduced:
    """Those that know who comes from each address, and leave nothing behind when they have told."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def introduce(self, line: Line) -> Request:
        """Say who a line is; its request to upgrade."""
        self._grants[line.address] = Grant(line.user, f"session of {line.user}")
        return line.request()

    async def grant(self, request: Request) -> Grant:
        return self._grants[request.address]


class Turn:
    """Lets the loop go round once, by no code but this."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Scene:
    """A hub on the memory engine behind its door, and the connections that have come in.

    Attributes:
        lines: all of them.
    """

    def __init__(self, stage: Stage, credentials: Identification | None) -> None:
        settings = stage.settings
        wheel = Wheel(settings.heartbeat_interval, settings.heartbeat_timeout)
        sockets = WireSettings(settings.max_frame, Readers(settings.max_frame), wheel)
        self.core = stage.core
        self._engine = stage.engine
        self._otps = OneTimePasswords(
            stage.engine, ttl_s=settings.otp_ttl, per_account=settings.max_otps_per_account, in_all=0
        )
        door = Door(stage.core, credentials or OtpCredentials(self._otps), settings)
        self.upgrades = Upgrades(stage.core, door, sockets, Common(b"", stage.core.now))
        self.lines: list[Line] = []

    async def knock(self, line: Line) -> Request:
        """Log in; the request to upgrade that follows."""
        grant = Grant(line.user, f"session of {line.user}")
        await self._engine.put_session(grant, math.inf)
        otp = await self._otps.issue(grant)
        return line.request(otp)

    async def open(self, line: Line, request: Request) -> None:
        """Come in through the door."""
        self.upgrades.begin(line, request)
        await turns()
        self.lines.append(line)

    async def enter(self, dialect: Dialect, room: str, count: int, *, history: int = 0, query: str = "") -> list[Line]:
        """Let in as many users, and take them to a room, of which they want that much history."""
        first = len(self.lines)
        lines = [Line(number, room, dialect, query) for number in range(first, first + count)]
        for line in lines:
            self.upgrades.begin(line, await self.knock(line))
        await turns()
        self.lines += lines
        for line in lines:
            line.feed(line.joining(room, history))
        await self.core.drained()
        # Newcomers become ordinary members at the next message.
        await self.say(lines[:1])
        return lines

    async def say(self, speakers: list[Line]) -> None:
        """A message of each, all in one batch, delivered to the last member."""
        for line in speakers:
            line.feed(line.says)
        await turns()

    def clear(self) -> None:
        """Count writes from here on."""
        for line in self.lines:
            line.writes = 0


async def turns() -> None:
    """Let everything happen that is about to."""
    for _ in range(TURNS):
        await Turn()


@asynccontextmanager
async def set_up(credentials: Identification | None = None) -> AsyncIterator[Scene]:
    """A scene whose clock stands still, with a rate limit for each client that none of them reaches.

    Args:
        credentials: how its door knows who comes; by one-time passwords without any.
    """
    clock = Clock()
    engine = MemoryEngine(clock=clock, wall=clock, keep=RECENT)
    loop = asyncio.get_running_loop()
    is_debugging = loop.get_debug()
    loop.set_debug(False)  # in debug mode it notes where each callback comes from
    async with at_work(engine=engine, clock=clock, max_clients=10_000, client_rate=1e6, client_burst=1e6) as stage:
        yield Scene(stage, credentials)
    loop.set_debug(is_debugging)


# Counting


def is_counted(code: CodeType) -> bool:
    """Whether code is the server's, or called by it."""
    return not code.co_filename.startswith(TESTS) and code.co_filename not in LOOP


class Calls:
    """Which functions were called.

    Attributes:
        python: how often each function written in Python was called, or a coroutine resumed.
        c: how often each function and method written in C was called, by its name.
    """

    def __init__(self) -> None:
        self.python: Counter[CodeType] = Counter()
        self.c: Counter[str] = Counter()

    def __enter__(self) -> Self:
        gc.disable()
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.setprofile(self._before)
        gc.enable()

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if not is_counted(frame.f_code):
            return
        if event == "call":
            self.python[frame.f_code] += 1
        elif event == "c_call":
            self.c[argument.__qualname__] += 1


class Bytecodes:
    """How many bytecodes were executed.

    The number depends on nothing but the code and the version of Python.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._begin)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.settrace(self._before)
        gc.enable()

    def _begin(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not is_counted(frame.f_code):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            self.count += 1
        return self._step


class Memory:
    """How much memory was taken, and not given back.  `traced` must have begun before what may be given back was taken.

    Attributes:
        blocks: small blocks (of up to 512 bytes) more than before.
        size: bytes more than before.
        peak: bytes more than before, at the worst moment.
    """

    def __init__(self) -> None:
        self.blocks = self.size = self.peak = 0

    def __enter__(self) -> Self:
        gc.collect()  # also empties the interpreter's lists of objects to use again
        gc.disable()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]
        self._blocks_before = sys.getallocatedblocks()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        gc.enable()
        gc.collect()
        self.blocks = sys.getallocatedblocks() - self._blocks_before
        self.size = tracemalloc.get_traced_memory()[0] - self._before


@contextmanager
def traced() -> Iterator[None]:
    """Note every allocation."""
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        yield
    finally:
        if not was_tracing:
            tracemalloc.stop()
