"""The tools that read the examples: each test that needs one is skipped where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["DEPLOY", "found", "run"]

DEPLOY = Path(__file__).parents[2] / "deploy"

RUN_S = 120.0
# Debian keeps what is for administrators apart.
ADMIN = "/usr/sbin:/sbin"

FROM = {
    "nginx": "on Debian: apt-get install nginx-light",
    "caddy": "on Debian: apt-get install caddy",
    "systemd-analyze": "it comes with systemd",
}
EXTRA = "pip install 'hubbub[deploy]'"


def found(tool: str) -> str:
    """The path of a tool; skips the test where there is none."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), ADMIN])
    program = shutil.which(tool, path=path)
    if program is None:
        pytest.skip(f"there is no {tool}; {FROM.get(tool, EXTRA)}")
    return program


def run(tool: str, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """What a tool prints that finds nothing wrong."""
    command = [found(tool), *map(str, arguments)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_S, check=False, env=os.environ | (env or {})
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr
