"""The servers that are measured: each started afresh for each run, on a core of its own."""

from __future__ import annotations

import http.client
import json
import os
import platform
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from comparison.peers.peers import BUILD, PEERS

__all__ = ["SERVERS", "Candidate", "RunFailed", "Running", "make_certificate", "pinned", "started"]

HOST = "127.0.0.1"

# How it is started in the report: what is different in each run has a name there.
ANY_PORT = 0
SHOWN = "DATA"

START_S = 30.0
STOP_S = 15.0
LOGIN_S = 5.0
BETWEEN_LOOKS_S = 0.02
LOG_LINES = 5


class RunFailed(Exception):
    """A run came to nothing; the sentence says why."""


@dataclass(frozen=True)
class Candidate:
    """One server, as it is to be measured.

    Attributes:
        peer: its name among the peers; empty for Hubbub.
        engine: what Hubbub keeps messages in.
        mounted: how it is served by another server, in a way of `comparison.mounted`; empty for a server of its own.
    """

    name: str
    title: str
    peer: str = ""
    engine: str = ""
    mounted: str = ""
    tls: bool = False

    def missing(self) -> str:
        """What to install before it can be measured, or an empty string."""
        return PEERS[self.peer].missing() if self.peer else ""

    def build(self) -> None:
        """Make it; raises `CalledProcessError` when its tools do not manage."""
        if self.peer:
            PEERS[self.peer].build()

    def versions(self) -> dict[str, str]:
        """Of the server and of what it is built on, once it is built."""
        return PEERS[self.peer].versions() if self.peer else hubbub_versions()

    def command(self, port: int, data: Path, run: Path) -> list[str]:
        """What starts it.

        Args:
            data: the folder with the certificate.
            run: a folder that is this run's own.
        """
        if self.mounted:
            words = [sys.executable, "-m", "comparison.mounted", self.mounted]
            return [*words, "--port", str(port), "--data-dir", str(data)]
        if not self.peer:
            return self._hubbub(port, data, run)
        pair = str(data / "localhost.pem"), str(data / "localhost.key")
        return PEERS[self.peer].command(port, pair if self.tls else None)

    def shown(self, core: int) -> str:
        """What starts it, for a report: without the paths of this machine."""
        words = pinned(core, self.command(ANY_PORT, Path(SHOWN), Path(SHOWN)))
        said = " ".join(words).replace(f"--port {ANY_PORT}", "--port PORT")
        return said.replace(sys.executable, "python").replace(f"{BUILD.parent}{os.sep}", "")

    def _hubbub(self, port: int, data: Path, run: Path) -> list[str]:
        """Hubbub as it comes, but for the limits that a load of one account would meet."""
        engine = "memory://" if self.engine == "memory" else f"sqlite:///{run}/hubbub.db"
        unlimited = ["--client-rate", "0", "--max-otps-per-account", "0", "--max-otps", "0"]
        words = [sys.executable, "-m", "hubbub", "serve", "--demo", "--port", str(port), "--data-dir", str(data)]
        return [*words, "--engine", engine, *unlimited, *([] if self.tls else ["--no-tls"])]


SERVERS = {
    each.name: each
    for each in (
        Candidate("go", "Go", peer="go"),
        Candidate("node", "Node", peer="node"),
        Candidate("fastapi", "FastAPI", peer="fastapi"),
        Candidate("floor", "the floor, C", peer="floor"),
        Candidate("hubbub-memory", "Hubbub, memory", engine="memory"),
        Candidate("hubbub-sqlite", "Hubbub, SQLite", engine="sqlite"),
        Candidate("hubbub-fast-path", "Hubbub, memory, in uvicorn", engine="memory", mounted="fast-path"),
        Candidate("hubbub-asgi", "Hubbub, memory, by plain ASGI", engine="memory", mounted="asgi"),
        Candidate("go-tls", "Go, TLS", peer="go", tls=True),
        Candidate("node-tls", "Node, TLS", peer="node", tls=True),
        Candidate("hubbub-tls", "Hubbub, SQLite, TLS", engine="sqlite", tls=True),
    )
}


