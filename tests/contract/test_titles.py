"""How rooms' names are written for show, as every engine keeps it."""

from __future__ import annotations

import pytest

from contract.told import Restart
from hubbub.engine import Draft, Engine

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
