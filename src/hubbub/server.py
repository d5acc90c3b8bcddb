"""The front door: settings, engine, hub, HTTP and WebSocket brought together; run, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import gc
import os
import signal
import socket
import ssl
import time
from importlib.metadata import version
from urllib.parse import SplitResult, urlsplit

import structlog
import uvloop

from hubbub.accounts import Accounts
from hubbub.certs import Certificate, load_context, local_certificate, local_names
from hubbub.engine import open_engine
from hubbub.errors import ConfigError, EngineError
from hubbub.heartbeat import Wheel
from hubbub.http.app import App, security_headers
from hubbub.hub import Hub
from hubbub.logs import configure_logging
from hubbub.memory import give_back_memory, keep_large_buffers_apart
from hubbub.otp import OneTimePasswords
from hubbub.policy import is_loopback
from hubbub.settings import Settings, raise_file_limit
from hubbub.wire.http import HttpServer
from hubbub.wire.reader import Readers
from hubbub.wire.upgrade import Door
from hubbub.wire.websocket import WireSettings

__all__ = ["Server", "serve"]

log = structlog.get_logger("hubbub")

DEMO_ACCOUNTS = ("percy", "alice", "bob")
DEMO_PASSWORD = "123"  # noqa: S105  # the point of a demo

# The parts of a stop, together well below ten seconds.
DRAIN_S = 3.0
OPENING_S = 1.0
GOODBYE_S = 3.0
HTTP_S = 2.0

# Messages make few cycles: the collector need not look as often as Python's 700 new objects.
GC_THRESHOLD = 10_000
MAX_PORT = 65535
MAX_NUMBER = 1 << 48
EXPIRE_S = 0.25
SESSIONS_S = 2.0
TIDY_S = 10.0
TIDY_AFTER = 100
DAY_S = 24 * 3600.0


class Server:
    """One running Hubbub.

    Args:
        hub: the application.
        sockets: bound sockets to listen on.
        certificate: what TLS is served with; None for none.
    """

    def __init__(
        self, hub: Hub, settings: Settings, sockets: list[socket.socket], certificate: Certificate | None
    ) -> None:
        clock = time.monotonic
        self._hub = hub
        self._settings = settings
        self._sockets = sockets
        self._certificate = certificate
        self._tls = load_context(certificate) if certificate else None
        self._engine = open_engine(
            settings.engine_url,
            clock=clock,
            wall=time.time,
            keep=settings.keep_messages,
            keep_s=settings.keep_seconds,
        )
        self._wheel = (
            Wheel(settings.heartbeat_interval, settings.heartbeat_timeout) if settings.heartbeat_interval else None
        )
        self._wire = WireSettings(settings.max_frame, Readers(settings.max_frame), self._wheel)
        self._accounts = Accounts(
            self._engine, time.time, session_ttl_s=settings.session_ttl, max_user_name=settings.max_user_name
        )
        otps = OneTimePasswords(
            self._engine,
            clock,
            ttl_s=settings.otp_ttl,
            per_account=settings.max_otps_per_account,
            in_all=settings.max_otps,
        )
        self._door = Door(hub, otps, settings, self._wire)
        app = App(self._door, self._accounts, settings)
        self._http = HttpServer(app.answer, self._door.upgrade, security_headers(settings), settings.request_timeout)
        self._stop = asyncio.Event()
        hub.bind(self._engine, settings, clock)

    async def run(self) -> None:
        """Serve until a signal says stop."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, self._on_signal, signal_number)
        await self._engine.open(self._hub.deliver)
        try:
            if self._settings.demo:
                await self._add_demo_accounts()
            elif not is_local(self._settings.host):
                await self._refuse_demo_accounts()
            setup = await self._accounts.open_setup()
            async with asyncio.TaskGroup() as tasks:
                hub = self._hub
                background = [tasks.create_task(work) for work in (hub.pump.run(), expire(hub), end_dead_sessions(hub))]
                if self._wheel is not None:
                    background.append(tasks.create_task(turn(self._wheel)))
                if self._tls is not None:
                    background.append(tasks.create_task(tidy_memory(self._http)))
                if self._tls is not None and self._settings.tls_cert is None:
                    background.append(tasks.create_task(self._renew_certificate(self._tls)))
                await self._http.start(self._sockets, self._tls)
                self._announce(setup)
                await self._stop.wait()
                await self._drain()
                await self._http.stop(HTTP_S)
                for task in background:
                    task.cancel()
        finally:
            self._accounts.close()
            await self._engine.close()

    async def _add_demo_accounts(self) -> None:
        missing = [user for user in DEMO_ACCOUNTS if await self._engine.account(user) is None]
        await asyncio.gather(*(self._accounts.add(user, DEMO_PASSWORD) for user in missing))

    async def _refuse_demo_accounts(self) -> None:
        for user in DEMO_ACCOUNTS:
            if await self._engine.account(user) and await self._accounts.is_password(user, DEMO_PASSWORD):
                raise ConfigError(
                    f"--host {self._settings.host}: the account {user} still has the password of --demo; "
                    f"`hubbub user passwd {user}` or `hubbub user remove {user}` first"
                )

    # Stopping

    def _on_signal(self, signal_number: int) -> None:
        if self._stop.is_set():
            # Asked twice: someone is waiting.
            os._exit(128 + signal_number)
        log.info("stopping", clients=len(self._hub.clients))
        self._door.is_draining = self._hub.is_draining = True
        self._stop.set()

    async def _drain(self) -> None:
        """Deliver what was taken, say goodbye to every client, and wait for those that answer."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._hub.drained()
        except TimeoutError:
            log.warning("stopping with handlers still at work")
            await self._hub.cancel_handlers()
        if self._door.tasks:
            await asyncio.wait(self._door.tasks, timeout=OPENING_S)  # who was let in just now has to hear it too
        self._hub.say_goodbye()
        # Each is cut when it does not answer in time, so that this ends.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while self._wire.sockets or self._door.tasks:  # noqa: ASYNC110  # they end one by one, and soon
                    await asyncio.sleep(0.01)
                await self._hub.drained()  # what `on_disconnect` does about it
        await self._hub.cancel_handlers()

    # The background

    async def _renew_certificate(self, tls: ssl.SSLContext) -> None:
        """Renew our own certificate before it expires, in a server that runs for months; new connections get it."""
        while True:
            await asyncio.sleep(DAY_S)
            try:
                renewed = local_certificate(self._settings.data_dir, local_names(), utc_now())
                tls.load_cert_chain(renewed.chain, renewed.key)
            except (ConfigError, OSError, ssl.SSLError) as error:
                log.error("certificate not renewed", error=str(error))  # noqa: TRY400  # the reason says it all

    def _announce(self, setup: str | None) -> None:
        """Tell the operator where the server listens, how to trust it, and how to get in the first time."""
        scheme = "https" if self._tls else "http"
        host, port = self._sockets[0].getsockname()[:2]
        shown = "localhost" if is_loopback(host) else f"[{host}]" if ":" in host else host
        url = f"{scheme}://{shown}:{port}"
        lines = [f"Hubbub {version('hubbub')} listens on {url}"]
        if self._certificate is not None and self._certificate.ca is not None:
            lines.append(f"  trust its CA: {self._certificate.ca}")
            lines.append(f"  CA fingerprint (SHA-256): {self._certificate.fingerprint}")
        if self._settings.demo:
            lines.append(f"  demo accounts: {', '.join(DEMO_ACCOUNTS)}; password {DEMO_PASSWORD}")
        if setup is not None:
            # Behind the #, where no server, proxy or log sees it.
            lines.append(f"  there is no account yet; make the first one, once, at {url}/#setup={setup}")
        print("\n".join(lines), flush=True)
        clients = self._settings.clients_limit
        log.info("serving", engine=self._settings.engine_url, max_clients=clients or "unlimited")


def serve(hub: Hub, settings: Settings) -> None:
    """Serve a hub until it is told to stop.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
    """
    configure_logging(settings.log_format, settings.log_level)
    raise_file_limit()
    keep_large_buffers_apart()
    check(settings)
    certificate = certificate_for(settings)
    sockets = bind(settings.host, settings.port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = Server(hub, settings, sockets, certificate)
        # What was made so far stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        runner.run(server.run())


def check(settings: Settings) -> None:
    """Refuse what cannot be, before anything is opened."""
    check_numbers(settings)
    if settings.demo and not is_local(settings.host):
        raise ConfigError(
            f"--demo makes accounts with a known password, not for --host {settings.host}; leave one of them out"
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        given, missing = ("--tls-cert", "--tls-key") if settings.tls_cert else ("--tls-key", "--tls-cert")
        raise ConfigError(f"{given} needs {missing} beside it")
    if settings.tls_cert is not None and settings.no_tls:
        raise ConfigError("--tls-cert and --no-tls exclude each other; leave one of them out")
    for origin in settings.allow_origin:
        parts = split_url(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or "*" in origin:
            raise ConfigError(
                f"--allow-origin {origin!r}: an origin is like https://chat.example.com, without path or *"
            )


def split_url(url: str) -> SplitResult:
    """The parts of a URL; none of it for what is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def is_local(host: str) -> bool:
    """Whether a host to listen on is this machine alone."""
    return is_loopback(host) or host == "localhost"


