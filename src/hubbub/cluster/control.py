"""What a second terminal says to a running trial: one line of JSON each way, over a socket in the trial's folder."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from hubbub.cluster.trial import Trial
from hubbub.errors import ConfigError

__all__ = ["Wish", "listening", "tell"]

MOST_BYTES = 64 * 1024
# For somebody who connects and says nothing.
HEAR_S = 2.0
# Redis may have a log to read first.
ANSWER_S = 150.0


class Wish(msgspec.Struct, frozen=True):
    """What a trial is asked for; `name` is a node's or Redis'."""

    do: Literal["status", "add", "kill"]
    name: str | None = None


class Fulfilment(msgspec.Struct, frozen=True):
    """What came of a wish, in words."""

    text: str
    is_done: bool


def socket_of(folder: Path) -> Path:
    return folder / "control.sock"


def tell(folder: Path, wish: Wish) -> str:
    """Tell the trial that runs in a folder what is wished; its answer.

    Raises:
        ConfigError: none runs there, or it cannot do that.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ANSWER_S)
        try:
            link.connect(str(socket_of(folder)))
            link.sendall(msgspec.json.encode(wish) + b"\n")
            outcome = msgspec.json.decode(read_line(link), type=Fulfilment)
        except FileNotFoundError:
            raise ConfigError(f"no trial runs in {folder}; `hubbub cluster` starts one") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"the trial in {folder} does not answer: {error}") from None
    if not outcome.is_done:
        raise ConfigError(outcome.text)
    return outcome.text


@contextmanager
def listening(folder: Path, trial: Trial) -> Iterator[None]:
    """Carry out what a trial is asked for, one wish after the other, in a thread.

    The folder is its owner's alone, and so is the socket: whoever may connect may also kill the processes by hand.

    Raises:
        ConfigError: the folder's path is too long for a socket.
    """
    path = socket_of(folder)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.bind(str(path))
        except OSError as error:
            raise ConfigError(f"{path} cannot be listened on: {error.strerror or error}") from None
        path.chmod(0o600)
        door.listen()
        thread = threading.Thread(target=serve, args=(door, trial), name="control", daemon=True)
        thread.start()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            # Wakes the thread, which a close alone does not.
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)


def serve(door: socket.socket, trial: Trial) -> None:
    while True:
        try:
            link, _address = door.accept()
        except OSError:
            return
        with link, contextlib.suppress(OSError):
            link.settimeout(HEAR_S)
            link.sendall(msgspec.json.encode(carry_out(read_line(link), trial)) + b"\n")


def carry_out(line: bytes, trial: Trial) -> Fulfilment:
    try:
        wish = msgspec.json.decode(line, type=Wish)
        match wish:
            case Wish("status"):
                return Fulfilment(trial.status(), is_done=True)
            case Wish("add", name):
                return Fulfilment(trial.add(name), is_done=True)
            case Wish("kill", str(name)):
                return Fulfilment(trial.kill(name), is_done=True)
    except (ConfigError, msgspec.MsgspecError, OSError) as error:
        return Fulfilment(str(error), is_done=False)
    return Fulfilment("name what is to be killed", is_done=False)


def read_line(link: socket.socket) -> bytes:
    """One line; raises `OSError` for one that does not end or is too long."""
    line = b""
    while not line.endswith(b"\n"):
        part = link.recv(4096)
        if not part or len(line) + len(part) > MOST_BYTES:
            raise ConnectionError("this is no line")
        line += part
    return line
