"""The Protobuf format: messages in binary frames, each behind its length, both ways.

What clients say to each other is JSON here as well, in fields of bytes: a channel has members of all formats.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from hubbub.door.codes import DoorCode, DoorError
from hubbub.door.commands import Asked, ConnectionInfo, HistoryReply, PublicationPush
from hubbub.door.dialect import Broken, DoorDialect, asked_of, publication_of
from hubbub.door.protobuf import (
    DELIMITED,
    VARINT,
    Malformed,
    delimited,
    number,
    parts,
    tag_of,
    tagged,
    text,
    varint,
)
from hubbub.door.schema import COMMAND, INFO, PUSHES, REPLIES
from hubbub.events import Message

__all__ = ["ProtobufDialect"]

# Commands of one frame.  An SDK that comes back subscribes to all its channels in one, and there are 128 as a rule.
MAX_COMMANDS = 1024

# Fields of a reply, and of a push.
ERROR, PUSH = 2, 4
CHANNEL, PUB = 2, 4
# Those of a publication: two of them as their tags.
DATA, OFFSET = tag_of(4, DELIMITED), tag_of(6, VARINT)
CLIENT, TAGS = 5, 7

# Bytes of what is cached of a client that publishes.
MAX_CACHED = 512
# Where publications are in the answer to `subscribe`; and their tag in the one to `history`.
RECOVERED = 7
PAST_TAG = tagged(1, b"")[:1]


decode_info = msgspec.json.Decoder(ConnectionInfo).decode
read_json = msgspec.json.Decoder(msgspec.Raw).decode


class ProtobufDialect(DoorDialect):
    """The Protobuf format."""

    name = "centrifugo-protobuf"
    ping = b"\0"

    # Reading

    def read(self, frame: bytes) -> list[Asked | None]:
        return list(self.each(frame))

    def each(self, frame: bytes) -> Iterator[Asked | None]:
        if not frame:
            raise Broken("a frame is empty")
        try:
            for begin, end in parts(frame, MAX_COMMANDS):
                yield None if begin == end else self._read_one(frame, begin, end)
        except Malformed as error:
            raise Broken(str(error)) from None

    def _read_one(self, frame: bytes, begin: int, end: int) -> Asked | None:
        asked = asked_of(COMMAND.decode(frame, begin, end))
        if asked is not None and asked.type == "connect":
            try:
                check_data(asked)  # it is not decoded by what answers with an error
            except DoorError as error:
                raise Broken(error.message) from None
        return asked

    def decode(self, text: Any) -> Asked:
        """A command, which was read already.

        Raises:
            DoorError: its data is not JSON.
        """
        asked = cast(Asked, text)
        check_data(asked)
        return asked

    # Answers

    def result(self, name: str, result: msgspec.Struct) -> msgspec.Raw:
        place, shape = REPLIES[name]
        if isinstance(result, HistoryReply):
            past = [msgspec.Raw(as_past(bytes(listed))) for listed in result.publications]
            result = HistoryReply(past, result.epoch, result.offset)
        return msgspec.Raw(tagged(place, shape.encode(result)))

    def ack(self, id_: str | int, payload: bytes) -> bytes:
        return delimited(b"%b%b" % (number(1, cast(int, id_)), payload))

    def refusal(self, id_: int, number_: DoorCode, message: str, *, is_temporary: bool) -> bytes:
        told = number(1, number_) + text(2, message) + (number(3, 1) if is_temporary else b"")
        return delimited(number(1, id_) + tagged(ERROR, told))

    # What is told

    def push(self, channel: str, name: str, push: msgspec.Struct) -> bytes:
        if isinstance(push, PublicationPush):
            return pushed(channel, tagged(PUB, publication(push)))
        place, shape = PUSHES[name]
        return pushed(channel, tagged(place, shape.encode(push)))

    def message(self, message: Message) -> bytes:
        return pushed(message.room, tagged(PUB, self._publication(message)))

    def listed(self, message: Message) -> bytes:
        return tagged(RECOVERED, self._publication(message))

    def _publication(self, message: Message) -> bytes:
        """A kept event, as it is in pushes and in lists."""
        return publication(publication_of(message, shows_offset=self._shows_offset(message.room)))

    def array(self, members: Sequence[bytes]) -> bytes:
        return b"".join(members)

    def extended(self, members: Sequence[bytes], array: bytes) -> bytes:
        return b"".join(members) + array


def check_data(asked: Asked) -> None:
    """Refuse a command whose data is not JSON: members that get it in a text could not read it.

    Raises:
        DoorError: bad request.
    """
    data = getattr(asked.payload, "data", msgspec.UNSET)
    if data is msgspec.UNSET:
        return
    try:
        read_json(str(data, "utf-8"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DoorError(DoorCode.BAD_REQUEST, f"data is JSON, in Protobuf too: {error}") from None


def pushed(channel: str, push: bytes) -> bytes:
    """A push as a message of a frame."""
    place = channel_field(channel) if channel else b""
    return delimited(tagged(PUSH, place + push))


@functools.lru_cache(maxsize=1024)
def channel_field(channel: str) -> bytes:
    """Where something is pushed.  Cached: it is so for each publication."""
    return text(CHANNEL, channel)


def publication(push: PublicationPush) -> bytes:
    """A publication, as it is in pushes and in lists."""
    data = bytes(push.data)
    fields = [DATA, varint(len(data)), data]
    if push.info:
        info = bytes(push.info)
        fields.append(client_field(info) if len(info) <= MAX_CACHED else client_field.__wrapped__(info))
    if push.offset:
        fields += (OFFSET, varint(push.offset))
    for name, value in push.tags.items():
        fields.append(tagged(TAGS, text(1, name) + text(2, value)))
    return b"".join(fields)


@functools.lru_cache(maxsize=1024)
def client_field(info: bytes) -> bytes:
    """Who has published something, from a JSON object.  Cached: a client publishes more than once."""
    try:
        return tagged(CLIENT, INFO.encode(decode_info(info)))
    except msgspec.DecodeError:
        return b""  # an application has put something else there


def as_past(listed: bytes) -> bytes:
    """A member of a list as the answer to `history` has it: under another tag of one byte."""
    return PAST_TAG + listed[1:]
