"""Who may ask what of the routes of other programs: keys, and the methods that each kind of key opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from hubbub.core import Core
from hubbub.http.api_calls import (
    ApiCode,
    ApiError,
    BroadcastCall,
    DisconnectCall,
    EmptyCall,
    HistoryCall,
    PublishCall,
    RoomCall,
    RoomsCall,
)
from hubbub.http.api_methods import ApiMethods
from hubbub.keyring import MAX_SECRET_CHARS, KeyScope
from hubbub.otp import digest
from hubbub.wire.request import Request

__all__ = ["MAX_BATCH", "Call", "Desk", "KeyDesk", "reader"]

# Calls in one batch.
MAX_BATCH = 100

# What an application of another server may ask for, and is not to be had with a key of the hub's own.
ABSENT = ("subscribe", "unsubscribe", "refresh", "history_remove")

F = TypeVar("F")
Read = Callable[[bytes], Any]
Method = Callable[[KeyScope, Any], Awaitable[dict[str, Any]]]

# How the fields of a method are read, and what does it.
Call = tuple[Read, Method]


def reader(fields: type[F]) -> Callable[[bytes], F]:
    """What reads the fields of a method."""
    return msgspec.json.Decoder(fields).decode


class Desk(Protocol):
    """What is answered to those who have some kind of key.

    Attributes:
        calls: the methods by name, besides `batch`.
        most_commands: in one batch.
    """

    calls: Mapping[str, Call]
    most_commands: int

    async def scope(self, request: Request, secret: str) -> KeyScope | None:
        """What a key is good for; None for one of another desk, or for none at all.

        Raises:
            EngineError: it cannot be told.
        """
        ...

    async def answer(self, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """The result of a call, under `result`, or the error that came of it."""
        ...


class KeyDesk:
    """The desk for keys of the hub's own (`hubbub key add`)."""

    def __init__(self, core: Core) -> None:
        self._engine = core.engine
        methods = ApiMethods(core)
        self.answer = methods.answer
        self.most_commands = MAX_BATCH
        self.calls: Mapping[str, Call] = {
            "publish": (reader(PublishCall), methods.publish),
            "broadcast": (reader(BroadcastCall), methods.broadcast),
            "history": (reader(HistoryCall), methods.history),
            "presence": (reader(RoomCall), methods.presence),
            "presence_stats": (reader(RoomCall), methods.presence_stats),
            "channels": (reader(RoomsCall), methods.list_rooms),
            "rooms": (reader(RoomsCall), methods.list_rooms),
            "disconnect": (reader(DisconnectCall), methods.disconnect),
            "info": (reader(EmptyCall), methods.info),
            **dict.fromkeys(ABSENT, (reader(EmptyCall), absent)),
        }

    async def scope(self, _request: Request, secret: str) -> KeyScope | None:
        if not 0 < len(secret) <= MAX_SECRET_CHARS:
            return None
        key = await self._engine.api_key(digest(secret))
        return KeyScope(key) if key is not None else None


async def absent(_scope: KeyScope, _call: EmptyCall) -> dict[str, Any]:
    """Refuse what is not to be had with such a key."""
    raise ApiError(ApiCode.NOT_AVAILABLE, "this method is for the key of Centrifugo's configuration: http_api.key")
