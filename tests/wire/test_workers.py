"""Several workers on one port: deaths, replacements and stops that no connection notices."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from commands import hubbub, refused
from servers import ServerProcess, running
from wire.raw_clients import upgrade_head, wait_until

WORKERS = 3
FEW = 2

# An engine that processes do not share says that they may, which is enough for sockets and signals.  What starts while
# there is a file `hold` waits until there is none.
SHARED = """
import pathlib, time
from hubbub import Hub
from hubbub.engine.memory import MemoryEngine

MemoryEngine.is_shared = True
hub = Hub()
while pathlib.Path("hold").exists():
    time.sleep(0.01)
"""

# The promise is ten seconds; a slow machine gets a little more.
STOP_S = 15.0

GET = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def house(tmp_path: Path, *args: str, tls: bool = False, workers: int = WORKERS) -> Iterator[ServerProcess]:
    """Workers that all serve."""
    (tmp_path / "shared.py").write_text(SHARED)
    flags = ("--workers", str(workers), *args)
    with running(tmp_path, *flags, "--otp-ttl", "120", target="shared:hub", tls=tls) as server:
        wait_until(lambda: "all workers serve" in server.log())
        yield server


def children(pid: int) -> set[int]:
    """The processes that one has started, and that have not ended."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def has_ended(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def sockets_of(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += each.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def files_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def connected(server: ServerProcess) -> socket.socket:
    """A connection that has had an answer, and stays open."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=STOP_S)
    sock.sendall(GET)
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return sock


def ask_often(server: ServerProcess, count: int = 60) -> None:
    """Ask on so many new connections, which the kernel spreads over the slots."""
    for _ in range(count):
        connected(server).close()


@contextmanager
def deaf_websocket(server: ServerProcess) -> Iterator[None]:
    """A client that answers nothing, so that the worker which has it takes its time to stop."""
    otp = server.login()["otp"]
    for _ in range(1000):  # each worker has its own one-time passwords here
        with socket.create_connection(("127.0.0.1", server.port), timeout=STOP_S) as sock:
            sock.sendall(upgrade_head(f"/ws?otp={otp}"))
            if sock.recv(4096).startswith(b"HTTP/1.1 101 "):
                yield
                return
    raise AssertionError("no worker has the one-time password")


def wait_for_replacement(server: ServerProcess, before: set[int]) -> set[int]:
    """Wait until there are other processes, as many as before."""
    wait_until(lambda: children(server.pid).isdisjoint(before) and len(children(server.pid)) == len(before))
    return children(server.pid)


# What all of these leave as it was


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Workers that all serve, also when a test is over."""
    with house(tmp_path_factory.mktemp("workers")) as server:
        yield server


def test_connections_are_spread_over_the_workers_and_answered_by_all(server: ServerProcess) -> None:
    with ExitStack() as stack:
        before = {pid: sockets_of(pid) for pid in children(server.pid)}
        parent = sockets_of(server.pid)
        assert len(before) == WORKERS
        for _ in range(300):
            stack.enter_context(connected(server))
        each = {pid: sockets_of(pid) - count for pid, count in before.items()}
        assert sum(each.values()) == 300
        assert min(each.values()) > 30, f"by chance once in 10^16 runs: {each}"
        assert sockets_of(server.pid) == parent


def test_a_killed_worker_is_replaced_and_its_connections_are_answered_meanwhile(server: ServerProcess) -> None:
    victims = sorted(children(server.pid))[:2]
    hold = server.log_file.with_name("hold")
    hold.touch()
    complete = server.log().count("all workers serve")
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    ask_often(server)
    assert server.log().count("all workers serve") == complete, "no successor is there yet"
    hold.unlink()
    wait_until(lambda: server.log().count("all workers serve") > complete)
    assert len(children(server.pid)) == WORKERS
    assert children(server.pid).isdisjoint(victims)
    ask_often(server)


def test_a_worker_that_does_not_run_is_stood_in_for(server: ServerProcess) -> None:
    workers = children(server.pid)
    os.kill(min(workers), signal.SIGSTOP)
    try:
        ask_often(server)  # the first of its connections wait for the parent to notice
    finally:
        os.kill(min(workers), signal.SIGCONT)
    wait_until(lambda: "worker is back" in server.log())
    assert children(server.pid) == workers


