"""Changing what was said: handlers of the chat that edit and delete messages, and react to them.

A change is made of what is at hand, or was read, and the log keeps it only if that still holds; otherwise it is made
again of what the log has then.  In one process the changes of a message wait for each other, so that a hundred users
who react at once take a hundred steps and no more; only processes race.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import msgspec

from hubbub.acts import Act
from hubbub.amending import (
    DELETED,
    EDITED,
    REACTED,
    ChangeBody,
    EditPlace,
    MessageBody,
    amends_for,
    body_of,
)
from hubbub.audit import Audit
from hubbub.client import Participant
from hubbub.engine import Amend, Engine, Receipt
from hubbub.errors import ErrorCode, Refused, Stale
from hubbub.events import Message, encode, rfc3339
from hubbub.handlers import Handlers
from hubbub.permissions import Permissions
from hubbub.policy import check_key, check_text
from hubbub.posting import Posting
from hubbub.rooms import Rooms
from hubbub.settings import Settings

__all__ = ["DeleteMessage", "EditMessage", "React", "install_changing"]

MAX_SEQ = 1 << 62

# Of one message: different emoji, and reactions of users in all.
MAX_EMOJI = 20
MAX_REACTIONS = 500
MAX_EMOJI_CHARS = 32

# Letters, marks and symbols that look like nothing: fillers, and an empty pattern of Braille.
UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")

# Times that a change is made again because another process was first.
TRIES = 10

# Amends nothing that there is: a draft with it is kept by nobody, and its key is looked at all the same.
NOTHING = (Amend(0, b"", b""),)

Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]


class EditMessage(msgspec.Struct, tag="edit_message", frozen=True):
    """Asks to give a message another text."""

    seq: Seq
    message: str
    room: str | None = None
    key: str | None = None


class DeleteMessage(msgspec.Struct, tag="delete_message", frozen=True):
    """Asks to take a message back."""

    seq: Seq
    room: str | None = None
    key: str | None = None


class React(msgspec.Struct, tag="react", frozen=True):
    """Asks to add a reaction to a message, or to take it back."""

    seq: Seq
    emoji: str
    on: bool
    room: str | None = None
    key: str | None = None


class Subject(NamedTuple):
    """What there is to change.

    Attributes:
        message: None where there is no message of the chat with that seq.
        edit: the event that has given it its present text; None where it is as it was said, or that has gone.
    """

    message: Message | None
    body: MessageBody | None
    edit: Message | None


class Wanted(NamedTuple):
    """A change that a client asks for, and the event that tells of it."""

    room: str
    type: str
    change: ChangeBody
    body: bytes
    key: str | None


def install_changing(
    handlers: Handlers, rooms: Rooms, engine: Engine, permissions: Permissions, settings: Settings, audit: Audit
) -> None:
    """Register the handlers, for the events that the application does not handle itself."""
    changes = Changes(rooms, engine, permissions, audit)

    # Who may change a message is asked once it is known whose it is.
    @handlers.offer(None)
    async def edit_message(request: EditMessage, client: Participant) -> Any:
        check_text(request.message, settings.max_message)
        change = ChangeBody(request.seq, request.message)
        body = encode({"of": change.of, "message": change.message})
        return await changes.make(client, request.room, EDITED, change, body, request.key)

    @handlers.offer(None)
    async def delete_message(request: DeleteMessage, client: Participant) -> Any:
        change = ChangeBody(request.seq)
        return await changes.make(client, request.room, DELETED, change, encode({"of": change.of}), request.key)

    @handlers.offer(None)
    async def react(request: React, client: Participant) -> Any:
        check_emoji(request.emoji)
        change = ChangeBody(request.seq, None, request.emoji, request.on)
        body = encode({"of": change.of, "emoji": change.emoji, "on": change.on})
        return await changes.make(client, request.room, REACTED, change, body, request.key)


class Changes:
    """Makes changes, one at a time of each message."""

    def __init__(self, rooms: Rooms, engine: Engine, permissions: Permissions, audit: Audit) -> None:
        self._rooms = rooms
        self._engine = engine
        self._permissions = permissions
        self._audit = audit
        # The messages that are being changed, each with how many changes of it are under way or wait.
        self._turns: dict[tuple[str, int], tuple[asyncio.Lock, int]] = {}

    async def make(
        self, client: Participant, room: str | None, type_: str, change: ChangeBody, body: bytes, key: str | None
    ) -> Posting | dict[str, Any]:
        """Make a change; what its request is answered with.

        Raises:
            Refused: `not_in_room`, `forbidden`, `no_such_message`, `conflict`, `rate_limited`, or `unavailable` where
                others have changed the message each time.
            EngineError: the log cannot be read, or has not kept it.
        """
        name = self._rooms.name_of(client, room)
        if key is not None:
            check_key(key)
        wanted = Wanted(name, type_, change, body, key)
        async with self._turn(name, change.of):
            return await self._make(client, wanted)

    @asynccontextmanager
    async def _turn(self, room: str, seq: int) -> AsyncIterator[None]:
        place = room, seq
        lock, count = self._turns.get(place, (asyncio.Lock(), 0))
        self._turns[place] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            lock, count = self._turns.pop(place)
            if count > 1:
                self._turns[place] = lock, count - 1

    async def _make(self, client: Participant, wanted: Wanted) -> Posting | dict[str, Any]:
        posting: Posting | None = None
        for number in range(TRIES):
            subject = await self._look(wanted, is_read=number > 0)
            # From here to the posting nothing waits: what is allowed now counts.
            try:
                amends = self._amends(client, wanted, subject)
            except Refused:
                if wanted.key is None or posting is not None:
                    raise
                amends = ()
            if not amends and wanted.key is None:
                return self._unchanged(client, wanted, subject, posting)
            # Where nothing is to be changed, the key is looked at: this may be a repeat of what was kept once.
            posting = self._post(client, wanted, amends or NOTHING, posting)
            try:
                await posting
            except Stale:
                if not amends:
                    return self._unchanged(client, wanted, subject, posting)
            else:
                if amends:
                    self._note(client, wanted, subject)
                return posting
        raise Refused(ErrorCode.UNAVAILABLE, "not kept: others change this message all the time; again later", 1.0)

    async def _look(self, wanted: Wanted, *, is_read: bool) -> Subject:
        """Find a message, and the edit that has given it its text: as they are at hand, or as they are in the log.

        Raises:
            EngineError: the log cannot be read.
        """
        message = await self._find(wanted.room, wanted.change.of, is_read=is_read)
        body = body_of(message) if message is not None else None
        if message is None or body is None:
            return Subject(None, None, None)
        edit = None
        if body.edited is not None and not body.deleted and wanted.type != REACTED:
            edit = await self._find(wanted.room, body.edited.seq, is_read=is_read)
        return Subject(message, body, edit)

    async def _find(self, room: str, seq: int, *, is_read: bool) -> Message | None:
        """A message: as it is at hand, or as it is in the log."""
        if not is_read and (found := self._rooms.at_hand(room, seq)) is not None:
            return found
        messages = (await self._engine.read(room, after=seq - 1, limit=1)).messages if seq > 0 else []
        return messages[0] if messages and messages[0].seq == seq else None

    def _amends(self, client: Participant, wanted: Wanted, subject: Subject) -> tuple[Amend, ...]:
        """What the log has to amend; nothing where the message is as it is wanted already.

        Raises:
            Refused: it cannot be done, or this client may not.
        """
        room, change = wanted.room, wanted.change
        self._rooms.name_of(client, room)  # it may have left meanwhile
        message, body, _ = subject
        if message is None or body is None:
            self._permissions.check(client, Act.POST, room)
            raise no_such_message(room, change.of)
        is_own = wanted.type == REACTED or message.sender == client.user
        self._permissions.check(client, Act.POST if is_own else Act.MANAGE, room)
        if body.deleted:
            if wanted.type == DELETED:
                return ()
            raise no_such_message(room, change.of)
        if wanted.type == REACTED and change.on:
            check_count(body, change.emoji, client.user)
        if wanted.type == EDITED and body.message == change.message:
            return ()
        return amends_for(message, subject.edit, wanted.type, change, client.user)

    def _post(self, client: Participant, wanted: Wanted, amends: tuple[Amend, ...], posting: Posting | None) -> Posting:
        if posting is None:
            return self._rooms.change(client, wanted.room, wanted.type, wanted.body, wanted.key, amends)
        self._rooms.change_again(posting, amends)
        return posting

    def _unchanged(
        self, client: Participant, wanted: Wanted, subject: Subject, posting: Posting | None
    ) -> dict[str, Any]:
        """Answer a change that makes no difference, or refuse it.

        A deletion, or an edit, is answered with the place of the one that has made the message what it is; a reaction
        with that of the message.
        """
        self._amends(client, wanted, subject)
        message, body, _ = subject
        assert message is not None and body is not None, "what is not there is refused"
        if posting is not None:
            posting.settle(Receipt(message.seq, message.sent, repeated=True))  # its call waits for no other outcome
        place = body.edited if wanted.type != REACTED else None
        if place is None:
            place = EditPlace(message.seq, rfc3339(message.sent).decode())
        return {"room": wanted.room, "seq": place.seq, "sent": place.sent}

    def _note(self, client: Participant, wanted: Wanted, subject: Subject) -> None:
        """Note what somebody has made of another's words."""
        message = subject.message
        if message is not None and wanted.type != REACTED and message.sender != client.user:
            act = "delete_message" if wanted.type == DELETED else "edit_message"
            self._audit.note(
                act, actor=client.user, target=message.sender, room=wanted.room, outcome="done", seq=message.seq
            )


