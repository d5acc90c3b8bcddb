"""How events look to clients of the door, and how their commands are read: what both formats have, and JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from hubbub.dialect import V1Dialect
from hubbub.door.codes import DoorCode, Unsubscribed, is_temporary, message_of, number_of
from hubbub.door.commands import Asked, Command, MessagePush, PublicationPush, UnsubscribePush
from hubbub.errors import Refused
from hubbub.events import Message, encode
from hubbub.publications import OF_SERVER, Publication, said_by

__all__ = ["Broken", "DoorDialect", "JsonDialect", "asked_of", "publication_of"]


class Broken(Exception):
    """A frame cannot be read: whoever sends it is closed."""


class Concerned(msgspec.Struct):
    """The room that an event of ours is about, and what is said of it."""

    room: str
    message: str = ""


decode_concerned = msgspec.json.Decoder(Concerned).decode
decode_publication = msgspec.json.Decoder(Publication).decode

# What an unkept publication and a kept one begin with.
DATA = b'{"data":'

REQUESTS = tuple(name for name in Command.__struct_fields__ if name != "id")
# What needs no answer.
UNANSWERED = frozenset({"send"})


class DoorDialect(ABC):
    """What the two formats have in common (`dialect.Dialect`).

    Args:
        shows_offset: whether clients are told where in a channel something stands.

    Attributes:
        ping: the server's, as a text.
    """

    name: str
    ping: bytes
    first_room: str | None = None
    takes_binary = False
    names_rooms = True
    lists = True
    resumes = True
    may_mute_own = False
    is_greeted = False

    def __init__(self, shows_offset: Callable[[str], bool]) -> None:
        self._shows_offset = shows_offset

    # Reading

    @abstractmethod
    def read(self, frame: Any) -> Sequence[Asked | None]:
        """The commands of a frame, in order; None for the answer to a ping.

        Raises:
            Broken: it cannot be read.
        """

    @abstractmethod
    def each(self, frame: Any) -> Iterator[Asked | None]:
        """The same, each when it is asked for: of a frame that is long."""

    def decode(self, text: Any) -> Asked:
        """A command, which was read already."""
        return text  # type: ignore[no-any-return]  # on the path of every command

    def id_of(self, text: Any) -> int | None:
        """A command's id."""
        return text.id  # type: ignore[no-any-return]

    # Answers

    @abstractmethod
    def result(self, name: str, result: msgspec.Struct) -> msgspec.Raw:
        """What a handler returns for the answer to a command, encoded."""

    @abstractmethod
    def ack(self, id_: str | int, payload: bytes) -> bytes:
        """The answer to a command: of `result`."""

    @abstractmethod
    def refusal(self, id_: int, number: DoorCode, message: str, *, is_temporary: bool) -> bytes:
        """The answer to a command that was not done."""

    def error(self, id_: str | int | None, refused: Refused) -> bytes:
        if not isinstance(id_, int):
            return b""
        number = number_of(refused)
        return self.refusal(id_, number, message_of(refused), is_temporary=is_temporary(number))

    # What is told

    @abstractmethod
    def push(self, channel: str, name: str, push: msgspec.Struct) -> bytes:
        """Something that nobody has asked for; without a channel, of the connection."""

    @abstractmethod
    def message(self, message: Message) -> bytes: ...

    @abstractmethod
    def listed(self, message: Message) -> bytes: ...

    @abstractmethod
    def array(self, members: Sequence[bytes]) -> bytes: ...

    @abstractmethod
    def extended(self, members: Sequence[bytes], array: bytes) -> bytes: ...

    def event(self, type_: str, payload: bytes) -> bytes:
        if type_ == "removed":
            place = decode_concerned(payload)
            return self.push(place.room, "unsubscribe", UnsubscribePush(Unsubscribed.SERVER, place.message))
        if type_ == "gap":
            reason = "insufficient state"
            return self.push(
                decode_concerned(payload).room, "unsubscribe", UnsubscribePush(Unsubscribed.INSUFFICIENT_STATE, reason)
            )
        if type_ in OF_SERVER:
            return b""
        said = b'{"type":%b,"payload":%b}' % (encode(type_), payload)
        return self.push("", "message", MessagePush(msgspec.Raw(said)))

    def cast(self, room: str, type_: str, payload: bytes) -> bytes:
        if type_ in OF_SERVER:
            return b""
        if type_ == Publication.tag:
            found = decode_publication(payload)
            return self.push(room, "pub", PublicationPush(found.data, found.info, tags=found.tags))
        return self.push(room, "pub", PublicationPush(msgspec.Raw(payload), tags={"type": type_}))


