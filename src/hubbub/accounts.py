"""Who may log in: names, password hashes, session tokens."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hubbub.acts import Role
from hubbub.engine import Account, Grant, NewUser, SignUp, SignUpLink, Vault
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.logins import Queue
from hubbub.looks import key_of_user, keys_of
from hubbub.otp import digest, new_secret
from hubbub.policy import check_chosen_password, check_password, check_user_name, network_of
from hubbub.signing_in import User
from hubbub.turns import LoginTurns, always

__all__ = ["Accounts"]

# What the threads that hash leave to others (setpriority(2)): messages come first where they share a processor.
NICENESS = 5


class Accounts:
    """Logs users in and out.

    Args:
        session_ttl_s: seconds a token is good for.
        max_sessions: of one account; one more ends the oldest.  0 is no limit.
        workers: how many processes of this machine check passwords, each its part.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        session_ttl_s: float,
        max_user_name: int,
        max_sessions: int = 0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self.session_ttl_s = session_ttl_s
        self._max_user_name = max_user_name
        self._max_sessions = max_sessions
        self._hasher = PasswordHasher()
        queue = Queue(workers)
        self._turns = LoginTurns(queue, clock)
        self._pool = ThreadPoolExecutor(queue.hashers, thread_name_prefix="argon2", initializer=be_nice)
        # Verified when there is no such user, so that the answer takes as long as for a wrong password.
        self._nobody = self._pool.submit(self._hasher.hash, new_secret())

    async def add(self, user: str, password: str, role: Role = Role.MEMBER) -> None:
        """Add an account with a role, or change its password.

        Raises:
            Refused: `bad_payload` for a name or password that cannot be.
        """
        check_user_name(user, self._max_user_name)
        check_password(password)
        await self._vault.put_account(Account(user, await self._hash(password), role))

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
            await self.add(user, password, Role.ADMIN)
        except EngineError:
            await self._vault.put_setup(digest(secret))
            raise

    async def is_password(self, user: str, password: str) -> bool:
        """Check a password, as the server itself: without waiting for others' logins."""
        return await self._account_with(user, password) is not None

    async def _account_with(self, user: str, password: str) -> Account | None:
        """The account of a user with this password; it takes as long for a name that does not exist."""
        account = await self._vault.account(user)
        hashed = account.password_hash if account else await asyncio.wrap_future(self._nobody)
        is_right = await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, hashed, password)
        return account if is_right else None

    async def log_in(
        self,
        user: str,
        password: str,
        *,
        address: str = "",
        token: str = "",
        is_wanted: Callable[[], bool] = always,
    ) -> tuple[str, Grant] | None:
        """A new session for who has the password: its token, and what it stands for; None for a wrong one.

        Args:
            address: where the request comes from.
            token: of a session that the client has already, which lets it pass the delay that guesses of others bring.
            is_wanted: whether the client still waits for the answer; it is asked when its turn comes.

        Raises:
            Refused: `rate_limited` when too many logins wait, or this one has waited too long; `forbidden`, to who has
                the password, for a blocked account.
            EngineError: the accounts cannot be read, or the session cannot be kept.
        """
        shown = await self.grant_of(token) if token else None
        session = shown.session if shown is not None and shown.user == user else ""
        # Python's hash of a string has a secret key: it tells nobody of the password.
        guess = hash(password)
        attempt = self._turns.attempt(user, network_of(address), session, is_wanted, guess)
        async with self._turns.checking(attempt) as checked:
            account = await self._account_with(user, password)
            checked.is_right = account is not None
        if account is None:
            return None
        if account.is_blocked:
            raise Refused(ErrorCode.FORBIDDEN, "this account is blocked")
        token = new_secret()
        grant = Grant(user, digest(token))
        await self._vault.put_session(grant, self.session_ttl_s, self._max_sessions)
        # Checking takes a while.  A change of the account meanwhile has ended all sessions but this one.
        if await self._vault.account(user) != account:
            await self.log_out(grant)
            return None
        return token, grant

    async def open_session(self, user: User) -> tuple[str, Grant]:
        """A new session for a user whom the application vouches for: its token, and what it stands for.

        Raises:
            EngineError: it cannot be kept.
        """
        token = new_secret()
        grant = Grant(user.name, digest(token), user.role, user.info)
        await self._vault.put_session(grant, self.session_ttl_s, self._max_sessions)
        return token, grant

    async def change_password(
        self, grant: Grant, current: str, new: str, *, address: str = "", is_wanted: Callable[[], bool] = always
    ) -> None:
        """Change the password of who shows a session and the password; all other sessions of the user end.

        A wrong password counts like one of a login.

        Raises:
            Refused: `bad_payload` for a new password that cannot be, `forbidden` for a wrong one, `rate_limited` as for
                a login.
            EngineError: it could not be changed.
        """
        check_chosen_password(new)
        user = grant.user
        attempt = self._turns.attempt(user, network_of(address), grant.session, is_wanted, hash(current))
        is_changed = False
        async with self._turns.checking(attempt) as checked:
            account = await self._account_with(user, current)
            checked.is_right = account is not None
            if account is not None:
                hashed = await self._hash(new)
                is_changed = await self._vault.change_password(user, account.password_hash, hashed, grant.session)
        if not is_changed:
            raise Refused(ErrorCode.FORBIDDEN, "this is not the present password")

    async def invitation(
        self, secret: str, *, address: str = "", is_wanted: Callable[[], bool] = always
    ) -> SignUpLink | None:
        """The open link with a secret; None for a wrong one, which counts like a wrong password from the address.

        Raises:
            Refused: `rate_limited` as for a login.
            EngineError: it cannot be told.
        """
        async with self._turns.checking(self._turns.newcomer(network_of(address), is_wanted)) as checked:
            link = await self._vault.link(digest(secret))
            checked.is_right = None if link is not None else False
            return link

    async def sign_up(
        self,
        secret: str,
        user: str,
        password: str,
        name: str,
        *,
        may_use: Callable[[SignUpLink], bool],
        address: str = "",
        is_wanted: Callable[[], bool] = always,
    ) -> SignUpLink | None:
        """Make an account by a link; the link, or None for one that is not good, which counts like a wrong password.

        Args:
            name: how the user is to be shown, as `naming.read_display_name` gives it; may be empty.
            may_use: whether a link is good by what the rules say of its maker.

        Raises:
            Refused: `bad_payload` for a name or password that cannot be, `conflict` where somebody has a name that
                looks like one of these (the link is as good as before), `rate_limited` as for a login.
            EngineError: it could not be kept.
        """
        check_user_name(user, self._max_user_name)
        check_chosen_password(password)
        async with self._turns.checking(self._turns.newcomer(network_of(address), is_wanted)) as checked:
            link = await self._vault.link(digest(secret))
            outcome = SignUp.NO_LINK
            if link is not None and may_use(link):
                # What a name looks like is looked for once it may matter: it takes long, for some names.
                keys = {key_of_user(user), *(keys_of(name) if name else ())}
                new = NewUser(user, await self._hash(password), name, keys)
                outcome = await self._vault.sign_up(digest(secret), new)
            # Names that are taken count, too: this is no place to ask which accounts there are.
            checked.is_right = None if outcome is SignUp.DONE else False
        if outcome is SignUp.TAKEN:
            raise Refused(ErrorCode.CONFLICT, "somebody has this name, or one that looks like it; choose another")
        return link if outcome is SignUp.DONE else None

    async def _hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)

    def recognize(self, user: str, address: str) -> None:
        """Remember that a user is at an address, by a session: guesses elsewhere do not hold logins from there up."""
        self._turns.recognize(user, network_of(address))

    async def grant_of(self, token: str) -> Grant | None:
        """Who a session token stands for, while it lives."""
        return await self._vault.session(digest(token))

    async def log_out(self, grant: Grant) -> None:
        """End a session: its token and its unused one-time passwords are dead on return."""
        await self._vault.end_session(grant.session)

    def close(self) -> None:
        """Stop the hashing threads."""
        self._turns.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def be_nice() -> None:
    """Leave the processor to others, where a thread can (Linux); what it starts does the same."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except (AttributeError, OSError):
        pass
