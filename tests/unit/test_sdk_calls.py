"""Calls with a key: what is asked, what the answer says, when it is asked again; without a server, and in no time."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from hubbub.errors import AuthError, ErrorCode, ProtocolError, Rejected, Unreachable
from hubbub.events import Event
from hubbub.published import Published, RoomHistory, SaidInRoom
from hubbub.sdk import calls
from hubbub.sdk.backoff import Backoff
from hubbub.sdk.calls import Ask, HttpReply, KeyCall, attempts
from hubbub.testing import Clock

T = TypeVar("T")

URL = "https://chat.example"
KEPT = {"result": {"offset": 7, "epoch": "e"}}


class Tally(Event, tag="tally"):
    option: str


class Told:
    """What a call has sent, and when.

    Attributes:
        asked: the requests.
        at: when each was sent, in seconds since the first.
    """

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.at: list[float] = []

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(ask.body) for ask in self.asked]

    def do(self, call: KeyCall[T], *answers: object, within_s: float = 10.0, takes_s: float = 0.0) -> T:
        """Have a call answered: by a result or an error, by a status, or by an error of the network; the last again."""
        clock = Clock(0.0)
        steps = attempts(call, URL, within_s=within_s, clock=clock, backoff=Backoff(1.0, 4.0, lambda: 1.0))
        waiting = list(answers)
        outcome: HttpReply | OSError | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Ask):
                    self.asked.append(step)
                    self.at.append(clock())
                    clock.go(takes_s)
                    outcome = reply(waiting.pop(0) if len(waiting) > 1 else waiting[0])
                else:
                    clock.go(step.seconds)
                    outcome = None
        except StopIteration as done:
            result: T = done.value
            return result


def reply(answer: object) -> HttpReply | OSError:
    if isinstance(answer, OSError | HttpReply):
        return answer
    if isinstance(answer, int):
        return HttpReply(answer, b"")
    return HttpReply(200, json.dumps(answer).encode())


def error(code: int, **more: object) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", **more}}


def publish(event: object = 1, type_: str | None = None, key: str | None = None) -> KeyCall[Published]:
    return calls.publish_call("news", event, type_, key)


# What is asked, and what the answer says


def test_what_is_published_has_a_key_of_its_own() -> None:
    told = Told()
    assert told.do(publish({"a": 1}), KEPT) == Published("news", 7, "e")
    told.do(publish({"a": 1}), KEPT)
    told.do(publish({"a": 1}, "vote", "mine"), KEPT)
    told.do(publish(Tally("tea")), KEPT)
    first, second, third, fourth = told.bodies()
    assert [ask.path for ask in told.asked] == ["/api/publish"] * 4
    assert first["idempotency_key"] != second.pop("idempotency_key")
    assert second == {"channel": "news", "data": {"a": 1}}
    assert third == {"channel": "news", "data": {"a": 1}, "type": "vote", "idempotency_key": "mine"}
    assert (fourth["data"], fourth["type"]) == ({"option": "tea"}, "tally")
    with pytest.raises(ValueError, match="is of type 'tally', not 'vote'"):
        publish(Tally("tea"), "vote")


def test_a_broadcast_tells_of_each_room() -> None:
    call = calls.broadcast_call(["a", "b"], 1, None, None)
    found = Told().do(call, {"result": {"responses": [KEPT, error(103)]}})
    assert found[0] == Published("a", 7, "e")
    assert isinstance(found[1], Rejected)
    assert found[1].code == ErrorCode.FORBIDDEN
    with pytest.raises(ProtocolError, match="for other rooms"):
        Told().do(call, {"result": {"responses": [KEPT]}})


def test_history_is_oldest_first() -> None:
    told = Told()
    sent = datetime(2026, 1, 2, tzinfo=UTC)
    newer = {"offset": 2, "sent": "2026-01-02T00:00:00.000Z", "data": {"message": "hi"}, "type": "new_message"}
    newer |= {"info": {"user": "percy", "client": ""}, "tags": {"type": "new_message"}}
    older = {"offset": 1, "sent": "2026-01-02T00:00:00.000Z", "data": 5, "type": "publication", "tags": {"a": "b"}}
    answer = {"result": {"publications": [newer, older], "offset": 2, "epoch": "e"}}
    messages = [
        SaidInRoom(1, sent, 5, tags={"a": "b"}),
        SaidInRoom(2, sent, {"message": "hi"}, "new_message", "percy"),
    ]
    assert told.do(calls.history_call("news", 5, None, None), answer) == RoomHistory(messages, 2, "e")
    told.do(calls.history_call("news", 5, None, 3), answer)
    answer["result"]["publications"] = [older, newer]
    assert told.do(calls.history_call("news", 5, 0, None), answer).messages == messages
    bodies = told.bodies()
    assert [body["reverse"] for body in bodies] == [True, True, False]
    assert [body.get("since", {}).get("offset") for body in bodies] == [None, 3, 0]
    with pytest.raises(ValueError, match="not both"):
        calls.history_call("news", 5, 1, 2)


def test_what_is_asked_of_rooms_and_users() -> None:
    told = Told()
    assert told.do(calls.presence_call("news"), {"result": {"presence": {"b": {}, "a": {}}}}) == ["a", "b"]
    listed = {"result": {"channels": {"a": {"num_clients": 2}}, "next": "a"}}
    assert told.do(calls.rooms_call("*", ""), listed) == ({"a": 2}, "a")
    assert told.do(calls.disconnect_call("percy"), {"result": {}}) is None
    assert told.do(calls.info_call(), {"result": {"nodes": [{"num_clients": 1}]}}) == [{"num_clients": 1}]


def test_a_batch_has_keys_for_what_it_says() -> None:
    told = Told()
    commands: list[dict[str, dict[str, Any]]] = [
        {"publish": {"channel": "news", "data": 1}},
        {"publish": {"channel": "news", "data": 1, "idempotency_key": "mine"}},
        {"presence": {"channel": "news"}},
    ]
    replies = [{"publish": {"offset": 1, "epoch": "e"}}, error(107), {"presence": {"presence": {}}}]
    one, two, three = told.do(calls.batch_call(commands), {"replies": replies})
    assert (one, three) == ({"offset": 1, "epoch": "e"}, {"presence": {}})
    assert isinstance(two, Rejected)
    [body] = told.bodies()
    keys = [next(iter(command.values())).get("idempotency_key") for command in body["commands"]]
    assert len(keys[0]) > 10
    assert keys[1:] == ["mine", None]


# When it is asked again


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError("refused"), TimeoutError(), 500, 502, 503, 429, error(100), error(111)]
)
def test_what_may_pass_is_asked_again_with_the_same_key(failure: object) -> None:
    told = Told()
    assert told.do(publish(), failure, failure, KEPT) == Published("news", 7, "e")
    assert told.at == [0.0, 1.0, 3.0]
    assert len({ask.body for ask in told.asked}) == 1


@pytest.mark.parametrize("failure", [HttpReply(503, b"", 5.0), error(111, retry_after=5.0)])
def test_it_is_asked_again_when_the_server_says(failure: object) -> None:
    told = Told()
    told.do(publish(), failure, KEPT)
    assert told.at == [0.0, 5.0]


def test_it_is_not_asked_for_ever() -> None:
    told = Told()
    with pytest.raises(Unreachable, match=r"no server answered at https://chat\.example: refused"):
        told.do(publish(), ConnectionRefusedError("refused"))
    assert told.at == [0.0, 1.0, 3.0, 7.0]
    assert [ask.timeout_s for ask in told.asked] == [10.0, 9.0, 7.0, 3.0]
    with pytest.raises(Unreachable):
        told.do(publish(), TimeoutError(), takes_s=10.0)
    with pytest.raises(Rejected, match="rate_limited: no"):
        told.do(publish(), error(111))
    assert len(told.asked) == 4 + 1 + 4


def test_a_certificate_that_is_not_trusted_stays_so() -> None:
    told = Told()
    with pytest.raises(Unreachable, match=r"its certificate is not trusted \(a stranger\); .* tls= of a Publisher"):
        told.do(publish(), ssl.SSLCertVerificationError(1, "a stranger"))
    assert len(told.asked) == 1


@pytest.mark.parametrize(
    ("answer", "raised", "what"),
    [
        (401, AuthError, "does not know this key"),
        (413, Rejected, "too_large"),
        (404, ProtocolError, "answers 404"),
        (error(103), Rejected, "forbidden: no"),
        (error(107), Rejected, "bad_payload: no"),
        (error(108), Rejected, "108: no"),
        ({"result": {"offset": "seven"}}, ProtocolError, "not as Hubbub does"),
        ({"result": None}, ProtocolError, "not as Hubbub does"),
        (HttpReply(200, b"<html>"), ProtocolError, "not as Hubbub does"),
        (HttpReply(200, b"\xff"), ProtocolError, "not as Hubbub does"),
    ],
)
def test_what_cannot_pass_is_raised_at_once(answer: object, raised: type[Exception], what: str) -> None:
    told = Told()
    with pytest.raises(raised, match=what):
        told.do(publish(), answer)
    assert len(told.asked) == 1
