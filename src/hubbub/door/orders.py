"""Orders to the connections of a user, wherever they are: each node hears of them, and carries out its part."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
import structlog
from msgspec import UNSET, Raw, UnsetType

from hubbub.door.client import DoorClient
from hubbub.door.codes import DoorClose, DoorCode, DoorError
from hubbub.door.commands import StreamPosition
from hubbub.door.namespaces import Override
from hubbub.errors import EngineError, Refused
from hubbub.events import encode
from hubbub.notices import Notices
from hubbub.tasks import Tasks

__all__ = ["CloseOrder", "EmptyOrder", "Hands", "Order", "Orders", "RefreshOrder", "SubscribeOrder", "UnsubscribeOrder"]

log = structlog.get_logger("hubbub.door")

ORDERED = "door_order"

# Connections of one user that are dealt with in one turn of the loop: those without a user are of one, and up to 200
# others may be told of each.
AT_ONCE = 10

Data = Raw | UnsetType


class UserOrder(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="order"):
    """An order to connections of a user.

    Attributes:
        client, session: those of the one that is meant; empty for all.
    """

    user: str
    client: str = ""
    session: str = ""

    def is_for(self, client: DoorClient, session: str) -> bool:
        """Whether a connection of the user is meant."""
        return self.client in ("", client.id) and self.session in ("", session)


class SubscribeOrder(UserOrder, kw_only=True, tag="subscribe"):
    """The connections are subscribed to a channel (`calls.SubscribeCall`)."""

    channel: str
    info: Data = UNSET
    data: Data = UNSET
    expire_at: int = 0
    since: StreamPosition | None = None
    override: Override | None = None


class UnsubscribeOrder(UserOrder, kw_only=True, tag="unsubscribe"):
    """They are unsubscribed from a channel; from all, without one."""

    channel: str = ""


class CloseOrder(UserOrder, kw_only=True, tag="close"):
    """They are closed, all but some."""

    code: int = DoorClose.FORCED
    reason: str = "force disconnect"
    whitelist: frozenset[str] = frozenset()

    def is_for(self, client: DoorClient, session: str) -> bool:
        return client.id not in self.whitelist and super().is_for(client, session)


class RefreshOrder(UserOrder, kw_only=True, tag="refresh"):
    """They last until another moment, or are over."""

    expired: bool = False
    expire_at: int = 0
    info: Data = UNSET


class EmptyOrder(msgspec.Struct, kw_only=True, tag="empty", tag_field="order"):
    """What was said in a channel up to a seq is gone from its log."""

    channel: str
    seq: int


Order = SubscribeOrder | UnsubscribeOrder | CloseOrder | RefreshOrder | EmptyOrder


class GivenOrder(msgspec.Struct):
    """An order, and the node that has given it."""

    node: str
    order: Order


decode_given = msgspec.json.Decoder(GivenOrder).decode


class Hands(Protocol):
    """What carries orders out on the connections of this process."""

    def clients_of(self, user: str) -> Iterable[DoorClient]:
        """The connections of a user."""
        ...

    def session_of(self, client: DoorClient) -> str:
        """The session of a connection's stream; empty for a WebSocket."""
        ...

    async def subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
        """Subscribe a connection, and tell it; one that is subscribed already is left as it is.

        Raises:
            Refused: it may not be in the channel.
            EngineError: the log cannot be read.
        """
        ...

    def unsubscribe(self, client: DoorClient, channel: str) -> None:
        """End a subscription, and tell the connection; without one nothing happens."""
        ...

    def close(self, client: DoorClient, code: int, reason: str) -> None:
        """Close a connection with a code as it is."""
        ...

    def refresh(self, client: DoorClient, order: RefreshOrder) -> None:
        """Have a connection last until another moment, and tell it."""
        ...

    def empty(self, channel: str, seq: int) -> None:
        """Forget what was said in a channel up to a seq."""
        ...


class Orders:
    """Gives orders, and carries out those of all nodes.

    Args:
        node: names this process.
        notices: tells all nodes.
    """

    def __init__(self, node: str, notices: Notices, hands: Hands) -> None:
        self._node = node
        self._notices = notices
        self._hands = hands
        self._tasks = Tasks()
        # The last order about each user that is being carried out for another node.
        self._last: dict[str, asyncio.Task[None]] = {}
        notices.on(ORDERED, self._hear)

    async def give(self, order: Order) -> None:
        """Have an order carried out: here before this returns, and elsewhere soon; some nodes may miss it."""
        self._notices.tell(ORDERED, encode(GivenOrder(self._node, order)))
        await self._carry_out(order)

    def _hear(self, payload: bytes) -> None:
        """Take the orders of other nodes."""
        try:
            given = decode_given(payload)
        except msgspec.DecodeError:
            return  # of a node of another version
        order = given.order
        if given.node == self._node:
            return
        if isinstance(order, EmptyOrder):
            self._hands.empty(order.channel, order.seq)
            return
        user = order.user
        task = self._last[user] = self._tasks.start(self._carry_out_after(self._last.get(user), order))
        task.add_done_callback(lambda done: self._forget(user, done))

    def _forget(self, user: str, done: asyncio.Task[None]) -> None:
        if self._last.get(user) is done:
            del self._last[user]

    async def _carry_out_after(self, earlier: asyncio.Task[None] | None, order: Order) -> None:
        """Carry an order out after the one before: who is unsubscribed may still be on the way in."""
        if earlier is not None:
            await asyncio.wait([earlier])
        await self._carry_out(order)

    async def _carry_out(self, order: Order) -> None:
        if isinstance(order, EmptyOrder):
            self._hands.empty(order.channel, order.seq)
            return
        for number, client in enumerate(list(self._meant(order)), 1):
            await self._carry_out_on(client, order)
            if not number % AT_ONCE:
                await asyncio.sleep(0)

    async def _carry_out_on(self, client: DoorClient, order: UserOrder) -> None:
        match order:
            case SubscribeOrder():
                await self._subscribe(client, order)
            case UnsubscribeOrder():
                for channel in [order.channel] if order.channel else list(client.subscriptions):
                    self._hands.unsubscribe(client, channel)
            case CloseOrder():
                self._hands.close(client, order.code, order.reason)
            case RefreshOrder() if order.expired:
                self._hands.close(client, DoorClose.EXPIRED, "connection expired")
            case RefreshOrder():
                self._hands.refresh(client, order)

    def _meant(self, order: UserOrder) -> Iterator[DoorClient]:
        hands = self._hands
        return (client for client in hands.clients_of(order.user) if order.is_for(client, hands.session_of(client)))

    async def _subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
        """Subscribe one of a user's connections; that it is refused to one keeps no other from it."""
        try:
            await self._hands.subscribe(client, order)
        except DoorError as error:
            if error.number is not DoorCode.ALREADY_SUBSCRIBED:
                log.warning("not subscribed", user=order.user, channel=order.channel, error=error.message)
        except (Refused, EngineError) as error:
            log.warning("not subscribed", user=order.user, channel=order.channel, error=str(error))
        except Exception:
            log.exception("not subscribed", user=order.user, channel=order.channel)  # a hook of the application failed
