"""Dispatch: one client's events in order, each to its handler, and the handler's answer back."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

import structlog

from hubbub.acts import Act
from hubbub.audit import Audit
from hubbub.budgets import Use, overdraw, spend, wait_for
from hubbub.client import Participant
from hubbub.counts import HubCounts
from hubbub.dialect import EventRequest
from hubbub.errors import CloseCode, EngineError, ErrorCode, KeyConflict, NotKnown, Refused
from hubbub.events import decode_payload
from hubbub.handlers import Handler, Handlers, ack_payload
from hubbub.naming import check_dm
from hubbub.permissions import Permissions
from hubbub.policy import Rate
from hubbub.posting import Call, Posting, call_of_task
from hubbub.pump import Pump
from hubbub.rooms import Rooms
from hubbub.tasks import Tasks

__all__ = ["Dispatch"]

log = structlog.get_logger("hubbub")

# A client whose events wait in line is not read past this many of them.
MAX_WAITING = 64

# How long a client is not read that sends frames over its rate which say nothing.  What it sends meanwhile comes in one
# read, which costs a fraction of many.
REST_S = 0.05
# The longest such time.  It is that long where the frames of its account are far over their budget.
MAX_REST_S = 1.0

# Refusals that somebody who looks for intruders wants to know of.
NOT_ALLOWED = frozenset({ErrorCode.FORBIDDEN, ErrorCode.NO_SUCH_ROOM})

# What shows something to a client, and changes nothing.
LOOKING = (Act.READ, Act.PRESENCE)


class LineState(Enum):
    """Why a client's events wait.  A client without a line is idle: its next event is handled at once."""

    BUSY = auto()  # an asynchronous handler is at work for it
    STUCK = auto()  # it has to read first what it was sent


class Line:
    """A client's events that wait for their turn."""

    __slots__ = ("state", "waiting")

    def __init__(self, state: LineState) -> None:
        self.state = state
        self.waiting: deque[str] = deque()