def check_numbers(settings: Settings) -> None:
    """Refuse numbers that mean nothing."""
    for name, value in vars(settings).items():
        if isinstance(value, (int, float)) and not 0 <= value <= MAX_NUMBER:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: a number from 0 on, 0 for none")
    if settings.port > MAX_PORT:
        raise ConfigError(f"--port {settings.port}: a number from 0 to {MAX_PORT}, 0 for a free one")
    for name in ("otp_ttl", "session_ttl"):
        if not getattr(settings, name):
            raise ConfigError(f"--{name.replace('_', '-')} 0: a number of seconds above 0")
    if settings.heartbeat_interval and not settings.heartbeat_timeout:
        raise ConfigError("--heartbeat-timeout 0: a number of seconds above 0 (--heartbeat-interval 0 sends no pings)")


def certificate_for(settings: Settings) -> Certificate | None:
    """The certificate that the settings name, or this machine's own."""
    if settings.no_tls:
        return None
    if settings.tls_cert is not None and settings.tls_key is not None:
        return Certificate(settings.tls_cert, settings.tls_key)
    return local_certificate(settings.data_dir, local_names(), utc_now())


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of the host.

    Raises:
        ConfigError: the host has no address here, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError, OverflowError):
        raise ConfigError(f"--host {host}: no such address; it is one of this machine's, or 0.0.0.0 for all") from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _name, address in dict.fromkeys(found):
        sock = socket.socket(family, kind, protocol)
        sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            # With port 0, all addresses get the port that the first one was given.
            sock.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise ConfigError(cannot_bind(host, port, error)) from None
    return sockets


