"""The tokens of the door: what lets a connection in, and what lets it subscribe (JSON Web Tokens, RFC 7519).

Claims and their rules are Centrifugo's; how one is signed is said by the configuration alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hubbub.door.claims import (
    Claims,
    ConnectionClaims,
    TokenSub,
    decode_connection,
    decode_subscription,
    read_claims,
    read_info,
    read_sub,
)
from hubbub.door.namespaces import Override
from hubbub.door.settings import DoorSettings, TokenSettings
from hubbub.errors import ErrorCode, Refused
from hubbub.jws import BadToken, Signed, decode_claims, is_for, moment, payload_by, read_signed
from hubbub.naming import check_outside_name
from hubbub.otp import digest
from hubbub.signers import Key, KeyUrl, Signers, read_pem, wide_key
from hubbub.tokens import LEEWAY_S

__all__ = [
    "BadToken",
    "ConnectionToken",
    "DoorTokens",
    "MisplacedToken",
    "SubscriptionToken",
    "TokenExpired",
    "TokenSub",
    "keys_of",
    "secret_keys",
]

HMACS = ("HS256", "HS384", "HS512")

# A token may name channels, so that it may be longer than one that only signs in.
MAX_TOKEN_CHARS = 32 * 1024
# Of the channels that one names, where the connection may have any number.
MAX_CHANNELS = 1000


class TokenExpired(Exception):
    """A token was good, or will be: the client gets another one and comes back (109)."""


class MisplacedToken(BadToken):
    """A subscription token is good for another user, channel or connection (3500)."""


class ConnectionToken(NamedTuple):
    """What a connection token says.

    Attributes:
        user: empty for an anonymous one.
        session: names the token, and tells nobody what it is.
        info: what is told of the client everywhere, JSON; empty for nothing.
        expires_at: when the connection has to be refreshed, in seconds since 1970; None for never.
        subs: the channels that it is subscribed to.
        meta: what the application alone is told, JSON; empty for nothing.
    """

    user: str
    session: str
    info: bytes = b""
    expires_at: float | None = None
    subs: Mapping[str, TokenSub] = {}
    meta: bytes = b""


class SubscriptionToken(NamedTuple):
    """What a subscription token says; see `TokenSub` and `ConnectionToken`."""

    info: bytes = b""
    data: bytes = b""
    expires_at: float | None = None
    override: Override | None = None


class DoorTokens:
    """Reads tokens.

    Args:
        wall: seconds since 1970.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: DoorSettings,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._most_channels = settings.channel_limit or MAX_CHANNELS
        # Where nobody needs a token, one that ends does not end anything.
        self._is_insecure = settings.insecure
        self._allows_anonymous = not settings.disallow_anonymous_tokens
        self._connections = Believed(settings.tokens, wall, clock)
        self._subscriptions = self._connections
        if settings.subscription_tokens != settings.tokens:
            self._subscriptions = Believed(settings.subscription_tokens, wall, clock)

    async def connection(self, token: str) -> ConnectionToken:
        """What a connection token says, for `connect` and `refresh`.

        Raises:
            TokenExpired: its time is over, or has not come.
            BadToken: it is none, or not signed by anybody who is believed.
            Refused: `unavailable` where the keys cannot be loaded.
        """
        payload = await self._connections.payload(token)
        claims = read_claims(decode_connection, payload)
        self._connections.check(claims)
        if claims.channel:
            raise BadToken("it has a `channel`: it is for a subscription")
        expires_at = self._check_times(claims)
        user = self._connections.user(claims, payload)
        if not user and not self._allows_anonymous:
            raise BadToken("it names no user, and client.disallow_anonymous_connection_tokens is on")
        return ConnectionToken(
            user,
            digest(token.rpartition(".")[0]),
            read_info(claims.info, claims.b64info, "info"),
            None if self._is_insecure else expires_at,
            self._subs(claims),
            read_info(claims.meta, "", "meta"),
        )

    async def subscription(self, token: str, channel: str, user: str, client: str = "") -> SubscriptionToken:
        """What a token says of a subscription of a user to a channel, for `subscribe` and `sub_refresh`.

        Args:
            client: the id of the connection, which a token may be bound to.

        Raises:
            TokenExpired, BadToken, Refused: as for a connection token.
            MisplacedToken: it is another user's, or for another channel or connection.
        """
        payload = await self._subscriptions.payload(token)
        claims = read_claims(decode_subscription, payload)
        self._subscriptions.check(claims)
        expires_at = self._check_times(claims)
        if not claims.channel:
            raise BadToken("it has no `channel`: it is for no subscription")
        if claims.channel != channel:
            raise MisplacedToken("it is for another channel")
        if self._subscriptions.user(claims, payload) != user:
            raise MisplacedToken("it is another user's")
        if claims.client and claims.client != client:
            raise MisplacedToken("it is for another connection")
        said = read_sub(claims)
        return SubscriptionToken(said.info, said.data, expires_at, said.override)

    def _check_times(self, claims: Claims) -> float | None:
        """When what a token opens expires, where it does; a token whose time is over, or has not come, is refused."""
        now = self._wall()
        expires_at, begins_at = moment(claims.exp, "exp"), moment(claims.nbf, "nbf")
        if expires_at is not None and expires_at <= now:
            raise TokenExpired
        if begins_at is not None and now + LEEWAY_S < begins_at:
            raise TokenExpired
        if claims.expire_at is None:
            return expires_at
        if claims.expire_at <= 0:
            return None
        said = moment(claims.expire_at, "expire_at")
        if said is not None and said <= now:
            raise TokenExpired
        return said

    def _subs(self, claims: ConnectionClaims) -> dict[str, TokenSub]:
        """The channels that a token names: those of `subs`, and those of `channels` only where there are none."""
        found = claims.subs or claims.channels or ()
        if len(found) > self._most_channels:
            raise BadToken(f"it names more than {self._most_channels} channels")
        if claims.subs:
            return {channel: read_sub(sub) for channel, sub in claims.subs.items()}
        return dict.fromkeys(claims.channels or (), TokenSub())


