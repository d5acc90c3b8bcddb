"""What tokens of the door say, each claim of its kind and within its bounds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from hubbub.door.namespaces import Override
from hubbub.jws import BadToken
from hubbub.signing_in import MAX_INFO_BYTES

__all__ = [
    "Claims",
    "ConnectionClaims",
    "TokenSub",
    "decode_connection",
    "decode_subscription",
    "read_claims",
    "read_info",
    "read_sub",
]

# Objects and lists within each other, in what a token says for others to read.
MAX_DEPTH = 32


class TokenSub(NamedTuple):
    """A channel that a connection token subscribes its user to.

    Attributes:
        info: what is told of the client there, JSON; empty for nothing.
        data: what the client is told with its subscription, JSON; empty for nothing.
    """

    info: bytes = b""
    data: bytes = b""
    override: Override | None = None


class YesOrNo(msgspec.Struct, frozen=True):
    """Yes or no."""

    value: bool = False


class OverrideClaim(msgspec.Struct, frozen=True):
    """The claim `override`."""

    presence: YesOrNo | None = None
    join_leave: YesOrNo | None = None
    force_push_join_leave: YesOrNo | None = None
    force_positioning: YesOrNo | None = None
    force_recovery: YesOrNo | None = None


class SubClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a subscription."""

    info: Raw = Raw()
    b64info: str = ""
    data: Raw = Raw()
    b64data: str = ""
    override: OverrideClaim | None = None


class ConnectionClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a connection token."""

    sub: str | None = None
    channel: str | None = None
    exp: Any = None
    nbf: Any = None
    expire_at: int | None = None
    aud: Any = None
    iss: Any = None
    info: Raw = Raw()
    b64info: str = ""
    meta: Raw = Raw()
    channels: list[str] | None = None
    subs: dict[str, SubClaims] | None = None


class SubscriptionClaims(SubClaims, frozen=True, kw_only=True):
    """The claims of a subscription token."""

    sub: str | None = None
    channel: str | None = None
    client: str | None = None
    exp: Any = None
    nbf: Any = None
    expire_at: int | None = None
    aud: Any = None
    iss: Any = None


Claims = ConnectionClaims | SubscriptionClaims

decode_connection = msgspec.json.Decoder(ConnectionClaims).decode
decode_subscription = msgspec.json.Decoder(SubscriptionClaims).decode
decode_any = msgspec.json.Decoder().decode


# Reading


T = TypeVar("T")


def read_claims(decode: Callable[[bytes], T], payload: bytes) -> T:
    """The claims of a token, each of its kind."""
    try:
        return decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadToken(f"its claims: {error}") from None


def read_sub(claims: SubClaims) -> TokenSub:
    """What is said of a subscription."""
    said = claims.override
    override = None
    if said is not None:
        named = {name: getattr(said, name) for name in said.__struct_fields__}
        override = Override(**{name: each.value for name, each in named.items() if each is not None})
    return TokenSub(
        read_info(claims.info, claims.b64info, "info"), read_info(claims.data, claims.b64data, "data"), override
    )


def read_info(raw: Raw, in_base64: str, name: str) -> bytes:
    """What a token has for others to read: JSON in one line, as it goes on between others' members."""
    try:
        text = base64.b64decode(in_base64, validate=True) if in_base64 else bytes(raw)
        if not text or text == b"null":
            return b""
        if len(text) > MAX_INFO_BYTES:
            raise BadToken(f"its `{name}` has more than {MAX_INFO_BYTES} bytes")
        value = decode_any(text)
        if is_deep(value):
            raise BadToken(f"its `{name}` has more than {MAX_DEPTH} objects or lists within each other")
        return msgspec.json.format(text, indent=-1)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BadToken(f"its `{name}` is no JSON") from None


def is_deep(value: object) -> bool:
    """Whether objects and lists are in each other more than `MAX_DEPTH` times."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        if not inner:
            return False
        level = inner
    return True