def cannot_bind(host: str, port: int, error: OSError) -> str:
    """Why a port cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is taken on {host}; stop what listens there, or name another port"
    if error.errno == errno.EACCES:
        return f"--port {port} is not for this user; name one from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; name one that is, or 0.0.0.0 for all"
    return f"cannot listen on {host} port {port}: {error.strerror}"


async def turn(wheel: Wheel) -> None:
    """Turn the heartbeat's wheel for ever, never faster to catch up."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + wheel.tick_s, loop.time())
        await asyncio.sleep(due - loop.time())
        wheel.turn()


async def expire(hub: Hub) -> None:
    """End what has had its time, a few times a second."""
    while True:
        await asyncio.sleep(EXPIRE_S)
        hub.expire()


async def tidy_memory(http: HttpServer) -> None:
    """Give back what many ended connections have left behind."""
    tidied = 0
    while True:
        await asyncio.sleep(TIDY_S)
        if http.accepted - tidied > TIDY_AFTER:
            tidied = http.accepted
            with contextlib.suppress(RuntimeError):  # no thread to be had: it was worth a try
                await asyncio.to_thread(give_back_memory)


async def end_dead_sessions(hub: Hub) -> None:
    """Look every few seconds for sessions that have ended by another's hand: `hubbub user`, or time."""
    while True:
        await asyncio.sleep(SESSIONS_S)
        try:
            await hub.end_dead_sessions()
        except EngineError as error:
            log.warning("sessions not checked", error=str(error))


def utc_now() -> datetime.datetime:
    """The time, for certificates."""
    return datetime.datetime.now(datetime.UTC)
