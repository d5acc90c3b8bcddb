"""A connection to a Redis server: answers in order, and what comes unasked."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import pytest

from hubbub.engine.redis.link import LinkLost, RedisLink

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True


def link_on(wire: Wire) -> RedisLink:
    link = RedisLink(lambda _: None, lambda: None)
    link._transport = wire
    return link


async def test_answers_come_in_the_order_of_the_calls() -> None:
    link = link_on(Wire())
    first, second = link.call("GET", "a"), link.call("GET", "b")
    link.data_received(b"$1\r\n1\r\n-ERR no\r\n")
    assert await first == b"1"
    with pytest.raises(hiredis.ReplyError):
        await second


async def test_an_error_to_what_was_only_said_ends_the_connection() -> None:
    wire = Wire()
    link = link_on(wire)
    link.say("SSUBSCRIBE", "a")
    answer = link.call("PING")
    link.data_received(b"-MOVED 5970 127.0.0.1:7000\r\n+PONG\r\n+PONG\r\n")
    with pytest.raises(hiredis.ReplyError, match="MOVED"):
        await answer
    assert wire.is_aborted
    assert not link.is_open
    with pytest.raises(LinkLost):
        await link.call("PING")
