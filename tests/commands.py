"""Commands of `hubbub` that end, in processes of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from servers import HUBBUB

__all__ = ["done", "hubbub", "refused"]

RUN_S = 60.0


def hubbub(*command: str, cwd: Path, password: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with nothing said by the environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return subprocess.run(
        [*HUBBUB, *command],
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=RUN_S,
        env=clean,
        cwd=cwd,
        check=False,
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    """What a command has printed that has succeeded."""
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that could not do what was asked."""
    assert result.returncode == 2, result.stdout
    [line] = result.stderr.splitlines()
    return line
