"""Applications that a hub is mounted in, for the servers of the tests to serve."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import argon2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import hubbub
from hubbub import Client, Hub

__all__ = ["app", "beside"]

# As in program.py: the demo's accounts cost nothing.
argon2.PasswordHasher = functools.partial(  # type: ignore[assignment, misc]
    argon2.PasswordHasher, time_cost=1, memory_cost=8, parallelism=1
)

hub = Hub()
chat = hubbub.asgi(hub, engine="memory://", demo=True, data_dir=Path(os.environ["DATA"]))


class Sleep(hubbub.Event, tag="sleep"):
    """Asks for an answer that takes a while."""


@hub.on
async def sleep(_sleep: Sleep, client: Client) -> dict[str, str]:
    """Say something late, so that a stop comes before it is said."""
    import asyncio

    await asyncio.sleep(0.5)
    await hub.room("general").post(Slept(), sender=client)
    return {"slept": "well"}


class Slept(hubbub.Event, tag="slept"):
    """What is said then."""


async def hello(_request: Request) -> PlainTextResponse:
    """A page of the application's own."""
    return PlainTextResponse("hello")


async def echo(socket: WebSocket) -> None:
    """A WebSocket of the application's own."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


ROUTES = [Route("/hello", hello), WebSocketRoute("/echo", echo)]

# Two ways to mount it: in a framework that passes the start on, and beside an application.
app = Starlette(routes=ROUTES, lifespan=chat.lifespan)
app.mount("/chat", chat)
beside = chat.under("/chat", Starlette(routes=ROUTES))
