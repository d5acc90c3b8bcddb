"""What a change makes of a message: edits, deletions and reactions, as bodies in the log.

A change is a kept event that names the message it is about.  The log amends that message as it takes the event; every
process applies the event to the messages that it has at hand.  Both do it by the functions here, which depend on
nothing but the body and the event.  Applying events once more, in their order, changes nothing: reactions are sets, in
one order, and an edit that a later one has overtaken has no text any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from hubbub.engine import Amend
from hubbub.events import CHANGES, Message, encode

__all__ = [
    "CHANGES",
    "DELETED",
    "EDITED",
    "MESSAGE",
    "REACTED",
    "ChangeBody",
    "EditPlace",
    "MessageBody",
    "Reaction",
    "amends_for",
    "apply_changes",
    "body_of",
    "change_of",
    "classic_body",
]

MESSAGE = "new_message"
EDITED = "message_edited"
DELETED = "message_deleted"
REACTED = "reacted"

TRUE = msgspec.Raw(b"true")

# What a change adds to the body of a message.
ADDED = ("edited", "reactions", "deleted")


class ChangeBody(msgspec.Struct, frozen=True):
    """The body of a change.

    Attributes:
        of: the seq of the message that it is about.
        message: the text that an edit gives it; None where a later change has overtaken that.
        emoji: what a reaction adds, or takes back.
    """

    of: int
    message: str | None = None
    emoji: str = ""
    on: bool = False


class EditPlace(msgspec.Struct, frozen=True):
    """Where, and when, a message got its present text."""

    seq: int
    sent: str


class Reaction(msgspec.Struct, frozen=True):
    """Who has reacted with an emoji."""

    emoji: str
    users: list[str]


class Template(NamedTuple):
    """A body; where `rest` is given, the place of the change comes between the two."""

    body: bytes
    rest: bytes | None = None


class MessageBody(msgspec.Struct, frozen=True):
    """The body of a message of the chat.

    Attributes:
        edited: the event that has given it its present text, or has deleted it; None where it is as it was said.
    """

    message: str
    edited: EditPlace | None = None
    reactions: list[Reaction] = []
    deleted: bool = False


_decode_change = msgspec.json.Decoder(ChangeBody).decode
_decode_body = msgspec.json.Decoder(MessageBody).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# Reading


def change_of(message: Message) -> ChangeBody:
    """What a kept event with one of the types of `CHANGES` says."""
    return _decode_change(message.body)


def body_of(message: Message) -> MessageBody | None:
    """The body of a message of the chat; None for any other event."""
    if message.type != MESSAGE:
        return None
    try:
        return _decode_body(message.body)
    except msgspec.ValidationError:
        return None  # an application's own, with other fields


def classic_body(body: bytes) -> bytes:
    """The body of a message without what changes have added; empty for one that was deleted."""
    fields = _decode_fields(body)
    if fields.get("deleted") == TRUE:
        return b""
    return encode({name: value for name, value in fields.items() if name not in ADDED})


# Changing


def template(body: bytes, type_: str, change: ChangeBody, user: str | None) -> Template:
    """What a change by a user makes of a message's body; the body itself where it makes no difference."""
    fields = _decode_fields(body)
    if fields.get("deleted") == TRUE or (type_ == EDITED and change.message is None):
        return Template(body)
    if type_ == DELETED:
        return Template(b'{"message":"","edited":', b',"deleted":true}')
    reactions = fields.pop("reactions", None)
    if type_ == REACTED:
        reacted = react(_decode_body(body).reactions, change.emoji, user or "", is_on=change.on)
        shown = encode(fields)[:-1] + (b',"reactions":' + encode(reacted) if reacted else b"") + b"}"
        return Template(shown)
    fields.pop("edited", None)
    fields["message"] = msgspec.Raw(encode(change.message))
    rest = b"}" if reactions is None else b',"reactions":%b}' % bytes(reactions)
    return Template(encode(fields)[:-1] + b',"edited":', rest)


def react(reactions: list[Reaction], emoji: str, user: str, *, is_on: bool) -> list[Reaction]:
    """Reactions with that of one user added, or taken back: sorted, so that they are the same for all who count."""
    sets = {reaction.emoji: set(reaction.users) for reaction in reactions}
    users = sets.setdefault(emoji, set())
    if is_on:
        users.add(user)
    else:
        users.discard(user)
    return [Reaction(each, sorted(sets[each])) for each in sorted(sets) if sets[each]]


def overtaken(body: bytes) -> bytes:
    """The body of an edit whose text is not the message's any more."""
    fields = _decode_fields(body)
    fields.pop("message", None)
    return encode(fields)


def amends_for(
    message: Message, edit: Message | None, type_: str, change: ChangeBody, user: str | None
) -> tuple[Amend, ...]:
    """What the log has to amend as it takes a change; nothing where it makes no difference.

    Args:
        message: the message, as it is.
        edit: the event that has given it its present text, where the log holds one.
        user: who changes it.
    """
    made = template(message.body, type_, change, user)
    if made.body == message.body:
        return ()
    amends = [Amend(message.seq, message.body, made.body, made.rest)]
    if edit is not None and type_ != REACTED:
        without = overtaken(edit.body)
        if without != edit.body:
            amends.append(Amend(edit.seq, edit.body, without))
    return tuple(amends)


def apply_changes(messages: Sequence[Message], events: Iterable[Message]) -> dict[int, Message]:
    """Apply the changes among some events, in their order, to messages.

    Returns:
        Those that are changed, as they are after it, by their seqs.
    """
    changes = [event for event in events if event.type in CHANGES]
    if not changes:
        return {}
    held = Held(messages)
    for event in changes:
        held.apply(event)
    return held.changed


class Held:
    """Messages that changes are applied to.

    Attributes:
        changed: those that have been changed, by their seqs.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.changed: dict[int, Message] = {}
        self._messages = {message.seq: message for message in messages}
        # The seqs of edits, by the message that they are about.
        self._edits: dict[int, list[int]] = {}
        for message in messages:
            if message.type == EDITED:
                self._edits.setdefault(change_of(message).of, []).append(message.seq)

    def apply(self, event: Message) -> None:
        """Apply a change."""
        change = change_of(event)
        message = self._messages.get(change.of)
        if message is not None and message.type == MESSAGE and message.seq < event.seq:
            made = template(message.body, event.type, change, event.sender)
            self._put(message, Amend(message.seq, message.body, *made).filled(event.seq, event.sent))
        if event.type != REACTED:
            for seq in self._edits.get(change.of, ()):
                if seq < event.seq:
                    self._put(self._messages[seq], overtaken(self._messages[seq].body))

    def _put(self, message: Message, body: bytes) -> None:
        if body != message.body:
            self._messages[message.seq] = self.changed[message.seq] = replace(message, body=body)
