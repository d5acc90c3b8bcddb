"""A posting on its way into the log, and what one call of a handler has posted."""

from __future__ import annotations

import asyncio

import pytest

from gates import turns
from hubbub.engine import Receipt
from hubbub.errors import NotKept
from hubbub.posting import Call, Posting, PostingState

pytestmark = pytest.mark.anyio

KEPT = Receipt(7, 1000)


def posting(room: str = "general") -> Posting:
    return Posting(room, "tally", b"{}")


def test_a_posting_is_pending_then_kept_or_failed() -> None:
    kept, failed = posting(), posting()
    assert [kept.state, failed.state] == [PostingState.PENDING, PostingState.PENDING]
    kept.settle(KEPT)
    failed.settle(NotKept("the disk is full"))
    assert [kept.state, failed.state] == [PostingState.KEPT, PostingState.FAILED]
    assert kept.receipt() == KEPT
    with pytest.raises(NotKept, match="full"):
        failed.receipt()


@pytest.mark.parametrize("is_settled_before", [False, True])
async def test_everyone_who_awaits_a_posting_gets_its_receipt(is_settled_before: bool) -> None:
    said = posting()

    async def wait() -> Receipt:
        return await said

    if is_settled_before:
        said.settle(KEPT)
    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    await turns()
    if not is_settled_before:
        assert not any(task.done() for task in waiting)
        said.settle(KEPT)
    assert await asyncio.gather(*waiting) == [KEPT] * 3
    assert await said == KEPT


async def test_everyone_who_awaits_a_posting_that_fails_gets_its_error() -> None:
    said = posting()

    async def wait() -> Receipt:
        return await said

    waiting = [asyncio.create_task(wait()) for _ in range(2)]
    await turns()
    said.settle(NotKept("the disk is full"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, NotKept) for result in results)


async def test_one_that_gives_up_waiting_takes_nothing_from_the_others() -> None:
    said = posting()

    async def wait() -> Receipt:
        return await said

    impatient, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
    await turns()
    impatient.cancel()
    await turns()
    said.settle(KEPT)
    assert await patient == KEPT
    assert impatient.cancelled()


def test_what_goes_wrong_with_one_that_waits_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    said = posting()
    told: list[Posting] = []

    def fail(_posting: Posting) -> None:
        raise ZeroDivisionError

    said.call_when_settled(fail)
    said.call_when_settled(told.append)
    said.settle(KEPT)
    assert told == [said]
    assert "reply failed" in capsys.readouterr().out


def test_a_settled_posting_lets_go_of_those_that_waited() -> None:
    said = posting()
    said.call_when_settled(lambda _: None)
    said.settle(KEPT)
    assert said.callbacks == ()


def test_a_call_knows_what_it_has_posted_and_holds_the_rooms_first() -> None:
    held: list[str] = []
    call = Call(held.append)
    first, second = posting("a"), posting("b")
    call.note(first)
    call.note(second)
    assert call.postings == [first, second]
    assert held == ["a", "b"]


def test_a_call_that_is_over_takes_note_of_nothing() -> None:
    held: list[str] = []
    call = Call(held.append)
    call.note(posting("a"))
    call.is_over = True
    for _ in range(3):
        call.note(posting("b"))
    assert len(call.postings) == 1
    assert held == ["a"]
