"""The routes of other programs, asked without HTTP: a request goes in, a response comes out."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hubbub import publications
from hubbub.budgets import KEY_S
from hubbub.engine import ApiKey, KeyRight, Receipt
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import CloseCode, EngineError, NotKept
from hubbub.events import Event
from hubbub.http import api_methods
from hubbub.http.answers import as_http, error_response
from hubbub.http.api import MAX_BATCH, ApiRoutes
from hubbub.http.api_methods import MAX_BROADCAST, MAX_HISTORY
from hubbub.keyring import MAX_SECRET_CHARS
from hubbub.otp import digest
from hubbub.testing import CLASSIC, Clock, Stage, at_work
from hubbub.wire.request import Request, Response

pytestmark = pytest.mark.anyio

SECRET = "hbk_secret"
EVERYTHING = tuple(KeyRight)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Tally(Event, tag="tally"):
    option: str


class Failing(MemoryEngine):
    """An engine that can be out of reach."""

    is_failing = False

    async def append(self, batch: Any) -> Any:
        if self.is_failing:
            raise NotKept("the disk is full")
        return await super().append(batch)

    async def read(self, room: str, **places: Any) -> Any:
        if self.is_failing:
            raise EngineError("the disk is broken")
        return await super().read(room, **places)


class Desk:
    """The routes, and another program that has a key."""

    def __init__(self, stage: Stage, engine: Failing) -> None:
        self.stage = stage
        self.engine = engine
        [self._route] = [by_method["POST"] for by_method in ApiRoutes(stage.core).routes.values()]

    async def key(self, secret: str, *rooms: str, name: str = "", rights: Sequence[KeyRight] = EVERYTHING) -> None:
        """Keep a key."""
        await self.engine.put_api_key(digest(secret), ApiKey(name or secret, tuple(rights), rooms or ("*",), 0))

    async def send(self, method: str, fields: object = None, *, query: str = "", **headers: str) -> Response:
        """Send a request as it is."""
        body = fields if isinstance(fields, bytes) else json.dumps({} if fields is None else fields).encode()
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        request = Request("POST", f"/api/{method}", query, named, "192.0.2.7", body)
        try:
            return await self._route(request)
        except Exception as error:
            return error_response(as_http(error, request))

    async def ask(self, method: str, fields: object = None, secret: str = SECRET) -> dict[str, Any]:
        """What a call with a key is answered."""
        response = await self.send(method, fields, x_api_key=secret)
        assert response.status == 200, response.body
        answer: dict[str, Any] = json.loads(response.body)
        return answer

    async def result(self, method: str, fields: object = None, secret: str = SECRET) -> dict[str, Any]:
        answer = await self.ask(method, fields, secret)
        assert answer.keys() == {"result"}, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def batch(self, *commands: object) -> list[Any]:
        """What each command is answered."""
        answer = await self.ask("batch", {"commands": commands})
        assert answer.keys() == {"replies"}, answer
        replies: list[Any] = answer["replies"]
        return replies

    async def error(self, method: str, fields: object = None, secret: str = SECRET) -> dict[str, Any]:
        answer = await self.ask(method, fields, secret)
        assert answer.keys() == {"error"}, answer
        error: dict[str, Any] = answer["error"]
        return error

    async def said(self, room: str) -> list[Any]:
        """What was said in a room."""
        result = await self.result("history", {"channel": room, "limit": -1})
        return [each["data"] for each in result["publications"]]


@asynccontextmanager
async def desk(**settings: Any) -> AsyncIterator[Desk]:
    clock = Clock()
    engine = Failing(clock=clock, wall=clock)
    async with at_work(engine=engine, clock=clock, **settings) as stage:
        desk = Desk(stage, engine)
        await desk.key(SECRET)
        yield desk


# Who may ask


async def test_a_key_may_be_sent_in_three_ways() -> None:
    async with desk() as api:
        assert (await api.send("info", x_api_key=SECRET)).status == 200
        assert (await api.send("info", authorization=f"apikey {SECRET}")).status == 200
        assert (await api.send("info", query=f"api_key={SECRET}")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_api_key": ""},
        {"x_api_key": "wrong"},
        {"x_api_key": "x" * (MAX_SECRET_CHARS + 1)},
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": "apikey"},
    ],
)
async def test_without_a_key_nothing_is_answered(headers: dict[str, str]) -> None:
    async with desk() as api:
        for method in ("publish", "batch", "nothing"):
            response = await api.send(method, {"channel": "news", "data": 1}, **headers)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "apikey"
        assert await api.said("news") == []


async def test_a_key_that_is_revoked_is_refused_at_once() -> None:
    async with desk() as api:
        await api.result("publish", {"channel": "news", "data": 1})
        await api.engine.drop_api_key(SECRET)
        assert (await api.send("publish", {"channel": "news", "data": 1}, x_api_key=SECRET)).status == 401


async def test_a_key_is_for_what_it_is_for() -> None:
    calls = {
        "publish": {"channel": "news", "data": 1},
        "broadcast": {"channels": ["news"], "data": 1},
        "history": {"channel": "news"},
        "presence": {"channel": "news"},
        "presence_stats": {"channel": "news"},
        "channels": {},
        "rooms": {},
        "disconnect": {"user": "percy"},
        "info": {},
    }
    async with desk() as api:
        await api.key("none", rights=())
        for method, fields in calls.items():
            assert (await api.error(method, fields, "none"))["code"] == 103
            assert (await api.ask(method, fields)).keys() == {"result"}


async def test_a_key_is_for_rooms_that_fit() -> None:
    async with desk() as api:
        await api.key("news", "news-*")
        assert await api.result("publish", {"channel": "News-Today", "data": 1}, "news")
        for method in ("publish", "history", "presence", "presence_stats"):
            assert (await api.error(method, {"channel": "ops", "data": 1}, "news"))["code"] == 103
        await api.result("publish", {"channel": "ops", "data": 1})
        assert list((await api.result("channels", {}, "news"))["channels"]) == ["news-today"]
        answers = (await api.result("broadcast", {"channels": ["news-today", "ops"], "data": 2}, "news"))["responses"]
        assert [answer.get("error", {}).get("code") for answer in answers] == [None, 103]
        assert await api.said("ops") == [1]


async def test_rooms_of_two_users_are_for_keys_that_say_so() -> None:
    async with desk() as api:
        await api.key("direct", "dm:*")
        room = {"channel": "dm:alice,bob", "data": {"message": "hi"}, "type": "new_message"}
        assert (await api.error("publish", room))["code"] == 103
        assert (await api.error("history", room))["code"] == 103
        assert await api.result("publish", room, "direct")
        assert (await api.result("channels"))["channels"] == {}
        assert list((await api.result("channels", {}, "direct"))["channels"]) == ["dm:alice,bob"]


async def test_methods_and_bodies_that_are_none() -> None:
    async with desk() as api:
        assert (await api.send("fly", x_api_key=SECRET)).status == 404
        assert (await api.send("publish", b"{", x_api_key=SECRET)).status == 400
        assert (await api.send("publish", b"[]", x_api_key=SECRET)).status == 400
        assert (await api.send("publish", {"channel": 5}, x_api_key=SECRET)).status == 400
        for method in ("subscribe", "unsubscribe", "refresh", "history_remove"):
            assert (await api.error(method, {"user": "percy", "channel": "news"}))["code"] == 108


async def test_a_server_that_is_about_to_stop_takes_nothing() -> None:
    async with desk() as api:
        api.stage.core.close()
        assert (await api.send("publish", {"channel": "news", "data": 1}, x_api_key=SECRET)).status == 503


# Saying something


async def test_a_publication_is_kept_and_told() -> None:
    async with desk() as api:
        percy = await api.stage.client("percy")
        await percy.join("news")
        result = await api.result("publish", {"channel": "news", "data": {"x": [1, 2.5]}, "tags": {"a": "b"}})
        epoch = (await api.engine.head("news")).epoch
        assert result == {"offset": 1, "epoch": epoch}
        [event] = await percy.hear()
        sent = event["payload"].pop("sent")
        assert event == {
            "type": "publication",
            "payload": {"room": "news", "seq": 1, "data": {"x": [1, 2.5]}, "tags": {"a": "b"}},
        }
        history = await api.result("history", {"channel": "news", "limit": 10})
        assert history == {
            "epoch": epoch,
            "offset": 1,
            "publications": [
                {"data": {"x": [1, 2.5]}, "tags": {"a": "b"}, "offset": 1, "sent": sent, "type": "publication"}
            ],
        }


async def test_an_event_of_the_application_is_told_as_what_it_is() -> None:
    async with desk() as api:
        percy = await api.stage.client("percy")
        await percy.join("news")
        await api.result("publish", {"room": "news", "type": "tally", "data": {"option": "tea"}})
        [event] = await percy.hear()
        assert event["type"] == "tally"
        assert event["payload"]["option"] == "tea"
        [kept] = (await api.result("history", {"room": "news", "limit": 1}))["publications"]
        assert kept["data"] == {"option": "tea"}
        assert kept["tags"] == {"type": "tally"}
        assert kept["type"] == "tally"


async def test_a_message_of_the_chat_is_told_to_all_clients() -> None:
    async with desk(max_message=5) as api:
        old = await api.stage.client("alice", CLASSIC)
        said = {"channel": "general", "type": "new_message", "data": {"message": "hello"}}
        await api.result("publish", said)
        [event] = await old.hear()
        assert event["payload"]["message"] == "hello"
        for message, code in (("hello!", 106), ("", 107)):
            assert (await api.error("publish", {**said, "data": {"message": message}}))["code"] == code
        assert (await api.error("publish", {**said, "data": {"message": "hi", "more": 1}}))["code"] == 107


async def test_what_is_said_is_no_larger_than_what_a_client_may_say() -> None:
    async with desk(max_frame=100) as api:
        await api.result("publish", {"channel": "news", "data": "x" * 89})
        for fields in ({"data": "x" * 90}, {"data": {"x": "x" * 93}, "type": "tally"}):
            assert (await api.error("publish", {"channel": "news", **fields}))["code"] == 106
        assert len(await api.said("news")) == 1


async def test_who_has_said_what_is_told() -> None:
    async with desk() as api:
        percy = await api.stage.client("percy")
        await percy.join("news")
        await percy.ask("send_message", {"message": "hi"})
        [kept] = (await api.result("history", {"room": "news", "limit": 1}))["publications"]
        assert kept["info"] == {"user": "percy", "client": ""}
        assert kept["data"] == {"message": "hi"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 107),
        ({"channel": "no/room", "data": 1}, 107),
        ({"data": 1}, 107),
        ({"b64data": "?"}, 107),
        ({"b64data": base64.b64encode(b"no JSON").decode()}, 107),
        ({"data": 1, "type": "tally"}, 107),
        ({"data": {"seq": 1}, "type": "tally"}, 107),
        ({"data": {"from": "percy"}, "type": "tally"}, 107),
        ({"data": {}, "type": "message_deleted"}, 103),
        ({"data": {}, "type": "reconnect"}, 103),
        ({"data": {}, "type": "publication"}, 107),
        ({"data": {}, "type": "a\nb"}, 107),
        ({"data": {}, "type": "x" * 65}, 107),
        ({"data": {}, "type": "tally", "tags": {"a": "b"}}, 107),
        ({"data": 1, "idempotency_key": "x" * 129}, 107),
    ],
)
async def test_what_cannot_be_published_is_refused(fields: dict[str, Any], code: int) -> None:
    async with desk() as api:
        room = {} if fields == {"data": 1} else {"channel": "news"}
        assert (await api.error("publish", {**room, **fields}))["code"] == code
        assert await api.said("news") == []


@pytest.mark.parametrize("data", [b'"\xff"', b'"\\ud800"', b"[" * 5000 + b"]" * 5000, b"1 2"])
async def test_what_no_client_could_read_is_not_published(data: bytes) -> None:
    async with desk() as api:
        fields = {"channel": "news", "b64data": base64.b64encode(data).decode()}
        assert (await api.error("publish", fields))["code"] == 107
        response = await api.send("publish", b'{"channel":"news","data":' + data + b"}", x_api_key=SECRET)
        assert response.status == 400 or b'"code":107' in response.body
        assert await api.said("news") == []


async def test_what_is_published_has_no_line_breaks_of_its_own() -> None:
    async with desk() as api:
        body = b'{"channel": "news", "type": "tally", "data": {\n "option" :\t"a b\\n"\r\n}}'
        assert (await api.send("publish", body, x_api_key=SECRET)).status == 200
        [kept] = (await api.engine.read("news", limit=1)).messages
        assert kept.body == b'{"option":"a b\\n"}'


async def test_a_key_keeps_a_publication_once() -> None:
    async with desk() as api:
        await api.key("other")
        said = {"channel": "news", "data": 1, "idempotency_key": "k"}
        first = await api.result("publish", said)
        await api.result("publish", {"channel": "news", "data": 5})
        assert await api.result("publish", said) == first
        assert (await api.error("publish", {**said, "data": 2}))["code"] == 107
        assert (await api.result("publish", said, "other"))["offset"] == 3
        assert await api.said("news") == [1, 5, 1]
        api.stage.clock.go(KEY_S + 1)
        assert (await api.result("publish", said))["offset"] == 4


async def test_an_application_has_its_keys_to_itself() -> None:
    async with desk() as api:
        await api.result("publish", {"channel": "news", "data": 1, "idempotency_key": "k"})
        assert await api.stage.hub.room("news").post(Tally("tea"), key="k") == Receipt(2, 1_000_000)


async def test_what_is_not_kept_is_told_to_who_is_there() -> None:
    async with desk() as api:
        percy = await api.stage.client("percy")
        await percy.join("news")
        assert await api.result("publish", {"channel": "news", "data": 1, "skip_history": True}) == {}
        assert await percy.hear() == [{"type": "publication", "payload": {"room": "news", "data": 1}}]
        assert await api.said("news") == []


async def test_what_could_not_be_kept_is_an_error_that_may_pass() -> None:
    async with desk() as api:
        api.engine.is_failing = True
        error = await api.error("publish", {"channel": "news", "data": 1})
        assert error == {"code": 100, "message": "the disk is full", "temporary": True}
        assert (await api.error("history", {"channel": "news", "limit": 1}))["code"] == 100


async def test_a_closed_room_is_told_nothing() -> None:
    async with desk() as api:
        await api.stage.hub.close_room("news")
        assert (await api.error("publish", {"channel": "news", "data": 1}))["code"] == 103
        assert (await api.engine.head("news")).seq == 0


async def test_the_name_of_a_new_room_stays_as_it_is_written() -> None:
    async with desk() as api:
        await api.result("publish", {"channel": "News Today", "data": 1})
        assert await api.engine.title("news today") == "News Today"


async def test_a_broadcast_goes_to_each_room() -> None:
    async with desk() as api:
        fields = {"channels": ["a", "b", "no/room"], "data": 1, "idempotency_key": "k"}
        responses = (await api.result("broadcast", fields))["responses"]
        assert [list(response) for response in responses] == [["result"], ["result"], ["error"]]
        assert (await api.result("broadcast", fields))["responses"][:2] == responses[:2]
        assert await api.said("a") == await api.said("b") == [1]


@pytest.mark.parametrize("rooms", [[], ["news"] * (MAX_BROADCAST + 1)])
async def test_a_broadcast_is_bounded(rooms: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as api:
        assert (await api.error("broadcast", {"channels": rooms, "data": 1}))["code"] == 106
        monkeypatch.setattr(api_methods, "MAX_BROADCAST_BYTES", 20)
        assert (await api.error("broadcast", {"channels": ["a", "b"], "data": 100}))["code"] == 106
        assert await api.said("news") == []


# Asking


async def test_history_begins_where_it_is_asked_for() -> None:
    async with desk() as api:
        for number in range(1, 6):
            await api.result("publish", {"channel": "news", "data": number})
        epoch = (await api.engine.head("news")).epoch

        async def offsets(**fields: Any) -> list[int]:
            result = await api.result("history", {"channel": "news", **fields})
            assert (result["epoch"], result["offset"]) == (epoch, 5)
            return [each["offset"] for each in result["publications"]]

        assert await offsets() == []
        assert await offsets(limit=2) == [1, 2]
        assert await offsets(limit=-1) == [1, 2, 3, 4, 5]
        assert await offsets(limit=2, reverse=True) == [5, 4]
        assert await offsets(limit=9, since={"offset": 3, "epoch": epoch}) == [4, 5]
        assert await offsets(limit=9, since={"offset": 3, "epoch": ""}) == [4, 5]
        assert await offsets(limit=2, since={"offset": 3, "epoch": epoch}, reverse=True) == [2, 1]
        assert await offsets(limit=2, since={"offset": 9, "epoch": epoch}) == []
        assert await offsets(limit=2, since={"offset": 0, "epoch": epoch}, reverse=True) == []
        assert await offsets(limit=2, since={"offset": -4, "epoch": epoch}) == [1, 2]
        other = {"channel": "news", "limit": 1, "since": {"offset": 1, "epoch": "other"}}
        assert (await api.error("history", other))["code"] == 112


async def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as api:
        commands = [{"publish": {"channel": "news", "data": "x" * 100}}] * MAX_BATCH
        for _ in range(4):
            await api.batch(*commands)
        assert len(await api.said("news")) == MAX_HISTORY
        monkeypatch.setattr(api_methods, "MAX_ANSWER", 1000)
        assert len(await api.said("news")) == 9
        monkeypatch.setattr(api_methods, "MAX_ANSWER", 10)
        assert len(await api.said("news")) == 1


async def test_presence_is_of_users() -> None:
    async with desk() as api:
        for user in ("percy", "alice"):
            await (await api.stage.client(user)).join("news")
        assert await api.result("presence", {"channel": "news"}) == {
            "presence": {user: {"user": user, "client": user} for user in ("alice", "percy")}
        }
        assert await api.result("presence_stats", {"channel": "news"}) == {"num_clients": 2, "num_users": 2}


async def test_rooms_are_listed_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_methods, "MAX_ROOMS", 2)
    async with desk() as api:
        await (await api.stage.client("percy")).join("a")
        for room in ("a", "ab", "b", "c"):
            await api.result("publish", {"channel": room, "data": 1})
        first = await api.result("channels")
        assert first == {"channels": {"a": {"num_clients": 1}, "ab": {"num_clients": 0}}, "next": "ab"}
        assert list((await api.result("rooms", {"after": "ab"}))["channels"]) == ["b", "c"]
        assert await api.result("rooms", {"after": "c"}) == {"channels": {}}
        assert list((await api.result("rooms", {"pattern": "A*"}))["channels"]) == ["a", "ab"]
        assert (await api.error("rooms", {"pattern": "x" * 65}))["code"] == 107


async def test_a_user_is_disconnected() -> None:
    async with desk() as api:
        percy, alice = [await api.stage.client(user) for user in ("percy", "alice")]
        assert await api.result("disconnect", {"user": "percy"}) == {}
        assert (percy.close_code, alice.close_code) == (CloseCode.KICKED, None)
        assert await api.result("disconnect", {"user": "nobody"}) == {}
        for fields, code in (({}, 107), ({"user": "x" * 129}, 107), ({"user": "alice", "client": "x"}, 108)):
            assert (await api.error("disconnect", fields))["code"] == code
        assert alice.close_code is None


async def test_info_tells_of_the_server() -> None:
    async with desk() as api:
        await (await api.stage.client("percy")).join("news")
        api.stage.clock.go(5)
        [node] = (await api.result("info"))["nodes"]
        assert {name: node[name] for name in node if name.startswith("num_")} == {
            "num_channels": 1,
            "num_clients": 1,
            "num_users": 1,
            "num_subs": 1,
        }
        assert node["uptime"] == 5
        assert node.keys() >= {"uid", "name", "version"}


# Several calls


async def test_a_batch_is_done_in_order() -> None:
    async with desk() as api:
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "news", "data": 1}},
            {"history": {"channel": "news", "limit": 5}},
            {"publish": {"channel": "news"}},
            {"fly": {}},
            {"publish": 5},
            {},
            {"batch": {"commands": []}},
            {"subscribe": {}},
        ]
        replies = await api.batch(*commands)
        assert replies[0]["publish"]["offset"] == 1
        assert [each["data"] for each in replies[1]["history"]["publications"]] == [1]
        assert [reply["error"]["code"] for reply in replies[2:]] == [107, 104, 107, 107, 104, 108]


async def test_publications_of_a_batch_are_kept_in_their_order() -> None:
    async with desk() as api:
        commands = [{"publish": {"channel": "news", "data": number}} for number in range(MAX_BATCH)]
        replies = await api.batch(*commands)
        assert [reply["publish"]["offset"] for reply in replies] == list(range(1, MAX_BATCH + 1))
        assert await api.said("news") == list(range(MAX_BATCH))
        assert (await api.error("batch", {"commands": [*commands, commands[0]]}))["code"] == 106


async def test_the_answers_of_a_batch_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as api:
        await api.result("publish", {"channel": "news", "data": "x" * 1000})
        monkeypatch.setattr("hubbub.http.api.MAX_ANSWER", 2000)
        commands = [{"history": {"channel": "news", "limit": 1}}] * 4
        replies = await api.batch(*commands)
        assert [reply.get("error", {}).get("code") for reply in replies] == [None, None, 106, 106]


# How much


async def test_each_key_has_a_budget_of_events() -> None:
    async with desk(client_rate=1, client_burst=2, account_share=1, address_share=2) as api:
        await api.key("other")
        answers = await asyncio.gather(*(api.ask("publish", {"channel": "news", "data": 1}) for _ in range(5)))
        refused = [answer["error"] for answer in answers if "error" in answer]
        assert [(error["code"], error["temporary"]) for error in refused] == [(111, True)]
        assert refused[0]["retry_after"] > 0
        assert await api.result("publish", {"channel": "news", "data": 1}, "other")
        api.stage.clock.go(2)
        assert await api.result("publish", {"channel": "news", "data": 1})


async def test_what_is_over_the_budget_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(client_rate=1, client_burst=1, account_share=1, address_share=1) as api:
        await api.result("publish", {"channel": "news", "data": 1})
        monkeypatch.setattr(api_methods, "body_of", None)
        for method, rooms in (("publish", {"channel": "news"}), ("broadcast", {"channels": ["news"]})):
            assert (await api.error(method, {**rooms, "data": 1}))["code"] == 111


async def test_what_is_said_in_many_rooms_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def reading(*what: Any) -> tuple[str, bytes]:
        read.append(what)
        return publications.body_of(*what)

    async with desk() as api:
        monkeypatch.setattr(api_methods, "body_of", reading)
        await api.result("broadcast", {"channels": ["a", "b", "c"], "data": 1})
        assert len(read) == 1


async def test_each_room_of_a_broadcast_counts() -> None:
    async with desk(client_rate=1, client_burst=2, account_share=1, address_share=2) as api:
        responses = (await api.result("broadcast", {"channels": ["a", "b", "c", "d", "e"], "data": 1}))["responses"]
        assert [response.get("error", {}).get("code") for response in responses] == [None] * 4 + [111]


async def test_what_a_key_adds_to_the_log_counts() -> None:
    async with desk(daily_bytes=1000, address_share=1) as api:
        codes = []
        for _ in range(12):
            answer = await api.ask("publish", {"channel": "news", "data": "x" * 200})
            codes.append(answer.get("error", {}).get("code"))
        assert codes[0] is None
        assert codes[-1] == 111
        assert len(await api.said("news")) == codes.count(None) < 8


async def test_the_rooms_that_a_key_makes_count() -> None:
    async with desk(daily_rooms=2, address_share=1) as api:
        for room in ("a", "b"):
            await api.result("publish", {"channel": room, "data": 1})
        assert (await api.error("publish", {"channel": "c", "data": 1}))["code"] == 111
        assert await api.result("publish", {"channel": "a", "data": 2})


async def test_what_a_key_reads_counts() -> None:
    async with desk(replay_rate=100, replay_burst=100, address_share=1) as api:
        await api.result("publish", {"channel": "news", "data": "x" * 100})
        await api.result("history", {"channel": "news", "limit": 1})
        assert (await api.error("history", {"channel": "news", "limit": 1}))["code"] == 111
        assert (await api.error("presence", {"channel": "news"}))["code"] == 111
        assert (await api.error("rooms"))["code"] == 111
