"""A session in a cookie: what a page of the server's own can do without its scripts having a token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servers import ServerProcess
from wire.raw_clients import Answer, ask

PERCY = {"username": "percy", "password": "123"}
ALICE = {"username": "alice", "password": "123"}


def post(server: ServerProcess, path: str, body: object = None, *, cookie: str = "", origin: str = "") -> Answer:
    """What a page gets; one of the server's own, unless another origin is named."""
    headers = {"Content-Type": "application/json", "Origin": origin or server.origin}
    headers |= {"Cookie": cookie} if cookie else {}
    return ask(server, "POST", path, json.dumps(body).encode() if body else b"", headers)


def remembered(server: ServerProcess, who: dict[str, Any] = PERCY, cookie: str = "") -> str:
    """Log in; the cookie, as the browser sends it back."""
    answer = post(server, "/login", {**who, "remember": True}, cookie=cookie)
    assert answer.status == 200
    assert set(answer.json) == {"otp", "expires_in"}, "no script gets the token"
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_cookie_buys_tickets_until_it_is_logged_out(server: ServerProcess) -> None:
    cookie = remembered(server)
    assert post(server, "/otp", cookie=cookie).json["otp"]
    answer = post(server, "/logout", cookie=cookie)
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    answer = post(server, "/otp", cookie=cookie)
    assert answer.status == 401
    assert "Max-Age=0" in answer.headers["set-cookie"], "one that is dead is taken back"


@pytest.mark.parametrize("path", ["/otp", "/logout"])
def test_a_page_of_another_port_cannot_use_it(server: ServerProcess, path: str) -> None:
    cookie = remembered(server)
    assert post(server, path, cookie=cookie, origin="http://127.0.0.1:1").status == 403
    assert ask(server, "POST", path, b"", {"Cookie": cookie}).status == 401
    assert post(server, "/otp", cookie=cookie).status == 200


def test_a_program_that_asks_for_it_gets_a_token(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/login", json.dumps({**PERCY, "remember": True}).encode(), {})
    assert answer.json["token"]
    assert "set-cookie" not in answer.headers


def test_another_user_in_its_place_ends_the_session_of_the_first(server: ServerProcess) -> None:
    first = remembered(server)
    again = remembered(server, cookie=first)
    assert post(server, "/otp", cookie=first).status == 200, "the same user's other tabs go on"
    remembered(server, ALICE, cookie=again)
    assert post(server, "/otp", cookie=again).status == 401