class JsonDialect(DoorDialect):
    """The JSON format: one object a line, both ways."""

    name = "centrifugo"
    ping = b"{}"

    array = V1Dialect.array
    extended = V1Dialect.extended

    def __init__(self, shows_offset: Callable[[str], bool]) -> None:
        super().__init__(shows_offset)
        self._decode = msgspec.json.Decoder(Command).decode

    def read(self, frame: str) -> list[Asked | None]:
        if "\n" not in frame:
            return [self._read_one(frame)]
        return list(self.each(frame))

    def each(self, frame: str) -> Iterator[Asked | None]:
        if not frame:
            raise Broken("a frame is empty")
        at, end = 0, len(frame)
        while at < end:
            stop = frame.find("\n", at)
            if stop < 0:
                stop = end
            # An empty line says as little as the answer to a ping, and counts like one.
            yield self._read_one(frame[at:stop]) if stop > at else None
            at = stop + 1

    def _read_one(self, line: str) -> Asked | None:
        if line == "{}":
            return None
        try:
            return asked_of(self._decode(line))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Broken(str(error)) from None

    def result(self, name: str, result: msgspec.Struct) -> msgspec.Raw:
        return msgspec.Raw(b'"%b":%b' % (name.encode(), encode(result)))

    def ack(self, id_: str | int, payload: bytes) -> bytes:
        return b'{"id":%b,%b}' % (encode(id_), payload)

    def refusal(self, id_: int, number: DoorCode, message: str, *, is_temporary: bool) -> bytes:
        told: dict[str, Any] = {"code": int(number), "message": message}
        if is_temporary:
            told["temporary"] = True
        return b'{"id":%d,"error":%b}' % (id_, encode(told))

    def push(self, channel: str, name: str, push: msgspec.Struct) -> bytes:
        place = b'"channel":%b,' % encode(channel) if channel else b""
        return b'{"push":{%b"%b":%b}}' % (place, name.encode(), encode(push))

    def message(self, message: Message) -> bytes:
        return b'{"push":{"channel":%b,"pub":%b}}' % (encode(message.room), self.listed(message))

    def listed(self, message: Message) -> bytes:
        body = message.body
        fields = body[1:-1] if message.type == Publication.tag and body.startswith(DATA) else foreign_fields(message)
        if self._shows_offset(message.room):
            return b'{%b,"offset":%d}' % (fields, message.seq)
        return b"{%b}" % fields


def asked_of(command: Command) -> Asked | None:
    """What a command asks for; None for the answer to a ping.

    Raises:
        Broken: it asks for nothing, or has no id where there has to be an answer.
    """
    if command.publish is not None and command.id > 0:  # what most commands are
        return Asked("publish", command.publish, command.id)
    for name in REQUESTS:
        request = getattr(command, name)
        if request is None:
            continue
        if name in UNANSWERED:
            return Asked(name, request, None)
        if command.id < 1:
            raise Broken(f"a command {name!r} has an id from 1 on")
        return Asked(name, request, command.id)
    if command.id:
        raise Broken("a command has one request: connect, subscribe, publish and the like")
    return None


def foreign_fields(message: Message) -> bytes:
    """The fields of a publication that stands for an event of another kind."""
    fields = b'"data":%b,"tags":%b' % (message.body, encode({"type": message.type}))
    if message.sender is not None:
        fields += b',"info":{"user":%b,"client":""}' % encode(message.sender)
    return fields


def publication_of(message: Message, *, shows_offset: bool) -> PublicationPush:
    """A kept event as a publication."""
    said = said_by(message)
    info = said.info
    if info is msgspec.UNSET and said.type != Publication.tag and message.sender is not None:
        info = msgspec.Raw(b'{"user":%b,"client":""}' % encode(message.sender))
    return PublicationPush(said.data, info, message.seq if shows_offset else 0, said.tags)
