"""A hub within another application, as an ASGI server has it: requests, WebSockets, the start and the end."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from argon2 import PasswordHasher

import hubbub
from asgi_server import AsgiMessage, AsgiSocket, ask, call, lifespan, scope_of
from hubbub import Hub, Settings
from hubbub.errors import ConfigError
from hubbub.http.site import read_site
from hubbub.mount import websocket as websocket_module
from hubbub.mount.mounted import Mounted, mounted
from hubbub.mount.records import Divider, record
from hubbub.mount.scopes import Receive, Scope, Send
from hubbub.mount.websocket import AsgiWebSocket
from hubbub.service import Service

pytestmark = pytest.mark.anyio

LOGIN = b'{"username": "percy", "password": "123"}'


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with the least that argon2 takes."""
    cheap = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("hubbub.accounts.PasswordHasher", cheap)


@pytest.fixture(autouse=True)
def one_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the pages once for all tests."""
    monkeypatch.setattr("hubbub.service.read_site", SITE)


@pytest.fixture(autouse=True)
def logs_as_they_come() -> Iterator[None]:
    """Have no logging set up, as in the application of somebody who has not: an earlier test of a server may have."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        if name.startswith("hubbub.mount.") and hasattr(module, "log"):
            vars(module.log).pop("bind", None)  # what it has made of an earlier configuration
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


SITE = functools.cache(read_site)


def mount(folder: Path, hub: Hub | None = None, **changes: Any) -> Mounted:
    return hubbub.asgi(hub or Hub(), Settings(engine="memory://", demo=True, data_dir=folder), **changes)


@asynccontextmanager
async def a_chat(folder: Path, **changes: Any) -> AsyncIterator[tuple[Mounted, Service]]:
    """A mounted hub at work."""
    chat = mount(folder, **changes)
    async with chat.at_work() as service:
        yield chat, service


async def ticket(chat: Mounted, user: str = "percy") -> str:
    answer = await ask(chat, "POST", "/login", json.dumps({"username": user, "password": "123"}).encode())
    otp: str = answer.json["otp"]
    return otp


async def v1(chat: Mounted, user: str = "percy", **more: Any) -> AsgiSocket:
    """A client of the v1 dialect, welcomed."""
    offered = ["hubbub.v1", f"otp.{await ticket(chat, user)}"]
    socket = await AsgiSocket(chat, subprotocols=offered, **more).opened()
    assert socket.accepted == "hubbub.v1"
    return socket


# The start and the end


