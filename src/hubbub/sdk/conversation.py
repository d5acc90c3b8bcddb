"""One user's conversation with the server, over all connections: what each frame means.  Knows no socket.

The shell (`uplink.py`) brings frames in and carries requests out.  Everything that depends on the order of frames is
done here, at once, when a frame comes: an answer that opens a room is in effect before the message behind it is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from hubbub.errors import ErrorCode, HubbubError, ProtocolError, Rejected
from hubbub.sdk.messages import (
    NEW_MESSAGE,
    Fleeting,
    Gap,
    Heard,
    MemberJoined,
    MemberLeft,
    Members,
    Message,
    ProfileChanged,
    Read,
    RoomAdded,
    RoomChanged,
    RoomLost,
    RoomRemoved,
    Signal,
    Typing,
)
from hubbub.sdk.outbox import Entry, Kind, Outbox, Reply
from hubbub.sdk.reading import Failure, Frame, NewEpoch, is_kept, read_entered, read_message, read_payload
from hubbub.sdk.rooms import Membership, RoomCursor, Shown, known_as

__all__ = ["Conversation"]

log = logging.getLogger("hubbub.sdk")

FLEETING_EVENTS: dict[str, type[Fleeting]] = {
    "typing": Typing,
    "member_joined": MemberJoined,
    "member_left": MemberLeft,
    "read": Read,
    "removed": RoomLost,
    "room_added": RoomAdded,
    "room_removed": RoomRemoved,
    "room_changed": RoomChanged,
    "profile_changed": ProfileChanged,
}


class Carrier(Protocol):
    """What a conversation needs of the connection that carries it.

    Attributes:
        user: the name that the server knows this client by.
    """

    @property
    def user(self) -> str: ...

    def wake_writer(self) -> None:
        """There is a new request."""
        ...

    def move_within(self, within_s: float) -> None:
        """The server asks to come back on another connection, within so many seconds."""
        ...


class Conversation:
    """Rooms, requests without an answer, and what the application is to hear.

    Attributes:
        rooms: by name, those still to be entered included.
        has_behind: a room has fallen behind since `behind` was last asked.

    Args:
        outbox: the requests.
        show: takes kept messages and gaps in order; the first for which it had no place.
        tell: takes an event that is not kept.
        clock: the time, in seconds.
    """

    def __init__(
        self,
        outbox: Outbox,
        show: Callable[[list[Shown]], Shown | None],
        tell: Callable[[Heard], None],
        clock: Callable[[], float],
    ) -> None:
        self.outbox = outbox
        self.rooms: dict[str, RoomCursor] = {}
        self.has_behind = False
        self.tell = tell
        self._show = show
        self._clock = clock
        self._line: Carrier | None = None

    # Connections

    def connected(self, line: Carrier) -> None:
        """A connection is open: give up what is too old to repeat, and ask to be let back into every room."""
        self._line = line
        self.outbox.expire(self._clock())
        fronts = self.outbox.fronts()
        for room in list(self.rooms.values()):
            if room.membership is not Membership.AWAY:
                continue
            front = fronts.get(room.name)
            if front is not None and front.type == "leave_room":
                self._stay_out(room, front)
            else:
                self._ask_back(room)

    def _stay_out(self, room: RoomCursor, leave: Entry) -> None:
        """Be out of a room that was to be left: a new connection is in none, and has only not to ask."""
        self.outbox.acked(leave, {"room": room.name})
        self._put_out(room)

    def _ask_back(self, room: RoomCursor) -> None:
        def settle(answer: Reply) -> None:
            if isinstance(answer, Rejected | ProtocolError) and self.rooms.get(room.name) is room:
                self._put_out(room)
                code = answer.code if isinstance(answer, Rejected) else ErrorCode.INTERNAL
                self.tell(RoomLost(room.name, code, str(answer)))

        payload = {"room": room.name, "since": room.since}
        self.outbox.add("join_room", payload, Kind.OF_CONNECTION, settle, lane=room.name)

    def dropped(self) -> None:
        """The connection is gone."""
        self._line = None
        for room in self.rooms.values():
            room.drop()
        self.outbox.drop()
        for room in list(self.rooms.values()):
            self._check_entering(room)

    # Requests

    def ask(self, type_: str, payload: dict[str, Any], kind: Kind, settle: Callable[[Reply], None]) -> Entry:
        """Make a request; `settle` is called once, with what comes of it."""
        # What concerns one room keeps its order; the others go each their own way.
        lane = None if kind in (Kind.ONCE, Kind.OF_CONNECTION) else known_as(payload["room"])
        entry = self.outbox.add(type_, payload, kind, settle, lane)
        if type_ == "join_room" and lane is not None:
            self.rooms.setdefault(lane, RoomCursor(lane))  # which holds what comes before the answer
        if self._line is not None:
            self._line.wake_writer()
        return entry

    def give_up(self, entry: Entry) -> bool:
        """Note that nobody waits for an answer any more; whether the request is withdrawn, and will not be settled.

        One that the server may have taken changes where this client is all the same, so its answer takes effect.
        """
        if entry.is_over:
            return False
        is_taken = entry.written_at is not None
        if is_taken and entry.type == "leave_room":
            self.outbox.give_up(entry)
            return False
        if is_taken and entry.type == "join_room" and self.outbox.written(entry.number) is not None:
            self.outbox.give_up(entry)
            entry.kind = Kind.ONCE  # the next connection is not in the room, and nobody wants it to be
            return False
        self.outbox.withdraw(entry)
        self._take_failure(entry)
        return True

    def end(self, error: HubbubError) -> None:
        """Nothing will be written any more: every request is settled with the reason."""
        self.outbox.fail(error)

    # Rooms

    def joined(self, name: str) -> RoomCursor | None:
        """A room that this client is in, or was until its connection went, and has not asked to leave."""
        room = self.rooms.get(name)
        is_in = room is not None and room.membership is not Membership.ENTERING
        return room if is_in and not self.outbox.has("leave_room", name) else None

    def disown(self, room: RoomCursor) -> None:
        """Take note that the server does not take this client to be in a room."""
        if self.rooms.get(room.name) is room:
            self._put_out(room)

    def _put_out(self, room: RoomCursor) -> None:
        del self.rooms[room.name]
        if self.outbox.has("join_room", room.name):
            self.rooms[room.name] = RoomCursor(room.name)

    def _check_entering(self, room: RoomCursor) -> None:
        """Forget a room that is not entered, and that no join is on the way into."""
        if room.membership is Membership.ENTERING and not self.outbox.has("join_room", room.name):
            del self.rooms[room.name]

    def behind(self) -> list[RoomCursor]:
        """Rooms with messages that did not come by themselves."""
        self.has_behind = False
        return [room for room in self.rooms.values() if room.is_behind]

    def fill(self, room: RoomCursor, messages: list[Message], after: int) -> None:
        """Take a page of history for a room that is behind."""
        if self.rooms.get(room.name) is room and room.membership is Membership.IN:
            self._offer(room, room.fill(messages, after))

    def _offer(self, room: RoomCursor, shown: list[Shown]) -> None:
        refused = self._show(shown)
        if isinstance(refused, Message):
            room.rewind(refused)
        self.has_behind = self.has_behind or room.is_behind

    # Frames

    def receive(self, frame: Frame) -> None:
        """Take one frame of the server's.

        Raises:
            ProtocolError: it is of a known type and cannot be read.
        """
        payload = frame.payload
        match frame.type:
            case "ack":
                self._acked(frame.id, payload)
            case "error":
                self._refused(frame.id, read_payload(payload, Failure))
            case type_ if type_ in FLEETING_EVENTS:
                self._pass_on(read_payload(payload, FLEETING_EVENTS[frame.type]))
            case "epoch":
                self._go_on(read_payload(payload, NewEpoch))
            case "gap":
                self._lost(payload)
            case "reconnect":
                within_ms = payload.get("within", 0)
                if self._line is not None:
                    self._line.move_within(max(0.0, within_ms / 1000) if isinstance(within_ms, int | float) else 0.0)
            case "welcome":
                pass  # it was read when the connection was opened
            case _ if frame.type == NEW_MESSAGE or is_kept(payload):
                self._hear(read_message(frame.type, payload))
            case _:
                self.tell(Signal(frame.type, payload))

    def _removed(self, lost: RoomLost) -> None:
        """The server has taken this client out of a room, and it does not ask to be let back in by itself."""
        room = self.rooms.get(lost.room)
        if room is not None and room.membership is Membership.IN:
            self._put_out(room)
            self.tell(lost)

    def _pass_on(self, event: Fleeting) -> None:
        if isinstance(event, RoomLost):
            self._removed(event)
            return
        if isinstance(event, Read) and self._line is not None and event.user == self._line.user:
            self._mark_read(event.room, event.seq)  # on another device
        self.tell(event)

    def _mark_read(self, name: object, seq: object) -> None:
        room = self.rooms.get(name) if isinstance(name, str) else None
        if room is not None and isinstance(seq, int):
            room.mark_read(seq)

    def _go_on(self, news: NewEpoch) -> None:
        room = self.rooms.get(news.room)
        if room is not None and not room.go_on(news.epoch, news.seq) and self._line is not None:
            self._line.move_within(0.0)

    def _hear(self, message: Message) -> None:
        room = self.rooms.get(message.room)
        if room is not None:
            self._offer(room, room.hear(message))

    def _lost(self, payload: dict[str, Any]) -> None:
        gap = read_payload({"first": payload.get("from"), "last": payload.get("to"), "room": payload.get("room")}, Gap)
        room = self.rooms.get(gap.room)
        if room is not None:
            self._offer(room, room.lose(gap.first, gap.last))

    def _refused(self, id_: object, failure: Failure) -> None:
        entry = self.outbox.written(id_)
        if entry is not None:
            self.refuse(entry, failure)
        else:
            log.warning("the server refused what has no answer: %s: %s", failure.code, failure.message)

    def refuse(self, entry: Entry, failure: Failure) -> None:
        """Take the refusal of a request, the server's or one that comes before it."""
        if self.outbox.refused(entry, failure, self._clock()):
            self._take_failure(entry, failure.code)

    def _acked(self, id_: object, payload: dict[str, Any]) -> None:
        entry = self.outbox.written(id_)
        if entry is None:
            return  # nobody waits for it any more
        try:
            self._take_effect(entry, payload)
        except ProtocolError as error:
            self.outbox.settle(entry, error)
            self._take_failure(entry)
        else:
            self.outbox.acked(entry, payload)

    def _take_effect(self, entry: Entry, payload: dict[str, Any]) -> None:
        if entry.type == "join_room":
            self._entered(entry, payload)
        elif entry.type == "leave_room":
            self._left(entry)
        elif entry.type == "mark_read":
            self._mark_read(entry.lane, payload.get("seq"))

    def _take_failure(self, entry: Entry, code: str = "") -> None:
        """Take note of a request that was not done."""
        if entry.type == "leave_room" and code == ErrorCode.NOT_IN_ROOM:
            self._left(entry)
        room = self._room_of(entry)
        if entry.type == "join_room" and room is not None:
            self._check_entering(room)

    def _room_of(self, entry: Entry) -> RoomCursor | None:
        return self.rooms.get(entry.lane) if isinstance(entry.lane, str) else None

    def _left(self, entry: Entry) -> None:
        room = self._room_of(entry)
        if room is not None:
            self._put_out(room)

    def _entered(self, entry: Entry, payload: dict[str, Any]) -> None:
        entered = read_entered(payload)
        asked = self._room_of(entry)
        if asked is not None:
            del self.rooms[asked.name]
        room = self.rooms.get(entered.room) or asked or RoomCursor(entered.room)
        # The server has the last word on what a room goes by; messages come under that.
        room.name, room.title = entered.room, entered.title or entered.room
        self.rooms[room.name] = room
        if "since" in entry.payload and room.membership is Membership.AWAY:
            self.tell(Members(room.name, entered.members, entered.count))
            self._offer(room, room.resume(entered))
        else:
            self._offer(room, room.enter(entered))
