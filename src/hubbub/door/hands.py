"""What orders do with the connections of this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from msgspec import UNSET, Raw, UnsetType

from hubbub.core import Core
from hubbub.door.client import DoorClient
from hubbub.door.codes import GivenClose
from hubbub.door.entering import Entering
from hubbub.door.orders import RefreshOrder, SubscribeOrder
from hubbub.door.subscribing import Subscribing

__all__ = ["ServerHands"]


class ServerHands:
    """Carries out orders (`orders.Hands`)."""

    def __init__(self, core: Core, subscribing: Subscribing, entering: Entering) -> None:
        self._core = core
        self._subscribing = subscribing
        self._entering = entering

    def clients_of(self, user: str) -> Iterable[DoorClient]:
        found = cast("tuple[DoorClient, ...]", self._core.connections.of_door(user))
        return [client for client in found if client.is_connected]

    def session_of(self, client: DoorClient) -> str:
        return getattr(client.socket, "secret", "")

    async def subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
        await self._subscribing.put_in(
            client,
            order.channel,
            chan_info=given(order.info),
            data=given(order.data),
            since=order.since,
            expires_at=order.expire_at or None,
            override=order.override,
        )

    def unsubscribe(self, client: DoorClient, channel: str) -> None:
        self._subscribing.put_out(client, channel)

    def close(self, client: DoorClient, code: int, reason: str) -> None:
        client.close(GivenClose(code), reason)

    def refresh(self, client: DoorClient, order: RefreshOrder) -> None:
        if order.info is not UNSET:
            client.conn_info = given(order.info)
        self._entering.extend(client, order.expire_at or None)

    def empty(self, channel: str, seq: int) -> None:
        room = self._core.rooms.find(channel)
        if room is not None:
            room.recent.remove_to(seq)


def given(json: Raw | UnsetType) -> bytes:
    """JSON that an order has; empty for none."""
    return b"" if isinstance(json, UnsetType) else bytes(json)