async def test_a_server_starts_and_stops_it(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with lifespan(chat) as answers:
        assert answers == [{"type": "lifespan.startup.complete"}]
        assert (await ask(chat, "GET", "/healthz")).body == b"ok"
    assert answers[1:] == [{"type": "lifespan.shutdown.complete"}]
    assert (await ask(chat, "GET", "/healthz")).status == 503


async def test_a_framework_starts_and_stops_it(tmp_path: Path) -> None:
    chat = mount(tmp_path)
    async with chat.lifespan(object()):
        assert (await ask(chat, "GET", "/healthz")).status == 200
    assert (await ask(chat, "GET", "/healthz")).status == 503


async def test_serving_brings_the_mounted_hub_to_work_and_listens_nowhere(tmp_path: Path) -> None:
    hub = Hub()
    chat = mount(tmp_path, hub)
    for _ in range(2):  # it works again after a stop
        async with hubbub.serving(hub) as service:
            assert (service.url, service.port, service.links, service.certificate) == ("", 0, [], None)
            assert (await ask(chat, "GET", "/healthz")).status == 200
            socket = await v1(chat)
            assert service.clients == 1
        assert socket.closed is not None
        assert socket.closed[0] == 1012


async def test_it_is_started_once(tmp_path: Path) -> None:
    hub = Hub()
    chat = mount(tmp_path, hub)
    async with chat.lifespan():
        with pytest.raises(ConfigError, match="at work already"):
            async with hubbub.serving(hub):
                pytest.fail("twice")
        with pytest.raises(ConfigError, match="at work already"):  # by another application
            async with (other := mount(tmp_path, hub)).lifespan():
                pytest.fail("twice")
        assert (await ask(chat, "GET", "/healthz")).status == 200
    assert mounted(hub) is other
    with pytest.raises(ConfigError, match=r"its settings are those that hubbub\.asgi was given"):
        async with hubbub.serving(hub, Settings()):
            pytest.fail("other settings")


async def test_nothing_holds_an_application_that_nobody_has_any_more(tmp_path: Path) -> None:
    hub = Hub()
    chat = weakref.ref(mount(tmp_path, hub))
    gc.collect()
    assert chat() is None
    assert mounted(hub) is None


async def test_a_start_that_fails_is_told_to_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chat = mount(tmp_path, engine="nothing://like-this")
    async with lifespan(chat) as answers:
        assert [answer["type"] for answer in answers] == ["lifespan.startup.failed"]
        assert "nothing://" in answers[0]["message"]
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert "nothing://" in line.message
    assert line.exc_info is None, "the reason says it all"


async def test_settings_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--client-rate"):
        mount(tmp_path, client_rate=-1)
    with pytest.raises(TypeError, match="no_such"):
        mount(tmp_path, no_such=1)


async def test_settings_come_from_the_environment_and_the_file_as_for_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBBUB_MAX_MESSAGE", "10")
    (tmp_path / "hubbub.toml").write_text("max-message = 20\nmax-rooms = 3\n")
    chat = hubbub.asgi(Hub(), engine="memory://", data_dir=tmp_path, max_frame=2000)
    async with chat.at_work() as service:
        settings = service._core.settings
        assert (settings.max_message, settings.max_rooms, settings.max_frame) == (10, 3, 2000)
    monkeypatch.setenv("HUBBUB_MAX_MESAGE", "10")
    with pytest.raises(ConfigError, match="HUBBUB_MAX_MESSAGE"):
        hubbub.asgi(Hub())


async def test_before_the_start_requests_are_answered_and_the_log_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("hubbub.mount.mounted.log.error", lambda event, **_more: told.append(event))
    chat = mount(tmp_path)
    for _ in range(5):
        answer = await ask(chat, "GET", "/")
        assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    socket = await AsgiSocket(chat).opened()
    assert socket.refused is not None
    assert socket.refused.status == 503
    assert len(told) == 2, "a flood of requests is no flood of lines"
    assert "FastAPI(lifespan=chat.lifespan)" in told[0]


async def test_a_stop_tells_clients_when_to_come_back_and_keeps_what_was_said(tmp_path: Path) -> None:
    hub = Hub()
    chat = mount(tmp_path, hub, engine=f"sqlite:///{tmp_path / 'a.db'}")
    async with chat.at_work():
        socket = await v1(chat)
        await socket.answer("join_room", {"room": "general"})
        socket.say("send_message", {"message": "hello", "key": "1"}, "said")
        for _ in range(3):
            await asyncio.sleep(0)  # the server has passed it on
    kinds = [event["type"] for event in socket.taken]
    assert kinds[-1] == "reconnect"
    assert "ack" in kinds
    assert socket.closed is not None
    assert socket.closed[0] == 1012
    async with chat.at_work():
        again = await v1(chat)
        joined = await again.answer("join_room", {"room": "general"})
        assert [message["message"] for message in joined["messages"]] == ["hello"]
        await again.leave()


# Requests


async def test_a_path_is_the_rest_below_the_root(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        # By the specification the path has the root in it; some servers and frameworks leave it out.
        assert (await ask(chat, "GET", "/chat/healthz", root_path="/chat")).body == b"ok"
        assert (await ask(chat, "GET", "/healthz", root_path="/chat")).body == b"ok"
        assert (await ask(chat, "GET", "/chatter/healthz", root_path="/chat")).status == 404
        page = await ask(chat, "GET", "/chat/", root_path="/chat")
        assert page.headers["content-type"].startswith("text/html")
        moved = await ask(chat, "GET", "/chat?a=b", root_path="/chat")
        assert (moved.status, moved.headers["location"]) == (307, "/chat/?a=b")
        assert (await ask(chat, "GET", "/he\x00llo")).status == 400
        # A root that a client has chosen a part of leads to no other host.
        moved = await ask(chat, "GET", "//evil.example", root_path="//evil.example")
        assert moved.headers["location"] == "/evil.example/"


async def test_answers_have_the_headers_of_every_answer_and_no_body_for_head(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        page = await ask(chat, "GET", "/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["content-length"] == str(len(page.body))
        assert "strict-transport-security" not in page.headers, "TLS is the server's around"
        head = await ask(chat, "HEAD", "/")
        assert (head.body, head.headers["content-length"]) == (b"", page.headers["content-length"])
        upgrade = await ask(chat, "GET", "/ws")
        assert (upgrade.status, upgrade.headers["upgrade"], upgrade.headers["connection"]) == (
            426,
            "websocket",
            "upgrade",
        )
        assert "upgrade" not in (await ask(chat, "GET", "/ws", http_version="2")).headers


async def test_a_body_is_bounded(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        answer = await ask(chat, "POST", "/login", *[LOGIN[:10], LOGIN[10:]])
        assert (answer.status, answer.headers.get("connection")) == (200, None)
        too_long = await ask(chat, "POST", "/login", *[b" " * 3000] * 4)
        assert (too_long.status, too_long.json["error"]["code"]) == (413, "too_large")
        assert too_long.headers["connection"] == "close", "the rest may have no end"
        by_http_2 = await ask(chat, "POST", "/login", *[b" " * 3000] * 4, http_version="2")
        assert (by_http_2.status, by_http_2.headers.get("connection")) == (413, None)
        told = await ask(chat, "POST", "/login", b"", headers={"content-length": "9" * 5000})
        assert told.status == 413
        larger = await ask(chat, "POST", "/chat/api/info", *[b" " * 3000] * 4, root_path="/chat")
        assert larger.status != 413, "other programs say much at once"


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with a_chat(tmp_path, request_timeout=0.01) as (chat, _):
        sent: list[AsgiMessage] = []

        async def receive() -> AsgiMessage:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: AsgiMessage) -> None:
            sent.append(message)

        await chat(scope_of("http", "/login", method="POST"), receive, send)
        assert sent[0]["status"] == 408


async def test_whoever_has_gone_is_not_answered(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):

        async def receive() -> AsgiMessage:
            return {"type": "http.disconnect"}

        async def send(_message: AsgiMessage) -> None:
            pytest.fail("an answer to nobody")

        await chat(scope_of("http", "/login", method="POST"), receive, send)


async def test_hosts_are_the_applications_business_unless_they_are_listed(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        assert (await ask(chat, "GET", "/healthz", headers={"host": "anything.example"})).status == 200
    async with a_chat(tmp_path, allow_host=("chat.example",)) as (chat, _):
        assert (await ask(chat, "GET", "/healthz")).status == 200
        assert (await ask(chat, "GET", "/healthz", headers={"host": "anything.example"})).status == 421


async def test_a_page_of_another_site_is_refused_and_the_own_one_is_not(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        for origin, scheme, status in (
            ("http://chat.example", "http", 200),
            ("https://chat.example", "https", 200),
            ("http://chat.example", "https", 403),
            ("http://evil.example", "http", 403),
        ):
            answer = await ask(chat, "POST", "/login", LOGIN, headers={"origin": origin}, scheme=scheme)
            assert answer.status == status, (origin, scheme)


@pytest.mark.parametrize(
    ("scheme", "root", "name", "path"),
    [
        ("http", "", "hubbub", "/"),
        ("https", "", "__Host-hubbub", "/"),
        ("http", "/chat", "hubbub", "/chat"),
        ("https", "/chat", "__Secure-hubbub", "/chat"),
        ("https", "/a;b ü", "__Secure-hubbub", "/a%3Bb%20%C3%BC"),
    ],
)
async def test_the_cookie_of_a_session_is_for_the_path_of_the_hub(
    tmp_path: Path, scheme: str, root: str, name: str, path: str
) -> None:
    async with a_chat(tmp_path) as (chat, _):
        own = {"origin": f"{scheme}://chat.example"}
        where = {"scheme": scheme, "root_path": root, "headers": own}
        login = json.dumps({"username": "percy", "password": "123", "remember": True}).encode()
        given = (await ask(chat, "POST", f"{root}/login", login, **where)).headers["set-cookie"]
        assert given.startswith(f"{name}=")
        assert f"; Path={path};" in given
        assert ("; Secure" in given) == (scheme == "https")
        where["headers"] = own | {"cookie": given.partition(";")[0]}
        assert (await ask(chat, "POST", f"{root}/otp", **where)).status == 200
        taken_back = (await ask(chat, "POST", f"{root}/logout", **where)).headers["set-cookie"]
        assert f"{name}=; Path={path}; Max-Age=0" in taken_back


async def test_the_address_is_what_a_trusted_proxy_says(tmp_path: Path) -> None:
    passed_on = {"x-forwarded-for": "192.0.2.7"}
    async with a_chat(tmp_path, demo=False, trusted_proxy=("10.0.0.0/8",), debug_public=False) as (chat, _):
        assert (await ask(chat, "GET", "/debug")).status == 200
        assert (await ask(chat, "GET", "/debug", client=("192.0.2.1", 1))).status == 403
        assert (await ask(chat, "GET", "/debug", client=("10.0.0.1", 1), headers=passed_on)).status == 403
        assert (await ask(chat, "GET", "/debug", client=None)).status == 403, "a Unix socket tells nobody's address"


async def test_the_demo_is_for_this_machine(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        assert (await ask(chat, "POST", "/login", LOGIN)).status == 200
        assert (await ask(chat, "POST", "/login", LOGIN, client=("192.0.2.1", 1))).status == 403
        passed_on = {"x-forwarded-for": "192.0.2.7"}
        assert (await ask(chat, "POST", "/login", LOGIN, headers=passed_on)).status == 403
        socket = await AsgiSocket(chat, client=("192.0.2.1", 1)).opened()
        assert socket.refused is not None
        assert socket.refused.status == 403


async def test_a_password_is_not_checked_for_somebody_who_has_gone(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):
        wanted = []
        answer = service._app.answer

        async def look(request: Any) -> Any:
            wanted.append(request.is_wanted())
            has_gone.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            wanted.append(request.is_wanted())
            return await answer(request)

        service._app.answer = look  # type: ignore[method-assign]
        has_gone = asyncio.Event()
        coming = [{"type": "http.request", "body": LOGIN, "more_body": False}]

        async def receive() -> AsgiMessage:
            if coming:
                return coming.pop()
            await has_gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message: AsgiMessage) -> None:
            pass

        await chat(scope_of("http", "/login", method="POST"), receive, send)
        assert wanted == [True, False]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_server_that_tells_of_a_body_again_and_again_holds_nobody_up(tmp_path: Path, fails: bool) -> None:
    async with a_chat(tmp_path) as (chat, _):
        sent: list[AsgiMessage] = []
        received: list[None] = []

        async def receive() -> AsgiMessage:
            received.append(None)
            if fails and len(received) > 1:
                raise RuntimeError("no more")
            return {"type": "http.request", "body": LOGIN, "more_body": False}

        async def send(message: AsgiMessage) -> None:
            sent.append(message)

        await chat(scope_of("http", "/login", method="POST"), receive, send)
        assert sent[0]["status"] == 200
        assert len(received) == 2


# Answers that do not end


class Hearing:
    """A client that hears a room's events, and the server between it and the application."""

    def __init__(self, chat: Mounted, path: str) -> None:
        self.sent: list[AsgiMessage] = []
        self.coming: asyncio.Queue[AsgiMessage] = asyncio.Queue()
        self.coming.put_nowait({"type": "http.request", "body": b""})
        self._heard = asyncio.Event()
        self.task = asyncio.create_task(call(chat, scope_of("http", path), self.coming.get, self._send))

    async def _send(self, message: AsgiMessage) -> None:
        self.sent.append(message)
        self._heard.set()

    async def hears(self, what: bytes) -> None:
        """Wait until something was told."""
        while what not in b"".join(each.get("body", b"") for each in self.sent):
            self._heard.clear()
            await self._heard.wait()


async def test_a_room_is_heard_until_the_client_goes(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):
        hearing = Hearing(chat, f"/rooms/general/events?otp={await ticket(chat)}")
        await hearing.hears(b"event: joined\n")
        start = hearing.sent[0]
        names = [name for name, _ in start["headers"]]
        assert (start["status"], b"content-length" in names, b"connection" in names) == (200, False, False)
        assert service.clients == 1
        hearing.coming.put_nowait({"type": "http.disconnect"})
        await hearing.task
        assert service.clients == 0


async def test_a_stop_ends_what_is_heard(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _service):
        hearing = Hearing(chat, f"/rooms/general/events?otp={await ticket(chat)}")
        await hearing.hears(b"event: joined\n")
    await hearing.task
    await hearing.hears(b"event: closed\n")
    assert not hearing.sent[-1].get("more_body", False)


# WebSockets


async def test_a_client_is_welcomed_and_told_that_no_pings_of_ours_come(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):
        socket = await v1(chat)
        welcome = await socket.hear()
        assert (welcome["type"], welcome["payload"]["user"]) == ("welcome", "percy")
        assert welcome["payload"]["heartbeat"]["interval"] == 0
        assert (await socket.answer("join_room", {"room": "general"}))["members"] == ["percy"]
        await socket.answer("send_message", {"message": "hello"})
        assert (await socket.hear())["payload"]["message"] == "hello"
        await socket.leave()
        assert service.clients == 0
        assert not service._wire.sockets


async def test_the_classic_dialect_speaks_too(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        socket = await AsgiSocket(chat, f"/chat/?otp={await ticket(chat)}", root_path="/chat").opened()
        assert socket.accepted is None
        socket.say("send_message", {"message": "hello", "from": "me"})
        event = await socket.hear()
        assert (event["type"], event["payload"]["from"]) == ("new_message", "percy")
        await socket.leave()


async def test_who_may_not_come_in_is_told_why_where_the_server_can(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):
        socket = await AsgiSocket(chat, subprotocols=["hubbub.v1", "otp.none"]).opened()
        assert socket.refused is not None
        assert (socket.refused.status, socket.refused.json["error"]["code"]) == (401, "unauthorized")
        assert socket.refused.headers["content-type"] == "application/json"
        foreign = await AsgiSocket(chat, headers={"origin": "https://evil.example"}).opened()
        assert foreign.refused is not None
        assert foreign.refused.status == 403
        elsewhere = await AsgiSocket(chat, "/elsewhere").opened()
        assert elsewhere.refused is not None
        assert elsewhere.refused.status == 404
        plain = await AsgiSocket(chat, extensions={}).opened()
        assert (plain.refused, plain.closed) == (None, (1008, "unauthorized"))
        assert service._upgrades.door.places._taken == 0
        assert service._core.counts.denied


async def test_a_hook_may_refuse_and_may_fail(tmp_path: Path) -> None:
    hub = Hub()

    @hub.on_connect
    async def check(client: hubbub.Client) -> None:
        if client.user == "percy":
            raise hubbub.Refused("forbidden", "not you")
        raise ZeroDivisionError

    chat = mount(tmp_path, hub)
    async with chat.at_work() as service:
        for user, protocols, status in (("percy", [], 403), ("alice", ["hubbub.v1"], 500)):
            offered = [*protocols, f"otp.{await ticket(chat, user)}"]
            socket = await AsgiSocket(chat, subprotocols=offered).opened()
            assert socket.refused is not None
            assert socket.refused.status == status
        socket = AsgiSocket(chat, subprotocols=["hubbub.v1", f"otp.{await ticket(chat)}"])
        await socket.task
        assert (socket.refused, socket.closed) == (None, (4103, "not you"))
        assert service._upgrades.door.places._taken == 0


async def test_who_is_on_the_way_in_at_a_stop_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.drain.OPENINGS_S", 0)
    hub, begun = Hub(), asyncio.Event()

    @hub.on_connect
    async def check(_client: hubbub.Client) -> None:
        begun.set()
        await asyncio.Event().wait()

    chat = mount(tmp_path, hub)
    async with chat.at_work():
        socket = AsgiSocket(chat, subprotocols=["hubbub.v1", f"otp.{await ticket(chat)}"])
        await begun.wait()
    await socket.task
    assert socket.refused is not None
    assert socket.refused.status == 503


async def test_what_breaks_a_rule_is_closed_with_its_code(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, _):
        for said, code in (("x" * 16_385, 1009), ("€" * 5_462, 1009), (b"x" * 16_385, 1009), (b"x", 1003)):
            socket = await v1(chat)
            socket.say_text(said) if isinstance(said, str) else socket.say_binary(said)
            await socket.task
            assert socket.closed is not None
            assert socket.closed[0] == code
        socket = await v1(chat)
        socket.say_text("€" * 5_461)
        while (await socket.hear())["type"] != "error":
            pass
        await socket.leave()


async def test_an_application_may_close_a_connection(tmp_path: Path) -> None:
    hub = Hub()
    chat = mount(tmp_path, hub)
    async with chat.at_work() as service:
        socket = await v1(chat)
        assert hub.disconnect("percy") == 1
        await socket.task
        assert socket.closed is not None
        assert socket.closed[0] == 4101
        assert service.clients == 0


async def test_a_close_reason_fits_into_a_frame(tmp_path: Path) -> None:
    hub = Hub()

    @hub.on
    def kick(_kick: Kick, client: hubbub.Client) -> None:
        client.close(4101, "€" * 100)

    chat = mount(tmp_path, hub)
    async with chat.at_work():
        socket = await v1(chat)
        socket.say("kick", {})
        await socket.task
        assert socket.closed == (4101, "€" * 41)


class Kick(hubbub.Event, tag="kick"):
    """Asks to be closed."""


async def test_a_flood_is_closed_and_costs_the_others_no_turn(tmp_path: Path) -> None:
    async with a_chat(tmp_path, client_rate=1, client_burst=1) as (chat, _):
        socket = await v1(chat)
        for _ in range(10_000):
            socket.say_text("{}")
        before = socket.received
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert socket.received - before <= 2 * websocket_module.TAKEN_AT_ONCE + 1
        await socket.task
        assert socket.closed is not None
        assert socket.closed[0] == 4102


async def test_a_flush_is_divided_once_and_is_one_wake_of_each_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    chat = mount(tmp_path, hub)
    divided: list[bytes] = []
    texts = Divider.texts

    def counted(self: Divider, joined: bytes) -> tuple[str, ...]:
        if joined is not self._joined:
            divided.append(joined)
        return texts(self, joined)

    monkeypatch.setattr(Divider, "texts", counted)
    async with chat.at_work() as service:
        sockets = [await v1(chat, user) for user in ("percy", "alice", "bob") for _ in range(3)]
        for socket in sockets:
            await socket.answer("join_room", {"room": "general"})
        await service._core.drained()
        for _ in range(5):
            await asyncio.sleep(0)
        for socket in sockets:
            socket.taken.clear()
        divided.clear()
        writes: list[bytes] = []

        def noted(write: Callable[[bytes], None], data: bytes) -> None:
            writes.append(data)
            write(data)

        for client in service._core.clients:
            client.write = functools.partial(noted, client.write)
        for number in range(4):
            hub.room("general").post(Note(number))
        await service._core.drained()
        assert (len(divided), len(writes)) == (1, 9)
        for socket in sockets:
            assert [(await socket.hear())["payload"]["number"] for _ in range(4)] == [0, 1, 2, 3]
            await socket.leave()


async def test_what_is_binary_goes_out_undivided() -> None:
    sent: list[AsgiMessage] = []
    both_sent = asyncio.Event()

    async def send(message: AsgiMessage) -> None:
        sent.append(message)
        if len(sent) == 2:
            both_sent.set()

    coming: asyncio.Queue[AsgiMessage] = asyncio.Queue()
    socket = AsgiWebSocket(coming.get, send, Deaf(), Divider(), 100, is_binary=True)
    running = asyncio.create_task(socket.run())
    socket.write(b"\x01\x1e\xff")
    socket.write(b"\0")
    await both_sent.wait()
    assert sent == [{"type": "websocket.send", "bytes": data} for data in (b"\x01\x1e\xff", b"\0")]
    assert socket.outbox_size == 0
    coming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await running


class Deaf:
    """Takes what a connection hands on, and does nothing with it."""

    def receive_text(self, _text: str) -> None: ...

    def receive_binary(self, _data: bytes) -> None: ...

    def admit(self, _count: int) -> bool:
        return True

    def is_too_much(self, _size: int) -> bool:
        return False

    def writing_paused(self) -> None: ...

    def writing_resumed(self) -> None: ...

    def closing(self) -> None: ...

    def closed(self, _code: int, _reason: str, *, by_us: bool) -> None: ...


class Note(hubbub.Event, tag="note"):
    """Something to say."""

    number: int


async def test_a_slow_reader_is_fed_from_the_log_when_it_reads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 1000)
    monkeypatch.setattr(websocket_module, "LOW_WATER", 200)
    hub = Hub()
    chat = mount(tmp_path, hub, max_outbox=4000)
    async with chat.at_work() as service:
        socket = await v1(chat)
        await socket.answer("join_room", {"room": "general"})
        [client] = service._core.clients
        socket.gate.close()
        most = 0
        for number in range(500):
            hub.room("general").post(Note(number))
            await service._core.drained()
            assert client.socket is not None
            most = max(most, client.socket.outbox_size)
        assert 4000 < most < 6000, "it costs no more than its outbox"
        socket.gate.open()
        heard: list[int] = []
        while len(heard) < 500:
            event = await socket.hear()
            if event["type"] == "note":
                heard.append(event["payload"]["number"])
        assert heard == list(range(500))
        await socket.leave()


async def test_a_classic_client_that_does_not_read_is_closed_and_then_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "HIGH_WATER", 100)
    monkeypatch.setattr(websocket_module, "CLOSE_TIMEOUT_S", 0.0)
    hub = Hub()
    chat = mount(tmp_path, hub, max_outbox=500)
    async with chat.at_work() as service:
        socket = await AsgiSocket(chat, f"/ws?otp={await ticket(chat)}").opened()
        socket.gate.close()
        for _ in range(20):
            socket.say("send_message", {"message": "x" * 100})
        await socket.task
        assert socket.closed is None, "it did not take the CLOSE"
        assert service.clients == 0


async def test_a_server_that_cancels_ends_the_connection(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):
        socket = await v1(chat)
        socket.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await socket.task
        assert service.clients == 0
        assert not service._wire.sockets


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_server_that_cancels_on_the_way_in_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    async with a_chat(tmp_path) as (chat, service):
        offered = ["hubbub.v1", f"otp.{await ticket(chat)}"]
        upgrades, loop = service._upgrades, asyncio.get_running_loop()
        let_in, start = upgrades.let_in, upgrades.tasks.start

        async def let_in_and_cancel(*args: Any) -> Any:
            found = await let_in(*args)
            loop.call_soon(socket.task.cancel)  # before the request's own task hears of it
            return found

        def start_and_cancel(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = start(work)
            task.cancel()
            return task

        if has_begun:
            monkeypatch.setattr(upgrades, "let_in", let_in_and_cancel)
        else:
            monkeypatch.setattr(upgrades.tasks, "start", start_and_cancel)
        socket = AsgiSocket(chat, subprotocols=offered)
        with pytest.raises(asyncio.CancelledError):
            await socket.task
        assert service.clients == 0
        assert upgrades.door.places._taken == 0


async def test_whoever_has_gone_before_the_answer_leaves_nothing(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):

        async def receive() -> AsgiMessage:
            return {"type": "websocket.connect"}

        async def send(_message: AsgiMessage) -> None:
            raise ConnectionResetError

        offered = ["hubbub.v1", f"otp.{await ticket(chat)}"]
        await chat(scope_of("websocket", "/ws", subprotocols=offered), receive, send)
        assert service.clients == 0
        assert service._upgrades.door.places._taken == 0


async def test_a_client_that_vanishes_as_it_comes_in_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_chat(tmp_path) as (chat, service):
        has_failed = asyncio.Event()
        coming = [{"type": "websocket.connect"}]

        async def receive() -> AsgiMessage:
            if coming:
                return coming.pop()
            await has_failed.wait()
            return {"type": "websocket.disconnect", "code": 1006}

        async def send(message: AsgiMessage) -> None:
            if message["type"] == "websocket.send":  # uvicorn has not sent the answer, and only now says why
                has_failed.set()
                raise RuntimeError("Expected ASGI message 'websocket.accept'")

        offered = ["hubbub.v1", f"otp.{await ticket(chat)}"]
        await chat(scope_of("websocket", "/ws", subprotocols=offered), receive, send)
        assert service.clients == 0
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_a_server_that_fails_to_send_to_a_client_that_is_there_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "GONE_S", 0.0)
    async with a_chat(tmp_path) as (chat, service):
        coming = [{"type": "websocket.connect"}]

        async def receive() -> AsgiMessage:
            if coming:
                return coming.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: AsgiMessage) -> None:
            if message["type"] == "websocket.send":
                raise RuntimeError("broken")

        offered = ["hubbub.v1", f"otp.{await ticket(chat)}"]
        await chat(scope_of("websocket", "/ws", subprotocols=offered), receive, send)
        assert service.clients == 0
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert line.message == "connection failed"
    # The traceback is the record's, and not in its text as well.
    assert line.exc_info is not None
    assert str(line.exc_info[1]) == "broken"


async def test_a_refusal_that_cannot_be_sent_is_nobodys_concern(tmp_path: Path) -> None:
    async with a_chat(tmp_path) as (chat, service):

        async def receive() -> AsgiMessage:
            return {"type": "websocket.connect"}

        async def send(_message: AsgiMessage) -> None:
            raise RuntimeError("ASGI flow error: Connection already upgraded")  # granian, of a client that has gone

        await chat(scope_of("websocket", "/ws", subprotocols=["hubbub.v1", "otp.none"]), receive, send)
        assert service._upgrades.door.places._taken == 0


async def test_places_are_shared_by_both_doors(tmp_path: Path) -> None:
    async with a_chat(tmp_path, max_clients=1) as (chat, service):
        socket = await v1(chat)
        refused = await AsgiSocket(chat, subprotocols=["hubbub.v1", f"otp.{await ticket(chat)}"]).opened()
        assert refused.refused is not None
        assert refused.refused.status == 503
        assert service._upgrades.door.places.are_taken
        await socket.leave()


def test_records_are_divided_as_they_were() -> None:
    divider = Divider()
    assert divider.texts(record(b'{"a":1}') + record('{"b":"ü"}'.encode())) == ('{"a":1}', '{"b":"ü"}')
    # No JSON has this byte as it is; what an application has put together by hand must not become two events.
    assert divider.texts(record(b'{"a":"\x1e{}"}')) == ('{"a":"\\u001e{}"}',)


# Beside another application


class Beside:
    """The other application, which knows of its start and its end."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[str] = []
        self.fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while "lifespan.shutdown" not in self.told:
                message = await receive()
                self.told.append(message["type"])
                await send({"type": message["type"] + (".failed" if self.fails else ".complete")})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})


async def django(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that knows HTTP alone."""
    if scope["type"] != "http":
        raise ValueError("can only handle ASGI/HTTP connections")
    await Beside()(scope, receive, send)


async def test_a_path_is_the_hubs_and_all_else_the_others(tmp_path: Path) -> None:
    beside = Beside()
    both = mount(tmp_path).under("/chat", beside)
    async with lifespan(both) as answers:
        assert answers == [{"type": "lifespan.startup.complete"}]
        assert beside.told == ["lifespan.startup"]
        assert (await ask(both, "GET", "/chat/healthz")).body == b"ok"
        assert (await ask(both, "GET", "/chat")).headers["location"] == "/chat/"
        assert (await ask(both, "GET", "/chatter")).body == b"/chatter"
        assert (await ask(both, "GET", "/")).body == b"/"
        # Both below a path of a third one.
        assert (await ask(both, "GET", "/v1/chat/healthz", root_path="/v1")).body == b"ok"
        assert (await ask(both, "GET", "/v1/chat", root_path="/v1")).headers["location"] == "/v1/chat/"
    assert beside.told == ["lifespan.startup", "lifespan.shutdown"]
    assert answers[-1] == {"type": "lifespan.shutdown.complete"}


async def test_one_that_knows_of_no_start_is_left_alone(tmp_path: Path) -> None:
    both = mount(tmp_path).under("/chat", django)
    async with lifespan(both) as answers:
        assert (await ask(both, "GET", "/chat/healthz")).body == b"ok"
        assert (await ask(both, "GET", "/other")).body == b"/other"
    assert [answer["type"] for answer in answers] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_one_that_fails_to_start_is_told_to_the_server(tmp_path: Path) -> None:
    both = mount(tmp_path).under("/chat", Beside(fails=True))
    async with lifespan(both) as answers:
        assert [answer["type"] for answer in answers] == ["lifespan.startup.failed"]


async def test_one_that_fails_to_start_and_does_not_end_is_ended(tmp_path: Path) -> None:
    has_ended = False

    async def failing(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal has_ended
        await receive()
        await send({"type": "lifespan.startup.failed", "message": ""})
        try:
            await receive()
        finally:
            has_ended = True

    async with lifespan(mount(tmp_path).under("/chat", failing)) as answers:
        assert [answer["type"] for answer in answers] == ["lifespan.startup.failed"]
        assert has_ended


async def test_the_reason_of_one_that_fails_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def closed_database(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})  # Starlette: its traceback
        raise OSError("no database")

    async def leaking(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ValueError("not closed")

    async with lifespan(mount(tmp_path).under("/chat", closed_database)) as answers:
        assert answers[0]["message"].endswith("has failed at its startup: no database")
    caplog.clear()
    async with lifespan(mount(tmp_path).under("/chat", leaking)):
        pass
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert line.exc_info is not None
    assert str(line.exc_info[1]) == "not closed"


@pytest.mark.parametrize("path", ["", "/", "chat", "//chat", "/chat//room", "/chat?x"])
def test_a_hub_is_under_a_path(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="no path that a hub can be under"):
        mount(tmp_path).under(path, django)
