"""The examples as pyright sees them; mypy has its turn in `make lint`."""

from __future__ import annotations

import subprocess
import sys

from asgi.applications import EXAMPLES

RUN_S = 300.0


def test_pyright_finds_nothing_in_the_examples() -> None:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(EXAMPLES)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert found.returncode == 0, found.stdout
