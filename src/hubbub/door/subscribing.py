"""Subscriptions: what a client asks for, what the server decides for it, and their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import structlog

from hubbub.catchup import View
from hubbub.client import Participant
from hubbub.core import Core
from hubbub.door.arrivals import ChannelArrival, ChannelArrivals
from hubbub.door.calls import handler_for
from hubbub.door.channels import ChannelRules
from hubbub.door.client import DoorClient, Subscription
from hubbub.door.codes import DoorClose, DoorCode, DoorError, Unsubscribed
from hubbub.door.commands import (
    Empty,
    RefreshReply,
    RoomRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribePush,
    SubscribeReply,
    SubscribeRequest,
    UnsubscribePush,
)
from hubbub.door.crowd import DoorCrowd
from hubbub.door.expiry import seconds_left
from hubbub.door.namespaces import Namespace, Override
from hubbub.door.settings import DoorSettings
from hubbub.door.tokens import BadToken, DoorTokens, MisplacedToken, SubscriptionToken, TokenExpired, TokenSub
from hubbub.engine import Head
from hubbub.errors import ErrorCode, Refused
from hubbub.handlers import Handler

__all__ = ["NO_TOKEN", "Subscribing", "closing", "view_of"]

log = structlog.get_logger("hubbub.door")

# Of `SubscribeRequest.flag`: rather nothing than a subscription that has missed something.
MUST_RECOVER = 2
# Of `SubscribeRequest.type`; maps and polls are not to be had.
STREAM, MAPS, POLL = 0, (1, 2, 3), 4
DELTAS = ("", "fossil")

# What is told of the past in one answer, in bytes; the rest follows.
MAX_ANSWER_BYTES = 1 << 20

# The largest offset that may be asked for: that of a number in JavaScript.
MAX_OFFSET = (1 << 53) - 1

NO_TOKEN = SubscriptionToken()

# What there is no house rule against, for those whom the server subscribes to several channels at once.
NOT_LET_IN = frozenset({ErrorCode.FORBIDDEN, ErrorCode.NO_SUCH_ROOM})


class WantedSubscription(NamedTuple):
    """A subscription that a client is to have.

    Attributes:
        is_positioned, is_recoverable: what its answer says.
        since: where it has been heard up to, if what was missed since then is to be told.
        data: what the client is told with it, JSON; empty for nothing.
    """

    channel: str
    subscription: Subscription
    is_positioned: bool
    is_recoverable: bool
    since: StreamPosition | None
    data: bytes = b""


class Subscribing:
    """Subscribes clients, and ends their subscriptions (`core.Doorkeeper`).

    Args:
        note_expiry: is told of each subscription that ends at a moment, and of each such moment that is another now.

    Attributes:
        handlers: of the commands that concern it.
    """

    def __init__(
        self,
        core: Core,
        settings: DoorSettings,
        channels: ChannelRules,
        tokens: DoorTokens,
        crowd: DoorCrowd,
        note_expiry: Callable[[DoorClient, str], None],
    ) -> None:
        self._rooms = core.rooms
        self._arrivals = ChannelArrivals(core)
        self._wall = core.wall
        self._most = settings.channel_limit
        self._longest = settings.channel_max_length
        self._channels = channels
        self._tokens = tokens
        self._crowd = crowd
        self._note_expiry = note_expiry
        calls: dict[str, Callable[..., Any]] = {
            "subscribe": self.subscribe,
            "unsubscribe": self.unsubscribe,
            "sub_refresh": self.sub_refresh,
        }
        self.handlers: Mapping[str, Handler] = {name: handler_for(name, call) for name, call in calls.items()}

    # What clients ask for

    async def subscribe(self, request: SubscribeRequest, client: DoorClient) -> msgspec.Raw:
        """Subscribe a client to a channel, as it asks for."""
        channel = request.channel
        if not channel or request.delta not in DELTAS:
            raise closing(client, DoorClose.BAD_REQUEST)
        if request.type == POLL:
            raise DoorError(DoorCode.NOT_AVAILABLE, "there are no shared polls")
        if request.type not in (STREAM, *MAPS):
            raise DoorError(DoorCode.BAD_REQUEST, f"{request.type} is no type of a subscription; 0 is for a stream")
        self._check_place(client, channel)
        namespace = self._channels.namespace(channel)
        if request.type in MAPS:
            raise DoorError(DoorCode.PERMISSION_DENIED, f"{channel!r} is a stream, and no map")
        token = await self._read(request.token, client, channel) if request.token else NO_TOKEN
        self._channels.check_subscribe(client, channel, namespace, has_token=bool(request.token))
        if request.tf is not msgspec.UNSET and request.tf != b"null":
            raise DoorError(DoorCode.BAD_REQUEST, "there are no filters by tags")
        wish = self._wish(request, client, namespace, token)
        must_recover = bool(request.flag & MUST_RECOVER) and wish.since is not None
        async with self._arrived(client, wish) as arrival:
            reply = self._enter(client, wish, arrival, MAX_ANSWER_BYTES, must_recover=must_recover)
        reply.was_recovering = request.recover
        reply.expires, reply.ttl = self.time_left(wish.subscription)
        return client.dialect.result("subscribe", reply)

    def unsubscribe(self, request: RoomRequest, client: DoorClient) -> msgspec.Raw:
        """End a client's subscription; one that it does not have is ignored."""
        if not request.channel:
            raise closing(client, DoorClose.BAD_REQUEST)
        self._rooms.leave(client, request.channel)
        return client.dialect.result("unsubscribe", Empty())

    async def sub_refresh(self, request: SubRefreshRequest, client: DoorClient) -> msgspec.Raw:
        """Have a client's subscription go on by another token."""
        channel = request.channel
        subscription = client.subscriptions.get(channel)
        if not channel or (subscription is not None and subscription.is_server_side):
            raise closing(client, DoorClose.BAD_REQUEST)
        if subscription is None:
            raise DoorError(DoorCode.PERMISSION_DENIED, f"this client is not subscribed to {channel[:80]!r}")
        if not request.token:
            raise DoorError(DoorCode.BAD_REQUEST, "a subscription goes on by a token")
        try:
            token = await self._tokens.subscription(request.token, channel, client.user, client.id)
        except TokenExpired:
            raise closing(client, DoorClose.SUBSCRIPTION_EXPIRED) from None
        except BadToken:
            raise closing(client, DoorClose.INVALID_TOKEN) from None
        subscription.chan_info, subscription.expires_at = token.info, token.expires_at
        if client.subscriptions.get(channel) is subscription:
            self._note_expiry(client, channel)
        expires, ttl = self.time_left(subscription)
        return client.dialect.result("sub_refresh", RefreshReply(expires=expires, ttl=ttl))

    def _check_place(self, client: DoorClient, channel: str) -> None:
        """Refuse what is too long (107), what a client has already (105), and what is one too many (106)."""
        if len(channel) > self._longest:
            raise DoorError(DoorCode.BAD_REQUEST, f"a channel's name has at most {self._longest} characters")
        if channel in client.subscriptions:
            raise DoorError(DoorCode.ALREADY_SUBSCRIBED, f"this client is subscribed to {channel[:80]!r} already")
        if self._most and len(client.subscriptions) >= self._most:
            raise DoorError(DoorCode.LIMIT_EXCEEDED, f"a client has at most {self._most} subscriptions")

    async def _read(self, token: str, client: DoorClient, channel: str) -> SubscriptionToken:
        """Read a subscription token.

        Raises:
            DoorError: 109 for one that has expired, 103 for one that is not good; one for something else closes.
        """
        try:
            return await self._tokens.subscription(token, channel, client.user, client.id)
        except TokenExpired:
            raise DoorError(DoorCode.TOKEN_EXPIRED, "token expired") from None
        except MisplacedToken:
            raise closing(client, DoorClose.INVALID_TOKEN) from None
        except BadToken as error:
            log.debug("token refused", user=client.user, why=str(error))
            raise DoorError(DoorCode.PERMISSION_DENIED, "invalid token") from None

    def _wish(
        self, request: SubscribeRequest, client: DoorClient, namespace: Namespace, token: SubscriptionToken
    ) -> WantedSubscription:
        options, channels = namespace.overridden(token.override), self._channels
        is_recoverable = options.force_recovery or (request.recoverable and channels.may_recover(client, namespace))
        is_positioned = options.force_positioning or (request.positioned and channels.may_position(client, namespace))
        tells_joins = options.force_push_join_leave or (request.join_leave and channels.may_see_joins(client, options))
        subscription = Subscription(
            options,
            chan_info=token.info,
            expires_at=token.expires_at,
            tells_joins=options.join_leave and tells_joins,
        )
        since = StreamPosition(request.offset, request.epoch) if is_recoverable and request.recover else None
        return WantedSubscription(request.channel, subscription, is_positioned, is_recoverable, since, token.data)

    # What the server decides

    async def at_connect(
        self, client: DoorClient, subs: Mapping[str, TokenSub], places: Mapping[str, SubscribeRequest]
    ) -> dict[str, SubscribeReply]:
        """Subscribe a client that has just come to what its token names, and to its own channel.

        Nothing waits between the moment that it hears of anything there and the return.  What the house, or an
        `on_join` hook, keeps it out of is left out.

        Args:
            places: where it has been in those channels.

        Raises:
            Refused: a channel cannot be; or it enters too many.
            EngineError: one cannot be entered.
        """
        wishes = [self._server_side(channel, sub, places.get(channel)) for channel, sub in subs.items()]
        own = self._channels.personal(client.user)
        if own is not None and own not in subs:
            wishes.append(self._server_side(own, TokenSub(), places.get(own)))
        replies: dict[str, SubscribeReply] = {}
        if not wishes:
            return replies
        async with AsyncExitStack() as arrivals:
            arrived: list[tuple[WantedSubscription, ChannelArrival]] = []
            size = 0
            for wish in wishes:
                try:
                    arrival = await arrivals.enter_async_context(self._arrived(client, wish))
                except Refused as refused:
                    if refused.code not in NOT_LET_IN:
                        raise
                    log.debug("not subscribed", user=client.user, channel=wish.channel, message=refused.message)
                    continue
                if arrival.missed is not None:
                    size += sum(len(message.body) for message in arrival.missed.messages)
                    if size > MAX_ANSWER_BYTES:  # it is not kept until the last of them has come
                        arrival = arrival._replace(missed=arrival.missed.begun())
                arrived.append((wish, arrival))
            size = 0
            for wish, arrival in arrived:
                if wish.channel in client.subscriptions:
                    continue  # a hook has been faster
                reply = self._enter(client, wish, arrival, max(0, MAX_ANSWER_BYTES - size))
                reply.was_recovering = wish.channel in places and places[wish.channel].recover
                size += 0 if reply.publications is msgspec.UNSET else len(bytes(reply.publications))
                replies[wish.channel] = reply
        return replies

    async def put_in(
        self,
        client: Participant,
        room: str,
        *,
        chan_info: bytes = b"",
        data: bytes = b"",
        since: StreamPosition | None = None,
        expires_at: float | None = None,
        override: Override | None = None,
    ) -> None:
        """Subscribe a client to a channel, for the application or the server API; it is told.

        Args:
            since: where it has heard the channel up to; what was said since then follows.

        Raises:
            Refused: it may not be there, is there already, or is in too many.
            EngineError: the channel cannot be entered.
        """
        assert isinstance(client, DoorClient)
        self._check_place(client, room)
        place = None if since is None else SubscribeRequest(recover=True, offset=since.offset, epoch=since.epoch)
        wish = self._server_side(room, TokenSub(chan_info, data, override), place)
        wish.subscription.expires_at = expires_at
        async with self._arrived(client, wish) as arrival:
            if not client.is_connected:
                return
            reply = self._enter(client, wish, arrival, 0)
            push = SubscribePush(reply.recoverable, reply.epoch, reply.offset, reply.positioned, reply.data)
            client.push(room, "subscribe", push)

    def _server_side(self, channel: str, sub: TokenSub, place: SubscribeRequest | None) -> WantedSubscription:
        """What the server gives a client.

        Raises:
            DoorError: there is no such channel.
        """
        options = self._channels.namespace(channel).overridden(sub.override)
        subscription = Subscription(
            options,
            chan_info=sub.info,
            is_server_side=True,
            tells_joins=options.join_leave and options.force_push_join_leave,
        )
        since = None
        if options.force_recovery and place is not None and place.recover:
            since = StreamPosition(place.offset, place.epoch)
        return WantedSubscription(
            channel, subscription, options.force_positioning, options.force_recovery, since, sub.data
        )

    # Entering

    @asynccontextmanager
    async def _arrived(self, client: DoorClient, wish: WantedSubscription) -> AsyncIterator[ChannelArrival]:
        """Bring a client to the channel that it is to be in; in the block it may enter.

        Raises:
            Refused: it may not.
            EngineError: the channel cannot be entered.
        """
        channel, subscription = wish.channel, wish.subscription
        if subscription.tells_joins:
            await self._crowd.listen(channel)
        try:
            since = head_of(wish.since) if subscription.namespace.has_history else None
            arrival = await self._arrivals.arrive(client, channel, since)
            try:
                yield arrival
            finally:
                self._rooms.end_arrival(arrival.room)
        finally:
            if subscription.tells_joins and client.subscriptions.get(channel) is not subscription:
                self._crowd.unlisten(channel)

    def _enter(
        self,
        client: DoorClient,
        wish: WantedSubscription,
        arrival: ChannelArrival,
        most: int,
        *,
        must_recover: bool = False,
    ) -> SubscribeReply:
        """Subscribe a client that has arrived; what it is answered.  Nothing waits.

        Args:
            most: bytes of the past in the answer.

        Raises:
            Refused: it may not be there any more; or 112 for what has to be recovered, and cannot be.
        """
        channel, subscription = wish.channel, wish.subscription
        self._check_place(client, channel)  # others may have been faster
        caught = self._arrivals.look_back(client, arrival, self._view(subscription.namespace), most)
        if must_recover and not caught.is_recovered:
            raise DoorError(DoorCode.UNRECOVERABLE_POSITION, "unrecoverable position")
        if client.is_connected:
            client.subscriptions[channel] = subscription
            try:
                self._arrivals.enter(client, arrival, caught)
            except BaseException:
                client.subscriptions.pop(channel, None)
                raise
            self._note_expiry(client, channel)
        if wish.since is not None:
            self._rooms.count_recovery(is_recovered=caught.is_recovered)
        reply = SubscribeReply(recoverable=wish.is_recoverable, positioned=wish.is_positioned or wish.is_recoverable)
        if wish.data:
            reply.data = msgspec.Raw(wish.data)
        if reply.positioned:
            reply.epoch = caught.epoch
            reply.offset = caught.heard if subscription.namespace.has_history else 0
        if caught.is_recovered and wish.since is not None:
            reply.recovered, reply.offset = True, wish.since.offset
            if caught.messages != client.dialect.array(()):
                reply.publications = msgspec.Raw(caught.messages)
        return reply

    def _view(self, namespace: Namespace) -> View:
        return view_of(namespace, self._wall())

    def time_left(self, subscription: Subscription) -> tuple[bool, int]:
        """Whether a subscription has to be refreshed, and in how many seconds."""
        if subscription.expires_at is None:
            return False, 0
        return True, seconds_left(subscription.expires_at, self._wall())

    # Its end

    def put_out(
        self,
        client: Participant,
        room: str,
        code: int = Unsubscribed.SERVER,
        reason: str = "server unsubscribe",
    ) -> None:
        """End a client's subscription, if it has one, and tell it."""
        assert isinstance(client, DoorClient)
        if room in client.subscriptions:
            self._rooms.leave(client, room)
            client.push(room, "unsubscribe", UnsubscribePush(code, reason))

    def end(self, client: DoorClient, channel: str) -> None:
        """End a subscription that was not refreshed in time."""
        self.put_out(client, channel, Unsubscribed.EXPIRED, "subscription expired")


def closing(client: DoorClient, code: DoorClose) -> DoorError:
    """Close a client's connection; what its command then ends with, which it does not hear any more."""
    reason = REASONS[code]
    client.close(code, reason)
    return DoorError(DoorCode.BAD_REQUEST, reason)


REASONS: Mapping[DoorClose, str] = {
    DoorClose.BAD_REQUEST: "bad request",
    DoorClose.INVALID_TOKEN: "invalid token",
    DoorClose.SUBSCRIPTION_EXPIRED: "subscription expired",
    DoorClose.NOT_AVAILABLE: "not available",
}


def head_of(place: StreamPosition | None) -> Head | None:
    """A place as the log knows it; None for none, and for one that no log ever comes to."""
    if place is None or not 0 <= place.offset <= MAX_OFFSET:
        return None
    return Head(place.epoch, place.offset)


def view_of(namespace: Namespace, now: float) -> View:
    """How far back clients may look in the channels of a namespace.

    Args:
        now: in seconds since 1970.
    """
    size, ttl = namespace.history_size, namespace.history_ttl
    return View(size or 0, (now - (ttl or 0.0)) * 1000)
