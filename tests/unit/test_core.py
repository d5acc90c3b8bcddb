"""A hub at work: sessions, and the end."""

from __future__ import annotations

import asyncio

import pytest

from gates import Gate, GatedEngine, turns
from heard import seqs, types
from hubbub import Client, Event, Hub, Refused
from hubbub import room as room_module
from hubbub.chat import NewMessage
from hubbub.engine import Grant
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError
from hubbub.testing import CLASSIC, Clock, Stage, at_work
from walls import DAY_S, Wall

pytestmark = pytest.mark.anyio


class Vote(Event, tag="vote"):
    poll: str = "lunch"


# Sessions


async def test_ending_a_session_closes_its_connections_and_no_others(stage: Stage) -> None:
    first, second = [await stage.client("percy", session="a") for _ in range(2)]
    other = await stage.client("percy", session="b")
    stage.core.sessions.end("a")
    assert [guest.close_code for guest in (first, second, other)] == [4100, 4100, None]


async def test_a_session_that_ends_while_its_connection_opens_is_not_let_in(stage: Stage) -> None:
    stage.core.sessions.end("a")
    with pytest.raises(Refused, match="session"):
        await stage.client("percy", session="a")
    assert not stage.core.clients


async def test_a_session_that_ends_while_a_hook_thinks_about_its_connection_is_not_let_in() -> None:
    hub = Hub()
    gate = Gate(is_open=False)

    @hub.on_connect
    async def think(client: Client) -> None:
        await gate.enter()

    async with at_work(hub) as stage:
        coming = asyncio.create_task(stage.client("percy", session="a"))
        await gate.reached()
        stage.core.sessions.end("a")
        gate.open()
        with pytest.raises(Refused, match="session"):
            await coming
        assert not stage.core.clients


async def test_a_session_that_another_hand_has_ended_loses_its_connections(stage: Stage) -> None:
    await stage.engine.put_session(Grant("percy", "alive"), 10)
    alive = await stage.client("percy", session="alive")
    dead = await stage.client("percy", session="dead")
    await stage.core.sessions.end_dead()
    assert (alive.close_code, dead.close_code) == (None, 4100)
    stage.clock.go(10)
    await stage.core.sessions.end_dead()
    assert alive.close_code == 4100


@pytest.mark.parametrize("jump_s", [8 * DAY_S, -8 * DAY_S])
async def test_no_jump_of_the_wall_clock_closes_a_connection_or_keeps_it_open(jump_s: float) -> None:
    clock = Clock()
    wall = Wall(clock)
    async with at_work(engine=MemoryEngine(clock=clock, wall=wall), clock=clock) as stage:
        await stage.engine.put_session(Grant("percy", "a"), 10)
        percy = await stage.client("percy", session="a")
        wall.jump(jump_s)
        clock.go(9)
        await stage.core.sessions.end_dead()
        assert percy.close_code is None
        clock.go(1)
        await stage.core.sessions.end_dead()
        assert percy.close_code == 4100


async def test_the_engine_tells_of_sessions_that_end_before_their_time(stage: Stage) -> None:
    await stage.engine.put_session(Grant("percy", "a"), 10)
    percy = await stage.client("percy", session="a")
    await stage.engine.end_session("a")
    assert percy.close_code == 4100


# Clients that cannot be let in


async def test_a_classic_client_is_not_let_in_where_its_first_room_cannot_be_opened() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        engine.failing["subscribe"] = EngineError("no answer")
        with pytest.raises(EngineError, match="no answer"):
            await stage.client("percy", CLASSIC)
        assert not stage.core.clients
        assert stage.core.rooms.find("general") is None
        percy, alice = await stage.client("percy", CLASSIC), await stage.client("alice", CLASSIC)
        alice.say("send_message", {"message": "hi"})
        assert types(await percy.hear()) == ["new_message"]


# The end


async def test_at_a_stop_v1_is_told_when_to_come_back_and_all_are_closed(stage: Stage) -> None:
    percy, alice = await stage.client("percy"), await stage.client("alice", CLASSIC)
    for _ in stage.core.goodbyes(stage.core.return_ms):
        pass
    assert percy.take() == [{"type": "reconnect", "payload": {"within": 504, "reason": "restart"}}]
    assert alice.take() == []
    assert percy.close_code == alice.close_code == 1012


async def test_a_drained_hub_has_kept_and_told_everything_and_its_handlers_have_ended() -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)
    gate = Gate(is_open=False)

    @hub.on
    async def count(vote: Vote) -> None:
        await gate.enter()
        hub.room("right").post(NewMessage("at last"))

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("right")
        for append in engine.appends:
            append.close()
        hub.room("left").post(NewMessage("hi"))
        percy.say("vote", {}, 1)
        draining = asyncio.create_task(stage.core.drained())
        for one in (*engine.appends, gate):
            await turns()
            assert not draining.done()
            one.open()
        await draining
        assert types(percy.take()) == ["ack", "new_message"]
        assert (await engine.head("left")).seq == 1


async def test_a_drained_hub_has_written_to_all_of_a_large_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "SLICE_MEMBERS", 1)
    guests = [await stage.client(f"user {number}", CLASSIC) for number in range(20)]
    stage.hub.room("general").post(NewMessage("hi"))
    await stage.core.drained()
    assert [len(guest.writes) for guest in guests] == [1] * 20


async def test_a_drained_hub_has_told_those_whose_answers_it_waited_for_what_was_kept_from_them() -> None:
    hub = Hub()
    engine = GatedEngine(lanes=2)

    @hub.on
    def count(vote: Vote, client: Client) -> None:
        for room in ("left", "right"):
            hub.room(room).post(NewMessage("hi"))

    async with at_work(hub, engine=engine) as stage:
        percy = await stage.client("percy")
        for room in ("left", "right"):
            await percy.join(room)
        for seq in range(1, 4):
            percy.say("vote", {}, seq)
            ack, *copies = await percy.hear()
            assert ack["type"] == "ack"
            assert seqs(copies) == [seq, seq]
