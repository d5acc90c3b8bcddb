"""Invitations, names and passwords, from outside: `hubbub invite`, HTTP, and a client that is not ours."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from commands import done, hubbub, refused
from servers import ServerProcess, running
from wire.raw_clients import ask

PASSWORD = "a long password"


def invite(data: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `hubbub invite` on the accounts in a folder."""
    return hubbub("invite", *command, "--data-dir", str(data), "--engine", engine(data), cwd=data)


def engine(data: Path) -> str:
    return f"sqlite:///{data / 'hubbub.db'}"


def invitation(data: Path, *command: str) -> str:
    """A new invitation's secret."""
    return done(invite(data, *command)).strip().rpartition("/#/signup/")[2]


def sign_up(server: ServerProcess, secret: str, user: str, **more: str) -> int:
    body = {"invitation": secret, "username": user, "password": PASSWORD, **more}
    return server.post("/signup", body)[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inviting") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    """A server with accounts whose file another program has open, too."""
    with running(data.parent, "--engine", engine(data)) as server:
        yield server


class Other:
    """A v1 client that is not ours."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome = self.hear("welcome")

    def hear(self, type_: str) -> Any:
        """The payload of the next event of a type."""
        while True:
            event = json.loads(self.connection.recv(timeout=20))
            if event["type"] == type_:
                return event["payload"]

    def ask(self, type_: str, payload: object) -> Any:
        """The payload of the ack, or of the error, of a request."""
        self.connection.send(json.dumps({"type": type_, "id": 1, "payload": payload}))
        while True:
            event = json.loads(self.connection.recv(timeout=20))
            if event.get("id") == 1:
                return event["payload"]


@contextmanager
def connected(server: ServerProcess, user: str, password: str = "123") -> Iterator[Other]:
    otp = server.login(user, password)["otp"]
    with connect(server.ws_url, subprotocols=[Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")]) as connection:
        yield Other(connection)


# The command


def test_a_link_of_the_command_makes_an_account_once(server: ServerProcess, data: Path) -> None:
    link = done(invite(data, "--url", "https://chat.example.com/")).strip()
    assert link.startswith("https://chat.example.com/#/signup/")
    secret = link.rpartition("/")[2]
    status, told = server.post("/signup/check", {"invitation": secret})
    assert (status, told["role"], told["by"]) == (200, "member", None)
    assert sign_up(server, secret, "alice") == 409
    assert sign_up(server, secret, "dora", name="Dora D") == 204
    assert sign_up(server, secret, "eve") == 403
    with connected(server, "dora", PASSWORD) as dora:
        assert (dora.welcome["user"], dora.welcome["name"], dora.welcome["role"]) == ("dora", "Dora D", "member")
    assert secret not in server.log()
    assert secret not in (data / "audit.log").read_text()
    assert secret.encode() not in b"".join(file.read_bytes() for file in data.glob("hubbub.db*"))


def test_a_link_has_the_name_that_others_know_the_server_by(tmp_path: Path) -> None:
    link = done(invite(tmp_path, "--host", "0.0.0.0", "--port", "9000", "--name", "chat.example.com"))
    assert link.startswith("https://chat.example.com:9000/#/signup/")
    assert done(invite(tmp_path, "--host", "0.0.0.0")).startswith("https://localhost:8080/#/signup/")


def test_links_are_listed_and_ended(server: ServerProcess, data: Path) -> None:
    secret = invitation(data, "--uses", "3", "--days", "2", "--role", "guest", "--note", "for the team")
    [line] = [line for line in done(invite(data, "--list")).splitlines() if line.endswith("for the team")]
    id_, by, role, uses, _, _ = line.split("\t")
    assert (by, role, uses) == ("(shell)", "guest", "3")
    assert done(invite(data, "--revoke", id_)) == f"ended {id_}\n"
    assert id_ in refused(invite(data, "--revoke", id_))
    assert id_ not in done(invite(data, "--list"))
    assert sign_up(server, secret, "frank") == 403
    lines = [json.loads(line) for line in (data / "audit.log").read_text().splitlines()]
    assert [line["act"] for line in lines if line.get("invitation") == id_] == ["invitation", "end invitation"]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [(["--uses", "0"], "1 to 1000 uses"), (["--days", "91"], "1 to 90 days"), (["--role", "king"], "king")],
)
def test_a_link_for_what_cannot_be_is_one_line(data: Path, command: list[str], complaint: str) -> None:
    data.mkdir(exist_ok=True)
    assert complaint in refused(invite(data, *command))


# Over HTTP


def test_of_two_racing_sign_ups_by_one_invitation_one_gets_in(server: ServerProcess, data: Path) -> None:
    secret = invitation(data)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda number: sign_up(server, secret, f"racer{number}"), range(4)))
    assert sorted(answers) == [204, 403, 403, 403]
    winner = answers.index(204)
    assert server.login(f"racer{winner}", PASSWORD)["token"]


