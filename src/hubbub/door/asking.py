"""What clients publish, what they ask about channels, and what they ask the application."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from hubbub.acts import Act
from hubbub.core import Core
from hubbub.dialect import Dialect
from hubbub.door.calls import handler_for
from hubbub.door.channels import ChannelRules
from hubbub.door.client import DoorClient
from hubbub.door.codes import DoorClose, DoorCode, DoorError
from hubbub.door.commands import (
    Empty,
    HistoryReply,
    HistoryRequest,
    PresenceReply,
    PublishRequest,
    RoomRequest,
    RpcReply,
    RpcRequest,
    SendRequest,
)
from hubbub.door.crowd import MAX_PRESENT, DoorCrowd, info_of
from hubbub.door.past import Past, PastQuery
from hubbub.door.subscribing import closing
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Message, decode_payload
from hubbub.handlers import Handler, ack_payload
from hubbub.naming import DM
from hubbub.posting import Posting
from hubbub.publications import Publication, check_depth, without_spaces

__all__ = ["Asking"]

PUBLICATION = Publication.tag

# Publications in one answer, and about how many bytes: it is made in one turn of the loop, and kept until it is read.
MAX_PUBLICATIONS = 300
MAX_ANSWER_BYTES = 1 << 20

# What a connection counts as that is only counted, in bytes sent: all of them are read for that.
INFO_BYTES = 64

# What each connection counts as that only its number is told of: to read it costs as much as if it were told.
BYTES_OF_ONE = 160

# What shows something to a client, and changes nothing: it is asked again whether it may, when it is shown.
LOOKING = (Act.READ, Act.PRESENCE)

decode_any = msgspec.json.Decoder().decode


class Sent(msgspec.Struct):
    """What a client sends the application with `send`."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")


decode_sent = msgspec.json.Decoder(Sent).decode


