"""Who may enter which room, and what the rooms are called that somebody names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hubbub.acts import Act
from hubbub.budgets import Use, take_one
from hubbub.client import Participant
from hubbub.dialect import CLASSIC
from hubbub.engine import Engine
from hubbub.errors import ErrorCode, Refused
from hubbub.handlers import Handlers, call_hooks
from hubbub.naming import DM, RoomName, check_room_name, is_channel, read_room_name, users_of_dm
from hubbub.permissions import Permissions
from hubbub.settings import Settings

__all__ = ["Occupied", "RoomEntrance"]

# Looking an enumeration's member up costs more than using it.
CREATE = Act.CREATE


class Occupied(Protocol):
    """What is asked of a live room."""

    @property
    def is_occupied(self) -> bool:
        """Whether anybody of this process is in it."""
        ...


class RoomEntrance:
    """Reads names, and lets clients pass.

    Args:
        live: the live rooms, by their names.
        clock: seconds that never go back.

    Attributes:
        has_channels: names that only clients of the second door use are names of rooms for the application, too.
    """

    def __init__(
        self,
        engine: Engine,
        live: Mapping[str, Occupied],
        permissions: Permissions,
        handlers: Handlers,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        self.has_channels = False
        self._engine = engine
        self._live = live
        self._permissions = permissions
        self._handlers = handlers
        self._longest = settings.max_room_name
        self._has_other_users = handlers.check is not None or settings.jwt_key is not None
        self._clock = clock

    # Names

    def open_channels(self) -> None:
        """Take clients of the second door from now on: what only they can name is theirs."""
        self.has_channels = True
        self._permissions.is_channel = self.is_channel

    def is_channel(self, name: str) -> bool:
        """Whether a name is that of a channel, and of no room that clients of the other dialects can name."""
        return is_channel(name, self._longest)

    def identity(self, name: str) -> str:
        """What a room goes by; what is no name of a room stays as it is."""
        try:
            return check_room_name(name, self._longest)
        except Refused:
            return name

    def read_name(self, name: str) -> RoomName:
        """What a room goes by that the application names, and how it is written; it may be a channel.

        Raises:
            Refused: `bad_payload` for what is neither.
        """
        try:
            return read_room_name(name, self._longest)
        except Refused:
            if self.has_channels and self.is_channel(name):
                return RoomName(name, name)
            raise

    # Entering

    async def check(self, client: Participant, name: str) -> RoomName:
        """Find out that a client may enter a room, and count it; how the room is named.

        Args:
            name: of a channel, for a client of the second door, which has found out that it is one.

        Raises:
            Refused: by an `on_join` hook, `forbidden` or `no_such_room` for a room that it may not enter or make,
                `rate_limited`, or `bad_payload` for what is not a room name.
            EngineError: the log cannot be read.
        """
        title = name
        if not client.uses_channels and (self.has_channels or name not in self._live):
            name, title = read_room_name(name, self._longest)
        rights = self._permissions.rights_in(client, name)
        self._count_join(client)
        if (not rights & CREATE or name.startswith(DM)) and not await self._is_or_may_be(client, name, rights):
            raise Refused(ErrorCode.NO_SUCH_ROOM, f"there is no room {name[:80]!r}, and you may not make one")
        if self._handlers.join_hooks:
            await call_hooks(self._handlers.join_hooks, name, client)
        return RoomName(name, title)

    def _count_join(self, client: Participant) -> None:
        """Refuse (`rate_limited`) a client whose account or address enters too many rooms."""
        wait = take_one(client.purses, Use.JOINS, self._clock())
        if wait:
            raise Refused(ErrorCode.RATE_LIMITED, "this account or address enters too many rooms", round(wait, 3))

    async def _is_or_may_be(self, client: Participant, name: str, rights: int) -> bool:
        """Whether a room is there, or a client may make it: one of two users, where the other one is there, too.

        A blocked account is like any other.
        """
        others = [user for user in users_of_dm(name) if user != client.user]
        may_be = rights & CREATE and all([await self.is_user(user) for user in others])
        return bool(may_be) or await self.exists(name)

    async def is_user(self, name: str) -> bool:
        """Whether somebody may go by a name: with an account, or wherever others vouch for users whom nobody lists.

        Raises:
            EngineError: it cannot be told.
        """
        return self._has_other_users or await self._engine.account(name) is not None

    async def exists(self, name: str) -> bool:
        """Whether somebody is in a room, or something is kept of it; there is always the one that classic begins in."""
        live = self._live.get(name)
        if name == CLASSIC.first_room or (live is not None and live.is_occupied):
            return True
        return bool((await self._engine.read(name, limit=1)).messages)
