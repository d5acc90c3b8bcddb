"""Running a script on the master of a slot: connections, errors in the engine's words, and trying again.

For what is not per message.  A script is a file in `scripts`.  All of them begin with `#!lua`: a server that is full,
or that is no master, refuses such a script before it has done anything, unless its flags say that it only reads
(`no-writes`) or makes room (`allow-oom`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.servers import SILENT_S, Servers, hang_up
from hubbub.engine.redis.target import Address
from hubbub.errors import EngineError, NotKept, NotKnown
from hubbub.ration import Ration

__all__ = ["Calls", "Script", "load"]

WITH = "-- with "

Arg = bytes | str | int

log = structlog.get_logger("hubbub.engine")

FULL = "its memory is full (maxmemory)"

# How long a call is tried for: one that someone waits for at a login, and any other.
QUICK_S = 3.0
PATIENT_S = 10.0

# Between two tries, at first and at most.
FIRST_DELAY_S = 0.02
MOST_DELAY_S = 0.5

# Connections to one server; each carries one call at a time.
MOST_CONNECTIONS = 8

# Answers that say that nothing was done, and that it may be different soon, by how they begin: a script that has taken
# too long, too few replicas, a disk that cannot be written.
REFUSALS = ("BUSY ", "NOREPLICAS ", "MISCONF ", "UNKILLABLE ")


@dataclass(frozen=True)
class Script:
    """A script of ours."""

    name: str
    text: bytes = field(repr=False)
    sha: str
    makes_room: bool


@cache
def load(name: str) -> Script:
    """The script of a name, such as `take_otp`.

    Its first line has the flags; its second may be `-- with` and the names of files that are put before the rest.
    """
    first, second, rest = read(name).split("\n", 2)
    shared = [read(other) for other in second.removeprefix(WITH).split()] if second.startswith(WITH) else [second]
    text = "\n".join([first, *shared, rest]).encode()
    makes_room = "no-writes" in first or "allow-oom" in first
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest(), makes_room)


def read(name: str) -> str:
    return (files(__package__) / "scripts" / f"{name}.lua").read_text()


@dataclass
class ScriptCall:
    """A script on its way.

    Attributes:
        is_unsettled: whether it was sent, and its answer has not come.
        failure: what went wrong last.
    """

    script: Script
    slot: int
    keys: Sequence[bytes]
    args: Sequence[Arg]
    is_unsettled: bool = False
    failure: str = "it was not reached"

    def command(self, verb: str, body: str | bytes) -> tuple[Arg, ...]:
        return (verb, body, len(self.keys), *self.keys, *self.args)


class Calls:
    """Runs scripts on the masters of a target.

    Attributes:
        patience_s: how long a call is tried for at most.
    """

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.patience_s = PATIENT_S
        self._pools: dict[Address, Pool] = {}
        self._is_answering = True
        self._is_full = False
        self._lines = Ration(5, 5.0)

    @property
    def is_up(self) -> bool:
        """Whether the last call was answered, and the memory of no server is full, as far as is known."""
        return self._is_answering and not self._is_full

    async def run(
        self,
        name: str,
        slot: int,
        keys: Sequence[bytes],
        args: Sequence[Arg],
        *,
        is_repeatable: bool = True,
        within_s: float | None = None,
    ) -> Any:
        """Run a script and return its answer; strings in it are bytes.

        Args:
            name: of the script.
            slot: of all its keys.
            is_repeatable: whether it may be run again where the answer to it was lost.
            within_s: how long it is tried for; `patience_s` without it.

        Raises:
            NotKept: nothing was done.
            NotKnown: it was done, or not; the answer was lost.
        """
        call = ScriptCall(load(name), slot, keys, args)
        within_s = self.patience_s if within_s is None else min(within_s, self.patience_s)
        try:
            async with asyncio.timeout(within_s):
                answer = await self._run(call, is_repeatable=is_repeatable)
        except TimeoutError:
            self._is_answering = False
            raise self._error(call, f"no answer within {within_s:g} s; {call.failure}") from None
        self._is_answering = True
        if not call.script.makes_room:
            self._is_full = False
        return answer

    async def probe_if_full(self) -> None:
        """Where the memory was full, find out whether it still is.

        Raises:
            EngineError: it is.
        """
        if self._is_full:
            await self.run("probe", VAULT_SLOT, [], [])

    async def close(self) -> None:
        """End all connections; those in use when they come back."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()

    async def _run(self, call: ScriptCall, *, is_repeatable: bool) -> Any:
        delay = 0.0
        while True:
            try:
                return await self._try(call)
            except (RedisError, OSError, EngineError) as error:
                call.failure = f"{type(error).__name__}: {error}"
                remedy = remedy_for(error)
                if isinstance(error, OutOfMemoryError):
                    self._is_full = True
                    call.failure = FULL
            if remedy is Remedy.NONE or (call.is_unsettled and not is_repeatable):
                raise self._error(call, call.failure)
            # The first time at once: a connection that was idle may have been closed long ago.
            await asyncio.sleep(delay)
            delay = min(max(2 * delay, FIRST_DELAY_S), MOST_DELAY_S)
            if remedy is Remedy.LOOK_ELSEWHERE:
                self._is_answering = False
                with contextlib.suppress(EngineError):  # it is tried again where the master was
                    await self.servers.refresh()

    async def _try(self, call: ScriptCall) -> Any:
        address = await self.servers.master(call.slot)
        try:
            return await self._ask(address, call)
        except MovedError as error:
            self.servers.moved(call.slot, (error.host or address[0], error.port))
            raise
        except AskError as error:
            return await self._ask((error.host or address[0], error.port), call, is_redirected=True)

    async def _ask(self, address: Address, call: ScriptCall, *, is_redirected: bool = False) -> Any:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(self.servers, address)
        async with pool.taken() as connection:
            try:
                return await exchange(connection, call, call.command("EVALSHA", call.script.sha), is_redirected)
            except NoScriptError:
                return await exchange(connection, call, call.command("EVAL", call.script.text), is_redirected)

    def _error(self, call: ScriptCall, what: str) -> EngineError:
        """What the caller is told, who may tell a stranger: where Redis is, and what it says, is for the log."""
        left_out = self._lines.take(asyncio.get_running_loop().time())
        if left_out is not None:
            log.warning("Redis has not done it", script=call.script.name, error=what, lines_left_out=left_out)
        kind = NotKnown if call.is_unsettled else NotKept
        return kind("Redis' memory is full" if what == FULL else "Redis does not answer, or refuses it")


