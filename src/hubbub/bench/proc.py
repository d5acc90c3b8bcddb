"""What a process costs its machine: Linux's view of another one."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from hubbub.errors import ConfigError

__all__ = ["Watched", "machine", "occupied_s"]

PAGE = os.sysconf("SC_PAGE_SIZE")


class Watched:
    """A process on this machine, by its id.

    Raises:
        ConfigError: there is none, or this is not Linux.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        if not Path("/proc/self/statm").exists():
            raise ConfigError("--pid reads /proc, which only Linux has")
        if pid < 1 or self.cpu_s() is None or self.rss() is None:
            raise ConfigError(f"--pid {pid}: there is no such process")

    def cpu_s(self) -> float | None:
        """The processor time that it has taken, all threads; None when it is gone."""
        # Linux makes the number of a process's clock from its id (see clock_getcpuclockid(3)): it counts nanoseconds,
        # where /proc counts hundredths of a second.
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return None

    def rss(self) -> int | None:
        """Its resident memory in bytes; None when it is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return None


def occupied_s() -> float:
    """The time that this process has worked, or waited for a core to work on."""
    try:
        worked_ns, waited_ns, _slices = map(int, Path("/proc/self/schedstat").read_text().split())
    except (OSError, ValueError):
        return time.process_time()
    return (worked_ns + waited_ns) / 1e9


def machine() -> str:
    """This machine in one line: processor, cores, kernel."""
    release = platform.release().partition("-")[0]  # what a distribution adds says nothing about speed
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()} {release}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
