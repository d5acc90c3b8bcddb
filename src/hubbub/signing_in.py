"""Users of an application's own: what it says of them, and what its check is asked with."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import structlog

from hubbub.acts import Role
from hubbub.errors import ErrorCode, Refused
from hubbub.events import encode
from hubbub.logins import Queue
from hubbub.naming import check_outside_name
from hubbub.policy import is_loopback, network_of
from hubbub.turns import LoginTurns, always

__all__ = [
    "MAX_INFO_BYTES",
    "Check",
    "Checks",
    "Credentials",
    "RequestView",
    "User",
    "read_user",
]

log = structlog.get_logger("hubbub")

# Of what the connections of a user of an application's are told in `Client.info`, as JSON: each session keeps it.
MAX_INFO_BYTES = 4096

# A check is answered within this time, if only by a refusal.
CHECK_S = 10.0
# Checks at work at once, and those of them that are plain functions, each in a thread; and how many may be at work or
# wait in all, and from one address, loopback exempt: who floods the check waits behind itself.
MAX_AT_WORK = 64
MAX_THREADS = 8
MAX_WAITING = 1024
MAX_WAITING_PER_SOURCE = 64

Check = Callable[..., Any]


class Credentials(msgspec.Struct, frozen=True):
    """What somebody signs in with: as the body of `POST /login` has it, each None where it has none."""

    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password={'None' if self.password is None else '...'})"


class User(msgspec.Struct, frozen=True):
    """A user whom an application vouches for.

    Attributes:
        name: what the user goes by: 1 to 128 characters, none of them a control character.
        role: in place of the one that an account of this name has here.
        info: what `Client.info` of the user's connections begins with; 4 KiB of JSON at most.
        display_name: how the user is shown; the name, where it is empty.
    """

    name: str
    role: Role | None = None
    info: dict[str, Any] | None = None
    display_name: str = ""


class RequestView(msgspec.Struct, frozen=True):
    """The HTTP request that somebody signs in by.

    Attributes:
        headers: their values, under names in lower case; several of one name are joined by commas.
        cookies: their values by name; the first of each.
        address: the client's, behind trusted proxies.
        query: what stands behind the `?`, unread.
        scope: the ASGI scope, where the hub is mounted in another application; empty otherwise.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str = ""
    query: str = ""
    scope: Mapping[str, Any] = {}


def name_of(check: Check) -> str:
    """What a check is called in log lines and errors."""
    return str(getattr(check, "__qualname__", repr(check)))


def read_user(found: object) -> User | None:
    """What a check has answered, as a user.

    Raises:
        TypeError: it is no answer.
        ValueError: it is a user that cannot be.
    """
    if found is None or isinstance(found, User):
        user = found
    elif isinstance(found, str):
        user = User(found)
    else:
        raise TypeError(f"it answers a name, a hubbub.User or None, and not {type(found).__name__}")
    if user is None:
        return None
    check_outside_name(user.name)
    if user.display_name:
        check_outside_name(user.display_name)
    if user.role is not None:
        Role(user.role)
    if not isinstance(user.info, dict | None):
        raise TypeError(f"the info of {user.name!r} is a dict or None, and not {type(user.info).__name__}")
    if user.info is not None and len(encode(user.info)) > MAX_INFO_BYTES:
        raise ValueError(f"the info of {user.name!r} has more than {MAX_INFO_BYTES} bytes as JSON")
    return user


class Checks:
    """Asks an application's check, within bounds.

    A plain function runs in a thread, so that a database or a password's hash holds nobody else up; a coroutine
    function runs on the loop.

    Args:
        check: what `Hub.authenticate` has registered.
        workers: how many processes share the processor.
        clock: seconds that never go back.
    """

    def __init__(self, check: Check, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._takes_request = len(inspect.signature(check).parameters) > 1
        self._turns = LoginTurns(Queue(workers, MAX_THREADS * workers), clock)
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="authenticate")
        self._at_work = asyncio.Semaphore(MAX_AT_WORK)
        # A thread is free when its call has returned, however long ago that was given up.
        self._threads = asyncio.Semaphore(MAX_THREADS)
        self._waiting: Counter[str] = Counter()

    async def sign_in(
        self, credentials: Credentials, request: RequestView, *, is_wanted: Callable[[], bool] = always
    ) -> User | None:
        """The same as `ask`, in turn: guesses at what is to be secret are as slow as at an account's password.

        Args:
            is_wanted: whether the client still waits for the answer.

        Raises:
            Refused: as for `ask`; `rate_limited`, too, when too many logins wait, or this one has waited too long.
        """
        name, source = credentials.username, network_of(request.address)
        if name is None:
            attempt = self._turns.newcomer(source, is_wanted)
        else:
            attempt = self._turns.attempt(name, source, "", is_wanted, hash(credentials.password))
        async with self._turns.checking(attempt) as checked:
            user = await self.ask(credentials, request)
            # Without credentials it goes by what nobody guesses, such as a cookie.
            checked.is_right = None if user is None and credentials == Credentials() else user is not None
        return user

    async def ask(self, credentials: Credentials, request: RequestView) -> User | None:
        """Whom the application takes somebody for; None for nobody.

        Raises:
            Refused: what the check has raised so itself; `internal` where it fails in any other way, or answers what is
                none; `unavailable` where it takes too long; `rate_limited` where too many wait for it.
        """
        source = network_of(request.address)
        is_full = self._waiting[source] >= MAX_WAITING_PER_SOURCE and not is_loopback(request.address)
        if is_full or self._waiting.total() >= MAX_WAITING:
            raise Refused(ErrorCode.RATE_LIMITED, "too many sign in just now; try again soon", 5.0)
        args = (credentials, request) if self._takes_request else (credentials,)
        self._waiting[source] += 1
        try:
            async with asyncio.timeout(CHECK_S) as limit, self._at_work:
                return read_user(await self._call(args))
        except Refused:
            raise
        except TimeoutError as error:
            if not limit.expired():
                raise self._failed(error) from None
            log.warning("authenticate takes too long", hook=name_of(self._check), seconds=CHECK_S)
            raise Refused(ErrorCode.UNAVAILABLE, "whether you may come in could not be told in time", 5.0) from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._failed(error) from None
        except Exception as error:
            raise self._failed(error) from None
        finally:
            self._waiting[source] -= 1
            if not self._waiting[source]:
                del self._waiting[source]

    async def _call(self, args: tuple[object, ...]) -> object:
        if inspect.iscoroutinefunction(self._check):
            return await self._check(*args)
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        call = self._pool.submit(contextvars.copy_context().run, self._check, *args)
        call.add_done_callback(lambda _call: self._free_thread(loop))
        found = await asyncio.wrap_future(call)
        return await found if inspect.isawaitable(found) else found

    def _free_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._threads.release)

    def _failed(self, error: BaseException) -> Refused:
        """What to answer where an error was not meant for the client."""
        log.error("authenticate failed", hook=name_of(self._check), exc_info=error)
        return Refused(ErrorCode.INTERNAL, "the server failed; its log says why")

    def close(self) -> None:
        """Stop the threads."""
        self._turns.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
