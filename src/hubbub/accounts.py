"""Who may log in: names, password hashes, session tokens."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hubbub.acts import Role
from hubbub.engine import Account, Grant, NewUser, SignUp, SignUpLink, Vault
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.logins import Attempt, Queue, refusal
from hubbub.looks import key_of_user, keys_of
from hubbub.otp import digest, new_secret
from hubbub.policy import check_chosen_password, check_password, check_user_name, network_of

__all__ = ["Accounts"]

# What the threads that hash leave to others (setpriority(2)): messages come first where they share a processor.
NICENESS = 5

# A login that is refused because too many wait is told so after this time: it would be back at once.
REFUSAL_S = 1.0
# So many wait for that at most: each keeps a connection's place, and the others' requests need some.
MAX_REFUSED = 128


# What those without an account stand in line as; no user has such a name.
NEWCOMERS = "(newcomers)"


class Checked:
    """What came of an attempt, once it is known.

    Attributes:
        is_right: as for `logins.Queue.end`.
    """

    is_right: bool | None = None


def always() -> bool:
    """Somebody waits for the answer."""
    return True


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
        self._queue = Queue(workers)
        self._pool = ThreadPoolExecutor(self._queue.hashers, thread_name_prefix="argon2", initializer=be_nice)
        self._clock = clock
        self._turns: dict[Attempt, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # How many are held back before they are refused.
        self._refused = 0
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
        attempt = Attempt(user, network_of(address), session, is_wanted, self._given_up, guess=guess)
        async with self._checking(attempt) as checked:
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
        source, guess = network_of(address), hash(current)
        attempt = Attempt(user, source, grant.session, is_wanted, self._given_up, guess=guess)
        is_changed = False
        async with self._checking(attempt) as checked:
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
        async with self._checking(self._newcomer(address, is_wanted)) as checked:
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
        async with self._checking(self._newcomer(address, is_wanted)) as checked:
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

    def _newcomer(self, address: str, is_wanted: Callable[[], bool]) -> Attempt:
        """An attempt of somebody who has no account: all of one address are as one, and no account's guesses."""
        source = network_of(address)
        return Attempt(f"{NEWCOMERS} {source}", source, "", is_wanted, self._given_up)

    async def _hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)

    @asynccontextmanager
    async def _checking(self, attempt: Attempt) -> AsyncIterator[Checked]:
        """Wait for an attempt's turn, and take note of what the block makes of it."""
        await self._turn(attempt)
        checked = Checked()
        try:
            yield checked
        finally:
            self._queue.end(attempt, self._clock(), is_right=checked.is_right)
            self._call_next()

    async def _turn(self, attempt: Attempt) -> None:
        """Wait for a login's turn; the queue has to be told of its end."""
        turn = self._turns[attempt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.add(attempt, self._clock())
            self._call_next()
            await turn
        except Refused:
            await self._hold_back(attempt)
            raise
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._queue.end(attempt, self._clock(), is_right=None)
            self._queue.remove(attempt)
            self._call_next()
            raise
        finally:
            del self._turns[attempt]

    async def _hold_back(self, attempt: Attempt) -> None:
        """Have a refused client wait for its answer, where it would be back at once and there is room for it."""
        if self._refused < MAX_REFUSED and attempt.is_wanted():
            self._refused += 1
            try:
                await asyncio.sleep(REFUSAL_S)  # a flood gets its refusals slowly
            finally:
                self._refused -= 1

    def _given_up(self, attempt: Attempt) -> None:
        turn = self._turns[attempt]
        if not turn.done():
            turn.set_exception(refusal("this login has waited too long for its turn"))

    def _call_next(self) -> None:
        """Let those go on whose turn has come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        while (attempt := self._queue.next(now)) is not None:
            turn = self._turns[attempt]
            if turn.done():  # cancelled a moment ago
                self._queue.end(attempt, now, is_right=None)
            else:
                turn.set_result(None)
        later = self._queue.next_at(now)
        if later < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, later - now), self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._queue.expire(self._clock())
        self._call_next()

    def recognize(self, user: str, address: str) -> None:
        """Remember that a user is at an address, by a session: guesses elsewhere do not hold logins from there up."""
        self._queue.recognize(user, network_of(address))

    async def grant_of(self, token: str) -> Grant | None:
        """Who a session token stands for, while it lives."""
        return await self._vault.session(digest(token))

    async def log_out(self, grant: Grant) -> None:
        """End a session: its token and its unused one-time passwords are dead on return."""
        await self._vault.end_session(grant.session)

    def close(self) -> None:
        """Stop the hashing threads."""
        if self._timer is not None:
            self._timer.cancel()
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
