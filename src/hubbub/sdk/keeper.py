"""Keeping a conversation connected: opening connection after connection, until the server says not to come back."""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from enum import Enum, auto

from hubbub.errors import AuthError, CloseCode, ConnectionClosed, HubbubError, ProtocolError, Unreachable
from hubbub.sdk.backoff import Backoff
from hubbub.sdk.closing import ending, is_ending
from hubbub.sdk.conversation import Conversation
from hubbub.sdk.inbox import Inbox
from hubbub.sdk.messages import Offline, Online
from hubbub.sdk.reading import Frame, Welcome, read_frame, read_payload
from hubbub.sdk.session import HttpRefused, failure
from hubbub.sdk.tokens import NoToken
from hubbub.sdk.transport import TransportClosed
from hubbub.sdk.uplink import Uplink, now
from hubbub.sdk.way_in import WayIn, raise_lasting, raise_refusal

__all__ = ["OPEN_S", "Keeper", "State"]

log = logging.getLogger("hubbub.sdk")

# How long the first connection is tried for.
OPEN_S = 10.0
# From the 101 to the welcome.
WELCOME_S = 10.0
# A connection that was shorter does not shorten the next pause, or a server that accepts and drops would be hammered.
STABLE_S = 5.0


class State(Enum):
    """Where a conversation is in its life."""

    NEW = auto()  # nobody has opened it yet
    OPEN = auto()  # connected, or coming back
    OVER = auto()  # closed by this program, or ended by the server


