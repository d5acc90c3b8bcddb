"""What the path of a message costs, counted: a change that makes it dearer fails here, on any machine.

The table holds what was counted last.  A change that costs more on purpose writes its new numbers into it, and says
why; one that makes something cheaper writes them too, so that it stays cheap.
"""

from __future__ import annotations

import gc
import sys
from typing import NamedTuple

import pytest

from hubbub import room as room_module
from hubbub.dialect import CLASSIC, V1, Classic, Dialect, V1Dialect
from hubbub.wire.frames import text_frame
from unit.hot_path import Bytecodes, Calls, Introduced, Line, Memory, Scene, set_up, traced

pytestmark = pytest.mark.anyio


class Cost(NamedTuple):
    """What one dialect costs; bytecodes, where nothing else is said.

    Attributes:
        alone: a message from one to the other of two, all in all.
        message: one more message in a batch, from its bytes in the buffer to its frame in the joined ones.
        member: one more member that a batch is written to.
        ten_in_slices: ten more, of a room that is written to in slices of ten.
        history: one more of the messages at hand that somebody who came in lately has asked for.
        room: one more room of 50 that a batch has a message for, the message included.
        calls: functions written in Python, called for one more message in a batch.
        c_calls: functions written in C, called for it.
        json_read: pieces of JSON decoded for a message.
        json_written: pieces of JSON encoded for a message.
        garbage: objects that a message leaves to the garbage collector, because they refer to each other.
        way_in: from the upgrade request, its head read, to the 101, with one other client there.
        idle_blocks: small blocks of memory that a connection keeps.
        idle_bytes: bytes that a connection keeps, without the tables that all share, its transport and its request.
    """

    alone: int
    message: int
    member: int
    ten_in_slices: int
    history: int
    room: int
    calls: int
    c_calls: int
    json_read: int
    json_written: int
    garbage: int
    way_in: int
    idle_blocks: int
    idle_bytes: int


# As it is now.  Calls, JSON and garbage are counted on every CPython, and the rest on 3.11, whose numbers these are.
NOW = {
    "classic": Cost(
        alone=1504,
        message=773,
        member=10,
        ten_in_slices=282,
        history=0,
        room=1563,
        calls=28,
        c_calls=19,
        json_read=2,
        json_written=2,
        garbage=0,
        way_in=2741,
        idle_blocks=18,
        idle_bytes=1683,
    ),
    "v1": Cost(
        alone=1769,
        message=961,
        member=10,
        ten_in_slices=282,
        history=0,
        room=1828,
        calls=39,
        c_calls=31,
        json_read=2,
        json_written=6,
        garbage=0,
        way_in=2279,
        idle_blocks=17,
        idle_bytes=1686,
    ),
}

# How much dearer is let pass.
SLACK = 1.10

DIALECTS = [pytest.param(CLASSIC, id="classic"), pytest.param(V1, id="v1")]

IS_CPYTHON = sys.implementation.name == "cpython"
on_cpython = pytest.mark.skipif(not IS_CPYTHON, reason="another Python calls, and collects garbage, in other ways")
in_numbers = pytest.mark.skipif(
    not IS_CPYTHON or sys.version_info[:2] != (3, 11), reason="another Python has other bytecodes, and other numbers"
)


def assert_no_dearer(dialect: Dialect, **found: float) -> None:
    """Hold what was counted against the table."""
    now = NOW[dialect.name]._asdict()
    dearer = [f"{name}: {count:g}, was {now[name]}" for name, count in found.items() if count > now[name] * SLACK]
    assert not dearer, f"{dialect.name} has become dearer: {', '.join(dearer)}"


async def bytecodes(scene: Scene, speakers: list[Line]) -> int:
    """Bytecodes for a message of each, in one batch, delivered to everybody."""
    scene.clear()
    with Bytecodes() as counted:
        await scene.say(speakers)
    assert_delivered(scene)
    return counted.count


async def calls(scene: Scene, speakers: list[Line]) -> Calls:
    """Calls for a message of each, in one batch, delivered to everybody."""
    scene.clear()
    with Calls() as counted:
        await scene.say(speakers)
    assert_delivered(scene)
    return counted


def assert_delivered(scene: Scene) -> None:
    assert all(line.writes for line in scene.lines), "it takes more turns of the loop than were counted"


def each(many: int, few: int, count: int) -> int:
    """What each of `count` more costs; exactly, because the same code runs for each."""
    cost, rest = divmod(many - few, count)
    assert rest == 0, f"{many - few} is not {count} times the same"
    return cost


