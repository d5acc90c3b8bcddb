"""Fixtures of the fuzz tests: a loop, but no sockets and no sleeping."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
