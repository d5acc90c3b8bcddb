"""Every engine, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hubbub.engine import Engine, open_engine, sqlite
from hubbub.events import Message
from stage import Clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def delivered() -> list[tuple[str, list[int]]]:
    """What the bus delivered: the room and the seqs of each call."""
    return []


# The last one folds its journal after every batch, a message at a time.
ENGINES = ["memory://", "sqlite:///{}/log.db", "sqlite:///{}/log.db?durability=full", "sqlite:///{}/folding.db"]


@pytest.fixture(params=ENGINES)
async def engine(
    request: pytest.FixtureRequest,
    clock: Clock,
    delivered: list[tuple[str, list[int]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Engine]:
    if "folding" in request.param:
        monkeypatch.setattr(sqlite, "FOLD_MESSAGES", 1)
        monkeypatch.setattr(sqlite, "FOLD_ROWS", 1)

    def deliver(room: str, messages: Sequence[Message]) -> None:
        delivered.append((room, [message.seq for message in messages]))

    engine = open_engine(request.param.format(tmp_path), clock=clock, wall=clock)
    await engine.open(deliver)
    yield engine
    await engine.close()
