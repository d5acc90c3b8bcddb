"""Functions of an application that hold the event loop are named, and where they stand."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog.testing

from hubbub import Client, Credentials, Event, Hub, Refused, holding
from hubbub.acts import Act
from hubbub.holding import LINES, LINES_EVERY_S, LOOKS, Beat, Holding, stand_of
from hubbub.signatures import name_of, takes
from hubbub.testing import Clock, at_work
from unit.hot_path import Bytecodes

pytestmark = pytest.mark.anyio

HERE = "test_holding.py:"
LONG_S = 0.06
SHORT_S = 0.04


class Vote(Event, tag="vote"):
    poll: str


@contextmanager
def told() -> Iterator[list[Any]]:
    """What is told of functions meanwhile."""
    with structlog.testing.capture_logs() as lines:
        yield lines
        lines[:] = [line for line in lines if "the event loop" in line["event"]]


def of_clock() -> tuple[Clock, Holding]:
    clock = Clock()
    return clock, Holding(clock)


# How long


async def test_a_handler_that_holds_the_loop_is_named_with_its_place_and_time() -> None:
    hub, clock = Hub(), Clock()

    @hub.on
    def count(vote: Vote, client: Client) -> None:
        clock.go(LONG_S)

    async with at_work(hub, clock=clock) as stage:
        percy = await stage.client("percy")
        with told() as lines:
            await percy.ask("vote", {"poll": "lunch"})
    [line] = lines
    assert (line["event"], line["function"], line["ms"]) == ("held the event loop", f"handler {count.__qualname__}", 60)
    assert line["log_level"] == "warning"
    assert line["where"].endswith(f"{HERE}{count.__code__.co_firstlineno}")


def test_every_kind_of_function_is_watched() -> None:
    clock, hub = Clock(), Hub()
    handlers = hub._handlers
    handlers.holding.clock = clock

    def hook(client: Client) -> None:
        clock.go(LONG_S)

    def joining(room: str, client: Client) -> None:
        clock.go(LONG_S)

    def policy(client: Client, act: Act, room: str | None) -> None:
        clock.go(LONG_S)

    hub.on_connect(hook)
    hub.on_disconnect(hook)
    hub.on_join(joining)
    hub.policy(policy)
    client: Any = None
    assert handlers.policy is not None
    with told() as lines:
        for hooks in (handlers.connect_hooks, handlers.disconnect_hooks):
            hooks[0](client)
        handlers.join_hooks[0]("lunch", client)
        handlers.policy(client, Act.POST, None)
    assert [line["function"].split()[0] for line in lines] == ["on_connect", "on_disconnect", "on_join", "policy"]


async def test_a_check_of_who_signs_in_is_watched_where_it_runs_on_the_loop() -> None:
    clock, hub = Clock(), Hub()
    hub._handlers.holding.clock = clock

    @hub.authenticate
    async def who(credentials: Credentials) -> str | None:
        clock.go(LONG_S)
        return credentials.username

    check: Any = hub._handlers.check
    assert (name_of(check), inspect.iscoroutinefunction(check)) == (name_of(who), True)
    assert takes(check, 1) and not takes(check, 2)
    with told() as lines:
        assert await check(Credentials("percy", "123")) == "percy"
    assert [line["function"].split()[0] for line in lines] == ["authenticate"]

    plain = Hub()
    plain.authenticate(print)
    assert plain._handlers.check is print, "it runs in a thread, and holds nobody"


def test_what_is_quick_is_not_told() -> None:
    clock, watch = of_clock()
    with told() as lines:
        watch.watched("handler", clock.go)(SHORT_S)
    assert not lines


def test_what_fails_is_told_too() -> None:
    clock, watch = of_clock()

    def fail() -> None:
        clock.go(LONG_S)
        raise Refused("no", "not now")

    with told() as lines, pytest.raises(Refused):
        watch.watched("handler", fail)()
    assert len(lines) == 1


def test_one_that_is_slow_each_time_has_a_few_lines() -> None:
    clock, watch = of_clock()
    slow = watch.watched("handler", clock.go)
    with told() as lines:
        for _ in range(20):
            slow(LONG_S)
        assert len(lines) == LINES
        clock.go(LINES_EVERY_S)
        slow(LONG_S)
        assert lines[-1]["lines_left_out"] == 20 - LINES
        watch.watched("handler", clock.go)(LONG_S)
    assert len(lines) == LINES + 2, "another has lines of its own"


# Steps of asynchronous ones


async def test_only_the_steps_of_an_asynchronous_one_count() -> None:
    clock, watch = of_clock()

    async def wait(steps: list[float]) -> str:
        for seconds in steps:
            clock.go(SHORT_S)
            await asyncio.sleep(0)
            clock.go(seconds)
        return "done"

    call = watch.watched("handler", wait)
    with told() as lines:
        assert await call([0.0, 0.0, 0.0]) == "done"
        assert not lines
        assert await call([SHORT_S, 0.0]) == "done"
    assert [line["ms"] for line in lines] == [80]


async def test_an_asynchronous_one_is_cancelled_and_fails_as_ever() -> None:
    _clock, watch = of_clock()
    seen: list[str] = []

    async def wait(for_: asyncio.Future[str]) -> str:
        try:
            return await for_
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        except ValueError as error:
            return f"caught {error}"
        finally:
            await asyncio.sleep(0)
            seen.append("tidied")

    call = watch.watched("handler", wait)
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]

    async def run(future: asyncio.Future[str]) -> str:
        result: str = await call(future)
        return result

    tasks = [asyncio.create_task(run(future)) for future in futures]
    await asyncio.sleep(0)
    futures[0].set_result("fine")
    futures[1].set_exception(ValueError("it"))
    tasks[2].cancel()
    assert await asyncio.gather(*tasks[:2]) == ["fine", "caught it"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    assert sorted(seen) == ["cancelled", "tidied", "tidied", "tidied"]


async def test_one_that_catches_its_cancellation_goes_on() -> None:
    _clock, watch = of_clock()

    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "went on"

    async def run() -> str:
        result: str = await watch.watched("handler", stubborn)()
        return result

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "went on"


# What it costs


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11), reason="another Python has other bytecodes"
)
async def test_a_function_that_is_watched_costs_a_few_bytecodes_more() -> None:
    watch = Holding(time.monotonic)

    def plain(vote: int, client: int) -> None: ...
    async def asynchronous(vote: int, client: int) -> None: ...

    assert await bytecodes(watch.watched("handler", plain)) - await bytecodes(plain) <= 22
    assert await bytecodes(watch.watched("handler", asynchronous)) - await bytecodes(asynchronous) <= 53


async def bytecodes(function: Callable[..., Any]) -> int:
    """How many a call costs."""
    with Bytecodes() as counted:
        result = function(1, 2)
        if result is not None:
            await result
    return counted.count


# Where it stands


def at_rest(watch: Holding, deeper: Callable[[], Any]) -> Any:
    """Call something from a function of an application."""

    def handler() -> Any:
        return deeper()

    return watch.watched("handler", handler)()


def test_where_a_function_stands_is_told_from_its_innermost_frames() -> None:
    _clock, watch = of_clock()

    def deeper() -> Any:
        return stand_of(sys._getframe())

    watched, stands = at_rest(watch, deeper)
    assert watched.name.endswith("at_rest.<locals>.handler")
    inner, outer = stands.split(" < ")
    assert inner.endswith(" deeper") and outer.endswith(" handler")
    assert f"{HERE}{deeper.__code__.co_firstlineno + 1} " in inner
    assert stand_of(sys._getframe()) is None, "nobody is told of what is no function of an application"
    assert stand_of(None) is None


async def test_where_a_step_stands_is_told() -> None:
    _clock, watch = of_clock()

    async def deeper() -> Any:
        await asyncio.sleep(0)
        return stand_of(sys._getframe())

    async def handler() -> Any:
        return await deeper()

    watched, stands = await watch.watched("handler", handler)()
    assert watched.name.endswith("handler")
    assert [place.split()[-1] for place in stands.split(" < ")] == ["deeper", "handler"]


def test_only_the_innermost_frames_are_told() -> None:
    _clock, watch = of_clock()

    def deeper(times: int) -> Any:
        return deeper(times - 1) if times else stand_of(sys._getframe())

    _watched, stands = at_rest(watch, functools.partial(deeper, 500))
    assert len(stands.split(" < ")) == holding.FRAMES


def test_it_is_told_once_when_the_beat_was_missed_for_long() -> None:
    _clock, watch = of_clock()
    beat = Beat()

    def hold(looks: int) -> None:
        for _ in range(looks):
            beat.look(0.0, sys._getframe)

    call = watch.watched("handler", hold)
    with told() as lines:
        for _ in range(3):
            beat.beat()
            call(LOOKS)  # the first one sees the beat
        assert not [line for line in lines if line["event"] == "holds the event loop"]
        call(3 * LOOKS)
    [line] = lines
    assert line["event"] == "holds the event loop"
    assert line["where"].endswith(f"{HERE}{hold.__code__.co_firstlineno}")
    assert " hold" in line["stands"]


async def test_a_thread_looks_while_the_loop_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BEAT_S", 0.001)
    _clock, watch = of_clock()
    seen = threading.Event()
    found: list[Any] = []

    def note(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        found.append(line)
        seen.set()
        raise structlog.DropEvent

    def block() -> bool:
        return seen.wait(30)

    monkeypatch.setattr(holding, "log", structlog.wrap_logger(None, processors=[note]))
    task = asyncio.create_task(Beat().run())
    await asyncio.sleep(0)
    assert watch.watched("handler", block)()
    task.cancel()
    assert found[0]["function"].endswith("block")
    assert "threading.py:" in found[0]["stands"]
    assert " block" in found[0]["stands"]
