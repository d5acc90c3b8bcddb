"""The start and the end of an application, as an ASGI server tells it (lifespan protocol 2.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog

from hubbub.errors import ConfigError
from hubbub.mount.scopes import AsgiApp, AsgiMessage, Receive, Scope, Send

__all__ = ["Neighbour", "live"]

log = structlog.get_logger("hubbub.mount")


async def live(at_work: Callable[[], AbstractAsyncContextManager[Any]], receive: Receive, send: Send) -> None:
    """Be at work from what a server calls startup to what it calls shutdown."""
    await receive()
    has_started = False
    try:
        async with at_work():
            has_started = True
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except Exception as error:
        if isinstance(error, ConfigError):  # one line that says it all
            log.error("the application cannot start", error=str(error))  # noqa: TRY400
        else:
            log.exception("the application has failed" if has_started else "the application cannot start")
        await send({"type": f"lifespan.{'shutdown' if has_started else 'startup'}.failed", "message": str(error)})
        return
    await send({"type": "lifespan.shutdown.complete"})


class Neighbour:
    """Another application's lifespan, where there is one; a context of its being at work.

    Args:
        scope: that of the lifespan.
    """

    def __init__(self, app: AsgiApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._told: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self._answered: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        # Whether it has said that all is well, and nothing since.
        self._is_well = False

    async def __aenter__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self._tell("startup")
        except BaseException:
            await self._end()
            raise

    async def __aexit__(self, *_error: object) -> None:
        assert self._task is not None
        try:
            if not self._task.done():
                await self._tell("shutdown")
        finally:
            await self._end()

    async def _end(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self, what: str) -> None:
        """Tell the application, and wait for its answer; one that ends without any has no lifespan.

        Raises:
            RuntimeError: it has failed.
        """
        assert self._task is not None
        self._told.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.get_running_loop().create_task(self._answered.get())
        try:
            await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and answer.result()["type"] == f"lifespan.{what}.failed":
                why = answer.result().get("message") or "it does not say why"
                raise RuntimeError(f"the application beside the hub has failed at its {what}: {why}")
        finally:
            answer.cancel()

    async def _answer(self, answer: AsgiMessage) -> None:
        self._is_well = answer["type"].endswith(".complete")
        await self._answered.put(answer)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._told.get, self._answer)
        except Exception as error:
            if self._is_well:
                log.exception("the application beside the hub has failed")
            else:  # it has told why; the specification: one that raises before it has answered supports no lifespan
                log.debug("no lifespan", error=str(error))
