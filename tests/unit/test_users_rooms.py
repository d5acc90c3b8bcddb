"""The rooms that users follow."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.testing import Guest, Stage, at_work

pytestmark = pytest.mark.anyio


async def rooms_of(stage: Stage, guest: Guest) -> list[dict[str, Any]]:
    """What a welcome would tell a guest's user now."""
    import json

    found: list[dict[str, Any]] = json.loads(await stage.core.follows.entries(guest._participant))
    return found


async def test_a_followed_room_is_in_the_welcome() -> None:
    async with at_work() as stage:
        percy, annabeth = await stage.client("percy"), await stage.client("annabeth")
        await annabeth.join("Ops")
        await annabeth.ask("send_message", {"message": "hi"})
        entry = await percy.ask("follow", {"room": "OPS"})
        assert entry["room"] == "ops" and entry["title"] == "Ops"
        assert (entry["seq"], entry["read"], entry["unread"]) == (1, 0, 1)
        assert not entry["muted"] and not entry["joined"] and entry["active"].endswith("Z")
        assert await rooms_of(stage, percy) == [entry]
        assert await percy.ask("follow", {"room": "ops"}) == entry
