"""Namespaces: what Centrifugo's options say of the channels whose names begin with one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

from hubbub.door.patterns import Expression

__all__ = ["Namespace", "Namespaces", "Override"]

# Channels whose namespace is remembered, since each publication asks: about a megabyte of the longest names.
MAX_KNOWN = 4096


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """What a token, or the server API, says of one subscription instead of its namespace; None says nothing."""

    presence: bool | None = None
    join_leave: bool | None = None
    force_push_join_leave: bool | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """The options of some channels, by Centrifugo's names; the defaults are Centrifugo's, too.

    Attributes:
        name: what the channels' names begin with, before the boundary; empty for those of no namespace.
        history_size: the newest publications that recovery and history reach; None where nothing is set, and 0 where it
            is set to none.
        history_ttl: seconds for which they reach one.
        channel_regex: what the rest of a channel's name has to match; None for anything.
    """

    name: str = ""
    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    history_size: int | None = None
    history_ttl: float | None = None
    force_positioning: bool = False
    allow_positioning: bool = False
    force_recovery: bool = False
    allow_recovery: bool = False
    allow_subscribe_for_client: bool = False
    allow_subscribe_for_anonymous: bool = False
    allow_publish_for_client: bool = False
    allow_publish_for_subscriber: bool = False
    allow_publish_for_anonymous: bool = False
    allow_presence_for_client: bool = False
    allow_presence_for_subscriber: bool = False
    allow_presence_for_anonymous: bool = False
    allow_history_for_client: bool = False
    allow_history_for_subscriber: bool = False
    allow_history_for_anonymous: bool = False
    allow_user_limited_channels: bool = False
    channel_regex: Expression | None = None

    @property
    def has_history(self) -> bool:
        """Whether anything can be recovered or listed; publications have offsets only where it can."""
        return bool(self.history_size and self.history_ttl)

    @property
    def keeps(self) -> bool:
        """Whether publications go into the log: they do, unless the size of the history is set to 0."""
        return self.history_size != 0

    def overridden(self, override: Override | None) -> Self:
        """The options of one subscription."""
        if override is None:
            return self
        said = {name: value for name, value in msgspec.structs.asdict(override).items() if value is not None}
        return msgspec.structs.replace(self, **said) if said else self


class Namespaces:
    """The namespaces by name.

    Args:
        without: the options of channels of no namespace.
        named: the others.
        boundary: what ends the name of a namespace; empty for no namespaces at all.
        private_prefix: what a private channel's name begins with, before that of its namespace; empty for no such.
    """

    def __init__(
        self,
        without: Namespace | None = None,
        named: Iterable[Namespace] = (),
        *,
        boundary: str = ":",
        private_prefix: str = "$",
    ) -> None:
        self.without = without or Namespace()
        self.named = {each.name: each for each in named}
        self.boundary = boundary
        self.private_prefix = private_prefix
        self._known: dict[str, Namespace | None] = {}

    def __repr__(self) -> str:
        return f"Namespaces({self.without!r}, {list(self.named.values())!r})"

    def of(self, channel: str) -> Namespace | None:
        """The options of a channel; None where nobody has said what its namespace is."""
        known = self._known
        if channel not in known:
            if len(known) >= MAX_KNOWN:
                known.clear()
            known[channel] = self.split(channel)[0]
        return known[channel]

    def split(self, channel: str) -> tuple[Namespace | None, str]:
        """The options of a channel, and the part of its name that is its own."""
        if not self.boundary or self.boundary not in channel:
            return self.without, channel
        name, boundary, rest = channel.removeprefix(self.private_prefix).partition(self.boundary)
        if not boundary or not name:
            return (self.without, rest if boundary else channel)
        return self.named.get(name), rest
