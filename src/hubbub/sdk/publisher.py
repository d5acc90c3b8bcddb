"""Publishing and asking with a key, from programs that are no users: workers, cron jobs, web applications."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar

from hubbub.errors import Rejected
from hubbub.published import Published, RoomHistory, SaidInRoom
from hubbub.sdk import calls
from hubbub.sdk.calls import Ask, Attempts, HttpReply, KeyCall, Pause, attempts
from hubbub.sdk.courier import AsyncCourier, BlockingCourier
from hubbub.sdk.session import ServerAddress

__all__ = ["AsyncPublisher", "Published", "Publisher", "RoomHistory", "SaidInRoom"]

T = TypeVar("T")

# Messages of a room that are asked for, unless it is said how many.
HISTORY = 50
# For how long a call is tried.
WITHIN_S = 10.0


class KeyHolder:
    """Where the server is, and by which key it is asked."""

    def __init__(self, url: str, key: str, tls: ssl.SSLContext | None, within_s: float) -> None:
        self._server = ServerAddress(url, tls)
        self._within_s = within_s
        if not key or not key.isascii() or not key.isprintable():
            raise ValueError("a key is what `hubbub key add` prints")
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._server.url}>"

    def _attempts(self, call: KeyCall[T]) -> Attempts[T]:
        return attempts(call, self._server.url, within_s=self._within_s, clock=time.monotonic)


class Publisher(KeyHolder):
    """Publishes and asks, and waits for the answer.  Threads may share one, and a process that is forked has its own
    connections.

    >>> with Publisher("https://chat.example.com", key) as publisher:
    ...     publisher.publish("news", {"headline": "It works"})

    Each method tries again while nobody answers, or the server cannot do it now; what is published has a key, so that
    it is kept once.  It raises `Rejected` for what the server turns down, `AuthError` for a key that is unknown or was
    revoked, `Unreachable` where no good answer came in time, and `ProtocolError` for what is no such server.

    Args:
        url: of the server, with the path that it is mounted under, if any.
        key: as `hubbub key add` has printed it.
        tls: what to trust; None takes the system's authorities.
        within_s: seconds for which a call is tried.

    Raises:
        ValueError: the URL or the key is none.
    """

    def __init__(self, url: str, key: str, *, tls: ssl.SSLContext | None = None, within_s: float = WITHIN_S) -> None:
        super().__init__(url, key, tls, within_s)
        self._courier = BlockingCourier(self._server, self._headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections; it may be used again."""
        self._courier.close()

    def publish(self, room: str, event: object, *, type: str | None = None, key: str | None = None) -> Published:  # noqa: A002
        """Say something in a room; it is kept when this returns.

        Args:
            event: an `Event`, or anything that JSON can say.
            type: of an event of the application, whose fields `event` has; without one it is a `publication`.
            key: a name for it: within five minutes, one is kept once by this program's key.
        """
        return self._do(calls.publish_call(room, event, type, key))

    def broadcast(
        self,
        rooms: Iterable[str],
        event: object,
        *,
        type: str | None = None,  # noqa: A002
        key: str | None = None,
    ) -> list[Published | Rejected]:
        """Say something in several rooms; what came of each, in their order."""
        return self._do(calls.broadcast_call(rooms, event, type, key))

    def history(
        self, room: str, *, limit: int = HISTORY, after: int | None = None, before: int | None = None
    ) -> RoomHistory:
        """What was said in a room, oldest first: after a seq, before one, or the newest; 300 messages at most."""
        return self._do(calls.history_call(room, limit, after, before))

    def presence(self, room: str) -> list[str]:
        """The users in a room, sorted; the first 1,000 of them."""
        return self._do(calls.presence_call(room))

    def rooms(self, pattern: str = "*") -> dict[str, int]:
        """The rooms in which something was said, by name, with how many users are in each."""
        found, after = self._do(calls.rooms_call(pattern, ""))
        while after:
            more, after = self._do(calls.rooms_call(pattern, after))
            found |= more
        return found

    def disconnect(self, user: str) -> None:
        """Close the connections of a user, who may log in again."""
        self._do(calls.disconnect_call(user))

    def info(self) -> list[dict[str, Any]]:
        """How the server does that has answered: connections, users, rooms."""
        return self._do(calls.info_call())

    def batch(self, commands: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any] | Rejected]:
        """Do several things in one request, in their order; what came of each.

        Args:
            commands: as in `[{"publish": {"channel": "news", "data": 1}}]`, 100 at most.
        """
        return self._do(calls.batch_call(commands))

    def _do(self, call: KeyCall[T]) -> T:
        steps = self._attempts(call)
        outcome: HttpReply | OSError | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Ask):
                    outcome = self._courier.send(step)
                else:
                    time.sleep(step.seconds)
                    outcome = None
        except StopIteration as done:
            result: T = done.value
            return result


class AsyncPublisher(KeyHolder):
    """The same for a program with an event loop: each method is to be awaited."""

    def __init__(self, url: str, key: str, *, tls: ssl.SSLContext | None = None, within_s: float = WITHIN_S) -> None:
        super().__init__(url, key, tls, within_s)
        self._courier = AsyncCourier(self._server, self._headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections; it may be used again."""
        await self._courier.close()

    async def publish(
        self,
        room: str,
        event: object,
        *,
        type: str | None = None,  # noqa: A002
        key: str | None = None,
    ) -> Published:
        """As `Publisher.publish`."""
        return await self._do(calls.publish_call(room, event, type, key))

    async def broadcast(
        self,
        rooms: Iterable[str],
        event: object,
        *,
        type: str | None = None,  # noqa: A002
        key: str | None = None,
    ) -> list[Published | Rejected]:
        """As `Publisher.broadcast`."""
        return await self._do(calls.broadcast_call(rooms, event, type, key))

    async def history(
        self, room: str, *, limit: int = HISTORY, after: int | None = None, before: int | None = None
    ) -> RoomHistory:
        """As `Publisher.history`."""
        return await self._do(calls.history_call(room, limit, after, before))

    async def presence(self, room: str) -> list[str]:
        """As `Publisher.presence`."""
        return await self._do(calls.presence_call(room))

    async def rooms(self, pattern: str = "*") -> dict[str, int]:
        """As `Publisher.rooms`."""
        found, after = await self._do(calls.rooms_call(pattern, ""))
        while after:
            more, after = await self._do(calls.rooms_call(pattern, after))
            found |= more
        return found

    async def disconnect(self, user: str) -> None:
        """As `Publisher.disconnect`."""
        await self._do(calls.disconnect_call(user))

    async def info(self) -> list[dict[str, Any]]:
        """As `Publisher.info`."""
        return await self._do(calls.info_call())

    async def batch(self, commands: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any] | Rejected]:
        """As `Publisher.batch`."""
        return await self._do(calls.batch_call(commands))

    async def _do(self, call: KeyCall[T]) -> T:
        steps = self._attempts(call)
        outcome: HttpReply | OSError | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._courier.send(step)
        except StopIteration as done:
            result: T = done.value
            return result
