"""The client's public face: an open conversation that survives its connections, asking and hearing.

`keeper.py` opens connection after connection; the tasks that work on one of them are in `uplink.py`.  What frames mean
is decided in `conversation.py`, which knows of neither.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl as ssl_module
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from hubbub.errors import ErrorCode, HubbubError, Rejected
from hubbub.events import CHANGES
from hubbub.sdk.asking import ask
from hubbub.sdk.backoff import Backoff
from hubbub.sdk.conversation import FLEETING_EVENTS, Conversation
from hubbub.sdk.inbox import Inbox
from hubbub.sdk.keeper import OPEN_S, Keeper
from hubbub.sdk.messages import Changed, Gap, Heard, Joined, Message, Page, Receipt, RoomEntry, Signal
from hubbub.sdk.outbox import RETRY_S, Kind, Outbox
from hubbub.sdk.reading import Present, read_changed, read_entered, read_page, read_payload, read_present
from hubbub.sdk.rooms import Membership, RoomCursor, known_as
from hubbub.sdk.session import ServerAddress
from hubbub.sdk.tokens import Token
from hubbub.sdk.uplink import now
from hubbub.sdk.way_in import NetworkWayIn, WayIn, session_with

__all__ = ["Connection", "connect"]

log = logging.getLogger("hubbub.sdk")

E = TypeVar("E")

MAX_INCOMING = 1000
MAX_UNACKED = 1000

HISTORY = 50

# The names of events on the wire, for `on`.
NAMES: dict[object, object] = {"gap": Gap, **dict.fromkeys(CHANGES, Changed)}
NAMES.update(FLEETING_EVENTS)


def connect(
    url: str,
    user: str | None = None,
    password: str | None = None,
    *,
    token: Token | None = None,
    ca_file: str | Path | None = None,
    ssl: ssl_module.SSLContext | None = None,
    max_incoming: int = MAX_INCOMING,
    max_unacked: int = MAX_UNACKED,
    retry_s: float = RETRY_S,
    open_timeout_s: float = OPEN_S,
    backoff: Backoff | None = None,
) -> Connection:
    """A conversation with a server, to be opened with `async with`.

    >>> async with hubbub.connect("https://localhost:8080", "percy", "123", ca_file="ca.pem") as chat:
    ...     await chat.join("general")
    ...     async for message in chat:
    ...         print(message.sender, message.text)

    Args:
        url: the server's own URL, `https://host:port` or `http://host:port`; a path before the server's own is kept.
        token: in place of a name and a password, for a user of an application's own: a JWT, or a function, plain or
            async, that gives one.  It is called before each connection, and before the last token runs out, and gives
            None where nobody is signed in any more.
        ca_file: the certificate authority to trust, PEM; without it and `ssl`, the system's.
        ssl: what to trust, in full.
        max_incoming: messages kept for an application that does not take them; later ones are fetched from the
            server's log once it does.
        max_unacked: requests without an answer at once; more wait for their turn.
        retry_s: how long a request that the server refuses for now (`rate_limited`, `unavailable`) is asked again.
        open_timeout_s: how long the first connection is tried for; later ones are tried for ever.
        backoff: the pauses between tries.

    Raises:
        ValueError: `url` is none, or `ssl` or `ca_file` is given for plain HTTP, or both are given; or there is neither
            a name with a password nor a token, or both.
    """
    server = ServerAddress(url, trusting(ca_file, ssl))
    return Connection(
        NetworkWayIn(server, session_with(server, user, password, token)),
        max_incoming=max_incoming,
        max_unacked=max_unacked,
        retry_s=retry_s,
        open_timeout_s=open_timeout_s,
        backoff=backoff or Backoff(),
    )


def trusting(ca_file: str | Path | None, context: ssl_module.SSLContext | None) -> ssl_module.SSLContext | None:
    """What to trust: an authority, or what the caller has made; None for the system's."""
    if ca_file is not None and context is not None:
        raise ValueError("ca_file or ssl, not both")
    return context if ca_file is None else ssl_module.create_default_context(cafile=ca_file)


