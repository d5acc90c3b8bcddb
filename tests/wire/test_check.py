"""`hubbub check` on a good server, and its reports and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import jwt
import pytest

import hubbub
from hubbub.check.outcome import Trace, printable
from hubbub.check.promises import PROMISES
from servers import ServerProcess, free_port, running

CHECK = [sys.executable, "-m", "hubbub", "check"]
RUN_S = 60.0

QUICK = [promise for promise in PROMISES if not promise.patience_s]


@pytest.fixture(scope="module")
def usual_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as it comes, its limits included."""
    with running(tmp_path_factory.mktemp("usual")) as server:
        yield server


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    known = {"XDG_DATA_HOME": str(folder), "HUBBUB_PASSWORD": "123", "HUBBUB_OTHER_PASSWORD": "123"}
    return subprocess.run(
        [*CHECK, *arguments],
        cwd=folder,
        env=clean | known | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


def assert_explained(result: subprocess.CompletedProcess[str], *what: str) -> None:
    assert (result.returncode, result.stdout) == (2, ""), result
    assert result.stderr.count("\n") == 1, result.stderr
    for word in what:
        assert word in result.stderr


# A good server


def test_our_server_keeps_every_promise(usual_server: ServerProcess, tmp_path: Path) -> None:
    result = run(tmp_path, usual_server.origin, "--other", "alice", "--junit", "report.xml")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    *lines, last = result.stdout.splitlines()
    verdicts = [line.split(":")[0].split() for line in lines]
    assert verdicts == [["pass", promise.name] for promise in QUICK], result.stdout
    assert f"(classic and v1): {len(QUICK)} pass, 0 fail, 0 not offered" in last

    suite = ET.parse(tmp_path / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (str(len(QUICK)), "0", "0")
    assert len(suite.findall("testcase")) == len(QUICK)

    log = usual_server.log()
    assert "Traceback" not in log
    assert not re.search(r"\[error", log), log


def test_one_account_will_do_and_json_is_one_document(tls_server: ServerProcess, tmp_path: Path) -> None:
    authority = tls_server.log_file.parent / "data" / "ca.pem"
    result = run(tmp_path, tls_server.origin, "--ca-file", str(authority), "--json")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    report = json.loads(result.stdout)
    assert set(report) == {"url", "user", "dialects", "counts", "results"}
    assert (report["url"], report["user"]) == (tls_server.origin, "percy")
    assert report["dialects"] == ["classic", "v1"]
    assert report["counts"] == {"pass": len(QUICK) - 3, "fail": 0, "not offered": 3}
    assert [each["name"] for each in report["results"]] == [promise.name for promise in QUICK]
    for each in report["results"]:
        extra = {"why"} if each["outcome"] == "not offered" else set()
        assert set(each) == {"group", "name", "says", "outcome", "seconds"} | extra
        assert each["seconds"] < 5
    left_out = [each for each in report["results"] if each["outcome"] == "not offered"]
    assert all("--other" in each["why"] for each in left_out)


def test_users_of_an_application_are_signed_in_by_their_tokens(tmp_path: Path) -> None:
    secret, expiry = "that of an application, and 32 bytes at least", time.time() + 3600
    tokens = [
        f"{user}={jwt.encode({'sub': user, 'exp': expiry}, secret, 'HS256')}" for user in ("zoe@example.com", "max")
    ]
    with running(tmp_path, "--jwt-key", secret) as server:
        result = run(tmp_path, server.origin, "--token", tokens[0], "--token", tokens[1], "--json")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    report = json.loads(result.stdout)
    left_out = {each["name"]: each["why"] for each in report["results"] if each["outcome"] == "not offered"}
    assert left_out.pop("list-users") == "zoe@example.com has no account here"
    assert set(left_out.values()) == {"needs a user with a password"}
    assert set(left_out) >= {"login", "logout"}
    assert not any(token.partition("=")[2] in result.stdout for token in tokens)


def test_any_certificate_is_trusted_when_told_to(tls_server: ServerProcess, tmp_path: Path) -> None:
    assert run(tmp_path, tls_server.origin, "--insecure").returncode == 0


# No way in


def test_what_is_wrong_is_one_line(server: ServerProcess, tls_server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text("port = 9000\n")  # the server's, and no business of its clients
    assert_explained(run(tmp_path, server.origin, HUBBUB_PASSWORD="wrong"), "wrong name or password")
    assert_explained(run(tmp_path, server.origin, "--password", "wrong"), "wrong name or password")
    assert_explained(run(tmp_path, server.origin, "--other", "alice", HUBBUB_OTHER_PASSWORD="no"), "wrong name")
    assert_explained(run(tmp_path, f"http://127.0.0.1:{free_port()}"), "cannot log in")
    assert_explained(run(tmp_path, tls_server.origin), "certificate")
    assert_explained(run(tmp_path, tls_server.origin.replace("https", "http")), "cannot log in")
    assert_explained(run(tmp_path, "localhost:8080"), "https://host:port")
    assert_explained(run(tmp_path, "http://localhost:99999"), "Port")
    assert_explained(run(tmp_path, server.origin, "--insecure"), "plain HTTP")
    assert_explained(run(tmp_path, server.origin, "--colour"), "--colour")
    assert_explained(run(tmp_path, server.origin, "--token", "ey.J.x"), "--token takes NAME=JWT")
    assert_explained(run(tmp_path, server.origin, "--token", "a=x", "--token", "b=x", "--token", "c=x"), "two users")
    assert_explained(run(tmp_path, server.origin, "--token", "a=x", "--other", "alice"), "not both")
    assert_explained(run(tmp_path, server.origin, "--token", "percy=ey.J.x"), "cannot log in", "percy")
    assert_explained(run(tmp_path), "URL")


# Its parts


def test_a_report_shows_anything_on_one_line() -> None:
    assert printable("fine ☃") == "fine ☃"
    assert printable("\x1b[31m\r\n\ud800") == "\\x1b[31m\\r\\n\\ud800"
    assert printable(b"\xff\x00ok") == "\\xff\\x00ok"
    assert len(printable("x" * 10_000)) < 300


def test_a_trace_tells_of_the_last_words() -> None:
    trace = Trace("ping", "pang")
    trace.expect(True, "pong")
    failed = trace.failed("pong")
    assert (failed.sent, failed.came, failed.wanted) == ("ping", "pang", "pong")


def test_names_of_promises_are_unique_and_documented() -> None:
    names = [promise.name for promise in PROMISES]
    assert len(set(names)) == len(names)
    page = (Path(hubbub.__file__).parents[2] / "docs" / "check.md").read_text()
    for group in dict.fromkeys(promise.group for promise in PROMISES):
        assert f"| {group} |" in page
