"""A process that does not outlive the one that has started it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

__all__ = ["GuardedProcess"]

# Waits until its standard input ends, which the system sees to however its parent has died.  The kernel's own way
# (PR_SET_PDEATHSIG) looks at the thread that has started a process: it would kill the child of a thread that ends.
GUARD = 'read -r _; kill -9 "$1"'


class GuardedProcess:
    """A process, killed when this one dies, however it dies.

    It and its guard are in sessions of their own: a Ctrl-C on the terminal is for this process.

    Args:
        command: the program and its arguments.
        output: the file that all that it prints is appended to; without one, a pipe takes it.
        env: its environment; this one's where none is given.
        cwd: where it runs.

    Attributes:
        pid: its id.
        printed: that pipe; somebody has to read it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: Path | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        with nullcontext(subprocess.PIPE) if output is None else output.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # no shell, and the caller's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        try:
            self._guard = subprocess.Popen(  # noqa: S603  # no shell of the caller's words
                ["/bin/sh", "-c", GUARD, "sh", str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._process.kill()
            self._process.wait()
            raise
        self.pid = self._process.pid
        self.printed = self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """How it ended, less than 0 for the number of a signal; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._release()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; no-op when it has ended."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def wait(self, limit_s: float) -> int:
        """Wait until it ends, and kill it when it does not within the limit; its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        return self.kill()

    def kill(self) -> int:
        """Kill it, unless it has ended; its exit code."""
        self._release()
        self._process.kill()
        return self._process.wait()

    def _release(self) -> None:
        """End the guard: an id that was waited for may soon be another process's."""
        if self._guard.returncode is None:
            self._guard.kill()
            self._guard.wait()
            assert self._guard.stdin is not None
            self._guard.stdin.close()
