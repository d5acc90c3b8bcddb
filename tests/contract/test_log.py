"""The log, as every engine promises it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from contract.told import BreakAppends, Lives, Restart, Told
from hubbub.engine import Draft, Engine, Head, Receipt
from hubbub.errors import NotKept
from hubbub.testing import Clock
from receipts import kept, plain
from walls import DAY_S, YEAR_S, Wall

pytestmark = pytest.mark.anyio

# When all is sent while no time passes.
SENT = 1_000_000


def draft(room: str = "general", text: str = "hi", sender: str = "percy", key: str | None = None) -> Draft:
    return Draft(room, "new_message", b'{"message":"%b"}' % text.encode(), sender, key)


def beside(engine: Engine, room: str) -> str:
    """Another room of a room's lane: what is kept together, or not, is of one lane."""
    return next(name for name in map("room {}".format, itertools.count()) if engine.lane(name) == engine.lane(room))


async def is_repeated(engine: Engine) -> bool:
    """Send something with the key `k`; whether it was there already."""
    (receipt,) = await kept(engine.append([draft(key="k")]))
    return receipt.repeated


async def texts(engine: Engine, room: str = "general") -> list[str]:
    """What a room's log has, after a check of its seqs."""
    page = await engine.read(room, after=0, limit=10_000)
    assert [message.seq for message in page.messages] == list(range(1, page.head.seq + 1))
    return [message.body.decode().split('"')[3] for message in page.messages]


async def test_appending_raises_the_seq_of_each_room_by_one(engine: Engine) -> None:
    receipts = await engine.append([draft("a"), draft("b"), draft("a")])
    receipts += await engine.append([draft("a")])
    assert [receipt.seq for receipt in receipts] == [1, 1, 2, 3]
    assert (await engine.head("a")).seq == 3
    assert (await engine.head("nowhere")).seq == 0


async def test_what_was_appended_is_read_as_it_was(engine: Engine) -> None:
    (receipt,) = await kept(engine.append([draft(text="hi")]))
    page = await engine.read("general", limit=10)
    (message,) = page.messages
    assert (message.room, message.seq, message.sent) == ("general", 1, receipt.sent)
    assert (message.sender, message.type, message.body) == ("percy", "new_message", b'{"message":"hi"}')
    assert page.head == await engine.head("general")


async def test_a_message_may_have_no_sender(engine: Engine) -> None:
    await engine.append([Draft("general", "notice", b"{}")])
    (message,) = (await engine.read("general", limit=10)).messages
    assert message.sender is None


async def test_it_is_sent_at_the_time_of_the_wall(engine: Engine, clock: Clock) -> None:
    clock.go(0.123)
    (receipt,) = await kept(engine.append([draft()]))
    assert receipt.sent == 1_000_123


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


async def test_rooms_have_lanes(engine: Engine) -> None:
    assert engine.lanes >= 1
    assert all(0 <= engine.lane(f"room {number}") < engine.lanes for number in range(100))


# Several appends in flight


async def test_two_batches_at_once_are_kept_in_the_order_of_the_calls(engine: Engine, told: Told) -> None:
    await engine.subscribe("general")
    batches = [[draft(text=f"{number} {each}") for each in range(number % 3 + 1)] for number in range(30)]
    receipts = await asyncio.gather(*(engine.append(batch) for batch in batches))
    expected = list(range(1, sum(map(len, batches)) + 1))
    assert [receipt.seq for each in receipts for receipt in each] == expected
    assert await texts(engine) == [f"{number} {each}" for number in range(30) for each in range(number % 3 + 1)]
    assert told.delivered == {"general": expected}


async def test_a_repeat_in_another_batch_under_way_is_kept_once(engine: Engine) -> None:
    receipts = await asyncio.gather(*(kept(engine.append([draft(key="k"), draft(key=f"k{n}")])) for n in range(5)))
    assert [each[0].repeated for each in receipts] == [False, True, True, True, True]
    assert {each[0].seq for each in receipts} == {1}
    assert (await engine.head("general")).seq == 6


async def test_a_failed_batch_keeps_nothing_and_leaves_no_hole(
    engine: Engine, told: Told, break_appends: BreakAppends
) -> None:
    new_room = beside(engine, "general")
    await engine.subscribe("general")
    await engine.append([draft(text="before")])
    break_appends(1)
    with pytest.raises(NotKept):
        await engine.append([draft(text="lost", key="k"), draft(new_room, "lost")])
    is_up_now = engine.is_up
    assert not is_up_now
    assert await texts(engine) == ["before"]
    assert (await engine.head("general")).seq == 1
    assert (await engine.head(new_room)).seq == 0
    again, other = await kept(engine.append([draft(text="again", key="k"), draft(new_room)]))
    assert (again.seq, again.repeated, other.seq) == (2, False, 1)
    assert engine.is_up
    assert await texts(engine) == ["before", "again"]
    assert told.delivered == {"general": [1, 2]}


