"""A server that is killed and comes back, on the same port and the same file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from servers import SERVE, ServerProcess, free_port, running

__all__ = ["Killable"]


class Killable:
    """A server with a fixed port.

    Args:
        folder: where its log is, and its database unless `engine` names another.
        program: what takes the flags of `hubbub serve`.

    Attributes:
        port: where it listens.
        engine: the URL of its engine.
        now: the process that serves at the moment.
    """

    def __init__(self, folder: Path, *args: str, engine: str = "", program: Sequence[str] = SERVE) -> None:
        self._folder = folder
        self._program = program
        self.port = free_port()
        self.engine = engine or f"sqlite:///{folder}/log.db"
        self._args = ("--engine", self.engine, "--port", str(self.port), *args)
        self._running = ExitStack()
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self.now: ServerProcess

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.now = self._running.enter_context(running(self._folder, *self._args, program=self._program))

    def kill(self) -> None:
        """Kill it with no warning."""
        self.now.kill()
        self._running.close()

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()

    def otp(self, token: str) -> str:
        """A one-time password, from whichever process answers."""
        return self.now.otp(token)

    def __enter__(self) -> Killable:
        self.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self._running.close()
