"""What a dialect is, and the two there are: how events look on one kind of connection, as text.

A dialect makes text, not frames: whatever carries a connection puts the text into its own frames.  `CLASSIC` is what
the pages of the two earlier servers speak; those raise an alert on any type but `new_message`, so nothing else is ever
sent to them.  `V1` is the protocol in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from hubbub.amending import classic_body
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Message, decode_envelope, encode, request_id, rfc3339

__all__ = ["CLASSIC", "SUBPROTOCOLS", "V1", "Classic", "Dialect", "EventRequest", "V1Dialect", "dialect_of"]


QUOTE = ord('"')


class EventRequest(Protocol):
    """What a client of any dialect asks for."""

    @property
    def type(self) -> str: ...

    @property
    def payload(self) -> Any:
        """Unread JSON; what was read of it, in a dialect that reads requests whole."""
        ...

    @property
    def id(self) -> str | int | None: ...


class Dialect(Protocol):
    """How events look on one kind of connection.  An empty text means: not for clients of this dialect.

    Attributes:
        name: for log lines.
        first_room: the room that a connection begins in.
        takes_binary: a binary message is refused, and does not close the connection.
        names_rooms: its requests say which room they mean; without it, a connection is in one room.
        lists: a join is answered with what was said before.
        resumes: it can say up to where it has heard a room, so one that is slow is fed from the log later.
        may_mute_own: its user can ask not to be sent what the user says.
        is_greeted: its connections begin with a `welcome`.
    """

    name: str
    first_room: str | None
    takes_binary: bool
    names_rooms: bool
    lists: bool
    resumes: bool
    may_mute_own: bool
    is_greeted: bool

    def decode(self, text: str) -> EventRequest:
        """Read a request.

        Raises:
            Refused: `bad_json`, `bad_envelope`, or `unknown_type` for what this dialect does not have.
        """
        ...

    def id_of(self, text: str) -> str | int | None:
        """The id in a request that may be broken otherwise."""
        ...

    def message(self, message: Message) -> bytes:
        """A kept event, as a member of its room hears it."""
        ...

    def listed(self, message: Message) -> bytes:
        """A kept event, as a member of a list."""
        ...

    def array(self, members: Sequence[bytes]) -> bytes:
        """A list of what `listed` has made, as an answer has it."""
        ...

    def extended(self, members: Sequence[bytes], array: bytes) -> bytes:
        """Such a list with more members before those that it has."""
        ...

    def event(self, type_: str, payload: bytes) -> bytes:
        """An event for one client, which is not kept."""
        ...

    def cast(self, room: str, type_: str, payload: bytes) -> bytes:
        """An event for the members of a room, which is not kept."""
        ...

    def ack(self, id_: str | int, payload: bytes) -> bytes:
        """The answer to a request."""
        ...

    def error(self, id_: str | int | None, refused: Refused) -> bytes:
        """The refusal of a request or, without an id, of a message that is none."""
        ...


class ClassicRequest(msgspec.Struct):
    """The classic envelope; an `id` in it, of any kind, means nothing."""

    id: ClassVar[None] = None
    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class Classic:
    """The classic dialect."""

    name = "classic"
    first_room: str | None = "general"
    takes_binary = True
    names_rooms = False
    lists = False
    resumes = False
    may_mute_own = True
    is_greeted = False

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(ClassicRequest).decode

    def decode(self, text: str) -> ClassicRequest:
        try:
            request = self._decode(text)
        except msgspec.ValidationError as error:
            raise Refused(ErrorCode.BAD_ENVELOPE, str(error)) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refused(ErrorCode.BAD_JSON, str(error)) from None
        if request.type not in ("send_message", "change_room"):
            raise Refused(ErrorCode.UNKNOWN_TYPE, "a classic client sends send_message and change_room")
        return request

    def id_of(self, _text: str) -> None:
        return

    def message(self, message: Message) -> bytes:
        if message.type != "new_message":
            return b""
        body = message.body
        if body[-2] != QUOTE:  # the end of a text: it is as it was said
            body = classic_body(body)
            if not body:
                return b""
        return b'{"type":"new_message","payload":%b,"from":%b,"sent":"%b"}}' % (
            body[:-1],
            encode(message.sender),
            rfc3339(message.sent),
        )

    def listed(self, _message: Message) -> bytes:
        return b""

    def array(self, _members: Sequence[bytes]) -> bytes:
        return b""

    def extended(self, _members: Sequence[bytes], _array: bytes) -> bytes:
        return b""

    def event(self, _type: str, _payload: bytes) -> bytes:
        return b""

    def cast(self, _room: str, _type: str, _payload: bytes) -> bytes:
        return b""

    def ack(self, _id: str | int, _payload: bytes) -> bytes:
        return b""

    def error(self, _id: str | int | None, _refused: Refused) -> bytes:
        return b""


class V1Dialect:
    """The v1 dialect."""

    name = "v1"
    first_room: str | None = None
    takes_binary = False
    names_rooms = True
    lists = True
    resumes = True
    may_mute_own = False
    is_greeted = True

    decode = staticmethod(decode_envelope)
    id_of = staticmethod(request_id)

    def message(self, message: Message) -> bytes:
        return b'{"type":%b,"payload":%b}' % (encode(message.type), self._payload(message))

    def listed(self, message: Message) -> bytes:
        payload = self._payload(message)
        return payload if message.type == "new_message" else b'{"type":%b,%b' % (encode(message.type), payload[1:])

    def _payload(self, message: Message) -> bytes:
        """The event's own fields after where, when and by whom."""
        sender = b"" if message.sender is None else b',"from":' + encode(message.sender)
        fields = message.body[1:] if len(message.body) == 2 else b"," + message.body[1:]
        return b'{"room":%b,"seq":%d%b,"sent":"%b"%b' % (
            encode(message.room),
            message.seq,
            sender,
            rfc3339(message.sent),
            fields,
        )

    def array(self, members: Sequence[bytes]) -> bytes:
        return b"[%b]" % b",".join(members)

    def extended(self, members: Sequence[bytes], array: bytes) -> bytes:
        if not members:
            return array
        inner = b",".join(members)
        return b"[%b]" % inner if array == b"[]" else b"[%b,%b" % (inner, array[1:])

    def event(self, type_: str, payload: bytes) -> bytes:
        return b'{"type":%b,"payload":%b}' % (encode(type_), payload)

    def cast(self, _room: str, type_: str, payload: bytes) -> bytes:
        return self.event(type_, payload)

    def ack(self, id_: str | int, payload: bytes) -> bytes:
        return b'{"type":"ack","id":%b,"payload":%b}' % (encode(id_), payload)

    def error(self, id_: str | int | None, refused: Refused) -> bytes:
        payload: dict[str, object] = {"code": refused.code, "message": refused.message}
        if refused.retry_after is not None:
            payload["retry_after"] = refused.retry_after
        id_member = b"" if id_ is None else b',"id":' + encode(id_)
        return b'{"type":"error"%b,"payload":%b}' % (id_member, encode(payload))


CLASSIC: Dialect = Classic()
V1: Dialect = V1Dialect()

# The WebSocket subprotocol (RFC 6455 section 1.9) by which a client asks for a dialect; without any it is `CLASSIC`.
SUBPROTOCOLS: dict[str, Dialect] = {"hubbub.v1": V1}


def dialect_of(offered: Sequence[str]) -> tuple[Dialect, str | None]:
    """The dialect of a client that offers these subprotocols, and the one of them that is to be answered."""
    for subprotocol in offered:
        if subprotocol in SUBPROTOCOLS:
            return SUBPROTOCOLS[subprotocol], subprotocol
    return CLASSIC, None