async def test_a_failed_batch_does_no_harm_to_those_under_way(
    engine: Engine, told: Told, break_appends: BreakAppends
) -> None:
    new_room = beside(engine, "general")
    await engine.subscribe("general")
    await engine.append([draft(text="before")])
    break_appends(2)
    first, second, third, fourth = await asyncio.gather(
        engine.append([draft(text="lost", key="k"), draft(text="lost"), draft(new_room)]),
        engine.append([draft(text="lost"), draft(text="lost")]),
        engine.append([draft(text="kept", key="k"), draft(new_room)]),
        engine.append([draft(text="kept", key="k")]),
        return_exceptions=True,
    )
    assert [type(each) for each in (first, second, third, fourth)] == [NotKept, NotKept, list, list]
    assert (third, fourth) == ([Receipt(2, SENT), Receipt(1, SENT)], [Receipt(2, SENT, repeated=True)])
    assert await texts(engine) == ["before", "kept"]
    assert told.delivered == {"general": [1, 2]}


async def test_a_caller_that_gives_up_leaves_no_hole(engine: Engine, told: Told) -> None:
    await engine.subscribe("general")
    for turns in range(6):
        given_up = asyncio.ensure_future(engine.append([draft()]))
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, engine.append([draft()]), return_exceptions=True)
    head = await engine.head("general")
    assert len(await texts(engine)) == head.seq
    assert told.delivered == {"general": list(range(1, head.seq + 1))}


async def test_a_caller_that_gives_up_on_a_batch_that_fails_leaves_no_hole(
    engine: Engine, told: Told, break_appends: BreakAppends
) -> None:
    await engine.subscribe("general")
    await engine.append([draft()])
    for turns in range(6):
        break_appends(1)
        given_up = asyncio.ensure_future(engine.append([draft(key=f"k{turns}")]))
        for _ in range(turns):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        break_appends(0)
        assert (await engine.append([draft(key=f"k{turns}")]))[0] == Receipt(turns + 2, SENT)
    assert len(await texts(engine)) == 7
    assert told.delivered == {"general": [1, 2, 3, 4, 5, 6, 7]}


async def test_the_head_is_of_what_is_kept(engine: Engine) -> None:
    await engine.append([draft()])
    appending = asyncio.ensure_future(engine.append([draft()]))
    while not appending.done():
        before, page = (await engine.head("general")).seq, await engine.read("general", limit=10)
        assert before <= page.head.seq == len(page.messages)
        await asyncio.sleep(0)
    assert (await engine.head("general")).seq == 2


# Keys


async def test_one_key_of_one_sender_is_kept_once(engine: Engine) -> None:
    first, again = await kept(engine.append([draft(key="k"), draft(key="k")]))
    (later,) = await kept(engine.append([draft(key="k")]))
    assert (first.seq, first.repeated) == (1, False)
    assert [(r.seq, r.sent, r.repeated) for r in (again, later)] == [(1, first.sent, True)] * 2
    assert (await engine.head("general")).seq == 1


async def test_one_key_may_be_used_by_another_sender_and_in_another_room(engine: Engine) -> None:
    await engine.append([draft(key="k")])
    others = await kept(engine.append([draft(key="k", sender="alice"), draft("elsewhere", key="k"), draft(key="l")]))
    assert not any(receipt.repeated for receipt in others)
    assert [receipt.seq for receipt in others] == [2, 1, 3]


async def test_a_key_is_forgotten_after_the_dedupe_window(engine: Engine, clock: Clock) -> None:
    await engine.append([draft(key="k")])
    clock.go(299)
    assert await is_repeated(engine)
    clock.go(2)
    assert not await is_repeated(engine)


@pytest.mark.parametrize("jump_s", [600, -600, DAY_S, -DAY_S])
async def test_a_key_is_known_whatever_the_wall_clock_does(
    engine: Engine, clock: Clock, wall: Wall, jump_s: float
) -> None:
    await engine.append([draft(key="k")])
    wall.jump(jump_s)
    clock.go(1)
    assert await is_repeated(engine)
    clock.go(298.999)
    assert await is_repeated(engine)
    clock.go(0.001)
    assert not await is_repeated(engine)


async def test_keys_from_while_the_wall_clock_was_ahead_are_forgotten_in_time(
    engine: Engine, clock: Clock, wall: Wall
) -> None:
    wall.jump(DAY_S)
    await engine.append([draft(key="ahead")])
    wall.jump(-DAY_S)
    await engine.append([draft(key="k")])
    clock.go(300)
    again = await kept(engine.append([draft(key="ahead"), draft(key="k")]))
    assert [receipt.repeated for receipt in again] == [False, False]


