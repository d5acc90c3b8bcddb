"""Who may do what, seen from outside: the settings' file, the command line beside a server, the audit log."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from commands import done, hubbub, refused
from servers import ServerProcess, running
from wire.raw_clients import wait_until

RULES = """
private-rooms = ["team-*"]

[[permissions]]
rooms = ["news"]
users = ["percy"]
may = ["join", "read", "post", "create"]

[[permissions]]
rooms = ["news"]
may = ["join", "read", "create"]
"""


def at(folder: Path, *command: str, password: str = "pw") -> subprocess.CompletedProcess[str]:
    """Run a command on the database in a folder."""
    return hubbub(*command, "--data-dir", str(folder / "data"), cwd=folder, password=password)


def enter(server: ServerProcess, user: str, password: str = "pw") -> ClientConnection:
    """A v1 connection of a user."""
    otp = server.login(user, password)["otp"]
    return connect(server.ws_url, subprotocols=[Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")])


def ask(connection: ClientConnection, type_: str, payload: object) -> str:
    """What a request is answered with: `ack`, or the code of its error."""
    connection.send(json.dumps({"type": type_, "payload": payload, "id": type_}))
    answer = hear(connection, id=type_)
    return str(answer["payload"]["code"] if answer["type"] == "error" else answer["type"])


def remembered(connection: ClientConnection, room: str) -> object:
    """The messages of a room that a client is shown as it enters; None where it may not."""
    connection.send(json.dumps({"type": "join_room", "payload": {"room": room}, "id": "past"}))
    return hear(connection, id="past")["payload"].get("messages")


def hear(connection: ClientConnection, **wanted: object) -> dict[str, Any]:
    """The next event that has these members."""
    while True:
        event: dict[str, Any] = json.loads(connection.recv(timeout=20))
        if all(event.get(name) == value for name, value in wanted.items()):
            return event


def audit(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data" / "audit.log").read_text().splitlines()]


@pytest.fixture
def server_of(tmp_path: Path) -> tuple[str, ...]:
    """A folder with the rules and two accounts; what a server there is started with."""
    (tmp_path / "data").mkdir()
    (tmp_path / "hubbub.toml").write_text(RULES)
    done(at(tmp_path, "user", "add", "percy", "--role", "admin"))
    done(at(tmp_path, "user", "add", "alice"))
    # Who waits asks often.
    return ("--data-dir", f"{tmp_path}/data", "--engine", f"sqlite:///{tmp_path}/data/hubbub.db", "--client-rate", "0")


def test_the_rules_of_the_file_count(tmp_path: Path, server_of: tuple[str, ...]) -> None:
    with running(tmp_path, *server_of) as server, enter(server, "percy") as percy, enter(server, "alice") as alice:
        assert hear(percy, type="welcome")["payload"]["role"] == "admin"
        assert hear(alice, type="welcome")["payload"]["role"] == "member"
        for connection, answer in ((percy, "ack"), (alice, "forbidden")):
            assert ask(connection, "join_room", {"room": "news"}) == "ack"
            assert ask(connection, "send_message", {"message": "hi"}) == answer
            assert ask(connection, "join_room", {"room": "team-a"}) == "forbidden"
        with pytest.raises(InvalidStatus):
            connect(server.ws_url, subprotocols=[Subprotocol("hubbub.v1"), Subprotocol("otp.guess")])
    last = audit(tmp_path)[-1]
    assert (last["act"], last["address"], last["outcome"]) == ("connect", "127.0.0.1", "unauthorized")


def test_the_command_line_acts_on_a_running_server(tmp_path: Path, server_of: tuple[str, ...]) -> None:
    with running(tmp_path, *server_of) as server, enter(server, "percy") as percy, enter(server, "alice") as alice:
        done(at(tmp_path, "room", "invite", "team-a", "alice"))
        wait_until(lambda: ask(alice, "join_room", {"room": "team-a"}) == "ack")
        done(at(tmp_path, "room", "uninvite", "team-a", "alice"))
        assert hear(alice, type="removed")["payload"]["room"] == "team-a"
        for connection in (percy, alice):
            assert ask(connection, "join_room", {"room": "old"}) == "ack"
        assert ask(alice, "send_message", {"message": "secret"}) == "ack"
        done(at(tmp_path, "room", "close", "old"))
        assert hear(percy, type="removed")["payload"]["code"] == "forbidden"
        assert ask(percy, "admin_reopen_room", {"room": "old"}) == "ack"
        done(at(tmp_path, "room", "delete", "old"))
        wait_until(lambda: remembered(percy, "old") == [])
        assert b"secret" not in b"".join(file.read_bytes() for file in (tmp_path / "data").glob("audit*"))
        done(at(tmp_path, "user", "block", "alice"))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                alice.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (4100, 4101)
        assert server.post("/login", {"username": "alice", "password": "pw"})[0] == 403
        assert server.post("/login", {"username": "alice", "password": "guess"})[0] == 401
        done(at(tmp_path, "user", "unblock", "alice"))
        assert server.post("/login", {"username": "alice", "password": "pw"})[0] == 200
    acts = [(line["act"], line["actor"].partition(" ")[0], line["outcome"]) for line in audit(tmp_path)]
    for expected in (
        ("add", "(shell)", "done"),
        ("login", "percy", "ok"),
        ("invite", "(shell)", "done"),
        ("reopen_room", "percy", "done"),
        ("delete_room", "(shell)", "done"),
        ("login", "alice", "forbidden"),
        ("login", "alice", "unauthorized"),
        ("block", "(shell)", "done"),
    ):
        assert expected in acts, acts
    assert stat.S_IMODE((tmp_path / "data" / "audit.log").stat().st_mode) == 0o600
    assert '"pw"' not in (tmp_path / "data" / "audit.log").read_text()


def test_accounts_and_rooms_are_listed(tmp_path: Path, server_of: tuple[str, ...]) -> None:
    done(at(tmp_path, "user", "add", "bob", "--role", "guest"))
    done(at(tmp_path, "user", "block", "bob"))
    assert done(at(tmp_path, "user", "list")) == "alice\nbob\tguest\tblocked\npercy\tadmin\n"
    assert done(at(tmp_path, "user", "role", "bob", "member")) == "bob is a member\n"
    done(at(tmp_path, "room", "invite", "team-a", "bob"))
    done(at(tmp_path, "room", "close", "team-a"))
    done(at(tmp_path, "room", "delete", "old"))
    assert done(at(tmp_path, "room", "list")) == "old\tto be deleted\nteam-a\tclosed\tinvited: bob\n"
    assert done(at(tmp_path, "user", "revoke", "bob")) == "ended 0 sessions of bob\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("user", "role", "percy", "member"), "last admin"),
        (("user", "block", "percy"), "last admin"),
        (("user", "role", "nobody", "admin"), "there is no account 'nobody'"),
        (("user", "revoke", "nobody"), "there is no account 'nobody'"),
        (("room", "invite", "team-a", "nobody"), "there is no account 'nobody'"),
        (("room", "invite", "dm:alice,percy", "alice"), "open to its two users"),
        (("room", "close", "a/b"), "is not a room name"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, server_of: tuple[str, ...], command: tuple[str, ...], told: str
) -> None:
    assert told in refused(at(tmp_path, *command))


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ('[[permissions]]\nrooms = ["a"]\nmay = ["write"]', "nobody may 'write'"),
        ('[[permissions]]\nmay = ["join"]', "permissions, rule 1: rooms"),
        ('private-rooms = [""]', "private-rooms"),
        ('[[permissions]]\nrooms = ["a"]\nroom = ["b"]\nmay = ["join"]', "room"),
    ],
)
def test_a_server_does_not_start_with_rules_that_cannot_be(tmp_path: Path, rules: str, told: str) -> None:
    (tmp_path / "hubbub.toml").write_text(rules)
    assert told in refused(at(tmp_path, "serve", "--no-tls", "--port", "0"))
