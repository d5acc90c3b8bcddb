"""The server API as Centrifugo has it, asked without HTTP, with connections that only take note of what is done."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from doors import DoorStage, door_at_work
from hubbub import Client, Hub
from hubbub.door import api as door_api
from hubbub.door.api import DoorMethods
from hubbub.door.client import DoorClient
from hubbub.door.codes import CLOSES
from hubbub.door.desk import MAX_COMMANDS, DoorDesk, open_desk
from hubbub.door.entering import Entering
from hubbub.door.hands import ServerHands
from hubbub.door.namespaces import Namespace
from hubbub.door.orders import Hands, Orders, RefreshOrder, SubscribeOrder
from hubbub.door.settings import DoorSettings, Hidden
from hubbub.engine import ApiKey, Head, KeyRight
from hubbub.errors import CloseCode
from hubbub.http.answers import as_http, error_response
from hubbub.http.api import ApiRoutes
from hubbub.otp import digest
from hubbub.testing import Clock
from hubbub.wire.request import Request, Response

pytestmark = pytest.mark.anyio

KEY = "key of the door"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class NotingHands:
    """Connections that are no more than what orders need of them, and what was done with them."""

    def __init__(self) -> None:
        self.clients: dict[str, list[DoorClient]] = {}
        self.done: list[tuple[Any, ...]] = []

    def add(self, user: str, id_: str, *, session: str = "", channels: Sequence[str] = ()) -> None:
        client = SimpleNamespace(user=user, id=id_, secret=session, subscriptions=dict.fromkeys(channels))
        self.clients.setdefault(user, []).append(cast(DoorClient, client))

    def clients_of(self, user: str) -> list[DoorClient]:
        return self.clients.get(user, [])

    def session_of(self, client: DoorClient) -> str:
        secret: str = cast(Any, client).secret
        return secret

    async def subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
        self.done.append(("subscribe", client.id, order.channel))

    def unsubscribe(self, client: DoorClient, channel: str) -> None:
        self.done.append(("unsubscribe", client.id, channel))

    def close(self, client: DoorClient, code: int, reason: str) -> None:
        self.done.append(("close", client.id, code, reason))

    def refresh(self, client: DoorClient, order: RefreshOrder) -> None:
        self.done.append(("refresh", client.id, order.expire_at, order.info))

    def empty(self, channel: str, seq: int) -> None:
        self.done.append(("empty", channel, seq))

    def take(self) -> list[tuple[Any, ...]]:
        done, self.done = self.done, []
        return done


NAMESPACES = (
    Namespace(name="bare", allow_subscribe_for_client=True),
    Namespace(name="gone", history_size=0),
    Namespace(name="few", history_size=3, history_ttl=60),
    Namespace(name="told", presence=True, force_recovery=True, history_size=100, history_ttl=300.0),
)
WITHOUT = Namespace(
    presence=True, history_size=100, history_ttl=300.0, allow_subscribe_for_client=True, allow_recovery=True
)


class Backend:
    """A back end that has the key of the door's configuration."""

    def __init__(self, stage: DoorStage, settings: DoorSettings, hands: Hands) -> None:
        self.stage = stage
        orders = Orders("node-1", stage.core.notices, hands)
        self.methods = DoorMethods(stage.core, stage.floor, orders, "node-1")
        routes = ApiRoutes(stage.core, DoorDesk(self.methods, settings)).routes
        self._routes = {path: by_method["POST"] for path, by_method in routes.items()}

    async def send(self, method: str, fields: object = None, *, address: str = "192.0.2.7", **headers: str) -> Response:
        """Send a request as it is."""
        body = fields if isinstance(fields, bytes) else json.dumps({} if fields is None else fields).encode()
        named = {name.replace("_", "-"): [value] for name, value in headers.items()}
        path = f"/api/{method}" if method else "/api"
        request = Request("POST", path, "", named, address, body)
        try:
            return await self._routes["/api/*" if method else path](request)
        except Exception as error:
            return error_response(as_http(error, request))

    async def ask(self, method: str, fields: object = None, key: str = KEY) -> dict[str, Any]:
        response = await self.send(method, fields, x_api_key=key)
        assert response.status == 200, response.body
        answer: dict[str, Any] = json.loads(response.body)
        return answer

    async def result(self, method: str, fields: object = None, key: str = KEY) -> dict[str, Any]:
        answer = await self.ask(method, fields, key)
        assert answer.keys() == {"result"}, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def code(self, method: str, fields: object = None) -> int:
        answer = await self.ask(method, fields)
        assert answer.keys() == {"error"}, answer
        code: int = answer["error"]["code"]
        return code

    async def history(self, channel: str, **fields: Any) -> list[Any]:
        result = await self.result("history", {"channel": channel, "limit": -1, **fields})
        return [each["data"] for each in result["publications"]]


