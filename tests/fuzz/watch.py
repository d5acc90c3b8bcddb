"""What no input may bring about: errors in the log, exceptions that nobody takes, and work out of proportion."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import structlog

import hubbub

__all__ = ["Work", "run", "unharmed", "work"]

HUBBUB = str(Path(hubbub.__file__).parent)

T = TypeVar("T")


@contextmanager
def unharmed() -> Iterator[None]:
    """Fail where the block makes the server write an error, or a traceback, for its log."""
    with structlog.testing.capture_logs() as lines:
        yield
    errors = [line for line in lines if line["log_level"] in ("error", "critical") or line.get("exc_info")]
    assert not errors, errors


def run(scene: Coroutine[Any, Any, T]) -> T:
    """Run a scene on a loop of its own, which takes no exception that nobody expects."""
    lost: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
        return await scene

    with unharmed():
        result = asyncio.run(watched())
    assert not lost, lost
    return result


class Work:
    """What has been done.

    Attributes:
        steps: lines of Hubbub's code that have run, and functions that it has called.
    """

    def __init__(self) -> None:
        self.steps = 0


@contextmanager
def work() -> Iterator[Work]:
    """Count what Hubbub does while the block runs."""
    done = Work()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "call" and not frame.f_code.co_filename.startswith(HUBBUB):
            return None
        done.steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield done
    finally:
        sys.settrace(before)
