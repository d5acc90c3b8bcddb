"""The server under examination: how to get in, and what it was found to offer."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, Unpack

import httptools
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Origin, Subprotocol

from hubbub.check.outcome import Failed, NotOffered, Trace, printable
from hubbub.check.peer import ClassicPeer, Peer, V1Peer, WatchedConnection, numbers
from hubbub.errors import AuthError, ProtocolError
from hubbub.sdk.session import HttpRefused, Login, ServerAddress, Session, read_answer
from hubbub.sdk.tokens import TokenSession

__all__ = ["SUBPROTOCOL", "Answer", "Bearer", "Target", "room_of"]

SUBPROTOCOL = "hubbub.v1"

# A frame from the server; the longest history is below it.
MAX_FRAME = 4 * 1024 * 1024

CLOSE_S = 0.5
LOG_OUT_S = 2.0
WELCOME_S = 2.0
ECHO_S = 2.0

UNPLAIN = re.compile(r"[^a-z0-9._-]")
PATH = re.compile(r"/[^?#\s]*")

SomePeer = TypeVar("SomePeer", bound=Peer)


class OneConnection(connect):
    """An opening that follows no redirect: it would send the password's ticket to someone else."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class How(TypedDict, total=False):
    """What may be unusual about an upgrade request."""

    query: str
    origin: str
    path: str


@dataclass(frozen=True)
class Answer:
    """What an HTTP request was answered."""

    status: int
    body: bytes

    def __str__(self) -> str:
        return f"HTTP {self.status} {printable(self.body)}".rstrip()


@dataclass(frozen=True)
class Bearer:
    """A user of an application's own, and a token that stands for it, which nothing prints."""

    user: str
    token: str = field(repr=False)


def room_of(*users: str) -> str:
    """The room of two users, in whose names all but a-z 0-9 . _ - is escaped."""
    return "dm:" + ",".join(sorted(UNPLAIN.sub(as_escapes, user) for user in users))


def as_escapes(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode())


def session_of(server: ServerAddress, known: Login | Bearer) -> Session | TokenSession:
    """What signs a user in."""
    return Session(server, known) if isinstance(known, Login) else TokenSession(server, known.token)


