"""A room as an application holds it: a name, and what can be done by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hubbub.client import Client, Participant
from hubbub.events import Event, encode_payload
from hubbub.policy import check_key
from hubbub.posting import Posting

__all__ = ["Floor", "Room"]


class Floor(Protocol):
    """Where rooms are spoken in."""

    def say(self, room: str, event: Event, sender: Participant | None = None, key: str | None = None) -> Posting:
        """Take an event that is to be kept."""
        ...

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        """Say an event that is not kept."""
        ...

    def members(self, room: str) -> Sequence[Client]:
        """The clients of this process in a room."""
        ...

    def users(self, room: str) -> Sequence[str]:
        """The users of this process's clients in a room, sorted."""
        ...


class Room:
    """A room by its name: `hub.room(name)`.

    It needs no making, and need not have members; a handle may be kept for as long as the hub is.

    Attributes:
        name: what the room goes by: "ops" for "Ops".
    """

    __slots__ = ("_floor", "name")

    def __init__(self, name: str, floor: Callable[[], Floor]) -> None:
        self.name = name
        self._floor = floor

    def __repr__(self) -> str:
        return f"<Room {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Room) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def post(self, event: Event, *, sender: Client | None = None, key: str | None = None) -> Posting:
        """Say something in the room that is kept: in order, in the log, resumable.

        Args:
            sender: the client on whose behalf it is said; its user becomes the message's `from`.
            key: a name for this message, given by its sender: within the dedupe window one key is kept once, and with
                another event it fails with `KeyConflict`.  1 to 128 characters.

        Returns:
            The message on its way: await it, or return it from a handler, to know that it was kept.

        Raises:
            Refused: `bad_payload` for a key that is empty or too long, `rate_limited` where the sender's account has
                added too much to the log.
            WrongThread: the hub does not run in this thread; `hub.from_thread` is for others.
        """
        if key is not None:
            check_key(key)
        assert sender is None or isinstance(sender, Participant), "clients come from the hub"
        return self._floor().say(self.name, event, sender, key)

    def cast(self, event: Event) -> None:
        """Say something in the room that is not kept: typing, cursors.  Classic members hear nothing."""
        self._floor().cast(self.name, type(event).tag, encode_payload(event))

    @property
    def members(self) -> Sequence[Client]:
        """The clients in the room that are connected to this process."""
        return self._floor().members(self.name)

    @property
    def users(self) -> Sequence[str]:
        """The users of those clients, sorted."""
        return self._floor().users(self.name)
