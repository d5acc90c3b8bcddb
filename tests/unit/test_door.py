"""From a request for a WebSocket to a client of the hub, or to a refusal; on a transport that is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack
from typing import Any

import pytest
import structlog

from hubbub import Client, CloseCode, Event, Hub, Refused, budgets
from hubbub.client import Participant
from hubbub.dialect import CLASSIC, V1
from hubbub.engine import Grant
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import EngineError
from hubbub.otp import OneTimePasswords
from hubbub.rules import Rule
from hubbub.testing import Clock, Stage, at_work
from hubbub.wire import door as door_module
from hubbub.wire import upgrade as upgrade_module
from hubbub.wire.common import Common
from hubbub.wire.door import RETRY_AFTER_S, Door, OtpCredentials, otp_of
from hubbub.wire.frames import text_frame
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request
from hubbub.wire.upgrade import Upgrades
from hubbub.wire.websocket import WireSettings

pytestmark = pytest.mark.anyio

ELSEWHERE = "192.0.2.1"
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


class Line(asyncio.Transport):
    """A connection's transport: what is written stays here.

    Attributes:
        writes: what was written, a write each.
        protocol: what the connection has been given to.
        ended: how it was ended from this side, if it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.protocol: Any = None
        self.ended: str | None = None
        self.is_gone = False

    # What the other end does

    def say(self, data: bytes) -> None:
        """Send a masked text message."""
        self.feed(pack("!BBI", 0x81, 0x80 | len(data), 0) + data)

    def feed(self, data: bytes) -> None:
        """Send bytes of frames."""
        self.protocol.get_buffer(-1)[: len(data)] = data
        self.protocol.buffer_updated(len(data))

    def hang_up(self) -> None:
        """Be gone."""
        self.is_gone = True
        self.protocol.connection_lost(None)

    # What was written

    @property
    def status(self) -> int:
        """The status of the answer."""
        return int(self.writes[0].split(b" ", 2)[1])

    @property
    def head(self) -> list[str]:
        """The lines of the answer's head."""
        return self.writes[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")

    @property
    def error(self) -> dict[str, str]:
        """What a refusal says."""
        error: dict[str, str] = json.loads(self.writes[0].partition(b"\r\n\r\n")[2])["error"]
        return error

    # What the server calls

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.is_gone or self.ended is not None

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Farewell(Event, tag="farewell"):
    text: str


class Shaky(MemoryEngine):
    """An engine that cannot do some of what it is asked.

    Attributes:
        broken: the names of what fails.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, wall=clock)
        self.broken: set[str] = set()

    async def take_otp(self, otp: str) -> Grant | None:
        self._try("take_otp")
        return await super().take_otp(otp)

    async def subscribe(self, room: str) -> None:
        self._try("subscribe")
        await super().subscribe(room)

    def _try(self, what: str) -> None:
        if what in self.broken:
            raise EngineError("out of reach")


class Entrance:
    """A hub behind its door."""

    def __init__(self, stage: Stage, engine: Shaky) -> None:
        settings = stage.settings
        self.stage = stage
        self.engine = engine
        self.core = stage.core
        self.otps = OneTimePasswords(engine, ttl_s=settings.otp_ttl, per_account=0, in_all=0)
        self.door = Door(stage.core, OtpCredentials(self.otps), settings)
        sockets = WireSettings(settings.max_frame, Readers(settings.max_frame))
        self.upgrades = Upgrades(stage.core, self.door, sockets, Common(b"X-Common: yes\r\n", stage.clock))

    async def otp(self, user: str = "percy") -> str:
        """A one-time password of somebody who has logged in."""
        grant = Grant(user, f"session of {user}")
        await self.engine.put_session(grant, 3600)
        return await self.otps.issue(grant)

    def begin(self, request: Request) -> Line:
        """Ask for a WebSocket; without waiting for the answer."""
        line = Line()
        self.upgrades.begin(line, request)
        return line

    async def ask(self, request: Request) -> Line:
        """Ask for a WebSocket."""
        line = self.begin(request)
        await self.upgrades.tasks.wait()
        return line

    async def knock(self, user: str = "percy", **more: Any) -> Line:
        """Ask for a v1 WebSocket with a fresh one-time password."""
        return await self.ask(request(await self.otp(user), **more))

    async def assert_has_place(self) -> None:
        """There is room for one more, who then leaves."""
        line = await self.knock("the next one")
        assert line.status == 101, line.writes
        line.hang_up()

    @property
    def clients(self) -> list[Participant]:
        return list(self.core.clients)


@asynccontextmanager
async def entrance(hub: Hub | None = None, **settings: Any) -> AsyncIterator[Entrance]:
    clock = Clock()
    engine = Shaky(clock)
    async with at_work(hub, engine=engine, clock=clock, **settings) as stage:
        yield Entrance(stage, engine)


def request(
    otp: str | None = None,
    *,
    method: str = "GET",
    path: str = "/ws",
    query: str = "",
    address: str = ELSEWHERE,
    protocols: str = "hubbub.v1",
    **headers: str | None,
) -> Request:
    """A right request for a WebSocket, with what is given in place of what is right; None leaves a header out.

    Args:
        otp: goes beside the subprotocols, or into the URL where there are none.
    """
    if otp is not None and protocols:
        protocols += f", otp.{otp}"
    elif otp is not None:
        query = f"otp={otp}&{query}" if query else f"otp={otp}"
    values = {
        "host": "chat.example",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": SAMPLE_KEY,
        "origin": "https://chat.example",
        "sec-websocket-protocol": protocols or None,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    named = {name: [value] for name, value in values.items() if value is not None}
    return Request(method, path, query, named, address)


# Who is let in


async def test_a_v1_client_is_answered_and_welcomed() -> None:
    async with entrance() as here:
        line = await here.knock()
        assert line.head[0] == "HTTP/1.1 101 Switching Protocols"
        assert "Sec-WebSocket-Protocol: hubbub.v1" in line.head
        assert SAMPLE_ACCEPT in line.writes[0]
        (client,) = here.clients
        assert (client.user, client.session, client.dialect) == ("percy", "session of percy", V1)
        welcome = json.loads(line.writes[1][4:])
        assert welcome["type"] == "welcome"
        payload = welcome["payload"]
        assert payload["user"] == "percy"
        assert payload["rooms"] == []
        assert payload["heartbeat"] == {"interval": 9.0, "timeout": 10.0}
        assert set(payload["limits"]) == {"max_frame", "max_message", "max_room_name", "client_rate", "client_burst"}
        assert payload["session"] not in ("", client.session), "it names this connection, and lets nobody in"
        other = await here.knock()
        assert json.loads(other.writes[1][4:])["payload"]["session"] != payload["session"]


async def test_who_may_invite_is_told_so() -> None:
    everybody = Rule(rooms=("*",), roles=("member",), may=("join", "read", "post", "presence", "create", "invite"))
    for rules, features in (((), ["search"]), ((everybody,), ["search", "invite"])):
        async with entrance(permissions=rules) as here:
            line = await here.knock()
            assert json.loads(line.writes[1][4:])["payload"]["features"] == features


async def test_a_classic_client_is_in_general_and_hears_nothing() -> None:
    async with entrance() as here:
        line = await here.ask(request(await here.otp(), protocols=""))
        assert line.status == 101
        assert not [header for header in line.head if header.startswith("Sec-WebSocket-Protocol")]
        assert len(line.writes) == 1
        (client,) = here.clients
        assert client.dialect is CLASSIC
        assert client.rooms == ("general",)


async def test_subprotocols_that_are_unknown_are_passed_over() -> None:
    async with entrance() as here:
        line = await here.ask(request(await here.otp(), protocols="graphql, hubbub.v1"))
        assert "Sec-WebSocket-Protocol: hubbub.v1" in line.head
        line = await here.ask(request(await here.otp(), protocols="graphql"))
        assert line.status == 101
        assert not [header for header in line.head if header.startswith("Sec-WebSocket-Protocol")]


@pytest.mark.parametrize(
    ("protocols", "query", "muted"),
    [
        ("", "name=whoever", "percy"),
        ("", "name=", "percy"),
        ("", "", None),
        ("", "username=percy", None),
        ("hubbub.v1", "name=whoever", None),
    ],
)
async def test_a_classic_client_with_a_name_in_its_url_is_not_sent_its_own(
    protocols: str, query: str, muted: str | None
) -> None:
    async with entrance() as here:
        await here.ask(request(await here.otp(), protocols=protocols, query=query))
        (client,) = here.clients
        assert client.audience == (client.dialect, text_frame, muted)


@pytest.mark.parametrize("path", ["/ws", "/"])
async def test_websockets_are_at_two_paths(path: str) -> None:
    async with entrance() as here:
        assert (await here.knock(path=path)).status == 101


async def test_what_a_client_says_reaches_the_hub_and_comes_back() -> None:
    async with entrance() as here:
        line = await here.knock()
        line.say(b'{"type":"join_room","id":1,"payload":{"room":"lunch"}}')
        await here.stage.settle()
        assert b'"type":"ack","id":1' in line.writes[-1]
        assert here.stage.hub.room("lunch").users == ["percy"]


# One-time passwords


async def test_a_one_time_password_is_used_once() -> None:
    async with entrance() as here:
        otp = await here.otp()
        assert (await here.ask(request(otp))).status == 101
        refused = await here.ask(request(otp))
        assert refused.status == 401
        assert refused.error["code"] == "unauthorized"


@pytest.mark.parametrize("otp", [None, "", "guess"])
@pytest.mark.parametrize("protocols", ["", "hubbub.v1"])
async def test_without_a_one_time_password_nobody_comes_in(otp: str | None, protocols: str) -> None:
    async with entrance() as here:
        assert (await here.ask(request(otp, protocols=protocols))).status == 401
        assert here.clients == []


@pytest.mark.parametrize(("age_s", "status"), [(4.999, 101), (5.0, 401)])
async def test_a_one_time_password_dies_on_time(age_s: float, status: int) -> None:
    async with entrance(otp_ttl=5.0) as here:
        otp = await here.otp()
        here.stage.clock.go(age_s)
        assert (await here.ask(request(otp))).status == status


def test_a_one_time_password_is_taken_from_the_subprotocols_first() -> None:
    assert otp_of(request("one", query="otp=two")) == "one"
    assert otp_of(request("one", protocols="", query="otp=two")) == "one"
    assert otp_of(request(protocols="hubbub.v1, otp.one,otp.two")) == "one"
    assert otp_of(request()) is None


# The order of the checks

# Each refusal with what makes for it, in the order of the protocol page.
REFUSALS: list[tuple[str, int]] = [("draining", 503), ("full", 503), ("path", 404), ("origin", 403), ("otp", 401)]
WRONG: dict[str, dict[str, Any]] = {"path": {"path": "/chat"}, "origin": {"origin": "https://evil.example"}, "otp": {}}


@pytest.mark.parametrize("first", range(len(REFUSALS)), ids=[name for name, _ in REFUSALS])
async def test_the_first_thing_that_is_wrong_is_told(first: int) -> None:
    wrong = [name for name, _ in REFUSALS[first:]]
    async with entrance(max_clients=1) as here:
        right = await here.otp()
        if "full" in wrong:
            await here.knock()
        if "draining" in wrong:
            here.core.start_draining()
        more = {key: value for name in wrong for key, value in WRONG.get(name, {}).items()}
        line = await here.ask(request(None if "otp" in wrong else right, **more))
        assert line.status == REFUSALS[first][1]
        if wrong[0] == "draining":
            assert "restarting" in line.error["message"]
        if wrong[0] == "full":
            assert "full" in line.error["message"]


@pytest.mark.parametrize("name", ["full", "path", "origin"])
async def test_a_refusal_before_the_one_time_password_does_not_burn_it(name: str) -> None:
    async with entrance(max_clients=1) as here:
        otp = await here.otp()
        other = await here.knock() if name == "full" else None
        assert (await here.ask(request(otp, **WRONG.get(name, {})))).status == dict(REFUSALS)[name]
        if other is not None:
            other.hang_up()
        assert (await here.ask(request(otp))).status == 101


@pytest.mark.parametrize("name", ["draining", "full"])
async def test_a_refusal_for_now_says_when_to_come_back(name: str) -> None:
    async with entrance(max_clients=1) as here:
        await here.knock()
        if name == "draining":
            here.core.start_draining()
        line = await here.knock()
        assert f"Retry-After: {RETRY_AFTER_S}" in line.head
        assert line.error["code"] == "unavailable"


# The handshake


@pytest.mark.parametrize(
    ("wrong", "status", "header"),
    [
        ({"method": "POST"}, 405, "Allow: GET"),
        ({"host": None}, 400, None),
        ({"host": ""}, 400, None),
        ({"sec_websocket_version": None}, 426, "Sec-WebSocket-Version: 13"),
        ({"sec_websocket_version": "8"}, 426, "Upgrade: websocket"),
        ({"sec_websocket_key": None}, 400, None),
        ({"sec_websocket_key": "too short"}, 400, None),
        ({"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA"}, 400, None),
        ({"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAAAA"}, 400, None),
        ({"sec_websocket_key": "\xff"}, 400, None),
    ],
)
async def test_a_broken_handshake_is_refused(wrong: dict[str, Any], status: int, header: str | None) -> None:
    async with entrance() as here:
        otp = await here.otp()
        line = await here.ask(request(otp, **wrong))
        assert line.status == status
        assert line.error["code"] == "bad_request"
        assert header is None or header in line.head
        assert ("Connection: upgrade, close" if status == 426 else "Connection: close") in line.head
        assert "X-Common: yes" in line.head
        assert line.ended == "closed"
        assert (await here.ask(request(otp))).status == 101, "and the one-time password is as good as before"


async def test_a_refusal_of_a_head_request_has_no_body() -> None:
    async with entrance() as here:
        line = await here.ask(request(await here.otp(), method="HEAD"))
        assert line.status == 405
        assert line.writes[0].endswith(b"\r\n\r\n")


async def test_a_refusal_is_a_line_with_its_reason() -> None:
    async with entrance() as here:
        with structlog.testing.capture_logs() as lines:
            await here.ask(request("nonsense"))
        [told] = [each for each in lines if each["event"] == "upgrade refused"]
        assert told["log_level"] == "info"
        assert (told["status"], told["address"]) == (401, ELSEWHERE)
        assert "one-time password" in told["reason"]
        assert "nonsense" not in str(told)


# Origins


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://chat.example", 101),
        ("https://CHAT.example", 101),
        ("https://chat.example:443", 101),
        ("https://listed.example", 101),
        (None, 101),
        ("http://chat.example", 403),
        ("https://chat.example:8443", 403),
        ("https://chat.example.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_pages_of_other_origins_stay_outside(origin: str | None, status: int) -> None:
    async with entrance(allow_origin=("https://listed.example",)) as here:
        line = await here.knock(origin=origin)
        assert line.status == status
        if status == 403:
            assert "--allow-origin" in line.error["message"]


# Places


async def test_the_most_clients_are_counted() -> None:
    async with entrance(max_clients=2) as here:
        first, second, third = [await here.knock() for _ in range(3)]
        assert (first.status, second.status, third.status) == (101, 101, 503)
        second.hang_up()
        assert (await here.knock()).status == 101
        assert (await here.knock()).status == 503


async def test_an_account_with_many_connections_leaves_the_last_places_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "MANY", 3)
    async with entrance(max_clients=16) as here:
        for number in range(10):
            assert (await here.knock(f"user{number}")).status == 101
        lines = [await here.knock() for _ in range(6)]
        assert [line.status for line in lines] == [101, 101, 101, 503, 503, 503]
        assert "many connections" in lines[3].error["message"]
        assert (await here.knock("alice")).status == 101
        lines[0].hang_up()
        assert (await here.knock()).status == 101


async def test_those_on_the_way_in_are_counted() -> None:
    async with entrance(max_clients=1) as here:
        begun = here.begin(request(await here.otp()))
        assert (await here.knock()).status == 503
        await here.upgrades.tasks.wait()
        assert begun.status == 101


async def test_the_most_clients_of_an_address_are_counted() -> None:
    async with entrance(max_clients_per_address=2) as here:
        lines = [await here.knock() for _ in range(3)]
        assert [line.status for line in lines] == [101, 101, 503]
        assert ELSEWHERE in lines[2].error["message"]
        assert (await here.knock(address="192.0.2.2")).status == 101
        lines[0].hang_up()
        assert (await here.knock()).status == 101


async def test_this_machine_may_come_as_often_as_it_likes() -> None:
    async with entrance(max_clients_per_address=1) as here:
        assert {(await here.knock(address="127.0.0.1")).status for _ in range(3)} == {101}


@pytest.mark.parametrize(
    "wrong", [{"path": "/chat"}, {"origin": "https://evil.example"}, {"method": "POST"}, {"sec_websocket_key": "x"}]
)
@pytest.mark.parametrize("limit", ["max_clients", "max_clients_per_address"])
async def test_a_request_that_is_refused_gives_its_place_back(wrong: dict[str, Any], limit: str) -> None:
    settings: dict[str, Any] = {limit: 1}
    async with entrance(**settings) as here:
        for _ in range(2):
            assert (await here.knock(**wrong)).status >= 400
        assert (await here.ask(request("guess"))).status == 401
        await here.assert_has_place()


@pytest.mark.parametrize("is_by_peer", [True, False])
async def test_a_client_that_leaves_gives_its_place_back(is_by_peer: bool) -> None:
    async with entrance(max_clients=1) as here:
        line = await here.knock()
        if is_by_peer:
            line.feed(pack("!BBIH", 0x88, 0x82, 0, 1000))
        else:
            here.clients[0].close()
        line.hang_up()
        assert here.clients == []
        await here.assert_has_place()


# Hooks, and the engine


async def test_a_hook_keeps_a_client_out() -> None:
    hub = Hub()
    seen = []

    @hub.on_connect
    def only_percy(client: Client) -> None:
        seen.append(client.user)
        if client.user == "mallory":
            raise Refused("banned", "not you")

    async with entrance(hub, max_clients=1) as here:
        line = await here.ask(request(await here.otp("mallory"), protocols=""))
        assert line.status == 403
        assert line.error == {"code": "banned", "message": "not you"}
        assert here.clients == []
        await here.assert_has_place()
        assert seen == ["mallory", "the next one"]


@pytest.mark.parametrize("reason", ["not you", "ä" * 200, ""])
async def test_a_v1_client_is_told_why_it_is_kept_out(reason: str) -> None:
    hub = Hub()
    left = []

    @hub.on_connect
    def nobody(client: Client) -> None:
        if client.user == "mallory":
            client.send(Farewell(text="never heard"))
            raise Refused("banned", reason)

    @hub.on_disconnect
    def note(client: Client) -> None:
        left.append(client.user)

    async with entrance(hub, max_clients=1) as here:
        line = await here.knock("mallory")
        assert line.status == 101
        told = reason.encode()[:122] if "ä" in reason else reason.encode()
        assert line.writes[1:] == [b"\x88" + pack("!BH", len(told) + 2, 4103) + told]
        assert here.clients == []
        line.say(b'{"type":"join_room","id":1,"payload":{"room":"lunch"}}')
        await here.stage.settle()
        assert len(line.writes) == 2, "it is not listened to"
        line.hang_up()
        await here.assert_has_place()
        await here.stage.settle()
        assert left == ["the next one"]


async def test_a_v1_client_whose_account_is_blocked_on_its_way_in_is_told_so() -> None:
    async with entrance() as here:
        await here.stage.account("percy")
        otp = await here.otp()
        here.core.ledger.access.blocked.add("percy")
        line = await here.ask(request(otp))
        assert line.writes[1][2:] == pack("!H", 4103) + b"this account is blocked"


async def test_a_refusal_for_now_is_one_to_come_back_from() -> None:
    hub = Hub()

    @hub.on_connect
    def later(_client: Client) -> None:
        raise Refused("unavailable", "the database is away")

    async with entrance(hub) as here:
        line = await here.knock()
        assert line.status == 503
        assert line.error["message"] == "the database is away"


@pytest.mark.parametrize("error", [ZeroDivisionError("of secrets"), asyncio.CancelledError()])
async def test_a_hook_that_fails_keeps_its_client_out(error: BaseException) -> None:
    hub = Hub()

    @hub.on_connect
    async def fail(client: Client) -> None:
        if client.user == "percy":
            raise error

    async with entrance(hub, max_clients=1) as here:
        with structlog.testing.capture_logs() as lines:
            line = await here.knock()
        assert line.status == 500
        assert line.error["code"] == "internal"
        assert "secrets" not in line.error["message"]
        assert [said["event"] for said in lines if said["log_level"] == "error"] == ["upgrade failed"]
        assert here.clients == []
        await here.assert_has_place()


@pytest.mark.parametrize(("broken", "protocols"), [("take_otp", "hubbub.v1"), ("subscribe", "")])
async def test_an_engine_out_of_reach_is_worth_another_try(broken: str, protocols: str) -> None:
    async with entrance(max_clients=1) as here:
        otp = await here.otp()
        here.engine.broken.add(broken)
        line = await here.ask(request(otp, protocols=protocols))
        assert line.status == 503
        assert f"Retry-After: {RETRY_AFTER_S}" in line.head
        assert here.clients == []
        here.engine.broken.clear()
        await here.assert_has_place()


async def test_a_session_that_ends_on_the_way_in_is_kept_out() -> None:
    hub = Hub()
    go_on = asyncio.Event()

    @hub.on_connect
    async def wait(_client: Client) -> None:
        await go_on.wait()

    async with entrance(hub, max_clients=1) as here:
        line = here.begin(request(await here.otp()))
        await asyncio.sleep(0)
        await here.engine.end_session("session of percy")
        go_on.set()
        await here.upgrades.tasks.wait()
        assert line.status == 403
        await here.assert_has_place()


# The connection meanwhile


async def test_a_client_that_goes_on_the_way_in_is_seen_out() -> None:
    hub = Hub()
    go_on = asyncio.Event()
    left = []

    @hub.on_connect
    async def wait(client: Client) -> None:
        if client.user == "percy":
            await go_on.wait()

    @hub.on_disconnect
    def note(client: Client) -> None:
        left.append(client.user)

    async with entrance(hub, max_clients=1) as here:
        line = here.begin(request(await here.otp(), protocols=""))
        await asyncio.sleep(0)
        line.hang_up()
        go_on.set()
        await here.upgrades.tasks.wait()
        await here.stage.settle()
        assert line.writes == []
        assert here.clients == []
        assert here.stage.hub.room("general").members == ()
        assert left == ["percy"]
        await here.assert_has_place()


async def test_a_client_that_goes_before_its_refusal_is_written_nothing() -> None:
    async with entrance(max_clients=1) as here:
        line = here.begin(request("guess"))
        line.hang_up()
        await here.upgrades.tasks.wait()
        assert line.writes == []
        await here.assert_has_place()


async def test_frames_before_the_answer_end_the_connection() -> None:
    async with entrance() as here:
        line = here.begin(request(await here.otp()))
        line.protocol.data_received(b"\x81")
        assert line.ended == "aborted"
        await here.upgrades.tasks.wait()
        assert line.writes == []
        assert here.clients == []


@pytest.mark.parametrize("has_gone", [False, True])
async def test_a_refusal_that_is_not_taken_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, has_gone: bool) -> None:
    monkeypatch.setattr(upgrade_module, "RETRY_AFTER_S", 0)
    async with entrance() as here:
        here.core.start_draining()
        line = here.begin(request())
        assert line.ended == "closed"
        if has_gone:
            line.hang_up()
        for _ in range(3):
            await asyncio.sleep(0)
        assert line.ended == ("closed" if has_gone else "aborted"), "a timer is no more than its connection"


# Between the connection and its client


async def test_a_slow_connection_is_watched_until_it_has_caught_up() -> None:
    async with entrance() as here:
        line = await here.knock()
        (client,) = here.clients
        line.protocol.pause_writing()
        assert client in here.core.rooms.feeding.slow
        line.protocol.resume_writing()
        assert client not in here.core.rooms.feeding.slow


async def test_a_binary_message_closes_a_v1_client() -> None:
    async with entrance() as here:
        line = await here.knock()
        line.feed(pack("!BBI", 0x82, 0x81, 0) + b"x")
        assert line.writes[-1][:4] == pack("!BBH", 0x88, 2 + len("events are text frames"), CloseCode.UNSUPPORTED_DATA)


async def test_nothing_is_written_after_a_close() -> None:
    async with entrance() as here:
        line = await here.knock()
        (client,) = here.clients
        client.close(4101, "out")
        count = len(line.writes)
        client.write_text(b"{}")
        assert len(line.writes) == count


async def test_pings_count_against_the_rate() -> None:
    async with entrance(client_rate=1, client_burst=2) as here:
        line = await here.knock()
        for _ in range(4):
            line.feed(pack("!BBI", 0x89, 0x80, 0))
        assert line.writes.count(b"\x8a\x00") == 2


@pytest.mark.parametrize(
    ("frame", "code"), [(pack("!BBI", 0xF1, 0x80, 0), 1002), (pack("!BBIH", 0x88, 0x82, 0, 1001), None)]
)
async def test_an_end_that_needs_attention_is_logged(frame: bytes, code: int | None) -> None:
    async with entrance() as here:
        line = await here.knock()
        with structlog.testing.capture_logs() as lines:
            line.feed(frame)
            line.hang_up()
        said = [(each["event"], each["code"], each["user"], each["by"]) for each in lines]
        assert said == ([] if code is None else [("client left", code, "percy", "server")])


# Budgets


async def test_a_client_has_the_purses_of_its_account_and_its_address() -> None:
    async with entrance() as here:
        for user, address in (("percy", ELSEWHERE), ("percy", "192.0.2.2"), ("alice", ELSEWHERE), ("bob", "127.0.0.1")):
            await here.knock(user, address=address)
        one, two, three, local = [client.purses for client in here.clients]
        assert one[0] is two[0]
        assert one[1] is three[1]
        assert len({*one, *two, *three}) == 4
        assert len(local) == 1, "loopback has no budget"
        assert [purse.connections for purse in one] == [2, 2]


async def test_purses_are_kept_while_there_are_connections_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "FREE_A_LOOK", budgets.FREE)
    async with entrance() as here:
        lines = [await here.knock() for _ in range(2)]
        for count in (1, 1, 1, 0):
            if not count:
                lines.pop().hang_up()
            here.core.expire()
            here.core.expire()
            assert len(here.core.budgets.accounts) == len(here.core.budgets.addresses) == (1 if lines else 0)
            if len(lines) == 2:
                lines.pop().hang_up()


async def test_an_account_that_opens_too_many_connections_is_told_when_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "FREE", 1)
    monkeypatch.setattr(budgets, "OPENINGS_BURST", 2.0)
    monkeypatch.setattr(budgets, "OPENINGS_RATE", 0.1)
    async with entrance() as here:
        assert [(await here.knock(address="127.0.0.1")).status for _ in range(3)] == [101] * 3
        line = await here.knock(address="127.0.0.1")
        assert line.status == 503
        assert line.error["code"] == "unavailable"
        assert [field for field in line.head if field.startswith("Retry-After: ")] == ["Retry-After: 11"]
        here.stage.clock.go(11.0)
        await here.assert_has_place()


async def test_what_a_long_read_brings_is_counted() -> None:
    async with entrance(client_rate=1.0, client_burst=1.0, account_share=1.0) as here:
        line = await here.knock()
        with structlog.testing.capture_logs() as lines:
            for _ in range(10):
                line.say(b"x" * 100)
            assert not [entry for entry in lines if entry.get("what") == "bytes received"]
            data = b"x" * 1000  # the buffer narrows after a long read
            for _ in range(5):
                line.feed(pack("!BBHI", 0x81, 0x80 | 126, len(data), 0) + data)
        assert [entry["what"] for entry in lines if entry["event"] == "rate-limited"] == ["bytes received"]