class Connection:
    """One user's conversation with a server, made by `connect`.

    It is an asynchronous context manager, and an asynchronous iterator of the messages of all rooms joined, each once
    and in its room's order.  Connections that break are opened again; rooms are resumed where they were; requests
    without an answer are sent again, in their order, where that can do nothing twice.

    Every request can raise:
        Rejected: the server turned it down.
        Unanswered: the connection went before the answer came, and asking again might do the thing twice.
        ConnectionClosed: the conversation is over; as `SessionEnded`, `Kicked` or `Flooding` where the server ended it.
        AuthError: the conversation is over, because the password is no longer right, or there is no token any more.

    A request made while there is no connection waits for the next one; bound that with `asyncio.timeout`.
    """

    def __init__(
        self,
        way_in: WayIn,
        *,
        max_incoming: int = MAX_INCOMING,
        max_unacked: int = MAX_UNACKED,
        retry_s: float = RETRY_S,
        open_timeout_s: float = OPEN_S,
        backoff: Backoff,
    ) -> None:
        self._url = way_in.url
        self._inbox = Inbox(max_incoming)
        self._conversation = Conversation(Outbox(backoff.random, retry_s), self._inbox.put, self._tell, now)
        self._keeper = Keeper(way_in, self._conversation, self._inbox, backoff, open_timeout_s)
        self._free = asyncio.Semaphore(max_unacked)
        self._callbacks: dict[object, list[Callable[[Any], object]]] = {}
        self._wants_events = False

    def __repr__(self) -> str:
        return f"<Connection {self.user or '?'} at {self._url}>"

    # What is known

    @property
    def user(self) -> str:
        """The name that the server knows this client by; empty before the first connection."""
        return self._keeper.user

    @property
    def rooms(self) -> list[str]:
        """The rooms joined."""
        rooms = self._conversation.rooms.values()
        return [room.name for room in rooms if room.membership is not Membership.ENTERING]

    @property
    def is_online(self) -> bool:
        """Whether there is a connection now."""
        return self._keeper.is_online

    # Hearing

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message; ends when this client was closed, raises when the server ended the conversation."""
        while True:
            item = await self._next()
            if item is None:
                raise StopAsyncIteration
            if isinstance(item, Message):
                return item

    def events(self) -> AsyncIterator[Heard]:
        """Messages as in `async for`, and between them, in order, gaps and what is not kept in a log.

        The latter come from this call on; they are lost while `max_incoming` items wait to be taken.
        """
        self._wants_events = True
        return self._events()

    async def _events(self) -> AsyncIterator[Heard]:
        while (item := await self._next()) is not None:
            yield item

    async def _next(self) -> Heard | None:
        item = await self._inbox.get()
        if isinstance(item, Message) and item.type in CHANGES:
            item = read_changed(item)
        if isinstance(item, Gap | Changed):
            self._call_back(type(item), item)
        return item

    @overload
    def on(self, kind: type[E], callback: Callable[[E], object]) -> None: ...

    @overload
    def on(self, kind: str, callback: Callable[[Any], object]) -> None: ...

    def on(self, kind: object, callback: Callable[[Any], object]) -> None:
        """Call a function with each event of a kind that is no message.

        Args:
            kind: a type such as `Typing`, or the type that an event of the application's own has on the wire, which
                comes as a `Signal`.
            callback: a plain function, which must not block: it is called while reading, before the next frame.
                That of a `Gap`, or of `Changed`, is called when the iterator comes to its place among the messages.

        Raises:
            TypeError: it is a coroutine function; iterate over `events()` to await something.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("a callback is a plain function; iterate over events() to await something")
        self._callbacks.setdefault(NAMES.get(kind, kind), []).append(callback)

    def _tell(self, event: Heard) -> None:
        self._call_back(event.type if isinstance(event, Signal) else type(event), event)
        if isinstance(event, Signal):
            self._call_back(Signal, event)
        if self._wants_events:
            self._inbox.put([event])

    def _call_back(self, kind: object, event: Heard) -> None:
        for callback in self._callbacks.get(kind, ()):
            try:
                callback(event)
            except Exception:
                log.exception("a callback failed")

    # Asking

    async def send(self, room: str, text: str, *, key: str | None = None) -> Receipt:
        """Say something in a room; returns when the server has kept it.

        Args:
            key: names this message for its sender: within five minutes it is kept once, however often it is sent, and
                with another text it is rejected (`conflict`).  1 to 128 characters.
                Without one it gets a new one, with which it is sent again after a lost connection.
        """
        payload = {"room": known_as(room), "message": text, "key": str(uuid.uuid4()) if key is None else key}
        return read_payload(await self._ask("send_message", payload, Kind.KEYED), Receipt)

    async def edit(self, room: str, seq: int, text: str, *, key: str | None = None) -> Receipt:
        """Give a message of this user another text; returns when the server has kept that.

        Args:
            key: as for `send`.
        """
        return await self._change("edit_message", {"room": known_as(room), "seq": seq, "message": text}, key)

    async def delete(self, room: str, seq: int, *, key: str | None = None) -> Receipt:
        """Take a message of this user back: its text is gone from the server when this returns."""
        return await self._change("delete_message", {"room": known_as(room), "seq": seq}, key)

    async def react(self, room: str, seq: int, emoji: str, on: bool = True, *, key: str | None = None) -> Receipt:
        """React to a message, or take that back (not `on`)."""
        return await self._change("react", {"room": known_as(room), "seq": seq, "emoji": emoji, "on": on}, key)

    async def _change(self, type_: str, payload: dict[str, Any], key: str | None) -> Receipt:
        payload["key"] = str(uuid.uuid4()) if key is None else key
        return read_payload(await self._ask(type_, payload, Kind.KEYED), Receipt)

    async def follow(self, room: str) -> RoomEntry:
        """Have a room in the list of this user's rooms, which outlives this program; it is not entered by that."""
        return read_payload(await self._ask("follow", {"room": room}, Kind.REPEATABLE), RoomEntry)

    async def unfollow(self, room: str) -> None:
        """Take a room off that list."""
        await self._ask("unfollow", {"room": room}, Kind.REPEATABLE)

    async def mute(self, room: str, on: bool = True) -> None:
        """Note that this user does not want to be told of each message in a room that it follows, or does again."""
        await self._ask("mute", {"room": room, "on": on}, Kind.REPEATABLE)

    async def join(self, room: str, *, history: int = HISTORY) -> Joined:
        """Enter a room.  What is said after the newest message returned is heard, whatever happens to connections.

        Given up half-way, it leaves the room in `rooms` where the server has let this client in.

        Args:
            history: return the newest messages, so many at most (0 to 200).
        """
        name = known_as(room)
        known = self._conversation.joined(name)
        if known is not None:
            try:
                return await self._look(known, history)
            except Rejected as rejected:
                if rejected.code != ErrorCode.NOT_IN_ROOM:
                    raise
                self._conversation.disown(known)  # the server has put this client out, and said nothing
        entered = read_entered(await self._ask("join_room", {"room": room, "history": history}, Kind.REPEATABLE))
        return Joined(
            entered.room,
            entered.seq,
            entered.members,
            entered.messages,
            entered.read,
            entered.count,
            entered.title or entered.room,
        )

    async def _look(self, room: RoomCursor, history: int) -> Joined:
        """What a join would tell of a room that is joined."""
        present = await self._present(room.name)
        messages = (await self.history(room.name, limit=history)).messages if history else []
        seq = messages[-1].seq if messages else room.last
        return Joined(room.name, seq, present.members, messages, room.read, present.count, room.title)

    async def leave(self, room: str) -> None:
        """Leave a room; nothing of it is heard any more.

        Given up half-way, it takes the room out of `rooms` where the server has been told.
        """
        try:
            await self._ask("leave_room", {"room": known_as(room)}, Kind.REPEATABLE)
        except Rejected as rejected:
            if rejected.code != ErrorCode.NOT_IN_ROOM:
                raise

    async def history(
        self, room: str, *, before: int | None = None, after: int | None = None, limit: int = HISTORY
    ) -> Page:
        """Messages of a room that was joined: next before or after a seq; the newest, with neither.

        Args:
            limit: so many at most (1 to 200).
        """
        payload: dict[str, Any] = {"room": known_as(room), "limit": limit}
        payload |= {} if before is None else {"before": before}
        payload |= {} if after is None else {"after": after}
        return read_page(await self._ask("history", payload, Kind.REPEATABLE))

    async def presence(self, room: str) -> list[str]:
        """The users in a room that was joined, sorted; the first 1,000 where there are more."""
        return (await self._present(known_as(room))).members

    async def _present(self, name: str) -> Present:
        return read_present(await self._ask("presence", {"room": name}, Kind.REPEATABLE))

    async def mark_read(self, room: str, seq: int) -> None:
        """Tell the others in a room that this user has read up to a message."""
        await self._ask("mark_read", {"room": known_as(room), "seq": seq}, Kind.REPEATABLE)

    def typing(self, room: str, on: bool) -> None:
        """Tell the others in a room that this user types, or no longer does.  Does not wait; lost when offline."""
        self._keeper.require_open()
        if self.is_online:
            payload = {"room": known_as(room), "on": on}
            self._conversation.ask("typing", payload, Kind.FLEETING, lambda answer: None)

    async def request(self, type: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: A002  # as on the wire
        """Send an event of the application's own; the payload of the server's answer."""
        return await self._ask(type, payload or {}, Kind.ONCE)

    async def _ask(self, type_: str, payload: dict[str, Any], kind: Kind) -> dict[str, Any]:
        await self._free.acquire()
        try:
            self._keeper.require_open()
        except HubbubError:
            self._free.release()
            raise
        return await ask(self._conversation, type_, payload, kind, over=self._free.release)

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Log in and connect.

        Raises:
            AuthError: wrong name or password, or no token that the server takes.
            Unreachable: no server answered in time, or it cannot be trusted.
            ProtocolError: what answered is no Hubbub server.
            Rejected: the server does not let this user in.
            Exception: what the function for tokens has raised.
        """
        await self._keeper.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Log out and end the conversation: iterators end, requests without an answer raise `ConnectionClosed`."""
        await self._keeper.close()
