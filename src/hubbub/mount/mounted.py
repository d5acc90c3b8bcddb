"""A hub as an ASGI application: mounted under a path of another, and at work for as long as that one is."""

from __future__ import annotations

import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog

from hubbub.checks import check_settings
from hubbub.configuration import settings_from
from hubbub.errors import ConfigError
from hubbub.hub import Hub
from hubbub.logs import join_logging
from hubbub.mount.answers import Answers, error_response
from hubbub.mount.lifespans import live
from hubbub.mount.prefix import Prefix
from hubbub.mount.scopes import AsgiApp, Receive, Scope, Send
from hubbub.mount.service import MountedService
from hubbub.ration import Ration
from hubbub.service import Service, check_sharing, engine_for
from hubbub.settings import Settings
from hubbub.wire.door import unavailable

__all__ = ["Mounted", "asgi", "mounted"]

log = structlog.get_logger("hubbub.mount")

# Log lines of requests that come before the hub is at work.
LINES, LINES_EVERY_S = 2, 10.0

IDLE = (
    "a request has come for a hub that is not at work: nobody has told it that the application has started. Give it "
    "the lifespan, as in FastAPI(lifespan=chat.lifespan), or serve chat.under('/chat', app), or use hubbub.serving(hub)"
)

# The hubs that were mounted, for `serving`; and those of them that are at work, or about to be.  An application holds
# its hub, so the values are weak, too.
MOUNTED: weakref.WeakKeyDictionary[Hub, weakref.ref[Mounted]] = weakref.WeakKeyDictionary()
AT_WORK: weakref.WeakSet[Hub] = weakref.WeakSet()


def asgi(hub: Hub, settings: Settings | None = None, /, **changes: Any) -> Mounted:
    """A hub as an ASGI application, to be mounted in another one or served by any ASGI server.

    >>> chat = hubbub.asgi(hub)
    >>> app = FastAPI(lifespan=chat.lifespan)
    >>> app.mount("/chat", chat)

    It listens nowhere: `host`, `port` and TLS are the server's.  `workers` is how many processes that one starts.

    Args:
        settings: what the hub runs with; where none are given, what `hubbub serve` would read from the environment and
            hubbub.toml.
        changes: settings by their names, which come before those.

    Raises:
        ConfigError: a setting cannot be; one line that says what is wrong and how to mend it.
        TypeError: there is no such setting.
    """
    return Mounted(hub, settings_from(**changes) if settings is None else replace(settings, **changes))


def mounted(hub: Hub) -> Mounted | None:
    """The application that a hub was given to; None where it was given to none."""
    reference = MOUNTED.get(hub)
    return reference() if reference is not None else None


class Mounted:
    """An ASGI application (version 3: lifespan, HTTP and WebSocket); `hubbub.asgi` makes it."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._settings = replace(settings, no_tls=True, tls_cert=None, tls_key=None)
        check_settings(self._settings)
        self._service: MountedService | None = None
        self._lines = Ration(LINES, LINES_EVERY_S)
        MOUNTED[hub] = weakref.ref(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(self.at_work, receive, send)
        elif self._service is None:
            await self._refuse(scope, receive, send)
        elif scope["type"] == "http":
            await self._service.answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._service.connect(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Be at work while the block runs: what FastAPI, Starlette and Litestar take for `lifespan`."""
        async with self.at_work():
            yield

    def under(self, path: str, app: Callable[..., Awaitable[None]]) -> AsgiApp:
        """An application that has the hub under a path, and another one everywhere else.

        It tells both when it starts and stops; one that knows nothing of that, as Django, is left alone.

        Args:
            path: where the hub is, as in `/chat`.

        Raises:
            ConfigError: it is no path below the root.
        """
        return Prefix(path, self, self.at_work, app)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Service]:
        """Be at work while the block runs; then drain, and stop.  It may be at work again later.

        Raises:
            ConfigError: it is at work already, or cannot be like this.
        """
        if self._hub in AT_WORK:
            raise ConfigError("this hub is at work already; only one of lifespan, under and serving is to start it")
        AT_WORK.add(self._hub)
        join_logging(self._settings.log_level)
        try:
            engine = await engine_for(self._settings)
            check_sharing(self._settings, engine)
            service = MountedService(self._hub, self._settings, engine)
            async with service.at_work():
                tell_setup(service)
                self._service = service
                yield service
        finally:
            self._service = None
            AT_WORK.discard(self._hub)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that comes before the start, or after the end."""
        if self._hub not in AT_WORK and (left_out := self._lines.take(time.monotonic())) is not None:
            log.error(IDLE, left_out=left_out)
        denied, answers = unavailable("the hub is not at work"), Answers(b"")
        if scope["type"] == "http":
            await answers.send(scope, send, error_response(denied))
        else:
            await receive()
            await answers.refuse(scope, send, denied)


def tell_setup(service: Service) -> None:
    """Tell the operator, who has no account yet, how to make the first one."""
    if service.setup_secret is not None:
        # Behind the #, where no server, proxy or log sees it.
        print(
            "Hubbub has no account yet; make the first one, once, at the address where it is mounted, followed by "
            f"/#setup={service.setup_secret}",
            flush=True,
        )
