"""The example votes.py, started in both ways and used as a page would use it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from servers import SERVE, ServerProcess, running

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
ANSWER_S = 5.0


@pytest.fixture(params=["hubbub serve votes:hub", "python votes.py"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    is_own_program = request.param == "python votes.py"
    program = [sys.executable, "votes.py"] if is_own_program else SERVE
    target = None if is_own_program else "votes:hub"
    with running(tmp_path, program=program, target=target, cwd=EXAMPLES) as server:
        yield server


@pytest.fixture
def voter(server: ServerProcess) -> Iterator[ClientConnection]:
    """Someone in the room `lunch`."""
    offered = [Subprotocol("hubbub.v1"), Subprotocol(f"otp.{server.login()['otp']}")]
    with connect(server.ws_url, subprotocols=offered) as voter:
        assert voter.subprotocol == "hubbub.v1"
        assert receive(voter)["type"] == "welcome"
        send(voter, "change_room", {"name": "lunch"}, "c1")
        joined = receive(voter)
        assert (joined["type"], joined["id"], joined["payload"]["room"]) == ("ack", "c1", "lunch")
        yield voter


def test_a_vote_is_acked_with_the_tally_then_heard_as_one(voter: ClientConnection) -> None:
    for id_, option, counts in (("c2", 1, {"1": 1}), ("c3", 2, {"1": 1, "2": 1})):
        tally = {"poll": "lunch", "counts": counts}
        send(voter, "vote", {"poll": "lunch", "option": option}, id_)
        assert receive(voter) == {"type": "ack", "id": id_, "payload": tally}
        heard = receive(voter)
        sent = heard["payload"].pop("sent")
        assert sent.endswith("Z")
        assert heard == {"type": "tally", "payload": {"room": "lunch", "seq": int(id_[1:]) - 1, **tally}}
    assert_nothing_more(voter)


def test_what_is_wrong_is_told_with_its_id(voter: ClientConnection) -> None:
    send(voter, "vote", {"poll": "lunch", "option": 3}, "c2")
    assert_refused(receive(voter), "c2", "bad_payload")
    send(voter, "vote", {"poll": "lunch"}, "c3")
    assert_refused(receive(voter), "c3", "bad_payload")
    send(voter, "veto", {}, "c4")
    assert_refused(receive(voter), "c4", "unknown_type")
    assert_nothing_more(voter)


def send(voter: ClientConnection, type_: str, payload: dict[str, Any], id_: str) -> None:
    voter.send(json.dumps({"type": type_, "id": id_, "payload": payload}))


def receive(voter: ClientConnection) -> Any:
    return json.loads(voter.recv(timeout=ANSWER_S))


def assert_refused(answer: Any, id_: str, code: str) -> None:
    assert (answer["type"], answer["id"], answer["payload"]["code"]) == ("error", id_, code)


def assert_nothing_more(voter: ClientConnection) -> None:
    """Answers come in order: when the next request's is the next frame, there was nothing between."""
    send(voter, "veto", {}, "last")
    assert_refused(receive(voter), "last", "unknown_type")
