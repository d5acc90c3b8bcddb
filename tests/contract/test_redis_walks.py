"""Random walks: nodes come, die, pause and hear nothing, the server forgets; in the end all know who is in which room.

`HUBBUB_WALKS=200` walks that many ways; a failure names the seed.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from hubbub.cluster.redis import RedisServer
from hubbub.engine.redis.leases import LEASE_MS
from hubbub.testing import Clock
from redis_nodes import Node, new_prefix, node_at
from redis_servers import needs_redis, redis_single

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]

WALKS = int(os.environ.get("HUBBUB_WALKS", "8"))
STEPS = 80
NODES = 3
ROOMS = ("a", "b")
USERS = ("alice", "bob", "carol", "percy")
DEADLINE_S = 20.0
LEASE_S = LEASE_MS / 1000

Kept = dict[bytes, bytes]


class Walk:
    """Nodes on one Redis, and who is in fact in which room on each of them."""

    def __init__(self, url: str, chance: random.Random, stack: AsyncExitStack) -> None:
        self.clock = Clock()
        self.nodes: list[Node] = []
        self._url = url
        self._chance = chance
        self._stack = stack
        self._here: dict[Node, set[tuple[str, str]]] = {}
        self._backup: Kept = {}
        self._first: dict[Node, dict[str, set[str]]] = {}

    async def start(self) -> None:
        for _ in range(NODES):
            await self.add()

    async def add(self) -> None:
        node = await self._stack.enter_async_context(node_at(self._url, self.clock))
        await node.watch(*ROOMS)
        await node.attendance.beat()
        watched = node.attendance._watched
        self._first[node] = {room: set(watched[room].users or ()) for room in ROOMS}
        self.nodes.append(node)
        self._here[node] = set()

    async def step(self) -> None:
        node = self._chance.choice(self.nodes)
        match self._chance.choice(STEPS_OF_A_WALK):
            case "move":
                self._move(node, (self._chance.choice(ROOMS), self._chance.choice(USERS)))
            case "wait":
                await asyncio.sleep(self._chance.choice((0, 0.001, 0.005)))
            case "beat":
                await node.attendance.beat()
            case "time":
                self.clock.go(self._chance.choice((0.5, 2, LEASE_S + 1)))
            case "deaf":
                self._turn_deaf(node)
            case "die":
                await self._die(node)
                await self.add()
            case "back up":
                self._backup = await self._dump()
            case "go back":
                await self._restore(self._backup)

    def _turn_deaf(self, node: Node) -> None:
        node.is_deaf = not node.is_deaf
        if not node.is_deaf:
            node.attendance.resync()

    def _move(self, node: Node, what: tuple[str, str]) -> None:
        here = self._here[node]
        if what in here:
            here.remove(what)
            node.attendance.leave(*what)
        else:
            here.add(what)
            node.attendance.enter(*what)

    async def _die(self, node: Node) -> None:
        self.nodes.remove(node)
        del self._here[node]
        await node.die()

    # The server's data

    async def _dump(self) -> Kept:
        flat = await self._evaluate(DUMP)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def _restore(self, kept: Kept) -> None:
        await self._evaluate(RESTORE, *(word for pair in kept.items() for word in pair))

    async def _evaluate(self, script: str, *words: bytes) -> Any:
        servers = self.nodes[0].calls.servers
        async with servers.opened(await servers.master()) as connection:
            await connection.send_command("EVAL", script, 0, f"{servers.target.prefix}:*", *words)
            return await connection.read_response()

    # In the end

    async def settle(self) -> None:
        """Let as much time pass, and as many beats, as it may take until all is right."""
        for node in self.nodes:
            node.is_deaf = False
            await node.has_heard_all()
            node.attendance.resync()
        for _ in range(4):
            for node in self.nodes:
                await node.attendance.beat()
                await node.attendance.leases.swept()
            for node in self.nodes:
                await node.attendance.beat()
            self.clock.go(LEASE_S - 2)

    async def check(self) -> None:
        truth = {
            room: sorted({user for here in self._here.values() for where, user in here if where == room})
            for room in ROOMS
        }
        for node in self.nodes:
            for room in ROOMS:
                assert (await node.attendance.members(room, 100)).users == truth[room]
        async with asyncio.timeout(DEADLINE_S):  # what was published is on its way
            while any(self._told(node, room) != truth[room] for node in self.nodes for room in ROOMS):
                await asyncio.sleep(0.005)

    def _told(self, node: Node, room: str) -> list[str]:
        """Who is in a room as the node's listener knows: those that it began with, and what it was told since."""
        users = set(self._first[node][room])
        for event in node.told.events:
            if event[:2] == ("came", room):
                users.add(str(event[2]))
            elif event[:2] == ("went", room):
                users.discard(str(event[2]))
        return sorted(users)


# More often what happens often.
STEPS_OF_A_WALK = (
    ["move"] * 24 + ["wait"] * 12 + ["beat"] * 8 + ["time"] * 3 + ["deaf"] * 4 + ["die"] + ["back up"] * 2
) + ["go back"] * 2


# In one step: between two, nodes would write.
DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    found[#found + 1] = key
    found[#found + 1] = redis.call('DUMP', key)
end
return found
"""
RESTORE = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    redis.call('DEL', key)
end
for place = 2, #ARGV, 2 do
    redis.call('RESTORE', ARGV[place], 0, ARGV[place + 1])
end
"""


@pytest.mark.parametrize("seed", range(WALKS))
async def test_whatever_happens_all_know_in_the_end_who_is_in_which_room(redis_single: RedisServer, seed: int) -> None:
    async with AsyncExitStack() as stack:
        walk = Walk(f"{redis_single.url}?prefix={new_prefix()}", random.Random(seed), stack)
        await walk.start()
        for _ in range(STEPS):
            await walk.step()
        await walk.settle()
        await walk.check()
