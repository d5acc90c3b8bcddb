"""A server that is measured: started afresh for each run, on a core of its own, and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comparison.candidates import CHAT, CLASSIC, Candidate, pinned

__all__ = ["RunFailed", "Running", "make_certificate", "started"]

HOST = "127.0.0.1"

# A server that others keep from its core takes long to begin.
START_S = 120.0
STOP_S = 15.0
LOGIN_S = 5.0
BETWEEN_LOOKS_S = 0.02
# A server that lets clients in may still be busy with its start, such as making a hash to compare passwords with.
SETTLED_S = 0.3
SETTLE_LIMIT_S = 10.0
LOG_LINES = 5


class RunFailed(Exception):
    """A run came to nothing; the sentence says why."""


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
            env=environment() | candidate.environment(),
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            process_group=0,
        )
    ca_file = data.absolute() / "ca.pem" if candidate.tls else None
    try:
        token = wait_for_start(candidate, process, port, ca_file)
        settle(process)
        yield Running(candidate, process, port, token, ca_file)
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
    issuer = next(each for each in CHAT if each.tls and not each.peer)
    with started(issuer, data, run, core):
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_start(candidate: Candidate, process: subprocess.Popen[bytes], port: int, ca_file: Path | None) -> str:
    """Wait until the server lets clients in: the token of a login, if it has logins and they have one."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return log_in(port, ca_file) if candidate.protocol == CLASSIC else knock(port)
        except (OSError, http.client.HTTPException, ValueError) as error:
            check_alive(process)
            if time.monotonic() > deadline:
                raise RunFailed(f"the server let nobody in for {START_S:.0f} s: {error}") from None
            time.sleep(BETWEEN_LOOKS_S)


def settle(process: subprocess.Popen[bytes]) -> None:
    """Wait until the server has done nothing for a moment, so that its start counts for no load."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    before, now = -1, ticks_of(process)
    while now != before and time.monotonic() < deadline:
        time.sleep(SETTLED_S)
        before, now = now, ticks_of(process)


def ticks_of(process: subprocess.Popen[bytes]) -> int:
    """The CPU time that a process took, in the kernel's ticks; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return 0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def knock(port: int) -> str:
    """See that there is somebody; `OSError` when there is not."""
    socket.create_connection((HOST, port), LOGIN_S).close()
    return ""


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
