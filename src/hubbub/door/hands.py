"""What orders do with the connections of this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from msgspec import Raw

from hubbub.core import Core
from hubbub.door.client import DoorClient
from hubbub.door.orders import RefreshOrder, SubscribeOrder

__all__ = ["Extending", "ServerHands", "ServerSubscribing"]


class ServerSubscribing(Protocol):
    """Lets clients into channels, and takes them out, because the server wants it."""

    async def put_in(self, client: DoorClient, order: SubscribeOrder) -> None:
        """Subscribe a client, and tell it; one that is subscribed already is left as it is.

        Raises:
            Refused: it may not be in the channel.
            EngineError: the log cannot be read.
        """
        ...

    def put_out(self, client: DoorClient, channel: str) -> None:
        """End a subscription, if there is one, and tell the client."""
        ...


class Extending(Protocol):
    """Has connections go on."""

    def extend(self, client: DoorClient, expires_at: float | None) -> None:
        """Have a connection go on until another moment, or for ever, and tell it."""
        ...


class ServerHands:
    """Carries out orders (`orders.Hands`)."""

    def __init__(self, core: Core, subscribing: ServerSubscribing, entering: Extending) -> None:
        self._core = core
        self._subscribing = subscribing
        self._entering = entering

    def clients_of(self, user: str) -> Iterable[DoorClient]:
        found = cast("tuple[DoorClient, ...]", self._core.connections.of_door(user))
        return [client for client in found if client.is_connected]

    def session_of(self, client: DoorClient) -> str:
        return getattr(client.socket, "secret", "")

    async def subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
        await self._subscribing.put_in(client, order)

    def unsubscribe(self, client: DoorClient, channel: str) -> None:
        self._subscribing.put_out(client, channel)

    def close(self, client: DoorClient, code: int, reason: str) -> None:
        client.close(code, reason)

    def refresh(self, client: DoorClient, order: RefreshOrder) -> None:
        if isinstance(order.info, Raw):
            client.conn_info = bytes(order.info)
        self._entering.extend(client, order.expire_at or None)

    def empty(self, channel: str, seq: int) -> None:
        room = self._core.rooms.find(channel)
        if room is not None:
            room.recent.remove_to(seq)
