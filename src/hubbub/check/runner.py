"""Runs the checks one after the other, each with a deadline, and all of them with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hubbub.check.outcome import Failed, NotOffered, printable
from hubbub.check.promises import PROMISES, Promise, Scope
from hubbub.check.target import Target

__all__ = ["Report", "Result", "Verdict", "run"]

CHECK_S = 5.0
TOTAL_S = 30.0
LEARN_S = 8.0


class Verdict(StrEnum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True)
class Result:
    """What came of holding a server to a promise."""

    promise: Promise
    outcome: Verdict
    seconds: float = 0.0
    sent: str = ""
    came: str = ""
    wanted: str = ""
    why: str = ""


@dataclass(frozen=True)
class Report:
    """All results, and what the server was found to be."""

    url: str
    user: str
    has_v1: bool
    results: Sequence[Result]

    def count(self, outcome: Verdict) -> int:
        """How many checks came to this."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def is_good(self) -> bool:
        """Whether no promise was broken."""
        return not self.count(Verdict.FAIL)


async def run(
    target: Target,
    *,
    is_slow: bool = False,
    promises: Iterable[Promise] = PROMISES,
    tell: Callable[[Result], None] = lambda _result: None,
) -> Report:
    """Log in, find out what is offered, and hold the server to its promises.

    Args:
        is_slow: run the checks that wait on purpose too.
        tell: gets each result as it comes.

    Raises:
        What `Session.ticket` raises, where there is no way in.
    """
    # What a library has to say of a server that misbehaves is in the results already.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    await target.log_in()
    try:
        await learn(target)
        chosen = [promise for promise in promises if is_slow or not promise.patience_s]
        results = await judge_all(target, chosen, tell)
    finally:
        await target.log_out()
    return Report(target.server.url, target.user, target.has_v1, results)


async def learn(target: Target) -> None:
    """Find out what is offered, as far as the server lets one."""
    try:
        async with asyncio.timeout(LEARN_S):
            await target.learn()
    except Exception:  # noqa: S110  # the checks will meet it again, and say it
        pass


async def judge_all(target: Target, promises: Sequence[Promise], tell: Callable[[Result], None]) -> list[Result]:
    now = asyncio.get_running_loop().time
    end = now() + TOTAL_S
    results = []
    for promise in promises:
        begun = now()
        result = await judge(target, promise, end - begun)
        if promise.patience_s:
            end += now() - begun
        tell(result)
        results.append(result)
    return results


async def judge(target: Target, promise: Promise, left_s: float) -> Result:
    """Hold the server to one promise; what it does about it never raises."""
    if promise.scope is Scope.V1 and not target.has_v1:
        return Result(promise, Verdict.NOT_OFFERED, why="this server does not echo hubbub.v1")
    if left_s <= 0:
        return Result(promise, Verdict.FAIL, sent="nothing", came=f"no end of the checks within {TOTAL_S:.0f} s")
    deadline_s = promise.patience_s or min(CHECK_S, left_s)
    trace = target.trace
    trace.clear()
    now = asyncio.get_running_loop().time
    begun = now()

    def failed(sent: str, came: str, wanted: str = "") -> Result:
        return Result(promise, Verdict.FAIL, now() - begun, sent, came, wanted)

    try:
        async with asyncio.timeout(deadline_s):
            await promise.check(target)
    except NotOffered as not_offered:
        return Result(promise, Verdict.NOT_OFFERED, now() - begun, why=not_offered.why)
    except Failed as broken:
        return failed(broken.sent, broken.came, broken.wanted)
    except TimeoutError:
        return failed(trace.sent, f"{trace.came}, then nothing more that was waited for")
    # Whatever the server has done to a library of ours, it is the server's doing, and has a line in the report.
    except Exception as error:
        return failed(trace.sent, printable(f"{trace.came}, then {type(error).__name__}: {error}"))
    return Result(promise, Verdict.PASS, now() - begun)
