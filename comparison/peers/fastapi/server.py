"""A chat server with FastAPI: a set of connections for each room, sent to one after another."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect

FIRST_ROOM = "general"
MAX_MESSAGE = 16 * 1024
PING_INTERVAL_S = 9.0
PONG_WAIT_S = 10.0
OTP_LIFE_S = 5.0
SWEEP_INTERVAL_S = 0.4

PASSWORDS = {"percy": "123", "alice": "123", "bob": "123"}


class OneTimePasswords:
    """Those that nobody has used yet."""

    def __init__(self) -> None:
        self.issued: dict[str, tuple[str, float]] = {}

    def issue(self, user: str) -> str:
        otp = secrets.token_urlsafe(16)
        self.issued[otp] = user, time.monotonic()
        return otp

    def redeem(self, otp: str) -> str | None:
        user, issued = self.issued.pop(otp, (None, 0.0))
        return user if time.monotonic() - issued < OTP_LIFE_S else None

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            oldest = time.monotonic() - OTP_LIFE_S
            for otp in [each for each, (_, issued) in self.issued.items() if issued <= oldest]:
                del self.issued[otp]


class ConnectionManager:
    """Who is in which room."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[WebSocket]] = defaultdict(set)

    def join(self, websocket: WebSocket, room: str) -> None:
        self.rooms[room].add(websocket)

    def leave(self, websocket: WebSocket, room: str) -> None:
        members = self.rooms[room]
        members.discard(websocket)
        if not members:
            del self.rooms[room]

    async def broadcast(self, room: str, event: dict[str, Any]) -> None:
        # From a copy: others come and go while this one waits.
        for connection in list(self.rooms[room]):
            try:
                await connection.send_json(event)
            except (WebSocketDisconnect, RuntimeError):
                pass  # it has gone; its own endpoint takes it out of the room


otps = OneTimePasswords()
manager = ConnectionManager()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    sweeper = asyncio.create_task(otps.sweep())
    yield
    sweeper.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/login")
async def login(request: Request) -> dict[str, str]:
    try:
        given = await request.json()
        user, password = given["username"], given["password"]
    except (ValueError, KeyError, TypeError):
        raise HTTPException(400, "username and password, as JSON") from None
    if not isinstance(user, str) or user not in PASSWORDS or PASSWORDS[user] != password:
        raise HTTPException(401, "wrong name or password")
    return {"otp": otps.issue(user)}


@app.websocket("/ws")
async def chat(websocket: WebSocket, otp: str = "") -> None:
    origin = websocket.headers.get("origin")
    if origin is not None and origin not in app.state.origins:
        raise HTTPException(403)
    user = otps.redeem(otp)
    if user is None:
        raise HTTPException(401)
    await websocket.accept()
    room = FIRST_ROOM
    manager.join(websocket, room)
    try:
        while True:
            event = read(await websocket.receive())
            match event:
                case {"type": "send_message", "payload": {"message": str(message)}}:
                    sent = datetime.now(UTC).isoformat()
                    payload = {"message": message, "from": user, "sent": sent}
                    await manager.broadcast(room, {"type": "new_message", "payload": payload})
                case {"type": "change_room", "payload": {"name": str(name)}} if name:
                    manager.leave(websocket, room)
                    room = name
                    manager.join(websocket, room)
    except WebSocketDisconnect:
        pass
    finally:
        manager.leave(websocket, room)


def read(message: Mapping[str, Any]) -> object:
    """The event in a frame; None when there is none in it."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    try:
        return json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), default=(None, None))
    parser.add_argument("--ws", default="websockets-sansio", help="what speaks WebSocket for uvicorn")
    options = parser.parse_args()
    hosts = ("localhost", "127.0.0.1")
    app.state.origins = {f"{scheme}://{host}:{options.port}" for scheme in ("http", "https") for host in hosts}
    certificate, key = options.tls
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws=options.ws,
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PONG_WAIT_S,
        ws_per_message_deflate=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