def no_such_message(room: str, seq: int) -> Refused:
    return Refused(
        ErrorCode.NO_SUCH_MESSAGE, f"there is no message {seq} in {room[:80]!r}, or not any more - at `payload.seq`"
    )


def check_emoji(emoji: str) -> None:
    """Refuse (`bad_payload`) what is no short word, cannot be seen, or could hide or reorder what is around it.

    Joiners, tags and variation selectors are parts of emoji (UTS #51 sections 2.5 and 2.6), and nothing by themselves.
    """
    is_short = 1 <= len(emoji) <= MAX_EMOJI_CHARS
    if not is_short or unicodedata.category(emoji[0])[0] in "CM" or any(is_unfit(char) for char in emoji):
        raise Refused(
            ErrorCode.BAD_PAYLOAD,
            f"an emoji has 1 to {MAX_EMOJI_CHARS} characters, without spaces, controls and what nobody sees, and begins"
            " with none that only changes others - at `payload.emoji`",
        )


def is_unfit(char: str) -> bool:
    category = unicodedata.category(char)
    if char in UNSEEN:
        return True
    if category == "Cf":
        return char != "\u200d" and not "\U000e0020" <= char <= "\U000e007f"
    return category[0] == "Z" or category in ("Cc", "Cs", "Cn")


def check_count(body: MessageBody, emoji: str, user: str) -> None:
    """Refuse (`conflict`) a reaction to a message that has as many as it may."""
    reactions = body.reactions
    of_emoji = next((reaction.users for reaction in reactions if reaction.emoji == emoji), None)
    if of_emoji is not None and user in of_emoji:
        return
    if of_emoji is None and len(reactions) >= MAX_EMOJI:
        raise Refused(ErrorCode.CONFLICT, f"a message has at most {MAX_EMOJI} different reactions; add to one of them")
    if sum(len(reaction.users) for reaction in reactions) >= MAX_REACTIONS:
        raise Refused(ErrorCode.CONFLICT, f"a message has at most {MAX_REACTIONS} reactions")
