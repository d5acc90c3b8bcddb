"""Dispatch: one message of a client to its handler, and the handler's answer back."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from hubbub.client import Client, Envelope
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import decode_payload
from hubbub.handlers import ack_payload, unavailable
from hubbub.room import Posting, posted

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["Dispatch"]

log = structlog.get_logger("hubbub")

# A client whose asynchronous handler is at work waits in line; past this many events its socket is not read.
MAX_BACKLOG = 64


class Dispatch:
    """Calls the hub's handlers.

    The events of one client are handled one at a time, in the order sent; those of different clients concurrently.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def handle(self, client: Client, text: str) -> None:
        try:
            request = client.dialect.decode(text)
        except Refused as refused:
            self.refuse(client, client.dialect.id_of(text), refused, "?")
            return
        handler = self._hub.handlers.get(request.type)
        if handler is None:
            unknown = Refused(ErrorCode.UNKNOWN_TYPE, f"nothing here handles events of type {request.type[:80]!r}")
            self.refuse(client, request.id, unknown, request.type)
            return
        before = len(self._hub.pump.gathering)
        try:
            event = decode_payload(handler.decoder, request.payload)
            if handler.is_async:
                self._handle_async(client, request, handler.call(event, client))
                return
            result = handler.call(event, client)
        except Refused as refused:
            self.refuse(client, request.id, refused, request.type)
        except (Exception, asyncio.CancelledError):  # a handler's own doing: here is no task of ours
            self._failed(client, request)
        else:
            if request.id is not None:
                self._answer(client, request, result, self._hub.pump.gathering[before:])

    def _answer(self, client: Client, request: Envelope, result: Any, postings: Sequence[Posting]) -> None:
        """Acknowledge a request, as soon as what it posted is kept."""
        if not postings:
            self._ack(client, request, result)
            return
        # Postings of one handler call are in one batch: when one is kept all are.
        is_own = isinstance(result, Posting) and result.receipt is None
        awaited = result if is_own else postings[-1]
        awaited.reply_with(functools.partial(self._reply, client, request, result))

    def _reply(self, client: Client, request: Envelope, result: Any, posting: Posting) -> None:
        if posting.error is None:
            self._ack(client, request, result)
        else:
            client.error(request.id, unavailable(posting.error))

    def _ack(self, client: Client, request: Envelope, result: Any) -> None:
        if request.id is None:
            return
        try:
            payload = ack_payload(result)
        except Exception:
            self._failed(client, request)  # what a handler returns may be anything
        else:
            client.ack(request.id, payload)

    def _handle_async(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        client.backlog = deque()
        self._hub.start(self._work_off(client, request, work))

    async def _work_off(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        try:
            await self._finish(client, request, work)
        finally:
            self.move_line(client)

    def move_line(self, client: Client) -> None:
        """Take a client's waiting events in turn, until one has to be awaited, or the client has to read first."""
        waiting, client.backlog = client.backlog or deque(), None
        while waiting and client in self._hub.clients:
            if self._hub.is_full(client):
                client.backlog = waiting
                client.is_stuck = True
                return
            self.handle(client, waiting.popleft())
            if self._hand_on(client, waiting):
                return
        client.resume()

    def _hand_on(self, client: Client, waiting: deque[str]) -> bool:
        """If an asynchronous handler has begun, with a task of its own, it gets the rest of the line."""
        if client.backlog is None:
            return False
        client.backlog.extend(waiting)
        return True

    async def _finish(self, client: Client, request: Envelope, work: Awaitable[Any]) -> None:
        mine: list[Posting] = []
        posted.set(mine)
        try:
            result = await work
            for posting in mine:
                await posting
        except Refused as refused:
            self.refuse(client, request.id, refused, request.type)
        except EngineError as error:
            self.refuse(client, request.id, unavailable(error), request.type)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the server stops; otherwise it is the handler's own doing
            self._failed(client, request)
        except Exception:
            self._failed(client, request)
        else:
            self._ack(client, request, result)

    def wait_in_line(self, client: Client, text: str) -> None:
        assert client.backlog is not None
        client.backlog.append(text)
        if len(client.backlog) > MAX_BACKLOG:
            client.pause()

    def refuse(self, client: Client, id_: str | int | None, refused: Refused, type_: str) -> None:
        log.debug("refused", user=client.user, type=type_[:80], code=refused.code, message=refused.message)
        client.error(id_, refused)

    def _failed(self, client: Client, request: Envelope) -> None:
        log.exception("handler failed", type=request.type, user=client.user)
        client.error(request.id, Refused(ErrorCode.INTERNAL, f"the handler of {request.type!r} failed"))
