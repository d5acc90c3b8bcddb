"""Asking all nodes: over one bus, with several nodes on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from hubbub.door import census as census_module
from hubbub.door.census import CensusReply, NodeCensus, NodeReport, Poll, TooMany, count_channels
from hubbub.engine.memory import MemoryEngine
from hubbub.notices import Notices
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Bus(MemoryEngine):
    """A bus that several nodes hear."""

    def __init__(self) -> None:
        super().__init__(clock=Clock(), wall=Clock())
        self.nodes: list[Notices] = []

    def cast(self, room: str, type_: str, payload: bytes) -> None:
        for node in self.nodes:
            node.heard(room, type_, payload)


class Node:
    """A node with a few channels."""

    def __init__(self, bus: Bus, name: str, channels: Mapping[str, int] = {}) -> None:
        self.name = name
        self.channels = channels
        notices = Notices(bus, lambda room, type_, payload: None)
        bus.nodes.append(notices)
        self.census = NodeCensus(name, notices, self.look, is_shared=True)
        self.census.begin()

    async def look(self, pattern: str | None) -> CensusReply:
        if pattern is None:
            counts = dict.fromkeys(("num_clients", "num_users", "num_subs", "num_channels", "uptime"), 1)
            return CensusReply(report=NodeReport(uid=self.name, name="hubbub", version="1", **counts))
        if pattern == "?":
            raise ValueError("it is none")
        return await count_channels(self.channels.items(), lambda name: name.startswith(pattern))


async def wait_a_little(_poll: Poll, _most_s: float) -> None:
    """Wait as long as the other nodes of these tests need, and no time."""
    for _ in range(10):
        await asyncio.sleep(0)


wait = Poll.wait


async def wait_for_all(poll: Poll, _most_s: float) -> None:
    """Wait for those that were there the last time, however long that takes."""
    await wait(poll, 1000.0)


async def test_each_node_is_asked_and_counts_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poll, "wait", wait_a_little)
    bus = Bus()
    first, _, _ = Node(bus, "1", {"a": 1, "b": 2}), Node(bus, "2", {"a": 3, "c": 0}), Node(bus, "3", {"x": 1})
    assert await first.census.channels("") == {"a": 4, "b": 2, "x": 1}
    assert await first.census.channels("a") == {"a": 4}
    assert sorted(report.uid for report in await first.census.reports()) == ["1", "2", "3"]
    with pytest.raises(ValueError, match="none"):
        await first.census.channels("?")


async def test_nobody_is_waited_for_who_was_not_there_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poll, "wait", wait_a_little)
    bus = Bus()
    first = Node(bus, "1")
    await first.census.reports()
    monkeypatch.setattr(Poll, "wait", wait_for_all)
    async with asyncio.timeout(10):
        assert len(await first.census.reports()) == 1
        Node(bus, "2")  # which tells that it is there
        assert len(await first.census.reports()) == 2
        assert len(await first.census.reports()) == 2
    bus.nodes.pop()
    monkeypatch.setattr(Poll, "wait", wait_a_little)
    assert len(await first.census.reports()) == 1
    monkeypatch.setattr(Poll, "wait", wait_for_all)
    async with asyncio.timeout(10):
        assert len(await first.census.reports()) == 1


async def test_more_channels_than_an_answer_has_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poll, "wait", wait_a_little)
    monkeypatch.setattr(census_module, "MAX_COUNTED", 3)
    bus = Bus()
    first, second = Node(bus, "1", {"a": 1, "b": 1}), Node(bus, "2", dict.fromkeys("cdef", 1))
    for node in (first, second):
        with pytest.raises(TooMany):
            await node.census.channels("")
    second.channels = {"c": 1, "d": 1}
    with pytest.raises(TooMany):
        await first.census.channels("")
    assert await first.census.channels("a") == {"a": 1}
