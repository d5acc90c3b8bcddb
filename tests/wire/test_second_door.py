"""The second door of a served hub, as a client that shares no code with it finds it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from servers import ServerProcess, running

SECRET = "a secret that is long enough for HS256"

CONFIGURATION = {
    "client": {"token": {"hmac_secret_key": SECRET}, "stale_close_delay": "1s"},
    "channel": {
        "namespaces": [
            {
                "name": "chat",
                "history_size": 100,
                "history_ttl": "1h",
                "force_recovery": True,
                "allow_subscribe_for_client": True,
                "allow_publish_for_client": True,
            }
        ]
    },
}

# Longer than anything takes, unless something is broken.
DEADLINE_S = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with a second door, which pings often, and waits for an answer for longer."""
    file = tmp_path / "centrifugo.json"
    file.write_text(json.dumps(CONFIGURATION))
    flags = ("--centrifugo", str(file), "--heartbeat-interval", "0.5", "--heartbeat-timeout", "2")
    with running(tmp_path, *flags, demo=False) as process:
        yield process


def enter(server: ServerProcess, origin: Origin | None = None) -> ClientConnection:
    """A connection that has not said who it is; of a page of an origin, or of a program."""
    return connect(server.ws_url.removesuffix("/ws") + "/connection/websocket", origin=origin, compression=None)


def say(client: ClientConnection, *commands: dict[str, Any]) -> None:
    client.send("\n".join(json.dumps(command) for command in commands))


def hear(client: ClientConnection) -> dict[str, Any]:
    """The next text that is no ping."""
    while not (text := json.loads(client.recv(DEADLINE_S))):
        client.send("{}")
    assert isinstance(text, dict)
    return text


def close_code(client: ClientConnection) -> int:
    """What a connection is closed with, once it is."""
    try:
        while True:
            client.recv(DEADLINE_S)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code


def token(user: str) -> str:
    """A connection token."""
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, {"sub": user, "exp": int(time.time()) + 600}))
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_conversation_from_connect_to_the_end_of_the_server(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused, enter(server, Origin("https://example.net")):
        pass
    assert refused.value.response.status_code == 403
    # As behind a proxy that does not pass Upgrade on.
    assert server.get("/connection/websocket")[0] == 426
    with enter(server) as client, enter(server) as silent, enter(server) as stranger:
        say(client, {"id": 1, "connect": {"token": token("7")}}, {"id": 2, "subscribe": {"channel": "chat:a"}})
        connected = hear(client)["connect"]
        assert connected["ping"] == 1
        assert connected["expires"] is True
        assert 590 < connected["ttl"] <= 600
        assert hear(client)["subscribe"]["recoverable"] is True
        for number in range(3):
            say(client, {"id": 3, "publish": {"channel": "chat:a", "data": {"n": number}}})
            assert hear(client) == {"id": 3, "publish": {}}
            assert hear(client)["push"]["pub"]["offset"] == number + 1
        say(silent, {"id": 1, "connect": {"token": token("8")}})
        assert hear(silent)["connect"]["client"] != connected["client"]
        # Pings come by themselves; whoever does not answer them is taken for gone.
        pings = 0
        while pings < 6:
            assert client.recv(DEADLINE_S) == "{}"
            client.send("{}")
            pings += 1
        assert close_code(silent) == 3012
        assert close_code(stranger) == 3502
        say(client, {"id": 9, "ping": {}})
        assert hear(client) == {"id": 9, "ping": {}}
        assert server.stop() == 0
        assert close_code(client) == 3001
