"""What applications try their hubs with, and the examples of docs/testing.md, run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
import runpy
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from heard import types
from hubbub import Client, Event, Hub, Refused
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import NotKept
from hubbub.testing import CLASSIC, V1, Clock, Stage, at_work

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "testing.md"
PROGRAM, *FRAGMENTS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class Ping(Event, tag="ping"):
    number: int = 1


# The page


@pytest.fixture
def votes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `votes` be imported, anew."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "votes", raising=False)


@pytest.mark.usefixtures("votes")
def test_the_program_at_the_top_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "test_votes.py"
    program.write_text(PROGRAM)
    runpy.run_path(str(program), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1] == "ok"


@pytest.mark.usefixtures("votes")
async def test_the_examples_of_the_page_run_one_after_the_other() -> None:
    votes = importlib.import_module("votes")
    names: dict[str, Any] = {
        "hub": votes.hub,
        "Tally": votes.Tally,
        "pytest": pytest,
        "Refused": Refused,
        "CLASSIC": CLASSIC,
        "Clock": Clock,
        "MemoryEngine": MemoryEngine,
        "NotKept": NotKept,
        "at_work": at_work,
    }
    on_stage = [example for example in FRAGMENTS if "at_work(" not in example]
    by_themselves = [example for example in FRAGMENTS if "at_work(" in example]
    assert (len(on_stage), len(by_themselves)) == (5, 2)
    async with at_work(votes.hub) as names["stage"]:
        for example in on_stage:
            await run(example, names)
    for example in by_themselves:
        await run(example, names)


async def run(example: str, names: dict[str, Any]) -> None:
    """Run code that may await."""
    code = compile(example, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        waiting: Awaitable[object] = result
        await waiting


# The clock


def test_a_clock_goes_when_it_is_told_to() -> None:
    clock = Clock(5)
    assert (clock(), clock()) == (5, 5)
    clock.go(0.5)
    assert clock() == 5.5


async def test_the_hub_and_its_engine_have_one_time() -> None:
    clock = Clock(1000)
    async with at_work(clock=clock) as stage:
        assert stage.clock is clock
        await stage.pass_time(60)
        receipt = await stage.hub.room("general").post(Ping())
        assert receipt.sent == 1_060_000


# Guests


async def test_ask_takes_its_own_answer_and_leaves_the_rest(stage: Stage) -> None:
    percy = await stage.client("percy")
    await percy.join("general")
    percy.say("nonsense", {}, "mine")
    answer = await percy.ask("send_message", {"message": "hi"})
    assert answer["seq"] == 1
    first, second = percy.take()
    assert (first["type"], first["id"], second["type"]) == ("error", "mine", "new_message")
    assert percy.take() == []


async def test_ask_raises_what_was_refused(stage: Stage) -> None:
    percy = await stage.client("percy", rate=1)
    with pytest.raises(Refused) as refused:
        await percy.ask("nonsense", {})
    assert refused.value.code == "unknown_type"
    for _ in range(int(stage.settings.client_burst)):
        percy.say("nonsense", {})
    with pytest.raises(Refused) as refused:
        await percy.ask("nonsense", {})
    assert (refused.value.code, refused.value.retry_after) == ("rate_limited", 1.0)
    assert percy.dropped == 2
    assert percy.refused == 202


async def test_ask_says_what_was_written_instead_of_an_answer(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    with pytest.raises(AssertionError, match=r"send_message was not answered; written were .*new_message"):
        await percy.ask("send_message", {"message": "hi"})


async def test_hear_waits_and_take_does_not(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    percy.say("send_message", {"message": "hi"})
    assert percy.take() == []
    assert types(await percy.hear()) == ["new_message"]


async def test_a_guest_joins_with_what_the_protocol_knows(stage: Stage) -> None:
    for _ in range(5):
        await stage.hub.room("general").post(Ping())
    percy = await stage.client("percy")
    assert len((await percy.join("general", history=2))["messages"]) == 2


async def test_one_that_hangs_up_is_gone_and_hears_no_more(stage: Stage) -> None:
    percy = await stage.client("percy", CLASSIC)
    percy.hang_up()
    assert not stage.core.clients
    percy.client.send(Ping())
    stage.hub.room("general").post(Ping())
    assert await percy.hear() == []


async def test_a_user_has_one_session_unless_another_is_named(stage: Stage) -> None:
    percy, other = await stage.client("percy"), await stage.client("percy", session="phone")
    stage.core.sessions.end("phone")
    assert (percy.close_code, other.close_code) == (None, 4100)


# At work


async def test_a_hub_can_be_put_to_work_again_and_begins_anew() -> None:
    hub = Hub()

    @hub.on
    def ping(ping: Ping, client: Client) -> Ping:
        hub.room("general").post(ping)
        return ping

    for _ in range(2):
        async with at_work(hub) as stage:
            percy = await stage.client("percy")
            await percy.join("general")
            assert await percy.ask("ping", {"number": 5}) == {"number": 5}
            (copy,) = percy.take()
            assert copy["payload"]["seq"] == 1


async def test_handlers_still_at_work_are_ended_with_the_block() -> None:
    hub = Hub()
    ended: list[str] = []

    @hub.on
    async def ping(ping: Ping) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with at_work(hub) as stage:
        percy = await stage.client("percy", V1)
        percy.say("ping", {})
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with at_work():
            raise ZeroDivisionError


async def test_a_setting_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="max_messages"):
        async with at_work(max_messages=1):
            pass
