"""That this node lives, told to the others, and what becomes of those that do not.

A node has a lease, which it renews.  When it ends, whoever notices first takes the node's users out of all rooms; a
sweeper that dies as well is followed by another one.  A node that was swept all the same, because it was stopped for a
while, goes on under another name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import structlog

from hubbub.engine.redis.calls import QUICK_S, Calls
from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.parts import Parts
from hubbub.engine.redis.steady import SteadyTime
from hubbub.errors import EngineError

__all__ = ["Leases"]

# A lease is renewed each `BEAT_S` seconds.  A node's death is seen at most one beat after its end; users that are gone
# have five seconds more before the others are told (presence.py), and within 15 seconds all is right.
LEASE_MS = 7000
BEAT_S = 2.0

# Partitions to a beat that are searched for users of nodes without a lease.
LOOKS = 8
# Such a node is remembered for as many leases, until all partitions have been looked at again.
MOST_LEASES = 60

log = structlog.get_logger("hubbub.engine")


class Leases:
    """This node's lease.

    Args:
        time: the shared time.
        wall: seconds since 1970, for how long no node ran; None for the server's.
        node: this node's id.

    Attributes:
        name: what its users are kept under: the id, and a number that rises when it was swept.
        forget: called with the id of a node that has been gone for ten minutes, on one of the nodes.
    """

    def __init__(
        self, calls: Calls, parts: Parts, time: SteadyTime, wall: Callable[[], float] | None, node: str
    ) -> None:
        self.forget: Callable[[str], None] = lambda _: None
        self._calls = calls
        self._parts = parts
        self._keys = calls.servers.keys
        self._time = time
        self._wall = wall
        self._node = node
        self._numbers = count(1)
        self.name = self._next_name()
        self._looked = 0
        self._strays: dict[str, int] = {}
        self._sweeping: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """Take the lease, when the node starts.

        Raises:
            EngineError: it could not be taken.
        """
        await self._renew(is_new=True)

    async def renew(self) -> bool:
        """Renew the lease, and sweep those that are dead; whether this node was still known under its name.

        Where it was not, it has a new one.

        Raises:
            EngineError: it could not be renewed.
        """
        if await self._renew(is_new=False):
            return True
        await self.begin_anew()
        return False

    async def begin_anew(self) -> None:
        """Take a lease under a new name; what there is under the old one is swept when it has ended.

        Raises:
            EngineError: it could not be taken.
        """
        before, self.name = self.name, self._next_name()
        await self._renew(is_new=True, before=before)

    async def end(self) -> None:
        """Give up the lease, when this node's users are out of all rooms.

        Raises:
            EngineError: it could not be given up.
        """
        await self._release(self.name)

    async def sweep_strays(self) -> None:
        """Sweep those that have users in some partitions, and no lease: the server has lost it before they died.

        All partitions are looked at in turn.

        Raises:
            EngineError: they cannot be found.
        """
        partitions = [(self._looked + step) % self._keys.partitions for step in range(LOOKS)][: self._keys.partitions]
        self._looked += LOOKS
        # Whoever has a lease had it before the part, so of these names none is only on its way to get one.
        names = set().union(*[await self._parts.names(partition) for partition in partitions])
        if not names and not self._strays:
            return
        known = await self._calls.run("known", VAULT_SLOT, self._keys.of_leases, [], within_s=QUICK_S)
        self._sweep_old_strays(names, {name.decode() for some in known for name in some})

    def _sweep_old_strays(self, names: set[str], known: set[str]) -> None:
        """Sweep those that have been strays for a while: one that lives comes for another lease within that time."""
        now = self._time.now_ms()
        self._strays = {
            name: since
            for name, since in self._strays.items()
            if name not in known and now - since < MOST_LEASES * LEASE_MS
        }
        for name in names - known:
            if now - self._strays.setdefault(name, now) >= LEASE_MS:
                del self._strays[name]
                self._sweep_soon(name)

    async def close(self) -> None:
        """Sweep no more."""
        tasks = list(self._sweeping.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def swept(self) -> None:
        """Wait until those that this node sweeps now are swept, or it has failed."""
        await asyncio.gather(*self._sweeping.values(), return_exceptions=True)

    async def _renew(self, *, is_new: bool, before: str = "") -> bool:
        wall = "" if self._wall is None else round(self._wall() * 1000)
        args = (self._time.now_ms(), wall, LEASE_MS, int(is_new), self.name, before, *self._sweeping)
        at, was_there, taken, gone = await self._calls.run(
            "lease", VAULT_SLOT, self._keys.of_leases, args, within_s=QUICK_S
        )
        self._time.learn(at)
        for name in taken:
            self._sweep_soon(name.decode())
        for name in gone:
            self.forget(name.decode().rpartition(".")[0])
        return bool(was_there)

    def _sweep_soon(self, name: str) -> None:
        if name not in self._sweeping and name != self.name:
            self._sweeping[name] = asyncio.get_running_loop().create_task(self._sweep(name))

    async def _sweep(self, name: str) -> None:
        try:
            for partition in range(self._keys.partitions):
                await self._parts.sweep(name, partition)
            await self._release(name)
            log.warning("a node was gone, and its users are out of all rooms", node=name)
        except EngineError as error:  # whoever comes to it next goes on
            log.warning("a node is gone, and its users are not out of all rooms yet", node=name, error=str(error))
        finally:
            self._sweeping.pop(name, None)

    async def _release(self, name: str) -> None:
        args = (self._time.now_ms(), name)
        [at] = await self._calls.run("release", VAULT_SLOT, self._keys.of_leases, args, within_s=QUICK_S)
        self._time.learn(at)

    def _next_name(self) -> str:
        return f"{self._node}.{next(self._numbers)}"
