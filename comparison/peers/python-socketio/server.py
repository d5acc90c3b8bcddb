"""Rooms on python-socketio: "join" and "say", both acknowledged, and "said" to all in the room."""

import argparse

import jwt
import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], http_compression=False)
secret = ""


@sio.event
async def connect(sid, environ, auth):
    try:
        claims = jwt.decode(auth["token"], secret, algorithms=["HS256"])
    except (KeyError, TypeError, jwt.PyJWTError):
        raise ConnectionRefusedError("unauthorized") from None
    await sio.save_session(sid, {"user": claims["sub"]})


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)


@sio.event
async def say(sid, room, data):
    if room in sio.rooms(sid):
        session = await sio.get_session(sid)
        await sio.emit("said", (data, session["user"]), room=room)


def main():
    global secret
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", required=True)
    options = parser.parse_args()
    secret = options.secret
    uvicorn.run(
        socketio.ASGIApp(sio),
        port=options.port,
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        loop="uvloop",
        http="httptools",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
