"""The servers that there are to measure, and how each is built and started."""

from __future__ import annotations

import os
import platform
import sqlite3
import ssl
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from comparison.peers.peers import BUILD, PEERS, SECRET

__all__ = ["CHANNELS", "CHAT", "CLASSIC", "Candidate", "pinned"]

# How it is started in the report: what is different in each run has a name there.
ANY_PORT = 0
SHOWN = "DATA"

# Centrifugo's own settings: for Centrifugo, and for Hubbub where it speaks Centrifugo's protocol.
SETTINGS = Path(__file__).parent / "peers" / "centrifugo"

# What a load speaks to a server, by the load generator's name for it.
CLASSIC = "classic"
V1 = "v1"
CENTRIFUGO = "centrifugo"
SOCKETIO = "socketio"

# Hubbub has no limits on one account or address here, which make all of the load; and it takes messages of 4 KiB.
UNLIMITED = "--client-rate", "0", "--max-otps-per-account", "0", "--max-otps", "0"
LONG_MESSAGES = "--max-message", "5000"


@dataclass(frozen=True)
class Candidate:
    """One server, as it is to be measured.

    Attributes:
        peer: its name among the peers; empty for Hubbub.
        engine: what Hubbub keeps messages in.
        mounted: how it is served by another server, in a way of `comparison.mounted`; empty for a server of its own.
        protocol: what a load speaks to it.
        config: the name of a file of Centrifugo's settings; empty for none.
    """

    name: str
    title: str
    peer: str = ""
    engine: str = ""
    mounted: str = ""
    tls: bool = False
    protocol: str = CLASSIC
    config: str = ""

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
        settings = ["--config", str(SETTINGS / self.config)] if self.config else None
        return PEERS[self.peer].command(port, pair if self.tls else None, settings)

    def environment(self) -> dict[str, str]:
        """What is to be in its environment."""
        return {"HUBBUB_JWT_KEY": SECRET} if self.protocol == V1 else {}

    def shown(self, core: int) -> str:
        """What starts it, for a report: without the paths of this machine."""
        words = pinned(core, self.command(ANY_PORT, Path(SHOWN), Path(SHOWN)))
        said = " ".join(words)
        for option in ("--port", "--http_server.port"):
            said = said.replace(f"{option} {ANY_PORT}", f"{option} PORT")
        return said.replace(sys.executable, "python").replace(f"{BUILD.parent}{os.sep}", "")

    def _hubbub(self, port: int, data: Path, run: Path) -> list[str]:
        """Hubbub as it comes, but for the limits that a load of one account or address would meet."""
        engine = "memory://" if self.engine == "memory" else f"sqlite:///{run}/hubbub.db"
        words = [sys.executable, "-m", "hubbub", "serve", "--port", str(port), "--data-dir", str(data)]
        kind = {CLASSIC: ["--demo"], V1: LONG_MESSAGES, CENTRIFUGO: ["--centrifugo", str(SETTINGS / self.config)]}
        return [*words, "--engine", engine, *UNLIMITED, *kind[self.protocol], *([] if self.tls else ["--no-tls"])]


# Servers of rooms whose clients hear whether a message was taken: the loads of `comparison.channels`.
CHANNELS = (
    Candidate(
        "hubbub-sqlite",
        "Hubbub, SQLite, Centrifugo's protocol",
        engine="sqlite",
        protocol=CENTRIFUGO,
        config="history.json",
    ),
    Candidate(
        "hubbub-memory",
        "Hubbub, memory, Centrifugo's protocol",
        engine="memory",
        protocol=CENTRIFUGO,
        config="history.json",
    ),
    Candidate("hubbub-sqlite-v1", "Hubbub, SQLite, v1", engine="sqlite", protocol=V1),
    Candidate("hubbub-memory-v1", "Hubbub, memory, v1", engine="memory", protocol=V1),
    Candidate("centrifugo", "Centrifugo", peer="centrifugo", protocol=CENTRIFUGO, config="plain.json"),
    Candidate(
        "centrifugo-history",
        "Centrifugo, history in memory",
        peer="centrifugo",
        protocol=CENTRIFUGO,
        config="history.json",
    ),
    Candidate("python-socketio", "python-socketio", peer="python-socketio", protocol=SOCKETIO),
    Candidate("socketio", "socket.io", peer="socketio", protocol=SOCKETIO),
)

# Servers of the classic dialect: the loads of `comparison.chat`.
CHAT = (
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
