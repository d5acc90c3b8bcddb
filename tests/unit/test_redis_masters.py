"""Calls to Redis whose answers are lost half way: it has to be known that they may have been carried out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import hiredis
import pytest

from hubbub.engine.redis.calls import load
from hubbub.engine.redis.link import LinkLost, Part, RedisLink
from hubbub.engine.redis.master import Master, ShardCall
from hubbub.engine.redis.masters import Masters
from hubbub.engine.redis.servers import Servers

pytestmark = pytest.mark.anyio


class FakeLink:
    """Answers each command as it was told to."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[Part] = []
        self._answers = answers

    def call(self, *parts: Part) -> asyncio.Future[Any]:
        verb = parts[0].decode() if isinstance(parts[0], bytes) else str(parts[0])
        self.asked.append(verb)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(found := self._answers[verb], Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)
        return answer


def masters_on(**links: FakeLink) -> Masters:
    """Masters of one shard, which is on the first."""
    masters = Masters(cast("Servers", None), [0], print, cast("Any", None), print)
    for host, link in links.items():
        master = Master((host, 1), cast("Servers", None))
        master.commands = cast("RedisLink", link)
        masters._by_address[host, 1] = master
    masters._of_shard = [next(iter(masters._by_address.values()))]
    return masters


def a_call(wait: int = 0) -> ShardCall:
    return ShardCall(0, load("append"), [], lambda _: [], wait)


async def test_what_was_done_before_the_master_became_a_replica_may_have_been_done() -> None:
    link = FakeLink(EVALSHA=b"", WAIT=hiredis.ReplyError("UNBLOCKED instance state changed"))
    call = a_call(wait=1)
    with pytest.raises(LinkLost):
        await masters_on(a=link)._try(call)
    assert call.may_be


async def test_what_was_lost_on_the_way_to_the_server_that_was_named_may_have_been_done() -> None:
    ask = FakeLink(EVALSHA=hiredis.ReplyError("ASK 1 b:1"))
    named = FakeLink(ASKING=b"OK", EVALSHA=LinkLost())
    call = a_call()
    with pytest.raises(LinkLost):
        await masters_on(a=ask, b=named)._try(call)
    assert call.may_be
    assert named.asked == ["ASKING", "EVALSHA"]
