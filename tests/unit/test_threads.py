"""A hub belongs to a thread: others are refused, and have a way to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from hubbub import Client, Hub
from hubbub.errors import ConfigError, NotKnown, Refused, WrongThread
from hubbub.events import Event
from hubbub.tasks import Tasks
from hubbub.testing import at_work
from hubbub.threads import HomeThread

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Alarm(Event, tag="alarm"):
    text: str


async def test_other_threads_are_refused() -> None:
    hub = Hub()
    async with at_work(hub) as stage:
        room = hub.room("ops")
        uses: list[Callable[[], object]] = [
            lambda: room.post(Alarm("fire")),
            lambda: room.cast(Alarm("fire")),
            lambda: room.members,
            lambda: room.users,
            lambda: hub.disconnect("percy"),
            lambda: hub.review(),
        ]
        for use in uses:
            with pytest.raises(WrongThread, match=r"hub\.from_thread\(function, \.\.\.\) calls a function where"):
                await asyncio.to_thread(use)
        with pytest.raises(WrongThread, match="does not run in this thread"):
            await asyncio.to_thread(lambda: asyncio.run(hub.revoke("percy")))
        assert hub.room("ops") == await asyncio.to_thread(hub.room, "ops")
        assert (await stage.engine.head("ops")).seq == 0


async def test_what_is_posted_from_a_thread_is_kept_when_it_goes_on() -> None:
    hub = Hub()
    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.join("ops")
        receipt = await asyncio.to_thread(hub.from_thread, hub.room("ops").post, Alarm("fire"), key="k")
        assert receipt.seq == (await stage.engine.head("ops")).seq == 1
        assert [event["type"] for event in await percy.hear()] == ["alarm"]


async def test_anything_may_be_called_from_a_thread() -> None:
    hub = Hub()

    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def refuse() -> None:
        raise Refused("conflict", "no")

    def fail() -> None:
        raise TimeoutError("too slow")

    async with at_work(hub):
        assert await asyncio.to_thread(lambda: hub.from_thread(later, 5)) == 5
        assert await asyncio.to_thread(lambda: hub.from_thread(threading.get_ident)) == threading.get_ident()
        with pytest.raises(Refused, match="conflict: no"):
            await asyncio.to_thread(lambda: hub.from_thread(refuse))
        with pytest.raises(TimeoutError, match="too slow"):
            await asyncio.to_thread(lambda: hub.from_thread(fail))


async def test_the_thread_of_the_hub_would_wait_for_itself() -> None:
    hub = Hub()
    async with at_work(hub):
        with pytest.raises(WrongThread, match="call it directly"):
            hub.from_thread(hub.room("ops").post, Alarm("fire"))


async def test_the_ack_of_a_handler_waits_for_what_its_thread_has_posted() -> None:
    hub = Hub()

    @hub.on
    async def sound(alarm: Alarm, client: Client) -> None:
        await asyncio.to_thread(lambda: hub.from_thread(hub.room("ops").post, alarm))

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.join("ops")
        percy.say("alarm", {"text": "fire"}, "a")
        while not (heard := await percy.hear()):
            await asyncio.sleep(0)
        assert [event["type"] for event in heard + await percy.hear()] == ["ack", "alarm"]


async def test_a_stop_waits_for_calls_from_threads() -> None:
    hub = Hub()
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        has_begun.set()
        await may_end.wait()
        return "done"

    async with at_work(hub) as stage:
        calling = asyncio.ensure_future(asyncio.to_thread(lambda: hub.from_thread(wait)))
        await has_begun.wait()
        draining = asyncio.ensure_future(stage.core.drained())
        await asyncio.sleep(0)
        assert not draining.done()
        may_end.set()
        assert await calling == "done"
        await draining


async def test_a_call_that_is_cancelled_by_the_stop_is_told() -> None:
    hub = Hub()
    has_begun = asyncio.Event()

    async def wait() -> None:
        has_begun.set()
        await asyncio.Event().wait()

    async with at_work(hub):
        calling = asyncio.ensure_future(asyncio.to_thread(lambda: hub.from_thread(wait)))
        await has_begun.wait()
    with pytest.raises(NotKnown, match="has stopped"):
        await calling


async def test_a_call_that_is_cancelled_before_it_begins_is_told() -> None:
    tasks = Tasks()
    home = HomeThread(tasks)
    home.move_in()
    calling = threading.Event()

    def call() -> None:
        calling.set()
        with pytest.raises(NotKnown, match="has stopped"):
            home.call(print)

    thread = asyncio.ensure_future(asyncio.to_thread(call))
    while not len(tasks):
        await asyncio.sleep(0)
    # The task was made in this turn of the loop, and its first step is in the next one.
    tasks.cancel_soon()
    await asyncio.wait_for(thread, 5)


def test_a_hub_that_does_not_run_is_told() -> None:
    with pytest.raises(ConfigError, match="not running"):
        Hub().from_thread(print)


def test_a_loop_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    home = HomeThread(Tasks())
    loop = asyncio.new_event_loop()
    is_called, call = threading.Event(), loop.call_soon_threadsafe

    def call_soon(function: Callable[[], object]) -> object:
        try:
            return call(function)
        finally:
            is_called.set()

    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon)
    monkeypatch.setattr("hubbub.threads.LOOK_S", 0.01)

    async def move_in() -> None:
        home.move_in()

    loop.run_until_complete(move_in())
    told = in_thread(lambda: home.call(loop.stop))  # it waits in a loop that does not run
    is_called.wait()
    loop.close()
    with pytest.raises(NotKnown, match="has stopped"):
        told()
    with pytest.raises(ConfigError, match="has stopped"):
        in_thread(lambda: home.call(print))()


def in_thread(function: Callable[[], T]) -> Callable[[], T]:
    """Call a function in a thread of its own; what it returns can be asked for."""
    outcome: list[Any] = []
    has_begun = threading.Event()

    def run() -> None:
        has_begun.set()
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    has_begun.wait()

    def told() -> T:
        thread.join()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        result: T = outcome[0]
        return result

    return told
