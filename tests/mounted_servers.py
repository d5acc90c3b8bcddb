"""Servers that others have made, which serve an application that a hub is mounted in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import ServerProcess, free_port, stop, wait_until_healthy

__all__ = ["SERVERS", "MountedServer", "mounted"]

TESTS = Path(__file__).parent

SERVERS: dict[str, Callable[[str], list[str]]] = {
    "uvicorn": lambda port: ["uvicorn", "asgi_apps:app", "--port", port, "--ws", "websockets-sansio"],
    "fast path": lambda port: ["uvicorn", "asgi_apps:app", "--port", port, "--ws", "hubbub.uvicorn:FastPath"],
    "hypercorn": lambda port: ["hypercorn", "asgi_apps:beside", "--bind", f"127.0.0.1:{port}"],
    "granian": lambda port: ["granian", "--interface", "asgi", "asgi_apps:beside", "--port", port],
}


class MountedServer(ServerProcess):
    """A server whose hub is below a path."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.root = self.origin
        self.origin += "/chat"
        self.ws_url = self.ws_url.replace("/ws", "/chat/ws")

    def page(self, path: str) -> tuple[int, bytes]:
        """What the application itself answers."""
        self.origin, mounted = self.root, self.origin
        try:
            return self.get(path)
        finally:
            self.origin = mounted


@contextmanager
def mounted(folder: Path, name: str) -> Iterator[MountedServer]:
    """The application, served by one of them."""
    port = free_port()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    env = clean | {"DATA": str(folder), "PYTHONPATH": str(TESTS)}
    log_file = folder / "server.log"
    command = [sys.executable, "-m", *SERVERS[name](str(port))]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    server = MountedServer(process, port, log_file, None)
    try:
        wait_until_healthy(server, process)
        yield server
    finally:
        stop(process)