def test_who_leaves_takes_no_connections_while_its_clients_keep_it(server: ServerProcess) -> None:
    with deaf_websocket(server):
        os.kill(server.pid, signal.SIGHUP)
        replaced = server.log().count("all workers are replaced")
        while server.log().count("all workers are replaced") == replaced:
            ask_often(server, 10)


def test_a_worker_that_somebody_else_stops_is_replaced(server: ServerProcess) -> None:
    before = children(server.pid)
    complete = server.log().count("all workers serve")
    os.kill(min(before), signal.SIGTERM)
    while server.log().count("all workers serve") == complete:
        ask_often(server, 10)
    wait_until(lambda: len(children(server.pid)) == WORKERS)
    assert min(before) not in children(server.pid)


def test_all_workers_are_replaced_and_nobody_notices(server: ServerProcess) -> None:
    asked: list[int] = []
    failed: list[Exception] = []
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set() and not failed:
            try:
                connected(server).close()
            except (OSError, AssertionError) as error:
                failed.append(error)
            asked.append(1)

    before = children(server.pid)
    replaced = server.log().count("all workers are replaced")
    files = files_of(server.pid)
    askers = [threading.Thread(target=ask_on) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: server.log().count("all workers are replaced") > replaced or bool(failed))
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert not failed, f"{failed} among {len(asked)}"
    assert len(asked) > 100
    assert children(server.pid).isdisjoint(before)
    assert all(has_ended(pid) for pid in before)
    assert files_of(server.pid) == files, "the parent keeps nothing of those that have gone"
    ask_often(server)


def test_a_reload_that_cannot_be_leaves_all_as_they_are(server: ServerProcess) -> None:
    before = children(server.pid)
    file = server.log_file.with_name("hubbub.toml")
    file.write_text("max-frame = 'many'\n")
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: "not all workers are replaced" in server.log())
    assert children(server.pid) == before
    assert len(re.findall(r"^hubbub: .*max-frame.*$", server.log(), re.MULTILINE)) == 1
    ask_often(server)
    file.write_text("client-rate = 7\nworkers = 1\nport = 1\n")
    os.kill(server.pid, signal.SIGHUP)
    wait_for_replacement(server, before)
    ask_often(server)
    file.unlink()


def test_a_port_of_other_workers_is_taken(server: ServerProcess) -> None:
    again = ("serve", "shared:hub", "--workers", "2", "--no-tls", "--port", str(server.port))
    assert "is taken" in refused(hubbub(*again, cwd=server.log_file.parent))


# Ends


def test_workers_serve_tls_with_one_certificate_and_all_stop_at_a_signal(tmp_path: Path) -> None:
    with house(tmp_path, tls=True, workers=FEW) as server:
        assert [server.get("/readyz")[0] for _ in range(20)] == [200] * 20
        assert server.log().count("trust its CA") == 1
        workers = children(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        assert server._process.wait(STOP_S) == 0
        assert all(has_ended(pid) for pid in workers)
        assert "Traceback" not in server.log()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def test_a_program_of_ones_own_has_workers_and_a_signal_for_all_its_processes_is_one_stop(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"{SHARED}\nimport hubbub\nhubbub.run(hub)\n")
    program = (sys.executable, str(tmp_path / "own.py"))
    with running(tmp_path, "--workers", str(FEW), demo=False, program=program) as server:
        wait_until(lambda: "all workers serve" in server.log())
        assert len(children(server.pid)) == FEW
        for pid in (*children(server.pid), server.pid):
            os.kill(pid, signal.SIGTERM)
        assert server._process.wait(STOP_S) == 0


def test_a_stop_during_a_reload_leaves_nobody(tmp_path: Path) -> None:
    with house(tmp_path, workers=FEW) as server:
        (tmp_path / "hold").touch()
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: len(children(server.pid)) == FEW + 1)
        everybody = children(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        assert server._process.wait(STOP_S) == 0
        assert all(has_ended(pid) for pid in everybody)


def test_workers_without_their_parent_stop(tmp_path: Path) -> None:
    with house(tmp_path, workers=FEW) as server:
        (tmp_path / "hold").touch()
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: len(children(server.pid)) == FEW + 1)
        workers = children(server.pid)
        server.kill()
        wait_until(lambda: all(has_ended(pid) for pid in workers))
        assert "the parent process has gone" in server.log()
        assert "Traceback" not in server.log()


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with house(tmp_path, workers=FEW) as server:
        workers = children(server.pid)
        os.kill(min(workers), signal.SIGSTOP)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: "stopping all workers" in server.log())
        os.kill(server.pid, signal.SIGTERM)
        assert server._process.wait(STOP_S) == 128 + signal.SIGTERM
        wait_until(lambda: all(has_ended(pid) for pid in workers))


