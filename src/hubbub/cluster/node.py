"""One node of a trial: a server in a process of its own, and what it prints."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Callable, Mapping, Sequence

from hubbub.cluster.child import GuardedProcess
from hubbub.cluster.port import HOST

__all__ = ["TrialNode"]

LOOK_S = 1.0
# Longer lines are shown in pieces.
LINE_BYTES = 64 * 1024
READ_S = 5.0
# Of an answer to the question how it is.
ANSWER_BYTES = 1024


class TrialNode:
    """A server that listens on a port of 127.0.0.1, and comes back there when it is started again.

    Args:
        name: what it goes by.
        port: where it is told to listen.
        command: the program and its arguments.
        env: its environment.
        say: gets each line that it prints, and how it ended.
    """

    def __init__(
        self, name: str, port: int, command: Sequence[str], env: Mapping[str, str], say: Callable[[str, str], None]
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._command = command
        self._env = env
        self._say = say
        self._child: GuardedProcess | None = None
        self._reading: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.exit_code is None

    @property
    def state(self) -> str:
        """How it is, in a few words."""
        if self._child is None:
            return "not started"
        if (code := self._child.exit_code) is not None:
            return told(code)
        return self._readiness()

    @property
    def pid(self) -> int | None:
        """Its process; None when it is not running."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    def start(self) -> None:
        """Start it; it is up a little later."""
        assert not self.is_running
        self._child = GuardedProcess(self._command, None, env=self._env)
        self._reading = threading.Thread(target=self._read, args=(self._child,), name=self.name, daemon=True)
        self._reading.start()

    def ask_to_stop(self) -> None:
        """Ask it to stop. No-op when it is down."""
        if self._child is not None:
            self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, with no chance to say goodbye. No-op when it is down."""
        self.end(0.0)

    def end(self, limit_s: float) -> None:
        """Wait until it has ended, and kill it when it does not within the limit. No-op when it is down."""
        if self._child is not None and self._reading is not None:
            self._child.wait(limit_s)
            self._reading.join(READ_S)  # its last lines

    def _readiness(self) -> str:
        """What /readyz says: that it is up, or one word for what keeps it from being."""
        link = http.client.HTTPConnection(HOST, self.port, timeout=LOOK_S)
        try:
            link.request("GET", "/readyz")
            answer = link.getresponse()
            said = answer.read(ANSWER_BYTES).decode(errors="replace").partition(":")[0]
        except (OSError, http.client.HTTPException):
            return "does not answer"
        finally:
            link.close()
        return "up" if answer.status == http.HTTPStatus.OK else f"not ready: {said}"

    def _read(self, child: GuardedProcess) -> None:
        assert child.printed is not None
        with child.printed as printed:
            while line := printed.readline(LINE_BYTES):
                self._say(self.name, line.decode(errors="replace").rstrip("\n"))
        self._say(self.name, told(child.wait(READ_S)))


def told(exit_code: int) -> str:
    """How a process ended, in a few words."""
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