async def exchange(connection: Connection, call: ScriptCall, command: tuple[Arg, ...], is_redirected: bool) -> Any:
    """Send a command and read its answer.

    Args:
        is_redirected: whether an ASK has led here: it is to be done for a slot that the server does not have yet.
    """
    was_unsettled, call.is_unsettled = call.is_unsettled, True
    commands: list[tuple[Arg, ...]] = [("ASKING",), command] if is_redirected else [command]
    try:
        async with asyncio.timeout(SILENT_S):
            await connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                answer = await connection.read_response()
    except (ResponseError, BusyLoadingError):
        # This copy was refused.  An earlier one, whose answer was lost, may have been run.
        call.is_unsettled = was_unsettled
        raise
    call.is_unsettled = False
    return answer


class Remedy(Enum):
    """What helps against an error."""

    NONE = auto()
    TRY_AGAIN = auto()
    LOOK_ELSEWHERE = auto()  # the master may be another one: it is asked for, and the call is tried again


def remedy_for(error: Exception) -> Remedy:
    """What helps, where an error says that nothing was done, or where a connection is lost."""
    match error:
        case AskError() | TryAgainError():  # MovedError is an AskError
            return Remedy.TRY_AGAIN
        case BusyLoadingError() | ClusterDownError() | ReadOnlyError():
            return Remedy.LOOK_ELSEWHERE
        case AuthenticationError() | NoPermissionError():
            return Remedy.NONE
        case ResponseError():
            return Remedy.TRY_AGAIN if str(error).startswith(REFUSALS) else Remedy.NONE
        case _:
            return Remedy.LOOK_ELSEWHERE


class Pool:
    """Connections to one server."""

    def __init__(self, servers: Servers, address: Address) -> None:
        self._servers = servers
        self._address = address
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(MOST_CONNECTIONS)
        self._is_closed = False

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Connection]:
        """An open connection; it is kept for the next call unless something happens to it.

        Raises:
            RedisError: it cannot be opened.
        """
        async with self._free:
            connection = await self._open()
            is_usable = False
            try:
                yield connection
                is_usable = True
            except ResponseError:
                is_usable = True  # that was the answer
                raise
            finally:
                if is_usable and not self._is_closed:
                    self._idle.append(connection)
                else:
                    await hang_up(connection)

    async def _open(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_connected and not await connection.can_read():
                return connection
            await hang_up(connection)  # the server has closed it
        return await self._servers.open(self._address)

    async def close(self) -> None:
        self._is_closed = True
        while self._idle:
            await hang_up(self._idle.pop())