@asynccontextmanager
async def backend(hands: Hands | None = None, **house: Any) -> AsyncIterator[Backend]:
    """A back end of a door; what is done with connections is noted by some hands, or really done."""
    settings = {"api_key": Hidden(KEY)} | house.pop("door", {})
    async with door_at_work(*NAMESPACES, without=WITHOUT, clock=Clock(), **house) as stage:
        real = ServerHands(stage.core, stage.floor.subscribing, cast(Any, Extending()))
        yield Backend(stage, DoorSettings(**settings), hands or real)


class Extending:
    """Has connections go on, without a clock that ends them."""

    def extend(self, client: DoorClient, expires_at: float | None) -> None:
        client.expires_at = expires_at


# Who may ask


async def test_the_key_of_the_configuration_opens_everything_and_another_one_nothing() -> None:
    async with backend() as api:
        assert await api.result("info")
        for key in ("", "key of the doo", f"{KEY}!", "x" * 5000, "\u00e9"):
            assert (await api.send("info", x_api_key=key)).status == 401
        assert (await api.send("info")).status == 401


async def test_without_a_key_in_the_configuration_there_is_none() -> None:
    async with backend(door={"api_key": Hidden()}) as api:
        for key in ("", "''", "None"):
            assert (await api.send("info", x_api_key=key)).status == 401


async def test_keys_of_the_hub_open_what_they_did() -> None:
    async with backend() as api:
        await api.stage.engine.put_api_key(
            digest("hbk_own"), ApiKey("own", (KeyRight.PUBLISH,), ("news-*", "bare:*"), 0)
        )
        assert (await api.result("publish", {"channel": "News-Today", "data": 1}, "hbk_own"))["offset"] == 1
        assert (await api.result("publish", {"channel": "bare:A", "data": 1}, "hbk_own"))["offset"] == 1
        assert (await api.stage.engine.head("bare:A")).seq == 1
        assert (await api.ask("publish", {"channel": "ops", "data": 1}, "hbk_own"))["error"]["code"] == 103
        assert (await api.ask("subscribe", {"user": "42", "channel": "ops"}, "hbk_own"))["error"]["code"] == 108


async def test_where_it_is_insecure_programs_on_this_machine_need_no_key() -> None:
    async with backend(door={"api_insecure": True}) as api:
        assert (await api.send("info", address="127.0.0.1")).status == 200
        assert (await api.send("info", address="192.0.2.7")).status == 401
        assert (await api.send("info", address="127.0.0.1", x_forwarded_for="192.0.2.7")).status == 401
        # A page that a browser on this machine shows is none of them.
        assert (await api.send("info", address="127.0.0.1", origin="https://evil.example")).status == 401
        assert (await api.send("info", address="127.0.0.1", sec_fetch_site="cross-site")).status == 401


