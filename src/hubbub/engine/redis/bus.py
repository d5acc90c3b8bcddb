"""What happens in the rooms that this node listens to: said by itself, published by others, or read from the log.

Publications are the fast path, and may be lost; the log is the truth.  A room's gate finds what is missing, and what is
missing for a moment longer than a publication may take is read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from struct import Struct
from typing import Any

import structlog

from hubbub.engine import Listener
from hubbub.engine.local import Silent
from hubbub.engine.redis.gate import RoomGate, Stretch
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.lane import Kept
from hubbub.engine.redis.master import Master
from hubbub.engine.redis.masters import Masters, forget
from hubbub.engine.redis.reading import Reading, messages_of
from hubbub.errors import EngineError
from hubbub.events import Message
from hubbub.ration import Ration
from hubbub.tasks import Tasks

__all__ = ["RedisBus"]

log = structlog.get_logger("hubbub.engine")

# How long a message may be missing before the log is read: it is on its way by another connection.
PATIENCE_S = 0.05
# After a try to read that failed.
RETRY_S = 0.5
# Messages that are read at once where some are missing.
PAGE = 500

SUBSCRIBE_S = 10.0
# Rooms whose places are asked for in one call.
HEADS = 500
# Channels of one command.
CHANNELS = 500
COMPARE_S = 60.0

_publication = Struct(">16sQQ")  # the node, generation, first seq


class RedisBus:
    """The rooms that this node listens to.

    Args:
        node: this node's id; what it has published itself is dropped.
        quiet: keeps this node's own appends to a partition from being under way.
        on_event: is given what else is published in a room: events that are not kept, users that come and go.
    """

    def __init__(
        self,
        node: bytes,
        keys: Keyspace,
        reading: Reading,
        tasks: Tasks,
        quiet: Callable[[int], AbstractAsyncContextManager[None]],
        on_event: Callable[[str, bytes], None],
    ) -> None:
        self._node = node
        self._keys = keys
        self._reading = reading
        self._tasks = tasks
        self._quiet = quiet
        self._on_event = on_event
        self._listener: Listener = Silent()
        self._masters: Masters
        self._gates: dict[str, RoomGate] = {}
        self._kept: dict[bytes, RoomGate] = {}
        self._events: dict[bytes, RoomGate] = {}
        self._others: dict[bytes, tuple[int, Callable[[bytes], None]]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._confirmed: dict[bytes, list[asyncio.Future[None]]] = {}
        self._leaving: Counter[bytes] = Counter()
        self._repairing: set[RoomGate] = set()
        self._verbs = (b"SSUBSCRIBE", b"SUNSUBSCRIBE") if keys.partitions > 1 else (b"SUBSCRIBE", b"UNSUBSCRIBE")
        self._is_flush_due = False
        self._lines = Ration(5, 10.0)

    def attach(self, masters: Masters, listener: Listener) -> None:
        self._masters = masters
        self._listener = listener

    def detach(self) -> None:
        self._listener = Silent()
        for gate in self._gates.values():
            gate.give_up()

    def listen(self, channel: bytes, shard: int, take: Callable[[bytes], None]) -> None:
        """Take what is published on a channel that belongs to no room; to be called before the bus is open."""
        self._others[channel] = (shard, take)

    def is_open(self, room: str) -> bool:
        """Whether the listener is told of a room."""
        gate = self._gates.get(room)
        return gate is not None and gate.is_open

    # Subscribing

    async def subscribe(self, room: str) -> None:
        """Begin to tell the listener of a room.

        Raises:
            EngineError: it cannot be done now.
        """
        gate = self._gates.get(room)
        if gate is not None and gate.is_open:
            return
        opening = self._opening.get(room)
        if opening is None:
            opening = self._opening[room] = self._tasks.start(self._open(room))
            opening.add_done_callback(forget)  # everyone who waits may have given up
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise EngineError("the room was left again meanwhile") from None
            raise
        finally:
            if opening.done() and self._opening.get(room) is opening:
                del self._opening[room]

    async def _open(self, room: str) -> None:
        gate = self._gates[room] = RoomGate(room)
        kept, events = self._keys.of_room("c", room), self._keys.of_room("e", room)
        self._kept[kept] = self._events[events] = gate
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                await self._confirm(self._keys.partition_of(room), kept, events)
                generation, seq = await self._reading.place(room)
        except (TimeoutError, EngineError) as error:
            self._drop(gate)
            raise EngineError(f"the room cannot be listened to: {error or 'no answer'}") from None
        except BaseException:
            self._drop(gate)
            raise
        if self._gates.get(room) is gate:
            self._pass_on(gate, gate.open_at(generation, seq))

    async def _confirm(self, shard: int, *channels: bytes) -> None:
        """Subscribe, and wait for the server's word, from whichever connection."""
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmed.setdefault(channels[-1], []).append(confirmed)
        bus = self._masters.of(shard).bus
        if bus is not None:  # otherwise it is done when there is one
            bus.say(self._verbs[0], *channels)
        await confirmed

    def unsubscribe(self, room: str) -> None:
        """Tell the listener no more of a room."""
        gate = self._gates.get(room)
        if gate is None:
            return
        self._drop(gate)
        opening = self._opening.pop(room, None)
        if opening is not None:
            opening.cancel()

    def _drop(self, gate: RoomGate) -> None:
        if self._gates.get(gate.room) is not gate:
            return
        del self._gates[gate.room]
        kept, events = self._keys.of_room("c", gate.room), self._keys.of_room("e", gate.room)
        del self._kept[kept], self._events[events]
        gate.give_up()
        bus = self._masters.of(self._keys.partition_of(gate.room)).bus
        if bus is not None:
            self._leaving.update((kept, events))
            bus.say(self._verbs[1], kept, events)

    # What is published

    def on_push(self, push: list[Any]) -> None:
        """Take what a server says.  What is no publication of ours is dropped: a hole that it leaves is read."""
        try:
            self._take_push(push)
        except Exception as error:  # a stranger's publication must not cost the connection
            left_out = self._lines.take(asyncio.get_running_loop().time())
            if left_out is not None:
                log.warning("a publication is not understood", error=repr(error), lines_left_out=left_out)

    def _take_push(self, push: list[Any]) -> None:
        kind, channel = push[0], push[1]
        if kind in (b"message", b"smessage"):
            self._on_message(channel, push[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            for confirmed in self._confirmed.pop(channel, ()):
                if not confirmed.done():
                    confirmed.set_result(None)
        elif kind in (b"unsubscribe", b"sunsubscribe") and channel is not None:
            self._on_unsubscribed(channel)

    def _on_message(self, channel: bytes, data: bytes) -> None:
        gate = self._kept.get(channel)
        if gate is not None:
            node, generation, first = _publication.unpack_from(data)
            if node != self._node:
                messages = messages_of(gate.room, first, data[_publication.size :])
                self._masters.counts.heard += len(messages)
                self._take(gate, Stretch(generation, first, messages))
            return
        gate = self._events.get(channel)
        if gate is not None:
            if gate.is_open:
                self._on_event(gate.room, data)
        elif channel in self._others:
            self._others[channel][1](data)

    def _on_unsubscribed(self, channel: bytes) -> None:
        if self._leaving[channel]:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]
        elif channel in self._kept:  # the slot has moved to another server
            self._masters.look_again()

    def _take(self, gate: RoomGate, stretch: Stretch) -> None:
        self._pass_on(gate, gate.offer(stretch))

    def _pass_on(self, gate: RoomGate, messages: Sequence[Message]) -> None:
        """Deliver what has passed a gate; see to what it holds back."""
        if messages:
            self._tell(gate, partial(self._listener.deliver, gate.room, messages))
            self._flush_soon()
        gate.release()
        if gate.is_holding and gate.is_open and self._gates.get(gate.room) is gate:
            self._repair_soon(gate, PATIENCE_S)

    def _repair_soon(self, gate: RoomGate, patience_s: float) -> None:
        if gate not in self._repairing:
            self._repairing.add(gate)
            self._tasks.start(self._repair(gate, patience_s))

    # This node's own messages

    def show(self, kept: Sequence[Kept]) -> list[asyncio.Future[None]]:
        """Deliver what this node has just kept, whoever has called flushes; who waits for what is held back.

        While somebody waits, nothing is delivered of any of these rooms: it could be written before its ack.
        """
        waiters = []
        passed = []
        for each in kept:
            gate = self._gates.get(each.room)
            if gate is None:
                continue
            stretch = stretch_of(each)
            passed.append((gate, gate.offer(stretch)))
            waiter = gate.shown(stretch.generation, stretch.last)
            if waiter is not None:
                waiters.append(waiter)
        for gate, messages in passed:
            if waiters and gate.deferred is None:
                gate.deferred = []
            if messages:
                self._tell(gate, partial(self._listener.deliver, gate.room, messages))
            self._pass_on(gate, ())
        return waiters

    def _tell(self, gate: RoomGate, tell: Callable[[], None]) -> None:
        """Tell the listener something of a room, as soon as it may know."""
        if gate.deferred is None:
            tell()
        else:
            gate.deferred.append(tell)

    def show_late(self, kept: Sequence[Kept]) -> None:
        """Deliver what was kept by calls that were given up."""
        for each in kept:
            gate = self._gates.get(each.room)
            if gate is not None:
                self._take(gate, stretch_of(each))

    def note_returned(self, kept: Sequence[Kept]) -> None:
        """Take note that the append returns now which has waited for what it has kept to be shown."""
        for each in kept:
            gate = self._gates.get(each.room)
            if gate is not None and gate.deferred is not None:
                deferred, gate.deferred = gate.deferred, None
                for tell in deferred:
                    tell()
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._listener.flush()

    # Holes

    async def _repair(self, gate: RoomGate, patience_s: float) -> None:
        """Read what a room's gate misses, when that has not come by itself after a while."""
        try:
            await asyncio.sleep(patience_s)
            while self._gates.get(gate.room) is gate and (gate.is_holding or not patience_s):
                try:
                    await self._read_on(gate)
                except EngineError as error:
                    log.warning("missing messages cannot be read", room=gate.room, error=str(error))
                    await asyncio.sleep(RETRY_S)
                else:
                    break
        finally:
            self._repairing.discard(gate)
        self._pass_on(gate, ())

    async def _read_on(self, gate: RoomGate) -> None:
        """Read a room from where its gate stands up to the end of its log.

        Raises:
            EngineError: it cannot be read.
        """
        partition = self._keys.partition_of(gate.room)
        while self._gates.get(gate.room) is gate:
            # While this node's own messages are on their way into the log, their senders' acks have to come first.
            async with self._quiet(partition):
                found = await self._reading.after(gate.room, gate.generation, gate.seq, PAGE)
            if self._gates.get(gate.room) is not gate:
                return
            passed = gate.fill(found.generation, found.shared, found.last, found.messages)
            if passed.rewound is not None:
                self._tell(gate, partial(self._listener.rewound, gate.room, passed.rewound))
            if passed.hole is not None:
                self._tell(gate, partial(self._listener.hole, gate.room, *passed.hole))
            self._masters.counts.repairs += bool(passed.messages)
            self._pass_on(gate, passed.messages)
            if gate.seq >= found.last and gate.generation == found.generation:
                self._pass_on(gate, gate.settle())
                return

    # Servers that come and go

    async def on_bus(self, master: Master) -> None:
        """Listen to everything on a new connection, then see what was missed."""
        bus = master.bus
        if bus is None:
            return
        self._leaving.clear()  # what it was asked over the last connection is not answered on this one
        shards = set(self._masters.shards_of(master))
        for channel, (shard, _take) in self._others.items():
            if shard in shards:
                bus.say(self._verbs[0], channel)
        rooms = self._by_shard(shards)
        for of_shard in rooms.values():
            channels = [self._keys.of_room(kind, room) for room in of_shard for kind in ("c", "e")]
            for start in range(0, len(channels), CHANNELS):
                bus.say(self._verbs[0], *channels[start : start + CHANNELS])
        # The server takes commands of one connection in order, and this is another: what is read has to be read after.
        await bus.call("PING")
        self._tasks.start(self._compare(rooms))

    def rooms_on(self, master: Master) -> list[str]:
        """The rooms that are listened to on a server."""
        of_shards = self._by_shard(set(self._masters.shards_of(master)))
        return [room for rooms in of_shards.values() for room in rooms]

    def _by_shard(self, shards: set[int]) -> dict[int, list[str]]:
        rooms: dict[int, list[str]] = {}
        for room in self._gates:
            shard = self._keys.partition_of(room)
            if shard in shards:
                rooms.setdefault(shard, []).append(room)
        return rooms

    def compare(self, master: Master) -> None:
        """See whether the logs on a server stand where this node believes: another process may serve them now."""
        self._tasks.start(self._compare(self._by_shard(set(self._masters.shards_of(master)))))

    async def compare_for_ever(self) -> None:
        """Compare all rooms once in a while: a publication may have been lost with none after it."""
        while True:
            await asyncio.sleep(COMPARE_S)
            await self._compare(self._by_shard(set(range(self._keys.partitions))))

    async def _compare(self, rooms: dict[int, list[str]]) -> None:
        for shard, of_shard in rooms.items():
            for start in range(0, len(of_shard), HEADS):
                gates = [self._gates[room] for room in of_shard[start : start + HEADS] if room in self._gates]
                gates = [gate for gate in gates if gate.is_open]
                if not gates:
                    continue
                places = [(gate.generation, gate.seq) for gate in gates]
                try:
                    generation, heads = await self._reading.heads(
                        shard, [(gate.room, gate.generation) for gate in gates]
                    )
                except EngineError as error:
                    log.warning("rooms cannot be compared with their logs", error=str(error))
                    return
                for gate, place, (last, _shared) in zip(gates, places, heads, strict=True):
                    if generation != place[0] or last > place[1]:
                        self._repair_soon(gate, 0)


def stretch_of(kept: Kept) -> Stretch:
    """This node's own messages, as they are in the log."""
    room, sent = kept.room, kept.sent
    messages = [
        Message(room, seq, sent, draft.sender, draft.type, draft.body)
        for seq, draft in enumerate(kept.fresh, kept.before + 1)
    ]
    return Stretch(kept.generation, kept.before + 1, messages)