def hubbub_versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("hubbub", "uvloop", "picows")}
    openssl = ssl.OPENSSL_VERSION.split()[1]
    python = platform.python_version()
    return {"hubbub": libraries.pop("hubbub"), "python": python, **libraries} | {
        "SQLite": sqlite3.sqlite_version,
        "OpenSSL": openssl,
    }


def pinned(core: int, words: list[str]) -> list[str]:
    """A command that keeps to one core; taskset becomes it, under the same pid."""
    return ["taskset", "-c", str(core), *words]


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        token: of a login; empty where the server gives none.
        ca_file: what to trust; None where it speaks plain HTTP.
    """

    candidate: Candidate
    process: subprocess.Popen[bytes]
    port: int
    token: str
    ca_file: Path | None

    @property
    def url(self) -> str:
        return f"http{'s' if self.ca_file else ''}://{HOST}:{self.port}"


@contextmanager
def started(candidate: Candidate, data: Path, run: Path, core: int) -> Iterator[Running]:
    """A server, stopped at the end.

    Raises:
        RunFailed: it did not start.
    """
    port = free_port()
    log = run / "server.log"
    # Ctrl-C at the terminal is for us: we stop the server. In a folder and an environment without settings for another.
    with log.open("wb") as lines:
        process = subprocess.Popen(  # noqa: S603  the words are ours
            pinned(core, candidate.command(port, data.absolute(), run.absolute())),
            cwd=run,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            process_group=0,
        )
    ca_file = data.absolute() / "ca.pem" if candidate.tls else None
    try:
        yield Running(candidate, process, port, wait_for_login(process, port, ca_file), ca_file)
        check_alive(process)
    except RunFailed:
        show_end(log)
        check_alive(process)  # if that is why, the note says so
        raise
    finally:
        stop(process)


def environment() -> dict[str, str]:
    """Ours, without settings for another server, and with this package where it can be imported."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return ours | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def make_certificate(data: Path, run: Path, core: int) -> None:
    """Have Hubbub issue the certificate that all servers use."""
    with started(SERVERS["hubbub-tls"], data, run, core):
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_login(process: subprocess.Popen[bytes], port: int, ca_file: Path | None) -> str:
    """Wait until a login succeeds: its token, if it has one."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return log_in(port, ca_file)
        except (OSError, http.client.HTTPException, ValueError) as error:
            check_alive(process)
            if time.monotonic() > deadline:
                raise RunFailed(f"the server let nobody log in for {START_S:.0f} s: {error}") from None
            time.sleep(BETWEEN_LOOKS_S)


def check_alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RunFailed(f"the server ended by itself ({process.returncode})") from None


def log_in(port: int, ca_file: Path | None) -> str:
    """A login's token; `OSError`, `HTTPException` or `ValueError` when there is no login yet."""
    body = json.dumps({"username": "percy", "password": "123"})
    if ca_file:
        trusted = ssl.create_default_context(cafile=ca_file)
        line: http.client.HTTPConnection = http.client.HTTPSConnection(HOST, port, timeout=LOGIN_S, context=trusted)
    else:
        line = http.client.HTTPConnection(HOST, port, timeout=LOGIN_S)
    try:
        line.request("POST", "/login", body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        said = answer.read()
    finally:
        line.close()
    if answer.status != http.HTTPStatus.OK:
        raise ValueError(f"POST /login is answered {answer.status}")
    return str(json.loads(said).get("token", ""))


def show_end(log: Path) -> None:
    """Show the last lines of a log: they may say what happened."""
    for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
        print(f"    {line}", file=sys.stderr)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to stop, and kill it when it does not, or when we are in a hurry ourselves."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
