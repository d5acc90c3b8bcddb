"""The server: settings, engine, hub, HTTP and WebSocket brought together; started, drained and stopped.

`serving` is for programs that have an event loop of their own: it handles no signals and prints nothing.  What
`hubbub serve` does around it is in `process.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from hubbub.accounts import Accounts
from hubbub.addresses import own_addresses
from hubbub.audit import AuditFile
from hubbub.certs import Certificate, load_context, local_certificate
from hubbub.checks import check_settings
from hubbub.core import Core
from hubbub.drain import OPENINGS_S, drain
from hubbub.engine import Engine
from hubbub.engine.urls import make_engine, shown_url
from hubbub.errors import ConfigError, EngineError
from hubbub.heartbeat import Wheel
from hubbub.http.app import App, security_headers
from hubbub.http.site import read_site, style_source
from hubbub.http.trust import STYLE, trust_pages
from hubbub.hub import Hub, put_to_work
from hubbub.links import bound_addresses, link_from_here, links_for_others
from hubbub.listening import bind
from hubbub.memory import give_back_memory
from hubbub.metrics import Metrics, folder_of
from hubbub.names import certified_names, is_local, server_names
from hubbub.otp import OneTimePasswords
from hubbub.policy import is_loopback
from hubbub.settings import Settings
from hubbub.wire.arrivals import Arrivals
from hubbub.wire.common import Common
from hubbub.wire.connection import HttpShared
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.hosts import Hosts
from hubbub.wire.http import HttpServer
from hubbub.wire.proxy import Proxies
from hubbub.wire.reader import Readers
from hubbub.wire.upgrade import Upgrades
from hubbub.wire.websocket import WireSettings

__all__ = ["DEMO_ACCOUNTS", "DEMO_PASSWORD", "Server", "serving", "serving_slot"]

log = structlog.get_logger("hubbub")

DEMO_ACCOUNTS = ("percy", "alice", "bob")
DEMO_PASSWORD = "123"  # noqa: S105  # the point of a demo

HAND_OVER_S = 1.0
# For answers that are being made, once the hub has nothing left to do.
HTTP_S = 1.0

EXPIRE_S = 0.25
SESSIONS_S = 2.0
TIDY_S = 10.0
TIDY_AFTER = 100
DAY_S = 24 * 3600.0


@asynccontextmanager
async def serving(hub: Hub, settings: Settings | None = None) -> AsyncIterator[Server]:
    """Serve a hub while the block runs; then drain it, tell its clients when to come back, and stop.

    >>> async with hubbub.serving(hub, Settings(port=0)) as server:
    ...     print(server.url)

    An error of the server's own that it cannot go on after cancels the block, and is raised from it.

    Args:
        settings: what `hubbub serve` would be told; the defaults where none are given.

    Raises:
        ConfigError: it cannot be served like this; one line that says what is wrong and how to mend it.
    """
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


class Server:
    """One running Hubbub; `serving` makes it.

    Attributes:
        url: where it is reached from this machine, as in `https://localhost:8080`.
        links: where others open it, best first; none where it listens on a loopback address.
        port: where it listens.
        certificate: what TLS is served with; None for none.
        setup_secret: what the first account can be made with, once; None where there is an account.
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
        self.certificate = certificate
        self.setup_secret: str | None = None
        self._makes_setup = makes_setup
        self._drain_delay_s = settings.drain_delay
        self._settings = settings
        self._tls = load_context(certificate) if certificate else None
        self._engine = engine
        check_sharing(settings, engine)
        # The last that can fail, and the first that has to be undone.
        self._bound = bind(settings.host, settings.port) if sockets is None else sockets
        self.port = self._bound[0].getsockname()[1]
        listening = bound_addresses(self._bound)
        self.url = link_from_here(settings, self.port, listening)
        self.links = links_for_others(settings, self.port, listening, own_addresses())
        self._audit = AuditFile(settings.audit_path, time.monotonic, time.time)
        self._core = put_to_work(hub, self._engine, settings, audit=self._audit)
        self._accounts = Accounts(
            self._engine,
            session_ttl_s=settings.session_ttl,
            max_user_name=settings.max_user_name,
            max_sessions=settings.max_sessions_per_account if settings.limits == "enforce" else 0,
            workers=settings.workers,
        )
        otps = OneTimePasswords(
            self._engine,
            ttl_s=settings.otp_ttl,
            per_account=settings.max_otps_per_account,
            in_all=settings.max_otps,
        )
        self._wheel = (
            Wheel(settings.heartbeat_interval, settings.heartbeat_timeout) if settings.heartbeat_interval else None
        )
        self._wire = WireSettings(settings.max_frame, Readers(settings.max_frame), self._wheel)
        self._site = site = read_site()
        if certificate is not None:
            self._show_ca(certificate)
        styles = [*site.styles, style_source(STYLE)]
        common = Common(security_headers(settings, styles), time.monotonic)
        door = Door(self._core, OtpCredentials(otps), settings)
        self._upgrades = Upgrades(self._core, door, self._wire, common)
        self._metrics = Metrics(self._core, lambda: door.why_not_ready() is None, folder_of(os.environ), time.monotonic)
        app = App(self._core, self._accounts, otps, settings, door, self._metrics, site)
        proxies = Proxies(settings.trusted_proxy)
        arrivals = Arrivals(
            settings.pending_limit,
            settings.share(settings.max_pending_per_address),
            lambda address: is_loopback(address) or proxies.is_trusted(address),
            time.monotonic,
        )
        hosts = Hosts(server_names(settings))
        shared = HttpShared(app.answer, self._upgrades.begin, common, settings.request_timeout, hosts, proxies=proxies)
        self._http = HttpServer(shared, arrivals, reads_proxy_header=settings.proxy_protocol)

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._core.clients)

    def accept_on(self, sockets: list[socket.socket]) -> None:
        """Take connections from these sockets from now on, and from no others."""
        self._http.accept_on(sockets)

    async def hand_over(self) -> None:
        """Take no more connections, because another process has the sockets, and let in who has come; then stop."""
        self._drain_delay_s = 0.0  # whoever sends clients here need not notice
        await self._http.hand_over(HAND_OVER_S)
        await self._upgrades.tasks.wait(OPENINGS_S)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Listen while the block runs; then drain, and stop."""
        try:
            await self._engine.open(self._core.listener)
        except BaseException:
            self._accounts.close()
            self._audit.close()
            for sock in self._bound:
                sock.close()
            raise
        try:
            try:
                await self._prepare_accounts()
                await self._core.open()
            except EngineError as error:
                raise ConfigError(f"--engine {shown_url(self._settings.engine_url)}: {error}") from None
            failed = None
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(work) for work in self._background()]
                await self._http.start(self._bound, self._tls)
                try:
                    yield
                except Exception as error:
                    failed = error  # the block's own: the group of tasks would put it into a group of errors
                finally:
                    try:
                        await drain(self._core, self._wire.sockets, self._upgrades.tasks, self._drain_delay_s)
                        await self._http.stop(HTTP_S)
                    except BaseException:
                        self._cut()
                        raise
                for task in background:
                    task.cancel()
            if failed is not None:
                raise failed
        finally:
            for sock in self._bound:
                sock.close()
            self._accounts.close()
            self._audit.close()
            await self._engine.close()

    # Accounts

    async def _prepare_accounts(self) -> None:
        if self._settings.demo:
            missing = [user for user in DEMO_ACCOUNTS if await self._engine.account(user) is None]
            await asyncio.gather(*(self._accounts.add(user, DEMO_PASSWORD) for user in missing))
        elif not is_local(self._settings.host):
            await self._refuse_demo_accounts()
        if self._makes_setup:
            self.setup_secret = await self._accounts.open_setup()

    async def _refuse_demo_accounts(self) -> None:
        for user in DEMO_ACCOUNTS:
            if await self._engine.account(user) and await self._accounts.is_password(user, DEMO_PASSWORD):
                raise ConfigError(
                    f"--host {self._settings.host}: the account {user} still has the password of --demo; "
                    f"`hubbub user passwd {user}` or `hubbub user remove {user}` first"
                )

    # Stopping

    def _cut(self) -> None:
        """Let go of what is still at work: the drain has failed, or was cancelled."""
        log.warning("stopping at once")
        self._upgrades.tasks.cancel_soon()
        self._core.cut()  # connections that do not answer their CLOSE end within two seconds
        self._http.cut()

    # The background

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the server does."""
        work = [self._core.run(), expire(self._core), end_dead_sessions(self._core), self._tidy_memory()]
        work.append(self._metrics.sample(time.time))
        if self._settings.metrics != "off":
            work += self._metrics.background()
        if self._wheel is not None:
            work.append(turn(self._wheel))
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


