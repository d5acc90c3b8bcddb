"""What `comparison.run` found, as it is kept: results.json has the channels suite, and chat.json the chat suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

__all__ = ["CHANNELS", "CHAT", "FILES", "LoadRecord", "Results", "Round", "ServerRecord", "read", "write"]

# The suites.
CHANNELS: Literal["channels"] = "channels"
CHAT: Literal["chat"] = "chat"
FILES = {CHANNELS: Path(__file__).with_name("results.json"), CHAT: Path(__file__).with_name("chat.json")}

# Files are named after loads.
Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]+$")]

# What one round found: a number for each figure, its unit in the figure's name. What was not measured is not in it.
Round = dict[str, float]


class ServerRecord(msgspec.Struct, frozen=True):
    """A server that was measured.

    Attributes:
        versions: of the program and of what it is built on.
        start: the command line that started it.
    """

    name: Name
    title: str
    tls: bool = False
    versions: dict[str, str] = {}
    start: str = ""


class LoadRecord(msgspec.Struct, frozen=True):
    """What the servers were put to.

    Attributes:
        command: what put them to it.
    """

    name: Name
    title: str
    command: str = ""


class Results(msgspec.Struct, frozen=True):
    """All rounds of all loads on all servers.

    Attributes:
        began: when, RFC 3339 UTC.
        commit: the Hubbub that was measured.
        rounds_of: by the load's name and the server's.
        notes: what a server did instead of what a load asks, by the load's name and the server's.
        suite: which servers and loads these are.
        busy: how many programs wanted a core as it began, besides; a rough figure, and none where it is 0.
    """

    began: str
    machine: str
    commit: str
    rounds: int
    servers: list[ServerRecord]
    loads: list[LoadRecord]
    rounds_of: dict[str, dict[str, list[Round]]]
    notes: dict[str, dict[str, str]] = {}
    suite: Literal["channels", "chat"] = CHAT
    busy: float = 0


def read(file: Path) -> Results:
    """Read results. `OSError` or `msgspec.DecodeError` when there are none in the file."""
    return msgspec.json.decode(file.read_bytes(), type=Results)


def write(results: Results, file: Path) -> None:
    """Keep results, in lines that a diff can show."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
