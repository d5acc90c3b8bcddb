"""What one node has in Redis of who is in which room, by partition, and the changes of it on their way there.

The changes of a partition are written in their order, a batch at a time, and while one is under way the next ones
gather.  Batches have numbers: one that comes late, and one before which something was lost, change nothing.  A node
that finds this, or that could not write for a while, looks at what is there and writes the difference.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from hubbub.engine.redis.calls import QUICK_S, Calls
from hubbub.errors import EngineError

__all__ = ["Change", "OwnPart", "Parts"]

# Changes to a batch, and the most that wait; beyond that the difference is found out when there is time.
MOST_CHANGES = 500
MOST_WAITING = 5_000

# Entries to a page of a part.
PAGE = 1000

# Room, and `+user` or `-user`.
Change = tuple[str, str]
Entry = tuple[str, str]  # room, user


# The number of the last batch of a part that was ended (end_part.lua).
FENCE = 2**53 - 1


class Parts:
    """The parts of all partitions that nodes have, as the scripts see them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._keys = calls.servers.keys

    async def write(self, node: str, partition: int, before: int, number: int, changes: Sequence[Change]) -> int:
        """Write a batch, if the one before it is the last that was written; the number of that.

        Args:
            before: the number of the one before it.
            number: its own, which no other batch of the part ever has.

        Raises:
            EngineError: it may not be written.
        """
        keys, publish = self._keys, self._calls.servers.publish
        named = [self._key(node, partition), keys.in_partition(partition, "parts")]
        args: list[bytes | str | int] = [node, before, number, publish]
        for room, of_room in groupby(changes, key=itemgetter(0)):
            signs = [sign for _, sign in of_room]
            named += [keys.of_room("n", room), keys.of_room("m", room)]
            args += [room, keys.of_room("e", room), len(signs), *signs]
        return int(await self._calls.run("attend", keys.slot(partition), named, args, within_s=QUICK_S))

    async def read(self, node: str, partition: int) -> tuple[int, set[Entry]]:
        """All entries of a part, and the number of its last batch; while nobody writes it.

        Raises:
            EngineError: it cannot be read.
        """
        found: set[Entry] = set()
        while True:
            number, entries = await self.read_page(node, partition, len(found))
            found.update(entries)
            if len(entries) < PAGE:
                return number, found

    async def read_page(self, node: str, partition: int, start: int = 0, size: int = PAGE) -> tuple[int, list[Entry]]:
        """Some entries of a part, and the number of its last batch.

        Raises:
            EngineError: it cannot be read.
        """
        key = self._key(node, partition)
        number, entries = await self._calls.run("part", self._keys.slot(partition), [key], [start, size])
        rooms = (entry.decode().partition("\0") for entry in entries)
        return number, [(room, user) for room, _, user in rooms]

    async def sweep(self, node: str, partition: int) -> None:
        """Take all users of a node out of the rooms of a partition, and end its part.

        Raises:
            EngineError: some may still be there.
        """
        while True:
            number, entries = await self.read_page(node, partition)
            if entries:
                gone = [(room, f"-{user}") for room, user in entries]
                await self.write(node, partition, number, number + 1, gone)
            elif not number or await self._end(node, partition):
                return

    async def names(self, partition: int) -> set[str]:
        """The nodes that have a part of a partition.

        Raises:
            EngineError: they cannot be read.
        """
        index = [self._keys.in_partition(partition, "parts")]
        return {name.decode() for name in await self._calls.run("part_names", self._keys.slot(partition), index, [])}

    async def _end(self, node: str, partition: int) -> bool:
        keys = [self._key(node, partition), self._keys.in_partition(partition, "parts")]
        return bool(await self._calls.run("end_part", self._keys.slot(partition), keys, [node]))

    def _key(self, node: str, partition: int) -> bytes:
        return self._keys.in_partition(partition, f"r:{node}")


