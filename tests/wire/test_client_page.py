"""The examples of docs/client.md, run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Awaitable
from pathlib import Path

import pytest

import hubbub.settings
from hubbub.sdk import connect
from servers import ServerProcess, running

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "client.md").read_text(), re.MULTILINE | re.DOTALL)
PROGRAM, *FRAGMENTS = EXAMPLES

DEADLINE_S = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_program_at_the_top_runs(
    tls_server: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hubbub.settings, "data_home", lambda: tls_server.log_file.parent / "data")
    exec(PROGRAM.replace("https://localhost:8080", tls_server.origin), {})
    assert capsys.readouterr().out == "here: percy\ngeneral percy hello\n"


async def test_the_examples_run_inside_it_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, target="votes:hub", cwd=ROOT / "examples") as server:
        async with asyncio.timeout(DEADLINE_S), connect(server.origin, "percy", "123") as chat:
            await chat.join("general")
            names = {"chat": chat, "asyncio": asyncio}
            for example in FRAGMENTS:
                await run(example, names)
    said = capsys.readouterr().out
    assert "percy hi\n" in said
    assert "{1: 1}\n" in said
    assert "not_in_room" in said


async def run(example: str, names: dict[str, object]) -> None:
    """Run code that may await."""
    code = compile(example, "docs/client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        waiting: Awaitable[object] = result
        await waiting
