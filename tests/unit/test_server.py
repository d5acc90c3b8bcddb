"""`serving`: a server in the loop of the program that starts it, on a port of its own, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hubbub import Client, CloseCode, Event, Hub, listening
from hubbub import drain as drain_module
from hubbub import server as server_module
from hubbub import service as service_module
from hubbub.accounts import Accounts
from hubbub.engine import Account, Draft, Listener, Outcome
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import ConfigError, NotKept
from hubbub.server import Server, serving
from hubbub.service import DEMO_PASSWORD, Service
from hubbub.settings import Settings

pytestmark = pytest.mark.anyio


class Said(Event, tag="said"):
    text: str


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets that a server was given to listen on."""
    made: list[socket.socket] = []

    def bind(host: str, port: int) -> list[socket.socket]:
        sockets = listening.bind(host, port)
        made.extend(sockets)
        return sockets

    monkeypatch.setattr(server_module, "bind", bind)
    return made


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with the least that argon2 takes."""
    cheap = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("hubbub.accounts.PasswordHasher", cheap)


def a_settings(folder: Path, **more: Any) -> Settings:
    return replace(Settings(port=0, engine="memory://", no_tls=True, data_dir=folder), **more)


def assert_nothing_is_left(bound: list[socket.socket]) -> None:
    """No socket is open, and no thread at work for longer than it takes to end."""
    assert [sock.fileno() for sock in bound] == [-1] * len(bound)
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("argon2")]
    for thread in hashing:
        thread.join(timeout=10)
    assert not [thread for thread in hashing if thread.is_alive()]


async def ask(server: Service, method: str, path: str, body: object = None, tls: ssl.SSLContext | None = None) -> Any:
    """One request over a connection of its own: the status, and the body if there is one."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls, server_hostname="localhost" if tls else None
    )
    sent = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: {len(sent)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_, _, content = answer.partition(b"\r\n\r\n")
    return int(head_.split()[1]), content


@asynccontextmanager
async def a_client(server: Service, user: str = "percy") -> AsyncIterator[ClientConnection]:
    """A WebSocket of a demo account."""
    status, body = await ask(server, "POST", "/login", {"username": user, "password": DEMO_PASSWORD})
    assert status == 200
    otp = json.loads(body)["otp"]
    url = f"ws://127.0.0.1:{server.port}/ws"
    async with connect(url, subprotocols=["hubbub.v1", f"otp.{otp}"]) as client:  # type: ignore[list-item]  # NewType
        assert json.loads(await client.recv())["type"] == "welcome"
        yield client


async def last_words(client: ClientConnection) -> tuple[list[str], int]:
    """The types of the events until the end, and its close code."""
    types = []
    try:
        async with asyncio.timeout(10):
            while True:
                types.append(json.loads(await client.recv())["type"])
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return types, closed.rcvd.code


# Starting and stopping


async def test_it_serves_while_the_block_runs(tmp_path: Path, bound: list[socket.socket]) -> None:
    async with serving(Hub(), a_settings(tmp_path)) as server:
        assert server.port == bound[0].getsockname()[1]
        assert server.url == f"http://localhost:{server.port}"
        assert server.certificate is None
        assert server.clients == 0
        assert await ask(server, "GET", "/healthz") == (200, b"ok")
    assert_nothing_is_left(bound)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_it_says_nothing_and_handles_no_signals(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    async with serving(Hub(), a_settings(tmp_path)) as server:
        assert [signal.getsignal(number) for number in numbers] == before
        await ask(server, "GET", "/")
    assert capfd.readouterr() == ("", "")


async def test_tls_is_of_this_machine_unless_said_otherwise(tmp_path: Path) -> None:
    async with serving(Hub(), a_settings(tmp_path, no_tls=False)) as server:
        assert server.url == f"https://localhost:{server.port}"
        assert server.certificate is not None
        assert server.certificate.ca == tmp_path / "ca.pem"
        trusting = ssl.create_default_context(cafile=server.certificate.ca)
        assert await ask(server, "GET", "/healthz", tls=trusting) == (200, b"ok")


async def test_the_first_account_is_made_with_the_secret(tmp_path: Path) -> None:
    async with serving(Hub(), a_settings(tmp_path)) as server:
        first = {"secret": server.setup_secret, "username": "percy", "password": DEMO_PASSWORD}
        assert (await ask(server, "POST", "/setup", first))[0] == 204
        async with a_client(server):
            assert server.clients == 1


async def test_a_demo_needs_no_first_account(tmp_path: Path) -> None:
    async with serving(Hub(), a_settings(tmp_path, demo=True)) as server:
        assert server.setup_secret is None
        async with a_client(server, "alice"), a_client(server, "bob"):
            assert server.clients == 2


async def test_a_hub_can_be_served_again(tmp_path: Path, bound: list[socket.socket]) -> None:
    hub = Hub()

    @hub.on
    def say(said: Said) -> Said:
        return said

    for _ in range(2):
        async with serving(hub, a_settings(tmp_path, demo=True)) as server, a_client(server) as client:
            await client.send('{"type":"said","id":1,"payload":{"text":"hello"}}')
            answer = json.loads(await client.recv())
            assert answer == {"type": "ack", "id": 1, "payload": {"text": "hello"}}
            await client.send('{"type":"join_room","id":2,"payload":{"room":"lunch"}}')
            assert json.loads(await client.recv())["payload"]["seq"] == 0
            assert hub.room("lunch").users == ["percy"]
    assert_nothing_is_left(bound)


# The end


async def test_clients_are_told_to_come_back(tmp_path: Path) -> None:
    async with serving(Hub(), a_settings(tmp_path, demo=True)) as server:
        client = await connected(server)
        ending = asyncio.create_task(last_words(client))
    assert await ending == (["reconnect"], CloseCode.RESTART)


class Slow(MemoryEngine):
    """An engine that takes a batch, and is told when to keep it.

    Attributes:
        begun: it has been given a batch.
    """

    def __init__(self) -> None:
        super().__init__(clock=time.monotonic, wall=time.time)
        self.begun = asyncio.Event()
        self._go_on = asyncio.Event()

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        self.begun.set()
        await self._go_on.wait()
        return await super().append(batch)

    async def go_on_when(self, is_time: Callable[[], bool]) -> None:
        """Keep what was given, some time after something has happened."""
        while not is_time():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._go_on.set()


async def test_what_was_said_is_kept_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    engine(monkeypatch, slow)
    async with serving(Hub(), a_settings(tmp_path, demo=True)) as server:
        client = await connected(server)
        await client.send('{"type":"join_room","id":1,"payload":{"room":"lunch"}}')
        await client.recv()
        ending = asyncio.create_task(last_words(client))
        await client.send('{"type":"send_message","id":2,"payload":{"message":"last"}}')
        await slow.begun.wait()
        opening = asyncio.create_task(slow.go_on_when(lambda: server._core.is_closed))
    await opening
    assert await ending == (["ack", "new_message", "reconnect"], CloseCode.RESTART)


async def test_cancelling_the_block_drains(tmp_path: Path, bound: list[socket.socket]) -> None:
    begun: asyncio.Future[ClientConnection] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with serving(Hub(), a_settings(tmp_path, demo=True)) as server:
            begun.set_result(await connected(server))
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    client = await begun
    ending = asyncio.create_task(last_words(client))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ending == (["reconnect"], CloseCode.RESTART)
    assert_nothing_is_left(bound)


async def test_cancelling_the_drain_stops_at_once(tmp_path: Path, bound: list[socket.socket]) -> None:
    hub = Hub()
    begun, ended = asyncio.Event(), asyncio.Event()
    served: list[Server] = []

    @hub.on
    async def wait(_said: Said) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def serve() -> None:
        async with serving(hub, a_settings(tmp_path, demo=True)) as server:
            assert isinstance(server, Server)
            served.append(server)
            client.set_result(await connected(server))
            await asyncio.Event().wait()

    client: asyncio.Future[ClientConnection] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve())
    ending = asyncio.create_task(last_words(await client))
    await client.result().send('{"type":"said","id":1,"payload":{"text":"hello"}}')
    await begun.wait()
    task.cancel()
    while not served[0]._core.is_closed:
        await asyncio.sleep(0)
    _, half_a_request = await asyncio.open_connection("127.0.0.1", served[0].port)
    half_a_request.write(b"GET / HTTP/1.1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        await ended.wait()
    assert await ending == (["reconnect"], CloseCode.RESTART)
    half_a_request.close()
    with contextlib.suppress(ConnectionError):
        await half_a_request.wait_closed()
    assert served[0].clients == 0
    assert not served[0]._http.pending
    assert_nothing_is_left(bound)


async def test_an_error_of_the_block_is_raised_as_it_is(tmp_path: Path, bound: list[socket.socket]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with serving(Hub(), a_settings(tmp_path)):
            raise ZeroDivisionError
    assert_nothing_is_left(bound)


async def test_a_failure_in_the_background_ends_the_block(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = asyncio.Event()

    async def expire(_core: object) -> None:
        await fail.wait()
        raise ZeroDivisionError("the clock has stopped")

    monkeypatch.setattr(service_module, "expire", expire)
    ending = None
    with pytest.raises(ExceptionGroup) as raised:
        async with serving(Hub(), a_settings(tmp_path, demo=True)) as server:
            client = await connected(server)
            ending = asyncio.create_task(last_words(client))
            fail.set()
            await asyncio.Event().wait()
    assert raised.group_contains(ZeroDivisionError, match="the clock has stopped")
    assert ending is not None
    assert await ending == (["reconnect"], CloseCode.RESTART), "its clients are told all the same"
    assert_nothing_is_left(bound)


async def test_a_handler_without_end_is_cut(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "HANDLERS_S", 0)
    monkeypatch.setattr(drain_module, "MIN_HANDLERS_S", 0)
    hub = Hub()
    begun = asyncio.Event()
    ended = []

    @hub.on
    async def wait(_said: Said) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with serving(hub, a_settings(tmp_path, demo=True)) as server:
        client = await connected(server)
        ending = asyncio.create_task(last_words(client))
        await client.send('{"type":"said","id":1,"payload":{"text":"hello"}}')
        await begun.wait()
    assert ended == [True]
    assert (await ending)[1] == CloseCode.RESTART
    assert_nothing_is_left(bound)


@pytest.mark.parametrize("is_stubborn", [False, True], ids=["ends", "goes on"])
async def test_who_is_on_the_way_in_is_turned_away(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch, is_stubborn: bool
) -> None:
    monkeypatch.setattr(drain_module, "OPENINGS_S", 0)
    hub = Hub()
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    @hub.on_connect
    async def check(_client: Client) -> None:
        begun.set()
        try:
            await may_go_on.wait()
        except asyncio.CancelledError:
            if not is_stubborn:
                raise
            await may_go_on.wait()

    async with serving(hub, a_settings(tmp_path, demo=True)) as server:
        connecting = asyncio.create_task(connected(server))
        await begun.wait()
    may_go_on.set()
    with pytest.raises(InvalidStatus) as refused:
        await connecting
    assert refused.value.response.status_code == 503
    assert server.clients == 0
    assert_nothing_is_left(bound)


async def connected(server: Service) -> ClientConnection:
    """A WebSocket of percy's that outlives the server."""
    _, body = await ask(server, "POST", "/login", {"username": "percy", "password": DEMO_PASSWORD})
    url, otp = f"ws://127.0.0.1:{server.port}/ws", json.loads(body)["otp"]
    client = await connect(url, subprotocols=["hubbub.v1", f"otp.{otp}"])  # type: ignore[list-item]  # NewType
    assert json.loads(await client.recv())["type"] == "welcome"
    return client


# What cannot be


class Broken(MemoryEngine):
    """An engine that cannot be opened."""

    async def open(self, listener: Listener) -> None:
        raise ConfigError("--engine broken://: it is")


def engine(monkeypatch: pytest.MonkeyPatch, made: MemoryEngine) -> None:
    """Let servers run on this engine."""

    async def make(*_args: object, **_more: object) -> MemoryEngine:
        return made

    monkeypatch.setattr(service_module, "make_engine", make)


async def test_an_engine_that_cannot_be_opened_leaves_nothing(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, Broken(clock=lambda: 0.0, wall=lambda: 0.0))
    with pytest.raises(ConfigError, match="--engine broken://"):
        async with serving(Hub(), a_settings(tmp_path)):
            pytest.fail("it serves")
    assert len(bound) == 1
    assert_nothing_is_left(bound)


class Full(MemoryEngine):
    """An engine that can be opened and read, and keeps nothing."""

    async def put_account(self, account: Account) -> None:
        raise NotKept("database or disk is full")


async def test_an_engine_that_cannot_keep_the_demo_accounts_leaves_nothing(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(monkeypatch, Full(clock=lambda: 0.0, wall=lambda: 0.0))
    with pytest.raises(ConfigError, match="--engine memory://: database or disk is full"):
        async with serving(Hub(), a_settings(tmp_path, demo=True)):
            pytest.fail("it serves")
    assert_nothing_is_left(bound)


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "nothing://like-this"},
        {"no_tls": False, "tls_cert": Path("none.pem"), "tls_key": Path("none.pem")},
        {"port": 70_000},
        {"host": "192.0.2.1"},
    ],
)
async def test_settings_that_cannot_be_leave_nothing(
    tmp_path: Path, bound: list[socket.socket], wrong: dict[str, Any]
) -> None:
    hub = Hub()
    with pytest.raises(ConfigError):
        async with serving(hub, a_settings(tmp_path, **wrong)):
            pytest.fail("it serves")
    assert_nothing_is_left(bound)
    with pytest.raises(ConfigError, match="not running"):
        hub.room("lunch").post(Said("hello"))


async def test_a_port_that_is_taken_is_left_to_who_has_it(tmp_path: Path, bound: list[socket.socket]) -> None:
    async with serving(Hub(), a_settings(tmp_path)) as first:
        with pytest.raises(ConfigError, match=f"--port {first.port} is taken"):
            async with serving(Hub(), a_settings(tmp_path, port=first.port)):
                pytest.fail("it serves")
        assert await ask(first, "GET", "/healthz") == (200, b"ok")
    assert_nothing_is_left(bound)


async def test_a_known_password_is_not_for_the_world(
    tmp_path: Path, bound: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = MemoryEngine(clock=lambda: 0.0, wall=lambda: 0.0)
    accounts = Accounts(known, session_ttl_s=60, max_user_name=32)
    await accounts.add("alice", DEMO_PASSWORD)
    accounts.close()
    engine(monkeypatch, known)
    monkeypatch.setattr(service_module, "is_local", lambda _host: False)
    with pytest.raises(ConfigError, match="the account alice still has the password of --demo"):
        async with serving(Hub(), a_settings(tmp_path)):
            pytest.fail("it serves")
    assert_nothing_is_left(bound)
