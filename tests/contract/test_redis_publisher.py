"""Publishing through a Redis that servers run on, from a program that is none."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from hubbub import publisher
from hubbub.cluster.redis import RedisServer
from hubbub.engine.redis import servers
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.target import parse
from hubbub.errors import ConfigError, ErrorCode, Rejected
from hubbub.events import Event
from hubbub.sdk.publisher import Published, SaidInRoom
from hubbub.testing import Clock, Guest, at_work
from redis_nodes import new_prefix
from redis_servers import needs_redis, redis_single

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]


class Tally(Event, tag="tally"):
    option: str


@pytest.fixture
def url(redis_single: RedisServer) -> str:
    return f"{redis_single.url}?prefix={new_prefix()}"


async def heard(guest: Guest, type_: str) -> list[dict[str, object]]:
    """What a client hears of what is kept, up to the first event of a type, which comes from elsewhere."""
    found: list[dict[str, object]] = []
    async with asyncio.timeout(10):
        while True:
            for event in await guest.hear():
                if "seq" in event["payload"]:
                    found.append(event["payload"])
                if event["type"] == type_:
                    return found
            await asyncio.sleep(0.001)


async def test_what_a_program_publishes_is_heard_on_every_node(url: str, clock: Clock) -> None:
    engine = await make_redis_engine(parse(url), clock=clock)
    async with at_work(engine=engine, clock=clock) as stage, publisher(url) as other:
        percy = await stage.client("percy")
        await percy.join("news")
        first = await other.publish("News", {"x": 1})
        assert first == Published("news", 1, (await engine.head("news")).epoch)
        await other.publish("news", Tally("tea"), key="k")
        assert (await other.publish("news", {"option": "tea"}, type="tally", key="k")).seq == 2
        publication, tally = await heard(percy, "tally")
        assert (publication["seq"], publication["data"]) == (1, {"x": 1})
        assert (tally["seq"], tally["option"]) == (2, "tea")
        await percy.ask("send_message", {"message": "hi"})
        history = await other.history("news")
        assert (history.seq, history.epoch) == (3, first.epoch)
        kept = history.messages[0].sent, history.messages[1].sent, history.messages[2].sent
        assert history.messages == [
            SaidInRoom(1, kept[0], {"x": 1}),
            SaidInRoom(2, kept[1], {"option": "tea"}, "tally"),
            SaidInRoom(3, kept[2], {"message": "hi"}, "new_message", "percy"),
        ]
        assert [each.seq for each in (await other.history("news", after=1, limit=1)).messages] == [2]
        assert [each.seq for each in (await other.history("news", before=2)).messages] == [1]
        assert await engine.title("news") == "News"
        await stage.settle()
        async with asyncio.timeout(10):
            while await other.presence("news") != ["percy"]:
                await asyncio.sleep(0.001)
        assert await other.rooms() == {"news": 1}
        assert await other.rooms("x*") == {}


async def test_a_program_without_a_loop_publishes_too(url: str) -> None:
    def publish() -> list[object]:
        with publisher(url) as other:
            for number in range(3):
                other.publish("news", number)
            child = os.fork()
            if not child:
                try:
                    other.publish("news", 3)
                except ConfigError:
                    os._exit(7)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert other.presence("news") == []
            assert other.rooms("n*") == {"news": 0}
            return [each.data for each in other.history("news").messages]

    assert await asyncio.to_thread(publish) == [0, 1, 2]


async def test_the_example_of_the_page_runs(url: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()
    [example] = [
        each for each in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "redis" in each
    ]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "example", "exec", dont_inherit=True), names)
    await asyncio.to_thread(names["announce_at_once"], url, "It works")
    async with publisher(url) as other:
        assert [each.data for each in (await other.history("news-today")).messages] == [{"headline": "It works"}]


async def test_what_cannot_be_published_is_turned_down(url: str) -> None:
    async with publisher(url) as other:
        await other.publish("news", 1, key="k")
        for room, event, type_, key, code in (
            ("no/room", 1, None, None, ErrorCode.BAD_PAYLOAD),
            ("dm:alice,bob", 1, None, None, ErrorCode.FORBIDDEN),
            ("news", {"seq": 1}, "tally", None, ErrorCode.BAD_PAYLOAD),
            ("news", "x" * 16_400, None, None, ErrorCode.TOO_LARGE),
            ("news", {}, "reconnect", None, ErrorCode.FORBIDDEN),
            ("news", 2, None, "k", ErrorCode.CONFLICT),
            ("news", 2, None, "", ErrorCode.BAD_PAYLOAD),
        ):
            with pytest.raises(Rejected) as rejected:
                await other.publish(room, event, type=type_, key=key)
            assert rejected.value.code == code
        with pytest.raises(ValueError, match="not both"):
            await other.history("news", after=1, before=2)
        assert (await other.history("news")).seq == 1


async def test_no_more_messages_are_kept_than_is_said(url: str) -> None:
    async with publisher(url, keep_messages=2) as other:
        await asyncio.gather(*(other.publish("news", number) for number in range(250)))
        assert len((await other.history("news", limit=300)).messages) < 250  # some at a time are deleted
        assert len((await other.history("news", limit=2)).messages) == 2


@pytest.mark.parametrize("url", ["sqlite:///hubbub.db", "memory://", "chat.example"])
def test_what_is_not_shared_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match=r"publish with hubbub\.Publisher\(URL, KEY\)"):
        publisher(url)


def test_a_redis_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "START_S", 0.0)
    with pytest.raises(ConfigError, match=r"redis://:\*\*\*@127"), publisher("redis://:secret@127.0.0.1:1") as _:
        pass
    assert "secret" not in repr(publisher("redis://:secret@127.0.0.1:1"))
