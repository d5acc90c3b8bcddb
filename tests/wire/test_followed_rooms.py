"""A user's rooms, seen from outside: by a client that knows nothing of ours, over restarts and several nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hubbub.cluster.redis import RedisServer
from redis_servers import needs_redis, redis_single
from servers import ServerProcess, running

__all__ = ["redis_single"]

DM = "dm:alice,percy"


class Page:
    """A v1 client: what it was told comes in order, and what it does not wait for stays."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._heard: list[dict[str, Any]] = []
        self.welcome: dict[str, Any] = json.loads(connection.recv(timeout=20))
        assert self.welcome["type"] == "welcome"

    @property
    def rooms(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.welcome["payload"]["rooms"]
        return found

    def ask(self, type_: str, **payload: object) -> dict[str, Any]:
        """The payload of the ack."""
        self._connection.send(json.dumps({"type": type_, "payload": payload, "id": 1}))
        answer = self.hear("ack", "error")
        assert answer["type"] == "ack", answer
        found: dict[str, Any] = answer["payload"]
        return found

    def hear(self, *types: str) -> dict[str, Any]:
        """The next event of one of these types."""
        for earlier in self._heard:
            if earlier["type"] in types:
                self._heard.remove(earlier)
                return earlier
        while True:
            event: dict[str, Any] = json.loads(self._connection.recv(timeout=20))
            if event["type"] in types:
                return event
            self._heard.append(event)


@contextmanager
def page(server: ServerProcess, user: str) -> Iterator[Page]:
    otp = server.login(user)["otp"]
    subprotocols = [Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")]
    with connect(server.ws_url, subprotocols=subprotocols, max_size=1 << 22) as connection:
        yield Page(connection)


def test_rooms_and_a_message_to_one_who_is_away_are_there_after_a_kill(tmp_path: Path) -> None:
    engine = ("--engine", f"sqlite:///{tmp_path}/log.db")
    with running(tmp_path, *engine) as server:
        with page(server, "percy") as percy:
            assert percy.rooms == []
            assert percy.ask("follow", room="Ops")["room"] == "ops"
            percy.ask("mute", room="ops", on=True)
            percy.ask("join_room", room=DM)
            assert percy.ask("send_message", message="are you there?")["seq"] == 1
        server.kill()
    with running(tmp_path, *engine) as server, page(server, "alice") as alice, page(server, "percy") as percy:
        [entry] = alice.rooms
        assert (entry["room"], entry["seq"], entry["unread"], entry["read"]) == (DM, 1, 1, 0)
        assert [(entry["room"], entry["muted"], entry["unread"]) for entry in percy.rooms] == [
            (DM, False, 0),
            ("ops", True, 0),
        ]


def test_a_message_of_two_reaches_one_who_is_elsewhere(tmp_path: Path) -> None:
    with running(tmp_path) as server, page(server, "percy") as percy, page(server, "alice") as alice:
        percy.ask("join_room", room=DM)
        percy.ask("send_message", message="psst")
        entry = alice.hear("room_added")["payload"]["entry"]
        assert (entry["room"], entry["unread"], entry["joined"]) == (DM, 1, False)
        assert [each["message"] for each in alice.ask("join_room", room=DM)["messages"]] == ["psst"]
        percy.ask("send_message", message="again")
        assert alice.hear("new_message")["payload"]["message"] == "again"


@needs_redis
def test_connections_on_other_nodes_are_told(tmp_path: Path, redis_single: RedisServer) -> None:
    engine = ("--engine", f"{redis_single.url}?prefix=followed")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        one = stack.enter_context(running(tmp_path / "one", *engine))
        other = stack.enter_context(running(tmp_path / "other", *engine))
        percy = stack.enter_context(page(one, "percy"))
        phone = stack.enter_context(page(other, "percy"))
        alice = stack.enter_context(page(other, "alice"))
        entry = percy.ask("follow", room="Ops")
        assert phone.hear("room_added")["payload"] == {"entry": entry}
        percy.ask("mute", room="ops", on=True)
        assert phone.hear("room_changed")["payload"] == {"room": "ops", "muted": True}
        percy.ask("join_room", room=DM)
        percy.ask("send_message", room=DM, message="psst")
        assert alice.hear("room_added")["payload"]["entry"]["room"] == DM
        assert phone.hear("room_added")["payload"]["entry"]["room"] == DM
        percy.ask("mark_read", room=DM, seq=1)
        assert phone.hear("room_changed")["payload"] == {"room": DM, "read": 1}
        phone.ask("unfollow", room=DM)
        assert percy.hear("room_removed")["payload"] == {"room": DM}
        percy.ask("send_message", room=DM, message="once more")
        assert phone.hear("room_added")["payload"]["entry"]["seq"] == 2
        assert [room["room"] for room in percy.ask("list_rooms")["rooms"]] == []


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_lists_of_rooms_and_users(tmp_path: Path, engine: str) -> None:
    url = "memory://" if engine == "memory" else f"sqlite:///{tmp_path}/log.db"
    with running(tmp_path, "--engine", url) as server, page(server, "percy") as percy, page(server, "alice") as alice:
        for name in ("Ops", "Lunch", "Oper"):
            alice.ask("join_room", room=name)
            alice.ask("send_message", room=name, message="hi")
        answer = percy.ask("list_rooms", prefix="OP", limit=1)
        assert (answer["rooms"][0]["title"], answer["rooms"][0]["members"], answer["next"]) == ("Oper", 1, "oper")
        answer = percy.ask("list_rooms", prefix="OP", limit=1, after=answer["next"])
        assert (answer["rooms"][0]["title"], answer["next"]) == ("Ops", None)
        assert percy.ask("list_users", prefix="al")["users"] == [{"user": "alice", "name": "alice"}]
        alice.ask("follow", room="ops")
        assert percy.ask("list_users", room="ops")["users"] == [{"user": "alice", "name": "alice"}]