async def test_what_cannot_be_read_has_a_status_of_its_own() -> None:
    async with backend() as api:
        assert (await api.send("fly", x_api_key=Hidden(KEY))).status == 404
        assert (await api.send("user_block", {"user": "42"}, x_api_key=Hidden(KEY))).status == 404
        assert (await api.send("publish", b"{", x_api_key=Hidden(KEY))).status == 400
        assert (await api.send("publish", b"[]", x_api_key=Hidden(KEY))).status == 400
        assert (await api.send("publish", {"channel": 5, "data": 1}, x_api_key=Hidden(KEY))).status == 400


# Saying something


async def test_what_is_published_has_its_place() -> None:
    async with backend() as api:
        fields = {"channel": "Chat", "data": {"x": 1}, "tags": {"a": "b"}, "unknown": 1, "idempotency_key": None}
        placed = await api.result("publish", fields)
        assert (placed["offset"], placed["epoch"]) == (1, (await api.stage.engine.head("Chat")).epoch)
        result = await api.result("history", {"channel": "Chat", "limit": 10})
        assert result["publications"] == [{"data": {"x": 1}, "offset": 1, "tags": {"a": "b"}}]
        encoded = base64.b64encode(b'{"y": 2}').decode()
        await api.result("publish", {"channel": "Chat", "data": 1, "b64data": encoded})
        assert await api.history("Chat") == [{"x": 1}, {"y": 2}]


async def test_namespaces_say_what_is_kept_and_what_is_told_of_it() -> None:
    async with backend() as api:
        assert await api.result("publish", {"channel": "bare:a", "data": 1}) == {}
        assert (await api.stage.engine.head("bare:a")).seq == 1
        assert await api.result("publish", {"channel": "gone:a", "data": 1}) == {}
        assert (await api.stage.engine.head("gone:a")).seq == 0
        assert await api.result("publish", {"channel": "a", "data": 1, "skip_history": True}) == {}
        assert (await api.stage.engine.head("a")).seq == 0


async def test_what_is_not_kept_is_heard() -> None:
    async with backend() as api:
        percy = await api.stage.client("percy")
        await percy.join("news")
        await api.result("publish", {"channel": "news", "data": 1, "skip_history": True})
        assert await percy.hear() == [{"type": "publication", "payload": {"room": "news", "data": 1}}]


async def test_what_is_taken_however_deep_is_heard_and_found_again() -> None:
    async with backend() as api:
        caller = await api.stage.caller("42")
        await caller.subscribe("a")
        taken = 0
        for depth in range(700, 1000):
            data = base64.b64encode(b"[" * depth + b"]" * depth).decode()
            for is_kept in (True, False):
                answer = await api.ask("publish", {"channel": "a", "b64data": data, "skip_history": not is_kept})
                taken += "result" in answer
                assert "result" in answer or answer["error"]["code"] == 107
        assert 0 < taken < 600
        assert b"".join(caller.writes).count(b"\n") == taken
        response = await api.send("history", {"channel": "a", "limit": -1}, x_api_key=KEY)
        assert response.body.count(b'"offset"') == taken // 2 + 1


async def test_a_key_names_what_was_said_first() -> None:
    async with backend() as api:
        first = await api.result("publish", {"channel": "a", "data": 1, "idempotency_key": "k"})
        assert await api.result("publish", {"channel": "a", "data": 2, "idempotency_key": "k"}) == first
        assert await api.history("a") == [1]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"data": 1}, 107),
        ({"channel": "a"}, 107),
        ({"channel": "a", "b64data": "?"}, 107),
        ({"channel": "undefined:a", "data": 1}, 102),
        ({"channel": "dm:alice,percy", "data": 1}, 102),
        ({"channel": "a b", "data": 1}, 107),
        ({"channel": "caf\u00e9", "data": 1}, 107),
        ({"channel": "x" * 256, "data": 1}, 107),
        ({"channel": "a", "data": "x" * 66_000}, 106),
    ],
)
async def test_what_cannot_be_published_is_refused(fields: dict[str, Any], code: int) -> None:
    async with backend() as api:
        assert await api.code("publish", fields) == code


