"""Fixtures of the unit tests: a loop, but no sockets and no sleeping."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stage import Stage, stage


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def on_stage() -> AsyncIterator[Stage]:
    async with stage() as set_up:
        yield set_up
