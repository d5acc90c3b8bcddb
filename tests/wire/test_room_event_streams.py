"""A room's events over a real connection: by curl's means, through floods of them, and to the end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import ServerProcess, running
from wire.raw_clients import Tickets, pages, wait_until

DEADLINE_S = 20.0


class Stream:
    """A client that reads a stream as it comes."""

    def __init__(self, server: ServerProcess, path: str, *lines: str, version: str = "1.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE_S)
        head = "\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *lines, "", ""])
        self.socket.sendall(head.encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self.file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        self.is_over = False

    def _piece(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.file.readline()
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        self.is_over = size == 0
        return data

    def events(self) -> Iterator[tuple[str, Any, str]]:
        """Type, data and id of each."""
        text = b""
        while piece := self._piece():
            text += piece
            while b"\n\n" in text:
                block, _, text = text.partition(b"\n\n")
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
                if "data" in fields:
                    yield fields["event"], json.loads(fields["data"]), fields.get("id", "")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def stream(server: ServerProcess, path: str, *lines: str, **more: str) -> Iterator[Stream]:
    opened = Stream(server, path, *lines, **more)
    try:
        yield opened
    finally:
        opened.close()


def bearer(server: ServerProcess) -> str:
    return f"Authorization: Bearer {server.login()['token']}"


def test_a_stream_is_heard_as_it_is_said_in_either_version(server: ServerProcess, room: str, tickets: Tickets) -> None:
    path = f"/rooms/{room}/events"
    with (
        stream(server, path, bearer(server)) as new,
        stream(server, path, bearer(server), version="1.0") as old,
    ):
        assert (new.status, old.status) == (200, 200)
        assert new.headers["content-type"] == old.headers["content-type"] == "text/event-stream"
        assert "transfer-encoding" not in old.headers
        heard, heard_too = new.events(), old.events()
        assert next(heard)[0] == next(heard_too)[0] == "joined"
        with pages(server, tickets, "alice", room=room) as [alice]:
            alice.say("hello")
            for events in (heard, heard_too):
                said = next(data for type_, data, id_ in events if type_ == "new_message" and id_.endswith(":2"))
                assert (said["from"], said["message"]) == ("alice", "hello")


def test_a_stop_ends_streams_in_time_and_whole(tmp_path: Path) -> None:
    with running(tmp_path) as server, stream(server, "/rooms/general/events", bearer(server)) as one:
        heard = one.events()
        assert next(heard)[0] == "joined"
        assert server.stop() == 0
        assert [type_ for type_, _, _ in heard] == ["reconnect", "closed"]
        assert one.is_over


def test_many_streams_are_let_go_of_as_they_go(tmp_path: Path) -> None:
    with running(tmp_path, "--limits", "count") as server:
        token = bearer(server)
        open_ones = [Stream(server, "/rooms/general/events", token) for _ in range(200)]
        assert {each.status for each in open_ones} == {200}
        assert server.get("/debug")[1] == b"200"
        for each in open_ones:
            each.close()
        with stream(server, "/rooms/general/events", token) as last:
            for type_, data, _ in last.events():  # it hears the others' user leave only when it leaves itself
                assert type_ == "joined"
                assert data["members"] == ["percy"]
                break
        wait_until(lambda: server.get("/debug")[1] == b"0")