@pytest.mark.parametrize("jump_s", [0, 600, -600])
async def test_a_key_is_known_after_a_restart_whatever_the_wall_clock_does(
    engine: Engine, restart: Restart, clock: Clock, wall: Wall, jump_s: float
) -> None:
    await engine.append([draft(key="k")])
    wall.jump(jump_s)
    clock.go(1)
    engine = await restart()
    assert await is_repeated(engine)
    assert plain(await engine.append([draft(text="another", key="k")])) == [("k", 1)]
    clock.go(300)
    assert not await is_repeated(engine)


async def test_time_in_which_the_log_is_closed_does_not_count(
    lives: Lives, engine: Engine, restart: Restart, clock: Clock
) -> None:
    await engine.append([draft(key="k")])
    clock.go(299)
    await engine.append([draft(key="later")])
    await lives.close()
    clock.go(3600)
    engine = await restart()
    clock.go(0.999)
    assert await is_repeated(engine)
    clock.go(0.001)
    assert not await is_repeated(engine)


@pytest.mark.parametrize("keep", [10])
async def test_a_key_outlives_its_message(engine: Engine) -> None:
    await engine.append([draft(key="k")])
    while await oldest_seq(engine) == 1:
        await engine.append([draft() for _ in range(200)])
    assert await is_repeated(engine)


@pytest.mark.parametrize("keep", [10])
async def test_a_key_outlives_its_message_and_the_process(engine: Engine, restart: Restart) -> None:
    await engine.append([draft(key="k")])
    while await oldest_seq(engine) == 1:
        await engine.append([draft() for _ in range(200)])
    engine = await restart()
    assert await is_repeated(engine)


async def test_a_key_with_another_text_or_type_is_a_conflict(engine: Engine, told: Told) -> None:
    await engine.subscribe("general")
    outcomes = await engine.append(
        [
            draft(text="one", key="k"),
            draft(text="another", key="k"),
            Draft("general", "notice", b'{"message":"one"}', "percy", "k"),
            draft(text="two"),
            draft(text="one", key="k"),
            draft("elsewhere", text="another", key="k"),
        ]
    )
    conflict = ("k", 1)
    assert plain(outcomes) == [
        Receipt(1, SENT),
        conflict,
        conflict,
        Receipt(2, SENT),
        Receipt(1, SENT, repeated=True),
        Receipt(1, SENT),
    ]
    assert plain(await engine.append([draft(text="another", key="k")])) == [conflict]
    assert await engine.append([draft(text="one", key="k")]) == [Receipt(1, SENT, repeated=True)]
    assert await texts(engine) == ["one", "two"]
    assert told.delivered == {"general": [1, 2]}


# When it was sent


async def test_sent_never_goes_back_in_a_room(engine: Engine, clock: Clock, wall: Wall) -> None:
    await engine.append([draft("a")])
    wall.jump(-1)
    assert await engine.append([draft("a"), draft("b"), draft("a")]) == [
        Receipt(2, SENT),
        Receipt(1, SENT - 1000),
        Receipt(3, SENT),
    ]
    wall.jump(1)
    clock.go(1)
    assert await engine.append([draft("a")]) == [Receipt(4, SENT + 1000)]
    assert [message.sent for message in (await engine.read("a", limit=10)).messages] == [SENT] * 3 + [SENT + 1000]


async def test_sent_does_not_go_back_at_a_restart(engine: Engine, restart: Restart, wall: Wall) -> None:
    await engine.append([draft()])
    wall.jump(-DAY_S)
    engine = await restart()
    assert await engine.append([draft()]) == [Receipt(2, SENT)]


async def test_a_failed_batch_gives_its_time_back(engine: Engine, wall: Wall, break_appends: BreakAppends) -> None:
    await engine.append([draft()])
    wall.jump(DAY_S)
    break_appends(1)
    with pytest.raises(NotKept):
        await engine.append([draft(), draft()])
    wall.jump(-DAY_S)
    assert await engine.append([draft()]) == [Receipt(2, SENT)]


# Retention by age


@pytest.mark.parametrize("keep_s", [60])
async def test_a_glitch_of_the_wall_clock_hides_nothing(engine: Engine, clock: Clock, wall: Wall) -> None:
    await engine.append([draft() for _ in range(3)])
    for _ in range(5):
        clock.go(10)
        await engine.append([draft()])
        wall.jump(YEAR_S)
        assert len(await texts(engine)) == (await engine.head("general")).seq
        clock.go(1)
        assert len(await texts(engine)) == (await engine.head("general")).seq
        wall.jump(-YEAR_S)


