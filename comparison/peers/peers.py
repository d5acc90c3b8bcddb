"""The peers: building each, and how it is started.

By hand, from the root of the project: `python -m comparison.peers.peers go --port 8081`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILD", "PEERS", "SECRET", "Peer"]

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / ".comparison"
NODE = "node", "npm"
NODE_PACKAGES = "express", "ws"
FASTAPI_PACKAGES = "fastapi", "uvicorn", "websockets", "uvloop", "httptools"
SOCKETIO_PACKAGES = "socket.io", "engine.io", "ws", "jsonwebtoken"
PYTHON_SOCKETIO_PACKAGES = "python-socketio", "python-engineio", "PyJWT", "uvicorn", "websockets", "uvloop", "httptools"
CENTRIFUGO = "github.com/centrifugal/centrifugo/v6", "v6.9.1"
# What tokens are signed with: Centrifugo's files here have it too.
SECRET = "for-the-comparison-alone-on-one-machine"  # noqa: S105  of servers on loopback, for seconds
NODE_PRODUCTION = "env", "NODE_ENV=production"  # env becomes node, under the same pid


@dataclass(frozen=True)
class Peer:
    """One server.

    Attributes:
        name: also the name of its folder, here and in the build folder.
        says: what it is, for a report.
        tools: the programs that building and running it take.
        has_tls: whether it speaks TLS.
        program: the words that start it, without port and certificate, given its build folder.
        make: builds it, from its sources to its build folder.
        read_versions: what it is made of, given its sources and its build folder.
        port_option: what comes before the port.
        settings: more words, where it is given no others.
    """

    name: str
    says: str
    tools: tuple[str, ...]
    has_tls: bool
    program: Callable[[Path], list[str]]
    make: Callable[[Path, Path], None]
    read_versions: Callable[[Path, Path], dict[str, str]]
    port_option: str = "--port"
    settings: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        return HERE / self.name

    def folder(self, out: Path) -> Path:
        return out.absolute() / self.name

    def missing(self) -> str:
        """What to install before this can be built, or an empty string."""
        absent = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"{self.name} needs {' and '.join(absent)}" if absent else ""

    def build(self, out: Path = BUILD) -> None:
        """Build it into a folder of its own in `out`; raises `CalledProcessError` when its tools do not manage."""
        folder = self.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        self.make(self.source, folder)

    def command(
        self, port: int, tls: tuple[str, str] | None = None, settings: Sequence[str] | None = None, out: Path = BUILD
    ) -> list[str]:
        """What starts it, once built: on 127.0.0.1.

        Args:
            tls: a certificate and its key, PEM files.
            settings: more words, in the place of its own.
        """
        if tls and not self.has_tls:
            raise ValueError(f"{self.name} does not speak TLS")
        more = self.settings if settings is None else settings
        return [*self.program(self.folder(out)), self.port_option, str(port), *(("--tls", *tls) if tls else ()), *more]

    def versions(self, out: Path = BUILD) -> dict[str, str]:
        """The version of each part, once built."""
        return self.read_versions(self.source, self.folder(out))


def run(*words: str | Path, folder: Path, **variables: str) -> str:
    """Run a tool to its end, and return what it printed; its errors go to the terminal."""
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables
    ended = subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  the words are ours
    return ended.stdout.strip()


def npm_install(source: Path, folder: Path) -> None:
    for file in ("package.json", "server.mjs"):
        shutil.copy(source / file, folder)
    run("npm", "install", "--omit=dev", "--no-package-lock", "--no-audit", "--no-fund", folder=folder)


def npm_versions(folder: Path, packages: Sequence[str]) -> dict[str, str]:
    files = {name: folder / "node_modules" / name / "package.json" for name in packages}
    installed = {name: str(json.loads(file.read_text())["version"]) for name, file in files.items()}
    return {"node": run("node", "--version", folder=folder).removeprefix("v"), **installed}


def pip_install(source: Path, folder: Path) -> None:
    """Install what `source` asks for in an environment of its own."""
    if not (folder / "bin/pip").exists():
        run(sys.executable, "-m", "venv", folder, folder=source)
    run(folder / "bin/pip", "install", "--quiet", "-r", "requirements.txt", folder=source)


def pip_versions(folder: Path, packages: Sequence[str]) -> dict[str, str]:
    script = (
        "import json, platform, sys; from importlib.metadata import version;"
        "print(json.dumps({'python': platform.python_version()} | {each: version(each) for each in sys.argv[1:]}))"
    )
    said = json.loads(run(folder / "bin/python", "-c", script, *packages, folder=folder))
    return {str(name): str(version) for name, version in said.items()}


# Go


def go_program(folder: Path) -> list[str]:
    return [str(folder / "server")]


def make_go(source: Path, folder: Path) -> None:
    run("go", "build", "-trimpath", "-o", folder / "server", ".", folder=source)


def go_versions(_: Path, folder: Path) -> dict[str, str]:
    """Read from the program itself."""
    said = run("go", "version", "-m", "server", folder=folder)
    compiler = re.search(r"\bgo(\d\S*)", said)
    assert compiler, "go names the compiler of what it has compiled"
    modules = re.findall(r"dep\s+github\.com/(\S+)\s+v(\S+)", said)
    return {"go": compiler[1], **dict(modules)}


# Node


def node_program(folder: Path) -> list[str]:
    return [*NODE_PRODUCTION, "node", str(folder / "server.mjs")]


def node_versions(_: Path, folder: Path) -> dict[str, str]:
    return npm_versions(folder, NODE_PACKAGES)


# FastAPI


def fastapi_program(folder: Path) -> list[str]:
    return [str(folder / "bin/python"), str(HERE / "fastapi/server.py")]


def fastapi_versions(_: Path, folder: Path) -> dict[str, str]:
    return pip_versions(folder, FASTAPI_PACKAGES)


# The floor


def floor_program(folder: Path) -> list[str]:
    return [str(folder / "server")]


def make_floor(source: Path, folder: Path) -> None:
    run("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", folder / "server", "floor.c", folder=source)


def floor_versions(source: Path, _: Path) -> dict[str, str]:
    return {"cc": run("cc", "--version", folder=source).splitlines()[0].removeprefix("cc ")}


# Centrifugo


def centrifugo_program(folder: Path) -> list[str]:
    return [str(folder / "centrifugo"), "--http_server.address", "127.0.0.1", "--log.level", "error"]


def make_centrifugo(_: Path, folder: Path) -> None:
    """Centrifugo itself, as its module has it; the Go tool checks the sums of all modules by the public database."""
    run("go", "install", "-trimpath", "@".join(CENTRIFUGO), folder=folder, GOBIN=str(folder), GOFLAGS="")


def centrifugo_versions(_: Path, folder: Path) -> dict[str, str]:
    said = run("go", "version", "-m", "centrifugo", folder=folder)
    found = re.search(r"\bgo(\d\S*)", said), re.search(r"centrifugal/centrifuge\s+v(\S+)", said)
    go, library = (each[1] if each else "" for each in found)
    return {"Centrifugo": CENTRIFUGO[1].removeprefix("v"), "centrifuge": library, "go": go}


# socket.io


def socketio_program(folder: Path) -> list[str]:
    return [*NODE_PRODUCTION, "node", str(folder / "server.mjs"), "--secret", SECRET]


def socketio_versions(_: Path, folder: Path) -> dict[str, str]:
    return npm_versions(folder, SOCKETIO_PACKAGES)


# python-socketio


def python_socketio_program(folder: Path) -> list[str]:
    return [str(folder / "bin/python"), str(HERE / "python-socketio/server.py"), "--secret", SECRET]


def python_socketio_versions(_: Path, folder: Path) -> dict[str, str]:
    return pip_versions(folder, PYTHON_SOCKETIO_PACKAGES)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("go", "Go with gorilla/websocket", ("go",), True, go_program, make_go, go_versions),
        Peer("node", "Node with express and ws", NODE, True, node_program, npm_install, node_versions),
        Peer("fastapi", "FastAPI on uvicorn", (), True, fastapi_program, pip_install, fastapi_versions),
        Peer("floor", "bare epoll, no checks", ("cc",), False, floor_program, make_floor, floor_versions),
        Peer(
            "centrifugo",
            "Centrifugo",
            ("go",),
            False,
            centrifugo_program,
            make_centrifugo,
            centrifugo_versions,
            port_option="--http_server.port",
            settings=("--config", str(HERE / "centrifugo/history.json")),
        ),
        Peer("socketio", "socket.io", NODE, False, socketio_program, npm_install, socketio_versions),
        Peer(
            "python-socketio",
            "python-socketio on uvicorn",
            (),
            False,
            python_socketio_program,
            pip_install,
            python_socketio_versions,
        ),
    )
}


def main() -> None:
    """Build one peer and become it."""
    parser = argparse.ArgumentParser(prog="python -m comparison.peers.peers", description=main.__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    options = parser.parse_args()
    peer = PEERS[options.name]
    if missing := peer.missing():
        sys.exit(missing)
    if options.tls and not peer.has_tls:
        sys.exit(f"{peer.name} does not speak TLS")
    peer.build()
    command = peer.command(options.port, tuple(options.tls) if options.tls else None)
    versions = ", ".join(f"{part} {version}" for part, version in peer.versions().items())
    print(f"{peer.says} ({versions}) on 127.0.0.1:{options.port}", flush=True)
    os.execvp(command[0], command)  # noqa: S606  the words are ours


if __name__ == "__main__":
    main()
