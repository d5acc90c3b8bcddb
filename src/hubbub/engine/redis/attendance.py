"""Who is in which room, on all nodes.

This node's users are noted here at once, and written to Redis by `parts`; who comes and goes anywhere is published in
each room's channel for events, and heard by every node, this one too.  What a room's listener was told is remembered
for rooms that are not large: where publications were lost, it is told the difference.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import structlog

from hubbub.engine import Listener, UserList
from hubbub.engine.local import Silent
from hubbub.engine.redis.calls import QUICK_S, Calls
from hubbub.engine.redis.leases import BEAT_S, Leases
from hubbub.engine.redis.parts import OwnPart, Parts
from hubbub.engine.redis.steady import SteadyTime
from hubbub.errors import EngineError

__all__ = ["RedisAttendance"]

# In a larger room the users are not remembered, and those read are good for a while.
MOST_REMEMBERED = 1000
FRESH_S = 2.0

# For so long after the users were read there may be publications on their way that the reading has seen.
SETTLING_S = 5.0

# Rooms to a reading.
ROOMS_AT_ONCE = 50

# Partitions to a beat in which this node looks whether what it has written is there.
CHECKS_TO_A_BEAT = 64

# How long a stop waits for this node's users to be out of all rooms.  The lease's end does the rest.
CLOSE_S = 3.0

log = structlog.get_logger("hubbub.engine")


class WatchedRoom:
    """A room whose listener is told who comes and goes.

    Attributes:
        users: those in it, as far as the listener knows; None where they are not known, or too many.
        settles: from when on what is told about users known to be there, or not, is nothing new.
        heard: while a reading is under way, the users heard of with whether they have come: it may know less.
    """

    __slots__ = ("heard", "settles", "users")

    def __init__(self) -> None:
        self.heard: dict[str, bool] | None = None
        self.users: set[str] | None = None
        self.settles: float | None = None


class RedisAttendance:
    """The users in rooms, in Redis.

    Args:
        time: the shared time.
        clock: seconds that never go back.
        wall: seconds since 1970, for how long no node ran; None for the server's.
        node: this node's id.
    """

    def __init__(
        self,
        calls: Calls,
        time: SteadyTime,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float] | None,
        node: str,
    ) -> None:
        self._calls = calls
        self._keys = calls.servers.keys
        self._clock = clock
        self._listener: Listener = Silent()
        self._parts = Parts(calls)
        self.leases = Leases(calls, self._parts, time, wall, node)
        # This node's users, by partition and room.
        self._here: dict[int, dict[str, set[str]]] = {}
        self._own: dict[int, OwnPart] = {}
        self._watched: dict[str, WatchedRoom] = {}
        self._unread: set[str] = set()
        self._large: dict[str, tuple[UserList, int, float]] = {}
        self._checked = 0
        self._was_swept = False
        self._kick = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    # Its life

    async def open(self, listener: Listener) -> None:
        """Take the lease, and begin to renew it.

        Raises:
            EngineError: it could not be taken.
        """
        self._listener = listener
        await self.leases.begin()
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def close(self) -> None:
        """Take this node's users out of all rooms, and give up the lease."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            await self.leases.close()
            await self._leave_all()
        self._listener = Silent()

    async def _leave_all(self) -> None:
        for part in self._own.values():
            await part.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                for partition in self._own:
                    await self._parts.sweep(self.leases.name, partition)
                await self.leases.end()
        except (EngineError, TimeoutError) as error:
            log.warning("this node's users are not out of all rooms; they are soon", error=str(error))

    async def _beat(self) -> None:
        is_well = True
        while True:
            try:
                await self.beat()
                is_well = True
            except EngineError as error:
                if is_well:
                    log.warning("the lease is not renewed", error=str(error))
                is_well = False
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._kick.wait()
            except TimeoutError:
                pass
            self._kick.clear()

    async def beat(self) -> None:
        """Renew the lease, look whether what was written is there, and read the users of rooms that are not known.

        Raises:
            EngineError: something of it was not done.
        """
        if self._was_swept:
            await self.leases.begin_anew()
        if self._was_swept or not await self.leases.renew():
            self._was_swept = False
            for part in self._own.values():
                part.restart(self.leases.name)
        await asyncio.gather(*(part.check() for part in self._next_to_check()))
        await self._read_unread()
        await self.leases.sweep_strays()
        await self._calls.probe_if_full()

    def _next_to_check(self) -> list[OwnPart]:
        """Those of some partitions; all of them within a few beats."""
        partitions = sorted(self._own)
        start = self._checked = self._checked % max(len(partitions), 1)
        self._checked += CHECKS_TO_A_BEAT
        return [self._own[partition] for partition in partitions[start : start + CHECKS_TO_A_BEAT]]

    # This node's users

    def enter(self, room: str, user: str) -> None:
        """Note a user's first connection of this process in a room."""
        partition = self._keys.partition_of(room)
        users = self._here.setdefault(partition, {}).setdefault(room, set())
        if user not in users:
            users.add(user)
            self._part(partition).note(room, f"+{user}")

    def leave(self, room: str, user: str) -> None:
        """Note that a user's last connection of this process has left a room."""
        partition = self._keys.partition_of(room)
        rooms = self._here.get(partition, {})
        users = rooms.get(room)
        if users is None or user not in users:
            return
        users.remove(user)
        if not users:
            del rooms[room]
        self._part(partition).note(room, f"-{user}")

    def _part(self, partition: int) -> OwnPart:
        part = self._own.get(partition)
        if part is None:

            def present() -> Mapping[str, set[str]]:
                return self._here.get(partition, {})

            part = self._own[partition] = OwnPart(self._parts, self.leases.name, partition, present, self._note_swept)
        return part

    def _note_swept(self) -> None:
        self._was_swept = True
        self._kick.set()

    # All users

    async def members(self, room: str, limit: int) -> UserList:
        """The users in a room, with those who came and went here before the call.

        Raises:
            EngineError: they cannot be read.
        """
        large = self._large.get(room)
        if large is not None:
            found, asked, until = large
            if limit <= asked and self._clock() < until:
                return UserList(found.users[:limit], found.count)
            del self._large[room]
        partition = self._keys.partition_of(room)
        if partition in self._own:
            await self._own[partition].settled()
        [found] = await self._read(partition, [room], limit)
        if found.count > MOST_REMEMBERED:
            self._large[room] = found, limit, self._clock() + FRESH_S
        return found

    async def _read(self, partition: int, rooms: list[str], limit: int) -> list[UserList]:
        keys = [self._keys.of_room(kind, room) for room in rooms for kind in ("n", "m")]
        answer = await self._calls.run("members", self._keys.slot(partition), keys, [limit], within_s=QUICK_S)
        return [UserList([name.decode() for name in names], count) for count, names in answer]

    # Who is told

    def watch(self, room: str) -> None:
        """Tell the listener who comes to a room and goes; its channel is subscribed to."""
        if room not in self._watched:
            self._watched[room] = WatchedRoom()
            self._unread.add(room)

    def unwatch(self, room: str) -> None:
        """Tell nobody of a room any more."""
        self._watched.pop(room, None)
        self._unread.discard(room)
        self._large.pop(room, None)

    def resync(self, rooms: Iterable[str] | None = None) -> None:
        """Find out who has come and gone while publications may have been lost, in some rooms or in all."""
        self._unread.update(self._watched if rooms is None else self._watched.keys() & set(rooms))
        self._kick.set()

    def heard(self, room: str, data: bytes) -> None:
        """Take what was published in a room's channel for events: `+user` and `-user`, with NUL between them."""
        watched = self._watched.get(room)
        if watched is None:
            return
        for change in data.decode().split("\0"):
            self._take(room, watched, change[0], change[1:])

    def _take(self, room: str, watched: WatchedRoom, sign: str, user: str) -> None:
        has_come = sign == "+"
        if watched.heard is not None:
            watched.heard[user] = has_come
        users = watched.users
        if users is not None:
            is_settled = watched.settles is not None and self._clock() >= watched.settles
            if is_settled and (user in users) == has_come:
                return
            (users.add if has_come else users.discard)(user)
            if len(users) > MOST_REMEMBERED:
                watched.users = None
        self._tell(room, user, has_come=has_come)

    def _tell(self, room: str, user: str, *, has_come: bool) -> None:
        if has_come:
            self._listener.came(room, user)
        else:
            self._listener.went(room, user)

    async def _read_unread(self) -> None:
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        for room in self._unread:
            by_partition[self._keys.partition_of(room)].append(room)
        some = [
            (partition, rooms[start : start + ROOMS_AT_ONCE])
            for partition, rooms in by_partition.items()
            for start in range(0, len(rooms), ROOMS_AT_ONCE)
        ]
        await asyncio.gather(*(self._read_some(partition, rooms) for partition, rooms in some))

    async def _read_some(self, partition: int, rooms: list[str]) -> None:
        self._unread.difference_update(rooms)
        for room in rooms:
            if room in self._watched:
                self._watched[room].heard = {}
        try:
            found = await self._read(partition, rooms, MOST_REMEMBERED + 1)
        except EngineError:
            for room in rooms:
                if room in self._watched:
                    self._watched[room].heard = None
                    self._unread.add(room)
            raise
        for room, users in zip(rooms, found, strict=True):
            watched = self._watched.get(room)
            if watched is not None:
                self._compare(room, watched, users)

    def _compare(self, room: str, watched: WatchedRoom, found: UserList) -> None:
        """Tell the listener what it has missed, if it is known what it was told."""
        before, heard, watched.heard = watched.users, watched.heard or {}, None
        if found.count > MOST_REMEMBERED:
            watched.users = None
            return
        watched.users = set(found.users) - heard.keys()
        watched.users.update(user for user, has_come in heard.items() if has_come)
        if before is None:
            watched.settles = self._clock() + SETTLING_S
            return
        for user in sorted(before - watched.users):
            self._tell(room, user, has_come=False)
        for user in sorted(watched.users - before):
            self._tell(room, user, has_come=True)
