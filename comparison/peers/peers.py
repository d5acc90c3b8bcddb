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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILD", "PEERS", "Peer"]

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / ".comparison"
NODE = "node", "npm"
NODE_PACKAGES = "express", "ws"
PYTHON_PACKAGES = "fastapi", "uvicorn", "websockets", "uvloop", "httptools"
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
    """

    name: str
    says: str
    tools: tuple[str, ...]
    has_tls: bool
    program: Callable[[Path], list[str]]
    make: Callable[[Path, Path], None]
    read_versions: Callable[[Path, Path], dict[str, str]]

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

    def command(self, port: int, tls: tuple[str, str] | None = None, out: Path = BUILD) -> list[str]:
        """What starts it, once built: on 127.0.0.1, with TLS when given a certificate and its key (PEM files)."""
        if tls and not self.has_tls:
            raise ValueError(f"{self.name} does not speak TLS")
        return [*self.program(self.folder(out)), "--port", str(port), *(("--tls", *tls) if tls else ())]

    def versions(self, out: Path = BUILD) -> dict[str, str]:
        """The version of each part, once built."""
        return self.read_versions(self.source, self.folder(out))


def run(*words: str | Path, folder: Path) -> str:
    """Run a tool to its end, and return what it printed; its errors go to the terminal."""
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ended = subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  the words are ours
    return ended.stdout.strip()


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


def make_node(source: Path, folder: Path) -> None:
    for file in ("package.json", "server.mjs"):
        shutil.copy(source / file, folder)
    run("npm", "install", "--omit=dev", "--no-package-lock", "--no-audit", "--no-fund", folder=folder)


def node_versions(_: Path, folder: Path) -> dict[str, str]:
    packages = {name: folder / "node_modules" / name / "package.json" for name in NODE_PACKAGES}
    installed = {name: str(json.loads(file.read_text())["version"]) for name, file in packages.items()}
    return {"node": run("node", "--version", folder=folder).removeprefix("v"), **installed}


# FastAPI


def fastapi_program(folder: Path) -> list[str]:
    return [str(folder / "bin/python"), str(HERE / "fastapi/server.py")]


def make_fastapi(source: Path, folder: Path) -> None:
    if not (folder / "bin/pip").exists():
        run(sys.executable, "-m", "venv", folder, folder=source)
    run(folder / "bin/pip", "install", "--quiet", "-r", "requirements.txt", folder=source)


def fastapi_versions(_: Path, folder: Path) -> dict[str, str]:
    script = (
        "import json, platform, sys; from importlib.metadata import version;"
        "print(json.dumps({'python': platform.python_version()} | {each: version(each) for each in sys.argv[1:]}))"
    )
    said = json.loads(run(folder / "bin/python", "-c", script, *PYTHON_PACKAGES, folder=folder))
    return {str(name): str(version) for name, version in said.items()}


# The floor


def floor_program(folder: Path) -> list[str]:
    return [str(folder / "server")]


def make_floor(source: Path, folder: Path) -> None:
    run("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", folder / "server", "floor.c", folder=source)


def floor_versions(source: Path, _: Path) -> dict[str, str]:
    return {"cc": run("cc", "--version", folder=source).splitlines()[0].removeprefix("cc ")}


PEERS = {
    peer.name: peer
    for peer in (
        Peer("go", "Go with gorilla/websocket", ("go",), True, go_program, make_go, go_versions),
        Peer("node", "Node with express and ws", NODE, True, node_program, make_node, node_versions),
        Peer("fastapi", "FastAPI on uvicorn", (), True, fastapi_program, make_fastapi, fastapi_versions),
        Peer("floor", "bare epoll, no checks", ("cc",), False, floor_program, make_floor, floor_versions),
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
