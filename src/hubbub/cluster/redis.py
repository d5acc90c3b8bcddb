"""A Redis server of our own on loopback: found, started, and made to stop, die, pause and come back."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hubbub.cluster.child import GuardedProcess
from hubbub.cluster.command import CommandFailed, Reply, ask, facts
from hubbub.cluster.port import HOST, free_port
from hubbub.errors import ConfigError

__all__ = ["HOW_TO_GET_IT", "Appending", "NoRedis", "RedisServer", "find_server"]

PROGRAMS = ("redis-server", "valkey-server")
HOW_TO_GET_IT = (
    "there is no redis-server (or valkey-server) in PATH; "
    "on Debian: apt-get install redis-server, on macOS: brew install redis"
)

# What a server keeps: nothing; its log, written to the disk each second; its log, written before each reply.
Appending = Literal["no", "everysec", "always"]

START_S = 20.0
# It replays its log first; how long depends on the log alone.
LOADING_S = 120.0
STOP_S = 10.0
LOOK_S = 5.0
# Between two looks at a server that starts.
PAUSE_S = 0.01

# Another process has taken the port since it was looked at.
TAKEN = "Address already in use"
TRIES = 5


class NoRedis(ConfigError):
    """There is no Redis server on this machine."""

    def __init__(self) -> None:
        super().__init__(HOW_TO_GET_IT)


def find_server() -> str:
    """The path of the Redis server, or Valkey's, in PATH; raises `NoRedis`."""
    for program in PROGRAMS:
        if (found := shutil.which(program)) is not None:
            return found
    raise NoRedis


class RedisServer:
    """A Redis server on a free port of 127.0.0.1, whose data, configuration and log are in a folder of its own.

    Nothing of the machine's own configuration counts. It keeps no snapshots, refuses writes when its memory is full,
    and dies with this process. What it was told later and has written with CONFIG REWRITE holds after a restart.

    Args:
        folder: made when it is not there.
        appending: what it keeps on the disk.
        max_memory: bytes; unlimited where none is given.
        password: what clients must know.
        settings: more of its configuration, which comes after ours.
        is_sentinel: it watches over others and keeps no data.

    Attributes:
        port: where it listens; known once it was started, and the same ever after.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appending: Appending = "no",
        max_memory: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str | int] | None = None,
        is_sentinel: bool = False,
    ) -> None:
        self.port = 0
        self._folder = folder.absolute()
        self._password = password
        self._is_sentinel = is_sentinel
        self._settings: dict[str, str | int] = {"bind": HOST, "dir": f'"{self._folder}"'}
        if not is_sentinel:
            self._settings |= {
                "save": '""',
                "appendonly": "no" if appending == "no" else "yes",
                "maxmemory-policy": "noeviction",
                # How long a stop waits for replicas that are behind.
                "shutdown-timeout": 2,
            }
        if appending != "no":
            self._settings["appendfsync"] = appending
        if max_memory is not None:
            self._settings["maxmemory"] = max_memory
        if password is not None:
            self._settings["requirepass"] = password
            if not is_sentinel:
                self._settings["masterauth"] = password
        self._settings |= settings or {}
        self._child: GuardedProcess | None = None

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        secret = "" if self._password is None else f":{self._password}@"
        return f"redis://{secret}{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; raises `ValueError` when it is not running."""
        if self._child is None or self._child.exit_code is not None:
            raise ValueError("this Redis server is not running")
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self._child is not None and self._child.exit_code is None

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def ask(self, *words: str | int, timeout_s: float = LOOK_S) -> Reply:
        """Its answer to a command; raises `OSError` and `CommandFailed`."""
        return ask(self.port, *words, password=self._password, timeout_s=timeout_s)

    def facts(self, section: str) -> dict[str, str]:
        """What it says of itself in a section of INFO; raises `OSError` and `CommandFailed`."""
        return facts(self.port, section, password=self._password)

    # Its life

    def start(self) -> None:
        """Start it, and wait until it takes commands; one that has run before comes back to its port.

        Raises:
            ConfigError: there is no server on this machine, or it does not start; says why.
        """
        assert not self.is_running
        program = find_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        is_new = self.port == 0
        for attempt in range(1, TRIES + 1):
            if is_new:
                self.port = free_port()
                self._configure()
            printed = len(self.log)
            if self._try_to_start(program):
                return
            said = self.log[printed:]
            if not is_new or TAKEN not in said or attempt == TRIES:
                raise ConfigError(f"{program} has not started: {last_line(said)}; see {self._log_file}")

    def stop(self) -> None:
        """Ask it to stop, which writes what is not on the disk yet; kill it when it does not. No-op when it is down."""
        if self._child is None:
            return
        self._child.signal(signal.SIGCONT)
        self._child.signal(signal.SIGTERM)
        self._child.wait(STOP_S)

    def kill(self) -> None:
        """Kill it, with no chance to write anything. No-op when it is down."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stop it, and start it on the same port with what it has kept."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it do nothing, its connections open, until `go_on`."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    # Inside

    @property
    def _log_file(self) -> Path:
        return self._folder / "redis.log"

    @property
    def _config_file(self) -> Path:
        return self._folder / "redis.conf"

    def _configure(self) -> None:
        settings: dict[str, str | int] = {"port": self.port, **self._settings}
        if settings.get("cluster-enabled") == "yes":
            # Its own default, the port and 10,000, may be taken, or be no port at all.
            settings["cluster-port"] = free_port()
        self._config_file.touch(mode=0o600)
        self._config_file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

    def _try_to_start(self, program: str) -> bool:
        """Start it once; False when it ends at once, or never takes commands."""
        command = [program, str(self._config_file), *(["--sentinel"] if self._is_sentinel else [])]
        self._child = GuardedProcess(command, self._log_file, cwd=self._folder)
        deadline = time.monotonic() + START_S
        longest = time.monotonic() + LOADING_S
        while self._child.exit_code is None:
            state = self._state()
            if state == "ready":
                return True
            if time.monotonic() > (longest if state == "loading" else deadline):
                self._child.kill()
                return False
            # Between two looks at another process there is no event to wait for.
            time.sleep(PAUSE_S)
        return False

    def _state(self) -> Literal["absent", "loading", "ready"]:
        """What a look at the port tells; another server there, which has taken the port first, is not ours."""
        try:
            if int(self.facts("server")["process_id"]) != self.pid:
                return "absent"
            self.ask("PING")
        except CommandFailed as error:
            return "loading" if error.code == "LOADING" else "absent"
        except (OSError, ValueError, KeyError):
            return "absent"
        return "ready"


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it has said nothing"
