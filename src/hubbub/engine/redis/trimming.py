"""Dropping what has grown too old in rooms that nobody reads; one node does it at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import hiredis
import structlog

from hubbub.engine.redis.calls import load
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.link import LinkLost
from hubbub.engine.redis.master import NotDone, ShardCall
from hubbub.engine.redis.masters import Masters

__all__ = ["Trimming"]

log = structlog.get_logger("hubbub.engine")

TRIM_S = 60.0
# Whoever has it trims; it ends before the next time, so that another node may be the next.
LEASE_MS = 50_000

# Keys that the server looks at for an answer, and how long it has for others between two.
SCANNED = 200
PAUSE_S = 0.005
WITHIN_S = 5.0

SCRIPT = load("trim")


class Trimming:
    """The sweep over all rooms.

    Args:
        node: this node's id.
        cutoff_ms: tells before when what was sent is too old, in milliseconds since 1970; 0 for nothing.
    """

    def __init__(self, node: bytes, keys: Keyspace, masters: Masters, cutoff_ms: Callable[[], int]) -> None:
        self._node = node
        self._keys = keys
        self._masters = masters
        self._cutoff_ms = cutoff_ms

    async def run(self) -> None:
        """Sweep for ever, where this node is the one that does."""
        while True:
            await asyncio.sleep(TRIM_S)
            try:
                await self.sweep()
            except (LinkLost, hiredis.ReplyError, NotDone) as error:
                log.warning("messages that are too old are not dropped now", error=str(error))

    async def sweep(self) -> None:
        """Drop what is too old, unless another node does.

        Raises:
            LinkLost, hiredis.ReplyError, NotDone: some of it may still be there.
        """
        cutoff = self._cutoff_ms()
        lease = self._keys.in_partition(0, "trim")
        if not cutoff or not await self._masters.ask(0, "SET", lease, self._node, "NX", "PX", LEASE_MS):
            return
        shards: dict[object, int] = {}
        for shard in range(self._keys.partitions):
            shards.setdefault(self._masters.of(shard), shard)
        for shard in shards.values():
            await self._sweep_server(shard, cutoff)

    async def _sweep_server(self, shard: int, cutoff: int) -> None:
        """Look at all rooms of the server that has a shard."""
        start, marker = self._keys.pattern("l"), b":l:"
        cursor = b"0"
        while True:
            cursor, found = await self._masters.ask(shard, "SCAN", cursor, "MATCH", start, "COUNT", SCANNED)
            for key in found:
                await self._trim(key, key.partition(marker)[2].decode(), cutoff)
            if cursor == b"0":
                return
            await asyncio.sleep(PAUSE_S)

    async def _trim(self, key: bytes, room: str, cutoff: int) -> None:
        call = ShardCall(self._keys.partition_of(room), SCRIPT, [key], lambda _identity: [cutoff])
        while await self._masters.run(call, within_s=WITHIN_S):  # noqa: ASYNC110  # others have their turn
            await asyncio.sleep(PAUSE_S)
