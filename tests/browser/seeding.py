"""Rooms with a past: messages written into a server's database before it starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from hubbub.engine import Draft
from hubbub.engine.local import Silent
from hubbub.engine.sqlite import SqliteEngine

__all__ = ["PAST_S", "numbered", "seed"]

# Between two messages of a past.
PAST_S = 90.0
# They are sent at the same moment.
BATCH = 5
WORDS = "the harbour opens at ten and whoever has a boat may bring it along too".split()  # noqa: SIM905 - as it is read


def numbered(seq: int) -> str:
    """The words of a message that tells its seq; they differ in length, so that rows differ in height."""
    second = "\nAnd a second line." if seq % 11 == 0 else ""
    return f"Message {seq}. {' '.join(WORDS[: seq * 7 % len(WORDS)])}{second}"


def seed(database: Path, room: str, past: Sequence[tuple[str, str]], *, step_s: float = PAST_S) -> None:
    """Let users say something in a room, in this order and each so long after the one before, the last one just now."""
    # In a thread of its own: the sync API of playwright keeps a loop running in that of the tests.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(_seed(database, room, past, step_s))).result()


async def _seed(database: Path, room: str, past: Sequence[tuple[str, str]], step_s: float) -> None:
    began = time.time() - len(past) * step_s
    said = 0
    engine = SqliteEngine(database, clock=time.monotonic, wall=lambda: began + said * step_s)
    await engine.open(Silent())
    for first in range(0, len(past), BATCH):
        batch = past[first : first + BATCH]
        drafts = [Draft(room, "new_message", msgspec.json.encode({"message": text}), user) for user, text in batch]
        await engine.append(drafts)
        said += len(batch)
    await engine.close()
