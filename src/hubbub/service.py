"""A hub at work: engine, accounts, routes and WebSockets brought together; opened, drained and closed.

How requests come to it is somebody else's: a `Server` listens for them (`server.py`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from hubbub.accounts import Accounts
from hubbub.addresses import Address
from hubbub.audit import AuditFile
from hubbub.certs import Certificate
from hubbub.core import Core
from hubbub.dispatch import Dispatch
from hubbub.drain import drain
from hubbub.engine import Engine
from hubbub.engine.urls import make_engine, shown_url
from hubbub.errors import ConfigError, EngineError
from hubbub.heartbeat import Wheel
from hubbub.holding import Beat
from hubbub.http.app import App, security_headers
from hubbub.http.cookies import Cookies
from hubbub.http.grants import Grants
from hubbub.http.room_events import RoomEvents
from hubbub.http.site import read_site, style_source
from hubbub.http.trust import STYLE
from hubbub.hub import Hub, handlers_of, put_to_work
from hubbub.metrics import Metrics, folder_of
from hubbub.names import is_local
from hubbub.otp import OneTimePasswords
from hubbub.pump import Pump
from hubbub.settings import Settings
from hubbub.wire.common import Common
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.proxy import Proxies
from hubbub.wire.reader import Readers
from hubbub.wire.upgrade import Upgrades
from hubbub.wire.websocket import WireSettings

if TYPE_CHECKING:
    from hubbub.door.door import CentrifugoDoor
    from hubbub.door.settings import DoorSettings

__all__ = ["DEMO_ACCOUNTS", "DEMO_PASSWORD", "Service", "check_sharing", "engine_for", "second_door_of"]

log = structlog.get_logger("hubbub")

DEMO_ACCOUNTS = ("percy", "alice", "bob")
DEMO_PASSWORD = "123"  # noqa: S105  # the point of a demo

EXPIRE_S = 0.25
SESSIONS_S = 2.0

# Variables that mean the second door; others that begin like that, Kubernetes sets for a service called centrifugo.
OF_SECOND_DOOR = ("CENTRIFUGO_CLIENT_", "CENTRIFUGO_CHANNEL_", "CENTRIFUGO_HTTP_API_")


class Service:
    """One running Hubbub, however requests come to it.

    A subclass is the way that they come: it says in `start`, `stop`, `cut` and `release` how that begins and ends.

    Args:
        engine: to be opened; the service closes it.
        makes_setup: whether it offers to make the first account.
        second_door: as `second_door_of` the settings.

    Attributes:
        second_door: the door for Centrifugo's clients; None where it is not configured.
        url: where it is reached from this machine, as in `https://localhost:8080`; empty where it listens nowhere.
        links: where others open it, best first; none where it listens nowhere, or on a loopback address.
        port: where it listens; 0 for nowhere.
        certificate: what TLS is served with; None for none.
        setup_secret: what the first account can be made with, once; None where there is an account.
    """

    url: str = ""
    port: int = 0
    certificate: Certificate | None = None

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        engine: Engine,
        *,
        makes_setup: bool = True,
        second_door: DoorSettings | None = None,
    ) -> None:
        dispatch, pump, app = parts_for(settings)
        self.links: list[str] = []
        self.setup_secret: str | None = None
        self._makes_setup = makes_setup
        self._drain_delay_s = settings.drain_delay
        self._settings = settings
        self._hub = hub
        self._engine = engine
        self._audit = AuditFile(settings.audit_path, time.monotonic, time.time)
        self._core = put_to_work(hub, engine, settings, audit=self._audit, dispatch=dispatch, pump=pump)
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
        self._site = site = read_site(is_of_application=self._core.check is not None)
        fixed = security_headers(settings, [*site.styles, style_source(STYLE)])
        self._common = Common(fixed, time.monotonic)
        self._credentials = OtpCredentials(otps, self._core.tokens)
        door = Door(self._core, self._credentials, settings)
        self._upgrades = Upgrades(self._core, door, self._wire, self._common)
        self.second_door = None if second_door is None else self._open_second_door(second_door)
        self._metrics = Metrics(self._core, lambda: door.why_not_ready() is None, folder_of(os.environ), time.monotonic)
        desk = None if self.second_door is None else self.second_door.desk
        desks = () if desk is None else (desk,)
        self._app = app(self._core, self._accounts, otps, settings, door, self._metrics, site, desks)
        grants = Grants(self._accounts, Cookies(settings, settings.session_ttl), self._audit, self._core.tokens)
        self._app.add(RoomEvents(self._upgrades, grants, otps).routes)
        if self.second_door is not None:
            self._app.add(self.second_door.open_streams(door.take_place, self._wire))
            self._app.add_websockets(self.second_door.side_doors)
        self._proxies = Proxies(settings.trusted_proxy)
        self._draining: asyncio.Task[None] | None = None

    def _open_second_door(self, settings: DoorSettings) -> CentrifugoDoor:
        """Let in Centrifugo's clients as well."""
        from hubbub.door.door import CentrifugoDoor  # nothing of it is loaded where it is not configured

        upgrades = self._upgrades
        door = CentrifugoDoor(
            self._core, settings, upgrades.door.places, self._wire, upgrades.tasks, upgrades.door.compression
        )
        upgrades.side_doors = door.side_doors
        for warning in settings.warnings:
            log.warning(warning)
        return door

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._core.clients)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_local(self._settings.host)

    @property
    def where(self) -> str:
        """What says where it is reached, for an error."""
        return f"--host {self._settings.host}"

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Take requests while the block runs; then drain, and stop."""
        try:
            await self._engine.open(self._core.listener)
        except BaseException:
            self._app.close()
            self._accounts.close()
            self._audit.close()
            self.release()
            raise
        try:
            try:
                await self._prepare_accounts()
                await self._core.open()
                if self.second_door is not None:
                    self.second_door.begin()
                self._show_schema()
            except EngineError as error:
                raise ConfigError(f"--engine {shown_url(self._settings.engine_url)}: {error}") from None
            failed = None
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(work) for work in self.background()]
                await self.start()
                try:
                    yield
                except Exception as error:
                    failed = error  # the block's own: the group of tasks would put it into a group of errors
                finally:
                    try:
                        await self._drained()
                        await self.stop()
                    except BaseException:
                        self.cut()
                        raise
                for task in background:
                    task.cancel()
            if failed is not None:
                raise failed
        finally:
            self.release()
            self._app.close()
            self._accounts.close()
            self._audit.close()
            await self._engine.close()

    def drain_soon(self) -> None:
        """Begin the drain now, before the block of `at_work` ends, which then waits for it."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drained(self) -> None:
        await (self._drain() if self._draining is None else self._draining)

    async def _drain(self) -> None:
        turn_out = None if self.second_door is None else self.second_door.strangers.turn_out_all
        await drain(self._core, self._wire.sockets, self._upgrades.tasks, self._drain_delay_s, turn_out)

    def _show_schema(self) -> None:
        """Let others read what the hub takes and says, where that is wanted."""
        if not self._settings.schema:
            return
        from hubbub.schema.contract import application_events, contract_of  # few servers need it
        from hubbub.schema.documents import schema_pages

        contract = contract_of(handlers_of(self._hub), application_events())
        self._site.pages.update(schema_pages(contract, "Hubbub"))

    # How requests come

    async def start(self) -> None:
        """Take requests from now on."""

    async def stop(self) -> None:
        """Take none any more; let the answers go out that are being made.  The hub has nothing left to do."""

    def cut(self) -> None:
        """Let go of what is still at work: the drain has failed, or was cancelled."""
        log.warning("stopping at once")
        self._upgrades.tasks.cancel_soon()
        self._core.cut()  # connections that do not answer their CLOSE end within two seconds

    def release(self) -> None:
        """Let go of what was there before the start; it may be called where there was none."""

    # Accounts

    async def _prepare_accounts(self) -> None:
        if self._settings.demo:
            missing = [user for user in DEMO_ACCOUNTS if await self._engine.account(user) is None]
            await asyncio.gather(*(self._accounts.add(user, DEMO_PASSWORD) for user in missing))
        elif not self.is_local:
            await self._refuse_demo_accounts()
        if self._makes_setup and self._core.check is None:
            self.setup_secret = await self._accounts.open_setup()

    async def _refuse_demo_accounts(self) -> None:
        for user in DEMO_ACCOUNTS:
            if await self._engine.account(user) and await self._accounts.is_password(user, DEMO_PASSWORD):
                raise ConfigError(
                    f"{self.where}: the account {user} still has the password of --demo; "
                    f"`hubbub user passwd {user}` or `hubbub user remove {user}` first"
                )

    # The background

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the service does."""
        work = [self._core.run(), expire(self._core), end_dead_sessions(self._core)]
        work += [self._metrics.sample(time.time), Beat().run()]
        if self._settings.metrics != "off":
            work += self._metrics.background()
        if self._wheel is not None:
            work.append(turn(self._wheel))
        if self.second_door is not None:
            work.append(expire_of_door(self.second_door))
        return work


def parts_for(settings: Settings) -> tuple[type[Dispatch], type[Pump], type[App]]:
    """What events and requests go through: with spans, where the settings say so.

    Raises:
        ConfigError: there is no OpenTelemetry to make spans with.
    """
    if not settings.telemetry:
        return Dispatch, Pump, App
    try:
        from hubbub.telemetry import TracedApp, TracedDispatch, TracedPump
    except ModuleNotFoundError:
        raise ConfigError("--telemetry needs OpenTelemetry: pip install 'hubbub[otel]'") from None
    return TracedDispatch, TracedPump, TracedApp


def second_door_of(settings: Settings, listening: Collection[Address] | None = None) -> DoorSettings | None:
    """What is configured of the door for Centrifugo's clients; None where it is not there.

    Args:
        listening: the addresses that are listened on, where the settings do not say it; none of them where nobody
            knows.

    Raises:
        ConfigError: it cannot be like that.
    """
    if settings.centrifugo is None:
        if meant := sorted(name for name in os.environ if name.startswith(OF_SECOND_DOOR)):
            log.warning("not in effect without --centrifugo FILE, or [centrifugo] in hubbub.toml", variable=meant[0])
        return None
    from hubbub.door.configuration import door_settings  # as above

    found = door_settings(settings)
    is_reached = listening is not None and not (listening and all(each.is_loopback for each in listening))
    if found is not None and found.lets_everybody_in and is_reached:
        raise ConfigError(
            "client.insecure and http_api.insecure let everybody in, and others may reach this server; leave them out"
        )
    return found


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


async def expire_of_door(door: CentrifugoDoor) -> None:
    """End what clients of the second door have not refreshed, or never began, a few times a second."""
    while True:
        await asyncio.sleep(EXPIRE_S)
        door.tick()


async def end_dead_sessions(core: Core) -> None:
    """Look every few seconds for sessions that another process (`hubbub user`) has ended, or that have expired."""
    while True:
        await asyncio.sleep(SESSIONS_S)
        try:
            await core.sessions.end_dead()
            await core.refresh_access()
        except EngineError as error:
            log.warning("sessions not checked", error=str(error))
