"""Running a server as a process: its log, its loop, signals, and what it tells the operator."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import threading
from importlib.metadata import version

import structlog
import uvloop

from hubbub.engine.urls import shown_url
from hubbub.hub import Hub
from hubbub.inheritance import Inheritance, News, Order
from hubbub.logs import configure_logging
from hubbub.memory import keep_large_buffers_apart
from hubbub.server import serving, serving_slot
from hubbub.service import DEMO_ACCOUNTS, DEMO_PASSWORD, Service
from hubbub.settings import Settings, raise_file_limit
from hubbub.shutdown import LIMIT_S, Shutdown
from hubbub.systemd import READY, STOPPING, notify

__all__ = ["serve"]

log = structlog.get_logger("hubbub")

# New objects before the garbage collector runs.  Messages make few reference cycles, so Python's 700 are too few.
GC_THRESHOLD = 10_000

# Between two signs of life to the parent, which waits for a few of them (`slots.SILENT_S`).
BEAT_S = 1.0

# After a stop, what is left of handlers has this long to end.
END_S = 0.5


def serve(hub: Hub, settings: Settings, inheritance: Inheritance | None = None) -> None:
    """Serve a hub until a signal says stop; from then on, the process has ten seconds.

    Args:
        inheritance: what a worker has from its parent, which may say stop as well.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
    """
    if inheritance is not None:
        settings = dataclasses.replace(settings, workers=inheritance.workers, drain_delay=inheritance.drain_delay)
    configure_logging(settings.log_format, settings.log_level, inheritance.number if inheritance else None)
    raise_file_limit()
    keep_large_buffers_apart()
    limit_s = LIMIT_S + settings.drain_delay
    with Shutdown(limit_s) as shutdown, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if inheritance is None:
            runner.run(serve_until_signal(hub, settings, shutdown))
        else:
            runner.run(work(hub, settings, shutdown, inheritance))
        # The runner waits for every task and thread, and has no limit.  All that clients are owed is done by now.
        cutting = threading.Timer(END_S, cut)
        cutting.daemon = True
        cutting.start()
    cutting.cancel()


def cut() -> None:
    """End the process: a handler has ignored its cancellation, or left a thread that does not end."""
    log.warning("ending with handlers still at work")
    os._exit(0)


async def serve_until_signal(hub: Hub, settings: Settings, shutdown: Shutdown) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    shutdown.attach(stop)
    async with serving(hub, settings) as server:
        tune_collector()
        announce(server, settings)
        log_start(settings)
        notify(READY)
        await stop.wait()
        notify(STOPPING)
        log.info("stopping", clients=server.clients)


def tune_collector() -> None:
    """Have the garbage collector look less often, and not at what was made so far: that stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


async def work(hub: Hub, settings: Settings, shutdown: Shutdown, inheritance: Inheritance) -> None:
    """Serve one slot until a signal or the parent says stop, or there is no parent any more."""
    stop, all_stop = asyncio.Event(), threading.Event()
    shutdown.attach(stop)
    loop = asyncio.get_running_loop()

    def obey(order: Order, slots: list[int]) -> None:
        match order:  # the first comes only once the server is there
            case Order.ACCEPT:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(server.accept_on, inheritance.sockets_of(slots))
            case Order.LEAVE:
                shutdown.ask()
            case Order.STOP:
                all_stop.set()
                shutdown.ask()

    def parent_has_gone() -> None:
        log.error("the parent process has gone")
        all_stop.set()
        shutdown.ask()

    inheritance.listen(obey, parent_has_gone)
    own = inheritance.own_sockets
    async with serving_slot(hub, settings, own, is_first=inheritance.is_first) as server, asyncio.TaskGroup() as tasks:
        tune_collector()
        inheritance.report(News.READY)
        if inheritance.is_first:
            announce(server, settings)
        log_start(settings)
        pulse = tasks.create_task(beat(inheritance))
        await stop.wait()
        pulse.cancel()
        inheritance.report(News.LEAVING)
        log.info("stopping", clients=server.clients)
        if not all_stop.is_set():  # somebody else has the slot, or takes care of it
            await server.hand_over()


async def beat(inheritance: Inheritance) -> None:
    """Tell the parent for ever that the loop runs."""
    while True:
        await asyncio.sleep(BEAT_S)
        inheritance.report(News.ALIVE)


def announce(server: Service, settings: Settings) -> None:
    """Tell the operator where the server listens, how to trust it, and how to get in the first time."""
    lines = [f"Hubbub {version('hubbub')} listens on {server.url}"]
    lines += [f"  others open: {link}" for link in server.links]
    certificate = server.certificate
    if certificate is not None and certificate.ca is not None:
        lines.append(f"  trust its CA: {certificate.ca}")
        if server.links:
            lines.append(f"  how others trust it: {server.links[0]}/ca")
        lines.append(f"  CA fingerprint (SHA-256): {certificate.fingerprint}")
        if certificate.is_ca_replaced:
            lines.append("  this CA is new: whoever has trusted the one before has to trust this one")
    if settings.demo:
        lines.append(f"  demo accounts: {', '.join(DEMO_ACCOUNTS)}; password {DEMO_PASSWORD}")
    if server.setup_secret is not None:
        # Behind the #, where no server, proxy or log sees it.
        link = server.links[0] if server.links else server.url
        lines.append(f"  there is no account yet; make the first one, once, at {link}/#setup={server.setup_secret}")
    print("\n".join(lines), flush=True)


def log_start(settings: Settings) -> None:
    """Have a first line in the log."""
    log.info("serving", engine=shown_url(settings.engine_url), max_clients=settings.clients_limit or "unlimited")
