"""Draining: a server goes, and nothing that its clients have said is lost, or said twice.

In order: whoever asks whether the server is ready is told that it is not, for as long as a load balancer needs to hear
of it; nobody is let in any more; where another node has the same rooms, clients are asked to move there, and served
until they do; what was taken is kept and told; who is still there is closed with 1012.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sized

import structlog

from hubbub.core import Core
from hubbub.dialect import V1
from hubbub.tasks import Tasks

__all__ = ["OPENINGS_S", "drain"]

log = structlog.get_logger("hubbub")

# From the moment that nobody is let in to the end of the drain.  `shutdown.LIMIT_S` leaves the rest to handing sockets
# over, to HTTP and to the engine.  Its parts, if each takes as long as it may, are a little less.
DRAIN_S = 6.0
# For clients that move by themselves.
MOVE_S = 2.0
# For handlers at work, from the beginning of the drain; but something is always left to them.
HANDLERS_S = 3.0
MIN_HANDLERS_S = 0.5
# For requests for a WebSocket that were let in just now.
OPENINGS_S = 0.5
# For the answers to a CLOSE: after two seconds a connection is cut.
ANSWERS_S = 2.25
LOOK_S = 0.01
# Nobody who has not come back yet is told to do so at once, together with all others.
MIN_RETURN_MS = 500


async def drain(
    core: Core, connections: Sized, openings: Tasks, lead_s: float, turn_out: Callable[[], None] | None = None
) -> None:
    """End a hub's work.

    Args:
        connections: the WebSockets; it ends with the last of them.
        openings: the requests for a WebSocket that are not answered yet.
        lead_s: seconds in which everything goes on but the answer to whether the server is ready.
        turn_out: closes the WebSockets of those that have not said who they are.
    """
    core.leave()
    if lead_s:
        await asyncio.sleep(lead_s)
    core.close()
    clock = asyncio.get_running_loop().time
    began = clock()
    within_ms = core.return_ms
    if core.can_move_clients:
        await let_clients_move(core, within_ms)
    core.start_draining()
    try:
        async with asyncio.timeout(max(MIN_HANDLERS_S, HANDLERS_S - (clock() - began))):
            await core.drained()
    except TimeoutError:
        log.warning("stopping with handlers still at work")
        await core.cancel_handlers()
    await openings.wait(OPENINGS_S)  # who was let in just now has to hear it too
    if turn_out is not None:
        turn_out()
    rest_ms = max(min(MIN_RETURN_MS, within_ms), within_ms - int((clock() - began) * 1000))
    await take_turns(core.goodbyes(rest_ms), until=began + DRAIN_S - ANSWERS_S)
    await openings.cancel()
    # Each is cut when it does not answer in time, so that this ends.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(began + DRAIN_S):
            while connections:  # noqa: ASYNC110  # they end one by one, and soon
                await asyncio.sleep(LOOK_S)
            await core.drained()  # what `on_disconnect` does about it
    await core.cancel_handlers()


async def let_clients_move(core: Core, within_ms: int) -> None:
    """Ask clients to move, and serve them until they have, for a while: classic ones do not hear of it."""
    clock = asyncio.get_running_loop().time
    until = clock() + min(within_ms / 1000, MOVE_S)
    await take_turns(core.moves(within_ms), until)
    while clock() < until and core.counts.connections[V1.name]:  # noqa: ASYNC110  # as below
        await asyncio.sleep(LOOK_S)


async def take_turns(steps: Iterator[None], until: float) -> None:
    """Take each step in a turn of the loop of its own, so that the others wait for no more than one; in time."""
    clock = asyncio.get_running_loop().time
    for _ in steps:
        if clock() < until:
            await asyncio.sleep(0)
