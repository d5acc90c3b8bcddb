"""What back ends ask of the server API besides what any program with a key may: the fields of each method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from hubbub.door.commands import StreamPosition
from hubbub.door.namespaces import Override

__all__ = [
    "ChannelCall",
    "ChannelsCall",
    "ConnectionCall",
    "CustomClose",
    "ForcedCloseCall",
    "RefreshCall",
    "RpcCall",
    "SubscribeCall",
    "UnsubscribeCall",
    "lenient",
]

Data = Raw | UnsetType

F = TypeVar("F")

NULL = Raw(b"null")
# Fields in which null is a value like others.
ANY_JSON = frozenset({"data", "info", "params"})

read_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class ChannelCall(msgspec.Struct, kw_only=True):
    """Asks for something of a channel."""

    channel: str = ""


class ChannelsCall(msgspec.Struct, kw_only=True):
    """Asks for the channels that somebody is in.

    Attributes:
        pattern: of their names (`globs.Glob`); empty for all.
    """

    pattern: str = ""


class ConnectionCall(msgspec.Struct, kw_only=True):
    """Asks for something to be done with a user's connections.

    Attributes:
        user: its id; empty for those that are nobody's.
        client: the id of the one connection that is meant; empty for all.
        session: the same, by the session of the stream.
    """

    user: str = ""
    client: str = ""
    session: str = ""


class SwitchedOption(msgspec.Struct):
    """An option that is overridden."""

    value: bool = False


class Overridden(msgspec.Struct, kw_only=True):
    """Options that are others for one subscription than for its namespace."""

    presence: SwitchedOption | None = None
    join_leave: SwitchedOption | None = None
    force_push_join_leave: SwitchedOption | None = None
    force_positioning: SwitchedOption | None = None
    force_recovery: SwitchedOption | None = None

    def override(self) -> Override:
        """The same, as namespaces have it."""
        switched = {name: getattr(self, name) for name in self.__struct_fields__}
        return Override(**{name: option.value for name, option in switched.items() if option is not None})


class SubscribeCall(ConnectionCall, kw_only=True):
    """Subscribes a user's connections.

    Attributes:
        info: what others in the channel are told of them; `b64info` is the same in base64.
        data: what they are told with the subscription; `b64data` is the same in base64.
        expire_at: seconds since 1970; 0 for never.
        recover_since: where they go on from.
    """

    channel: str = ""
    info: Data = UNSET
    b64info: str = ""
    data: Data = UNSET
    b64data: str = ""
    expire_at: int = 0
    recover_since: StreamPosition | None = None
    override: Overridden | None = None


class UnsubscribeCall(ConnectionCall, kw_only=True):
    """Ends a user's subscriptions: that to one channel, or without one all of them."""

    channel: str = ""


class CustomClose(msgspec.Struct, kw_only=True):
    """What a connection is closed with."""

    code: int = 0
    reason: str = ""


class ForcedCloseCall(ConnectionCall, kw_only=True):
    """Closes a user's connections.

    Attributes:
        whitelist: ids of connections that stay.
        disconnect: what they are closed with; None for 3503, after which they stay away.
    """

    whitelist: list[str] = []
    disconnect: CustomClose | None = None


class RefreshCall(ConnectionCall, kw_only=True):
    """Has a user's connections last longer, or end.

    Attributes:
        expired: they end now.
        expire_at: seconds since 1970; 0 for never.
        info: what others are told of them from now on.
    """

    expired: bool = False
    expire_at: int = 0
    info: Data = UNSET


class RpcCall(msgspec.Struct, kw_only=True):
    """Calls an extension of the server, of which there are none."""

    method: str = ""
    params: Data = UNSET


def lenient(fields: type[F]) -> Callable[[bytes], F]:
    """What reads the fields of a method as Centrifugo does: null stands for a field that is not there."""
    decode = msgspec.json.Decoder(fields).decode

    def read(body: bytes) -> F:
        try:
            return decode(body)
        except msgspec.ValidationError:
            given = read_fields(body)
            said = {name: value for name, value in given.items() if name in ANY_JSON or value != NULL}
            if len(said) == len(given):
                raise
            return decode(msgspec.json.encode(said))

    return read
