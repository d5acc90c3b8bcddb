"""The applications in examples/ that have a hub mounted, under servers of others, and somebody who uses them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from servers import START_S, free_port, is_answered, stop

__all__ = ["EXAMPLES", "PLAIN", "SECRET", "SERVERS", "Application", "Visitor", "serving"]

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "a secret of the tests, long enough to sign with"
REQUEST_S = 20.0

# How each is told of an application and a port.
SERVERS: Mapping[str, Sequence[str]] = {
    "uvicorn": ("uvicorn", "--host", "127.0.0.1", "--port"),
    "hypercorn": ("hypercorn", "--bind"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port"),
    "uvicorn, fast path": ("uvicorn", "--ws", "hubbub.uvicorn:FastPath", "--host", "127.0.0.1", "--port"),
}
PLAIN = [server for server in SERVERS if "fast path" not in server]


class Application:
    """An application that answers.

    Attributes:
        url: where its pages are.
        chat: where its hub is.
        engine: the URL of the hub's engine.
    """

    def __init__(self, url: str, engine: str, log: Path) -> None:
        self.url = url
        self.chat = f"{url}/chat"
        self.engine = engine
        self._log = log

    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()


@contextmanager
def serving(server: str, target: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Application]:
    """An application of examples/ under one of `SERVERS`, on a free port, its data in a folder."""
    port, engine, log = free_port(), f"sqlite:///{folder}/hub.db", folder / "server.log"
    where = f"127.0.0.1:{port}" if server == "hypercorn" else str(port)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    own = {"SECRET": SECRET, "HUBBUB_ENGINE": engine, "HUBBUB_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", *SERVERS[server], where, target]
    with log.open("wb") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=lines, cwd=EXAMPLES, env=clean | own | dict(env or {}))
    app = Application(f"http://127.0.0.1:{port}", engine, log)
    try:
        wait_until_ready(app, process)
        yield app
    finally:
        stop(process)


def wait_until_ready(app: Application, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not is_answered(f"{app.chat}/healthz"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"no server (exit code {process.returncode}):\n{app.log()}")
        # Between two looks at another process there is no event to wait for.
        time.sleep(0.02)


class Visitor:
    """Somebody with a browser: it keeps cookies, and sends back what forms have hidden."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._hidden: dict[str, str] = {}

    def page(self) -> str:
        """The front page."""
        status, body = self._ask("/")
        assert status == 200, body
        self._hidden = dict(re.findall(r'<input name="(\w+)" type="hidden" value="(\w+)">', body))
        return body

    def post(self, path: str, **fields: str) -> tuple[int, Any]:
        """Send a form; the status, and what is answered, redirects followed: of JSON, or text."""
        status, body = self._ask(path, self._hidden | fields)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body

    def sign_in(self, user: str, password: str) -> None:
        """Sign in by the form of the front page."""
        self.page()
        status, body = self.post("/sign-in", user=user, password=password)
        assert status == 200, body
        assert f"Signed in as {user}" in self.page()

    def _ask(self, path: str, fields: Mapping[str, str] | None = None) -> tuple[int, str]:
        # Browsers say of a form where its page is from.
        request = urllib.request.Request(self._app.url + path, headers={"Origin": self._app.url})
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        try:
            with self._opener.open(request, data, timeout=REQUEST_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
