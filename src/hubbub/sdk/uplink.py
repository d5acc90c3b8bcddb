"""One connection, from its welcome to its end: reading, writing, fetching, and watching for silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from hubbub.errors import ErrorCode, HubbubError, ProtocolError, Rejected
from hubbub.sdk.asking import ask
from hubbub.sdk.backoff import Pace
from hubbub.sdk.conversation import Conversation
from hubbub.sdk.inbox import Inbox
from hubbub.sdk.messages import Page
from hubbub.sdk.outbox import WORTH_ANOTHER_TRY, Entry, Kind
from hubbub.sdk.reading import Failure, Frame, Welcome, read_frame, read_page, read_payload
from hubbub.sdk.renewal import Renewed, renewal_pause
from hubbub.sdk.rooms import RoomCursor
from hubbub.sdk.tokens import NoToken
from hubbub.sdk.transport import Transport, TransportClosed

__all__ = ["Uplink", "now"]

log = logging.getLogger("hubbub.sdk")

# Messages in one request for history; the server's most.
PAGE = 200
# Between two tries to fetch what the server refuses for now.
REFILL_S = 1.0
# Answers still to come are waited for, before a connection is given up for another.
MOVE_S = 2.0

encode = msgspec.json.encode


class Uplink:
    """One connection at work.

    Args:
        transport: the connection, open.
        welcome: what the server has said first on it.
        conversation: what frames mean, and what there is to write.
        inbox: where there has to be a place for what is fetched.
        random: gives numbers from 0 up to 1.
        new_token: as in `WayIn`.

    Attributes:
        is_moving: this client has left because the server asked it to, after a pause of its own.
    """

    def __init__(
        self,
        transport: Transport,
        welcome: Welcome,
        conversation: Conversation,
        inbox: Inbox,
        random: Callable[[], float],
        new_token: Callable[[], Awaitable[str]] | None,
    ) -> None:
        self.transport = transport
        self.is_moving = False
        self._welcome = welcome
        self._conversation = conversation
        self._outbox = conversation.outbox
        self._inbox = inbox
        self._random = random
        self._new_token = new_token
        self._has_requests = asyncio.Event()
        self._has_answers = asyncio.Event()
        self._is_behind = asyncio.Event()
        self._is_asked_to_move = asyncio.Event()
        self._move_within_s = 0.0
        self._moves_at = 0.0

    async def run(self) -> TransportClosed:
        """Use the connection to its end; how it ended."""
        self._conversation.connected(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                work = (self._write(), self._fill(), self._watch(), self._move(), self._renew())
                helpers = [tasks.create_task(each) for each in work]
                try:
                    return await self._read()
                finally:
                    for helper in helpers:
                        helper.cancel()
        finally:
            self._conversation.dropped()

    @property
    def user(self) -> str:
        """The name that the server knows this client by."""
        return self._welcome.user

    # Reading

    async def _read(self) -> TransportClosed:
        while True:
            try:
                text = await self.transport.receive()
            except TransportClosed as closed:
                return closed
            try:
                self._take(read_frame(text))
            except ProtocolError as error:
                log.warning("%s", error)

    def _take(self, frame: Frame) -> None:
        try:
            self._conversation.receive(frame)
        finally:
            if frame.type in ("ack", "error"):
                self._has_answers.set()
                self._has_requests.set()  # one may have been refused for now, or have held up others
            if self._conversation.has_behind:
                self._is_behind.set()

    async def _watch(self) -> None:
        """Leave a connection that has gone silent: the server pings more often than that."""
        heartbeat = self._welcome.heartbeat
        if not heartbeat.interval:
            return
        silence_s = heartbeat.interval + heartbeat.timeout
        while (left := self.transport.heard_at + silence_s - now()) > 0:  # noqa: ASYNC110  # it moves on its own
            await asyncio.sleep(left)
        self.transport.abort()

    # Renewing

    async def _renew(self) -> None:
        """Give the server another token before the one that this connection lasts by has run out."""
        left_s = self._welcome.expires
        while self._new_token is not None and left_s is not None and left_s > 0:
            ends_at = now() + left_s
            await asyncio.sleep(renewal_pause(left_s, self._random()))
            try:
                left_s = await self._renew_by(await self._new_token())
            except (HubbubError, NoToken) as error:
                log.warning("the session was not renewed: %s", error)
                left_s = ends_at - now()

    async def _renew_by(self, token: str) -> float | None:
        answer = await ask(self._conversation, "renew", {"token": token}, Kind.OF_CONNECTION)
        return read_payload(answer, Renewed).expires

    # Writing

    def wake_writer(self) -> None:
        """There is a new request."""
        self._has_requests.set()

    async def _write(self) -> None:
        limits = self._welcome.limits
        pace = Pace(limits.client_rate, limits.client_burst, now())
        while not self.is_moving:
            delay = pace.delay(now())
            if delay:
                await asyncio.sleep(delay)
                continue
            entry = self._outbox.next(now())
            if entry is None:
                await self._wait_for_requests()
                continue
            pace.take()
            try:
                await self._write_one(entry, limits.max_frame)
            except TransportClosed:
                return  # the reader learns of it too, and ends all

    async def _write_one(self, entry: Entry, max_frame: int) -> None:
        id_ = {} if entry.kind is Kind.FLEETING else {"id": entry.number}
        frame = encode({"type": entry.type, **id_, "payload": entry.payload})
        if max_frame and len(frame) > max_frame:
            # The server would close this connection for it, and the next one for the same request.
            too_large = f"a request has at most {max_frame} bytes, this one {len(frame)}"
            self._conversation.refuse(entry, Failure(ErrorCode.TOO_LARGE, too_large))
        else:
            await self.transport.send(frame.decode())

    async def _wait_for_requests(self) -> None:
        self._has_requests.clear()
        try:
            async with asyncio.timeout_at(self._outbox.next_at(now())):
                await self._has_requests.wait()
        except TimeoutError:
            pass

    # Fetching

    async def _fill(self) -> None:
        """Fetch what did not come by itself, as far as there is a place for it."""
        while True:
            await self._is_behind.wait()
            self._is_behind.clear()
            for room in self._conversation.behind():
                await self._inbox.has_room()
                if room.is_behind:
                    await self._fill_one(room)
            if self._conversation.behind():
                self._is_behind.set()

    async def _fill_one(self, room: RoomCursor) -> None:
        after, epoch = room.last, room.epoch
        request = {"room": room.name, "after": after, "limit": min(PAGE, max(1, self._inbox.free))}
        try:
            page = read_page(await ask(self._conversation, "history", request, Kind.REPEATABLE))
        except (Rejected, ProtocolError) as refused:
            if isinstance(refused, Rejected) and refused.code in WORTH_ANOTHER_TRY:
                await asyncio.sleep(REFILL_S)
                return
            # What cannot be had is a gap, and the application is told so.
            page = Page(room.name, [], more=False, epoch=room.epoch or "")
        if page.epoch not in (epoch, room.epoch):
            self.transport.abort()  # another log under the same name: come back, and be told where it stands
        else:
            self._conversation.fill(room, page.messages, after)

    # Moving

    def move_within(self, within_s: float) -> None:
        """The server goes away, and asks its clients to come back, each at a moment of its own."""
        self._move_within_s = within_s
        self._is_asked_to_move.set()

    @property
    def move_s(self) -> float:
        """Seconds until the moment at which it was about to move; 0 where that is past, or it was not asked to."""
        return max(0.0, self._moves_at - now())

    async def _move(self) -> None:
        await self._is_asked_to_move.wait()
        pause = self._random() * self._move_within_s
        self._moves_at = now() + pause
        await asyncio.sleep(pause)
        self.is_moving = True  # nothing more is written, so that nothing is left in doubt
        try:
            async with asyncio.timeout(MOVE_S):
                while self._outbox.has_written:
                    self._has_answers.clear()
                    await self._has_answers.wait()
        except TimeoutError:
            pass
        await self.transport.close()


def now() -> float:
    """Seconds of the loop's clock."""
    return asyncio.get_running_loop().time()
