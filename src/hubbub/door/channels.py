"""What is a channel, and what its namespace lets a client do there, in the order in which Centrifugo asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from hubbub.door.codes import DoorCode, DoorError
from hubbub.door.namespaces import Namespace
from hubbub.door.settings import DoorSettings
from hubbub.naming import DM

__all__ = ["ChannelRules", "Subscriber"]

# Names of channels that were found good, which clients choose: the limit keeps them within about a megabyte.
MAX_KNOWN = 4096
# Characters of a name that an answer repeats.
SHOWN_CHARS = 80

_printable = re.compile(r"[!-~]+")


class Subscriber(Protocol):
    """Who asks: a connection's user, empty for an anonymous one, and the channels that it is subscribed to."""

    @property
    def user(self) -> str: ...

    @property
    def subscriptions(self) -> Mapping[str, Any]: ...


class ChannelRules:
    """The rules of channels."""

    def __init__(self, settings: DoorSettings) -> None:
        self._namespaces = settings.namespaces
        self._names = settings.channel
        self._personal = settings.personal
        self._is_insecure = settings.insecure
        self._known: dict[str, Namespace] = {}

    def namespace(self, channel: str) -> Namespace:
        """The options of a channel.

        Raises:
            DoorError: 102 where nobody has said what its namespace is, 107 where this is no name of a channel.
        """
        found = self._known.get(channel)
        if found is None:
            found = self._look_up(channel)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[channel] = found
        return found

    def _look_up(self, channel: str) -> Namespace:
        if len(channel) > self._names.max_length:
            raise DoorError(DoorCode.BAD_REQUEST, f"a channel's name has at most {self._names.max_length} characters")
        namespace, rest = self._namespaces.split(channel)
        # A room of two is for its two users alone, and users of the door may choose their names.
        if namespace is None or not channel or channel.startswith(DM):
            raise DoorError(DoorCode.UNKNOWN_CHANNEL, f"{channel[:SHOWN_CHARS]!r}: there is no such namespace")
        if not _printable.fullmatch(channel):
            raise DoorError(
                DoorCode.BAD_REQUEST, f"{channel[:SHOWN_CHARS]!r} has other characters than ! to ~ of ASCII"
            )
        if namespace.channel_regex is not None and not namespace.channel_regex.is_in(rest):
            raise DoorError(DoorCode.BAD_REQUEST, f"{channel[:SHOWN_CHARS]!r} is not as channel_regex wants it")
        return namespace

    def personal(self, user: str) -> str | None:
        """The channel of a user's own; None where there is none."""
        if not self._personal.enabled or not user:
            return None
        name = self._personal.personal_channel_namespace
        boundary = self._names.namespace_boundary if name else ""
        return f"{name}{boundary}{self._names.user_boundary}{user}"

    # Subscribing

    def check_subscribe(self, client: Subscriber, channel: str, namespace: Namespace, *, has_token: bool) -> None:
        """Refuse a subscription that the namespace does not allow.

        Args:
            has_token: a subscription token came with it, which is for this channel and user.

        Raises:
            DoorError: 103.
        """
        if not has_token and not self.may_subscribe(client, channel, namespace):
            raise DoorError(DoorCode.PERMISSION_DENIED, f"{channel!r} takes a token: see allow_subscribe_for_client")

    def may_subscribe(self, client: Subscriber, channel: str, namespace: Namespace) -> bool:
        """Whether a client may subscribe without a token."""
        if self._is_private(channel):
            return False
        if self._is_insecure:
            return True
        if namespace.allow_user_limited_channels and self._is_user_limited(channel):
            return self._names_user(channel, client.user)
        return namespace.allow_subscribe_for_client and bool(client.user or namespace.allow_subscribe_for_anonymous)

    def _is_private(self, channel: str) -> bool:
        return bool(self._names.private_prefix) and channel.startswith(self._names.private_prefix)

    def _is_user_limited(self, channel: str) -> bool:
        return bool(self._names.user_boundary) and self._names.user_boundary in channel

    def _names_user(self, channel: str, user: str) -> bool:
        """Whether a user is one of those whom a channel is named after; nobody is where its name ends with none."""
        named = channel.rpartition(self._names.user_boundary)[2]
        users = named.split(self._names.user_separator) if self._names.user_separator else [named]
        return bool(user) and user in users

    # What a subscription may ask for, once it is allowed

    def may_position(self, client: Subscriber, namespace: Namespace) -> bool:
        """Whether one that asks to be told its position is."""
        return namespace.allow_positioning or self._may_read(client, namespace, is_subscribed=True)

    def may_recover(self, client: Subscriber, namespace: Namespace) -> bool:
        """Whether one that asks for what it has missed gets it."""
        return namespace.allow_recovery or self._may_read(client, namespace, is_subscribed=True)

    def may_see_joins(self, client: Subscriber, namespace: Namespace) -> bool:
        """Whether one that asks to be told who comes and goes is."""
        return namespace.join_leave and self._may_see(client, namespace, is_subscribed=True)

    # Asking

    def check_publish(self, client: Subscriber, channel: str, namespace: Namespace) -> None:
        """Refuse (103) a publication that the namespace does not allow."""
        if self._is_insecure or (
            (client.user or namespace.allow_publish_for_anonymous)
            and (
                namespace.allow_publish_for_client
                or (namespace.allow_publish_for_subscriber and channel in client.subscriptions)
            )
        ):
            return
        raise DoorError(DoorCode.PERMISSION_DENIED, f"may not publish in {channel!r}: see allow_publish_for_...")

    def check_history(self, client: Subscriber, channel: str, namespace: Namespace) -> None:
        """Refuse a look at the history where there is none (108), or that the namespace does not allow (103)."""
        if not namespace.has_history:
            raise DoorError(DoorCode.NOT_AVAILABLE, f"{channel!r} has no history: history_size and history_ttl are off")
        if not self._may_read(client, namespace, is_subscribed=channel in client.subscriptions):
            raise DoorError(DoorCode.PERMISSION_DENIED, f"may not read {channel!r}: see allow_history_for_...")

    def check_presence(self, client: Subscriber, channel: str, namespace: Namespace) -> None:
        """Refuse a look at who is there where that is not known (108), or not allowed (103)."""
        if not namespace.presence:
            raise DoorError(DoorCode.NOT_AVAILABLE, f"{channel!r} has no presence: the option presence is off")
        if not self._may_see(client, namespace, is_subscribed=channel in client.subscriptions):
            raise DoorError(
                DoorCode.PERMISSION_DENIED, f"may not see who is in {channel!r}: see allow_presence_for_..."
            )

    def _may_read(self, client: Subscriber, namespace: Namespace, *, is_subscribed: bool) -> bool:
        return self._is_insecure or (
            bool(client.user or namespace.allow_history_for_anonymous)
            and (namespace.allow_history_for_client or (namespace.allow_history_for_subscriber and is_subscribed))
        )

    def _may_see(self, client: Subscriber, namespace: Namespace, *, is_subscribed: bool) -> bool:
        return self._is_insecure or (
            bool(client.user or namespace.allow_presence_for_anonymous)
            and (namespace.allow_presence_for_client or (namespace.allow_presence_for_subscriber and is_subscribed))
        )