class OwnPart:
    """A node's own part of one partition.

    Args:
        present: who is in which room of it on this node, now.
        swept: called when this node finds out that it was taken to be dead.

    Attributes:
        number: of the last batch that is known to be written.
    """

    def __init__(
        self,
        parts: Parts,
        node: str,
        partition: int,
        present: Callable[[], Mapping[str, set[str]]],
        swept: Callable[[], None],
    ) -> None:
        self.number = 0
        # Of a batch that was given up a copy may still be on its way: its number is not used again.
        self._last_used = 0
        self._parts = parts
        self._node = node
        self._partition = partition
        self._present = present
        self._swept = swept
        self._waiting: deque[Change] = deque()
        self._is_doubtful = False
        self._is_closed = False
        self._noted = 0
        self._done = 0
        # Those that wait until so many changes are done.
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def note(self, room: str, sign: str) -> None:
        """Let a change be written."""
        self._noted += 1
        if self._is_doubtful:
            return  # it is in the difference
        self._waiting.append((room, sign))
        if len(self._waiting) > MOST_WAITING:
            self.doubt()
        self._write_soon()

    def doubt(self) -> None:
        """What is written may not be what is so: find the difference."""
        self._is_doubtful = True
        self._waiting.clear()

    def restart(self, node: str) -> None:
        """Write all anew, under another name."""
        self._node, self.number, self._last_used = node, 0, 0
        self._waiting = deque((room, f"+{user}") for room, users in self._present().items() for user in users)
        self._done = self._noted - len(self._waiting)
        self._is_doubtful = False
        self._release()
        self._write_soon()

    async def settled(self) -> None:
        """Wait until all changes noted so far are written.

        Raises:
            EngineError: they could not be written now.
        """
        if self._done >= self._noted:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._noted, waiter))
        self._write_soon()
        await waiter

    async def check(self) -> None:
        """Find out whether the server still has what was written, and write what it lost.

        Raises:
            EngineError: it cannot be found out.
        """
        if self._task is not None or self._is_closed:
            return
        if not self._is_doubtful:
            before = self.number
            number, _ = await self._parts.read_page(self._node, self._partition, size=0)
            if number != self.number and before == self.number and self._task is None:
                self.doubt()
        if self._is_doubtful or self._waiting:
            self._write_soon()

    async def close(self) -> None:
        """Write nothing more."""
        self._is_closed = True
        self._waiting.clear()
        self._fail("the engine is closed")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # Writing

    def _write_soon(self) -> None:
        if self._task is None and not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._is_doubtful or self._waiting:
                if self._is_doubtful:
                    await self._find_difference()
                else:
                    await self._write_batch()
        except EngineError as error:
            # Tried again at the next look.  Until then changes come to nothing but a difference.
            self.doubt()
            self._fail(str(error))
        finally:
            self._task = None

    async def _find_difference(self) -> None:
        self._is_doubtful = False
        node = self._node
        number, written = await self._parts.read(node, self._partition)
        if node != self._node:
            return  # all is written anew
        if number >= FENCE:
            self._swept()
            return
        # What was noted in the meantime is in what is present now.
        present = {(room, user) for room, users in self._present().items() for user in users}
        gone = [(room, f"-{user}") for room, user in sorted(written - present)]
        come = [(room, f"+{user}") for room, user in sorted(present - written)]
        self.number = number
        self._waiting = deque(gone + come)
        self._done = self._noted - len(self._waiting)
        self._release()

    async def _write_batch(self) -> None:
        node, batch = self._node, list(take(self._waiting, MOST_CHANGES))
        before = self.number
        number = self._last_used = max(before, self._last_used) + 1
        last = await self._parts.write(node, self._partition, before, number, batch)
        if node != self._node:
            return  # all is written anew
        if last not in (before, number):  # the latter where the answer to the first copy was lost
            if last >= FENCE:
                self._swept()
            self.doubt()
            return
        self.number = number
        self._done += len(batch)
        self._release()

    def _release(self) -> None:
        while self._waiters and self._waiters[0][0] <= self._done:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, why: str) -> None:
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(EngineError(why))


def take(queue: deque[Change], most: int) -> Iterator[Change]:
    while queue and most:
        most -= 1
        yield queue.popleft()
