"""Who is in a channel, by connection: asked for, and told to those who want to hear who comes and goes.

The engine knows the users of a room on all nodes.  Connections are known to it in the same way, as the users of a room
with a name that no room has: each by what is told of it (`ConnectionInfo`), as JSON.  So a node that dies takes its
connections along, and every node hears who comes and goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

import msgspec

from hubbub.client import Frame, Participant
from hubbub.dialect import Dialect
from hubbub.door.channels import ChannelRules
from hubbub.door.client import DoorClient, new_id
from hubbub.door.codes import DoorError
from hubbub.door.commands import ConnectionInfo, JoinPush, PresenceStatsReply
from hubbub.door.namespaces import Namespace
from hubbub.engine import Engine
from hubbub.events import encode
from hubbub.presence import MAX_ANNOUNCED, SHADOW, Attended
from hubbub.room import LiveRoom
from hubbub.rooms import Rooms

__all__ = ["MAX_PRESENT", "DoorCrowd", "info_of"]

# Connections in one answer.
MAX_PRESENT = 5000

decode_info = msgspec.json.Decoder(ConnectionInfo).decode


class DoorCrowd:
    """The connections in channels whose namespaces have presence or tell joins (`presence.Crowd`)."""

    def __init__(self, rooms: Rooms, engine: Engine, channels: ChannelRules) -> None:
        self._rooms = rooms
        self._engine = engine
        self._channels = channels
        # What is told of each connection of this process, by channel, for as long as it is there.
        self._here: dict[str, dict[Participant, str]] = {}
        # How many are told of joins in each channel, or are about to be.
        self._listeners: Counter[str] = Counter()
        # Clients of the other dialects have no name of their own.
        self._ids: WeakKeyDictionary[Participant, str] = WeakKeyDictionary()

    # Those of this process

    def entering(self, client: Participant, room: Attended) -> None:
        """A client is about to enter."""
        namespace = self._namespace(client, room.name)
        if namespace is not None and (namespace.presence or namespace.join_leave):
            entry = self._entry(client, room.name)
            self._here.setdefault(room.name, {})[client] = entry
            self._engine.enter(SHADOW + room.name, entry)

    def left(self, client: Participant, room: Attended) -> None:
        """A client has left; a subscription to the channel has ended with that."""
        channel = room.name
        here = self._here.get(channel, {})
        entry = here.pop(client, None)
        if entry is not None:
            if not here:
                del self._here[channel]
            self._engine.leave(SHADOW + channel, entry)
        if isinstance(client, DoorClient):
            subscription = client.subscriptions.pop(channel, None)
            if subscription is not None and subscription.tells_joins:
                self.unlisten(channel)

    def _namespace(self, client: Participant, channel: str) -> Namespace | None:
        """The options that count for a client in a room; None for a room that is no channel."""
        if isinstance(client, DoorClient):
            return client.subscriptions[channel].namespace
        try:
            return self._channels.namespace(channel)
        except DoorError:
            return None

    def _entry(self, client: Participant, channel: str) -> str:
        if isinstance(client, DoorClient):
            return info_of(client, channel).decode()
        id_ = self._ids.get(client)
        if id_ is None:
            id_ = self._ids[client] = new_id()
        return encode(ConnectionInfo(client.user, id_)).decode()

    # Those of all nodes

    async def presence(self, channel: str) -> dict[str, ConnectionInfo]:
        """The connections in a channel by their names, as many as an answer may have.

        Raises:
            EngineError: they cannot be read.
        """
        found = await self._engine.members(SHADOW + channel, MAX_PRESENT)
        return {info.client: info for info in map(decode_info, found.users)}

    async def stats(self, channel: str) -> PresenceStatsReply:
        """How many connections, and users, there are in a channel.

        Of more than `MAX_PRESENT` connections those users are counted that have a name.

        Raises:
            EngineError: they cannot be read.
        """
        found = await self._engine.members(SHADOW + channel, MAX_PRESENT)
        users = len({decode_info(entry).user for entry in found.users})
        if found.count > len(found.users):
            users = max(users, (await self._engine.members(channel, 0)).count)
        return PresenceStatsReply(found.count, users)

    # Telling

    async def listen(self, channel: str) -> None:
        """Have the engine tell who comes to a channel and goes, until as many have called `unlisten`.

        Raises:
            EngineError: it cannot; nothing has to be taken back.
        """
        self._listeners[channel] += 1
        try:
            await self._engine.subscribe(SHADOW + channel)
        except BaseException:
            self.unlisten(channel)
            raise

    def unlisten(self, channel: str) -> None:
        """Take one call of `listen` back; after the last one the engine tells nothing more."""
        self._listeners[channel] -= 1
        if not self._listeners[channel]:
            del self._listeners[channel]
            self._engine.unsubscribe(SHADOW + channel)

    def came(self, shadow: str, entry: str) -> None:
        """A connection has come; those in the channel are told, the one that has come after its own answer."""
        asyncio.get_running_loop().call_soon(self._tell, shadow.removeprefix(SHADOW), "join", entry)

    def went(self, shadow: str, entry: str) -> None:
        """A connection has gone."""
        asyncio.get_running_loop().call_soon(self._tell, shadow.removeprefix(SHADOW), "leave", entry)

    def _tell(self, channel: str, name: str, entry: str) -> None:
        """Tell those in a channel who want to know, unless they are too many."""
        room = self._rooms.find(channel)
        if room is None or len(room.members) > MAX_ANNOUNCED:
            return
        info = decode_info(entry)
        frames: dict[tuple[Dialect, Frame], bytes] = {}
        for client in room.members:
            if isinstance(client, DoorClient) and is_told(client, room, name, info.client):
                way = client.dialect, client.frame
                if way not in frames:
                    frames[way] = client.frame(client.dialect.push(channel, name, JoinPush(info)))
                client.write_frames(frames[way])
        for watched in room.watched:
            self._rooms.feeding.look_at(watched)


def is_told(client: DoorClient, room: LiveRoom, name: str, id_: str) -> bool:
    """Whether a member hears of another, or of itself: not that it has left, as it is back already.

    Those that are behind have enough to do.
    """
    subscription = client.subscriptions.get(room.name)
    if subscription is None or not subscription.tells_joins:
        return False
    return name == "join" if id_ == client.id else room.behind(client) is None


def info_of(client: DoorClient, channel: str) -> bytes:
    """What is told of a client with what it does in a channel: `ConnectionInfo` as JSON."""
    subscription = client.subscriptions.get(channel)
    chan_info = subscription.chan_info if subscription is not None else b""
    return encode(
        ConnectionInfo(
            client.user,
            client.id,
            msgspec.Raw(client.conn_info) if client.conn_info else msgspec.UNSET,
            msgspec.Raw(chan_info) if chan_info else msgspec.UNSET,
        )
    )
