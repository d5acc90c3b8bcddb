"""The two dialects: how events look on the wire.

`CLASSIC` is what the pages of the two earlier servers speak; those raise an alert on any type but `new_message`,
so nothing else is ever sent to them.  `V1` is the protocol in full.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from hubbub.client import Dialect
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Message, Request, decode_request, encode, request_id, rfc3339
from hubbub.wire.frames import text_frame

__all__ = ["CLASSIC", "SUBPROTOCOL", "V1", "Classic", "V1Dialect"]

SUBPROTOCOL = "hubbub.v1"


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
    resumes = False

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(ClassicRequest).decode

    def decode(self, text: str) -> ClassicRequest:
        """Read `send_message` or `change_room`; anything else is `Refused`."""
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
        """Classic requests have no id."""
        return

    def message(self, message: Message) -> bytes:
        """A `new_message`; an application's own events are not for classic ears."""
        if message.type != "new_message":
            return b""
        return text_frame(
            b'{"type":"new_message","payload":%b,"from":%b,"sent":"%b"}}'
            % (message.body[:-1], encode(message.sender), rfc3339(message.sent))
        )

    def listed(self, _message: Message) -> bytes:
        """Nothing: a classic client asks for no lists."""
        return b""

    def event(self, _type: str, _payload: bytes) -> bytes:
        """Nothing."""
        return b""

    def ack(self, _id: str | int, _payload: bytes) -> bytes:
        """Nothing."""
        return b""

    def error(self, _id: str | int | None, _refused: Refused) -> bytes:
        """Nothing."""
        return b""


class V1Dialect:
    """The v1 dialect."""

    name = "v1"
    first_room: str | None = None
    takes_binary = False
    resumes = True

    def decode(self, text: str) -> Request:
        """Read an envelope, or `Refused`: `bad_json`, `bad_envelope`."""
        return decode_request(text)

    def id_of(self, text: str) -> str | int | None:
        """The id in a frame that may be broken otherwise."""
        return request_id(text)

    def message(self, message: Message) -> bytes:
        """A kept event with its place in the log."""
        return text_frame(b'{"type":%b,"payload":%b}' % (encode(message.type), self.payload(message)))

    def listed(self, message: Message) -> bytes:
        """A kept event in a list: its payload, and the type of one that is no chat message."""
        payload = self.payload(message)
        return payload if message.type == "new_message" else b'{"type":%b,%b' % (encode(message.type), payload[1:])

    def payload(self, message: Message) -> bytes:
        """The payload of a kept event: its own fields after where, when and by whom."""
        sender = b"" if message.sender is None else b',"from":' + encode(message.sender)
        fields = message.body[1:] if len(message.body) == 2 else b"," + message.body[1:]
        return b'{"room":%b,"seq":%d%b,"sent":"%b"%b' % (
            encode(message.room),
            message.seq,
            sender,
            rfc3339(message.sent),
            fields,
        )

    def event(self, type_: str, payload: bytes) -> bytes:
        """An event that is not kept."""
        return text_frame(b'{"type":%b,"payload":%b}' % (encode(type_), payload))

    def ack(self, id_: str | int, payload: bytes) -> bytes:
        """The answer to a request."""
        return text_frame(b'{"type":"ack","id":%b,"payload":%b}' % (encode(id_), payload))

    def error(self, id_: str | int | None, refused: Refused) -> bytes:
        """The refusal of a request, or, without an id, of a frame."""
        payload: dict[str, object] = {"code": refused.code, "message": refused.message}
        if refused.retry_after is not None:
            payload["retry_after"] = refused.retry_after
        id_member = b"" if id_ is None else b',"id":' + encode(id_)
        return text_frame(b'{"type":"error"%b,"payload":%b}' % (id_member, encode(payload)))


CLASSIC: Dialect = Classic()
V1 = V1Dialect()
