"""Fixtures of the unit tests: a loop, but no sockets and no sleeping."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hubbub.testing import Stage, at_work


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """The built-in chat at work."""
    async with at_work() as stage:
        yield stage