# Writes


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("rooms", "members", "speakers"),
    [(1, 100, 1), (1, 100, 16), (10, 50, 1), (1, 2, 1)],
    ids=["a room", "a batch", "ten rooms", "a pair"],
)
async def test_a_batch_is_one_write_a_member_and_each_ack_one_more(
    dialect: Dialect, rooms: int, members: int, speakers: int
) -> None:
    async with set_up() as scene:
        crowds = [await scene.enter(dialect, f"room{number}", members) for number in range(rooms)]
        speaking = [line for crowd in crowds for line in crowd[:speakers]]
        scene.clear()
        await scene.say(speaking)
        acks = 1 if dialect is V1 else 0
        assert [line.writes for line in scene.lines] == [1 + acks * (line in speaking) for line in scene.lines]
        for crowd in crowds:
            assert len({id(line.last) for line in crowd}) == 1, "all are written the same bytes, made once"
            assert crowd[0].last.count(b'"new_message"') == speakers


async def test_all_that_one_member_says_at_once_comes_in_one_write() -> None:
    async with set_up() as scene:
        speaker, *others = await scene.enter(V1, "room", 10)
        scene.clear()
        await scene.say([speaker] * 16)
        assert speaker.writes == 17, "an ack is a write of its own"
        assert {line.writes for line in others} == {1}


async def test_a_member_of_ten_rooms_is_written_to_once_for_each() -> None:
    async with set_up() as scene:
        lines = await scene.enter(V1, "room0", 10)
        for line in lines:
            for number in range(1, 10):
                line.feed(line.joining(f"room{number}"))
        await scene.core.drained()
        for line, number in zip(lines, range(10), strict=True):
            line.says = line.message(f"room{number}")
        await scene.say(lines)
        scene.clear()
        await scene.say(lines)
        assert [line.writes for line in lines] == [10 + 1] * 10


# Encodings and calls


@pytest.mark.parametrize("count", [1, 16])
async def test_a_message_is_encoded_once_for_each_dialect_that_is_present(count: int) -> None:
    async with set_up() as scene:
        classic = await scene.enter(CLASSIC, "room", 50)
        assert encodings(await calls(scene, classic[:count])) == (count, 0, count)
        modern = await scene.enter(V1, "room", 50)
        assert encodings(await calls(scene, classic[:count])) == (count, count, 2 * count)
        assert encodings(await calls(scene, modern[:count])) == (count, count, 3 * count), "with the acks"
    async with set_up() as scene:
        assert encodings(await calls(scene, (await scene.enter(V1, "room", 50))[:count])) == (0, count, 2 * count)


async def test_those_that_are_not_sent_their_own_messages_need_no_other_encoding() -> None:
    async with set_up() as scene:
        await scene.enter(CLASSIC, "room", 10)
        # The second earlier server's pages: each is an audience of its own.
        pages = await scene.enter(CLASSIC, "room", 10, query="&name=me")
        counted = await calls(scene, pages)
        assert encodings(counted) == (10, 0, 10)
        assert {line.writes for line in scene.lines} == {1}


def encodings(counted: Calls) -> tuple[int, int, int]:
    """Messages encoded by either dialect, and frames made in all."""
    classic, v1, frames = (counted.python[made.__code__] for made in (Classic.message, V1Dialect.message, text_frame))
    return classic, v1, frames


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("count", [1, 16])
async def test_nothing_is_called_for_a_member_but_its_write(dialect: Dialect, count: int) -> None:
    async with set_up() as scene:
        speakers = (await scene.enter(dialect, "room", 50))[:count]
        of_fifty = await calls(scene, speakers)
        await scene.enter(dialect, "room", 50)
        of_a_hundred = await calls(scene, speakers)
        assert of_a_hundred.python == of_fifty.python
        assert of_a_hundred.c == of_fifty.c


@on_cpython
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_message_calls_no_more_than_it_did(dialect: Dialect) -> None:
    few, many = await calls_for_two_and_sixteen(dialect)
    assert_no_dearer(
        dialect,
        calls=each(many.python.total(), few.python.total(), 14),
        json_read=each(many.c["Decoder.decode"], few.c["Decoder.decode"], 14),
        json_written=each(many.c["Encoder.encode"], few.c["Encoder.encode"], 14),
    )


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_message_calls_no_more_of_what_is_written_in_c(dialect: Dialect) -> None:
    few, many = await calls_for_two_and_sixteen(dialect)
    assert_no_dearer(dialect, c_calls=each(many.c.total(), few.c.total(), 14))


async def calls_for_two_and_sixteen(dialect: Dialect) -> tuple[Calls, Calls]:
    """Calls for batches of two and of sixteen messages."""
    async with set_up() as scene:
        lines = await scene.enter(dialect, "room", 50)
        return await calls(scene, lines[:2]), await calls(scene, lines[:16])


