"""Follows a page of the docs: writes the files that it shows, and runs the commands that it gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from servers import START_S, free_port, is_answered, stop

__all__ = ["Block", "Guide", "blocks", "following"]

ROOT = Path(__file__).parents[2]
RUN_S = 120.0

# A heading, or code.
PIECE = re.compile(r"^##+ (?P<heading>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?P<how>[Ww]rite|Add to) `(?P<name>[\w./-]+)`:$")

# Stands for pip: all that is asked for is in the environment of the tests.
PIP = f"""#!{sys.executable}
import sys
from importlib.metadata import version

assert sys.argv[1] == "install"
for name in sys.argv[2:]:
    version(name.removeprefix("./"))
"""


class Block(NamedTuple):
    """A piece of code of a page.

    Attributes:
        heading: what it is below.
        file: the file that it is; empty for none.
        is_more: it is added to the file.
    """

    heading: str
    language: str
    text: str
    file: str
    is_more: bool


def blocks(page: Path) -> Iterator[Block]:
    """All code of a page."""
    heading, text = "", page.read_text()
    for piece in PIECE.finditer(text):
        if piece["heading"]:
            heading = piece["heading"]
            continue
        file = FILE.search(text[: piece.start()].rstrip())
        is_more = file is not None and file["how"] == "Add to"
        yield Block(heading, piece["language"], piece["text"], file["name"] if file else "", is_more)


class Guide:
    """A folder in which a page is followed.

    Attributes:
        folder: where its files are.
        port: where what it serves listens.
        env: what commands have exported so far, and all else of the environment.
        url: where what it serves is, in place of the page's http://127.0.0.1:8000.
    """

    def __init__(self, page: Path, folder: Path, changes: Mapping[str, str]) -> None:
        self._blocks = list(blocks(page))
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._changes = {"127.0.0.1:8000": f"127.0.0.1:{self.port}", **changes}
        self._server: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        tools = folder / "bin"
        tools.mkdir(parents=True)
        (tools / "pip").write_text(PIP)
        (tools / "pip").chmod(0o755)
        (folder / "hubbub").symlink_to(ROOT)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = clean | {"PATH": path, "XDG_DATA_HOME": str(folder / "home"), "UVICORN_PORT": str(self.port)}

    def follow(self, heading: str) -> list[str]:
        """Do what stands below a heading; what commands have printed, a text for each block of them."""
        below = [block for block in self._blocks if block.heading == heading]
        assert below, f"nothing is to be done below {heading!r}"
        return [self._run(block) for block in below if not self._wrote(block) and block.language == "sh"]

    def shown(self, heading: str, language: str) -> str:
        """The one piece of code in a language below a heading."""
        [text] = [block.text for block in self._blocks if (block.heading, block.language) == (heading, language)]
        return text

    def log(self) -> str:
        """What was printed by what it serves."""
        return self._log.read_text()

    def stop(self) -> None:
        """Stop what is served."""
        if self._server is not None:
            stop(self._server)
            self._server = None

    def _wrote(self, block: Block) -> bool:
        if not block.file:
            return False
        file = self.folder / block.file
        file.parent.mkdir(exist_ok=True)
        with file.open("a" if block.is_more else "w") as out:
            out.write(self._here(block.text))
        return True

    def _run(self, block: Block) -> str:
        """Run commands, the last of which may be a server; they leave what they export."""
        *commands, last = self._here(block.text).splitlines()
        is_server = last.startswith("uvicorn ")
        kept = self.folder / "env"
        script = "\n".join([*commands, *([] if is_server else [last]), f'env -0 > "{kept}"'])
        ended = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
        self.env = dict(entry.split("=", 1) for entry in kept.read_text().split("\0") if entry)
        if is_server:
            self._serve(last)
        return ended.stdout

    def _serve(self, command: str) -> None:
        """Serve in place of what was served before, as after a Ctrl-C."""
        self.stop()
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(command.split(), stdout=log, stderr=log, cwd=self.folder, env=self.env)
        deadline = time.monotonic() + START_S
        while not is_answered(f"{self.url}/chat/healthz"):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{command} does not serve:\n{self.log()}")
            # Between two looks at another process there is no event to wait for.
            time.sleep(0.02)

    def _here(self, text: str) -> str:
        for old, new in self._changes.items():
            text = text.replace(old, new)
        return text


@contextmanager
def following(page: Path, folder: Path, *changes: tuple[str, str]) -> Iterator[Guide]:
    """A page to be followed in a folder; what it serves is stopped at the end.

    Args:
        changes: what in its text stands for something else here.
    """
    guide = Guide(page, folder, dict(changes))
    try:
        yield guide
    finally:
        guide.stop()
