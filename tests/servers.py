"""Servers in processes of their own, for the tests that look at Hubbub from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["HUBBUB", "SERVE", "START_S", "ServerProcess", "free_port", "is_answered", "running", "stop"]

# `hubbub`, of the Python that runs the tests; -P leaves their folder out of its import path.
HUBBUB = (sys.executable, "-P", str(Path(__file__).with_name("program.py")))
SERVE = (*HUBBUB, "serve")

# Generous: it is reached only where something is broken, or the machine very busy.
START_S = 60.0
STOP_S = 15.0
REQUEST_S = 5.0

ANNOUNCED = re.compile(r"listens on https?://\S+:(\d+)$", re.MULTILINE)


class ServerProcess:
    """A server that answers.

    Attributes:
        port: where it listens, on 127.0.0.1.
        origin: its URL without a path.
        ws_url: its WebSocket's URL.
        log_file: all that it prints, its log included.
        pid: its process.
        tls: what a client trusts it with; None where it speaks plain HTTP.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_file: Path, tls: ssl.SSLContext | None) -> None:
        secure = "s" if tls else ""
        self.port = port
        self.origin = f"http{secure}://127.0.0.1:{port}"
        self.ws_url = f"ws{secure}://127.0.0.1:{port}/ws"
        self.log_file = log_file
        self.pid = process.pid
        self.tls = tls
        self._process = process

    def stop(self) -> int:
        """Ask it to stop, and kill it when it does not; its exit code."""
        return stop(self._process)

    def wait(self) -> int:
        """Wait for one that was told to stop already, and kill it when it does not; its exit code."""
        return wait(self._process)

    def kill(self) -> None:
        """Kill it, with no chance to say goodbye."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """What it has printed so far."""
        return self.log_file.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of a GET."""
        return request(urllib.request.Request(self.origin + path), self.tls)

    def post(self, path: str, body: object = None, *, token: str = "") -> tuple[int, Any]:
        """The status and the JSON of a POST."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = b"" if body is None else json.dumps(body).encode()
        status, text = request(urllib.request.Request(self.origin + path, data, headers, method="POST"), self.tls)
        return status, json.loads(text) if text else None

    def login(self, user: str = "percy", password: str = "123") -> dict[str, Any]:
        """Log in: `otp`, `token` and `expires_in`."""
        status, answer = self.post("/login", {"username": user, "password": password})
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def otp(self, token: str) -> str:
        """Another one-time password for a login."""
        status, answer = self.post("/otp", token=token)
        assert status == 200, answer
        return str(answer["otp"])


@contextmanager
def running(
    tmp_path: Path,
    *args: str,
    env: dict[str, str] | None = None,
    tls: bool = False,
    demo: bool = True,
    target: str | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = SERVE,
) -> Iterator[ServerProcess]:
    """A server on a free port, its data in `tmp_path`; stopped at the end.

    Args:
        args: more flags; of ours, `--engine`, `--data-dir` and `--port` can be among them instead.
        env: more environment.
        tls: serve https and wss with the local certificate.
        demo: make the demo accounts.
        target: MODULE:HUB, the hub to serve.
        cwd: where it runs; `tmp_path` where none is given, so that no hubbub.toml is about.
        program: what takes the flags.
    """
    data = tmp_path / "data"
    command = [*program, *([target] if target else []), *flags(data, args, tls, demo)]
    # What a developer has set for their own server is not for this one.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    log_file = tmp_path / "server.log"
    # To a file: nobody would read a pipe while the test runs, and a full one blocks the server.
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd or tmp_path, env=clean | (env or {}))
    try:
        port = wait_for_port(process, log_file)
        context = ssl.create_default_context(cafile=data / "ca.pem") if tls else None
        server = ServerProcess(process, port, log_file, context)
        wait_until_healthy(server, process)
        yield server
    finally:
        stop(process)


def free_port() -> int:
    """A port that nothing listens on, for a server that has to come back to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def flags(data: Path, args: Sequence[str], tls: bool, demo: bool) -> list[str]:
    ours = {"--engine": "memory://", "--data-dir": str(data), "--port": "0"}
    given = [part for flag, value in ours.items() if flag not in args for part in (flag, value)]
    return [*(["--demo"] if demo else []), *([] if tls else ["--no-tls"]), *given, *args]


def wait_for_port(process: subprocess.Popen[bytes], log_file: Path) -> int:
    deadline = time.monotonic() + START_S
    while (found := ANNOUNCED.search(log_file.read_text())) is None:
        keep_waiting(process, log_file, deadline)
    return int(found[1])


def wait_until_healthy(server: ServerProcess, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not is_healthy(server):
        keep_waiting(process, server.log_file, deadline)


def is_healthy(server: ServerProcess) -> bool:
    try:
        return server.get("/healthz")[0] == 200
    except OSError:
        return False


def keep_waiting(process: subprocess.Popen[bytes], log_file: Path, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise AssertionError(f"no server (exit code {process.returncode}):\n{log_file.read_text()}")
    # Between two looks at another process there is no event to wait for.
    time.sleep(0.02)


def is_answered(url: str) -> bool:
    """Whether a GET is answered by 200."""
    try:
        return request(urllib.request.Request(url), None)[0] == 200
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to stop, and kill it when it does not; its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return wait(process)


def wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def request(request: urllib.request.Request, tls: ssl.SSLContext | None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_S, context=tls) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