async def test_an_error_begins_with_what_centrifugo_says() -> None:
    async with backend() as api:
        answer = await api.ask("publish", {"channel": "undefined:a", "data": 1})
        assert answer["error"]["message"].startswith("unknown channel: ")


async def test_a_closed_room_is_told_nothing() -> None:
    async with backend() as api:
        await api.stage.hub.close_room("news")
        assert await api.code("publish", {"channel": "news", "data": 1}) == 103


async def test_a_broadcast_tells_many_channels_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_api, "TOLD_AT_ONCE", 7)
    async with backend() as api:
        names = [f"a{number}" for number in range(50)]
        fields = {"channels": [*names, "undefined:a", ""], "data": 1, "idempotency_key": "k"}
        responses = (await api.result("broadcast", fields))["responses"]
        assert [each["result"]["offset"] for each in responses[:50]] == [1] * 50
        assert [each["error"]["code"] for each in responses[50:]] == [102, 107]
        assert (await api.result("broadcast", fields))["responses"] == responses
        assert await api.code("broadcast", {"channels": [], "data": 1}) == 107
        monkeypatch.setattr(door_api, "MAX_CHANNELS", 5)
        assert await api.code("broadcast", fields) == 106


async def test_nothing_is_over_a_budget() -> None:
    async with backend(client_rate=1, client_burst=1, daily_bytes=10, daily_rooms=1) as api:
        for number in range(20):
            assert (await api.result("publish", {"channel": f"a{number}", "data": "x" * 100}))["offset"] == 1


# History


async def test_history_reaches_as_far_as_its_namespace_says() -> None:
    async with backend() as api:
        for number in range(1, 6):
            await api.result("publish", {"channel": "few:a", "data": number})
            await api.result("publish", {"channel": "a", "data": number})
        assert await api.history("a") == [1, 2, 3, 4, 5]
        assert await api.history("few:a") == [3, 4, 5]
        assert await api.history("few:a", reverse=True) == [5, 4, 3]
        assert await api.history("few:a", since={"offset": 1, "epoch": ""}) == [3, 4, 5]
        assert await api.history("few:a", since={"offset": 4}) == [5]
        assert await api.history("few:a", since={"offset": 4}, reverse=True) == [3]
        assert await api.history("few:a", limit=2) == [3, 4]
        assert await api.history("few:a", limit=2, reverse=True) == [5, 4]
        assert await api.history("few:a", since={"offset": 9}) == []
        assert await api.history("few:a", limit=0) == []
        api.stage.clock.go(61)
        assert await api.history("few:a") == []
        assert (await api.result("history", {"channel": "few:a"}))["offset"] == 5
        other = {"channel": "few:a", "limit": 1, "since": {"offset": 1, "epoch": "other"}}
        assert await api.code("history", other) == 112


async def test_a_long_history_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_api, "PAGE", 4)
    async with backend() as api:
        for number in range(10):
            await api.result("publish", {"channel": "a", "data": number})
        assert await api.history("a") == list(range(10))
        assert await api.history("a", reverse=True) == list(reversed(range(10)))
        monkeypatch.setattr(door_api, "MAX_PUBLICATIONS", 6)
        assert await api.history("a") == await api.history("a", limit=9) == list(range(6))
        monkeypatch.setattr(door_api, "MAX_ANSWER", 10)
        assert await api.history("a") == [0, 1, 2, 3]


async def test_what_is_off_is_not_available() -> None:
    async with backend() as api:
        for method in ("history", "history_remove", "presence", "presence_stats"):
            assert await api.code(method, {"channel": "bare:a"}) == 108
            assert await api.code(method, {"channel": "undefined:a"}) == 102
            assert await api.code(method, {}) == 107


