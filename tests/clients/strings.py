"""The strings of a client in a process of its own: the Python one, or the JavaScript one."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from clients.node import node_command

__all__ = ["CLIENT_JS", "ROOT", "ClientError", "Strings"]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CLIENT_JS = ROOT / "clients" / "js" / "src" / "hubbub.js"

# Reached only where something is broken.
DEADLINE_S = 60.0
END_S = 10.0


class ClientError(Exception):
    """What a client answers a command with that cannot be done.

    Attributes:
        code: of the error.
        message: what the client tells a person.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Strings:
    """A client that does what it is told, and tells what it hears.

    Args:
        language: `python` or `javascript`.
        url: of the server.
        module: the JavaScript client's entry, if it is not that of the source tree.

    Attributes:
        events: all that it has told, in order.
    """

    def __init__(self, language: str, url: str, module: Path = CLIENT_JS) -> None:
        command = [sys.executable, str(HERE / "puppet.py"), url]
        if language == "javascript":
            command = [*node_command(), str(HERE / "puppet.mjs"), str(module), url]
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._answers: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_for(lambda event: event["event"] == "ready")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def _next(self, deadline: float) -> None:
        """Take the next line."""
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"nothing came; so far: {self.events[-20:]}") from None
        assert line is not None, "the client has ended"
        if "event" in line:
            self.events.append(line)
        else:
            self._answers[line["id"]] = line

    # Telling it to do something

    def begin(self, do: str, **what: Any) -> int:
        """Tell it to begin something; a number to wait for the answer with."""
        self._last_id += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._last_id, "do": do, **what}).encode() + b"\n")
        self._process.stdin.flush()
        return self._last_id

    def answer(self, number: int) -> Any:
        """What has come of it; `ClientError` for an error."""
        deadline = time.monotonic() + DEADLINE_S
        while number not in self._answers:
            self._next(deadline)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise ClientError(answer["error"], answer.get("message", ""))
        return answer["result"]

    def do(self, do: str, **what: Any) -> Any:
        """Tell it to do something, and wait for what comes of it."""
        return self.answer(self.begin(do, **what))

    def sign_in(self, user: str = "percy", password: str = "123") -> None:
        """Sign in, and wait until it is online."""
        self.do("sign_in", user=user, password=password)
        self.wait_for(lambda event: event["event"] == "online")

    def sign_in_by_token(self, token: str, *, is_lasting: bool = False) -> None:
        """The same, with what gives a token whenever it is asked; with the token itself where that is lasting."""
        self.do("sign_in_by_token", token=token, is_lasting=is_lasting)
        self.wait_for_event("online")

    # What it tells

    def wait_for(self, is_wanted: Callable[[dict[str, Any]], bool], since: int = 0) -> dict[str, Any]:
        """The first event like that, of those from `since` on."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for event in self.events[since:]:
                since += 1
                if is_wanted(event):
                    return event
            self._next(deadline)

    def wait_for_event(self, name: str, since: int = 0, **fields: Any) -> dict[str, Any]:
        """The first event of a name that has these fields."""
        return self.wait_for(
            lambda event: event["event"] == name and all(event.get(key) == value for key, value in fields.items()),
            since,
        )

    def texts(self, room: str, until: str) -> list[str]:
        """The messages of a room as they came, up to the first with a text."""
        self.wait_for_event("message", room=room, text=until)
        return [event["text"] for event in self.events if event["event"] == "message" and event["room"] == room]

    def end(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