class Target:
    """A server, two of its users, and what is known about it.

    Args:
        other: a second user, or the same one again.
        path: where its WebSocket is.

    Attributes:
        has_v1: it echoes `hubbub.v1`.
        echoes: it sends a classic client its own messages.
        pings: it sends pings of its own, or does not say that it sends none.
        tokens: of logins that a check has made, to be ended with the others.
    """

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext | None,
        user: Login | Bearer,
        other: Login | Bearer | None = None,
        path: str = "/ws",
    ) -> None:
        self.server = ServerAddress(url, tls)
        self.path = "/" + path.lstrip("/")
        if not PATH.fullmatch(self.path):
            raise ValueError(f"{path!r} is no path; write /ws")
        self.credentials = user
        self.user = user.user
        self.other = other.user if other else user.user
        self.trace = Trace()
        self.has_v1 = False
        self.echoes = True
        self.pings = True
        self.tokens: list[str] = []
        self._sessions = {self.user: session_of(self.server, user)}
        if other:
            self._sessions.setdefault(self.other, session_of(self.server, other))

    def need_two_users(self) -> None:
        """Go on only with two accounts."""
        if self.user == self.other:
            raise NotOffered("needs a second user: --other, or another --token")

    @property
    def login(self) -> Login:
        """The first user's name and password, for what is about these."""
        if not isinstance(self.credentials, Login):
            raise NotOffered("needs a user with a password")
        return self.credentials

    async def has_accounts_alone(self, peer: V1Peer) -> bool:
        """Whether nobody but its accounts can be a user of this server: no application, and no token of others."""
        is_signed_for = (await peer.ask("renew", {})).payload.get("code") != "unknown_type"
        return not is_signed_for and (await self.ask("GET", "/setup")).status != 404

    def room(self) -> str:
        """The name of a room that nobody is in."""
        return f"check {secrets.token_hex(4)}"

    # HTTP

    async def log_in(self) -> None:
        """Log all users in; what the SDK's session raises."""
        for session in self._sessions.values():
            await session.ticket()

    async def log_out(self) -> None:
        """End every login, as far as the server takes it."""
        try:
            async with asyncio.timeout(LOG_OUT_S):
                for token in self.tokens:
                    await self.ask("POST", "/logout", b"", "", f"Authorization: Bearer {token}")
        except (TimeoutError, OSError, Failed):
            pass
        for session in self._sessions.values():
            await session.log_out()

    async def ticket(self, user: str | None = None) -> str:
        """A one-time password."""
        self.trace.sent = "a request for a one-time password"
        try:
            return await self._sessions[user or self.user].ticket()
        except (AuthError, HttpRefused, ProtocolError) as refused:
            raise self.trace.failed("a one-time password", printable(str(refused))) from None

    async def ask(self, method: str, path: str, body: bytes = b"", said: str = "", *lines: str) -> Answer:
        """Send an HTTP request; `said` describes its body and headers where they are not for a report."""
        self.trace.sent = f"{method} {path} {said}".rstrip()
        head = [
            f"{method} {self.server.path}{path} HTTP/1.1",
            f"Host: {self.server.netloc}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *lines,
        ]
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port, ssl=self.server.tls)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            status, answer = await read_answer(reader)
        except (ProtocolError, httptools.HttpParserUpgrade) as error:
            raise self.trace.failed("an HTTP answer", printable(str(error))) from None
        finally:
            writer.transport.abort()
        found = Answer(status, answer.body)
        # What a good answer carries may be secret.
        self.trace.came = f"HTTP {status}" if status < 400 else str(found)
        return found

    # WebSockets

    @asynccontextmanager
    async def connection(
        self,
        otp: str | None,
        *offered: str,
        **how: Unpack[How],
    ) -> AsyncIterator[WatchedConnection]:
        """A connection, or the exception of the library that makes it."""
        place, query, origin = how.get("path", self.path), how.get("query", ""), how.get("origin")
        fields = [*([f"otp={otp}"] if otp is not None else []), *([query] if query else [])]
        marked = [*(["otp=..."] if otp is not None else []), *([query] if query else [])]
        shown = ["otp.…" if each.startswith("otp.") else each for each in offered]
        self.trace.sent = " ".join(
            [
                f"GET {place}{'?' if marked else ''}{'&'.join(marked)}",
                *([f"with Origin {origin}"] if origin else []),
                *([f"offering {', '.join(shown)}"] if shown else []),
            ]
        )
        scheme = "wss" if self.server.tls else "ws"
        opening = OneConnection(
            f"{scheme}://{self.server.netloc}{self.server.path}{place}{'?' if fields else ''}{'&'.join(fields)}",
            subprotocols=[Subprotocol(each) for each in offered] or None,
            origin=Origin(origin) if origin else None,
            ssl=self.server.tls,
            create_connection=WatchedConnection,
            compression=None,
            proxy=None,
            open_timeout=None,  # the check has a deadline
            close_timeout=CLOSE_S,
            ping_interval=None,
            max_size=MAX_FRAME,
        )
        connection = await opening
        assert isinstance(connection, WatchedConnection)
        self.trace.came = "101"
        try:
            yield connection
        finally:
            await leave(connection)

    @asynccontextmanager
    async def _open(
        self, make: type[SomePeer], user: str, otp: str | None, *offered: str, **how: Unpack[How]
    ) -> AsyncIterator[SomePeer]:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.connection(otp, *offered, **how))
            except InvalidStatus as refused:
                self.trace.came = answer_in(refused)
                raise self.trace.failed("101") from None
            except InvalidHandshake as error:
                raise self.trace.failed("101", printable(str(error))) from None
            yield make(connection, user, self.trace)

    @asynccontextmanager
    async def classic(
        self, user: str | None = None, otp: str | None = None, **how: Unpack[How]
    ) -> AsyncIterator[ClassicPeer]:
        """A classic client."""
        otp = await self.ticket(user) if otp is None else otp
        async with self._open(ClassicPeer, user or self.user, otp, **how) as page:
            page.echoes = self.echoes
            yield page

    @asynccontextmanager
    async def v1(self, user: str | None = None, otp: str | None = None, **how: Unpack[How]) -> AsyncIterator[V1Peer]:
        """A v1 client that has been welcomed."""
        otp = await self.ticket(user) if otp is None else otp
        async with self._open(V1Peer, user or self.user, otp, SUBPROTOCOL, **how) as peer:
            try:
                async with asyncio.timeout(WELCOME_S):
                    first = await peer.receive()
            except TimeoutError:
                raise self.trace.failed("a welcome", "101, then nothing") from None
            if first.type == "welcome":
                peer.welcome = first.payload
            yield peer

    async def refusal(self, otp: str | None, *offered: str, **how: Unpack[How]) -> Answer:
        """How the server turns an upgrade down."""
        try:
            async with self.connection(otp, *offered, **how):
                raise self.trace.failed("an upgrade turned down before the 101", "101: let in")
        except InvalidStatus as refused:
            self.trace.came = answer_in(refused)
            return Answer(refused.response.status_code, bytes(refused.response.body or b""))
        except InvalidHandshake as error:
            raise self.trace.failed("an HTTP answer", printable(str(error))) from None

    @asynccontextmanager
    async def pages(self, *users: str, room: str) -> AsyncIterator[list[ClassicPeer]]:
        """Classic clients of these users, each in the room before the next one comes, with nothing left to hear."""
        if not self.echoes and len(users) > 1:
            self.need_two_users()
        async with AsyncExitStack() as stack:
            found: list[ClassicPeer] = []
            for user in users:
                newcomer = await stack.enter_async_context(self.classic(user))
                await newcomer.enter(room)
                found.append(newcomer)
                if not self.echoes:
                    await newcomer.quiet()
                probe = f"here {next(numbers)}"
                await newcomer.say(probe)
                for member in found:
                    if self.echoes or member.user != user:
                        await member.hears(probe)
            yield found

    @asynccontextmanager
    async def members(self, *users: str, room: str) -> AsyncIterator[list[V1Peer]]:
        """V1 clients of these users, in a room."""
        async with AsyncExitStack() as stack:
            found = [await stack.enter_async_context(self.v1(user)) for user in users]
            for member in found:
                await member.join(room)
            yield found

    # Learning

    async def learn(self) -> None:
        """Find out which dialects there are, and whether a classic client hears itself."""
        self.has_v1 = await self._speaks_v1()
        try:
            async with asyncio.timeout(ECHO_S), self.pages(self.user, room=self.room()):
                pass
        except TimeoutError:
            self.echoes = False

    async def _speaks_v1(self) -> bool:
        otp = await self.ticket()
        is_open = False
        try:
            async with self._open(Peer, self.user, otp, SUBPROTOCOL) as peer:
                if peer.connection.subprotocol != SUBPROTOCOL:
                    return False
                is_open = True
                async with asyncio.timeout(WELCOME_S):
                    welcome = await peer.receive()
                heartbeat = welcome.payload.get("heartbeat")
                self.pings = not (isinstance(heartbeat, dict) and heartbeat.get("interval") == 0)
        except TimeoutError:
            return not await self._echoes_any_subprotocol()
        except Failed:
            return is_open  # let in and told nonsense: v1, and a poor one
        return True

    async def _echoes_any_subprotocol(self) -> bool:
        """Whether an echo means nothing: some libraries take the first thing offered, unless told otherwise."""
        async with self._open(Peer, self.user, await self.ticket(), "check.nonsense") as peer:
            return peer.connection.subprotocol is not None


async def leave(connection: ClientConnection) -> None:
    """Say goodbye, and go whether it is answered or not."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.close()
    except TimeoutError:
        pass
    finally:
        connection.transport.abort()


def answer_in(refused: InvalidStatus) -> str:
    response = refused.response
    return str(Answer(response.status_code, bytes(response.body or b"")))
