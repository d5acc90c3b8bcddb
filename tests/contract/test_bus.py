"""The bus, as every engine promises it."""

from __future__ import annotations

import pytest

from contract.told import Told
from hubbub.engine import Draft, Engine

pytestmark = pytest.mark.anyio


def draft(room: str, key: str | None = None) -> Draft:
    return Draft(room, "new_message", b"{}", "percy", key)


async def test_subscribed_rooms_are_delivered_in_order_and_repeats_are_not(engine: Engine, told: Told) -> None:
    await engine.subscribe("a")
    await engine.append([draft("a", "k"), draft("b"), draft("a"), draft("a", "k")])
    await engine.subscribe("b")
    await engine.append([draft("b"), draft("a")])
    engine.unsubscribe("a")
    await engine.append([draft("a"), draft("b")])
    assert told.delivered == {"a": [1, 2, 3], "b": [2, 3]}


async def test_ones_own_messages_are_delivered_before_the_append_returns(engine: Engine, told: Told) -> None:
    await engine.subscribe("a")
    for seq in range(1, 20):
        await engine.append([draft("a")])
        assert told.delivered["a"][-1] == seq


async def test_a_room_may_be_subscribed_to_again(engine: Engine, told: Told) -> None:
    for _ in range(2):
        await engine.subscribe("a")
        await engine.subscribe("a")
        await engine.append([draft("a")])
        engine.unsubscribe("a")
        engine.unsubscribe("a")
        await engine.append([draft("a")])
    assert told.delivered == {"a": [1, 3]}


async def test_an_event_that_is_not_kept_is_heard_where_the_room_is_subscribed_to(engine: Engine, told: Told) -> None:
    engine.cast("a", "typing", b'{"user":"percy"}')
    await engine.subscribe("a")
    engine.cast("a", "typing", b'{"user":"alice"}')
    engine.cast("b", "typing", b'{"user":"alice"}')
    engine.unsubscribe("a")
    engine.cast("a", "typing", b'{"user":"bob"}')
    await told.exactly(("heard", "a", "typing", b'{"user":"alice"}'))
    assert (await engine.head("a")).seq == 0