class Dispatch:
    """Calls the handlers.

    The events of one client are handled one at a time, in the order sent; those of different clients concurrently.

    Attributes:
        is_draining: the server stops; what clients still send is dropped, lest one that talks without end keep it.
    """

    def __init__(
        self,
        handlers: Handlers,
        permissions: Permissions,
        rooms: Rooms,
        pump: Pump,
        tasks: Tasks,
        counts: HubCounts,
        clock: Callable[[], float],
        audit: Audit,
    ) -> None:
        self.is_draining = False
        self._permissions = permissions
        self._handlers = handlers
        self._rooms = rooms
        self._slow = rooms.feeding.slow
        self._feeding = rooms.feeding
        self._pump = pump
        self._tasks = tasks
        self._counts = counts
        self._clock = clock
        self._audit = audit
        self._lines: dict[Participant, Line] = {}
        # Clients that are not read for a moment, each with what ends it.
        self._resting: dict[Participant, asyncio.TimerHandle] = {}

    # Receiving

    def receive(self, client: Participant, text: str) -> None:
        """Handle one message of a client.  Never raises: what is wrong with it is the client's to hear."""
        if self.is_draining:
            return
        is_full = client in self._slow and self._feeding.look_at(client)
        rate = client.rate
        if rate is not None and not rate.take(self._clock()):
            self._note_excess(client, rate)
            if is_full:  # refusals would pile up for one that does not read them
                self._counts.refuse(ErrorCode.RATE_LIMITED)
            else:
                self._turn_down(client, client.dialect.id_of(text), rate_limited(rate))
            return
        if client in self._lines:
            self._line_up(client, text)
        elif is_full and client.dialect.resumes:
            # It does not read what it asks for: its answers would pile up.
            self._lines[client] = Line(LineState.STUCK)
            self._line_up(client, text)
        else:
            self._handle(client, text)

    def receive_binary(self, client: Participant) -> None:
        """Handle a binary message, which no dialect has: v1 is told so by the close code, classic is let be."""
        if not client.dialect.takes_binary:
            client.close(CloseCode.UNSUPPORTED_DATA, "events are text frames")
        elif self.admit(client):
            self._refuse(client, None, Refused(ErrorCode.BAD_ENVELOPE, "events are text frames"), "binary frame")

    def admit(self, client: Participant, count: int = 1) -> bool:
        """Count frames that are no events against a client's rate; whether they may be answered.

        A client over its rate is not read for a moment.
        """
        # Answers pile up, too, for one that does not read them.
        is_full = client in self._slow and self._feeding.look_at(client)
        rate = client.rate
        if rate is not None and not rate.take_idle(self._clock(), count):
            self._note_excess(client, rate, count)
            self._rest(client, rate.rest_s)
            return False
        return not is_full

    def is_too_much(self, client: Participant, size: int) -> bool:
        """Count a long read, in bytes; whether more has come of a client lately than it may send.

        Where its account has sent too many bytes, it is not read for a while.
        """
        rate = client.rate
        if rate is None:
            return False
        wait = overdraw(client.purses, Use.RECEIVED, size, self._clock())
        if wait:
            self._rest(client, wait)
        return bool(wait) or rate.is_exceeded

    def _note_excess(self, client: Participant, rate: Rate, count: int = 1) -> None:
        """Take note of frames over a client's rate; a flood closes it."""
        client.dropped += count
        if rate.is_flooding:
            client.close(CloseCode.FLOODING, "more than ten times its rate of events a second")

    # Rests

    def _rest(self, client: Participant, seconds: float) -> None:
        """Read nothing of a client for a moment."""
        if client not in self._resting:
            seconds = min(max(seconds, REST_S), MAX_REST_S)
            self._resting[client] = asyncio.get_running_loop().call_later(seconds, self._end_rest, client)
            client.pause()

    def _end_rest(self, client: Participant) -> None:
        del self._resting[client]
        line = self._lines.get(client)
        if line is None or len(line.waiting) <= MAX_WAITING:
            client.resume()

    # Lines

    def _line_up(self, client: Participant, text: str) -> None:
        """Have an event wait until those before it have been handled."""
        waiting = self._lines[client].waiting
        waiting.append(text)
        if len(waiting) > MAX_WAITING:
            client.pause()

    def read_on(self, client: Participant) -> None:
        """Go on with the events of a client that has read what it was sent."""
        line = self._lines.get(client)
        if line is not None and line.state is LineState.STUCK:
            self._move(client, line)

    def forget(self, client: Participant) -> None:
        """Drop the line of a client that is gone."""
        self._lines.pop(client, None)
        resting = self._resting.pop(client, None)
        if resting is not None:
            resting.cancel()

    def _move(self, client: Participant, line: Line) -> None:
        """Handle waiting events in turn, until one has to be awaited, or the client has to read first."""
        while line.waiting and self._lines.get(client) is line:
            if self._feeding.is_full(client):
                line.state = LineState.STUCK
                return
            del self._lines[client]
            self._handle(client, line.waiting.popleft())
            begun = self._lines.get(client)
            if begun is not None:  # an asynchronous handler has begun, and gets the rest of the line
                begun.waiting = line.waiting
                return
            if not client.is_connected:
                return
            self._lines[client] = line
        if self._lines.get(client) is line:
            del self._lines[client]
            if client not in self._resting:
                client.resume()

    # Handling

    def _handle(self, client: Participant, text: str) -> None:
        try:
            request = client.dialect.decode(text)
        except Refused as refused:
            self._refuse(client, client.dialect.id_of(text), refused, "?")
            return
        handler = (client.handlers or self._handlers.by_type).get(request.type)
        if handler is None:
            unknown = Refused(ErrorCode.UNKNOWN_TYPE, f"nothing here handles events of type {request.type[:80]!r}")
            self._refuse(client, request.id, unknown, request.type)
            return
        try:
            event = decode_payload(handler.decoder, request.payload)
            room = self._check(client, handler, event)
        except Refused as refused:
            self._refuse(client, request.id, refused, request.type)
            return
        if handler.is_async:
            wait = wait_for(client.purses, Use.SENT, self._clock()) if client.dialect.lists else 0.0
            if wait:
                self._refuse(client, request.id, asks_too_much(wait), request.type)
                return
            line = self._lines[client] = Line(LineState.BUSY)
            self._tasks.start(self._handle_async(client, line, request, handler, event, room))
            return
        rooms = self._rooms
        postings: list[Posting] = []
        outer, rooms.postings = rooms.postings, postings
        try:
            result = handler.call(event, client)
        except Refused as refused:
            self._refuse(client, request.id, refused, request.type)
        except (Exception, asyncio.CancelledError):  # no task of ours runs here: a cancellation is the handler's own
            self._failed(client, request)
        else:
            if request.id is not None:
                self._answer(client, request, result, postings)
        finally:
            rooms.postings = outer

    def _check(self, client: Participant, handler: Handler, event: Any) -> str | None:
        """Refuse what a client may not do; the room that it is about.

        Where the event names no room, that is one that its client is in; where that is in several, or in none, the
        handler refuses the event.
        """
        room: str | None = None
        if handler.room_field is not None:
            room = getattr(event, handler.room_field)
            if room is None or not client.dialect.names_rooms:
                room = None
                for room in client.joined:  # noqa: B007  # the first one
                    break
            elif room not in client.joined:
                room = self._rooms.identity(room)
        if handler.act is not None:
            self._permissions.check(client, handler.act, room)
        elif room is not None:
            check_dm(room, client.user)
        return room

    def _answer(self, client: Participant, request: EventRequest, result: Any, postings: list[Posting]) -> None:
        """Acknowledge a request, as soon as all that it posted is kept, and the posting that it returned."""
        if isinstance(result, Posting) and not (postings and postings[-1] is result):
            postings = with_result(postings, result)
        if not postings:
            self._ack(client, request, result)
        elif len(postings) > 1:
            self._answer_all(client, request, result, postings)
        elif postings[0].outcome is None:
            postings[0].call_when_settled(functools.partial(self._reply, client, request, result))
        else:
            self._reply(client, request, result, postings[0])

    def _reply(self, client: Participant, request: EventRequest, result: Any, posting: Posting) -> None:
        """Answer a request whose posting is settled."""
        if isinstance(posting.outcome, EngineError):
            self._turn_down(client, request.id, not_kept(posting.outcome))
        else:
            self._ack(client, request, result)

    def _answer_all(
        self,
        client: Participant,
        request: EventRequest,
        result: Any,
        postings: list[Posting],
        held: Sequence[str] = (),
        _settled: Posting | None = None,
    ) -> None:
        """Answer a request as soon as several postings are settled.

        Args:
            held: the rooms that are kept from the client until then.
        """
        failed = postings[0]
        for posting in reversed(postings):  # the last one of a batch is settled last
            if posting.outcome is None:
                held = held or self._hold_apart(client, postings)
                posting.call_when_settled(functools.partial(self._answer_all, client, request, result, postings, held))
                return
            if isinstance(posting.outcome, EngineError):
                failed = posting
        self._reply(client, request, result, failed)
        if held:
            self._feeding.release(client, held)

    def _hold_apart(self, client: Participant, postings: list[Posting]) -> Sequence[str]:
        """Keep from a client what may be flushed before all of it is kept, and the client has its answer."""
        if self._pump.is_one_batch(postings):
            return ()
        held = [posting.room for posting in postings]
        for room in held:
            self._feeding.hold(client, room)
        return held

    def _ack(self, client: Participant, request: EventRequest, result: Any) -> bytes:
        """Answer a request; its payload."""
        if request.id is None:
            return b""
        try:
            payload = ack_payload(result)
        except Exception:
            self._failed(client, request)  # what a handler returns may be anything
            return b""
        client.write_text(client.dialect.ack(request.id, payload))
        return payload

    async def _handle_async(
        self,
        client: Participant,
        line: Line,
        request: EventRequest,
        handler: Handler,
        event: Any,
        room: str | None,
    ) -> None:
        is_answered = request.id is not None and client.dialect.resumes
        call = Call(functools.partial(self._feeding.hold, client) if is_answered else None)
        call_of_task.set(call)
        try:
            await self._finish(client, request, call, handler, event, room)
        finally:
            call.is_over = True
            if is_answered:
                self._feeding.release(client, [posting.room for posting in call.postings])
            self._move(client, line)

    async def _finish(
        self,
        client: Participant,
        request: EventRequest,
        call: Call,
        handler: Handler,
        event: Any,
        room: str | None,
    ) -> None:
        try:
            result = await handler.call(event, client)
            for posting in with_result(call.postings, result):
                await posting
            if handler.act in LOOKING:  # nothing was shown yet, and what was allowed then may not be now
                for act in (Act.JOIN, handler.act):
                    self._permissions.check(client, act, room)
        except Refused as refused:
            self._refuse(client, request.id, refused, request.type)
        except EngineError as error:
            self._refuse(client, request.id, not_kept(error), request.type)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the server stops; otherwise it is the handler's own doing
            self._failed(client, request)
        except Exception:
            self._failed(client, request)
        else:
            payload = self._ack(client, request, result)
            spend(client.purses, Use.SENT, len(payload) * client.cost_of_byte, self._clock())

    # Refusing

    def refuse_room(self, client: Participant, refused: Refused) -> None:
        """Tell a client that it is not let into the room that its dialect begins in."""
        self._refuse(client, None, refused, "join_room")

    def _refuse(self, client: Participant, id_: str | int | None, refused: Refused, type_: str) -> None:
        log.debug("refused", user=client.user, type=type_[:80], code=refused.code, message=refused.message)
        if refused.code in NOT_ALLOWED:
            self._audit.refuse(
                type_, actor=client.user, address=client.address, outcome=refused.code, reason=refused.message
            )
        self._turn_down(client, id_, refused)

    def _turn_down(self, client: Participant, id_: str | int | None, refused: Refused) -> None:
        self._counts.refuse(refused.code)
        client.error(id_, refused)

    def _failed(self, client: Participant, request: EventRequest) -> None:
        log.exception("handler failed", type=request.type, user=client.user)
        self._turn_down(client, request.id, Refused(ErrorCode.INTERNAL, f"the handler of {request.type!r} failed"))


def with_result(postings: list[Posting], result: Any) -> list[Posting]:
    """What an answer waits for: all that the call has posted, and the posting that it returned, whoever made that."""
    if not isinstance(result, Posting) or any(posting is result for posting in postings):
        return postings
    return [*postings, result]


def rate_limited(rate: Rate) -> Refused:
    """Tell a client over its rate when the next event will be let in."""
    return Refused(ErrorCode.RATE_LIMITED, "too many events a second", round(rate.retry_after, 3))


def asks_too_much(wait: float) -> Refused:
    """Tell a client whose account or address has been sent too much when to ask again."""
    return Refused(ErrorCode.RATE_LIMITED, "this account or address has asked for too many bytes", round(wait, 3))


def not_kept(error: EngineError) -> Refused:
    """Tell a client that nothing was kept, or that nobody knows."""
    if isinstance(error, KeyConflict):
        return Refused(ErrorCode.CONFLICT, str(error))
    if isinstance(error, NotKnown):
        return Refused(ErrorCode.UNAVAILABLE, f"not known whether it was kept: {error}; repeat it with the same key")
    return Refused(ErrorCode.UNAVAILABLE, f"not kept: {error}")
