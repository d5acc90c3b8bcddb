"""A server that comes back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from servers import free_port, running

__all__ = ["RestartableServer"]


class RestartableServer:
    """A server with TLS that keeps its port, and so its page's URL, and its accounts over a restart.

    Attributes:
        url: where its page is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = folder / "restartable.db"
        self._port = free_port()
        self._running = ExitStack()
        self.url = f"https://localhost:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        engine = f"sqlite:///{self._database}"
        self._running.enter_context(running(self._folder, "--port", str(self._port), "--engine", engine, tls=True))

    def forget(self) -> None:
        """Remove all that it has kept; it is stopped."""
        for file in self._folder.glob(f"{self._database.name}*"):
            file.unlink()

    def stop(self) -> None:
        """Ask it to stop and wait until it has."""
        self._running.close()
