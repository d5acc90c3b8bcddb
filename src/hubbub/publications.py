"""What other programs publish: any JSON, or an event of an application, as it is kept in a room."""

from __future__ import annotations

import msgspec

from hubbub.errors import ErrorCode, Refused
from hubbub.events import CHANGES, RESERVED, Event, Message, encode, encode_payload
from hubbub.policy import check_text

__all__ = ["MAX_TYPE_CHARS", "OF_SERVER", "Publication", "Said", "body_of", "check_depth", "said_by"]

MAX_TYPE_CHARS = 64

# JSON with fewer brackets is read anywhere; with more, as many as these around it have to go, too.
SHALLOW = 400
MARGIN = 200

# Events that the server alone may say; a client acts on what they tell.
OF_SERVER = CHANGES | {
    *("welcome", "ack", "error", "removed", "reconnect", "gap", "epoch", "profile_changed"),
    *("member_joined", "member_left", "typing", "read", "room_added", "room_removed", "room_changed"),
}


class Publication(Event, tag="publication", omit_defaults=True):
    """Any JSON that a program other than the server has published, or a client of the second door.

    Attributes:
        info: an object with the client's `user` and `client`, and what else is told of it, where it is a client's.
        tags: what a program has put beside it.
    """

    data: msgspec.Raw
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class SpokenText(msgspec.Struct, forbid_unknown_fields=True):
    """What a message of the chat has, and nothing else: the pages of the earlier servers are shown all of it."""

    message: str


class Said(msgspec.Struct, frozen=True):
    """What a kept event says, as other programs read it.

    Attributes:
        type: of the event.
        data: what was published, or the fields of an event of another type.
        tags: those of a publication; of another event, its type under `type`.
        info: of the client that has published it (`Publication.info`).
    """

    type: str
    data: msgspec.Raw
    tags: dict[str, str]
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_text = msgspec.json.Decoder(SpokenText).decode
decode_publication = msgspec.json.Decoder(Publication).decode


def body_of(type_: str, data: msgspec.Raw | bytes, tags: dict[str, str], longest: int) -> tuple[str, bytes]:
    """The type and the body of what is to be kept.

    Args:
        type_: of an event of an application; empty for a publication.
        data: the JSON that is published: the fields of the event, where a type is given.
        tags: what is put beside a publication.
        longest: characters that a message of the chat may have.

    Raises:
        Refused: `bad_payload`, `forbidden` for an event that the server alone may say, `too_large` for a message.
    """
    plain = without_spaces(bytes(data))
    if not type_:
        return Publication.tag, encode_payload(Publication(msgspec.Raw(plain), tags=tags))
    check_type(type_)
    if tags:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"tags are for publications; put them into the fields of {type_!r}")
    try:
        fields = decode_fields(plain)
        taken = RESERVED & fields.keys()
        if taken:
            raise Refused(ErrorCode.BAD_PAYLOAD, f"data has no field {min(taken)!r}: the log adds that itself")
        if type_ == "new_message":
            check_text(decode_text(plain).message, longest)
            plain = encode({"message": decode_text(plain).message})
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"{error} - the data of {type_!r} is an object with its fields") from None
    return type_, plain


def check_type(type_: str) -> None:
    """Refuse what no event of an application can be of."""
    if not 0 < len(type_) <= MAX_TYPE_CHARS or not type_.isprintable():
        raise Refused(ErrorCode.BAD_PAYLOAD, f"a type has 1 to {MAX_TYPE_CHARS} printable characters")
    if type_ in OF_SERVER:
        raise Refused(ErrorCode.FORBIDDEN, f"events {type_!r} are the server's own; give yours another type")
    if type_ == Publication.tag:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"leave the type out for what is to be a {type_!r}")


def without_spaces(data: bytes) -> bytes:
    """JSON as the server writes it, without spaces and line breaks between its tokens.

    It is read in full: whoever hears of it has to be able to, and raw JSON may have strings that are no text.
    """
    try:
        msgspec.json.decode(data)
        check_depth(data)
        return msgspec.json.format(data, indent=-1)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"data is JSON: {error}") from None


def check_depth(data: bytes) -> None:
    """Refuse (`bad_payload`) JSON that others could not read, in which objects and lists are too far within each other.

    How much can be read depends on how deep in calls one is, and on what is put around it: here some more of both has
    to go.
    """
    if data.count(b"[") + data.count(b"{") > SHALLOW:
        try:
            msgspec.json.decode(b"%b%b%b" % (b"[" * MARGIN, data, b"]" * MARGIN))
        except RecursionError:
            raise Refused(ErrorCode.BAD_PAYLOAD, "data has objects and lists too far within each other") from None


def said_by(message: Message) -> Said:
    """What a kept event says."""
    if message.type == Publication.tag:
        try:
            found = decode_publication(message.body)
            return Said(message.type, found.data, found.tags, found.info)
        except msgspec.DecodeError:
            pass  # an application's own event of that type
    return Said(message.type, msgspec.Raw(message.body), {"type": message.type})