async def test_what_is_removed_is_not_found_again() -> None:
    async with backend() as api:
        percy = await api.stage.client("percy")
        await percy.join("a")
        for number in range(1, 4):
            await api.result("publish", {"channel": "a", "data": number})
        assert await api.result("history_remove", {"channel": "a"}) == {}
        assert await api.history("a") == []
        head = await api.stage.engine.head("a")
        assert (await api.result("history", {"channel": "a"})) == {
            "publications": [],
            "offset": 3,
            "epoch": head.epoch,
        }
        alice = await api.stage.client("alice")
        for seq, is_recovered in ((1, False), (2, False), (3, True)):
            joined = await alice.join("a", since={"seq": seq, "epoch": head.epoch})
            assert (joined["recovered"], joined["messages"]) == (is_recovered, [])
        for offset, is_recovered in ((1, False), (3, True)):
            caller = await api.stage.caller("42")
            reply = await caller.subscribe("a", recoverable=True, recover=True, offset=offset, epoch=head.epoch)
            assert (reply.get("recovered", False), "publications" in reply) == (is_recovered, False)
        assert (await api.result("publish", {"channel": "a", "data": 4}))["offset"] == 4
        assert not (await api.stage.engine.resume("a", Head(head.epoch, 2), 10)).is_recovered


# Who is there


async def test_presence_is_by_connection() -> None:
    async with backend() as api:
        first, second = await api.stage.caller("42", info=b'{"n":1}'), await api.stage.caller("42")
        for caller in (first, second):
            await caller.subscribe("a")
        assert await api.result("presence", {"channel": "a"}) == {
            "presence": {
                first.id: {"user": "42", "client": first.id, "conn_info": {"n": 1}},
                second.id: {"user": "42", "client": second.id},
            }
        }
        assert await api.result("presence_stats", {"channel": "a"}) == {"num_clients": 2, "num_users": 1}
        assert await api.result("presence", {"channel": "b"}) == {"presence": {}}


async def test_channels_are_those_that_somebody_is_in() -> None:
    async with backend() as api:
        await api.result("publish", {"channel": "empty", "data": 1})
        for user, room in (("percy", "news"), ("alice", "news"), ("alice", "ops"), ("percy", "The Lounge")):
            await (await api.stage.client(user)).join(room)
        assert await api.result("channels") == {"channels": {"news": {"num_clients": 2}, "ops": {"num_clients": 1}}}
        assert list((await api.result("channels", {"pattern": "n*"}))["channels"]) == ["news"]
        assert await api.code("channels", {"pattern": "{a"}) == 107
        assert await api.code("channels", {"pattern": "*a" * 100}) == 107


async def test_info_tells_of_the_node() -> None:
    async with backend() as api:
        await (await api.stage.client("percy")).join("news")
        [node] = (await api.result("info"))["nodes"]
        assert node["uid"] == "node-1"
        assert {name for name in node if name.startswith("num_")} == {
            *("num_clients", "num_users", "num_subs", "num_channels"),
        }
        assert node["num_clients"] == 1


# Connections


async def test_all_connections_of_a_user_are_meant_or_one_of_them() -> None:
    hands = NotingHands()
    hands.add("42", "c1", channels=("a", "b"))
    hands.add("42", "c2", session="s2", channels=("a",))
    hands.add("7", "c3", channels=("a",))
    async with backend(hands) as api:
        await api.result("unsubscribe", {"user": "42", "channel": "a"})
        assert hands.take() == [("unsubscribe", "c1", "a"), ("unsubscribe", "c2", "a")]
        await api.result("unsubscribe", {"user": "42", "channel": "a", "client": "c1"})
        assert hands.take() == [("unsubscribe", "c1", "a")]
        await api.result("unsubscribe", {"user": "42", "channel": "a", "session": "s2"})
        assert hands.take() == [("unsubscribe", "c2", "a")]
        await api.result("unsubscribe", {"user": "42", "client": "c1"})
        assert hands.take() == [("unsubscribe", "c1", "a"), ("unsubscribe", "c1", "b")]
        await api.result("unsubscribe", {"user": "nobody", "channel": "a"})
        await api.result("unsubscribe", {"user": "42", "channel": "a", "client": "c3"})
        assert hands.take() == []
        assert await api.code("unsubscribe", {"user": "42", "channel": "undefined:a"}) == 102


