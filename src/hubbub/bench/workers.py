"""The processes that play the clients, seen from the one that conducts them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

import msgspec

from hubbub.bench.orders import Done, Order, OrderFailed, Setup, Tick, decode_report, line

__all__ = ["WorkerFailed", "WorkerProcess", "start_all", "stop_all"]

# A line: the buckets of a few histograms.
MAX_LINE = 16 * 1024 * 1024
STOP_S = 2.0


class WorkerFailed(Exception):
    """A worker died, or could not do what it was told, through no fault of the server's."""


class WorkerProcess:
    """One process, and what it says.

    Attributes:
        number: from 0.
        on_tick: gets each of its ticks.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self.number = number
        self.on_tick: Callable[[int, Tick], None] = lambda _number, _tick: None
        self._process = process
        self._answer: asyncio.Future[Done] | None = None
        self._failure: WorkerFailed | None = None
        self._listening = asyncio.create_task(self._listen())

    def say(self, order: Order) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        if self._failure is None:
            self._process.stdin.write(line(order))

    def ask(self, order: Order) -> asyncio.Future[Done]:
        """Give an order that is answered; the answer, or `WorkerFailed`."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            self._answer.set_exception(self._failure)
        self.say(order)
        return self._answer

    async def stop(self) -> None:
        """End it, by force if it has to be."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while text := await self._process.stdout.readline():
            try:
                report = decode_report(text)
            except msgspec.MsgspecError:
                break  # cut off in the middle
            match report:
                case Tick():
                    self.on_tick(self.number, report)
                case Done():
                    self._settle(report)
                case OrderFailed(why):
                    self._settle(WorkerFailed(f"a worker process failed: {why}"))
        code = await self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._failure = WorkerFailed(f"a worker process (pid {self._process.pid}) {how}")
        self._settle(self._failure)

    def _settle(self, outcome: Done | WorkerFailed) -> None:
        if self._answer is None or self._answer.done():
            return
        if isinstance(outcome, Done):
            self._answer.set_result(outcome)
        else:
            self._answer.set_exception(outcome)


async def start_all(count: int, setup: Setup) -> list[WorkerProcess]:
    """Start so many processes."""
    workers = []
    for number in range(count):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hubbub.bench.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            start_new_session=True,  # Ctrl-C is for the one that conducts
        )
        worker = WorkerProcess(number, process)
        worker.say(setup)
        workers.append(worker)
    return workers


async def stop_all(workers: Sequence[WorkerProcess]) -> None:
    """End them all."""
    await asyncio.gather(*(worker.stop() for worker in workers))
