"""The thread that works for the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from hubbub.engine.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test")
    yield worker
    worker.close()


async def test_work_is_done_in_order_and_in_one_other_thread(worker: Worker) -> None:
    done: list[int] = []
    futures = [worker.do(done.append, number) for number in range(100)]
    threads = {await worker.do(threading.get_ident), await worker.do(threading.get_ident)}
    assert done == list(range(100))
    assert all(future.done() for future in futures)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


async def test_an_error_goes_to_whoever_waits_and_the_next_piece_is_done(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)
    assert await worker.do(int, "7") == 7


async def test_what_nobody_waits_for_any_more_is_done_all_the_same(worker: Worker) -> None:
    go = threading.Event()
    done: list[str] = []
    worker.do(go.wait)
    waiting = asyncio.ensure_future(worker.do(done.append, "it"))
    await asyncio.sleep(0)
    waiting.cancel()
    go.set()
    await worker.do(int)
    assert waiting.cancelled()
    assert done == ["it"]


async def test_a_task_that_is_cancelled_waits_for_the_outcome_where_it_must_be_known(worker: Worker) -> None:
    go = threading.Event()
    seen: list[object] = []

    async def wait_for(outcome: asyncio.Future[int]) -> None:
        try:
            await outcome
        finally:
            seen.append(outcome.exception() or outcome.result())

    worker.do(go.wait)
    waiting = [
        asyncio.ensure_future(wait_for(worker.finish(int, "7"))),
        asyncio.ensure_future(wait_for(worker.finish(int, "x"))),
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    go.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(task.cancelled() for task in waiting)
    assert seen[0] == 7
    assert isinstance(seen[1], ValueError)


async def test_a_close_waits_for_what_was_asked_for(worker: Worker) -> None:
    done: list[int] = []
    future = worker.do(done.append, 1)
    worker.close()
    assert done == [1]
    await future


def test_one_that_never_worked_closes_at_once() -> None:
    Worker("idle").close()
