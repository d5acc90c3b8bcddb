"""Clients on their way into channels: what they have missed is read while they wait, and then nothing waits."""

from __future__ import annotations

from typing import NamedTuple

from hubbub.acts import Act
from hubbub.catchup import Caught, Missed, View, catch_up, read_missed
from hubbub.core import Core
from hubbub.door.client import DoorClient
from hubbub.engine import Head
from hubbub.feeding import LOG_FACTOR
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

    def look_back(self, client: DoorClient, arrival: ChannelArrival, view: View, *, is_answered: bool = True) -> Caught:
        """What a client hears of the past of the channel that it has arrived at, if it enters in this turn of the loop.

        Args:
            view: as far back as it may look.
            is_answered: what it has missed is in its answer; without that all of it follows.

        Raises:
            Refused: it may not be there any more.
        """
        room, missed = arrival
        may_read = self._permissions.rights_in(client, room.name) & Act.READ
        if missed is not None and not (may_read and view.reaches(missed, room.recent)):
            missed = None
        if missed is None or is_answered or missed.epoch != room.recent.epoch:
            return catch_up(room.recent, client.dialect, missed, 0)
        return Caught(missed.epoch, client.dialect.array(()), missed.after, is_recovered=True, is_present=False)

    def enter(self, client: DoorClient, arrival: ChannelArrival, caught: Caught) -> None:
        """Let a client into the channel that it has arrived at.

        Raises:
            Refused: it may not be there any more.
        """
        room = arrival.room
        self._rooms.let_in(client, room, caught, self._permissions.rights_in(client, room.name))


def named(since: Head, epoch: str) -> Head:
    """A place in a log; one without an epoch is in this one."""
    return since if since.epoch else Head(epoch, since.seq)
