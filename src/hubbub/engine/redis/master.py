"""One server that holds data, and what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hubbub.engine.redis.calls import Script
from hubbub.engine.redis.link import Part, RedisLink, open_link
from hubbub.engine.redis.servers import Servers
from hubbub.engine.redis.target import Address

__all__ = ["Master", "NotDone", "ShardCall"]


class NotDone(Exception):
    """A call was given up.

    Attributes:
        may_be: whether one of its tries may have been carried out all the same.
    """

    def __init__(self, why: str, *, may_be: bool) -> None:
        super().__init__(why)
        self.may_be = may_be


class ShardCall:
    """A script to be run on the data of one shard.

    Attributes:
        may_be: whether it may have been carried out by a try whose answer did not come.
    """

    __slots__ = ("args", "keys", "may_be", "script", "shard", "wait")

    def __init__(
        self,
        shard: int,
        script: Script,
        keys: Sequence[Part],
        args: Callable[[bytes], Sequence[Part]],
        wait: int = 0,
    ) -> None:
        """Describe it.

        Args:
            args: the arguments, given the identity of the server that is asked.
            wait: replicas that must have what it has done.
        """
        self.shard = shard
        self.script = script
        self.keys = keys
        self.args = args
        self.wait = wait
        self.may_be = False


class Master:
    """One server.

    Attributes:
        commands: the connection for calls; None while there is none.
        bus: the connection for what is published; None while there is none.
        identity: which process it is; empty while that is not known.
        wall_lead_s: how far its clock is ahead of the loop's.
        down_since: when it was lost, by the loop's clock; None while it answers.
    """

    def __init__(self, address: Address, servers: Servers) -> None:
        self.address = address
        self.commands: RedisLink | None = None
        self.bus: RedisLink | None = None
        self.identity = b""
        self.wall_lead_s = 0.0
        self.down_since: float | None = asyncio.get_running_loop().time()
        self._servers = servers

    async def open(self, on_push: Callable[[list[Any]], None], on_lost: Callable[[], None]) -> RedisLink:
        return await open_link(self._servers.connection(self.address), on_push, on_lost)

    def learn(self, info: bytes) -> None:
        """Take what INFO says.

        Raises:
            NotDone: it is no server to write to.
        """
        fields = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
        if fields.get(b"role") != b"master":
            self.identity = b""
            raise NotDone("it is a replica", may_be=False)
        policy = fields.get(b"maxmemory_policy", b"noeviction")
        if policy != b"noeviction":
            raise NotDone(f"its maxmemory-policy is {policy.decode()}; set noeviction", may_be=False)
        self.identity = fields[b"run_id"] + b":" + fields[b"master_replid"]
        self.wall_lead_s = int(fields[b"server_time_usec"]) / 1e6 - asyncio.get_running_loop().time()
