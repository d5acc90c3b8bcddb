"""The server: a service on sockets of its own, with TLS; started, drained and stopped.

`serving` is for programs that have an event loop of their own: it handles no signals and prints nothing.  What
`hubbub serve` does around it is in `process.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from hubbub.addresses import own_addresses
from hubbub.certs import Certificate, load_context, local_certificate
from hubbub.checks import check_settings
from hubbub.drain import OPENINGS_S
from hubbub.engine import Engine
from hubbub.errors import ConfigError
from hubbub.http.trust import trust_pages
from hubbub.hub import Hub
from hubbub.links import bound_addresses, link_from_here, links_for_others
from hubbub.listening import bind
from hubbub.memory import give_back_memory
from hubbub.mount.mounted import mounted
from hubbub.names import certified_names, server_names
from hubbub.policy import is_loopback
from hubbub.service import Service, check_sharing, engine_for, second_door_of
from hubbub.settings import Settings
from hubbub.wire.arrivals import Arrivals
from hubbub.wire.connection import HttpShared
from hubbub.wire.hosts import Hosts
from hubbub.wire.http import HttpServer

__all__ = ["Server", "serving", "serving_slot"]

log = structlog.get_logger("hubbub")

HAND_OVER_S = 1.0
# For answers that are being made, once the hub has nothing left to do.
HTTP_S = 1.0

TIDY_S = 10.0
TIDY_AFTER = 100
DAY_S = 24 * 3600.0


@asynccontextmanager
async def serving(hub: Hub, settings: Settings | None = None) -> AsyncIterator[Service]:
    """Serve a hub while the block runs; then drain it, tell its clients when to come back, and stop.

    A hub that was given to `hubbub.asgi` is at work there instead, and listens nowhere: for a framework that tells
    nobody of its start.

    >>> async with hubbub.serving(hub, Settings(port=0)) as server:
    ...     print(server.url)

    An error of the server's own that it cannot go on after cancels the block, and is raised from it.

    Args:
        settings: what `hubbub serve` would be told; the defaults where none are given, and those of `hubbub.asgi`.

    Raises:
        ConfigError: it cannot be served like this; one line that says what is wrong and how to mend it.
    """
    application = mounted(hub)
    if application is not None:
        if settings is not None:
            raise ConfigError("this hub is mounted: its settings are those that hubbub.asgi was given")
        async with application.at_work() as service:
            yield service
        return
    settings = settings or Settings()
    check_settings(settings)
    if settings.workers > 1:
        raise ConfigError(f"--workers {settings.workers}: only `hubbub serve` and hubbub.run start processes")
    server = Server(hub, settings, certificate_for(settings), await engine_for(settings))
    async with server.at_work():
        yield server


@asynccontextmanager
async def serving_slot(
    hub: Hub, settings: Settings, sockets: list[socket.socket], *, is_first: bool
) -> AsyncIterator[Server]:
    """Serve a hub in one of many processes, on sockets that were bound for it.

    Args:
        is_first: whether what is done once for all processes is for this one.

    Raises:
        ConfigError: as for `serving`, and for an engine that processes cannot share.
    """
    check_settings(settings)
    server = Server(hub, settings, certificate_for(settings), await engine_for(settings), sockets, makes_setup=is_first)
    async with server.at_work():
        yield server


class Server(Service):
    """A service that listens; `serving` makes it.

    Args:
        certificate: what TLS is served with; None for plain HTTP.
        sockets: those to listen on, where they are bound already.
        makes_setup: whether it offers to make the first account.
    """

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        certificate: Certificate | None,
        engine: Engine,
        sockets: list[socket.socket] | None = None,
        *,
        makes_setup: bool = True,
    ) -> None:
        self._tls = load_context(certificate) if certificate else None
        check_sharing(settings, engine)
        second_door = second_door_of(settings, None if sockets is None else bound_addresses(sockets))
        # The last that can fail, and the first that has to be undone.
        self._bound = bind(settings.host, settings.port) if sockets is None else sockets
        super().__init__(hub, settings, engine, makes_setup=makes_setup, second_door=second_door)
        self.certificate = certificate
        self.port = self._bound[0].getsockname()[1]
        listening = bound_addresses(self._bound)
        self.url = link_from_here(settings, self.port, listening)
        self.links = links_for_others(settings, self.port, listening, own_addresses())
        if certificate is not None:
            self._show_ca(certificate)
        proxies = self._proxies
        arrivals = Arrivals(
            settings.pending_limit,
            settings.share(settings.max_pending_per_address),
            lambda address: is_loopback(address) or proxies.is_trusted(address),
            time.monotonic,
        )
        hosts = Hosts(server_names(settings))
        begin, timeout_s = self._upgrades.begin, settings.request_timeout
        shared = HttpShared(self._app.answer, begin, self._common, timeout_s, hosts, proxies=proxies)
        self._http = HttpServer(shared, arrivals, reads_proxy_header=settings.proxy_protocol)

    def accept_on(self, sockets: list[socket.socket]) -> None:
        """Take connections from these sockets from now on, and from no others."""
        self._http.accept_on(sockets)

    async def hand_over(self) -> None:
        """Take no more connections, because another process has the sockets, and let in who has come; then stop."""
        self._drain_delay_s = 0.0  # whoever sends clients here need not notice
        await self._http.hand_over(HAND_OVER_S)
        await self._upgrades.tasks.wait(OPENINGS_S)

    # How requests come

    async def start(self) -> None:
        await self._http.start(self._bound, self._tls)

    async def stop(self) -> None:
        await self._http.stop(HTTP_S)

    def cut(self) -> None:
        super().cut()
        self._http.cut()

    def release(self) -> None:
        for sock in self._bound:
            sock.close()

    # The background

    def background(self) -> list[Coroutine[Any, Any, None]]:
        work = [*super().background(), self._tidy_memory()]
        if self._tls is not None and self._settings.tls_cert is None:
            work.append(self._renew_certificate(self._tls))
        return work

    async def _tidy_memory(self) -> None:
        """Give back what many ended connections have left behind."""
        tidied = 0
        while True:
            await asyncio.sleep(TIDY_S)  # between two looks
            accepted = self._http.accepted
            # Those that have come, and those that have gone.
            seen = 2 * accepted - self._http.pending - len(self._wire.sockets)
            if seen - tidied > TIDY_AFTER:
                tidied = seen
                with contextlib.suppress(RuntimeError):  # no thread can be started; it is tried again later
                    await asyncio.to_thread(give_back_memory)

    def _show_ca(self, certificate: Certificate) -> None:
        """Let others read the CA's certificate, where it is our own, and how to trust it."""
        if certificate.ca is not None and certificate.fingerprint is not None:
            self._site.pages.update(trust_pages(certificate.ca.read_bytes(), certificate.fingerprint))

    async def _renew_certificate(self, tls: ssl.SSLContext) -> None:
        """Renew our own certificate before it expires, in a server that runs for months; new connections get it."""
        while True:
            await asyncio.sleep(DAY_S)
            try:
                renewed = own_certificate(self._settings)
                tls.load_cert_chain(renewed.chain, renewed.key)
                self._show_ca(renewed)
            except (ConfigError, OSError, ssl.SSLError) as error:
                log.error("certificate not renewed", error=str(error))  # noqa: TRY400  # the reason says it all


def certificate_for(settings: Settings) -> Certificate | None:
    """The certificate that the settings name, or this machine's own."""
    if settings.no_tls:
        return None
    if settings.tls_cert is not None and settings.tls_key is not None:
        return Certificate(settings.tls_cert, settings.tls_key)
    return own_certificate(settings)


def own_certificate(settings: Settings) -> Certificate:
    """This machine's own certificate, for what it is called now."""
    return local_certificate(settings.data_dir, certified_names(settings, own_addresses()), utc_now())


def utc_now() -> datetime.datetime:
    """The time, for certificates."""
    return datetime.datetime.now(datetime.UTC)
