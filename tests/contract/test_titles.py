"""What every engine keeps of a room besides its messages: how its name is written, and how far it was read."""

from __future__ import annotations

import pytest

from contract.told import Restart
from hubbub.engine import Draft, Engine
from hubbub.engine.memory import MemoryEngine
from hubbub.engine.sqlite import SqliteEngine

pytestmark = pytest.mark.anyio


async def test_the_first_title_of_a_room_stays(engine: Engine) -> None:
    assert await engine.title("ops") == ""
    await engine.put_title("ops", "Ops")
    await engine.put_title("ops", "OPS")
    assert await engine.title("ops") == "Ops"
    assert await engine.title("other") == ""


async def test_a_title_outlives_the_process(engine: Engine, restart: Restart) -> None:
    await engine.append([Draft("ops", "new_message", b"{}")])
    await engine.put_title("ops", "Ops")
    assert await (await restart()).title("ops") == "Ops"


async def test_a_cleared_room_has_no_title(engine: Engine) -> None:
    await engine.append([Draft("ops", "new_message", b"{}")])
    await engine.put_title("ops", "Ops")
    await engine.put_title("other", "Other")
    await engine.clear("ops")
    assert (await engine.title("ops"), await engine.title("other")) == ("", "Other")


async def test_a_cleared_room_has_no_marks(engine: Engine) -> None:
    await engine.append([Draft(room, "new_message", b"{}") for room in ("ops", "other")])
    for room in ("ops", "other"):
        assert await engine.mark_read(room, "percy", 1) == 1
    await engine.clear("ops")
    assert [await engine.read_mark(room, "percy") for room in ("ops", "other")] == [0, 1]


async def test_a_room_that_nothing_was_read_of_leaves_nothing(engine: Engine) -> None:
    assert await engine.mark_read("ops", "percy", 0) == 0
    if isinstance(engine, SqliteEngine):
        rows = await engine._database.read(
            lambda file: file.execute("SELECT * FROM marks").fetchall(), engine._database.reading
        )
        assert rows == []
    elif isinstance(engine, MemoryEngine):
        assert not engine._marks
    await engine.mark_read("ops", "percy", 3)
    assert await engine.mark_read("ops", "percy", 0) == 3
