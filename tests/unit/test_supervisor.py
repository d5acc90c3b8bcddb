"""The parent of workers, and processes that do not do what workers do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubbub.supervisor import Supervisor

SLEEP = ("/bin/sleep", "3600")

Make = Callable[..., Supervisor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a supervisor of one slot."""
    with socket.socket() as sock:
        made: list[Supervisor] = []

        def make(*command: str) -> Supervisor:
            made.append(Supervisor(command, [[sock]], tmp_path, 0.0))
            return made[-1]

        yield make
        for supervisor in made:
            supervisor.__exit__()


def files() -> set[str]:
    """The open descriptors of this process."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def test_one_that_hears_nothing_is_killed_once_its_orders_fill_the_line(make: Make) -> None:
    supervisor = make(*SLEEP)
    pid = supervisor.start(1, is_first=True)
    for _ in range(100_000):
        supervisor.accept(pid, (1,))  # waiting here would be for ever
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_one_that_has_ended_is_told_in_vain(make: Make) -> None:
    supervisor = make("/bin/true")
    pid = supervisor.start(1, is_first=True)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its exit code waits for the parent
    supervisor.accept(pid, (1,))
    supervisor.leave(pid)
    supervisor.stop(pid)
    supervisor.terminate(pid)
    supervisor.kill(pid)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_process_that_cannot_be_started_leaves_nothing_open(make: Make) -> None:
    supervisor = make("/nowhere/at/all")
    before = files()
    with pytest.raises(FileNotFoundError):
        supervisor.start(1, is_first=True)
    assert files() == before


def test_what_a_worker_inherits_is_named_and_the_parents_own_sockets_are_not_for_it(make: Make, tmp_path: Path) -> None:
    there = tmp_path / "there"
    supervisor = make("/bin/sh", "-c", f'echo "$HUBBUB_WORKER" >{there}; ls -l /proc/$$/fd >>{there}')
    with socket.socket() as own:
        os.waitpid(supervisor.start(1, is_first=False), 0)
        told, listed = there.read_text().split("\n", 1)
        legacy = json.loads(told)
        assert (legacy["number"], legacy["workers"], legacy["is_first"]) == (1, 1, False)
        inherited = dict(re.findall(r" (\d+) -> (socket:\S+)", listed))
        assert {str(each) for each in (legacy["line"], *legacy["sockets"][0])} <= set(inherited)
        lines = [child.line for child in supervisor._children.values()]
        kept = {f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in (own, *lines)}
        assert not kept & set(inherited.values()), "nobody would notice the parent's end"
