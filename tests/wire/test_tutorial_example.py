"""The program of docs/tutorial.md, against a server as the page starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from servers import running

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
RUN_S = 60.0


def test_hello_is_kept(tmp_path: Path) -> None:
    [program] = re.findall(r"write `hello.py`:\n\n```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    home = tmp_path / "home"
    home.mkdir()
    # Where a server of one's own keeps its data, unless it is told otherwise.
    (home / "hubbub").symlink_to(tmp_path / "data")
    with running(tmp_path, tls=True) as server:
        assert "https://localhost:8080" in program
        (tmp_path / "hello.py").write_text(
            program.replace("https://localhost:8080", f"https://localhost:{server.port}")
        )
        ended = subprocess.run(
            [sys.executable, "hello.py"],
            cwd=tmp_path,
            env=os.environ | {"XDG_DATA_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (0, "kept as message 1\n"), ended.stderr
