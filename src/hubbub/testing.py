"""Trying a hub without a server: a hub in memory, clients of it without a socket, and a clock that is set.

>>> async with at_work(hub) as stage:
...     percy = await stage.client("percy")
...     await percy.join("lunch")
...     assert await percy.ask("vote", {"poll": "lunch", "option": 1}) == {"poll": "lunch", "counts": {"1": 1}}
...     assert [event["type"] for event in percy.take()] == ["tally"]

Nothing here waits for the network or for time.  What a client says is handled when the loop comes to it: `Guest.ask`,
`Guest.hear` and `Stage.settle` wait until the hub has nothing left to do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from hubbub.acts import Role
from hubbub.audit import Audit
from hubbub.client import Client, Participant
from hubbub.core import Core
from hubbub.dialect import CLASSIC, V1, Dialect
from hubbub.engine import Account, Engine
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import Refused
from hubbub.hub import Hub, put_to_work
from hubbub.policy import Rate, RateLimit
from hubbub.settings import Settings

__all__ = ["CLASSIC", "V1", "Clock", "Guest", "Stage", "at_work"]


class Clock:
    """A clock that goes when it is told to; seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Guest:
    """A client of the hub, and the other end of its connection: it says events, and takes what is written to it.

    Attributes:
        client: what handlers and hooks get.
        writes: what was written and not taken yet, a write each.
        outbox_size: bytes that this connection says it has not passed on yet; see `read_slowly`.
        closed: the close code and the reason, once the hub has closed the connection.
        is_reading: the hub reads from this connection; it stops for one whose events wait in line.
        is_broken: writing to it fails, as to a connection that is gone without a word.
    """

    def __init__(self, core: Core, client: Participant) -> None:
        self.client: Client = client
        self.writes: list[bytes] = []
        self.outbox_size = 0
        self.closed: tuple[int, str] | None = None
        self.is_reading = True
        self.is_broken = False
        self._core = core
        self._participant = client
        self._ids = itertools.count(1)
        self._untaken: list[dict[str, Any]] = []

    # Speaking

    def say(self, type_: str, payload: object, id_: object = None) -> None:
        """Send an event; without waiting for what it brings about."""
        envelope = {"type": type_, "payload": payload} | ({} if id_ is None else {"id": id_})
        self.say_text(json.dumps(envelope))

    def say_text(self, text: str) -> None:
        """Send any text."""
        self._core.dispatch.receive(self._participant, text)

    def say_binary(self) -> None:
        """Send a binary message."""
        self._core.dispatch.receive_binary(self._participant)

    def ping(self) -> bool:
        """Send a frame that is no event, such as a PING; whether it may be answered."""
        return self._core.dispatch.admit(self._participant)

    async def ask(self, type_: str, payload: object) -> Any:
        """Send a request; the payload of its ack, once all that it brings about has happened.

        Raises:
            Refused: it was answered by an error.
            AssertionError: it was not answered; a classic client never is.
        """
        id_ = f"ask {next(self._ids)}"
        self.say(type_, payload, id_)
        await self._core.drained()
        self._untaken += self._events()
        for event in self._untaken:
            if event.get("id") == id_:
                self._untaken.remove(event)
                return answer(event)
        raise AssertionError(f"{type_} was not answered; written were {self._untaken}")

    async def join(self, room: str, **more: object) -> Any:
        """Enter a room; the payload of the ack to `join_room`."""
        return await self.ask("join_room", {"room": room, **more})

    # Hearing

    def take(self) -> list[dict[str, Any]]:
        """The events written since the last look, an answer that `ask` has returned left out; without waiting."""
        taken, self._untaken = self._untaken + self._events(), []
        return taken

    async def hear(self) -> list[dict[str, Any]]:
        """The events written since the last look, once the hub has nothing left to do."""
        await self._core.drained()
        return self.take()

    def _events(self) -> list[dict[str, Any]]:
        data, self.writes = b"".join(self.writes), []
        return [json.loads(line) for line in data.splitlines()]

    # The connection

    def hang_up(self) -> None:
        """End the connection, as a client that goes away does."""
        self._core.disconnect(self._participant)
        self._participant.detach()

    def read_slowly(self) -> None:
        """Take nothing more of what is written: the outbox is over its limit from now on."""
        self.outbox_size = self._core.settings.max_outbox + 1
        self._core.rooms.feeding.mark_slow(self._participant)

    def read_on(self) -> None:
        """Take all that was written."""
        self.outbox_size = 0
        self._core.mark_caught_up(self._participant)

    @property
    def refused(self) -> int:
        """How many of its requests were turned down; a classic client hears nothing of it."""
        return self._participant.refused

    @property
    def dropped(self) -> int:
        """How many of its events were over its rate."""
        return self._participant.dropped

    @property
    def close_code(self) -> int | None:
        """The code that the hub has closed the connection with; None while it is open."""
        return self.closed[0] if self.closed else None

    # What the hub calls (`client.Socket`)

    def write(self, data: bytes) -> None:
        if self.is_broken:
            raise RuntimeError("the transport is closed")
        self.writes.append(data)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Stage:
    """A hub at work, and its clients.

    Attributes:
        hub: the application.
        engine: what it runs on.
        clock: its time, and the engine's.
        settings: what it runs with.
        core: its inside.
    """

    def __init__(self, hub: Hub, core: Core, engine: Engine, clock: Clock) -> None:
        self.hub = hub
        self.core = core
        self.engine = engine
        self.clock = clock
        self.settings = core.settings

    async def client(
        self,
        user: str,
        dialect: Dialect = V1,
        *,
        role: Role | None = None,
        session: str = "",
        echo: bool = True,
        rate: float = 0,
    ) -> Guest:
        """Let a client in, as if its user had logged in.

        Args:
            dialect: `V1`, or `CLASSIC`, which is in the room `general` from the beginning.
            role: that of its account, which is made if there is none; a member needs no account here.
            session: the login that it comes from; each user has one of its own unless this names another.
            echo: its user is sent what the user says; a classic client may not be.
            rate: events a second that it may send; 0 for no limit.

        Raises:
            Refused: by an `on_connect` hook.
        """
        if role is not None:
            await self.account(user, role)
        purses = self.core.budgets.purses(user, None, self.clock())
        limit = Rate(RateLimit(rate, self.settings.client_burst), self.clock(), purses) if rate else None
        client = Participant(
            user, session or f"session of {user}", dialect, in_a_line, echo=echo, rate=limit, purses=purses
        )
        await self.core.connect(client)
        guest = Guest(self.core, client)
        client.attach(guest)
        return guest

    async def account(self, user: str, role: Role = Role.MEMBER) -> None:
        """Make an account, which roles and invitations are given to; one that is there gets the role."""
        if await self.engine.account(user) is None:
            await self.engine.put_account(Account(user, "", role))
        await self.engine.set_role(user, role)
        await self.core.refresh_access()

    async def settle(self) -> None:
        """Wait until the hub has nothing left to do."""
        await self.core.drained()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due then."""
        self.clock.go(seconds)
        self.core.expire()
        await self.settle()


@asynccontextmanager
async def at_work(
    hub: Hub | None = None,
    *,
    engine: Engine | None = None,
    clock: Clock | None = None,
    audit: Audit | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Run a hub while the block runs.

    Args:
        hub: the application; the built-in chat alone without one.
        engine: what to run it on, not open yet; a new one in memory where none is given.
        clock: its time; a new clock where none is given.
        audit: its audit log; without one, none is kept.
        settings: as those of `Settings`, such as `max_message=100`.
    """
    clock = clock or Clock()
    engine = engine or MemoryEngine(clock=clock, wall=clock)
    hub = hub or Hub()
    core = put_to_work(hub, engine, replace(Settings(), **settings), clock, clock, audit)
    await engine.open(core.listener)
    await core.open()
    running = asyncio.get_running_loop().create_task(core.run())
    try:
        yield Stage(hub, core, engine, clock)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await core.cancel_handlers()
        await engine.close()


def in_a_line(text: bytes) -> bytes:
    """A text as a line: JSON as the hub writes it has no line breaks of its own."""
    return text + b"\n"


def answer(event: dict[str, Any]) -> Any:
    """The payload of an ack; raises what an error says."""
    payload = event["payload"]
    if event["type"] == "error":
        raise Refused(payload["code"], payload["message"], payload.get("retry_after"))
    return payload
