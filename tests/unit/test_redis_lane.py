"""The appends of a partition on Redis: what is not known about is settled before anything else is sent."""

from __future__ import annotations

import asyncio
from struct import pack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hubbub.engine import Draft
from hubbub.engine.redis.keys import Keyspace
from hubbub.engine.redis.lane import Kept, PartitionLane
from hubbub.engine.redis.master import NotDone, ShardCall
from hubbub.engine.redis.masters import Masters
from hubbub.errors import NotKnown
from hubbub.testing import Clock

DRAFT = Draft("a", "m", b"{}", "percy", "k")


def answer(before: int) -> bytes:
    """What the script answers to one new message in one room."""
    return pack(">QQ", 0, 1000) + pack(">QQI", before, 1, 0)


class LosingMasters:
    """Servers whose first answer is lost, and whose second one comes when it is let.

    Attributes:
        calls: what was asked, in order.
    """

    def __init__(self) -> None:
        self.calls: list[ShardCall] = []
        self.may_answer = asyncio.Event()

    async def run(self, call: ShardCall, *, within_s: float) -> bytes:
        self.calls.append(call)
        if len(self.calls) == 1:
            call.may_be = True
            raise NotDone("the connection was lost", may_be=True)
        if len(self.calls) == 2:
            await self.may_answer.wait()
        return answer(len(self.calls) - 2)


def test_a_batch_that_is_not_known_about_is_settled_before_the_next_one_is_sent() -> None:
    async def losing() -> None:
        masters, late = LosingMasters(), list[Kept]()
        none: Any = SimpleNamespace(kept=lambda _: [], returned=lambda _: None)
        keys = Keyspace("test", 1)
        lane = PartitionLane(
            0,
            b"n" * 16,
            keys,
            cast("Masters", masters),
            Clock(),
            none.kept,
            late.extend,
            none.returned,
            keep=0,
            wait=0,
            now=None,
        )
        with pytest.raises(NotKnown):
            await lane.append([DRAFT])
        following = asyncio.ensure_future(lane.append([DRAFT]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(masters.calls) == 2, "the second one waits"
        assert masters.calls[0] is masters.calls[1], "the first one is asked again, under its number"
        masters.may_answer.set()
        [receipt] = await following
        assert receipt.seq == 2
        assert [(kept.before, len(kept.fresh)) for kept in late] == [(0, 1)], "it is shown, though its sender has gone"
        await lane.close()

    asyncio.run(losing())
