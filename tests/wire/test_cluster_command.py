"""`hubbub cluster`: a trial that runs, is told things from another terminal, and leaves nothing behind.

The nodes are a stand-in in most of these, for what the command does with them is the same whatever they serve.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from commands import done, hubbub, refused
from hubbub.cluster.control import Wish, tell
from hubbub.cluster.port import free_port
from hubbub.errors import ConfigError
from redis_servers import needs_redis

pytestmark = needs_redis

WAIT_S = 20.0
END_S = 10.0

# Answers how it is, and prints what it was given.
NODE = """
import argparse, http.server, os, signal, sys

options = argparse.ArgumentParser()
options.add_argument("--port", type=int)
options.add_argument("--data-dir")
given = options.parse_args()

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists(given.data_dir + ".red") else 200)
        self.end_headers()
        self.wfile.write(b"engine: it is away")

signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("STUBBORN") else lambda *_: sys.exit(0))
print("engine", os.environ["HUBBUB_ENGINE"], flush=True)
http.server.HTTPServer(("127.0.0.1", given.port), Ready).serve_forever()
"""

TRIAL = """
import sys
from pathlib import Path
from hubbub.cli.cluster import run_trial

run_trial(2, int(sys.argv[1]), Path(sys.argv[2]), [sys.executable, sys.argv[3]])
"""


class RunningTrial:
    """A trial in a process of its own."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.folder = folder
        self.process = process
        self._log = log

    def tell(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `hubbub cluster COMMAND` in another process."""
        return hubbub("cluster", *command, "--dir", str(self.folder), cwd=self.folder.parent)

    def printed(self) -> str:
        return self._log.read_text()

    def status(self) -> str:
        """What `status` prints, without the half second that a command takes."""
        return tell(self.folder, Wish("status"))

    def states(self) -> dict[str, str]:
        """The state of each process, by its name."""
        return {line[:8].strip(): line[9:31].strip() for line in self.status().splitlines()}

    def pids(self) -> list[int]:
        """The ids of the processes that run."""
        return [int(found) for found in re.findall(r" (\d+)  (?:http|redis)://", self.status())]

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            # Of another process's turns there is no event.
            time.sleep(0.02)


@contextmanager
def trial(tmp_path: Path, *, is_real: bool = False, **env: str) -> Iterator[RunningTrial]:
    folder, program, log = tmp_path / "trial", tmp_path / "node.py", tmp_path / "printed"
    program.write_text(NODE)
    port = str(free_port())
    command = (
        [sys.executable, "-m", "hubbub", "cluster", "--nodes", "2", "--port", port, "--dir", str(folder)]
        if is_real
        else [sys.executable, "-c", TRIAL, port, str(folder), str(program)]
    )
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | env)
    running = RunningTrial(folder, process, log)
    try:
        running.until(lambda: "Ctrl-C ends it" in running.printed())
        running.until(lambda: running.states() == {"redis": "up", "node1": "up", "node2": "up"})
        yield running
    finally:
        process.kill()
        process.wait()


def enter(url: str, user: str) -> ClientConnection:
    """A WebSocket to a node."""
    body = json.dumps({"username": user, "password": "123"}).encode()
    with urllib.request.urlopen(f"{url}/login", body, WAIT_S) as answer:
        otp = json.load(answer)["otp"]
    protocols = [Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")]
    return connect(f"{url.replace('http', 'ws')}/ws", subprotocols=protocols, proxy=None)


def ask(link: ClientConnection, type_: str, **payload: str) -> None:
    """Send a request, and wait for its ack."""
    link.send(json.dumps({"type": type_, "id": type_, "payload": payload}))
    while (event := json.loads(link.recv(WAIT_S))).get("id") != type_:
        pass
    assert event["type"] == "ack", event


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_said_on_one_node_is_heard_on_the_other(tmp_path: Path) -> None:
    with trial(tmp_path, is_real=True) as running:
        one, two = re.findall(r"http://\S+", running.status())
        with enter(one, "percy") as percy, enter(two, "alice") as alice:
            for link in (percy, alice):
                ask(link, "join_room", room="lunch")
            ask(percy, "send_message", room="lunch", message="hello")
            while (event := json.loads(alice.recv(WAIT_S)))["type"] != "new_message":
                pass
            assert event["payload"]["message"] == "hello"
        # Its password is nobody else's: it is in no command line and in no log.
        [password] = re.findall(r"redis://:([^@]+)@", running.status())
        assert password not in running.printed().replace(f"redis    | listens on redis://:{password}@", "")
        for pid in running.pids():
            assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_processes_are_killed_and_come_back(tmp_path: Path) -> None:
    with trial(tmp_path) as running:
        assert re.search(r"^node1    \| engine redis://:\S+@127.0.0.1:\d+$", running.printed(), re.MULTILINE)
        red = running.folder / "node2.red"
        red.touch()
        assert running.states() == {"redis": "up", "node1": "up", "node2": "not ready: engine"}
        red.unlink()
        before = done(running.tell("status"))
        assert before == f"{running.status()}\n"
        assert done(running.tell("kill", "node1")) == "killed node1\n"
        assert done(running.tell("kill", "redis")) == "killed redis\n"
        assert running.states() == {"redis": "down", "node1": "killed by signal 9", "node2": "up"}
        assert "node1    | killed by signal 9\n" in running.printed()
        assert "not running" in refused(running.tell("kill", "node1"))
        assert done(running.tell("add", "redis")).startswith("redis is back on ")
        assert done(running.tell("add", "node1")).startswith("started node1, on http://127.0.0.1:")
        assert done(running.tell("add")).startswith("started node3, on http://127.0.0.1:")
        running.until(lambda: running.states() == dict.fromkeys(["redis", "node1", "node2", "node3"], "up"))
        # Where they were.
        urls = re.findall(r"\S+://\S+", before)
        assert re.findall(r"\S+://\S+", running.status())[:3] == urls


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTrial]:
    """A trial that nothing is done to."""
    with trial(tmp_path_factory.mktemp("idle")) as running:
        yield running


def test_what_cannot_be_done_is_said(idle: RunningTrial) -> None:
    assert "there is no 'node9'; there are redis, node1, node2" in refused(idle.tell("kill", "node9"))
    for wish, said in (
        (Wish("add", "node2"), "node2 runs already"),
        (Wish("add", "redis"), "redis runs already"),
        (Wish("kill"), "name what is to be killed"),
    ):
        with pytest.raises(ConfigError, match=said):
            tell(idle.folder, wish)
    with socket.socket(socket.AF_UNIX) as link, link.makefile("rb") as answers:
        link.connect(str(idle.folder / "control.sock"))
        link.sendall(b'{"do": "dance"}\n')
        assert b'"is_done":false' in answers.readline()
    assert idle.states() == {"redis": "up", "node1": "up", "node2": "up"}


def test_one_trial_runs_in_a_folder(idle: RunningTrial) -> None:
    assert "a trial runs in" in refused(hubbub("cluster", "--dir", str(idle.folder), cwd=idle.folder))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    with trial(tmp_path) as running:
        pids = running.pids()
        assert len(pids) == 3
        running.process.send_signal(number)
        assert running.process.wait(END_S) == 0
        assert not any(map(is_alive, pids))
        assert "no trial runs in" in refused(running.tell("status"))


def test_stubborn_nodes_are_killed_in_time(tmp_path: Path) -> None:
    with trial(tmp_path, STUBBORN="1") as running:
        pids = running.pids()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(END_S) == 0
        assert not any(map(is_alive, pids))


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with trial(tmp_path, STUBBORN="1") as running:
        running.process.send_signal(signal.SIGINT)
        running.until(lambda: "stopping" in running.printed())
        running.process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        assert running.process.wait(END_S) == 0
        # Stubborn nodes would have five seconds.
        assert time.monotonic() - begun < 4


def test_nothing_outlives_a_trial_that_is_killed(tmp_path: Path) -> None:
    with trial(tmp_path) as running:
        pids = running.pids()
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + WAIT_S
        while any(map(is_alive, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "does not answer" in refused(running.tell("status"))


def test_the_folder_is_its_owners_alone(tmp_path: Path, idle: RunningTrial) -> None:
    assert idle.folder.stat().st_mode & 0o777 == 0o700
    assert (idle.folder / "control.sock").stat().st_mode & 0o777 == 0o600
    assert (idle.folder / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o755)
    assert "others may look into" in refused(hubbub("cluster", "--dir", str(open_folder), cwd=tmp_path))


def test_without_redis_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "trial"
    assert "apt-get install redis-server" in refused(hubbub("cluster", "--dir", str(folder), cwd=tmp_path))


@pytest.mark.parametrize(("words", "wrong"), [(("--nodes", "0"), "--nodes 0"), (("--port", "80"), "--port 80")])
def test_what_is_no_trial_is_refused(tmp_path: Path, words: tuple[str, ...], wrong: str) -> None:
    assert wrong in refused(hubbub("cluster", *words, cwd=tmp_path))