@pytest.mark.parametrize("keep_s", [60])
async def test_a_restart_while_the_wall_clock_is_wrong_hides_nothing(
    engine: Engine, restart: Restart, wall: Wall
) -> None:
    await engine.append([draft() for _ in range(3)])
    wall.jump(YEAR_S)
    engine = await restart()
    for _ in range(20):  # what it does by itself at the start, it does now
        assert len(await texts(engine)) == 3
    engine = await restart()
    assert len(await texts(engine)) == 3


# Resuming


async def test_a_place_in_the_log_is_resumed_from(engine: Engine) -> None:
    await engine.append([draft() for _ in range(10)])
    epoch = (await engine.head("general")).epoch
    for seq in range(11):
        resumed = await engine.resume("general", Head(epoch, seq), 3)
        assert resumed.is_recovered
        assert [message.seq for message in resumed.page.messages] == list(range(seq + 1, 11))[:3]
        assert resumed.page.more == (seq + 3 < 10)
        assert resumed.page.head == Head(epoch, 10)
    assert (await engine.resume("nothing said", Head(epoch, 0), 3)).is_recovered
    nothing = await engine.resume("general", Head(epoch, 9), 0)
    assert (nothing.is_recovered, nothing.page.messages, nothing.page.more) == (True, [], True)


@pytest.mark.parametrize(("epoch", "seq"), [("another", 5), ("another", 0), ("another", 10), ("", 11), ("", 99)])
async def test_a_place_of_another_log_gets_the_newest_messages(engine: Engine, epoch: str, seq: int) -> None:
    await engine.append([draft() for _ in range(10)])
    mine = (await engine.head("general")).epoch
    resumed = await engine.resume("general", Head(epoch or mine, seq), 3)
    assert not resumed.is_recovered
    assert [message.seq for message in resumed.page.messages] == [8, 9, 10]
    assert resumed.page.head == Head(mine, 10)
    assert resumed.page.more


async def oldest_seq(engine: Engine) -> int:
    return (await engine.read("general", after=0, limit=1)).messages[0].seq


@pytest.mark.parametrize("keep", [600])
async def test_a_place_is_recovered_while_all_after_it_is_kept(engine: Engine) -> None:
    for _ in range(13):
        await engine.append([draft() for _ in range(100)])
    epoch = (await engine.head("general")).epoch
    async with asyncio.timeout(20):
        while True:  # an engine may trim when it likes, and keep somewhat more: the edge is where the log begins
            oldest = await oldest_seq(engine)
            outside = await engine.resume("general", Head(epoch, oldest - 2), 3)
            inside = await engine.resume("general", Head(epoch, oldest - 1), 3)
            if oldest > 2 and oldest == await oldest_seq(engine):
                break
            await asyncio.sleep(0)
    assert not outside.is_recovered
    assert [message.seq for message in outside.page.messages] == [1298, 1299, 1300]
    assert inside.is_recovered
    assert [message.seq for message in inside.page.messages] == [oldest, oldest + 1, oldest + 2]
    assert (await engine.resume("general", Head(epoch, 1300), 3)).is_recovered


async def test_an_emptied_room_keeps_its_place_and_its_title(engine: Engine) -> None:
    await engine.append([draft(room=room) for room in ("left", "right") for _ in range(3)])
    await engine.put_title("left", "Left")
    await engine.mark_read("left", "percy", 2)
    before = await engine.head("left")
    await engine.empty("left")
    assert await engine.head("left") == before
    assert (await engine.read("left", limit=10)).messages == []
    assert [message.seq for message in (await engine.read("right", limit=10)).messages] == [1, 2, 3]
    assert (await engine.title("left"), await engine.read_mark("left", "percy")) == ("Left", 2)
    assert not (await engine.resume("left", Head(before.epoch, 2), 10)).is_recovered
    assert (await engine.resume("left", before, 10)).is_recovered
    [receipt] = await engine.append([draft(room="left")])
    assert receipt.seq == 4
    [after] = (await engine.resume("left", before, 10)).page.messages
    assert after.seq == 4
    await engine.empty("nowhere")
    assert (await engine.head("nowhere")).seq == 0


async def test_a_cleared_room_gives_no_seq_again(engine: Engine) -> None:
    await engine.append([draft(room=room) for room in ("left", "right") for _ in range(3)])
    before = await engine.head("left")
    await engine.clear("left")
    assert await engine.head("left") == before
    assert (await engine.read("left", limit=10)).messages == []
    assert [message.seq for message in (await engine.read("right", limit=10)).messages] == [1, 2, 3]
    assert not (await engine.resume("left", Head(before.epoch, 1), 10)).is_recovered
    assert (await engine.resume("left", before, 10)).is_recovered
    [receipt] = await engine.append([draft(room="left")])
    assert receipt.seq == 4
    await engine.clear("nowhere")
    assert (await engine.head("nowhere")).seq == 0
