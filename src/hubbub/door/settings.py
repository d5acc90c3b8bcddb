"""What is configured of the door, once it was read."""

from __future__ import annotations

import msgspec

from hubbub.door.namespaces import Namespaces
from hubbub.door.patterns import Expression

__all__ = ["ChannelSettings", "DoorSettings", "Hidden", "PersonalChannel", "TokenSettings"]


class Hidden(str):
    """A text that is shown to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'" if self else "''"


class TokenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens are believed, and what they have to say.

    Attributes:
        rsa_public_key, ecdsa_public_key: in PEM.
        hmac_previous_until: seconds since 1970 until which the previous secret is good; 0 for ever.
        user_id_claim: the claim that names the user; empty for `sub`.
    """

    hmac_secret_key: Hidden = Hidden()
    hmac_previous_secret_key: Hidden = Hidden()
    hmac_previous_until: int = 0
    rsa_public_key: str = ""
    ecdsa_public_key: str = ""
    jwks_public_endpoint: str = ""
    audience: str = ""
    audience_regex: Expression | None = None
    issuer: str = ""
    issuer_regex: Expression | None = None
    user_id_claim: str = ""

    @property
    def has_keys(self) -> bool:
        """Whether any token can be good."""
        return bool(self.hmac_secret_key or self.rsa_public_key or self.ecdsa_public_key or self.jwks_public_endpoint)


class PersonalChannel(msgspec.Struct, frozen=True, kw_only=True):
    """The channel of a user's own, to which its connections are subscribed by themselves."""

    enabled: bool = False
    personal_channel_namespace: str = ""


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the names of channels mean."""

    max_length: int = 255
    private_prefix: str = "$"
    namespace_boundary: str = ":"
    user_boundary: str = "#"
    user_separator: str = ","


class DoorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is configured of the door.

    Attributes:
        tokens, subscription_tokens: the same, unless subscriptions have their own.
        allowed_origins: as Centrifugo writes them: origins, with `*` for any part of a host, or `*` alone for any.
        allow_anonymous: whether one may connect without a token.
        insecure: whether nobody needs a token, and everybody may do everything.
        channel_limit: channels that one connection may be in; 0 is no limit.
        user_connection_limit: connections of one user to one process; 0 is no limit.
        stale_close_delay: seconds within which a connection has to send `connect`.
        expired_close_delay, expired_sub_close_delay: seconds that are left after its time, to refresh it.
        api: whether there is a server API for the key.
        api_key: of the server API; empty where nobody has one.
        api_insecure: whether the server API needs no key.
        websocket, http_stream, sse: which transports there are.
        warnings: lines for the operator, one for each thing that will not be as Centrifugo's documentation has it.
    """

    tokens: TokenSettings = TokenSettings()
    subscription_tokens: TokenSettings = TokenSettings()
    namespaces: Namespaces = msgspec.field(default_factory=Namespaces)
    channel: ChannelSettings = ChannelSettings()
    allowed_origins: tuple[str, ...] = ()
    allow_anonymous: bool = False
    disallow_anonymous_tokens: bool = False
    insecure: bool = False
    personal: PersonalChannel = PersonalChannel()
    api: bool = True
    api_key: Hidden = Hidden()
    api_insecure: bool = False
    websocket: bool = True
    http_stream: bool = False
    sse: bool = False
    channel_limit: int = 128
    user_connection_limit: int = 0
    stale_close_delay: float = 10.0
    expired_close_delay: float = 25.0
    expired_sub_close_delay: float = 25.0
    warnings: tuple[str, ...] = ()

    @property
    def channel_max_length(self) -> int:
        """Characters in a channel's name."""
        return self.channel.max_length

    @property
    def lets_everybody_in(self) -> bool:
        """Whether it is only for those on this machine."""
        return self.insecure or self.api_insecure
