"""Running a server as a process: its log, its loop, signals, and what it tells the operator."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from importlib.metadata import version

import structlog
import uvloop

from hubbub.hub import Hub
from hubbub.logs import configure_logging
from hubbub.memory import keep_large_buffers_apart
from hubbub.server import DEMO_ACCOUNTS, DEMO_PASSWORD, Server, serving
from hubbub.settings import Settings, raise_file_limit
from hubbub.shutdown import Shutdown

__all__ = ["serve"]

log = structlog.get_logger("hubbub")

# New objects before the garbage collector runs.  Messages make few reference cycles, so Python's 700 are too few.
GC_THRESHOLD = 10_000

# After a stop, what is left of handlers has this long to end.
END_S = 0.5


def serve(hub: Hub, settings: Settings) -> None:
    """Serve a hub until a signal says stop; from then on, the process has ten seconds.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
    """
    configure_logging(settings.log_format, settings.log_level)
    raise_file_limit()
    keep_large_buffers_apart()
    with Shutdown() as shutdown, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_signal(hub, settings, shutdown))
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
        # What was made so far stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        announce(server, settings)
        await stop.wait()
        log.info("stopping", clients=server.clients)


def announce(server: Server, settings: Settings) -> None:
    """Tell the operator where the server listens, how to trust it, and how to get in the first time."""
    lines = [f"Hubbub {version('hubbub')} listens on {server.url}"]
    if server.certificate is not None and server.certificate.ca is not None:
        lines.append(f"  trust its CA: {server.certificate.ca}")
        lines.append(f"  CA fingerprint (SHA-256): {server.certificate.fingerprint}")
    if settings.demo:
        lines.append(f"  demo accounts: {', '.join(DEMO_ACCOUNTS)}; password {DEMO_PASSWORD}")
    if server.setup_secret is not None:
        # Behind the #, where no server, proxy or log sees it.
        lines.append(
            f"  there is no account yet; make the first one, once, at {server.url}/#setup={server.setup_secret}"
        )
    print("\n".join(lines), flush=True)
    log.info("serving", engine=settings.engine_url, max_clients=settings.clients_limit or "unlimited")
