"""Who may log in: names, password hashes, session tokens."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hubbub.engine import Account, Grant, Vault
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.otp import digest, new_secret
from hubbub.policy import check_password, check_user_name

__all__ = ["Accounts"]

# argon2id at the library's default cost takes tens of milliseconds and 64 MiB.  Two at once keep a core and most of the
# memory free.  A client at the end of a much longer queue would have given up before its turn.
HASHERS = 2
MAX_WAITING_LOGINS = 64


class Accounts:
    """Logs users in and out.

    Args:
        session_ttl_s: seconds a token is good for.
    """

    def __init__(self, vault: Vault, *, session_ttl_s: float, max_user_name: int) -> None:
        self._vault = vault
        self.session_ttl_s = session_ttl_s
        self._max_user_name = max_user_name
        self._hasher = PasswordHasher()
        self._pool = ThreadPoolExecutor(HASHERS, thread_name_prefix="argon2")
        self._waiting = 0
        # Verified when there is no such user, so that the answer takes as long as for a wrong password.
        self._nobody = self._pool.submit(self._hasher.hash, new_secret())

    async def add(self, user: str, password: str) -> None:
        """Add an account, or change its password.

        Raises:
            Refused: `bad_payload` for a name or password that cannot be.
        """
        check_user_name(user, self._max_user_name)
        check_password(password)
        hashed = await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)
        await self._vault.put_account(Account(user, hashed))

    async def open_setup(self) -> str | None:
        """A secret with which the first account can be made, once; None where there is an account."""
        if await self._vault.has_accounts():
            return None
        secret = new_secret()
        await self._vault.put_setup(digest(secret))
        return secret

    async def is_setup_open(self) -> bool:
        """Whether the first account can still be made with a secret of `open_setup`."""
        return not await self._vault.has_accounts()

    async def set_up(self, secret: str, user: str, password: str) -> None:
        """Make the first account.

        Raises:
            Refused: `forbidden` for a wrong or used secret, `bad_payload` for a name or password that cannot be.
            EngineError: it could not be kept; the secret is as good as before.
        """
        check_user_name(user, self._max_user_name)
        check_password(password)
        if not await self._vault.take_setup(digest(secret)):
            raise Refused(ErrorCode.FORBIDDEN, "this link has been used; log in, or ask for an account")
        try:
            await self.add(user, password)
        except EngineError:
            await self._vault.put_setup(digest(secret))
            raise

    async def is_password(self, user: str, password: str) -> bool:
        """Check a password; it takes as long for a name that does not exist.

        Raises:
            Refused: `rate_limited` when too many logins are waiting.
        """
        return await self._account_with(user, password) is not None

    async def _account_with(self, user: str, password: str) -> Account | None:
        """The account of a user with this password; raises as `is_password` does."""
        if self._waiting >= MAX_WAITING_LOGINS:
            raise Refused(ErrorCode.RATE_LIMITED, "too many logins at this moment; try again soon", 1.0)
        self._waiting += 1
        try:
            account = await self._vault.account(user)
            hashed = account.password_hash if account else await asyncio.wrap_future(self._nobody)
            is_right = await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, hashed, password)
        finally:
            self._waiting -= 1
        return account if is_right else None

    async def log_in(self, user: str, password: str) -> tuple[str, Grant] | None:
        """A new session for who has the password: its token, and what it stands for; None for a wrong one.

        Raises:
            Refused: as by `is_password`.
        """
        account = await self._account_with(user, password)
        if account is None:
            return None
        token = new_secret()
        grant = Grant(user, digest(token))
        await self._vault.put_session(grant, self.session_ttl_s)
        # Checking takes a while.  A change of the account meanwhile has ended all sessions but this one.
        if await self._vault.account(user) != account:
            await self.log_out(grant)
            return None
        return token, grant

    async def grant_of(self, token: str) -> Grant | None:
        """Who a session token stands for, while it lives."""
        return await self._vault.session(digest(token))

    async def log_out(self, grant: Grant) -> None:
        """End a session: its token and its unused one-time passwords are dead on return."""
        await self._vault.end_session(grant.session)

    def close(self) -> None:
        """Stop the hashing threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