class Keeper:
    """Keeps one connection at work, and opens the next one when it breaks.

    Args:
        way_in: how connections are opened.
        conversation: what they carry.
        inbox: closed at the end, with the reason.
        backoff: the pauses between tries.
        open_timeout_s: how long the first connection is tried for; later ones are tried for ever.

    Attributes:
        state: where the conversation is in its life.
        user: the name that the server knows this client by; empty before the first connection.
    """

    def __init__(
        self, way_in: WayIn, conversation: Conversation, inbox: Inbox, backoff: Backoff, open_timeout_s: float
    ) -> None:
        self.state = State.NEW
        self.user = ""
        self._way_in = way_in
        self._conversation = conversation
        self._inbox = inbox
        self._backoff = backoff
        self._open_timeout_s = open_timeout_s
        self._uplink: Uplink | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._error: HubbubError = ConnectionClosed(CloseCode.NORMAL, "not open yet: use it in `async with`")

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""
        return self._uplink is not None

    def require_open(self) -> None:
        """Raise unless the conversation is open: the reason why it is over, or that it has not begun.

        Raises:
            HubbubError: the reason.
        """
        if self.state is not State.OPEN:
            raise self._error

    # Beginning and end

    async def open(self) -> None:
        """Open the first connection, and go on from there in a task.

        Raises:
            AuthError: wrong name or password, or no token that the server takes.
            Unreachable: no server answered in time, or it cannot be trusted.
            ProtocolError: what answered is no Hubbub server.
            Rejected: the server does not let this user in.
            Exception: what the application's function for tokens has raised.
        """
        if self.state is not State.NEW:
            raise RuntimeError("a connection is opened once; make another with connect()")
        uplink = await self._open_first()
        self.state = State.OPEN
        self._keeping = asyncio.get_running_loop().create_task(self._keep(uplink))

    async def close(self) -> None:
        """Log out and end the conversation."""
        transport = self._uplink.transport if self._uplink else None
        try:
            if self._keeping is not None:
                self._keeping.cancel()
                await asyncio.wait([self._keeping])
            if self.state is not State.OVER:
                self._end(None)  # it was never open, or the task was cancelled before it had begun
            if transport is not None:
                await transport.close()
            await self._way_in.leave()
        finally:
            if transport is not None:
                transport.abort()

    def _end(self, error: HubbubError | None) -> None:
        self._uplink = None
        self.state = State.OVER
        self._error = error or ConnectionClosed(CloseCode.NORMAL, "closed by this program")
        self._conversation.end(self._error)
        self._inbox.close(error)

    # Opening

    async def _open_first(self) -> Uplink:
        why = "it did not answer in time"
        try:
            async with asyncio.timeout(self._open_timeout_s):
                while True:
                    try:
                        return await self._open()
                    except ssl_module.SSLCertVerificationError as error:
                        raise Unreachable(self._way_in.url, failure(error)) from error
                    except NoToken as error:
                        raise error.__cause__ or error from None
                    except (HttpRefused, OSError, TransportClosed) as error:
                        raise_lasting(error)
                        why = failure(error)
                        await asyncio.sleep(self._pause(error))
        except TimeoutError:
            raise Unreachable(self._way_in.url, why) from None

    async def _open(self) -> Uplink:
        transport = await self._way_in.open()
        try:
            async with asyncio.timeout(WELCOME_S):
                frame = read_frame(await transport.receive())
            welcome = read_welcome(frame)
            self._require_same_user(welcome)
        except BaseException:
            transport.abort()
            raise
        self.user = welcome.user
        self._uplink = Uplink(
            transport, welcome, self._conversation, self._inbox, self._backoff.random, self._way_in.new_token
        )
        self._conversation.tell(Online(welcome.user))
        return self._uplink

    def _require_same_user(self, welcome: Welcome) -> None:
        """Go on as nobody else: what is to be sent again is one user's."""
        if self.user and welcome.user != self.user:
            raise AuthError(f"this is a conversation of {self.user}, and the token is another user's")

    async def _open_again(self, last: Uplink) -> Uplink:
        if not last.is_moving:
            # Closed before it has moved, it comes back no sooner: the server has spread the moments of all its clients.
            await asyncio.sleep(last.move_s + self._backoff.next())
        while True:
            try:
                return await self._open()
            except AuthError:
                raise
            except (HttpRefused, NoToken, ProtocolError, OSError, TransportClosed) as error:
                # A page of a proxy's, for one, is what a server that restarts looks like: worth another try.
                raise_refusal(error)
                log.info("not connected: %s", error)
                await asyncio.sleep(self._pause(error))

    def _pause(self, error: Exception) -> float:
        """Seconds until the next try, and not before the server wants it."""
        return self._backoff.next() + (error.retry_after if isinstance(error, HttpRefused) else 0.0)

    # Keeping

    async def _keep(self, uplink: Uplink) -> None:
        """Live on one connection after the other, until the server says not to come back."""
        error: HubbubError | None = None
        try:
            while error is None:
                error = await self._live(uplink)
                if error is None:
                    uplink = await self._open_again(uplink)
        except HubbubError as fatal:
            error = fatal
        except Exception as failure:
            log.exception("the client failed")
            error = HubbubError(f"the client failed: {failure!r}")
        finally:
            self._end(error)

    async def _live(self, uplink: Uplink) -> HubbubError | None:
        """Use a connection to its end; why there is to be no other."""
        began = now()
        try:
            closed = await uplink.run()
        finally:
            self._uplink = None
        if now() - began >= STABLE_S:
            self._backoff.reset()
        if is_ending(closed.code) and not uplink.is_moving and not self._is_renewable(closed):
            return ending(closed.code, closed.reason)
        self._conversation.tell(Offline(closed.code, closed.reason))
        return None

    def _is_renewable(self, closed: TransportClosed) -> bool:
        """Whether another token may go on with a session that has ended."""
        return closed.code == CloseCode.SESSION_ENDED and self._way_in.new_token is not None


def read_welcome(frame: Frame) -> Welcome:
    """Read the first frame of a connection; `ProtocolError` where it is no welcome."""
    if frame.type != "welcome":
        raise ProtocolError(f"the server began with {frame.type!r}, not with a welcome")
    return read_payload(frame.payload, Welcome)
