"""SQLite engines for the tests of what only they do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub.engine.folding import Folding
from hubbub.engine.local import Silent
from hubbub.engine.sqlite import SqliteEngine
from hubbub.testing import Clock

__all__ = ["opened"]


@asynccontextmanager
async def opened(
    path: Path, clock: Clock | None = None, *, killed: bool = False, **options: Any
) -> AsyncIterator[SqliteEngine]:
    """An engine on a file.

    Args:
        killed: what it leaves is what a process leaves that is killed.
    """
    clock = clock or Clock()
    engine = SqliteEngine(path, clock=clock, wall=clock, **options)
    await engine.open(Silent())
    try:
        yield engine
    finally:
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                patch.setattr(Folding, "fold", not_folded)
            await engine.close()


async def not_folded(_self: Folding) -> bool:
    return False