class Asking:
    """Answers what clients ask.

    Attributes:
        handlers: of the commands that are answered here.
    """

    def __init__(self, core: Core, channels: ChannelRules, crowd: DoorCrowd, past: Past) -> None:
        self._rooms = core.rooms
        self._permissions = core.permissions
        self._channels = channels
        self._crowd = crowd
        self._past = past
        self._own = core.handlers
        self._published: dict[Dialect, msgspec.Raw] = {}
        calls: dict[str, Callable[..., Any]] = {
            "publish": self.publish,
            "history": self.history,
            "presence": self.presence,
            "presence_stats": self.presence_stats,
            "rpc": self.rpc,
            "send": self.send,
        }
        self.handlers: Mapping[str, Handler] = {name: handler_for(name, call) for name, call in calls.items()}

    # Channels

    def publish(self, request: PublishRequest, client: DoorClient) -> msgspec.Raw:
        """Publish in a channel; the answer waits until it is kept."""
        channel, data = request.channel, request.data
        if not channel:
            raise closing(client, DoorClose.BAD_REQUEST)
        namespace = self._channels.namespace(channel)
        body = b'{"data":%b,"info":%b}' % (published(data), info_of(client, channel))
        self._channels.check_publish(client, channel, namespace)
        self._permissions.check(client, Act.POST, channel)
        if namespace.keeps:
            self._rooms.publish_as(client, channel, PUBLICATION, body)
        else:
            self._rooms.cast(channel, PUBLICATION, body)
        done = self._published.get(client.dialect)
        if done is None:
            done = self._published[client.dialect] = client.dialect.result("publish", Empty())
        return done

    async def history(self, request: HistoryRequest, client: DoorClient) -> msgspec.Raw:
        """Read what was published in a channel."""
        channel, since = request.channel, request.since
        if not channel:
            raise closing(client, DoorClose.BAD_REQUEST)
        namespace = self._channels.namespace(channel)
        self._channels.check_history(client, channel, namespace)
        self._check(client, Act.READ, channel)
        if since is not None and (since.offset < 0 or (request.reverse and not since.offset)):
            raise DoorError(DoorCode.BAD_REQUEST, "there is nothing before the first publication")
        limit = request.limit if 0 <= request.limit <= MAX_PUBLICATIONS else MAX_PUBLICATIONS
        found = await self._past.read(channel, namespace, PastQuery(limit, since, is_reversed=request.reverse))
        self._rooms.charge(client, found.size)
        self._check(client, Act.READ, channel)
        listed = [msgspec.Raw(client.dialect.listed(message)) for message in as_many_as_fit(found.messages)]
        return client.dialect.result("history", HistoryReply(listed, found.head.epoch, found.head.seq))

    async def presence(self, request: RoomRequest, client: DoorClient) -> msgspec.Raw:
        """Tell who is in a channel."""
        self._check_presence(client, request.channel)
        found = await self._crowd.presence(request.channel)
        self._check(client, Act.PRESENCE, request.channel)
        return client.dialect.result("presence", PresenceReply(found))

    async def presence_stats(self, request: RoomRequest, client: DoorClient) -> msgspec.Raw:
        """Tell how many are in a channel."""
        self._check_presence(client, request.channel)
        found = await self._crowd.stats(request.channel)
        self._rooms.charge(client, min(found.num_clients, MAX_PRESENT) * INFO_BYTES)
        self._check(client, Act.PRESENCE, request.channel)
        return client.dialect.result("presence_stats", found)

    def _check_presence(self, client: DoorClient, channel: str) -> None:
        if not channel:
            raise closing(client, DoorClose.BAD_REQUEST)
        self._channels.check_presence(client, channel, self._channels.namespace(channel))
        self._check(client, Act.PRESENCE, channel)

    def _check(self, client: DoorClient, act: Act, channel: str) -> None:
        """Refuse (`forbidden`) what the house does not let a client see."""
        for each in (Act.JOIN, act):
            self._permissions.check(client, each, channel)

    # The application

    async def rpc(self, request: RpcRequest, client: DoorClient) -> msgspec.Raw:
        """Have the application handle an event, of the type that is called."""
        handler = self._own.own(request.method)
        if handler is None:
            number = DoorCode.METHOD_NOT_FOUND if self._own.has_own else DoorCode.NOT_AVAILABLE
            raise DoorError(number, f"nothing here handles {request.method[:80]!r}")
        data = b"{}" if request.data is msgspec.UNSET else bytes(request.data)
        result = await self._call(handler, data, client)
        try:
            answer = ack_payload(result)
        except (TypeError, ValueError) as error:
            raise Refused(ErrorCode.INTERNAL, f"the handler of {request.method!r} failed") from error
        return client.dialect.result("rpc", RpcReply(msgspec.Raw(answer)))

    async def send(self, request: SendRequest, client: DoorClient) -> None:
        """Have the application handle an event; nothing is answered, and nothing handled that nobody knows.

        Where the application handles nothing at all, the connection is closed for good, as Centrifugo does it.
        """
        if not self._own.has_own:
            raise closing(client, DoorClose.NOT_AVAILABLE)
        try:
            sent = decode_sent(b"{}" if request.data is msgspec.UNSET else bytes(request.data))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DoorError(DoorCode.BAD_REQUEST, f"what is sent has a type and a payload: {error}") from None
        handler = self._own.own(sent.type)
        if handler is not None:
            await self._call(handler, bytes(sent.payload), client)

    async def _call(self, handler: Handler, data: bytes, client: DoorClient) -> Any:
        """What a handler of the application answers, if the client may ask it.

        Raises:
            Refused: it may not, the data is not the event's, or the handler refuses.
            EngineError: what it has posted is not kept.
        """
        event = decode_payload(handler.decoder, msgspec.Raw(data))
        acts = () if handler.act is None else (handler.act,)
        rooms = self._rooms_meant(client, handler, event)
        self._check_all(client, acts, rooms)
        result = handler.call(event, client)
        if inspect.isawaitable(result) and not isinstance(result, Posting):
            result = await result
        if isinstance(result, Posting):
            await result
        if handler.act in LOOKING:
            self._check_all(client, (Act.JOIN, *acts), rooms)
        return result

    def _rooms_meant(self, client: DoorClient, handler: Handler, event: Any) -> list[str | None]:
        """The rooms that an event may be about, by how the application reads the name that it has.

        Raises:
            Refused: `bad_payload` for what is no name, `forbidden` for a room of two.
        """
        if handler.room_field is None:
            return [None]
        named = getattr(event, handler.room_field)
        if named is None:
            return [next(iter(client.joined), None)]
        if named.startswith(DM):
            raise Refused(ErrorCode.FORBIDDEN, "rooms of two are for the two users alone, who are accounts")
        return list(dict.fromkeys((named, self._rooms.read_name(named).identity)))

    def _check_all(self, client: DoorClient, acts: Sequence[Act], rooms: Sequence[str | None]) -> None:
        for room in rooms:
            for act in acts:
                self._permissions.check(client, act, room)


def as_many_as_fit(messages: Sequence[Message]) -> Sequence[Message]:
    """The first of some messages, as many as go into one answer, and at least one: a client asks on from the last."""
    size = 0
    for count, message in enumerate(messages):
        size += len(message.body)
        if count and size > MAX_ANSWER_BYTES:
            return messages[:count]
    return messages


def published(data: msgspec.Raw | msgspec.UnsetType) -> bytes:
    """What is published, as everybody can read it.

    Raises:
        DoorError: 107 for nothing.
        Refused: `bad_payload` for what is no JSON.
    """
    if data is msgspec.UNSET:
        raise DoorError(DoorCode.BAD_REQUEST, "there is no data")
    text = bytes(data)
    try:
        decode_any(text)
        check_depth(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DoorError(DoorCode.BAD_REQUEST, f"data is JSON: {error}") from None
    # A frame of JSON is parted at line breaks, and an event of SSE.
    return without_spaces(text) if b"\n" in text or b"\r" in text else text
