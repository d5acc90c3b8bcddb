"""Every engine, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hubbub.engine import Engine, open_engine
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


@pytest.fixture(params=["memory://", "sqlite:///{}/log.db", "sqlite:///{}/log.db?durability=full"])
async def engine(
    request: pytest.FixtureRequest, clock: Clock, delivered: list[tuple[str, list[int]]], tmp_path: Path
) -> AsyncIterator[Engine]:
    def deliver(room: str, messages: Sequence[Message]) -> None:
        delivered.append((room, [message.seq for message in messages]))

    engine = open_engine(request.param.format(tmp_path), clock=clock, wall=clock)
    await engine.open(deliver)
    yield engine
    await engine.close()
