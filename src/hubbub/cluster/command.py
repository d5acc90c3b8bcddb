"""One command to a Redis server and its reply: what starting a server and asking how it is need, and no more."""

from __future__ import annotations

import socket
from typing import IO

from hubbub.cluster.port import HOST

__all__ = ["CommandFailed", "Reply", "ask", "facts"]

# RESP2; https://redis.io/docs/latest/develop/reference/protocol-spec/
Reply = bytes | int | None | list["Reply"]

TIMEOUT_S = 5.0


class CommandFailed(Exception):
    """The server has answered with an error; `code` is its first word, such as LOADING."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


def ask(port: int, *words: str | int, password: str | None = None, timeout_s: float = TIMEOUT_S) -> Reply:
    """What the server on a port of 127.0.0.1 answers to a command, on a connection of its own.

    Raises:
        OSError: there is no server, or no whole reply within the timeout.
        CommandFailed: the server has answered with an error.
    """
    with socket.create_connection((HOST, port), timeout_s) as link, link.makefile("rb") as replies:
        if password is not None:
            link.sendall(packed("AUTH", password))
            read(replies)
        link.sendall(packed(*words))
        return read(replies)


def facts(port: int, section: str, *, password: str | None = None, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """What the server says of itself in a section of INFO; raises what `ask` does."""
    reply = ask(port, "INFO", section, password=password, timeout_s=timeout_s)
    assert isinstance(reply, bytes)
    pairs = (line.partition(":") for line in reply.decode().splitlines() if not line.startswith("#"))
    return {name: value for name, _colon, value in pairs if name}


def packed(*words: str | int) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


def read(replies: IO[bytes]) -> Reply:
    kind, rest = line(replies)
    match kind:
        case b"+":
            return rest
        case b"-":
            raise CommandFailed(rest.decode(errors="replace"))
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else exactly(replies, int(rest) + 2)[:-2]
        case b"*":
            return None if rest == b"-1" else [read(replies) for _ in range(int(rest))]
    raise ConnectionError(f"this is no reply of a Redis server: {(kind + rest)[:80]!r}")


def line(replies: IO[bytes]) -> tuple[bytes, bytes]:
    text = replies.readline()
    if not text.endswith(b"\r\n"):
        raise ConnectionError("the server has closed the connection within its reply")
    return text[:1], text[1:-2]


def exactly(replies: IO[bytes], size: int) -> bytes:
    text = replies.read(size)
    if len(text) < size:
        raise ConnectionError("the server has closed the connection within its reply")
    return text
