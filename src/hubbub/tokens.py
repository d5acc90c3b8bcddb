"""Users whom a JSON Web Token stands for (RFC 7519), signed by somebody whose signatures are believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hubbub.acts import Role
from hubbub.engine import Grant
from hubbub.errors import ErrorCode, Refused
from hubbub.events import encode
from hubbub.jws import BadToken, decode_claims, is_for, moment, payload_by, read_signed
from hubbub.naming import check_outside_name
from hubbub.otp import digest
from hubbub.settings import Settings
from hubbub.signers import Signers, source_of
from hubbub.signing_in import MAX_INFO_BYTES

__all__ = ["LEEWAY_S", "BadToken", "Tokens", "is_jwt", "tokens_by"]

MAX_TOKEN_CHARS = 8192

# How far the clock of who has signed a token may be from this one.
LEEWAY_S = 5.0

# The mightiest first: of several roles that a token has, the first of these counts.
ROLES = (Role.ADMIN, Role.MEMBER, Role.GUEST)


def is_jwt(token: str) -> bool:
    """Whether a token looks like a JWT: the server's own have no dots."""
    return token.count(".") == 2


class Tokens:
    """Reads tokens.

    Args:
        audience, issuer: what `aud` and `iss` have to be; empty for no issuer asked for, and for none in `aud`.
        role_claim, info_claim: the claims that have a user's role and what `Client.info` begins with; empty for none.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        signers: Signers,
        *,
        audience: str = "",
        issuer: str = "",
        role_claim: str = "",
        info_claim: str = "",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._signers = signers
        self._audience = audience
        self._issuer = issuer
        self._role_claim = role_claim
        self._info_claim = info_claim
        self._wall = wall

    async def grant(self, token: str) -> Grant:
        """Whom a token stands for.

        Raises:
            BadToken: nobody.
            Refused: `unavailable` where the keys cannot be loaded.
        """
        claims = await self._claims(token)
        expires_at = self._check_times(claims)
        user = claims.get("sub")
        if user is None:
            raise BadToken("it has no `sub`, the user's name")
        if not isinstance(user, str):
            raise BadToken("its `sub`, the user's name, is not a string")
        try:
            check_outside_name(user)
        except ValueError as error:
            raise BadToken(f"its `sub`: {error}") from None
        # What is signed can be written in one way only; a signature has several, all of them as good.
        session = digest(token.rpartition(".")[0])
        return Grant(user, session, self._role(claims), self._info(claims), expires_at, is_kept=False)

    async def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature is good, and that is for this server."""
        signed = read_signed(token, MAX_TOKEN_CHARS)
        try:
            keys = await self._signers.keys_for(signed.key_id, signed.algorithm)
        except OSError as error:
            raise Refused(ErrorCode.UNAVAILABLE, f"{error}; try again later", 5.0) from None
        claims = decode_claims(payload_by(signed, keys))
        audience, issuer = claims.get("aud"), claims.get("iss")
        if self._audience and not is_for(audience, self._audience):
            raise BadToken("its audience, `aud`, is another one")
        if audience and not self._audience:
            raise BadToken("it has an audience, `aud`, and none is set here")
        if self._issuer and issuer != self._issuer:
            raise BadToken("its `iss` is another one")
        return claims

    def _check_times(self, claims: dict[str, Any]) -> float | None:
        """When a token expires; one that has, and one that is not to be used yet, is refused."""
        now = self._wall()
        expires_at, begins_at = moment(claims.get("exp"), "exp"), moment(claims.get("nbf"), "nbf")
        if begins_at is not None and now + LEEWAY_S < begins_at:
            raise BadToken("it is not to be used yet (`nbf`)")
        if expires_at is not None and now - LEEWAY_S >= expires_at:
            raise BadToken("it has expired (`exp`)")
        return expires_at

    def _role(self, claims: dict[str, Any]) -> Role | None:
        """The role that a token gives; None where it gives none that is one here."""
        found = claims.get(self._role_claim) if self._role_claim else None
        named = found if isinstance(found, list) else [found]
        return next((role for role in ROLES if role.value in named), None)

    def _info(self, claims: dict[str, Any]) -> dict[str, object] | None:
        found = claims.get(self._info_claim) if self._info_claim else None
        if found is None:
            return None
        info = found if isinstance(found, dict) else {self._info_claim: found}
        try:
            size = len(encode(info))
        except (ValueError, OverflowError, RecursionError) as error:  # such as half of a surrogate pair
            raise BadToken(f"its `{self._info_claim}`: {error}") from None
        if size > MAX_INFO_BYTES:
            raise BadToken(f"its `{self._info_claim}` has more than {MAX_INFO_BYTES} bytes")
        return info


def tokens_by(settings: Settings, key: str, wall: Callable[[], float] = time.time) -> Tokens:
    """What reads tokens signed with a key, as the settings say.

    Raises:
        ConfigError: the key cannot be used.
    """
    return Tokens(
        Signers(source_of(key)),
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        role_claim=settings.jwt_role_claim,
        info_claim=settings.jwt_info_claim,
        wall=wall,
    )
