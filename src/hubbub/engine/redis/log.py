"""The log and the bus on Redis: what is said in rooms, kept in lists and published as it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import hiredis
import structlog

from hubbub.age import Age
from hubbub.engine import Draft, Head, Listener, Outcome, Page, Resumed, RoomOutline
from hubbub.engine.redis.bus import RedisBus
from hubbub.engine.redis.calls import load
from hubbub.engine.redis.keys import VAULT_SLOT
from hubbub.engine.redis.lane import PartitionLane
from hubbub.engine.redis.link import LinkLost, Part
from hubbub.engine.redis.master import Master, NotDone, ShardCall
from hubbub.engine.redis.masters import Masters, forget
from hubbub.engine.redis.reading import Reading
from hubbub.engine.redis.servers import Servers
from hubbub.engine.redis.trimming import Trimming
from hubbub.engine.searching import Hits, Spot
from hubbub.errors import EngineError, NotKept, NotKnown
from hubbub.tasks import Tasks
from hubbub.words import Query

__all__ = ["RedisLog"]

log = structlog.get_logger("hubbub.engine")

# How often it is looked whether messages are taken again.
PROBE_S = 1.0

UNLIST = load("unlist")
UNLIST_S = 5.0

# What a channel for events says of one that is not kept; the attendance has other marks.
CAST = b"!"


class RedisLog(ABC):
    """The log and the bus.

    Args:
        servers: where the data is; started.
        clock: seconds that never go back.
        keep: messages kept of a room; 0 for all.
        keep_s: seconds that a message is kept; 0 for ever.
        wall: tests' seconds since 1970; None for the server's own time.
    """

    is_shared = True
    can_search = False

    def __init__(
        self,
        servers: Servers,
        *,
        clock: Callable[[], float],
        keep: int = 0,
        keep_s: float = 0,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.node = secrets.token_hex(8).encode()
        keys = self._keyspace = servers.keys
        self._tasks = Tasks()
        self._wall = wall
        now = (lambda: int(wall() * 1000)) if wall is not None else None
        self._clock = clock
        self._keep_s = keep_s
        self._age: Age | None = None
        slots = [keys.slot(partition) for partition in range(keys.partitions)] + [VAULT_SLOT]
        self._vault_shard = keys.partitions
        self._masters = Masters(servers, slots, self._on_push, self._on_bus, self._on_identity)
        self.counts = self._masters.counts
        self._reading = Reading(keys, self._masters, self._cutoff_ms, now, self._learn_time)
        self._bus = RedisBus(self.node, keys, self._reading, self._tasks, self._quiet, self._on_room_event)
        bus = self._bus
        self._lanes = [
            PartitionLane(
                partition,
                self.node,
                keys,
                self._masters,
                clock,
                bus.show,
                bus.show_late,
                bus.note_returned,
                keep=keep,
                wait=servers.target.wait,
                now=now,
            )
            for partition in range(keys.partitions)
        ]
        self._listener: Listener
        self.trimming = Trimming(self.node, keys, self._masters, self._cutoff_ms)

    async def open_log(self, listener: Listener) -> None:
        """Connect, and learn how far the log's time has come.

        Raises:
            EngineError: it cannot be reached.
        """
        self._listener = listener
        self._bus.attach(self._masters, listener)
        await self._masters.open()
        await asyncio.gather(*(self._reading.heads(partition, []) for partition in range(self._keyspace.partitions)))
        self._age = Age(self._keep_s, clock=self._clock, wall=self._wall or self._server_time)
        self._tasks.start(self._bus.compare_for_ever())
        self._tasks.start(self._probe_refused())
        if self._age.ends:
            self._tasks.start(self.trimming.run())

    async def _probe_refused(self) -> None:
        """Find out when messages are taken again that were refused; who is not ready may be sent none."""
        while True:
            await asyncio.sleep(PROBE_S)
            for lane in self._lanes:
                if lane.is_refused:
                    with contextlib.suppress(EngineError):
                        await lane.probe()

    async def close_log(self) -> None:
        self._bus.detach()
        for lane in self._lanes:
            await lane.close()
        await self._tasks.cancel()
        await self._masters.close()

    def hear(self, channel: bytes, take: Callable[[bytes], None]) -> None:
        """Take what is published on a channel of the vault; to be called before it is open."""
        self._bus.listen(channel, self._vault_shard, take)

    @property
    def is_log_up(self) -> bool:
        """Whether all servers answer, and none has refused the last messages."""
        return self._masters.is_up and not any(lane.is_refused for lane in self._lanes)

    # Log

    @property
    def lanes(self) -> int:
        return len(self._lanes)

    def lane(self, room: str) -> int:
        return self._keyspace.partition_of(room)

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        if len(self._lanes) == 1:
            return await self._lanes[0].append(batch)
        return await self._append_parted(batch)

    async def _append_parted(self, batch: Sequence[Draft]) -> list[Outcome]:
        """Append the drafts of each partition by its lane."""
        places: dict[int, list[int]] = {}
        for index, draft in enumerate(batch):
            places.setdefault(self.lane(draft.room), []).append(index)
        if len(places) == 1:
            return await self._lanes[next(iter(places))].append(batch)
        parts = await asyncio.gather(
            *(self._lanes[lane].append([batch[index] for index in indices]) for lane, indices in places.items()),
            return_exceptions=True,
        )
        errors = [part for part in parts if isinstance(part, BaseException)]
        if errors:
            is_all = len(errors) == len(parts) and all(isinstance(error, NotKept) for error in errors)
            raise errors[0] if is_all else NotKnown(f"some of it was kept, or all: {errors[0]}")
        outcomes: dict[int, Outcome] = {}
        for indices, part in zip(places.values(), parts, strict=True):
            assert isinstance(part, list)
            outcomes.update(zip(indices, part, strict=True))
        return [outcomes[index] for index in range(len(batch))]

    async def read(self, room: str, *, after: int | None = None, before: int | None = None, limit: int) -> Page:
        return await self._reading.read(room, after=after, before=before, limit=limit)

    async def resume(self, room: str, since: Head, limit: int) -> Resumed:
        return await self._reading.resume(room, since, limit)

    async def first_since(self, room: str, sent_ms: int) -> int:
        return await self._reading.first_since(room, sent_ms)

    async def search(self, query: Query, rooms: Collection[str], before: Spot | None, limit: int) -> Hits:
        raise EngineError("messages on Redis are not indexed")

    async def head(self, room: str) -> Head:
        generation, seq = await self._reading.place(room)
        return Head(str(generation), seq)

    async def title(self, room: str) -> str:
        title = await self._ask(room, "HGET", self._keyspace.of_room("p", room), "title")
        return title.decode() if title else ""

    async def put_title(self, room: str, title: str) -> None:
        await self._ask(room, "HSETNX", self._keyspace.of_room("p", room), "title", title)

    async def empty(self, room: str) -> None:
        # The server frees what is unlinked in a thread of its own.
        await self._ask(room, "UNLINK", self._keyspace.of_room("l", room))

    async def clear(self, room: str) -> None:
        await self.empty(room)
        await self._ask(room, "HDEL", self._keyspace.of_room("p", room), "title")
        await self._unlist(room)

    async def _unlist(self, room: str) -> None:
        partition, keys = self._keyspace.partition_of(room), self._keyspace
        names = [keys.in_partition(partition, "names"), keys.of_room("p", room), keys.of_room("l", room)]
        try:
            await self._masters.run(ShardCall(partition, UNLIST, names, lambda _: [room]), within_s=UNLIST_S)
        except NotDone as error:
            raise EngineError(str(error)) from None

    async def outlines(self, rooms: Collection[str]) -> dict[str, RoomOutline]:
        of_partition: dict[int, list[str]] = {}
        for room in rooms:
            of_partition.setdefault(self.lane(room), []).append(room)
        found: dict[str, RoomOutline] = {}
        for some in await asyncio.gather(*(self._reading.outlines(*part) for part in of_partition.items())):
            found |= some
        return found

    async def room_names(self, *, prefix: str = "", after: str = "", limit: int) -> list[str]:
        first = f"({after}" if after >= prefix and after else f"[{prefix}"
        last = b"(" + prefix.encode() + b"\xff" if prefix else b"+"  # a byte that UTF-8 has not
        try:
            parts = await asyncio.gather(
                *(
                    self._masters.ask(
                        partition,
                        "ZRANGEBYLEX",
                        self._keyspace.in_partition(partition, "names"),
                        first if first != "[" else "-",
                        last,
                        "LIMIT",
                        0,
                        limit,
                    )
                    for partition in range(len(self._lanes))
                )
            )
        except (LinkLost, hiredis.ReplyError) as error:
            raise EngineError(str(error)) from None
        return [name.decode() for name in heapq.nsmallest(limit, (name for part in parts for name in part))]

    async def _ask(self, room: str, *command: Part) -> Any:
        """Run a command that may be run twice."""
        try:
            return await self._masters.ask(self._keyspace.partition_of(room), *command)
        except (LinkLost, hiredis.ReplyError) as error:
            raise EngineError(str(error)) from None

    # Bus

    async def subscribe(self, room: str) -> None:
        await self._bus.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        self._bus.unsubscribe(room)

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        if self._bus.is_open(room):
            self._listener.heard(room, type_, payload)
        link = self._masters.of(self._keyspace.partition_of(room)).commands
        if link is not None:
            verb = b"SPUBLISH" if len(self._lanes) > 1 else b"PUBLISH"
            data = b"%b%b%b\0%b" % (CAST, self.node, type_.encode(), payload)
            link.call(verb, self._keyspace.of_room("e", room), data).add_done_callback(forget)

    def _on_room_event(self, room: str, data: bytes) -> None:
        if not data.startswith(CAST):
            self.heard_users(room, data)
        elif data[1:17] != self.node:
            type_, _, payload = data[17:].partition(b"\0")
            self._listener.heard(room, type_.decode(), payload)

    # What others do about it

    @abstractmethod
    def heard_users(self, room: str, data: bytes) -> None:
        """Take what is published in a room about users that come and go."""

    @abstractmethod
    def missed_events(self, master: Master) -> None:
        """Take note that events of rooms that a server has may have been missed."""

    def rooms_on(self, master: Master) -> list[str]:
        """The rooms that are listened to on a server."""
        return self._bus.rooms_on(master)

    def forget_node(self, node: str) -> None:
        """Remove what is kept of the last batches of a node that is long gone."""
        for partition in range(len(self._lanes)):
            link = self._masters.of(partition).commands
            if link is not None:
                key = self._keyspace.in_partition(partition, "f")
                link.call("HDEL", key, f"b:{node}").add_done_callback(forget)

    # What the parts tell each other

    def _on_push(self, push: list[Any]) -> None:
        self._bus.on_push(push)

    async def _on_bus(self, master: Master) -> None:
        await self._bus.on_bus(master)
        self.missed_events(master)

    def _on_identity(self, master: Master) -> None:
        self._bus.compare(master)

    def _quiet(self, partition: int) -> Any:
        return self._lanes[partition].quiet()

    def _learn_time(self, partition: int, at: int) -> None:
        self._lanes[partition].time.learn(at)

    def _cutoff_ms(self) -> int:
        """What was sent before this is too old; the server's clock is not known before the engine is open."""
        return self._age.cutoff_ms() if self._age is not None else 0

    def _server_time(self) -> float:
        return asyncio.get_running_loop().time() + self._masters.wall_lead_s
