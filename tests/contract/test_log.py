"""The log and the bus, as every engine promises them."""

from __future__ import annotations

import pytest

from hubbub.engine import Draft, Engine
from stage import Clock

pytestmark = pytest.mark.anyio


def draft(room: str = "general", text: str = "hi", sender: str = "percy", key: str | None = None) -> Draft:
    return Draft(room, "new_message", b'{"message":"%b"}' % text.encode(), sender, key)


async def test_appending_raises_the_seq_of_each_room_by_one(engine: Engine) -> None:
    receipts = await engine.append([draft("a"), draft("b"), draft("a")])
    receipts += await engine.append([draft("a")])
    assert [receipt.seq for receipt in receipts] == [1, 1, 2, 3]
    assert (await engine.head("a")).seq == 3
    assert (await engine.head("nowhere")).seq == 0


async def test_what_was_appended_is_read_as_it_was(engine: Engine) -> None:
    (receipt,) = await engine.append([draft(text="hi")])
    page = await engine.read("general", limit=10)
    (message,) = page.messages
    assert (message.room, message.seq, message.sent) == ("general", 1, receipt.sent)
    assert (message.sender, message.type, message.body) == ("percy", "new_message", b'{"message":"hi"}')
    assert page.head == await engine.head("general")


async def test_pages_go_both_ways(engine: Engine) -> None:
    await engine.append([draft() for _ in range(10)])

    async def seqs(**where: int) -> tuple[list[int], bool]:
        page = await engine.read("general", **where)
        return [message.seq for message in page.messages], page.more

    assert await seqs(limit=3) == ([8, 9, 10], True)
    assert await seqs(limit=10) == (list(range(1, 11)), False)
    assert await seqs(before=8, limit=3) == ([5, 6, 7], True)
    assert await seqs(before=3, limit=3) == ([1, 2], False)
    assert await seqs(before=1, limit=3) == ([], False)
    assert await seqs(after=0, limit=3) == ([1, 2, 3], True)
    assert await seqs(after=7, limit=3) == ([8, 9, 10], False)
    assert await seqs(after=10, limit=3) == ([], False)
    assert await seqs(after=99, limit=3) == ([], False)
    assert await seqs(before=99, limit=1) == ([10], True)


async def test_one_key_of_one_sender_is_kept_once(engine: Engine) -> None:
    first, again = await engine.append([draft(key="k"), draft(key="k")])
    (later,) = await engine.append([draft(key="k")])
    others = await engine.append([draft(key="k", sender="alice"), draft("elsewhere", key="k"), draft(key="l")])
    assert (first.seq, first.repeated) == (1, False)
    assert [(r.seq, r.sent, r.repeated) for r in (again, later)] == [(1, first.sent, True)] * 2
    assert not any(receipt.repeated for receipt in others)
    assert (await engine.head("general")).seq == 3


async def test_a_key_is_forgotten_after_the_dedupe_window(engine: Engine, clock: Clock) -> None:
    await engine.append([draft(key="k")])
    clock.go(299)
    assert (await engine.append([draft(key="k")]))[0].repeated
    clock.go(2)
    assert not (await engine.append([draft(key="k")]))[0].repeated


async def test_subscribed_rooms_are_delivered_in_order_and_repeats_are_not(
    engine: Engine, delivered: list[tuple[str, list[int]]]
) -> None:
    engine.subscribe("a")
    await engine.append([draft("a", key="k"), draft("b"), draft("a"), draft("a", key="k")])
    engine.subscribe("b")
    await engine.append([draft("b"), draft("a")])
    engine.unsubscribe("a")
    await engine.append([draft("a"), draft("b")])
    of = {room: [seq for name, seqs in delivered for seq in seqs if name == room] for room in ("a", "b")}
    assert of == {"a": [1, 2, 3], "b": [2, 3]}


async def test_keys_past_the_window_are_not_held(engine: Engine, clock: Clock) -> None:
    for number in range(100):
        await engine.append([draft(f"room {number}", key="k")])
    clock.go(301)
    await engine.append([draft("another", key="k")])
    assert len(vars(vars(engine)["_keys"])["_receipts"]) == 1
