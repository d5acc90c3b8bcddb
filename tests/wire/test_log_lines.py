"""The log: no secret in any line, and no line that is not the server's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from servers import ServerProcess, running
from wire.raw_clients import CLOSE, TEXT, Raw, Tickets, ask, enter, page, upgrade_head, wait_until

PASSWORD = "correct-horse-battery"  # wrong, too


LOUD = ("--log-level", "debug", "--otp-ttl", "120", "--max-otps-per-account", "0")


@pytest.fixture(scope="module", params=["text", "json"])
def loud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that logs all it can."""
    with running(tmp_path_factory.mktemp("loud"), "--log-format", request.param, *LOUD) as server:
        yield server


def test_no_secret_is_ever_logged(loud: ServerProcess) -> None:
    secrets = [PASSWORD]
    login = loud.login()
    token = login["token"]
    secrets += [token, login["otp"]]
    secrets += [loud.otp(token) for _ in range(6)]
    wrong = json.dumps({"username": "percy", "password": PASSWORD}).encode()
    assert ask(loud, "POST", "/login", wrong).status == 401
    assert ask(loud, "POST", "/login", wrong[:-1]).status == 400
    assert ask(loud, "POST", f"/login?password={PASSWORD}", wrong).status == 401
    assert ask(loud, "GET", f"/ws?otp={secrets[3]}").status == 426
    assert ask(loud, "GET", f"/elsewhere?otp={secrets[3]}").status == 404
    assert ask(loud, "GET", f"/?otp={secrets[3]}").status == 200
    assert ask(loud, "POST", "/otp", headers={"Authorization": f"Basic {token}"}).status == 401
    with page(loud, secrets[4]) as percy:
        percy.assert_up()
    for target, headers in (
        (f"/ws?otp={secrets[4]}", {}),
        (f"/ws?otp={secrets[5]}", {"Origin": "https://evil.org"}),
        (f"/elsewhere?otp={secrets[5]}", {}),
        (f"/ws?otp={secrets[5]}", {"Sec-WebSocket-Key": "no"}),
        ("/ws", {"Sec-WebSocket-Protocol": f"hubbub.v1, otp.{secrets[5]}"}),
    ):
        with Raw(loud) as raw:
            raw.send(upgrade_head(target, headers))
            raw.read_answer()
    for mangled in (b"GET /ws?otp=%b HTTP/9\r\n\r\n", b"GET /ws?otp=%b\r\n\r\n", b"G\xff /?otp=%b HTTP/1.1\r\n\r\n"):
        with Raw(loud) as raw:
            raw.send(mangled % secrets[6].encode())
            raw.read_to_end()
    assert ask(loud, "POST", "/logout", headers={"Authorization": f"Bearer {token}"}).status == 204
    wait_until(lambda: "/logout" in loud.log())
    log = loud.log()
    assert "/ws" in log, "requests are logged at this level"
    assert not [secret for secret in secrets if secret in log], log
    assert "Traceback" not in log


def test_json_lines_are_json(tmp_path: Path) -> None:
    with running(tmp_path, "--log-level", "debug", "--log-format", "json", "--otp-ttl", "120") as server:
        with page(server, server.login()["otp"]) as percy:
            percy.assert_up()
            percy.send("not json")
        assert ask(server, "POST", "/login", b'{"username":"a\\nb\\u2028","password":"x"}').status == 401
        assert ask(server, "GET", "/healthz").status == 200
        assert server.stop() == 0
        lines = server.log().splitlines()
        beginning = next(number for number, line in enumerate(lines) if line.startswith("{"))
        found = [
            json.loads(line)
            for line in server.log().split("\n")[beginning:]
            if line and line[0] != " " and line[:6] != "Hubbub"
        ]
        assert {"login", "login failed", "client left", "stopping"} <= {str(line["event"]) for line in found}
        assert all({"event", "level", "timestamp"} <= set(line) for line in found)


@pytest.mark.parametrize(
    "forged",
    ["\n2026-01-01 [info] login user=root", '\r\n{"event":"login"}', "\x1b[31mred", "\x9b31m", "\u2028x"],
    ids=repr,
)
def test_no_client_can_forge_a_line(loud: ServerProcess, forged: str) -> None:
    otp = loud.login()["otp"]
    said = len(loud.log())
    assert ask(loud, "POST", "/login", json.dumps({"username": f"x{forged}", "password": "x"}).encode()).status == 401
    assert ask(loud, "GET", "/x%0a%0dforged").status == 400
    assert ask(loud, "GET", f"/x{quote(forged)}").status in (400, 404)
    with Raw.websocket(loud, otp) as raw:
        raw.send_frame(TEXT, json.dumps({"type": f"x{forged}", "payload": {}}).encode())
        raw.send_frame(TEXT, enter(f"x{forged}").encode())
        raw.send_frame(CLOSE, b"\x0b\xb8" + f"x{forged}".encode())
        raw.assert_ended(3000)
    wait_until(lambda: "client left" in loud.log()[said:])
    assert forged not in loud.log()[said:]


def test_a_refused_upgrade_and_another_host_are_told_to_the_operator(tmp_path: Path) -> None:
    with running(tmp_path, "--allow-host", "chat.example") as server:
        for _ in range(30):
            with Raw(server) as raw:
                raw.send(upgrade_head("/ws", {"Host": "evil.example"}))
                assert raw.read_answer().status == 421
            with Raw(server) as raw:
                raw.send(upgrade_head("/ws?otp=secret", {"Host": "chat.example"}))
                assert raw.read_answer().status == 401
        said = server.log()
        assert 1 <= said.count("--allow-host") < 10
        assert said.count("no valid one-time password") >= 20
        assert re.search(r"\[info .* upgrade refused .*address=127.0.0.1.* status=401", said)
        assert "secret" not in said


def test_a_quiet_log_says_nothing_of_ordinary_days(tmp_path: Path) -> None:
    with running(tmp_path, "--log-level", "warning", "--otp-ttl", "120") as server:
        quiet = server.log()
        with page(server, Tickets(server).otp()) as percy:
            percy.assert_up()
            percy.send("nonsense")
        assert ask(server, "GET", "/nowhere").status == 404
        assert server.stop() == 0
        assert server.log() == quiet
