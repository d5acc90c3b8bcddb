"""Looking for words in messages in memory: how far one search gets, and what it counts as."""

from __future__ import annotations

import pytest

from hubbub.engine import Draft
from hubbub.engine.memory import MemoryEngine
from hubbub.engine.scanning import MESSAGE_S, scan
from hubbub.events import Message, encode
from hubbub.testing import Clock
from hubbub.words import read_query

pytestmark = pytest.mark.anyio

FEW = 5


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.engine.scanning.MOST_SCANNED", FEW)


def said(text: str) -> bytes:
    return encode({"message": text})


async def test_each_page_gets_further_than_the_one_before() -> None:
    texts = {seq: "old" if seq == 1 else "hm" for seq in range(20, 0, -1)}
    messages = [Message("ops", seq, seq, "percy", "new_message", said(text)) for seq, text in texts.items()]
    pages, before = 1, None
    while not (hits := await scan([messages], read_query("old"), before, 50)).messages:
        assert hits.next is not None
        before, pages = hits.next, pages + 1
        assert pages <= len(messages)
    assert [each.seq for each in hits.messages] == [1]
    assert pages == len(messages) // FEW


async def test_what_was_looked_at_is_counted() -> None:
    clock = Clock()
    engine = MemoryEngine(clock=clock, wall=clock)
    for _ in range(3):
        await engine.append([Draft(room, "new_message", said("hm"), "percy") for room in ("ops", "tea")])
        clock.go(1)
    query = read_query("hello")
    first = await engine.search(query, ["ops", "tea"], None, 50)
    assert first.next is not None
    assert first.spent_s == FEW * MESSAGE_S
    # The rest alone: what the first page has looked at is passed over.
    last = await engine.search(query, ["ops", "tea"], first.next, 50)
    assert (last.next, last.spent_s) == (None, MESSAGE_S)