def test_an_invitation_is_made_listed_and_ended_over_http(server: ServerProcess, data: Path) -> None:
    assert sign_up(server, invitation(data, "--role", "admin"), "boss") == 204
    bearer = {"Authorization": f"Bearer {server.login('boss', PASSWORD)['token']}"}
    made = ask(server, "POST", "/invitations", b'{"uses":2,"note":"two"}', bearer)
    assert made.status == 200
    assert made.headers["Cache-Control"] == "no-store"
    [listed] = [each for each in ask(server, "GET", "/invitations", None, bearer).json["invitations"] if each["note"]]
    assert listed == {
        "id": made.json["id"],
        "by": "boss",
        "role": "member",
        "uses": 2,
        "expires": listed["expires"],
        "note": "two",
    }
    assert sign_up(server, made.json["link_token"], "gina") == 204
    path = f"/invitations/{made.json['id']}"
    assert ask(server, "GET", path, None, bearer).status == 405
    member = {"Authorization": f"Bearer {server.login('percy')['token']}"}
    assert ask(server, "DELETE", path, None, member).error == "forbidden"
    assert ask(server, "DELETE", path, None, {}).status == 401
    assert ask(server, "DELETE", path, None, bearer).status == 204
    assert ask(server, "DELETE", path, None, bearer).status == 404
    assert ask(server, "POST", "/invitations", b"{}", member).error == "forbidden"


def test_a_new_password_ends_the_other_sessions_and_keeps_the_one_that_asks(server: ServerProcess, data: Path) -> None:
    assert sign_up(server, invitation(data), "hans") == 204
    mine = server.login("hans", PASSWORD)["token"]
    with connected(server, "hans", PASSWORD) as other:
        assert server.post("/password", {"current": "wrong one", "new": "another one"}, token=mine)[0] == 403
        assert server.post("/password", {"current": PASSWORD, "new": "short"}, token=mine)[0] == 400
        assert server.post("/password", {"current": PASSWORD, "new": "another one"}, token=mine)[0] == 204
        with pytest.raises(ConnectionClosed) as closed:
            other.hear("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4100
    assert server.post("/otp", token=mine)[0] == 200
    assert server.post("/login", {"username": "hans", "password": PASSWORD})[0] == 401
    assert server.login("hans", "another one")["token"]


# Names


def test_a_changed_name_is_told_to_who_shares_a_room(server: ServerProcess) -> None:
    with connected(server, "bob") as bob, connected(server, "percy") as percy, connected(server, "percy") as other:
        assert percy.welcome["name"] == "percy"
        for client in (bob, percy):
            client.ask("join_room", {"room": "names"})
        assert percy.ask("set_profile", {"name": "A1ICE"})["code"] == "conflict"
        assert percy.ask("set_profile", {"name": "a\u202eb"})["code"] == "bad_payload"
        answer = percy.ask("set_profile", {"name": "P\u00e9rcy \u041f\u0435\u0440\u0441\u0438"})
        assert answer["name"] == "P\u00e9rcy \u041f\u0435\u0440\u0441\u0438"
        for client in (bob, percy, other):
            assert client.hear("profile_changed") == {"user": "percy", "name": answer["name"]}
        assert bob.ask("profile", {"user": "percy"}) == answer
        assert bob.ask("profiles", {"users": ["percy", "bob", "nobody"]}) == {
            "names": {"bob": "bob", "percy": answer["name"]}
        }
        assert bob.ask("profile", {"user": "nobody"})["code"] == "bad_payload"