class Believed:
    """Those whose signatures are believed, and what they have to say."""

    def __init__(self, settings: TokenSettings, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._wall = wall
        self._keys = keys_of(settings)
        self._previous = secret_keys(settings.hmac_previous_secret_key)
        url = settings.jwks_public_endpoint
        self._jwks = Signers(KeyUrl(url, wide_key), clock) if url else None

    async def payload(self, token: str) -> bytes:
        """What is signed, by whom it has to be."""
        signed = read_signed(token, MAX_TOKEN_CHARS)
        return payload_by(signed, self._keys_now() if self._jwks is None else await self._loaded(self._jwks, signed))

    def _keys_now(self) -> list[Key]:
        until = self._settings.hmac_previous_until
        is_good = bool(self._previous) and (not until or self._wall() <= until)
        return [*self._keys, *self._previous] if is_good else self._keys

    async def _loaded(self, jwks: Signers, signed: Signed) -> list[Key]:
        try:
            return await jwks.keys_for(signed.key_id, signed.algorithm)
        except OSError as error:
            raise Refused(ErrorCode.UNAVAILABLE, f"{error}; try again later", 5.0) from None

    def check(self, claims: Claims) -> None:
        """Refuse a token for somebody else, or of another issuer."""
        settings = self._settings
        if settings.audience and not is_for(claims.aud, settings.audience):
            raise BadToken("its audience, `aud`, is another one")
        if settings.audience_regex is not None:
            named = claims.aud if isinstance(claims.aud, list) else [claims.aud]
            if not any(isinstance(each, str) and settings.audience_regex.is_in(each) for each in named):
                raise BadToken("its audience, `aud`, does not match")
        issuer = claims.iss if isinstance(claims.iss, str) else ""
        if settings.issuer and issuer != settings.issuer:
            raise BadToken("its issuer, `iss`, is another one")
        if settings.issuer_regex is not None and not settings.issuer_regex.is_in(issuer):
            raise BadToken("its issuer, `iss`, does not match")

    def user(self, claims: Claims, payload: bytes) -> str:
        """The user whom a token is for; empty for an anonymous one."""
        name = self._settings.user_id_claim
        found = decode_claims(payload).get(name) if name else claims.sub
        user = str(found) if isinstance(found, int) and not isinstance(found, bool) else found or ""
        if not isinstance(user, str):
            raise BadToken(f"its `{name}`, the user, is no text")
        if user:
            try:
                check_outside_name(user)
            except ValueError as error:
                raise BadToken(f"its user: {error}") from None
        return user


# Keys


def keys_of(settings: TokenSettings) -> list[Key]:
    """The keys that are configured themselves; a JWKS comes in their place.

    Raises:
        ValueError: one cannot be used; the text says why.
    """
    texts = (settings.rsa_public_key, settings.ecdsa_public_key)
    if not all("-----BEGIN" in text for text in texts if text):
        raise ValueError("it is no public key in PEM")
    public = [wide_key(read_pem(text.encode())) for text in texts if text]
    return [*secret_keys(settings.hmac_secret_key), *public]


def secret_keys(secret: str) -> list[Key]:
    """A secret for all three hashes, however short it is: what has signed the tokens is there already."""
    if "-----BEGIN" in secret:
        raise ValueError("it is a key in PEM, which anybody may have; right is a secret")
    return [Key(None, secret.encode(), HMACS)] if secret else []
