"""Node and the programs of npm that the tests of the JavaScript client use; none is in the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["NPM", "library", "node_command", "npm", "tool"]

# Where `make node` and `tool` put what npm installs.
NPM = Path(os.environ.get("HUBBUB_NPM") or Path.home() / ".cache" / "hubbub-tests" / "npm")
BIN = NPM / "node_modules" / ".bin"

TOOLS = {"tsc": "typescript@5.9", "esbuild": "esbuild@0.25"}
LIBRARIES = {"asyncapi": "@asyncapi/parser@3.6", "centrifuge": "centrifuge@5.8"}

OLDEST_NODE = 20
# Since when Node has a WebSocket without being asked for it.
NODE_WITH_WEBSOCKET = 22


def node_command() -> list[str]:
    """What runs a module in Node."""
    for node in (str(BIN / "node"), "node"):
        found = shutil.which(node)
        major = major_of(found) if found else 0
        if found and major >= OLDEST_NODE:
            return [found, *([] if major >= NODE_WITH_WEBSOCKET else ["--experimental-websocket", "--no-warnings"])]
    raise AssertionError(f"no Node {OLDEST_NODE} or later; `make node` fetches one")


def major_of(node: str) -> int:
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.strip().lstrip("v").split(".")[0])


def npm(*what: str | Path, cwd: Path) -> None:
    """Run npm, with the tools in its path."""
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    told = subprocess.run(["npm", "--silent", *what], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def tool(name: str) -> Path:
    """A program of npm's, installed when it is used first."""
    if not (BIN / name).exists():
        NPM.mkdir(parents=True, exist_ok=True)
        npm("install", "--no-save", "--prefix", NPM, *TOOLS.values(), cwd=NPM)
    return BIN / name


def library(name: str) -> Path:
    """The folder that modules of npm's are in with a library, which is installed when it is used first."""
    folder = NPM / "libraries" / name
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm("install", "--no-save", "--prefix", folder, LIBRARIES[name], cwd=folder)
    return folder