async def test_a_user_is_subscribed_and_told() -> None:
    async with backend() as api:
        for number in (1, 2):
            await api.result("publish", {"channel": "told:a", "data": number})
        first, other = await api.stage.caller("42"), await api.stage.caller("7")
        fields = {
            "user": "42",
            "channel": "told:a",
            "info": {"i": 1},
            "b64data": base64.b64encode(b"[2]").decode(),
            "expire_at": int(api.stage.clock.now) + 100,
        }
        await api.result("subscribe", fields)
        [push] = await first.pushes()
        assert (push["channel"], push["subscribe"]["data"], push["subscribe"]["offset"]) == ("told:a", [2], 2)
        assert await other.pushes() == []
        [info] = (await api.result("presence", {"channel": "told:a"}))["presence"].values()
        assert info["chan_info"] == {"i": 1}
        assert first.client.subscriptions["told:a"].expires_at == fields["expire_at"]
        await api.result("subscribe", fields)  # once more, which is no error
        assert await first.pushes() == []
        await api.result("publish", {"channel": "told:a", "data": 3})
        assert await first.publications() == [3]


async def test_what_was_missed_comes_with_a_subscription() -> None:
    async with backend() as api:
        for number in (1, 2, 3):
            await api.result("publish", {"channel": "told:a", "data": number})
        epoch = (await api.stage.engine.head("told:a")).epoch
        caller = await api.stage.caller("42")
        since = {"offset": 1, "epoch": epoch}
        await api.result("subscribe", {"user": "42", "channel": "told:a", "recover_since": since})
        pushes = await caller.pushes()
        assert sorted(push["pub"]["data"] for push in pushes if "pub" in push) == [2, 3]


async def test_options_are_others_for_one_subscription() -> None:
    async with backend() as api:
        caller = await api.stage.caller("42")
        override = {"presence": {"value": True}, "join_leave": None, "force_positioning": {}}
        await api.result("subscribe", {"user": "42", "channel": "bare:a", "override": override})
        namespace = caller.client.subscriptions["bare:a"].namespace
        assert (namespace.presence, namespace.join_leave, namespace.force_positioning) == (True, False, False)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"channel": ""}, 107),
        ({"channel": "undefined:a"}, 102),
        ({"b64data": "?"}, 107),
        ({"b64info": base64.b64encode(b"no JSON").decode()}, 107),
        ({"user": "x" * 257}, 107),
        ({"info": "x" * 4095}, 107),
    ],
)
async def test_what_is_no_subscription_is_refused(fields: dict[str, Any], code: int) -> None:
    async with backend() as api:
        assert await api.code("subscribe", {"user": "42", "channel": "a", **fields}) == code


async def test_a_user_is_unsubscribed_and_told() -> None:
    async with backend() as api:
        caller = await api.stage.caller("42")
        await caller.subscribe("a")
        await caller.subscribe("b")
        await api.result("unsubscribe", {"user": "42", "channel": "a", "client": caller.id})
        assert await caller.pushes() == [
            {"channel": "a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
        ]
        assert list(caller.client.subscriptions) == ["b"]
        await api.result("unsubscribe", {"user": "42"})
        assert not caller.client.subscriptions


async def test_a_user_is_disconnected() -> None:
    async with backend() as api:
        member = await api.stage.client("42")
        first, second = await api.stage.caller("42"), await api.stage.caller("42")
        await api.result("disconnect", {"user": "42", "client": first.id})
        assert (first.closed, second.closed, member.closed) == ((3503, "force disconnect"), None, None)
        custom = {"user": "42", "whitelist": [first.id], "disconnect": {"code": 4000, "reason": "over"}}
        await api.result("disconnect", custom)
        assert second.closed is not None
        # It is sent as it is, though 4000 is a code of ours that is another one here.
        assert (CLOSES.get(second.closed[0], second.closed[0]), second.closed[1]) == (4000, "over")
        assert member.close_code == CloseCode.KICKED
        for close in ({"code": 1006, "reason": "x"}, {"code": 4000, "reason": "x" * 124}, {"reason": "x"}):
            assert await api.code("disconnect", {"user": "42", "disconnect": close}) == 107


async def test_those_without_a_user_are_of_one() -> None:
    async with backend() as api:
        callers = [await api.stage.caller("") for _ in range(3)]
        callers[0].hang_up()
        await api.result("disconnect", {"user": "", "client": callers[1].id})
        assert [caller.closed is not None for caller in callers] == [False, True, False]
        await api.result("disconnect", {"user": ""})
        assert callers[2].closed == (3503, "force disconnect")
        for caller in callers[1:]:
            caller.hang_up()
        assert api.stage.core.connections.of_door("") == ()


async def test_a_user_goes_on_or_is_over() -> None:
    async with backend() as api:
        caller = await api.stage.caller("42", info=b"1")
        later = int(api.stage.clock.now) + 100
        await api.result("refresh", {"user": "42", "expire_at": later, "info": {"n": 2}})
        assert (caller.client.expires_at, caller.client.conn_info) == (later, b'{"n":2}')
        await api.result("refresh", {"user": "42"})
        assert (caller.client.expires_at, caller.client.conn_info) == (None, b'{"n":2}')
        await api.result("refresh", {"user": "42", "client": "another", "expired": True})
        assert caller.closed is None
        await api.result("refresh", {"user": "42", "expire_at": 1})
        assert caller.closed == (3005, "connection expired")


async def test_orders_reach_every_node_once() -> None:
    here, there = NotingHands(), NotingHands()
    for hands in (here, there):
        hands.add("42", "c1")
    async with backend(here) as api:
        Orders("node-2", api.stage.core.notices, there)
        await api.result("unsubscribe", {"user": "42", "channel": "a"})
        await api.result("subscribe", {"user": "42", "channel": "a"})
        await api.result("refresh", {"user": "42", "expired": True})
        await turns()
        done = [("unsubscribe", "c1", "a"), ("subscribe", "c1", "a"), ("close", "c1", 3005, "connection expired")]
        assert here.take() == there.take() == done
        await api.result("history_remove", {"channel": "a"})
        assert here.take() == there.take() == [("empty", "a", 0)]


async def turns() -> None:
    """Let others do what they have to do."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_orders_of_another_node_are_carried_out_in_their_order() -> None:
    class Slow(NotingHands):
        async def subscribe(self, client: DoorClient, order: SubscribeOrder) -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            await super().subscribe(client, order)

    here, there = NotingHands(), Slow()
    there.add("42", "c1")
    there.add("7", "c2")
    async with backend(here) as api:
        orders = Orders("node-2", api.stage.core.notices, there)
        await api.result("subscribe", {"user": "42", "channel": "a"})
        await api.result("unsubscribe", {"user": "42", "channel": "a"})
        await api.result("unsubscribe", {"user": "7", "channel": "a"})
        await turns()
        done = there.take()
        assert done[0] == ("unsubscribe", "c2", "a")  # which waits for nobody else
        assert done[1:] == [("subscribe", "c1", "a"), ("unsubscribe", "c1", "a")]
        assert not orders._last


async def test_a_hook_that_fails_keeps_nobody_else_out() -> None:
    hub = Hub()
    failed: list[str] = []

    @hub.on_join
    async def fail_once(room: str, client: Client) -> None:
        if not failed:
            failed.append(room)
            raise RuntimeError("a fault of the application")

    async with backend(hub=hub) as api:
        callers = [await api.stage.caller("42") for _ in range(2)]
        await api.result("subscribe", {"user": "42", "channel": "a"})
        assert [list(caller.client.subscriptions) for caller in callers] == [[], ["a"]]


async def test_what_another_version_tells_is_ignored() -> None:
    hands = NotingHands()
    hands.add("42", "c1")
    async with backend(hands) as api:
        for payload in (b"{", b'{"node":"x","order":{"order":"fly"}}', b"5"):
            for type_ in ("door_order", "census_asked", "census_answered", "census_begun", "disconnected_others"):
                api.stage.core.notices.tell(type_, payload)
        await api.stage.settle()
        assert hands.take() == []


# Several calls


async def test_a_batch_has_no_result_inside() -> None:
    async with backend() as api:
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "a", "data": 1}},
            {"broadcast": {"channels": ["a", "b"], "data": 2}},
            {"presence": {"channel": "a"}},
            {"history": {"channel": "undefined:a"}},
            {"user_block": {"user": "42"}},
            {"rpc": {"method": "x"}},
            {"rpc": {}},
        ]
        replies = (await api.ask("batch", {"commands": commands, "parallel": True}))["replies"]
        assert replies[0]["publish"]["offset"] == 1
        assert [each["result"]["offset"] for each in replies[1]["broadcast"]["responses"]] == [2, 1]
        assert replies[2] == {"presence": {"presence": {}}}
        assert [reply["error"]["code"] for reply in replies[3:]] == [102, 104, 104, 107]


async def test_a_large_batch_is_done_in_its_order() -> None:
    async with backend() as api:
        commands = [{"publish": {"channel": "a", "data": number}} for number in range(250)]
        replies = (await api.ask("batch", {"commands": commands}))["replies"]
        assert [reply["publish"]["offset"] for reply in replies] == list(range(1, 251))
        too_many: list[Any] = [{"info": {}}] * (MAX_COMMANDS + 1)
        assert (await api.ask("batch", {"commands": too_many}))["error"]["code"] == 106


async def test_calls_in_lines_are_answered_in_lines() -> None:
    async with backend() as api:
        lines = [
            {"id": 7, "method": "publish", "params": {"channel": "a", "data": 1}},
            {"method": 0, "params": {"channel": "a", "data": 2}},
            {"id": 8, "method": "presence", "params": {"channel": "bare:a"}},
            {"method": "fly"},
            {"method": 99},
            {"method": "info"},
        ]
        body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"
        response = await api.send("", body, x_api_key=KEY)
        answers = [json.loads(line) for line in response.body.split(b"\n")]
        assert (answers[0]["id"], answers[0]["result"]["offset"]) == (7, 1)
        assert ("id" in answers[1], answers[1]["result"]["offset"]) == (False, 2)
        assert (answers[2]["id"], answers[2]["error"]["code"]) == (8, 108)
        assert [answer["error"]["code"] for answer in answers[3:5]] == [104, 104]
        assert answers[5]["result"]["nodes"]
        assert (await api.send("", body)).status == 401
        for wrong in (b"", b"{", b"[]", b"{}\n" * (MAX_COMMANDS + 1)):
            assert (await api.send("", wrong, x_api_key=KEY)).status == 400


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        (DoorSettings(), False),
        (DoorSettings(api_key=Hidden(KEY)), True),
        (DoorSettings(api_insecure=True), True),
        (DoorSettings(api=False, api_key=Hidden(KEY)), False),
        (DoorSettings(api=False, api_insecure=True), False),
    ],
)
async def test_a_server_api_that_is_switched_off_takes_no_key(settings: DoorSettings, is_open: bool) -> None:
    async with door_at_work() as stage:
        desk = open_desk(stage.core, settings, stage.floor, cast(Entering, None))
        assert (desk is not None) is is_open