# Bytecodes


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_message_alone_costs_no_more_than_it_did(dialect: Dialect) -> None:
    async with set_up() as scene:
        lines = await scene.enter(dialect, "room", 2)
        assert_no_dearer(dialect, alone=await bytecodes(scene, lines[:1]))


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_messages_and_members_cost_no_more_than_they_did(dialect: Dialect) -> None:
    async with set_up() as scene:
        lines = await scene.enter(dialect, "room", 50)
        two, sixteen = await bytecodes(scene, lines[:2]), await bytecodes(scene, lines[:16])
        await scene.enter(dialect, "room", 50)
        two_to_more, sixteen_to_more = await bytecodes(scene, lines[:2]), await bytecodes(scene, lines[:16])
    assert sixteen_to_more - sixteen == two_to_more - two, "a member costs the same, however many the messages are"
    assert_no_dearer(dialect, message=each(sixteen, two, 14), member=each(two_to_more, two, 50))


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_members_written_to_in_slices_cost_no_more_than_they_did(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 10)
    async with set_up() as scene:
        speakers = (await scene.enter(dialect, "room", 50))[:1]
        to_fifty = await bytecodes(scene, speakers)
        await scene.enter(dialect, "room", 50)
        assert_no_dearer(dialect, ten_in_slices=each(await bytecodes(scene, speakers), to_fifty, 5))


@in_numbers
async def test_history_at_hand_costs_no_more_than_it_did() -> None:
    assert_no_dearer(V1, history=each(await with_history(50), await with_history(20), 30))


async def with_history(count: int) -> int:
    """Bytecodes for a message after somebody has come in and asked for as much history."""
    async with set_up() as scene:
        speakers = (await scene.enter(V1, "room", 2))[:1]
        for _ in range(60):
            await scene.say(speakers)
        await scene.enter(V1, "room", 1, history=count)
        return await bytecodes(scene, speakers)


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rooms_cost_no_more_than_they_did(dialect: Dialect) -> None:
    async with set_up() as scene:
        crowds = [await scene.enter(dialect, f"room{number}", 50) for number in range(10)]
        speakers = [crowd[0] for crowd in crowds]
        with Bytecodes() as of_two:
            await scene.say(speakers[:2])
        assert_no_dearer(dialect, room=each(await bytecodes(scene, speakers), of_two.count, 8))


# Memory


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_was_delivered_is_forgotten(dialect: Dialect) -> None:
    with traced():
        async with set_up() as scene:
            speakers = (await scene.enter(dialect, "room", 100))[:16]
            for _ in range(70):  # until the engine and the room hold as many as they may, and seqs have four digits
                await scene.say(speakers)
            scene.clear()
            with Memory() as kept:
                for _ in range(60):
                    await scene.say(speakers)
    # A few lists grow and shrink.  One block for each batch would be 60, a pointer for each message 7,680 bytes.
    assert kept.blocks < 30
    assert kept.size < 1000


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_member_takes_no_memory_while_it_is_written_to(dialect: Dialect) -> None:
    with traced():
        async with set_up() as scene:
            speakers = (await scene.enter(dialect, "room", 50))[:1]
            of_few = await peak(scene, speakers)
            await scene.enter(dialect, "room", 150)
            of_many = await peak(scene, speakers)
    # Not even a pointer for each.
    assert of_many - of_few < 150 * 8


async def peak(scene: Scene, speakers: list[Line]) -> int:
    """The most memory taken while a message is delivered; the second time, when all has its size."""
    await scene.say(speakers)
    with Memory() as taken:
        await scene.say(speakers)
    return taken.peak


@on_cpython
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_message_leaves_no_more_garbage_than_it_did(dialect: Dialect) -> None:
    async with set_up() as scene:
        speakers = await scene.enter(dialect, "room", 16)
        gc.collect()
        gc.disable()
        for _ in range(10):
            await scene.say(speakers)
        gc.enable()
        assert_no_dearer(dialect, garbage=gc.collect() // 160)


# The way in


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_way_in_costs_no_more_than_it_did(dialect: Dialect) -> None:
    async with set_up() as scene:
        first, second = Line(0, "general", dialect), Line(1, "general", dialect)
        await scene.open(first, await scene.knock(first))
        request = await scene.knock(second)
        with Bytecodes() as counted:
            await scene.open(second, request)
        assert second.writes >= 1, "it takes more turns of the loop than were counted"
        assert_no_dearer(dialect, way_in=counted.count)


@in_numbers
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_idle_connection_keeps_no_more_than_it_did(dialect: Dialect) -> None:
    credentials = Introduced()
    with traced():
        async with set_up(credentials) as scene:
            guests = [Line(number, "general", dialect) for number in range(300)]
            requests = [(line, credentials.introduce(line)) for line in guests]
            # Between 171 and 306 entries no dictionary and no set grows.
            for line, request in requests[:180]:
                await scene.open(line, request)
            with Memory() as kept:
                for line, request in requests[180:]:
                    await scene.open(line, request)
    assert_no_dearer(dialect, idle_blocks=kept.blocks / 120, idle_bytes=kept.size / 120)
