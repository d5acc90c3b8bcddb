"""Ending a process that was told to: in order, and within ten seconds whatever it is at.

A loop that a handler blocks sees no signals.  So they are heard in two places besides.  Python's own handlers run in
the main thread as soon as what blocks it looks for signals (`time.sleep` and `re` do).  A thread reads the signals'
numbers from a pipe, where the interpreter writes them at once (`signal.set_wakeup_fd`): it covers what looks for no
signals but lets other threads run, such as `socket.getaddrinfo` or a database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
from types import FrameType

import structlog

__all__ = ["LIMIT_S", "Shutdown"]

log = structlog.get_logger("hubbub")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# From the first signal to the end of the process; the rest of ten seconds is for the log and the system.
LIMIT_S = 9.0
# For a last line in the log.  It may have nobody who takes it, or need a lock that the blocked thread holds.
LOG_S = 0.3

# What the handler writes to the thread's pipe.  No signal has this number.
ASKED = 0

EXIT_CUT = 1


class Shutdown:
    """Hears SIGTERM and SIGINT while its block runs, and longer when one has come.  Belongs to the main thread.

    The first one begins the stop, and gives it `limit_s` seconds; a second one ends the process at once.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._is_asked = False
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Shutdown:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        threading.Thread(target=self._watch, name="shutdown", daemon=True).start()
        self._listen()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
            signal.siginterrupt(number, False)
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._is_asked:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
            os.close(self._writing)  # the thread ends
            self._writing = -1

    def attach(self, stop: asyncio.Event) -> None:
        """Set an event of the running loop at the first signal, or now if it has come."""
        self._loop, self._stop = asyncio.get_running_loop(), stop
        self._listen()  # a loop that begins to run takes the signals' numbers for itself
        if self._is_asked:
            stop.set()

    def ask(self) -> None:
        """Begin the stop, as the first signal does; from any thread, and as often as one likes."""
        with contextlib.suppress(OSError):
            os.write(self._writing, bytes([ASKED]))

    def _listen(self) -> None:
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def _begin(self) -> None:
        self._is_asked = True
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop.set)

    # The main thread

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGALRM) is cut:
            os._exit(128 + number)
        # For what keeps every thread from running, but looks for signals.
        signal.signal(signal.SIGALRM, cut)
        signal.setitimer(signal.ITIMER_REAL, self._limit_s + 2 * LOG_S)
        self.ask()
        self._begin()

    # The thread

    def _watch(self) -> None:
        """Wait for the first signal; then for a second one, or until the time is up."""
        due: float | None = None
        heard = False
        while due is None or select.select([self._reading], [], [], max(0.0, due - time.monotonic()))[0]:
            number = os.read(self._reading, 1)
            if not number:
                os.close(self._reading)
                return
            if number[0] in SIGNALS:
                if heard:
                    os._exit(128 + number[0])
                heard = True
            elif number[0] != ASKED:
                continue
            if due is None:
                due = time.monotonic() + self._limit_s
                self._begin()
        self._cut()

    def _cut(self) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        at = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "unknown"
        line = threading.Thread(target=log.error, args=("not stopped in time: ending at once",), kwargs={"at": at})
        line.daemon = True
        try:
            line.start()
            line.join(LOG_S)
        except RuntimeError:  # an interpreter on its way out makes no threads any more
            os.write(2, b"not stopped in time: ending at once\n")
        finally:
            os._exit(EXIT_CUT)


def cut(_number: int, _frame: FrameType | None) -> None:
    """End the process: it was told to, the time is up, and the thread cannot run."""
    os._exit(EXIT_CUT)
