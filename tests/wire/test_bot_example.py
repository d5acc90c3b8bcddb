"""The example bot.py, started as its first lines say, and spoken to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.sdk import connect
from servers import ServerProcess

pytestmark = pytest.mark.anyio

BOT = Path(__file__).parent.parent.parent / "examples" / "bot.py"
ANSWER_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def bot(server: ServerProcess) -> Iterator[subprocess.Popen[bytes]]:
    bot = subprocess.Popen([sys.executable, BOT, server.origin])
    yield bot
    bot.terminate()
    bot.wait()


async def test_the_bot_answers_what_others_say_and_not_itself(
    server: ServerProcess, bot: subprocess.Popen[bytes]
) -> None:
    async with asyncio.timeout(ANSWER_S), connect(server.origin, "alice", "123") as chat:
        await chat.join("general")
        while "bob" not in await chat.presence("general"):
            assert bot.poll() is None, "the bot has ended"
            await asyncio.sleep(0.05)
        await chat.send("general", "hello")
        await chat.send("general", "anyone?")
        heard = [await anext(chat) for _ in range(4)]
        said = [message.text for message in heard if message.sender == "bob"]
        assert said == ["alice said: hello", "alice said: anyone?"]
