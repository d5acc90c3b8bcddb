"""Who is in which room: coming and going, falling behind and catching up, and what is delivered to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from hubbub.acts import Act
from hubbub.age import Age
from hubbub.budgets import ROW_BYTES, Purse, Use, spend
from hubbub.catchup import Caught, catch_up, read_missed
from hubbub.client import Client, Participant
from hubbub.counts import HubCounts
from hubbub.engine import Amend, Engine, Head, Receipt, RoomOutline
from hubbub.entrance import RoomEntrance
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import Event, Message, encode, encode_payload
from hubbub.feeding import LOG_FACTOR, Feeding
from hubbub.handlers import Handlers
from hubbub.naming import DM
from hubbub.permissions import Permissions
from hubbub.posting import Posting, call_of_task
from hubbub.presence import SHADOW, Crowd, Listing, Presence
from hubbub.pump import Pump
from hubbub.quotas import count_change, count_posts, count_room
from hubbub.room import LiveRoom
from hubbub.settings import Settings
from hubbub.tasks import Tasks

__all__ = ["EnteredRoom", "Rooms"]

log = structlog.get_logger("hubbub")

# Events about users, which a large room is not told.
ABOUT_USERS = frozenset({"typing", "read"})

# Looking an enumeration's member up costs more than using it.
READ, PRESENCE = Act.READ, Act.PRESENCE

# What is told of who is in a room to a client that may not see it.
UNSEEN = Listing(b"[]", 0)


class EnteredRoom(NamedTuple):
    """What a client is told of a room that it has entered.

    Attributes:
        title: how the room's name is shown.
        messages: a JSON array, oldest first.
        seq: how far they reach.
        is_recovered: they are all that it has missed since it was last there.
        read: up to where its user has read.
    """

    room: str
    title: str
    epoch: str
    seq: int
    is_recovered: bool
    messages: bytes
    listing: Listing
    read: int


class Rooms:
    """The live rooms of this process, and their members.  It is what an engine's `Listener` tells of rooms.

    Args:
        tasks: owns the feeding of those that fell behind.

    Attributes:
        crowd: is told of each connection in a room, where there is a second door.
        entrance: who may enter.
        feeding: who is slow, or behind, and is brought up to date.
        postings: what the plain handler at work has posted; None while there is none.
    """

    def __init__(
        self,
        engine: Engine,
        pump: Pump,
        handlers: Handlers,
        permissions: Permissions,
        settings: Settings,
        tasks: Tasks,
        counts: HubCounts,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._gather = pump.gather
        # Takes what is said in a room of two users, who may have to be told of the room first.
        self.gather_direct: Callable[[Posting], None] = pump.gather
        self._permissions = permissions
        self._keeps_seconds = bool(settings.keep_seconds)
        self._tasks = tasks
        self._counts = counts
        self._age = Age(settings.keep_seconds, clock=clock, wall=wall)
        self._clock = clock
        self._live: dict[str, LiveRoom] = {}
        self._presence = Presence(engine, engine, clock)
        self._dirty: dict[LiveRoom, None] = {}
        # A context variable would do for plain handlers, too; setting one takes as long as a tenth of all that a
        # message takes.
        self.postings: list[Posting] | None = None
        self.feeding = Feeding(engine, self._live, self.forget, self.leave, settings.max_outbox, tasks, counts, clock)
        self.hole, self.rewound = self.feeding.hole, self.feeding.rewound
        self.entrance = RoomEntrance(engine, self._live, permissions, handlers, settings, clock)
        self.identity, self.read_name = self.entrance.identity, self.entrance.read_name
        self.crowd: Crowd | None = None

    # Finding

    @property
    def count(self) -> int:
        """How many live rooms there are."""
        return len(self._live)

    def occupied(self) -> list[tuple[str, int]]:
        """The live rooms by their names, each with how many clients of this process are in it."""
        return [(name, len(live.members)) for name, live in self._live.items()]

    def find(self, name: str) -> LiveRoom | None:
        """A live room by its name."""
        return self._live.get(name)

    def name_of(self, client: Participant, name: str | None = None) -> str:
        """The identity of a room that a client is in, however it writes the name; without a name, of its only one.

        Raises:
            Refused: `not_in_room`, or `bad_payload` where the name was needed.
        """
        joined = client.joined
        if name is not None:
            if name not in joined:
                name = self.identity(name)
            if name not in joined:
                raise Refused(ErrorCode.NOT_IN_ROOM, f"you are not in the room {name[:80]!r}; join it first")
            return name
        if len(joined) > 1:
            raise Refused(ErrorCode.BAD_PAYLOAD, f"you are in {len(joined)} rooms: say which - at `payload.room`")
        for name in joined:
            return name
        raise Refused(ErrorCode.NOT_IN_ROOM, "you are in no room; join one first")

    def last_seq(self, room: str) -> int:
        """The last seq delivered in a live room; 0 for another."""
        live = self._live.get(room)
        return live.recent.last_seq if live is not None else 0

    def outline(self, room: str) -> RoomOutline | None:
        """How a room stands, where that is at hand."""
        live = self._live.get(room)
        if live is None or not live.is_filled:
            return None
        recent = live.recent
        last = recent.after(recent.last_seq - 1)
        return RoomOutline(live.title, recent.epoch, recent.last_seq, last[-1].sent if last else 0)

    # Speaking: what handles do (`handle.Floor`)

    def say(self, room: str, event: Event, sender: Participant | None = None, key: str | None = None) -> Posting:
        """Take an event on its way into a room's log.

        Raises:
            Refused: `rate_limited` where the sender's account has used up what it may add to the log.
        """
        body = encode_payload(event)
        user = None
        if sender is not None:
            user = sender.user
            if sender.purses:
                purse = sender.purses[0]
                purse.credit -= len(body) + ROW_BYTES
                if key is not None:
                    purse.keys += 1
                if purse.credit < 0:
                    live = self._live.get(room)
                    count_posts(purse, self._clock(), is_new=live is not None and not live.recent.last_seq)
        posting = Posting(room, type(event).tag, body, user, key)
        if self.postings is not None:
            self.postings.append(posting)
        elif (call := call_of_task.get()) is not None:
            call.note(posting)
        if room[:3] == DM:  # a slice is no call, unlike `startswith`
            self.gather_direct(posting)
        else:
            self._gather(posting)
        return posting

    def publish_as(self, sender: Participant, room: str, type_: str, body: bytes) -> Posting:
        """Take what a client of the second door publishes on its way into a channel's log, in or out of it.

        Raises:
            Refused: as `say` does.
        """
        live = self._live.get(room)
        if sender.purses:
            purse = sender.purses[0]
            purse.credit -= len(body) + ROW_BYTES
            if purse.credit < 0:
                count_posts(purse, self._clock(), is_new=live is None or not live.recent.last_seq)
        posting = Posting(room, type_, body, sender.user or None)
        if sender.purses and (not sender.user or room not in sender.joined):  # others are found among the members
            posting.call_when_settled(partial(self._count_if_first, sender.purses[0]))
        if self.postings is not None:
            self.postings.append(posting)
        self._gather(posting)
        return posting

    def _count_if_first(self, purse: Purse, posting: Posting) -> None:
        """Count the room that somebody has made who is not in it, if a posting was its first."""
        if isinstance(posting.outcome, Receipt) and posting.outcome.seq == 1:
            count_room(purse, self._clock())

    def publish(self, room: str, type_: str, body: bytes, key: str | None = None) -> Posting:
        """Take an event of a program that is no client on its way into a room's log."""
        posting = Posting(room, type_, body, None, key)
        if room.startswith(DM):
            self.gather_direct(posting)
        else:
            self._gather(posting)
        return posting

    def epoch(self, room: str) -> str:
        """The epoch of a live room's log; empty where it is not at hand."""
        live = self._live.get(room)
        return live.recent.epoch if live is not None else ""

    def change(
        self, sender: Participant, room: str, type_: str, body: bytes, key: str | None, amends: tuple[Amend, ...]
    ) -> Posting:
        """Take a change of what was said on its way into the room's log, for the asynchronous handler at work.

        What it amends counts as what is added to the log does.

        Raises:
            Refused: `rate_limited`, as `say` does.
        """
        if sender.purses:
            purse = sender.purses[0]
            size = len(body) + sum(len(amend.body) for amend in amends)
            count_change(purse, size + ROW_BYTES, has_key=key is not None, now=self._clock())
        posting = Posting(room, type_, body, sender.user, key, amends)
        if (call := call_of_task.get()) is not None:
            call.note(posting)
        self._gather(posting)
        return posting

    def change_again(self, posting: Posting, amends: tuple[Amend, ...]) -> None:
        """Try a change once more that the log has found to be out of date."""
        posting.amends, posting.outcome = amends, None
        self._gather(posting)

    def at_hand(self, room: str, seq: int) -> Message | None:
        """A message of a live room, if it is at hand."""
        live = self._live.get(room)
        return live.recent.find(seq) if live is not None else None

    def changed(self, room: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages of a room that were read from the log a moment ago, as they are now.

        Who has asked for them may have been told of a change meanwhile, and must not be shown what was before it.
        """
        live = self._live.get(room)
        return live.recent.changed(messages) if live is not None else messages

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        """Say an event that is not kept, to the members of a room on all nodes."""
        self._engine.cast(room, type_, payload)

    def members(self, room: str) -> Sequence[Client]:
        live = self._live.get(room)
        return tuple(live.members) if live is not None else ()

    def users(self, room: str) -> Sequence[str]:
        live = self._live.get(room)
        return sorted(live.roster.here) if live is not None else ()

    # Asking, and telling the others

    async def listing(self, client: Participant, name: str) -> Listing:
        """Who is in a room that a client is in.

        Raises:
            EngineError: the engine cannot tell.
        """
        return await self._presence.listing(self._live[name], client.user)

    def type(self, client: Participant, name: str, *, is_on: bool) -> None:
        """Tell a room that a client is in that its user types, or has stopped."""
        self._presence.type(self._live[name], client.user, is_on=is_on)

    def has_read(self, client: Participant, name: str, seq: int) -> None:
        """Tell a room how far a client's user has read; one that the client has left meanwhile is not told."""
        room = self._live.get(name)
        if room is not None:
            self._presence.has_read(room, client.user, seq)

    # Coming

    async def join(self, client: Participant, name: str) -> str:
        """Let a client into a room; it hears what is said from now on.  What the room goes by.

        Raises:
            Refused: by an `on_join` hook, `forbidden` for a room that it may not enter, or `bad_payload` for what is
                not a room name.
            EngineError: the room cannot be subscribed to.
        """
        room = await self.arrive(client, name)
        try:
            if client.dialect.resumes:
                await room.filled()  # to know where to feed it from, should it fall behind
            else:
                await room.opened()
            self._enter(client, room, room.recent.last_seq, self._permissions.rights_in(client, room.name))
        finally:
            self.end_arrival(room)
        return room.name

    async def join_with_history(self, client: Participant, name: str, since: Head | None, history: int) -> EnteredRoom:
        """Let a client into a room, and tell it what it has missed since it was last there.

        Args:
            history: how many of the newest messages it gets where it cannot say since when, or the log cannot.

        Raises:
            Refused: as `join` does.
            EngineError: the log cannot be read.
        """
        room = await self.arrive(client, name)
        try:
            await room.filled()
            missed = await read_missed(self._engine, room.name, room.recent, since) if since is not None else None
            read = await self._engine.read_mark(room.name, client.user)
            listing = await self._presence.listing(room, client.user)
            if missed is not None:
                read_bytes = sum(len(message.body) for message in missed.messages)
                self.charge(client, read_bytes * (LOG_FACTOR - 1))  # the answer itself is counted where it is written
            # From here on nothing waits: what is at hand now is the present, and what is allowed now counts.
            rights = self._permissions.rights_in(client, room.name)
            if not rights & READ:
                missed, history = None, 0
            if not rights & PRESENCE:
                listing = UNSEEN
            caught = catch_up(room.recent, client.dialect, missed, history)
            self.let_in(client, room, caught, rights)
        finally:
            self.end_arrival(room)
        if since is not None:
            self.count_recovery(is_recovered=caught.is_recovered)
        read = min(read, max(caught.heard, room.recent.last_seq))
        recovered, messages = caught.is_recovered, caught.messages
        return EnteredRoom(room.name, room.title, caught.epoch, caught.heard, recovered, messages, listing, read)

    def count_recovery(self, *, is_recovered: bool) -> None:
        """Count a client that has said since when it has missed something."""
        if is_recovered:
            self._counts.recovered += 1
        else:
            self._counts.not_recovered += 1

    async def arrive(self, client: Participant, name: str) -> LiveRoom:
        """Find out that a client may enter, and keep the room live until `end_arrival`.

        Raises:
            Refused: as `join` does.
            EngineError: the log cannot be read.
        """
        name, title = await self.entrance.check(client, name)
        room = self._live.get(name)
        if room is None:
            room = self._live[name] = LiveRoom(name, self._engine, self.feeding.look_at, title, self._counts)
        room.arrivals += 1
        return room

    def charge(self, client: Participant, size: int) -> None:
        """Count bytes that are sent because a client has asked for them, or has to be fed."""
        spend(client.purses, Use.SENT, size, self._clock())

    def end_arrival(self, room: LiveRoom) -> None:
        """Let a room go that a client was on its way into, whether it has come or not."""
        room.arrivals -= 1
        self._drop_if_empty(room)

    def let_in(self, client: Participant, room: LiveRoom, caught: Caught, rights: int) -> None:
        """Make a client a member that has arrived, and hears as much of the past as it has caught up with.

        Raises:
            Refused: the room was deleted.
        """
        if caught.is_present:
            self._enter(client, room, caught.heard, rights)
        else:
            self._enter_behind(client, room, caught.heard, rights)

    def _enter(self, client: Participant, room: LiveRoom, heard: int, rights: int) -> None:
        """Make a client a member that has heard everything up to the seq `heard`."""
        if not self._admit(client, room, rights):
            return
        if self.feeding.is_held(client, room.name):
            room.enter_behind(client, heard)
        else:
            room.enter(client, heard, is_slow=client in self.feeding.slow)

    def _enter_behind(self, client: Participant, room: LiveRoom, heard: int, rights: int) -> None:
        """Make a client a member that is fed from the log until it has caught up."""
        if self._admit(client, room, rights):
            room.enter_behind(client, heard)
            self.feeding.feed(client)

    def _admit(self, client: Participant, room: LiveRoom, rights: int) -> bool:
        if self._live.get(room.name) is not room:
            raise Refused(ErrorCode.UNAVAILABLE, f"the room {room.name[:80]!r} was deleted just now; join it again")
        if not client.is_connected:
            return False  # it went while it was being brought up to date
        if room.name in client.joined:
            room.leave(client)  # it joins again, from where it says it is
        else:
            if client.user:  # of those without a name only their connections are told
                self._presence.entering(room, client.user)
            if self.crowd is not None:
                self.crowd.entering(client, room)
        client.joined[room.name] = rights
        return True

    # Going

    def leave(self, client: Participant, name: str) -> None:
        """Take a client out of a room; a room that it is not in is ignored."""
        room = self._live.get(name)
        if room is None or name not in client.joined:
            return
        del client.joined[name]
        room.leave(client)
        if client.user:
            self._presence.left(room, client.user)
        if self.crowd is not None:
            self.crowd.left(client, room)
        self._drop_if_empty(room)

    def review(self, client: Participant, names: Iterable[str]) -> None:
        """Work out anew what a client may do in rooms that it is in; it is told of those that it has to leave."""
        for name in names:
            if name not in client.joined:
                continue
            try:
                client.joined[name] = self._permissions.rights_in(client, name)
            except Refused as refused:
                self.leave(client, name)
                payload = encode({"room": name, "code": refused.code, "message": refused.message})
                client.write_text(client.dialect.event("removed", payload))

    def forget(self, client: Participant) -> None:
        """Take a client, whose connection is gone, out of all rooms."""
        for name in tuple(client.joined):
            self.leave(client, name)
        self.feeding.slow.pop(client, None)

    def _drop_if_empty(self, room: LiveRoom) -> None:
        """Forget a room that nobody is in or on the way into."""
        if not room.is_live and self._live.get(room.name) is room:
            del self._live[room.name]
            self._engine.unsubscribe(room.name)

    def drop(self, name: str) -> None:
        """Forget a closed room that was deleted; who is on the way into it has read what is not there any more."""
        if self._live.pop(name, None) is not None:
            self._engine.unsubscribe(name)

    # What the engine tells (`engine.Listener`)

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        """Take new messages of a room; `flush` writes them."""
        live = self._live.get(room)
        if live is not None and messages:
            live.deliver(messages)
            self._dirty[live] = None
            if messages[0].seq == 1:
                self._note_made(live, messages[0].sender)

    def _note_made(self, room: LiveRoom, maker: str | None) -> None:
        """Take note of a room that something is kept of from now on: it counts, and its name stays as it is written."""
        if room.title != room.name:
            self._tasks.start(self._keep_title(room))
        purses = next((client.purses for client in room.members if client.user == maker), ())
        if purses:
            count_room(purses[0], self._clock())

    async def _keep_title(self, room: LiveRoom) -> None:
        """Keep how the name of a room is written that something is kept of now."""
        try:
            await self._engine.put_title(room.name, room.title)
        except EngineError as error:
            log.warning("the title of a room is not kept", room=room.name, error=str(error))

    def flush(self) -> None:
        """Write what was delivered to each room's members, and stop writing to those who do not take it."""
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            try:
                room.flush()
            except Exception:
                log.exception("flush failed", room=room.name)
            self._look_at_members(room)

    def _look_at_members(self, room: LiveRoom) -> None:
        if self.feeding.slow:
            for client in room.watched:
                self.feeding.look_at(client)

    def heard(self, room: str, type_: str, payload: bytes) -> None:
        """Write an event that is not kept to a room's members."""
        live = self._live.get(room)
        if live is None:
            return
        if type_ in ABOUT_USERS:
            self._presence.heard(live, type_, payload)
        else:
            live.cast(type_, payload)
        self._look_at_members(live)

    def came(self, room: str, user: str) -> None:
        """Tell a room's members of a user who has come."""
        live = self._live.get(room)
        if live is not None:
            self._presence.came(live, user)
        elif self.crowd is not None and room.startswith(SHADOW):
            self.crowd.came(room, user)

    def went(self, room: str, user: str) -> None:
        """Tell a room's members of a user who has gone, unless it comes back soon."""
        live = self._live.get(room)
        if live is not None:
            self._presence.went(live, user)
        elif self.crowd is not None and room.startswith(SHADOW):
            self.crowd.went(room, user)

    # Time

    def expire(self) -> None:
        """End what has had its time: leaves past their grace, typing that was not renewed, messages kept too long."""
        self._presence.expire(self._live.get)
        if self._keeps_seconds:
            oldest_ms = self._age.cutoff_ms()
            for room in self._live.values():
                room.recent.drop_older(oldest_ms)

    @property
    def is_flushing(self) -> bool:
        """Whether a flush is under way in any room."""
        return any(room.is_flushing for room in self._live.values())
