"""A trial: a Redis and several nodes on this machine, to be looked at, killed and brought back."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from hubbub.cluster.node import TrialNode
from hubbub.cluster.port import HOST, is_free
from hubbub.cluster.redis import RedisServer
from hubbub.errors import ConfigError

__all__ = ["MOST_NODES", "REDIS", "SERVE", "Trial"]

REDIS = "redis"
MOST_NODES = 16

# What the port and the data folder of a node are added to.
SERVE = (sys.executable, "-m", "hubbub", "serve", "--demo", "--no-tls", "--host", HOST)

# For what is being done to be done; for the nodes to end; and Redis ends within two.
TURN_S = 1.0
NODES_STOP_S = 5.0
HIGHEST_PORT = 65_535


class Trial:
    """The processes of a trial. Its methods may be called from any thread.

    Args:
        folder: where they keep what they keep.
        port: the first node's; each next one has the next that is free.
        command: what serves a node; the engine's URL is in its environment, where no other user sees its password.
        out: where lines of nodes go, each after the node's name.
    """

    def __init__(self, folder: Path, port: int, command: Sequence[str] = SERVE, out: IO[str] = sys.stdout) -> None:
        self._folder = folder
        self._next_port = port
        self._command = command
        self._out = out
        self._nodes: dict[str, TrialNode] = {}
        self._redis = RedisServer(folder / REDIS, appending="everysec", password=secrets.token_urlsafe(16))
        self._is_ending = False
        # One for what is done, and one for what is said meanwhile.
        self._turn = threading.Lock()
        self._line = threading.Lock()

    def start(self, nodes: int) -> None:
        """Start Redis, and so many nodes.

        Raises:
            ConfigError: there is no Redis server, or too many nodes; says so.
        """
        with self._turn:
            self._redis.start()
        self.say(REDIS, f"listens on {self._redis.url}")
        for _ in range(nodes):
            self.add(None)

    def add(self, name: str | None) -> str:
        """Start a new node, or bring back the one or the Redis that is named; what was done.

        Raises:
            ConfigError: it runs already, there is none of that name, or there are enough.
        """
        with self._turn:
            self._check_end()
            if name == REDIS:
                if self._redis.is_running:
                    raise ConfigError("redis runs already")
                self._redis.start()
                return f"redis is back on {self._redis.url}"
            node = self._new_node() if name is None else self._find(name)
            if node.is_running:
                raise ConfigError(f"{node.name} runs already")
            node.start()
            return f"started {node.name}, on {node.url}"

    def kill(self, name: str) -> str:
        """Kill a node or the Redis, with no chance to say goodbye; what was done.

        Raises:
            ConfigError: there is none of that name, or it is not running.
        """
        with self._turn:
            self._check_end()
            one = self._redis if name == REDIS else self._find(name)
            if not one.is_running:
                raise ConfigError(f"{name} is not running; `hubbub cluster add {name}` brings it back")
            if isinstance(one, RedisServer):
                one.kill()
                self.say(REDIS, "killed")
            else:
                one.kill()
            return f"killed {name}"

    def status(self) -> str:
        """A line for each process: its name, how it is, its id, where it listens."""
        with self._turn:
            nodes = list(self._nodes.values())
            is_up = self._redis.is_running
            rows = [(REDIS, "up" if is_up else "down", self._redis.pid if is_up else None, self._redis.url)]
        # Not in turn: one that hangs takes a second.
        rows += [(node.name, node.state, node.pid, node.url) for node in nodes]
        return "\n".join(f"{name:8} {state:22} {pid or '-':>8}  {url}" for name, state, pid, url in rows)

    def stop(self) -> None:
        """Stop the nodes, then Redis; kills what does not stop within eight seconds in all."""
        self._is_ending = True
        if not self._turn.acquire(timeout=TURN_S):
            self.kill_all()  # which ends what is being done
            self._turn.acquire()
        try:
            for node in self._nodes.values():
                node.ask_to_stop()
            deadline = time.monotonic() + NODES_STOP_S
            for node in self._nodes.values():
                node.end(max(0.0, deadline - time.monotonic()))
            self._redis.stop()
        finally:
            self._turn.release()

    def kill_all(self) -> None:
        """Kill everything at once, whatever else is being done."""
        self._is_ending = True
        for node in list(self._nodes.values()):
            node.kill()
        self._redis.kill()

    def say(self, name: str, line: str) -> None:
        """Print a line of one of them."""
        # Nobody may read it any more; the nodes go on all the same.
        with self._line, suppress(OSError):
            print(f"{name:8} | {line}", file=self._out, flush=True)

    # In turn

    def _check_end(self) -> None:
        if self._is_ending:
            raise ConfigError("the trial is ending")

    def _find(self, name: str) -> TrialNode:
        if name not in self._nodes:
            raise ConfigError(f"there is no {name!r}; there are {', '.join([REDIS, *self._nodes])}")
        return self._nodes[name]

    def _new_node(self) -> TrialNode:
        if len(self._nodes) >= MOST_NODES:
            raise ConfigError(f"{MOST_NODES} nodes are the most that a trial has")
        port = self._take_port()
        name = f"node{len(self._nodes) + 1}"
        data = self._folder / name
        command = [*self._command, "--port", str(port), "--data-dir", str(data)]
        env = os.environ | {"HUBBUB_ENGINE": self._redis.url}
        node = self._nodes[name] = TrialNode(name, port, command, env, self.say)
        return node

    def _take_port(self) -> int:
        for port in range(self._next_port, HIGHEST_PORT + 1):
            if is_free(port):
                self._next_port = port + 1
                return port
        raise ConfigError(f"no port from {self._next_port} on is free")
