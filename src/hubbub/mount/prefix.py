"""A hub under a path, and another application everywhere else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from hubbub.errors import ConfigError
from hubbub.mount.lifespans import Neighbour, live
from hubbub.mount.scopes import AsgiApp, Receive, Scope, Send, path_below

__all__ = ["Prefix"]

PATH = re.compile(r"(?:/[\w.~-]+)+", re.ASCII)


class Prefix:
    """An ASGI application of two.

    Args:
        path: where the first one is, as in `/chat`.
        inner: the first one.
        at_work: makes it start and stop.
        outer: the other one.

    Raises:
        ConfigError: it is no path below the root.
    """

    def __init__(
        self, path: str, inner: AsgiApp, at_work: Callable[[], AbstractAsyncContextManager[Any]], outer: AsgiApp
    ) -> None:
        self._path = path.rstrip("/")
        if PATH.fullmatch(self._path) is None:
            raise ConfigError(f"{path!r} is no path that a hub can be under; write one like '/chat'")
        self._inner = inner
        self._at_work = at_work
        self._outer = outer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(lambda: self._both(scope), receive, send)
            return
        root = scope.get("root_path", "").rstrip("/")
        below = path_below(scope["path"], root)
        if below == self._path or below.startswith(f"{self._path}/"):
            root += self._path
            path = root + below[len(self._path) :]
            await self._inner({**scope, "root_path": root, "path": path}, receive, send)
        else:
            await self._outer(scope, receive, send)

    @asynccontextmanager
    async def _both(self, scope: Scope) -> AsyncIterator[None]:
        """The hub is there before the other one starts, and until it has stopped."""
        async with self._at_work(), Neighbour(self._outer, scope):
            yield