def test_a_worker_that_does_not_stop_is_killed_in_time(tmp_path: Path) -> None:
    with house(tmp_path, workers=FEW) as server:
        workers = children(server.pid)
        os.kill(min(workers), signal.SIGSTOP)
        os.kill(server.pid, signal.SIGTERM)
        assert server._process.wait(STOP_S) == 1
        assert all(has_ended(pid) for pid in workers)


def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "1") as server:
        assert children(server.pid) == set()


@pytest.mark.parametrize("engine", ["memory://", "sqlite:///a.db"])
def test_engines_of_one_process_say_so(tmp_path: Path, engine: str) -> None:
    command = ("serve", "--workers", "3", "--port", "0", "--no-tls", "--data-dir", str(tmp_path), "--engine", engine)
    line = refused(hubbub(*command, cwd=tmp_path))
    assert line == (
        "hubbub: --workers 3 needs an engine that processes share, such as redis://HOST; "
        f"--engine {engine} is of one process"
    )
    assert not (tmp_path / "a.db").exists()


def test_what_cannot_be_is_said_once(tmp_path: Path) -> None:
    serve = ("serve", "nowhere:hub", "--workers", "3", "--no-tls", "--data-dir", str(tmp_path))
    assert "there is no module 'nowhere'" in refused(hubbub(*serve, "--port", "0", cwd=tmp_path))
    assert "--workers 0: a number from 1" in refused(hubbub("serve", "--workers", "0", cwd=tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port} is taken" in refused(hubbub(*serve, "--port", port, cwd=tmp_path))


# What is told of all of them


def scraped(server: ServerProcess) -> dict[str, float]:
    """What the worker counts that a new connection comes to, by the names of what has no labels."""
    lines = server.get("/metrics")[1].decode().splitlines()
    return {name: float(value) for name, _, value in (line.partition(" ") for line in lines if line[0] != "#")}


def test_any_worker_tells_of_all_and_what_one_has_done_is_not_undone_by_its_death(tmp_path: Path) -> None:
    with house(tmp_path) as server:
        [folder] = [
            Path(os.fsdecode(entry.partition(b"=")[2]))
            for entry in Path(f"/proc/{min(children(server.pid))}/environ").read_bytes().split(b"\0")
            if entry.startswith(b"HUBBUB_TALLIES=")
        ]
        assert folder.stat().st_mode & 0o777 == 0o700
        used: list[tuple[float, float]] = []

        def all_are_counted() -> bool:
            asked_at = time.monotonic()
            found = scraped(server)
            used.append((asked_at, found["hubbub_cpu_seconds_total"]))
            return found["hubbub_workers"] == found["hubbub_ready"] == WORKERS

        wait_until(all_are_counted)
        for _ in range(2):
            before = children(server.pid)
            os.kill(min(before), signal.SIGKILL)
            wait_until(lambda before=before: min(before) not in children(server.pid))  # type: ignore[misc]  # mypy infers no lambda with a default
            wait_until(lambda: len(children(server.pid)) == WORKERS and all_are_counted())
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "all workers are replaced" in server.log() and all_are_counted())
        # Each gives the same answer for half a second.
        assert all(earlier <= later for at, earlier in used for then, later in used if then > at + 0.6)
        assert len(list(folder.glob("*-*.json"))) == WORKERS
        assert server.stop() == 0
        assert not folder.exists()
