"""Nodes on a Redis of the tests: the vault, the presence of users and the read marks, with a small bus of their own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from contract.told import Told
from hubbub.engine.redis.attendance import RedisAttendance
from hubbub.engine.redis.calls import Calls
from hubbub.engine.redis.marks import RedisMarks
from hubbub.engine.redis.servers import connect, hang_up
from hubbub.engine.redis.steady import SteadyTime
from hubbub.engine.redis.target import parse
from hubbub.engine.redis.vault import RedisVault
from hubbub.testing import Clock

__all__ = ["Node", "new_prefix", "node_at"]


class Node:
    """A node, as far as it is no log.

    Attributes:
        told: what its listener was told.
    """

    def __init__(self, calls: Calls, clock: Clock, wall: Callable[[], float] | None) -> None:
        self.id = secrets.token_hex(4)
        self.calls = calls
        self.clock = clock
        self.told = Told()
        self.time = SteadyTime(clock)
        self.vault = RedisVault(calls, self.time, self.id)
        self.vault.listen(self.told)
        self.marks = RedisMarks(calls)
        self.attendance = RedisAttendance(calls, self.time, clock=clock, wall=wall, node=self.id)
        self.is_deaf = False
        self._echo = asyncio.Event()
        self._bus: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin; beats are the test's to give."""
        await self.attendance.open(self.told)
        beating = self.attendance._beating
        assert beating is not None
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    async def watch(self, *rooms: str) -> None:
        """Subscribe to rooms, and begin to hear their events; once."""
        servers = self.calls.servers
        connection = await servers.open(await servers.master())
        channels = {servers.keys.of_room("e", room): room for room in rooms}
        ended = servers.keys.of_vault("ended")
        await connection.send_command("SUBSCRIBE", *channels, ended)
        for _ in (*channels, ended):
            await connection.read_response(push_request=True)
        for room in rooms:
            self.attendance.watch(room)
        self._bus = asyncio.get_running_loop().create_task(self._hear(connection, channels))

    async def _hear(self, connection: Connection, channels: dict[bytes, str]) -> None:
        try:
            while True:
                _, channel, data = await connection.read_response(push_request=True)
                if data.startswith(b"="):
                    self._echo.set()
                elif self.is_deaf:
                    continue
                elif channel in channels:
                    self.attendance.heard(channels[channel], data)
                else:
                    self.vault.heard_ended(data)
        except RedisError:
            pass
        finally:
            await hang_up(connection)

    async def has_heard_all(self) -> None:
        """Wait until all is heard that was published before."""
        servers = self.calls.servers
        self._echo.clear()
        async with servers.opened(await servers.master()) as connection:
            await connection.send_command("PUBLISH", servers.keys.of_vault("ended"), "=")
            await connection.read_response()
        await self._echo.wait()

    async def die(self) -> None:
        """Stop without a word, as a process does that is killed."""
        if self._bus is not None:
            self._bus.cancel()
            await asyncio.gather(self._bus, return_exceptions=True)
        self.attendance._beating = None
        await self.attendance.leases.close()

    async def close(self) -> None:
        await self.attendance.close()
        await self.die()
        await self.calls.close()


def new_prefix() -> str:
    """A prefix that no other test has."""
    return f"test:{secrets.token_hex(4)}"


@asynccontextmanager
async def node_at(
    url: str, clock: Clock | None = None, *, wall: Callable[[], float] | None = None, is_open: bool = True
) -> AsyncIterator[Node]:
    """A node on the Redis of a URL."""
    node = Node(Calls(await connect(parse(url))), clock or Clock(), wall)
    try:
        if is_open:
            await node.open()
        yield node
    finally:
        await node.close()
