"""Clients on their way into channels: what they have missed is read while they wait, and then nothing waits."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from hubbub.acts import Act
from hubbub.catchup import Caught, Missed, View, catch_up, read_missed
from hubbub.core import Core
from hubbub.dialect import Dialect
from hubbub.door.client import DoorClient
from hubbub.engine import Head
from hubbub.feeding import LOG_FACTOR
from hubbub.recent import Recent
from hubbub.room import LiveRoom

__all__ = ["ChannelArrival", "ChannelArrivals"]


class ChannelArrival(NamedTuple):
    """A client on its way into a channel, which is live until `Rooms.end_arrival`.

    Attributes:
        missed: what it has missed since the place that it named; None where it named none, or the log does not have it.
    """

    room: LiveRoom
    missed: Missed | None


class ChannelArrivals:
    """Brings clients to channels, and lets them in."""

    def __init__(self, core: Core) -> None:
        self._rooms = core.rooms
        self._log = core.engine
        self._permissions = core.permissions

    async def arrive(self, client: DoorClient, channel: str, since: Head | None) -> ChannelArrival:
        """Find out that a client may enter a channel, and what it has missed there.

        Whoever calls this ends the arrival, whether the client enters or not.

        Args:
            since: up to where it has heard the channel; without an epoch that is of any.

        Raises:
            Refused: it may not.
            EngineError: the log cannot be read.
        """
        room = await self._rooms.arrive(client, channel)
        try:
            await room.filled()
            if since is None:
                return ChannelArrival(room, None)
            missed = await read_missed(self._log, channel, room.recent, named(since, room.recent.epoch))
            if missed is not None:
                self._rooms.charge(client, sum(len(message.body) for message in missed.messages) * (LOG_FACTOR - 1))
        except BaseException:
            self._rooms.end_arrival(room)
            raise
        return ChannelArrival(room, missed)

    def look_back(self, client: DoorClient, arrival: ChannelArrival, view: View, most: int) -> Caught:
        """What a client hears of the past of the channel that it has arrived at, if it enters in this turn of the loop.

        Args:
            view: as far back as it may look.
            most: bytes of what it has missed that are in its answer; what is over that follows.  With 0 all of it does.

        Raises:
            Refused: it may not be there any more.
        """
        room, missed = arrival
        may_read = self._permissions.rights_in(client, room.name) & Act.READ
        if missed is not None and not (may_read and view.reaches(missed, room.recent)):
            missed = None
        if missed is None or missed.epoch != room.recent.epoch or 0 < most >= size_of(missed, room.recent):
            return catch_up(room.recent, client.dialect, missed, 0)
        return begin(room.recent, client.dialect, missed, most)

    def enter(self, client: DoorClient, arrival: ChannelArrival, caught: Caught) -> None:
        """Let a client into the channel that it has arrived at.

        Raises:
            Refused: it may not be there any more.
        """
        room = arrival.room
        self._rooms.let_in(client, room, caught, self._permissions.rights_in(client, room.name))


def size_of(missed: Missed, recent: Recent) -> int:
    """Bytes of what was missed, as far as it was read or is at hand."""
    heard = missed.messages[-1].seq if missed.messages else missed.after
    at_hand = recent.after(heard) if heard + 1 >= recent.first_seq else ()
    return sum(len(message.body) for message in chain(missed.messages, at_hand))


def begin(recent: Recent, dialect: Dialect, missed: Missed, most: int) -> Caught:
    """What was missed, as far as so many bytes go: whoever hears that enters behind."""
    heard, size = missed.after, 0
    listed: list[bytes] = []
    for message in recent.changed(missed.messages or recent.after(heard)):
        size += len(message.body)
        if size > most:
            break
        listed.append(dialect.listed(message))
        heard = message.seq
    return Caught(missed.epoch, dialect.array(listed), heard, is_recovered=True, is_present=False)


def named(since: Head, epoch: str) -> Head:
    """A place in a log; one without an epoch is in this one."""
    return since if since.epoch else Head(epoch, since.seq)
