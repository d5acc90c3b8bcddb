"""A process that plays some of the clients, on the orders that come on its standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import uvloop

from hubbub.bench.crew import Crew
from hubbub.bench.orders import (
    Done,
    Drop,
    End,
    Gather,
    Measure,
    Order,
    OrderFailed,
    Part,
    Report,
    Rest,
    Return,
    Settle,
    Setup,
    Stop,
    Talk,
    decode_order,
    line,
)
from hubbub.settings import raise_file_limit

# A line: a thousand seats, and the certificates of a system.
MAX_LINE = 16 * 1024 * 1024


def main() -> None:
    """Work until the orders end."""
    raise_file_limit()
    logging.disable()  # what picows has to say of a connection is in the report
    uvloop.run(work())


async def work() -> None:
    orders = await standard_input()
    setup = decode_order(await orders.readline())
    assert isinstance(setup, Setup)
    crew = Crew(setup, tell)
    task: asyncio.Task[None] | None = None
    while text := await orders.readline():
        match decode_order(text):
            case Measure() as measure:
                crew.measure(measure)
            case End():
                crew.end()
            case Stop():
                if task is not None:
                    task.cancel()
            case order:
                task = asyncio.create_task(carry_out(crew, order))
                await asyncio.sleep(0)  # one that is cancelled before it has begun would not report
    # Whoever gave the orders has gone, or has nothing more to order.
    os._exit(0)


async def standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def carry_out(crew: Crew, order: Order) -> None:
    """Do as told, and say what came of it; when it is cancelled too."""
    try:
        await act(crew, order)
    except asyncio.CancelledError:
        pass
    except Exception as error:
        tell(OrderFailed(f"{type(error).__name__}: {error}"))
        return
    tell(Done(crew.report(), crew.standing()))


async def act(crew: Crew, order: Order) -> None:
    match order:
        case Gather():
            await crew.gather(order)
        case Talk():
            await crew.talk(order)
        case Settle():
            await crew.settle(order)
        case Drop():
            await crew.drop(order)
        case Return():
            await crew.come_back(order)
        case Rest():
            await crew.rest(order)
        case Part():
            await crew.part(order)
        case _:
            raise AssertionError(f"{type(order).__name__} is no order to be answered")


def tell(report: Report) -> None:
    """Send a report. It is small, and is read at once."""
    try:
        sys.stdout.buffer.write(line(report))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
