"""How far each user has read each room, in Redis.

Readers move their marks often.  So those of a partition go together: while some are being written the next ones gather.
A room's marks are one hash; beside it each user has a set of the rooms, so that the marks of an account that is
removed can be found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hubbub.engine.redis.calls import Calls
from hubbub.errors import EngineError

__all__ = ["RedisMarks"]

# Marks to a call.
MOST_MARKS = 500

Mark = tuple[str, str]  # user, room


class MarkBatch:
    """Marks that are written together.

    Attributes:
        marks: by user and room.
        outcome: how far each was read after the write, or why it failed; None until then.
    """

    __slots__ = ("marks", "outcome")

    def __init__(self) -> None:
        self.marks: dict[Mark, int] = {}
        self.outcome: dict[Mark, int] | EngineError | None = None


class MarkLane:
    """The marks of a partition on their way: the batch that gathers, and whose turn it is to write."""

    __slots__ = ("batch", "turn")

    def __init__(self) -> None:
        self.batch = MarkBatch()
        self.turn = asyncio.Lock()


class RedisMarks:
    """Read marks in Redis."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._keys = calls.servers.keys
        self._lanes: dict[int, MarkLane] = {}

    async def mark_read(self, room: str, user: str, seq: int) -> int:
        if not seq:
            return await self.read_mark(room, user)  # the mark of a room in which nothing was said is not kept
        partition = self._keys.partition_of(room)
        lane = self._lanes.setdefault(partition, MarkLane())
        batch, mark = lane.batch, (user, room)
        batch.marks[mark] = max(seq, batch.marks.get(mark, 0))
        if len(batch.marks) >= MOST_MARKS:
            lane.batch = MarkBatch()
        async with lane.turn:
            if batch.outcome is None:  # the first of those who wait writes for all
                if batch is lane.batch:
                    lane.batch = MarkBatch()
                await self._write(partition, batch)
        if isinstance(batch.outcome, dict):
            return batch.outcome[mark]
        raise EngineError(str(batch.outcome))

    async def read_mark(self, room: str, user: str) -> int:
        partition = self._keys.partition_of(room)
        return int(await self._run("find_mark", partition, [self._keys.of_room("k", room)], [user]))

    async def read_marks(self, rooms: Sequence[str], user: str) -> list[int]:
        """How far a user has read each of some rooms.

        Raises:
            EngineError: they cannot be read.
        """
        of_partition: dict[int, list[str]] = {}
        for room in rooms:
            of_partition.setdefault(self._keys.partition_of(room), []).append(room)
        answers = await asyncio.gather(
            *(
                self._run("find_marks", partition, [self._keys.of_room("k", room) for room in some], [user])
                for partition, some in of_partition.items()
            )
        )
        marks = {
            room: int(mark)
            for some, answer in zip(of_partition.values(), answers, strict=True)
            for room, mark in zip(some, answer, strict=True)
        }
        return [marks[room] for room in rooms]

    async def forget_user(self, user: str) -> None:
        """Forget all marks of a user whose account is gone, some at a time.

        Raises:
            EngineError: some may still be there.
        """
        for partition in range(self._keys.partitions):
            key = self._keys.in_partition(partition, f"ku:{user}")
            while found := await self._run("marked", partition, [key], [MOST_MARKS]):
                await self._forget(partition, [(user, room.decode()) for room in found])

    async def forget_room(self, room: str) -> None:
        """Forget all marks in a room, some at a time.

        Raises:
            EngineError: some may still be there.
        """
        partition = self._keys.partition_of(room)
        while found := await self._run("marked", partition, [self._keys.of_room("k", room)], [MOST_MARKS]):
            await self._forget(partition, [(user.decode(), room) for user in found])

    async def _write(self, partition: int, batch: MarkBatch) -> None:
        args = [arg for (user, room), seq in batch.marks.items() for arg in (user, room, seq)]
        try:
            furthest = await self._run("mark", partition, self._keys_of(partition, list(batch.marks)), args)
        except EngineError as error:
            batch.outcome = error
        else:
            batch.outcome = dict(zip(batch.marks, furthest, strict=True))

    async def _forget(self, partition: int, marks: Sequence[Mark]) -> None:
        await self._run(
            "forget_marks", partition, self._keys_of(partition, marks), [arg for mark in marks for arg in mark]
        )

    def _keys_of(self, partition: int, marks: Sequence[Mark]) -> list[bytes]:
        keys = self._keys
        pairs = ((keys.of_room("k", room), keys.in_partition(partition, f"ku:{user}")) for user, room in marks)
        return [key for pair in pairs for key in pair]

    async def _run(self, script: str, partition: int, keys: Sequence[bytes], args: Sequence[str | int]) -> Any:
        return await self._calls.run(script, self._keys.slot(partition), keys, args)
