"""What other programs are told of what they have published, and of what was said in rooms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

__all__ = ["Published", "RoomHistory", "SaidInRoom"]


class Published(msgspec.Struct, frozen=True):
    """Where something that was published is in the log of its room; a seq means something with its epoch only."""

    room: str
    seq: int
    epoch: str


class SaidInRoom(msgspec.Struct, frozen=True):
    """Something that was said in a room.

    Attributes:
        seq: its place, rising by exactly one.
        sent: when it was kept (UTC).
        data: what was published; of another event, its fields, as in `{"message": "hi"}`.
        type: of that event; `publication` for what was published without a type.
        user: who has said it, where a user has.
        tags: what was put beside a publication.
    """

    seq: int
    sent: datetime
    data: Any
    type: str = "publication"
    user: str | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class RoomHistory(msgspec.Struct, frozen=True):
    """Some of what was said in a room, and where its log stands."""

    messages: list[SaidInRoom]
    seq: int
    epoch: str
