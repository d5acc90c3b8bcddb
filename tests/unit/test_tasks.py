"""Tasks with an owner, and work that is done once for all who wait for it."""

from __future__ import annotations

import asyncio

import pytest

from gates import Gate, turns
from hubbub import tasks as tasks_module
from hubbub.tasks import Once, Tasks

pytestmark = pytest.mark.anyio


async def test_tasks_are_owned_until_they_end() -> None:
    tasks, gate = Tasks(), Gate(is_open=False)
    tasks.start(gate.enter())
    tasks.start(gate.enter())
    await turns()
    assert len(tasks) == 2
    waiting = asyncio.create_task(tasks.wait())
    await turns()
    assert not waiting.done()
    gate.open()
    await waiting
    await turns()
    assert len(tasks) == 0
    await tasks.wait()


async def test_waiting_may_have_an_end() -> None:
    tasks, gate = Tasks(), Gate(is_open=False)
    tasks.start(gate.enter())
    await tasks.wait(timeout_s=0)
    assert len(tasks) == 1
    await tasks.cancel()


async def test_cancelling_waits_until_all_have_ended() -> None:
    tasks, gate = Tasks(), Gate(is_open=False)
    ended: list[str] = []

    async def work() -> None:
        try:
            await gate.enter()
        finally:
            await turns(3)
            ended.append("tidied up")

    tasks.start(work())
    await turns()
    await tasks.cancel()
    assert ended == ["tidied up"]
    assert len(tasks) == 0


async def test_a_task_that_ignores_its_cancellation_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks_module, "CANCEL_S", 0)
    tasks, gate = Tasks(), Gate(is_open=False)

    async def work() -> None:
        for _ in range(2):
            try:
                await gate.enter()
            except asyncio.CancelledError:
                continue

    tasks.start(work())
    await turns()
    await tasks.cancel()
    assert len(tasks) == 1
    gate.open()
    await tasks.wait()


class Work:
    """Something to do, which fails as often as it is told to, and is counted."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.failures = 0
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        await self.gate.enter()
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError


async def test_work_is_done_once_for_all_who_wait() -> None:
    once, work = Once(), Work()
    assert (once.has_begun, once.is_done) == (False, False)
    work.gate.close()
    waiting = [asyncio.create_task(once.done(work)) for _ in range(3)]
    await turns()
    assert (once.has_begun, once.is_done) == (True, False)
    work.gate.open()
    await asyncio.gather(*waiting)
    await once.done(work)
    assert (once.has_begun, once.is_done) == (True, True)
    assert work.count == 1


async def test_all_who_wait_hear_of_a_failure_and_the_next_has_it_done_again() -> None:
    once, work = Once(), Work()
    work.failures = 1
    results = await asyncio.gather(*(once.done(work) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 3
    assert (once.has_begun, once.is_done) == (False, False)
    await once.done(work)
    assert once.is_done
    assert work.count == 2


async def test_work_that_has_failed_is_never_taken_for_done() -> None:
    once, work = Once(), Work()
    work.failures = 1
    work.gate.close()
    first = asyncio.create_task(once.done(work))
    await work.gate.reached()
    seen: list[bool] = []

    async def look() -> None:
        seen.append(once.is_done)
        if not once.is_done:
            await once.done(work)

    work.gate.open()
    second = asyncio.create_task(look())  # in the very turn in which the work fails
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert seen == [False]
    assert isinstance(results[0], ZeroDivisionError)
    assert results[1] is None
    assert work.count == 2


async def test_who_gives_up_waiting_does_not_end_it_for_the_others() -> None:
    once, work = Once(), Work()
    work.gate.close()
    impatient, patient = [asyncio.create_task(once.done(work)) for _ in range(2)]
    await turns()
    impatient.cancel()
    await turns()
    work.gate.open()
    await patient
    assert impatient.cancelled()
    assert work.count == 1
