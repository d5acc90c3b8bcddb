"""What is tried with each application under each server: the same for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import hubbub
from asgi.applications import EXAMPLES, Application, Visitor
from commands import done
from commands import hubbub as command
from hubbub.errors import AuthError

__all__ = ["NAME", "PASSWORD", "visit"]

WAIT_S = 30.0
NAME, PASSWORD = "zoe", "correct horse"


def visit(app: Application) -> None:
    """Sign in by session, by token and by password; place an order, let a worker cook it, and hear of both."""
    visitor, stranger = Visitor(app), Visitor(app)
    assert stranger.post("/chat/otp")[0] == 401, "nobody who has not signed in is let in"
    visitor.sign_in(NAME, PASSWORD)
    status, answer = visitor.post("/chat/otp")
    assert status == 200, answer
    status, token = visitor.post("/token")
    assert status == 200, token
    key = done(command("key", "add", "kitchen", "--rooms", "kitchen", "--engine", app.engine, cwd=EXAMPLES)).split()[-1]
    asyncio.run(talk(app, visitor, token, key))
    assert "Traceback" not in app.log()


async def talk(app: Application, visitor: Visitor, token: str, key: str) -> None:
    async with (
        asyncio.timeout(WAIT_S),
        hubbub.connect(app.chat, token=token) as by_token,
        hubbub.connect(app.chat, NAME, PASSWORD) as by_password,
    ):
        assert by_token.user == by_password.user == NAME
        for chat in (by_token, by_password):
            await chat.join("kitchen")
        assert await asyncio.to_thread(visitor.post, "/orders", dish="soup") == (200, {"number": 1})
        worker = await asyncio.to_thread(cook, app, key, "soup")
        assert worker.returncode == 0, worker.stderr
        assert worker.stdout == "soup is ready, and 2 in the kitchen's log\n"
        await by_password.send("kitchen", "thank you")
        for chat in (by_token, by_password):
            heard = [await anext(chat) for _ in range(3)]
            assert [(message.seq, message.type) for message in heard] == [
                (1, "ordered"),
                (2, "cooked"),
                (3, "new_message"),
            ]
            assert heard[0].payload == {"number": 1, "dish": "soup", "by": NAME}
            assert (heard[1].sender, heard[1].payload) == (None, {"dish": "soup"})
            assert (heard[2].sender, heard[2].text) == (NAME, "thank you")
    for refused in (
        hubbub.connect(app.chat, NAME, "a wrong one"),
        hubbub.connect(app.chat, token=token[:-4] + "AAAA"),
    ):
        try:
            async with asyncio.timeout(WAIT_S), refused:
                raise AssertionError("it was let in")
        except AuthError:
            pass


def cook(app: Application, key: str, dish: str) -> subprocess.CompletedProcess[str]:
    """Let the worker of examples/ do a task."""
    return subprocess.run(
        [sys.executable, "worker.py", app.chat],
        input=f"{dish}\n",
        cwd=EXAMPLES,
        env={"KEY": key},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
