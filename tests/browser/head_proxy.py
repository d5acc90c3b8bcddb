"""A proxy that changes the heads of requests, as a proxy on the way to a server may by mistake."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hubbub.cluster.port import HOST

__all__ = ["HeadProxy", "head_proxy", "without"]

END = b"\r\n\r\n"
STEP_S = 30.0


class HeadProxy:
    """Forwards each connection to a port of 127.0.0.1, and ends it after one answer, but for WebSockets.

    Attributes:
        url: where it listens.
        change: takes the lines of a request's head, and returns what is sent instead.
    """

    def __init__(self, door: socket.socket, target: int) -> None:
        self.url = f"http://localhost:{door.getsockname()[1]}"
        self.change: Callable[[list[str]], list[str]] = lambda lines: lines
        self._door = door
        self._target = target

    def serve(self) -> None:
        """Forward until the door is shut."""
        with suppress(OSError):
            while True:
                near, _address = self._door.accept()
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        near.settimeout(STEP_S)
        with near, suppress(OSError), socket.create_connection((HOST, self._target)) as far:
            got = b""
            while END not in got:
                part = near.recv(65536)
                if not part:
                    return
                got += part
            head, _, rest = got.partition(END)
            lines = self.change(head.decode("latin-1").split("\r\n"))
            if not any(line.lower().startswith("upgrade:") for line in lines):
                lines = [*without(lines, "connection"), "Connection: close"]
            far.sendall("\r\n".join(lines).encode("latin-1") + END + rest)
            back = threading.Thread(target=carry, args=(far, near), daemon=True)
            back.start()
            near.settimeout(None)
            carry(near, far)
            back.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    """One direction, to its end."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def without(lines: list[str], *names: str) -> list[str]:
    """The lines of a head without the fields of these names."""
    return [line for line in lines if line.partition(":")[0].lower() not in names]


@contextmanager
def head_proxy(target: int) -> Iterator[HeadProxy]:
    """A proxy to a port of 127.0.0.1 that runs."""
    with socket.create_server((HOST, 0)) as door:
        proxy = HeadProxy(door, target)
        threading.Thread(target=proxy.serve, daemon=True).start()
        try:
            yield proxy
        finally:
            door.shutdown(socket.SHUT_RDWR)
