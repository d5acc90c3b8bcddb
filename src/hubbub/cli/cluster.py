"""`hubbub cluster`: a trial of several nodes and a Redis on this machine."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from hubbub.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from hubbub.cluster.control import Wish

__all__ = ["app", "run_trial"]

HELP = """Try several nodes and a Redis on this machine, for development and tests.

It starts a Redis server, which has to be installed, and nodes that share it: `hubbub serve` with the demo accounts and
without TLS, on 127.0.0.1 alone. More settings come from the environment and hubbub.toml, as for `serve`. Ctrl-C ends
all of it. From another terminal, see how it takes `kill` and `add`.
"""

FIRST_PORT = 8081

Folder = Annotated[Path | None, Parameter(name="--dir")]

# The settings of the server, in hubbub.toml and the environment, are for the nodes.
app = cyclopts.App(name="cluster", help=HELP, config=())


@app.default
def start(*, nodes: int = 2, port: int = FIRST_PORT, folder: Folder = None) -> None:
    """Start a trial, and run it until Ctrl-C.

    Parameters
    ----------
    nodes
        How many nodes there are at first.
    port
        Where the first one listens; each next one takes the next port that is free.
    folder
        Where all is kept, for the next time too; without one, everything is forgotten at the end.
    """
    from hubbub.cluster.trial import MOST_NODES, SERVE

    if not 1 <= nodes <= MOST_NODES:
        raise ConfigError(f"--nodes {nodes}: it is 1 to {MOST_NODES}")
    if not 1024 <= port <= 65_000:
        raise ConfigError(f"--port {port}: it is 1,024 to 65,000")
    run_trial(nodes, port, folder, SERVE)


@app.command
def status(*, folder: Folder = None) -> None:
    """Tell how the processes of the running trial are.

    Parameters
    ----------
    folder
        The trial's, where it was given one.
    """
    from hubbub.cluster.control import Wish

    ask(folder, Wish("status"))


@app.command
def kill(name: str, /, *, folder: Folder = None) -> None:
    """Kill a node or Redis of the running trial, with no chance to say goodbye.

    Parameters
    ----------
    name
        The node, as in node1, or redis.
    folder
        The trial's, where it was given one.
    """
    from hubbub.cluster.control import Wish

    ask(folder, Wish("kill", name))


@app.command
def add(name: str | None = None, /, *, folder: Folder = None) -> None:
    """Add a node to the running trial, or bring back what was killed.

    Parameters
    ----------
    name
        What is to come back, as in node1 or redis; a new node is added without it.
    folder
        The trial's, where it was given one.
    """
    from hubbub.cluster.control import Wish

    ask(folder, Wish("add", name))


def ask(folder: Path | None, wish: Wish) -> None:
    from hubbub.cluster.control import tell
    from hubbub.cluster.folder import default_folder

    print(tell(default_folder() if folder is None else folder.absolute(), wish))


def run_trial(nodes: int, port: int, folder: Path | None, command: Sequence[str]) -> None:
    """Run a trial until a signal says stop; from then on it has ten seconds, and a second signal ends it at once.

    Raises:
        ConfigError: it cannot be started; says why.
    """
    from hubbub.cluster.control import listening
    from hubbub.cluster.folder import claimed, default_folder
    from hubbub.cluster.trial import Trial

    place = default_folder() if folder is None else folder.absolute()
    stop = threading.Event()
    with claimed(place, is_kept=folder is not None):
        trial = Trial(place, port, command)

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            if stop.is_set():
                # In a thread: this one may be in the middle of ending the same processes.
                threading.Thread(target=trial.kill_all, daemon=True).start()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, on_signal)
        try:
            with listening(place, trial):
                trial.start(nodes)
                trial.say("cluster", "Ctrl-C ends it; `hubbub cluster status`, `kill` and `add` from another terminal")
                stop.wait()
                trial.say("cluster", "stopping")
        finally:
            trial.stop()
