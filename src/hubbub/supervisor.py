"""The parent of workers: it keeps the listening sockets, starts the processes, and does nothing for a connection.

Workers are started anew, by the command that has started the parent, and inherit the sockets (`inheritance.py`): what a
process with threads or an event loop has is not to be forked.  `slots.py` says what to do, and here it is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from hubbub import tallies
from hubbub.checks import check_settings
from hubbub.errors import ConfigError
from hubbub.inheritance import VARIABLE, Legacy, News, Order
from hubbub.listening import bind_slots
from hubbub.logs import configure_logging
from hubbub.settings import Settings
from hubbub.slots import Slots
from hubbub.systemd import READY, RELOADING, STOPPING, notify

__all__ = ["supervise"]

log = structlog.get_logger("hubbub.workers")

ENDING = (signal.SIGTERM, signal.SIGINT)
HEARD = (*ENDING, signal.SIGHUP, signal.SIGCHLD)

# Bytes of a report, and how many are read of one worker before the next one's.
MAX_REPORT = 64
REPORTS_AT_ONCE = 32


def supervise(settings: Settings) -> int:
    """Serve with as many workers as the settings say, until a signal says stop; what to exit with.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
    """
    check_settings(settings)
    if sys.platform != "linux":
        raise ConfigError(f"--workers {settings.workers}: only Linux spreads connections over processes; leave it out")
    configure_logging(settings.log_format, settings.log_level)
    sockets = bind_slots(settings.host, settings.port, settings.workers)
    try:
        with tallies_folder() as folder:
            # The command is looked at again by each worker: a file of settings may have changed by then.
            command = [sys.executable, *sys.orig_argv[1:]]
            with Signals() as signals, Supervisor(command, sockets, folder, settings.drain_delay) as supervisor:
                return supervisor.run(signals)
    finally:
        for sock in (sock for slot in sockets for sock in slot):
            sock.close()


@contextlib.contextmanager
def tallies_folder() -> Iterator[Path]:
    """A folder where workers show each other what they have counted, while the block runs.

    Raises:
        ConfigError: it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tallies.new_folder())
        except OSError as error:
            raise ConfigError(f"no folder for the metrics of workers: {error}; set TMPDIR to one") from None
        yield folder


class Signals:
    """Notes the signals that are for the parent, while its block runs.

    Attributes:
        socket: can be read when there are some.
    """

    def __init__(self) -> None:
        self.socket, self._writing = socket.socketpair()
        self.socket.setblocking(False)
        self._writing.setblocking(False)

    def __enter__(self) -> Signals:
        for number in HEARD:
            signal.signal(number, ignore)  # with a handler, so that the interpreter writes its number
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(-1)
        self.socket.close()
        self._writing.close()

    def take(self) -> list[int]:
        """The signals that have come."""
        with contextlib.suppress(BlockingIOError):
            return list(self.socket.recv(1024))
        return []


def ignore(_number: int, _frame: object) -> None:
    """What is to be done about a signal is done by the loop that waits for it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """A process, and the line to it."""

    pid: int
    line: socket.socket


class Supervisor:
    """Starts processes, hears what they tell and when they end, and does what the slots need.

    Args:
        command: what starts a worker.
        sockets: what each slot listens on; it is left open.
        folder: where workers show each other what they have counted.
        drain_delay_s: how much longer than else a stop may take.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[Sequence[socket.socket]],
        folder: Path,
        drain_delay_s: float,
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._drain_delay_s = drain_delay_s
        self._sockets = [[sock.fileno() for sock in slot] for slot in sockets]
        for number in (number for slot in self._sockets for number in slot):
            os.set_inheritable(number, True)
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._slots = Slots(len(sockets), self, time.monotonic, drain_delay_s)
        self._is_stopping = False
        self._notified = ""

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_error: object) -> None:
        # Whatever has ended the parent: workers that are left see the end of their line, and stop.
        for child in self._children.values():
            child.line.close()
        self._selector.close()

    def run(self, signals: Signals) -> int:
        """Work until all processes have ended after a signal, or the first one could not serve; what to exit with.

        Raises:
            ConfigError: the system starts no process.
        """
        self._selector.register(signals.socket, selectors.EVENT_READ)
        try:
            self._slots.begin()
        except OSError as error:
            raise ConfigError(f"no worker can be started: {error.strerror}") from None
        while self._slots.exit_code is None:
            found = self._selector.select(max(0.0, self._slots.next_at() - time.monotonic()))
            for key, _ in found:
                if isinstance(key.data, Child):
                    self._hear(key.data)
            self._reap()
            for number in signals.take():
                if number in ENDING and self._is_stopping:
                    self._slots.cut()
                    return 128 + number
                self._heed(number)
            self._slots.tick()
            self._notify()
        return self._slots.exit_code

    def _notify(self) -> None:
        """Tell the service manager what has changed."""
        if self._is_stopping:
            state = STOPPING
        elif self._slots.is_reloading:
            state = RELOADING
        else:
            state = READY if self._slots.is_ready else ""
        if state != self._notified:
            self._notified = state
            notify(state)

    def _heed(self, number: int) -> None:
        if number in ENDING:
            self._is_stopping = True
            log.info("stopping all workers")
            self._slots.stop()
        elif number == signal.SIGHUP:
            self._slots.reload()

    def _hear(self, child: Child) -> None:
        """Read what a process tells."""
        for _ in range(REPORTS_AT_ONCE):
            try:
                packet = child.line.recv(MAX_REPORT)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            match packet.decode("latin-1"):
                case News.READY:
                    self._slots.ready(child.pid)
                case News.ALIVE:
                    self._slots.alive(child.pid)
                case News.LEAVING:
                    self._slots.leaving(child.pid)
                case "":
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(child.line)  # it has ended, or is about to
                    return

    def _reap(self) -> None:
        """Take note of the processes that have ended."""
        for pid, child in list(self._children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._hear(child)
                self._forget(child)
                self._bury(pid)
                self._slots.ended(pid, os.waitstatus_to_exitcode(status))

    def _bury(self, pid: int) -> None:
        """Keep what a process has counted that has ended."""
        try:
            tallies.bury(self._folder, pid)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what a worker has counted is not kept", pid=pid, error=str(error))

    def _forget(self, child: Child) -> None:
        del self._children[child.pid]
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.line)
        child.line.close()

    # What the slots need

    def start(self, slot: int, *, is_first: bool) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            legacy = Legacy(slot, len(self._sockets), is_first, self._sockets, theirs.fileno(), self._drain_delay_s)
            try:
                pid = os.posix_spawn(self._command[0], self._command, environment(legacy, self._folder))
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        child = self._children[pid] = Child(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, child)
        return pid

    def accept(self, pid: int, slots: tuple[int, ...]) -> None:
        self._order(pid, " ".join([Order.ACCEPT, *map(str, slots)]))

    def leave(self, pid: int) -> None:
        self._order(pid, Order.LEAVE)

    def stop(self, pid: int) -> None:
        self._order(pid, Order.STOP)

    def terminate(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def _order(self, pid: int, order: str) -> None:
        """Tell a process something; one that has not heard a whole buffer of orders is not going to."""
        try:
            self._children[pid].line.send(order.encode())
        except BlockingIOError:
            self.kill(pid)
        except OSError:
            pass  # it has ended, which is heard of soon


def environment(legacy: Legacy, folder: Path) -> Mapping[str, str]:
    """The environment of a worker."""
    return {**os.environ, VARIABLE: msgspec.json.encode(legacy).decode(), tallies.VARIABLE: str(folder)}
