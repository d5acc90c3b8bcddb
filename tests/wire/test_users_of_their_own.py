"""Users of an application's own, on a served hub: by its cookie, by a signed token, and turned away with a reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from servers import ServerProcess, running
from wire.raw_clients import TEXT, Raw, ask, upgrade_head

SECRET = "a secret that is as long as its hash"

OWN = """
import time

from hubbub import Hub, Refused, User

hub = Hub()

@hub.authenticate
def check(credentials, request):
    if credentials.username == "broken":
        raise ZeroDivisionError("a secret of the server")
    if request.cookies.get("session") == "good":
        return User("zo\\u00eb@example.com", role="admin", info={"id": 7}, display_name="Zo\\u00eb")
    return credentials.username if credentials.password == "right" else None

@hub.on_connect
async def look(client):
    if client.user == "mallory":
        raise Refused("forbidden", "not you, Mallory")
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    env = {"HUBBUB_JWT_KEY": SECRET}
    with running(folder, env=env, demo=False, target="own:hub") as server:
        yield server


def signed(user: str, **claims: object) -> str:
    return jwt.encode({"sub": user, **claims}, SECRET, "HS256")


def opened(server: ServerProcess, protocol: str) -> Raw:
    """A connection that was answered 101."""
    raw = Raw(server)
    raw.send(upgrade_head("/ws", {"Sec-WebSocket-Protocol": f"hubbub.v1, {protocol}"}))
    answer = raw.read_answer()
    assert answer.status == 101, answer
    return raw


def welcome(raw: Raw) -> Any:
    kind, payload = raw.read_frame()
    assert kind == TEXT
    event = json.loads(payload)
    assert event["type"] == "welcome"
    return event["payload"]


def test_the_applications_cookie_gets_in_and_out(own: ServerProcess) -> None:
    cookie = {"Cookie": "session=good", "Origin": own.origin}
    assert ask(own, "POST", "/otp", b"", {"Cookie": "session=bad"}).status == 401
    answer = ask(own, "POST", "/otp", b"", cookie)
    with opened(own, f"otp.{answer.json['otp']}") as raw:
        told = welcome(raw)
        assert (told["user"], told["name"], told["role"]) == ("zoë@example.com", "Zoë", "admin")
        assert ask(own, "POST", "/logout", b"", cookie).status == 204
        assert raw.read_close()[0] == 4100


def test_a_password_is_the_applications_to_check(own: ServerProcess) -> None:
    assert own.post("/login", {"username": "yan", "password": "wrong"})[0] == 401
    assert own.post("/login", {"username": "yan", "password": "right"})[0] == 200
    status, answer = own.post("/login", {"username": "broken", "password": "right"})
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "ZeroDivisionError" in own.log()
    assert own.get("/setup")[0] == 404


def test_a_signed_token_opens_a_connection_by_itself_and_renews_it(own: ServerProcess) -> None:
    now = int(time.time())
    with opened(own, f"jwt.{signed('yan', exp=now + 600)}") as raw:
        assert 500 < welcome(raw)["expires"] <= 600
        raw.send_frame(TEXT, json.dumps(renew(signed("yan", exp=now + 6000))).encode())
        kind, payload = raw.read_frame()
        assert kind == TEXT
        assert 5000 < json.loads(payload)["payload"]["expires"] <= 6000
    with Raw(own) as raw:
        raw.send(upgrade_head("/ws", {"Sec-WebSocket-Protocol": f"hubbub.v1, jwt.{signed('yan', exp=now - 60)}"}))
        answer = raw.read_answer()
        assert (answer.status, answer.error) == (401, "unauthorized")


def renew(token: str) -> dict[str, object]:
    return {"type": "renew", "id": 1, "payload": {"token": token}}


def test_a_v1_client_is_told_why_it_is_turned_away_and_a_classic_one_is_answered_403(own: ServerProcess) -> None:
    with opened(own, f"jwt.{signed('mallory')}") as raw:
        assert raw.read_close() == (4103, "not you, Mallory")
    with Raw(own) as raw:
        raw.send(upgrade_head("/ws", {"Authorization": f"Bearer {signed('mallory')}"}))
        answer = raw.read_answer()
        assert (answer.status, answer.error) == (403, "forbidden")
