"""The pump: batches that grow while one is under way, lanes apart from each other, and answers to failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from gates import GatedEngine, turns
from hubbub import pump as pump_module
from hubbub.counts import HubCounts
from hubbub.engine import Draft, Outcome
from hubbub.errors import EngineError, NotKept, NotKnown
from hubbub.posting import Posting, PostingState
from hubbub.pump import Pump
from hubbub.testing import Clock

pytestmark = pytest.mark.anyio


class Counting(GatedEngine):
    """An engine that notes its batches."""

    def __init__(self, lanes: int = 1) -> None:
        super().__init__(lanes)
        self.batches: list[list[str]] = []

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        self.batches.append([draft.room for draft in batch])
        return await super().append(batch)


def new_pump(engine: GatedEngine) -> Pump:
    return Pump(engine, HubCounts(), Clock())


@asynccontextmanager
async def pumping(engine: GatedEngine, flush: Callable[[], None] = lambda: None) -> AsyncIterator[Pump]:
    """A pump at work."""
    pump = new_pump(engine)
    running = asyncio.create_task(pump.run(flush))
    try:
        yield pump
    finally:
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def post(pump: Pump, room: str = "general") -> Posting:
    posting = Posting(room, "tally", b"{}")
    pump.gather(posting)
    return posting


async def test_an_idle_pump_appends_at_once_and_a_busy_one_gathers() -> None:
    engine = Counting()
    async with pumping(engine) as pump:
        first = post(pump)
        await turns()
        assert first.state is PostingState.KEPT
        engine.appends[0].close()
        post(pump)
        await engine.appends[0].reached()
        for _ in range(5):
            post(pump)
        await turns()
        engine.appends[0].open()
        await pump.emptied()
    assert [len(batch) for batch in engine.batches] == [1, 1, 5]


async def test_what_was_posted_is_flushed_when_its_senders_have_their_answers() -> None:
    order: list[str] = []
    engine = Counting()
    async with pumping(engine, lambda: order.append("flush")) as pump:
        for number in (1, 2):
            post(pump).call_when_settled(lambda _, number=number: order.append(f"answer {number}"))  # type: ignore[misc]  # a lambda has no types
        await pump.emptied()
    assert order == ["answer 1", "answer 2", "flush"]


async def test_a_lane_that_is_stuck_does_not_hold_up_the_other() -> None:
    engine = Counting(lanes=2)
    flushes: list[None] = []
    async with pumping(engine, lambda: flushes.append(None)) as pump:
        left = engine.appends[0]
        left.close()
        stuck = [post(pump, "left") for _ in range(2)]
        passing = [post(pump, "right") for _ in range(2)]
        await turns()
        assert [posting.state for posting in stuck] == [PostingState.PENDING] * 2
        assert [posting.state for posting in passing] == [PostingState.KEPT] * 2
        assert len(flushes) == 1
        post(pump, "right")
        await turns()
        assert engine.batches == [["left", "left"], ["right", "right"], ["right"]]
        left.open()
        await pump.emptied()
        assert stuck[1].receipt().seq == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_emptied_waits_for_all_lanes(order: tuple[int, int]) -> None:
    engine = Counting(lanes=2)
    async with pumping(engine) as pump:
        for gate in engine.appends:
            gate.close()
        post(pump, "left")
        post(pump, "right")
        emptied = asyncio.create_task(pump.emptied())
        for lane in order:
            await turns()
            assert not emptied.done()
            engine.appends[lane].open()
        await emptied


async def test_emptied_waits_for_what_was_gathered_before_the_pump_began() -> None:
    engine = Counting()
    pump = new_pump(engine)
    early = post(pump)
    emptied = asyncio.create_task(pump.emptied())
    await turns()
    assert not emptied.done()
    running = asyncio.create_task(pump.run(lambda: None))
    await emptied
    assert early.state is PostingState.KEPT
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_emptied_waits_for_what_an_answer_brings_about() -> None:
    engine = Counting()
    async with pumping(engine) as pump:
        later: list[Posting] = []
        post(pump).call_when_settled(lambda _: later.append(post(pump)))
        await pump.emptied()
        assert later[0].state is PostingState.KEPT
        await pump.emptied()


@pytest.mark.parametrize(
    ("error", "expected", "match"),
    [
        (NotKept("the disk is full"), NotKept, "the disk is full"),
        (NotKnown("no answer"), NotKnown, "no answer"),
        (ZeroDivisionError("a bug"), NotKnown, "a bug"),
        (EngineError("something"), NotKnown, "something"),
        (asyncio.CancelledError(), NotKnown, "CancelledError"),
    ],
)
async def test_a_batch_that_fails_tells_all_its_senders_why_and_the_next_is_kept(
    error: BaseException, expected: type[EngineError], match: str
) -> None:
    engine = Counting(lanes=2)
    flushes: list[None] = []
    async with pumping(engine, lambda: flushes.append(None)) as pump:
        engine.failing["append"] = error
        failed = [post(pump, "left") for _ in range(3)]
        await turns()
        for posting in failed:
            with pytest.raises(expected, match=match):
                posting.receipt()
        assert len(flushes) == 1
        kept = [post(pump, room) for room in ("left", "right")]
        await turns()
        assert [posting.receipt().seq for posting in kept] == [1, 1]


async def test_nobody_waits_for_ever_for_a_pump_that_has_stopped() -> None:
    engine = Counting()
    engine.appends[0].close()
    async with pumping(engine) as pump:
        under_way = post(pump)
        await engine.appends[0].reached()
        gathered = post(pump)
        emptied = asyncio.create_task(pump.emptied())
        await turns()
    with pytest.raises(NotKnown, match="the hub has stopped"):
        under_way.receipt()
    for not_kept in (gathered, post(pump), post(pump)):
        with pytest.raises(NotKept, match="the hub has stopped"):
            await not_kept
    await emptied
    await pump.emptied()


class Full(GatedEngine):
    """An engine that keeps nothing."""

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        raise NotKept("the disk is full")


async def test_a_full_disk_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "LINES_EVERY_S", 1e9)
    with capture_logs() as lines:
        async with pumping(Full()) as pump:
            for _ in range(pump_module.LINES + 20):
                with pytest.raises(NotKept):
                    await post(pump)
    assert len(lines) == pump_module.LINES
    assert {line["event"] for line in lines} == {"messages not kept"}


def test_what_goes_into_one_lane_is_one_batch() -> None:
    def is_one_batch(lanes: int, *rooms: str) -> bool:
        return new_pump(GatedEngine(lanes)).is_one_batch([Posting(room, "tally", b"{}") for room in rooms])

    assert is_one_batch(1, "left", "right")
    assert is_one_batch(2, "left", "left over")
    assert not is_one_batch(2, "left", "right")