async def engine_for(settings: Settings) -> Engine:
    """The engine that the settings name, to be opened.

    Raises:
        ConfigError: they name none, or one that cannot be reached or used.
    """
    return await make_engine(
        settings.engine_url,
        clock=time.monotonic,
        wall=time.time,
        keep=settings.keep_messages,
        keep_s=settings.keep_seconds,
    )


def check_sharing(settings: Settings, engine: Engine) -> None:
    """Refuse workers that would each have messages and accounts of their own.

    Raises:
        ConfigError: the engine is of one process.
    """
    if settings.workers > 1 and not engine.is_shared:
        raise ConfigError(
            f"--workers {settings.workers} needs an engine that processes share, such as redis://HOST; "
            f"--engine {shown_url(settings.engine_url)} is of one process"
        )


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


async def turn(wheel: Wheel) -> None:
    """Turn the heartbeat's wheel for ever, never faster to catch up."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + wheel.tick_s, loop.time())
        await asyncio.sleep(due - loop.time())
        wheel.turn()


async def expire(core: Core) -> None:
    """End what has had its time, a few times a second."""
    while True:
        await asyncio.sleep(EXPIRE_S)
        core.expire()


async def end_dead_sessions(core: Core) -> None:
    """Look every few seconds for sessions that another process (`hubbub user`) has ended, or that have expired."""
    while True:
        await asyncio.sleep(SESSIONS_S)
        try:
            await core.end_dead_sessions()
            await core.refresh_access()
        except EngineError as error:
            log.warning("sessions not checked", error=str(error))


def utc_now() -> datetime.datetime:
    """The time, for certificates."""
    return datetime.datetime.now(datetime.UTC)
