"""Accounts of an earlier version have no names for show, and nobody takes theirs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engines import opened
from hubbub.engine import Profile
from hubbub.engine.schema import MIGRATIONS
from hubbub.looks import keys_of

pytestmark = pytest.mark.anyio

# The schema before accounts had names for show.
EARLIER = next(number for number, script in enumerate(MIGRATIONS) if "looks" in script)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_file_of_an_earlier_version_has_accounts_that_look_like_their_names(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "log.db")
    for script in MIGRATIONS[:EARLIER]:
        file.executescript(script)
    file.execute(f"PRAGMA user_version = {EARLIER}")
    file.execute("INSERT OR IGNORE INTO generations VALUES (1, 'the epoch')")
    for user in ("m0m1", "anna"):
        file.execute("INSERT INTO accounts (user, password_hash) VALUES (?, 'hash')", (user,))
    file.commit()
    file.close()
    async with opened(tmp_path / "log.db") as engine:
        assert await engine.profiles(["m0m1", "anna"]) == {"m0m1": Profile("m0m1"), "anna": Profile("anna")}
        assert await engine.set_name("anna", "MOMI", keys_of("MOMI")) is False
        assert await engine.set_name("anna", "Anna", keys_of("Anna")) is True
