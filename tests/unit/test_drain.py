"""Draining: in which order a server goes, and what it owes to whom until then."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gates import Gate, turns
from heard import types
from hubbub import Client, Event, Hub
from hubbub import core as core_module
from hubbub import drain as drain_module
from hubbub.core import ServiceState
from hubbub.drain import drain
from hubbub.engine.memory import MemoryEngine
from hubbub.tasks import Tasks
from hubbub.testing import CLASSIC, Clock, Stage, at_work

pytestmark = pytest.mark.anyio


class Shared(MemoryEngine):
    """An engine that says that other nodes have the same rooms."""

    is_shared = True


def shared() -> MemoryEngine:
    clock = Clock()
    return Shared(clock=clock, wall=clock)


class Wait(Event, tag="wait"):
    pass


def draining(stage: Stage, lead_s: float = 0.0) -> asyncio.Task[None]:
    return asyncio.create_task(drain(stage.core, (), Tasks(), lead_s))


async def until(stage: Stage, state: ServiceState) -> None:
    while stage.core.state < state:
        await asyncio.sleep(0)


async def test_all_goes_on_while_only_the_answer_to_whether_it_is_ready_has_changed(stage: Stage) -> None:
    percy = await stage.client("percy")
    end = draining(stage, lead_s=60.0)
    await until(stage, ServiceState.LEAVING)
    assert not stage.core.is_closed
    await percy.join("lunch")
    await percy.ask("send_message", {"message": "hi"})
    alice = await stage.client("alice")
    assert percy.close_code is alice.close_code is None
    assert types(percy.take()) == ["new_message"]
    end.cancel()


async def test_clients_are_served_until_they_have_moved_to_another_node_and_nobody_waits_longer() -> None:
    async with at_work(engine=shared()) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice", CLASSIC)
        await percy.join("general")
        end = draining(stage)
        await until(stage, ServiceState.CLOSED)
        await turns()
        assert percy.take() == [{"type": "reconnect", "payload": {"within": 504, "reason": "restart"}}]
        await percy.ask("send_message", {"message": "hi"})
        assert types(alice.take()) == ["new_message"]
        assert percy.close_code is alice.close_code is None
        percy.hang_up()
        await end
        assert alice.close_code == 1012


async def test_who_does_not_move_is_closed_when_the_time_is_up_and_told_how_much_is_left_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain_module, "MOVE_S", 0.05)
    monkeypatch.setattr(core_module, "MIN_RETURN_MS", 5000)
    async with at_work(engine=shared()) as stage:
        percy = await stage.client("percy")
        await draining(stage)
        first, last = percy.take()
        assert percy.close_code == 1012
        assert first["payload"]["within"] == 5002
        assert 500 <= last["payload"]["within"] <= 5002 - 50


async def test_where_no_other_node_has_the_rooms_nobody_is_kept_waiting(stage: Stage) -> None:
    percy = await stage.client("percy")
    await draining(stage)
    assert types(percy.take()) == ["reconnect"]
    assert percy.close_code == 1012


async def test_what_was_said_before_the_end_is_answered_before_the_close() -> None:
    hub = Hub()
    gate = Gate(is_open=False)

    @hub.on
    async def wait(wait: Wait, client: Client) -> None:
        await gate.enter()

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        percy.say("wait", {}, 1)
        await gate.reached()
        end = draining(stage)
        await until(stage, ServiceState.DRAINING)
        percy.say("wait", {}, 2)
        gate.open()
        await end
        assert types(percy.take()) == ["ack", "reconnect"]


async def test_the_loop_turns_between_a_few_goodbyes_and_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_module, "TOLD_AT_ONCE", 2)
    guests = [await stage.client(f"user{number}") for number in range(7)]
    end = draining(stage)
    closed = [0]
    while not end.done():
        await asyncio.sleep(0)
        closed.append(sum(guest.close_code is not None for guest in guests))
    steps = [after - before for before, after in itertools.pairwise(closed)]
    assert closed[-1] == 7
    assert max(steps) == 2


async def test_one_that_goes_during_the_goodbyes_is_let_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "TOLD_AT_ONCE", 1)
    percy, alice = await stage.client("percy"), await stage.client("alice")
    goodbyes = stage.core.goodbyes(1000)
    next(goodbyes)
    alice.hang_up()
    assert list(goodbyes) == [None]
    assert (percy.close_code, alice.close_code) == (1012, None)


async def test_goodbyes_that_come_late_are_said_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "TOLD_AT_ONCE", 1)
    guests = [await stage.client(f"user{number}") for number in range(5)]
    saying = drain_module.take_turns(stage.core.goodbyes(1000), until=0.0)
    with pytest.raises(StopIteration):
        saying.send(None)  # it never waits
    assert {guest.close_code for guest in guests} == {1012}
