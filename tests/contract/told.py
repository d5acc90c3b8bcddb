"""What a listener was told, and how an engine is made to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hubbub.engine import Head
from hubbub.events import Message

__all__ = ["BreakAppends", "Told"]

# Makes the next appends fail, as many as it is told.
BreakAppends = Callable[[int], None]


class Told:
    """A listener that notes what it is told: `delivered` by room, everything else in order."""

    def __init__(self) -> None:
        self.delivered: dict[str, list[int]] = {}
        self.events: list[tuple[object, ...]] = []

    def deliver(self, room: str, messages: Sequence[Message]) -> None:
        assert all(message.room == room for message in messages)
        self.delivered.setdefault(room, []).extend(message.seq for message in messages)

    def flush(self) -> None: ...

    def hole(self, room: str, first: int, last: int) -> None:
        self.events.append(("hole", room, first, last))

    def rewound(self, room: str, head: Head) -> None:
        self.events.append(("rewound", room, head))

    def heard(self, room: str, type_: str, payload: bytes) -> None:
        self.events.append(("heard", room, type_, payload))

    def came(self, room: str, user: str) -> None:
        self.events.append(("came", room, user))

    def went(self, room: str, user: str) -> None:
        self.events.append(("went", room, user))

    def ended(self, session: str) -> None:
        self.events.append(("ended", session))
