"""Bringing members of rooms that have fallen behind up to date: from what the room has at hand, or from the log.

A client falls behind when it is slow, when it enters with a long past, and while an answer has to reach it first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import structlog

from hubbub.budgets import Use, spend, wait_for
from hubbub.catchup import PAGE, follows, gap, page_texts
from hubbub.client import Participant
from hubbub.counts import HubCounts
from hubbub.engine import Head, Log
from hubbub.errors import CloseCode, EngineError
from hubbub.events import Message, encode
from hubbub.room import LiveRoom
from hubbub.tasks import Tasks

__all__ = ["LOG_FACTOR", "Feeding"]

log = structlog.get_logger("hubbub")

# What is read from the log costs several times as much as what is at hand, and counts so much more.
LOG_FACTOR = 4

# What a client is fed at once, in bytes: it is made in one turn of the loop, and waits for the client to read it.
FEED_BYTES = 1 << 20

# One that is fed while its account is over its budget gets a page after so many seconds at most.
FEED_PAUSE_S = 1.0


class Feeding:
    """Who is slow, or behind, and is told what it has missed, a page at a time.

    Args:
        live: the live rooms, by their names.
        forget: takes a client out of all rooms.
        leave: takes a client out of a room.
        max_outbox: bytes that may wait for a client; 0 is no limit.
        tasks: owns the feeding.
        clock: seconds that never go back.

    Attributes:
        slow: clients that have yet to take what they were sent; they are not fed.
    """

    def __init__(
        self,
        engine: Log,
        live: Mapping[str, LiveRoom],
        forget: Callable[[Participant], None],
        leave: Callable[[Participant, str], None],
        max_outbox: int,
        tasks: Tasks,
        counts: HubCounts,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._live = live
        self._forget = forget
        self._leave = leave
        self._max_outbox = max_outbox
        self._tasks = tasks
        self._counts = counts
        self._clock = clock
        self.slow: dict[Participant, None] = {}
        # Clients that are being fed from the log.
        self._fed: dict[Participant, None] = {}
        # Clients with the rooms whose messages wait for the answers to calls, and for how many.
        self._held: dict[Participant, Counter[str]] = {}

    # Slow clients

    def mark_slow(self, client: Participant) -> None:
        """Note that a client takes its frames slower than they come; its outbox is watched from now on."""
        self.slow[client] = None
        for name in client.joined:
            self._live[name].watch(client)

    def mark_caught_up(self, client: Participant) -> None:
        """Note that a slow client has taken what it was sent; what it has missed since follows."""
        self.slow.pop(client, None)
        for name in client.joined:
            self._live[name].unwatch(client)
        self.feed(client)

    def is_full(self, client: Participant) -> bool:
        """Whether a client has as much waiting for it as it may."""
        most = self._max_outbox
        return bool(most) and client in self.slow and client.socket is not None and client.socket.outbox_size > most

    def look_at(self, client: Participant) -> bool:
        """Stop writing to a client if it is over its outbox; whether it is.

        One that can resume is fed from the log later; another is closed.
        """
        if not self.is_full(client):
            return False
        if client.dialect.resumes:
            for name in client.joined:
                self._live[name].fall_behind(client)
        else:
            self._forget(client)
            client.close(CloseCode.LOST_PLACE, f"more than {self._max_outbox} bytes behind")
        return True

    # Ack first

    def hold(self, client: Participant, name: str) -> None:
        """Keep what is said in a room from a client until a `release`: the answer to what it asks for comes first.

        Several calls may hold a room; it is heard again when each has released it as often as it has held it.
        """
        self._held.setdefault(client, Counter())[name] += 1
        room = self._live.get(name)
        if room is not None and name in client.joined:
            room.fall_behind(client)

    def release(self, client: Participant, names: Sequence[str]) -> None:
        """Tell a client what was kept from it of rooms that a call has held, if no other call does."""
        if not names:
            return
        held = self._held[client]
        held.subtract(names)
        for name in dict.fromkeys(names):
            if held[name]:
                continue
            del held[name]
            room = self._live.get(name)
            if room is not None and name in client.joined:
                self._feed_from_hand(client, room)
        if not held:
            del self._held[client]
        self.feed(client)

    def is_held(self, client: Participant, name: str) -> bool:
        """Whether what is said in a room waits for an answer to a client."""
        return client in self._held and name in self._held[client]

    # Feeding

    def feed(self, client: Participant) -> None:
        """Feed a client that is behind anywhere: one room after the other, so that it costs a page at most."""
        if client not in self._fed and next(self._rooms_to_feed(client), None) is not None:
            self._fed[client] = None
            self._tasks.start(self._feed_rooms(client))

    def _rooms_to_feed(self, client: Participant) -> Iterator[LiveRoom]:
        """The rooms that a client is behind in, each looked at when its turn comes: much may happen in between."""
        for name in client.rooms:
            if client in self.slow:
                return
            room = self._live.get(name)
            if room is not None and room.behind(client) is not None and not self.is_held(client, name):
                yield room

    async def _feed_rooms(self, client: Participant) -> None:
        is_behind = True
        try:
            while is_behind:
                is_behind = False
                for room in self._rooms_to_feed(client):
                    is_behind = True
                    if not self._feed_from_hand(client, room):
                        await self._feed_page(client, room)
                    # Not every read waits, and there may be hundreds of rooms.
                    wait = wait_for(client.purses, Use.SENT, self._clock())
                    await asyncio.sleep(min(wait, FEED_PAUSE_S))  # paced while it owes
        except EngineError as error:
            log.warning("a slow client cannot be fed", user=client.user, error=str(error))
            client.close(CloseCode.LOST_PLACE, "the log cannot be read")
        except Exception:
            log.exception("a slow client cannot be fed", user=client.user)
            client.close(CloseCode.LOST_PLACE, "the log cannot be read")
        finally:
            del self._fed[client]

    def _feed_from_hand(self, client: Participant, room: LiveRoom) -> bool:
        """Feed a client what it misses, if that is at hand; whether it was.  One that has had all of it is a member."""
        heard = room.behind(client)
        if heard is None or client in self.slow or heard + 1 < room.recent.first_seq:
            return False
        at_hand = room.recent.after(heard)
        count = as_many_as_fit(at_hand)
        texts = [client.dialect.message(message) for message in at_hand[:count]]
        client.write_texts(texts)
        self._note_fed(len(texts))
        if count < len(at_hand):
            room.enter_behind(client, at_hand[count - 1].seq)
        else:
            room.enter(client, max(heard, room.recent.last_seq), is_slow=client in self.slow)
        return True

    async def _feed_page(self, client: Participant, room: LiveRoom) -> None:
        """Read a page of the log for a client that is behind, and write it."""
        heard = room.behind(client)
        assert heard is not None
        page = await self._engine.read(room.name, after=heard, limit=PAGE)
        if room.behind(client) != heard or self.is_held(client, room.name):
            return  # it has left, joined anew, or asked for something that is to be answered first, meanwhile
        if client.uses_channels and not follows(page, heard):
            self._put_out(client, room.name, heard + 1)
            return
        page = msgspec.structs.replace(page, messages=page.messages[: as_many_as_fit(page.messages)])
        texts, cursor = page_texts(room.name, client.dialect, page, heard)
        client.write_texts(texts)
        self._note_fed(len(page.messages))
        self._counts.gaps += len(texts) - len(page.messages)
        cost_of_byte = LOG_FACTOR - 1 + client.cost_of_byte
        spend(client.purses, Use.SENT, sum(map(len, texts)) * cost_of_byte, self._clock())
        room.enter_behind(client, cursor)

    def _note_fed(self, count: int) -> None:
        self._counts.fed += count
        self._counts.deliveries += count

    # What the log has lost

    def hole(self, room: str, first: int, last: int) -> None:
        """Tell a room's members which messages the log has lost, and go on after them."""
        live = self._live.get(room)
        if live is None:
            return
        live.flush_at_once()
        resuming = [client for client in live.members if client.dialect.resumes]
        for client in resuming:
            live.fall_behind(client)
        live.recent.skip_to(last)
        self._counts.holes += 1
        log.warning("messages lost", room=room, first=first, last=last)
        for client in resuming:
            self.feed(client)

    def rewound(self, room: str, head: Head) -> None:
        """Go on under another epoch; members that have heard what is not in the log have to come back."""
        live = self._live.get(room)
        if live is None:
            return
        is_lost = live.recent.last_seq > head.seq
        if not is_lost:
            live.flush_at_once()
        live.rewind(head)
        resuming = [client for client in live.members if client.dialect.resumes]
        if is_lost:
            self._counts.rewinds += 1
            log.warning("the log has lost messages that were delivered", room=room, last=head.seq)
            for client in resuming:
                self._lose(client, room, head.seq + 1)
            return
        self._counts.epochs += 1
        payload = encode({"room": room, "epoch": head.epoch, "seq": live.recent.last_seq})
        for client in resuming:
            client.write_text(client.dialect.event("epoch", payload))

    def _lose(self, client: Participant, room: str, first: int) -> None:
        """Have a client come back that has heard what the log has lost."""
        if client.uses_channels:
            self._put_out(client, room, first)
        else:
            client.close(CloseCode.LOST_PLACE, "the log has lost messages; come back and resume")
            self._forget(client)

    def _put_out(self, client: Participant, room: str, first: int) -> None:
        """Take a client of the second door out of a room that it has missed something of, from a seq on.

        It has no way to be told of a gap and go on; it enters again by itself, and hears then that it has missed some.
        """
        self._leave(client, room)
        client.write_text(gap(room, client.dialect, first, first))
        self._counts.gaps += 1


def as_many_as_fit(messages: Sequence[Message]) -> int:
    """How many of some messages a client is fed at once: at least one, where there is any."""
    size = 0
    for count, message in enumerate(messages):
        size += len(message.body)
        if count and size > FEED_BYTES:
            return count
    return len(messages)
