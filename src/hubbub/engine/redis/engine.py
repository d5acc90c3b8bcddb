"""The Redis engine: many processes and machines, on one server, on Sentinel's master, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable

from hubbub.engine import Followed, Listener, UserList
from hubbub.engine.redis.attendance import RedisAttendance
from hubbub.engine.redis.calls import Calls
from hubbub.engine.redis.log import RedisLog
from hubbub.engine.redis.marks import RedisMarks
from hubbub.engine.redis.master import Master
from hubbub.engine.redis.servers import Servers, connect
from hubbub.engine.redis.steady import SteadyTime
from hubbub.engine.redis.target import RedisTarget
from hubbub.engine.redis.vault import RedisVault
from hubbub.errors import ConfigError, EngineError

__all__ = ["RedisEngine", "make_redis_engine"]


class RedisEngine(RedisLog, RedisVault):
    """All parts of the port, on the servers of a target.

    Args:
        servers: where the data is; started.
        clock: seconds that never go back.
        keep: messages kept of a room; 0 for all.
        keep_s: seconds that a message is kept; 0 for ever.
        wall: tests' seconds since 1970; None for the server's own time.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        clock: Callable[[], float],
        keep: int = 0,
        keep_s: float = 0,
        wall: Callable[[], float] | None = None,
    ) -> None:
        RedisLog.__init__(self, servers, clock=clock, keep=keep, keep_s=keep_s, wall=wall)
        calls = Calls(servers)
        time = SteadyTime(clock)
        node = self.node.decode()
        RedisVault.__init__(self, calls, time, node)
        self._marks = RedisMarks(calls)
        self._attendance = RedisAttendance(calls, time, clock=clock, wall=wall, node=node)
        self._attendance.leases.forget = self.forget_node
        self.hear(servers.keys.of_vault("ended"), self.heard_ended)

    async def open(self, listener: Listener) -> None:
        try:
            await self.open_log(listener)
            self.listen(listener)
            await self._attendance.open(listener)
        except EngineError as error:
            await self.close()
            raise ConfigError(f"--engine {self._calls.servers.target.shown}: {error}") from None

    async def close(self) -> None:
        await self._attendance.close()
        await self.close_log()
        await self._calls.close()

    @property
    def is_up(self) -> bool:
        return self.is_log_up and self._calls.is_up

    # Rooms

    async def clear(self, room: str) -> None:
        await super().clear(room)
        await self._marks.forget_room(room)

    async def subscribe(self, room: str) -> None:
        await super().subscribe(room)
        self._attendance.watch(room)

    def unsubscribe(self, room: str) -> None:
        super().unsubscribe(room)
        self._attendance.unwatch(room)

    def heard_users(self, room: str, data: bytes) -> None:
        self._attendance.heard(room, data)

    def missed_events(self, master: Master) -> None:
        self._attendance.resync(self.rooms_on(master))

    # Attendance

    def enter(self, room: str, user: str) -> None:
        self._attendance.enter(room, user)

    def leave(self, room: str, user: str) -> None:
        self._attendance.leave(room, user)

    async def members(self, room: str, limit: int) -> UserList:
        return await self._attendance.members(room, limit)

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        return await self._marks.mark_read(room, user, seq)

    async def read_mark(self, room: str, user: str) -> int:
        return await self._marks.read_mark(room, user)

    # Rooms of users

    async def followed(self, user: str) -> list[Followed]:
        muted = sorted((await self.muted(user)).items())
        marks = await self._marks.read_marks([room for room, _ in muted], user)
        return [Followed(room, is_muted, mark) for (room, is_muted), mark in zip(muted, marks, strict=True)]

    async def remove_account(self, user: str) -> bool:
        was_there = await super().remove_account(user)
        await self._marks.forget_user(user)
        return was_there


async def make_redis_engine(
    target: RedisTarget,
    *,
    clock: Callable[[], float],
    keep: int = 0,
    keep_s: float = 0,
    wall: Callable[[], float] | None = None,
) -> RedisEngine:
    """Find the servers of a target, and make the engine that uses them.

    Raises:
        ConfigError: they cannot be used.
    """
    return RedisEngine(await connect(target), clock=clock, keep=keep, keep_s=keep_s, wall=wall)
