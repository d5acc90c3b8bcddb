"""One-time passwords: proof, in a WebSocket URL, of a login that happened a moment ago.

A browser cannot put a header on a WebSocket request, so the proof travels where logs and histories see it.
Hence: random, bound to one session, used once, dead after seconds, and only its hash is kept.
"""

from __future__ import annotations

import hashlib
import secrets

from hubbub.engine import Grant, OtpLimit, Vault
from hubbub.errors import ErrorCode, Refused

__all__ = ["OneTimePasswords", "digest", "new_secret"]


def new_secret() -> str:
    """A fresh secret of 192 random bits, in letters that need no escaping in URLs and headers."""
    return secrets.token_urlsafe(24)


def digest(secret: str) -> str:
    """What is kept of a secret.  It is random and long, so a plain hash is enough: there is no list to try."""
    return hashlib.sha256(secret.encode()).hexdigest()


class OneTimePasswords:
    """Issues and takes one-time passwords.

    Args:
        ttl_s: seconds from issue to death.
        per_account: most outstanding at once for one account; 0 for no limit.
        in_all: most outstanding at once together; 0 for no limit.
    """

    def __init__(self, vault: Vault, *, ttl_s: float, per_account: int, in_all: int) -> None:
        self._vault = vault
        self._ttl_s = ttl_s
        self._per_account = per_account
        self._in_all = in_all

    async def issue(self, grant: Grant) -> str:
        """Make one.

        Raises:
            Refused: `rate_limited`, with the seconds after which an outstanding one will have died.
            EngineError: it could not be kept.
        """
        otp = new_secret()
        reached = await self._vault.issue_otp(
            digest(otp), grant, ttl_s=self._ttl_s, per_account=self._per_account, in_all=self._in_all
        )
        if reached is OtpLimit.OF_ACCOUNT:
            raise self._too_many(f"this account has {self._per_account} unused one-time passwords, the limit")
        if reached is OtpLimit.IN_ALL:
            raise self._too_many(f"{self._in_all} one-time passwords are unused, the limit of this server")
        return otp

    async def take(self, otp: str) -> Grant | None:
        """Use one up: its grant, or None for one that is unknown, used or too old.

        Raises:
            EngineError: it cannot be told.
        """
        return await self._vault.take_otp(digest(otp))

    def _too_many(self, what: str) -> Refused:
        return Refused(ErrorCode.RATE_LIMITED, f"{what}; connect with one, or wait", self._ttl_s)
