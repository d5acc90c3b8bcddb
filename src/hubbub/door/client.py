"""A client of the door: one connection that has said who it is, with its subscriptions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hubbub.budgets import Purses
from hubbub.client import Frame, Participant
from hubbub.door.dialect import DoorDialect
from hubbub.door.namespaces import Namespace
from hubbub.engine import Grant
from hubbub.handlers import Handler
from hubbub.policy import Rate

__all__ = ["DoorClient", "Subscription", "new_id"]


class Subscription:
    """What a client has subscribed to, or is about to.

    Attributes:
        namespace: the options of its channel.
        chan_info: what is told of the client in this channel: JSON; empty for nothing.
        expires_at: seconds since 1970; None for never.
        is_server_side: the server has subscribed the client.
        tells_joins: the client is told who comes and goes.
    """

    __slots__ = ("chan_info", "expires_at", "is_server_side", "namespace", "tells_joins")

    def __init__(
        self,
        namespace: Namespace,
        *,
        chan_info: bytes = b"",
        expires_at: float | None = None,
        is_server_side: bool = False,
        tells_joins: bool = False,
    ) -> None:
        self.namespace = namespace
        self.chan_info = chan_info
        self.expires_at = expires_at
        self.is_server_side = is_server_side
        self.tells_joins = tells_joins


class DoorClient(Participant):
    """A connection that has said who it is.

    Attributes:
        id: names the connection; others see it.
        conn_info: what is told of its user wherever it is: JSON; empty for nothing.
        expires_at: when it has to be refreshed, in seconds since 1970; None for never.
        handlers: what its commands are handled by (`Dispatch` looks here first).
        subscriptions: by channel.
    """

    __slots__ = ("conn_info", "expires_at", "handlers", "id", "subscriptions")

    dialect: DoorDialect
    uses_channels = True

    def __init__(
        self,
        user: str,
        session: str,
        dialect: DoorDialect,
        frame: Frame,
        handlers: Mapping[str, Handler],
        *,
        id_: str,
        conn_info: bytes = b"",
        expires_at: float | None = None,
        rate: Rate | None = None,
        purses: Purses = (),
        address: str = "",
        terms: Grant | None = None,
    ) -> None:
        super().__init__(user, session, dialect, frame, rate=rate, purses=purses, address=address, terms=terms)
        self.id = id_
        self.conn_info = conn_info
        self.expires_at = expires_at
        self.handlers: Mapping[str, Handler] = handlers
        self.subscriptions: dict[str, Subscription] = {}

    def push(self, channel: str, name: str, push: Any) -> None:
        """Tell the client something: `join`, `unsubscribe` and the like; without a channel, of the connection."""
        self.write_text(self.dialect.push(channel, name, push))


def new_id() -> str:
    """A random UUID (RFC 9562, version 4).  The library's costs five times as much, and each connection has one."""
    digits = os.urandom(16).hex()
    variant = VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


# The two bits that say which kind of UUID this is, before two random ones.
VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
