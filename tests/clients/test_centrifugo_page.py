"""What the page on Centrifugo's clients has one type: its configuration, and its clients against a server with it."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from clients.node import library, node_command
from hubbub.cli import app
from hubbub.door.codes import DoorClose
from servers import ServerProcess, running

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "centrifugo.md").read_text()
# What the examples have for the server and for a token.
HOST = "chat.example.com"
TOKEN = "a connection token"
SECRET = "the secret that the back end signs with"

# Reached only where something is broken.
DEADLINE_S = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("page")
    [configuration] = blocks("toml")
    (folder / "hubbub.toml").write_text(configuration)
    with running(folder) as server:
        yield server


def here(example: str, server: ServerProcess, token: str) -> str:
    """An example as it is written, but for where the server is and whose token it has."""
    host = f"127.0.0.1:{server.port}"
    example = example.replace(f"wss://{HOST}", f"ws://{host}").replace(f"https://{HOST}", f"http://{host}")
    return example.replace(TOKEN, token)


def signed(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, "HS256")


def login(server: ServerProcess) -> str:
    """The token that the page's `curl` is answered with."""
    [command] = re.findall(r"^ {4}(curl https://\S+/login .*)$", PAGE, re.MULTILINE)
    told = subprocess.run(
        [*shlex.split(here(command, server, "")), "--silent"], capture_output=True, check=True, timeout=DEADLINE_S
    )
    token: str = json.loads(told.stdout)["token"]
    return token


@pytest.mark.parametrize("is_account", [False, True], ids=["jwt", "session"])
async def test_the_python_client_hears_what_it_says(
    server: ServerProcess, is_account: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    token = await asyncio.to_thread(login, server) if is_account else signed("42")
    [example] = [block for block in blocks("python") if "from centrifuge import" in block]
    heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    names: dict[str, Any] = {"__name__": "example", "print": lambda *told: heard.put_nowait(told)}
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(here(example, server, token), "example", "exec", flags=flags, dont_inherit=True)
    async with asyncio.timeout(DEADLINE_S):
        running_ = eval(code, names)
        assert inspect.iscoroutine(running_)
        await running_
        offset, data = await heard.get()
        await names["client"].disconnect()
        # It closes its connection in the background.
        await asyncio.gather(*names["client"]._background_tasks, return_exceptions=True)
    assert offset >= 1
    assert data == {"text": "hello"}


@pytest.mark.parametrize("left_out", ["", "websocket"], ids=["websocket", "http_stream"])
def test_the_javascript_client_hears_what_it_says(server: ServerProcess, left_out: str) -> None:
    [example] = blocks("js")
    lines = [line for line in example.splitlines() if not left_out or f'transport: "{left_out}"' not in line]
    program = library("centrifuge") / "page.mjs"
    program.write_text(here("\n".join(lines), server, signed("42")))
    with subprocess.Popen([*node_command(), str(program)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    assert re.fullmatch(r"\d+ \{ text: 'hello' \}\n", said)


@pytest.mark.parametrize("command", re.findall(r"^ +hubbub (serve .*)$", PAGE, re.MULTILINE))
def test_each_command_takes_its_options(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _command, bound, _ignored = app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)
    assert bound.arguments["settings"].centrifugo == Path("config.json")


def test_each_close_code_is_explained() -> None:
    missing = [code for code in DoorClose if not re.search(rf"^\| [^|]*\b{code.value}\b", PAGE, re.MULTILINE)]
    assert not missing
