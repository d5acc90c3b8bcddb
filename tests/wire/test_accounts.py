"""Accounts: made by the link of the first start, and by `hubbub user` while the server runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from commands import done, hubbub, refused
from servers import ServerProcess, running
from wire.raw_clients import wait_until


def user(data: Path, *command: str, password: str = "") -> subprocess.CompletedProcess[str]:
    """Run `hubbub user` on the accounts in a folder."""
    return hubbub("user", *command, "--data-dir", str(data), cwd=data, password=password)


def sqlite(folder: Path) -> tuple[str, str]:
    return "--engine", f"sqlite:///{folder / 'data' / 'hubbub.db'}"


def log_in(server: ServerProcess, name: str, password: str) -> int:
    return server.post("/login", {"username": name, "password": password})[0]


def test_the_link_makes_the_first_account_once(tmp_path: Path) -> None:
    with running(tmp_path, *sqlite(tmp_path), demo=False) as server:
        link = re.search(r"#setup=(\S+)", server.log())
        assert link is not None
        account = {"secret": link[1], "username": "anna", "password": "pw"}
        assert server.post("/setup", account | {"secret": "guess"})[0] == 403
        assert server.post("/setup", account | {"username": "Anna!"})[0] == 400
        assert server.post("/setup", {"username": "anna"})[0] == 400
        assert server.post("/setup", account)[0] == 204
        assert server.post("/setup", account | {"username": "eve"})[0] == 403
        assert log_in(server, "anna", "pw") == 200
        assert log_in(server, "eve", "pw") == 401
        server.stop()
        assert link[1] not in server.log().replace(f"#setup={link[1]}", "")
    with running(tmp_path, *sqlite(tmp_path), demo=False) as server:
        assert "#setup" not in server.log()
        assert log_in(server, "anna", "pw") == 200


def test_accounts_are_kept_while_the_server_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path, *sqlite(tmp_path)) as server:
        assert done(user(data, "list")).split() == ["alice", "bob", "percy"]
        assert done(user(data, "add", "carol", password="first")) == "added carol\n"
        assert log_in(server, "carol", "first") == 200
        token = server.login("carol", "first")["token"]
        done(user(data, "passwd", "carol", password="second"))
        assert log_in(server, "carol", "first") == 401
        wait_until(lambda: server.post("/otp", token=token)[0] == 401)  # the server looks every few seconds
        token = server.login("carol", "second")["token"]
        done(user(data, "remove", "carol"))
        assert log_in(server, "carol", "second") == 401
        wait_until(lambda: server.post("/otp", token=token)[0] == 401)
        assert "carol" not in done(user(data, "list"))


@pytest.mark.parametrize(
    ("command", "password", "complaint"),
    [
        (["add", "Percy"], "pw", "is not a user name"),
        (["add", "percy"], "", "a password has"),
        (["passwd", "nobody"], "pw", "there is no account"),
        (["remove", "nobody"], "pw", "there is no account"),
        (["add"], "pw", "NAME"),
        (["list", "--engine", "memory://"], "", "memory"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, command: list[str], password: str, complaint: str) -> None:
    assert complaint in refused(user(tmp_path, *command, password=password))


def test_an_account_is_not_added_twice(tmp_path: Path) -> None:
    done(user(tmp_path, "add", "percy", password="pw"))
    assert "there is an account" in refused(user(tmp_path, "add", "percy", password="pw"))


def test_a_second_server_on_the_file_is_refused_by_name(tmp_path: Path) -> None:
    with running(tmp_path, *sqlite(tmp_path)) as server:
        second = [sys.executable, "-m", "hubbub", "serve", "--no-tls", "--port", "0", *sqlite(tmp_path)]
        result = subprocess.run(second, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
        assert f"process id {server.pid}" in refused(result)


def test_the_demo_accounts_are_not_for_other_machines(tmp_path: Path) -> None:
    with running(tmp_path, *sqlite(tmp_path)):
        pass
    public = [
        sys.executable,
        "-m",
        "hubbub",
        "serve",
        "--no-tls",
        "--port",
        "0",
        "--host",
        "0.0.0.0",
        *sqlite(tmp_path),
    ]
    result = subprocess.run(public, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert "the password of --demo" in refused(result)


def test_a_removed_user_is_put_out(tmp_path: Path) -> None:
    with running(tmp_path, *sqlite(tmp_path)) as server:
        otp = server.login("bob")["otp"]
        with connect(server.ws_url, subprotocols=[Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")]) as connection:
            done(user(tmp_path / "data", "remove", "bob"))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    connection.recv(timeout=20)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4100
