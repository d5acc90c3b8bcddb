"""Who holds the event loop: an application's function that does not come back soon is named, and then where it stands.

Nothing else happens while a plain function runs, or an asynchronous one from one `await` to the next.  Each of these
steps is timed.  While one is under way, only another thread can tell where it stands: it looks whether the loop's beat
goes on.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import threading
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import structlog

from hubbub.ration import Ration
from hubbub.signatures import name_of

__all__ = ["Beat", "Holding", "Timed"]

log = structlog.get_logger("hubbub")

# A step that takes longer is told of when it is over: by then others wait noticeably.
HOLDING_S = 0.05

# The loop beats, and the thread looks, once in so many seconds; a step under way is told of when so many looks have
# found no beat.  They are counted, and not timed, lest a machine that was asleep is taken for a step of hours.
BEAT_S = 0.25
LOOKS = 5

# Lines about one function, at once and then one in so many seconds.
LINES = 3
LINES_EVERY_S = 10.0

# How many of the innermost frames are told of.
FRAMES = 4

OWN = str(Path(__file__).parent) + os.sep


class Timed:
    """A function of an application, as it is told of.

    Args:
        kind: what it is registered as.
    """

    def __init__(self, kind: str, function: Callable[..., Any]) -> None:
        self.name = f"{kind} {name_of(function)}"
        self.place = place_of(function)
        self.lines = Ration(LINES, LINES_EVERY_S)


class Holding:
    """Times what an application's functions take of the loop.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def watched(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that calls this one, and looks like it; it tells when a step has held the loop for long."""
        timed = Timed(kind, function)

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            begun = self.clock()
            try:
                return function(*args)
            finally:
                if self.clock() - begun > HOLDING_S:
                    self._tell(timed, begun)

        @functools.wraps(function)
        async def call_async(*args: Any) -> Any:
            return await self._steps(function(*args), timed)

        return call_async if inspect.iscoroutinefunction(function) else call

    @types.coroutine
    def _steps(self, coroutine: Coroutine[Any, Any, Any], timed: Timed) -> Generator[Any, Any, Any]:
        """What a coroutine does, step by step."""
        sent: Any = None
        error: BaseException | None = None
        while True:
            begun = self.clock()
            try:
                waits_for = coroutine.send(sent) if error is None else coroutine.throw(error)
            except StopIteration as over:
                return over.value
            finally:
                if self.clock() - begun > HOLDING_S:
                    self._tell(timed, begun)
            error = None
            try:
                sent = yield waits_for
            except BaseException as thrown:  # above all its cancellation
                error = thrown

    def _tell(self, timed: Timed, begun: float) -> None:
        now = self.clock()
        left_out = timed.lines.take(now)
        if left_out is not None:
            held_ms = round(1000 * (now - begun))
            log.warning(
                "held the event loop",
                function=timed.name,
                where=timed.place,
                ms=held_ms,
                lines_left_out=left_out,
            )


# The code of the frames that an application's function is called from.
CALLS = {
    code for code in Holding.watched.__code__.co_consts if isinstance(code, types.CodeType) and code.co_name == "call"
} | {Holding._steps.__code__}


class Beat:
    """Looks from a thread whether a loop goes on, and tells what it stands at where it does not."""

    def __init__(self) -> None:
        self._beats = 0
        self._seen = 0
        self._missed = 0
        self._lines = Ration(LINES, LINES_EVERY_S)

    async def run(self) -> None:
        """Beat for ever, and have a thread look at it."""
        over = threading.Event()
        look = threading.Thread(target=self._look_on, args=(threading.get_ident(), over), daemon=True)
        look.start()
        try:
            while True:
                self.beat()
                await asyncio.sleep(BEAT_S)
        finally:
            over.set()

    def beat(self) -> None:
        """Say that the loop goes on."""
        self._beats += 1

    def _look_on(self, thread: int, over: threading.Event) -> None:
        now = 0.0
        while not over.wait(BEAT_S):
            now += BEAT_S
            self.look(now, lambda: sys._current_frames().get(thread))

    def look(self, now: float, frame: Callable[[], types.FrameType | None]) -> None:
        """Look once whether there was a beat since the last look.

        Args:
            frame: the innermost frame of the loop's thread, if it runs.
        """
        if self._beats != self._seen:
            self._seen, self._missed = self._beats, 0
            return
        self._missed += 1
        if self._missed == LOOKS:
            found = stand_of(frame())
            left_out = self._lines.take(now) if found else None
            if found and left_out is not None:
                timed, stands = found
                log.warning(
                    "holds the event loop",
                    function=timed.name,
                    where=timed.place,
                    stands=stands,
                    lines_left_out=left_out,
                )


def stand_of(frame: types.FrameType | None) -> tuple[Timed, str] | None:
    """Which function of an application a thread is in, and where it stands there, the innermost place first."""
    frames = list(frames_above(frame))
    for depth, outer in enumerate(frames):
        if outer.f_code in CALLS:
            inner = [each for each in frames[:depth] if not each.f_code.co_filename.startswith(OWN)][:FRAMES]
            stands = " < ".join(
                f"{shown(each.f_code.co_filename)}:{each.f_lineno} {each.f_code.co_name}" for each in inner
            )
            return outer.f_locals["timed"], stands
    return None


def frames_above(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    """A frame, and those that it was called from."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is written, as `votes.py:12`; empty where that cannot be told."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return f"{shown(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""


def shown(file: str) -> str:
    """A file's name, from the working folder where it is below that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
