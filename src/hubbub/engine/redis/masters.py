"""The servers that hold the data, each by two connections, and calling them until they answer.

A server cuts a connection whose publications are not taken fast enough, and with it all that is under way on it.  So
what is published comes by one of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hiredis
import structlog
from redis.exceptions import RedisError

from hubbub.counts import EngineCounts
from hubbub.engine.redis.link import LinkLost, Part, RedisLink
from hubbub.engine.redis.master import Master, NotDone, ShardCall
from hubbub.engine.redis.servers import Servers
from hubbub.engine.redis.target import Address
from hubbub.errors import EngineError
from hubbub.ration import Ration

__all__ = ["Masters", "forget"]

log = structlog.get_logger("hubbub.engine")

CONNECT_S = 3.0
BEAT_S = 1.0
# Beats that may stay unanswered before a connection is dead.
MISSED_BEATS = 4

# How long replicas have to take what was written.
WAIT_MS = 1000

# Between two tries of a call, or of a connection.
FIRST_DELAY_S = 0.01
LONGEST_DELAY_S = 0.5

# How often a command is tried.
ASK_TRIES = 4

# Topology is asked for no more often than this.
REFRESH_S = 0.2

# How often Sentinel is asked.
FOLLOW_S = 1.0

# What a server answers that has done nothing and may do it in a moment.
PASSING = frozenset(
    {"ASK", "BUSY", "CLUSTERDOWN", "IDENTITY", "LOADING", "MASTERDOWN", "MOVED", "NOREPLICAS", "READONLY", "TRYAGAIN"}
)
# Those that say that another server is to be asked.
ELSEWHERE = frozenset({"MOVED", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "IDENTITY"})


# What connecting and greeting a server may end with; the last two, where it answers what no Redis does.
UNUSABLE = (RedisError, hiredis.ReplyError, OSError, TimeoutError, LinkLost, NotDone, LookupError, ValueError)


class Masters:
    """All servers that hold data, and the calls to them.

    Args:
        servers: where they are.
        slots: the cluster's slot of each shard.
        on_push: is given what they publish.
        on_bus: called, and awaited, when the connection for what a server publishes is there, with the server.
        on_identity: called when another process is found to serve shards than before.
    """

    def __init__(
        self,
        servers: Servers,
        slots: Sequence[int],
        on_push: Callable[[list[Any]], None],
        on_bus: Callable[[Master], Awaitable[None]],
        on_identity: Callable[[Master], None],
    ) -> None:
        self.counts = EngineCounts()
        self._servers = servers
        self._slots = slots
        self._on_push = on_push
        self._on_bus = on_bus
        self._on_identity = on_identity
        self._by_address: dict[Address, Master] = {}
        self._of_shard: list[Master] = []
        self._tasks: dict[Master, list[asyncio.Task[None]]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._refreshed_at = 0.0
        self._is_closed = False
        self._lines = Ration(5, 5.0)

    async def open(self) -> None:
        """Find the servers, and begin to connect.

        Raises:
            EngineError: nobody can tell where they are.
        """
        self._take([await self._servers.master(slot) for slot in self._slots])
        if self._servers.target.master is not None:
            self._following = asyncio.ensure_future(self._follow())

    async def close(self) -> None:
        self._is_closed = True
        tasks = [task for of_master in self._tasks.values() for task in of_master]
        tasks += [task for task in (self._refreshing, self._following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for master in self._by_address.values():
            self._cut(master)

    def of(self, shard: int) -> Master:
        """The server that has a shard, as far as is known."""
        return self._of_shard[shard]

    def shards_of(self, master: Master) -> list[int]:
        return [shard for shard, other in enumerate(self._of_shard) if other is master]

    @property
    def is_up(self) -> bool:
        """Whether all of them answer."""
        return all(master.down_since is None for master in self._by_address.values())

    @property
    def wall_lead_s(self) -> float:
        """How far the clock of the first one is ahead of the loop's."""
        return self._of_shard[0].wall_lead_s

    # Calls

    async def run(self, call: ShardCall, *, within_s: float) -> Any:
        """Run a script until it is answered.

        A server that has been away for longer than `within_s` is tried once.

        Raises:
            NotDone: it was refused, or there was no answer in time.
        """
        loop = asyncio.get_running_loop()
        down_since = self._of_shard[call.shard].down_since
        until = (loop.time() if down_since is None else down_since) + within_s
        delay = FIRST_DELAY_S
        while True:
            try:
                answer = await self._try(call)
            except (LinkLost, hiredis.ReplyError) as error:
                why = self._judge(call, error)
            else:
                self.counts.round_trips += 1
                return answer
            if loop.time() >= until:
                raise NotDone(why, may_be=call.may_be)
            self.counts.retries += 1
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # spreads them, and keeps no secret
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def ask(self, shard: int, *command: Part) -> Any:
        """Run a command once more where it is not answered; so it has to be one that may be run twice.

        Raises:
            LinkLost, hiredis.ReplyError: as its last try ended.
        """
        for _ in range(ASK_TRIES):
            link = self._of_shard[shard].commands
            try:
                if link is not None:
                    return await link.call(*command)
            except (LinkLost, hiredis.ReplyError) as error:
                if isinstance(error, hiredis.ReplyError) and str(error).partition(" ")[0] not in PASSING:
                    raise
                self.look_again()
            await asyncio.sleep(LONGEST_DELAY_S)
        raise LinkLost("Redis does not answer")

    async def _try(self, call: ShardCall) -> Any:
        master = self._of_shard[call.shard]
        link = master.commands
        if link is None:
            raise LinkLost("Redis does not answer")
        try:
            return await self._evaluate(link, call, master.identity)
        except hiredis.ReplyError as error:
            asked = self._asked(str(error))
            if asked is None or asked.commands is None:
                raise
            return await self._evaluate(asked.commands, call, asked.identity, asking=True)

    async def _evaluate(self, link: RedisLink, call: ShardCall, identity: bytes, *, asking: bool = False) -> Any:
        rest = (len(call.keys), *call.keys, *call.args(identity))
        try:
            try:
                answer = await self._send(link, b"EVALSHA", call.script.sha, *rest, asking=asking)
            except hiredis.ReplyError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                answer = await self._send(link, b"EVAL", call.script.text, *rest, asking=asking)
            if call.wait:
                await self._wait(link, call.wait)
        except LinkLost:
            call.may_be = True
            raise
        return answer

    def _send(self, link: RedisLink, *command: Part, asking: bool) -> asyncio.Future[Any]:
        if asking:  # it holds for the next command of the connection, so nothing may come between
            link.call("ASKING").add_done_callback(forget)
        return link.call(*command)

    async def _wait(self, link: RedisLink, replicas: int) -> None:
        """Wait until replicas have what was written.

        Raises:
            LinkLost: it is not known that they do; the server may have become a replica itself meanwhile.
        """
        try:
            having = await link.call("WAIT", replicas, WAIT_MS)
        except hiredis.ReplyError as error:
            raise LinkLost(f"replicas cannot be waited for: {error}") from None
        if having < replicas:
            raise LinkLost(f"fewer than {replicas} replicas have it")

    def _asked(self, error: str) -> Master | None:
        """The server that an ASK names; None for another error, and for a server that is not known."""
        if not error.startswith("ASK "):
            return None
        host, _, port = error.rpartition(" ")[2].rpartition(":")
        return self._by_address.get((host, int(port)))

    def _judge(self, call: ShardCall, error: Exception) -> str:
        """Why a call was not answered.

        Raises:
            NotDone: trying again is of no use.
        """
        why = str(error)
        if isinstance(error, LinkLost):
            return why
        code = why.partition(" ")[0]
        if code not in PASSING:
            raise NotDone(why, may_be=call.may_be)
        if code in ELSEWHERE:
            self.look_again(self._of_shard[call.shard])
        return why

    # Where they are

    def look_again(self, master: Master | None = None) -> None:
        """Find out anew where the data is, and who serves it."""
        if master is not None and master.commands is not None:
            self._ask_identity(master, master.commands)
        if not self._is_closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.ensure_future(self._refresh())

    async def _follow(self) -> None:
        """Ask Sentinel again and again: for some seconds, a master that was replaced takes what will be lost."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            self.look_again()

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._refreshed_at + REFRESH_S - loop.time()))
        self._refreshed_at = loop.time()
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._servers.refresh()
                self._take([await self._servers.master(slot) for slot in self._slots])
        except (EngineError, TimeoutError) as error:
            self._say("the servers cannot be found", error)

    def _take(self, addresses: Sequence[Address]) -> None:
        """Use what was found out about where the data is."""
        before = self._of_shard
        for address in dict.fromkeys(addresses):
            if address not in self._by_address:
                master = self._by_address[address] = Master(address, self._servers)
                self._tasks[master] = [
                    asyncio.ensure_future(self._keep_commands(master)),
                    asyncio.ensure_future(self._keep_bus(master)),
                ]
        self._of_shard = [self._by_address[address] for address in addresses]
        for address in set(self._by_address).difference(addresses):
            master = self._by_address.pop(address)
            for task in self._tasks.pop(master):
                task.cancel()
            self._cut(master)
        moved = {new for old, new in zip(before, self._of_shard, strict=bool(before)) if old is not new}
        for master in moved:
            if master.bus is not None:  # what it publishes of the shards that have come to it is not heard yet
                master.bus.cut()

    def _cut(self, master: Master) -> None:
        for link in (master.commands, master.bus):
            if link is not None:
                link.cut()

    # Connections

    async def _keep_commands(self, master: Master) -> None:
        async def greet(link: RedisLink) -> None:
            master.learn(await link.call("INFO", "server", "replication", "memory"))
            master.commands = link
            master.down_since = None
            self._on_identity(master)

        def beat(link: RedisLink) -> None:
            self._ask_identity(master, link)

        def lose() -> None:
            master.commands = None
            if master.down_since is None:
                master.down_since = asyncio.get_running_loop().time()

        await self._keep(master, greet, beat, lose, ignore)

    async def _keep_bus(self, master: Master) -> None:
        async def greet(link: RedisLink) -> None:
            master.bus = link
            await self._on_bus(master)

        def beat(link: RedisLink) -> None:
            link.call("PING").add_done_callback(forget)

        def lose() -> None:
            master.bus = None

        await self._keep(master, greet, beat, lose, self._on_push)

    async def _keep(
        self,
        master: Master,
        greet: Callable[[RedisLink], Awaitable[None]],
        beat: Callable[[RedisLink], None],
        lose: Callable[[], None],
        on_push: Callable[[list[Any]], None],
    ) -> None:
        """Keep a connection open, for ever."""
        delay = FIRST_DELAY_S
        while True:
            lost = asyncio.Event()
            link: RedisLink | None = None
            try:
                async with asyncio.timeout(CONNECT_S):
                    link = await master.open(on_push, lost.set)
                async with asyncio.timeout(CONNECT_S):
                    await greet(link)
            except UNUSABLE as error:
                self._say("a Redis server does not answer", error, server=shown(master.address))
            else:
                delay = FIRST_DELAY_S
                await self._watch(link, beat, lost)
                self._say("a Redis server was lost", None, server=shown(master.address))
            finally:
                lose()
                if link is not None:
                    link.cut()
            self.counts.reconnects += 1
            self.look_again()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _watch(self, link: RedisLink, beat: Callable[[RedisLink], None], lost: asyncio.Event) -> None:
        """Wait until a connection is lost, or has not answered for a few beats."""
        missed = 0
        while missed < MISSED_BEATS:
            beaten_at = asyncio.get_running_loop().time()
            beat(link)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await lost.wait()
                    return
            missed = 0 if link.heard_at >= beaten_at else missed + 1

    def _ask_identity(self, master: Master, link: RedisLink) -> None:
        def learn(answer: asyncio.Future[Any]) -> None:
            if answer.cancelled() or answer.exception() is not None:
                return
            before = master.identity
            try:
                master.learn(answer.result())
            except NotDone as error:
                self._say("a Redis server cannot be used", error, server=shown(master.address))
                link.cut()
                return
            if master.identity != before:
                self._on_identity(master)

        link.call("INFO", "server", "replication").add_done_callback(learn)

    def _say(self, what: str, error: Exception | None, **more: object) -> None:
        left_out = self._lines.take(asyncio.get_running_loop().time())
        if left_out is not None:
            log.warning(what, error=str(error) if error else None, lines_left_out=left_out, **more)


def shown(address: Address) -> str:
    """An address as one writes it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def forget(answer: asyncio.Future[Any]) -> None:
    """Take note of an answer that nobody waits for."""
    if not answer.cancelled():
        answer.exception()


def ignore(_push: list[Any]) -> None:
    """A connection for calls is told nothing unasked."""
