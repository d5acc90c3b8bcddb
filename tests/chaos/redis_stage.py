"""Nodes on a Redis, for the tests of what happens when something of it fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.killable import Killable

__all__ = ["Nodes", "nodes"]

LIMITS = ("--client-rate", "0", "--max-otps", "0", "--max-otps-per-account", "0", "--otp-ttl", "60")
TICKS = os.sysconf("SC_CLK_TCK")


class Nodes:
    """Nodes that serve.

    Attributes:
        ports: where they listen.
    """

    def __init__(self, killables: Sequence[Killable]) -> None:
        self.ports = [each.port for each in killables]
        self.logs = ""
        self._killables = killables

    def pid(self, number: int) -> int:
        return self._killables[number].now.pid

    def log(self, number: int) -> str:
        """What a node has printed since it was started."""
        return self._killables[number].now.log()

    def kill(self, number: int) -> None:
        """Kill a node with no warning."""
        self.logs += self.log(number)
        self._killables[number].kill()

    def start(self, number: int) -> None:
        """Start a node that was killed."""
        self._killables[number].start()

    def is_ready(self, number: int) -> bool:
        """Whether a node says that it can serve clients."""
        return self._killables[number].now.get("/readyz")[0] == 200

    def assert_logs_are_clean(self) -> None:
        """No node may have met an error that it does not know."""
        printed = self.logs + "".join(self.log(number) for number in range(len(self.ports)))
        at = printed.find("Traceback")
        assert at < 0, printed[max(0, at - 500) : at + 3000]

    def cpu_s(self) -> float:
        """Seconds of CPU time that the nodes that run have used."""
        return sum(cpu_s(each.now.pid) for each in self._killables)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Load:
    """How much of a core the nodes use while a block runs."""

    def __init__(self, nodes: Nodes) -> None:
        self.share = 0.0
        self._nodes = nodes

    def __enter__(self) -> Load:
        self._began, self._cpu_s = time.monotonic(), self._nodes.cpu_s()
        return self

    def __exit__(self, *_error: object) -> None:
        self.share = (self._nodes.cpu_s() - self._cpu_s) / (time.monotonic() - self._began)


@contextmanager
def nodes(folder: Path, urls: Sequence[str], *args: str) -> Iterator[Nodes]:
    """A node for each URL of an engine, with the accounts of the demo."""
    with ExitStack() as running:
        yield Nodes(
            [
                running.enter_context(Killable(made(folder / f"node{number}"), *LIMITS, *args, engine=url))
                for number, url in enumerate(urls)
            ]
        )


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
