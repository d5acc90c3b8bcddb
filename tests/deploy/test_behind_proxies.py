"""Hubbub behind nginx and behind Caddy, with the examples: logging in, and talking over WebSockets."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from deploy.sites import NAME, Site, caddy_site, nginx_site, serving_site
from hubbub.cluster.port import HOST, free_port
from redis_servers import needs_redis, redis_server
from servers import ServerProcess, running

WAIT_S = 60.0
# What nginx says by itself.
NO_HOST = ("        proxy_set_header Host $http_host;\n", "")
NO_UPGRADE = ("        proxy_set_header Upgrade    $http_upgrade;\n", "")

# The command beside the examples.
SERVED = ("--trusted-proxy", "127.0.0.1", "--allow-host", NAME)

NONE: Mapping[str, str] = {}

MakeSite = Callable[..., Site]


@dataclass
class Front:
    """The site as a browser sees it, at `NAME`."""

    port: int
    log: Path

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def request(
        self, method: str, path: str, body: object = None, token: str = "", headers: Mapping[str, str] = NONE
    ) -> tuple[int, Any]:
        """The status and the JSON of a request that a page of the site sends."""
        link = http.client.HTTPSConnection(NAME, self.port, timeout=WAIT_S)
        # Nobody resolves the name.
        link.sock = trusting().wrap_socket(self._dial(), server_hostname=NAME)
        try:
            sent = {"Origin": self.origin} | ({"Authorization": f"Bearer {token}"} if token else {}) | dict(headers)
            link.request(method, path, None if body is None else json.dumps(body), sent)
            response = link.getresponse()
            # What comes after a 101 has no end.
            text = b"" if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS else response.read()
        finally:
            link.close()
        return response.status, json.loads(text) if text.startswith(b"{") else text

    def log_in(self, user: str) -> str:
        """A one-time password."""
        return str(self.login(user)["otp"])

    def login(self, user: str) -> dict[str, Any]:
        """A one-time password and a token."""
        status, answer = self.request("POST", "/login", {"username": user, "password": "123"})
        assert status == 200, answer
        return dict(answer)

    def otp(self, token: str) -> str:
        """Another one-time password."""
        status, answer = self.request("POST", "/otp", token=token)
        assert status == 200, answer
        return str(answer["otp"])

    def knock(self, otp: str) -> tuple[int, Any]:
        """The status and the JSON of a request for a WebSocket, which is closed at once where it opens.

        Not by a WebSocket client: the one here waits without a limit for its own thread where it is refused.
        """
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
            "Sec-WebSocket-Protocol": f"hubbub.v1, otp.{otp}",
        }
        return self.request("GET", "/ws", headers=headers)

    def enter(self, otp: str, path: str = "/ws") -> ClientConnection:
        """A WebSocket, as a page of the site opens it."""
        return connect(
            f"wss://{NAME}:{self.port}{path}",
            sock=self._dial(),
            ssl=trusting(),
            server_hostname=NAME,
            origin=Origin(self.origin),
            subprotocols=[Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")],
            proxy=None,
            open_timeout=WAIT_S,
        )

    def _dial(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), WAIT_S)


def trusting() -> ssl.SSLContext:
    """The certificate is the test's own, and not what it is about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def front(
    folder: Path,
    make: MakeSite,
    targets: Sequence[int],
    *changes: tuple[str, str],
    is_up: Callable[[Front], bool] | None = None,
) -> Iterator[Front]:
    """The proxy, up, and with a server that is well behind it, unless `is_up` asks for something else."""
    folder.mkdir()
    found = Front(free_port(), folder / "proxy.log")
    with serving_site(make(folder, port=found.port, targets=targets, changes=changes)):
        deadline = time.monotonic() + WAIT_S
        while not tried(is_up or is_healthy, found):
            assert time.monotonic() < deadline, found.log.read_text()
            time.sleep(0.02)
        yield found


def tried(is_up: Callable[[Front], bool], front: Front) -> bool:
    try:
        return is_up(front)
    except OSError:
        return False


def is_healthy(front: Front) -> bool:
    return front.request("GET", "/healthz")[0] == 200


def answers(front: Front) -> bool:
    return front.request("GET", "/healthz")[0] > 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running(tmp_path_factory.mktemp("server"), *SERVED) as server:
        yield server


numbers = itertools.count(1)


def ask(link: ClientConnection, type_: str, **payload: object) -> dict[str, Any]:
    """Send a request; its ack."""
    id_ = f"r{next(numbers)}"
    link.send(json.dumps({"type": type_, "id": id_, "payload": payload}))
    return heard(link, lambda event: event.get("id") == id_)


def heard(link: ClientConnection, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The next event that is the one."""
    while True:
        event: dict[str, Any] = json.loads(link.recv(WAIT_S))
        if is_it(event):
            return event


every_proxy = pytest.mark.parametrize("make", [nginx_site, caddy_site], ids=["nginx", "caddy"])


@every_proxy
def test_two_people_talk(tmp_path: Path, server: ServerProcess, make: MakeSite) -> None:
    with front(tmp_path / "proxy", make, [server.port]) as site, ExitStack() as links:
        percy, alice = (links.enter_context(site.enter(site.log_in(user))) for user in ("percy", "alice"))
        for link in (percy, alice):
            assert ask(link, "join_room", room="lunch")["type"] == "ack"
        ask(percy, "send_message", room="lunch", message="hello")
        event = heard(alice, lambda event: event["type"] == "new_message")
        assert event["payload"]["message"] == "hello"
        # A large one, and back.
        ask(alice, "send_message", room="lunch", message="x" * 3_000)
        heard(percy, lambda event: event.get("payload", {}).get("message") == "x" * 3_000)
    # Who it was is believed of the proxy, and it is nobody of this machine.
    assert "proxied:127.0.0.1" in server.log()


@every_proxy
def test_a_dead_node_is_passed_over(tmp_path: Path, server: ServerProcess, make: MakeSite) -> None:
    # Nobody listens there, and nobody else takes the port.
    with socket.socket() as dead, ExitStack() as proxies:
        dead.bind((HOST, 0))
        site = proxies.enter_context(front(tmp_path / "proxy", make, [dead.getsockname()[1], server.port]))
        for _ in range(4):
            with site.enter(site.log_in("percy")) as link:
                assert ask(link, "join_room", room="lunch")["type"] == "ack"


@contextmanager
def nodes(folder: Path, *flags: str) -> Iterator[list[ServerProcess]]:
    """Two nodes that share a Redis."""
    with ExitStack() as up:
        redis = up.enter_context(redis_server(folder / "redis"))
        found = []
        for name in ("node1", "node2"):
            (folder / name).mkdir()
            found.append(up.enter_context(running(folder / name, *SERVED, "--engine", redis.url, *flags)))
        yield found


@needs_redis
@pytest.mark.parametrize(
    ("make", "flags"), [(nginx_site, []), (caddy_site, ["--drain-delay", "3"])], ids=["nginx", "caddy"]
)
def test_nobody_is_refused_while_a_node_stops(tmp_path: Path, make: MakeSite, flags: list[str]) -> None:
    with nodes(tmp_path, *flags) as (one, two), front(tmp_path / "proxy", make, [one.port, two.port]) as site:
        token = str(site.login("percy")["token"])
        with ExitStack() as links:
            # Some on each, who do not go when they are told to: the node that stops serves them for a while.
            for _ in range(4):
                links.enter_context(site.enter(site.otp(token)))
            stopping = threading.Thread(target=one.stop)
            stopping.start()
            tries = 0
            while stopping.is_alive() or tries < 10:
                status, answer = site.knock(site.otp(token))
                assert status == 101, answer
                tries += 1
            stopping.join()


def test_nginx_without_host_is_told_what_is_wrong(tmp_path: Path, server: ServerProcess) -> None:
    # The usual block, which names no upstream.
    usual = ("proxy_pass http://hubbub;", f"proxy_pass http://{HOST}:{server.port};")
    with front(tmp_path / "proxy", nginx_site, [server.port], NO_HOST, usual) as site:
        status, answer = site.request("POST", "/login", {"username": "percy", "password": "123"})
        assert status == 403
        assert "proxy_set_header Host $http_host" in answer["error"]["message"]
        status, answer = site.knock("any")
        assert status == 403
        assert "proxy_set_header Host $http_host" in answer["error"]["message"]
    assert "a proxy does not pass Host on" in server.log()


def test_nginx_that_says_its_upstreams_name_is_told_what_is_wrong(tmp_path: Path, server: ServerProcess) -> None:
    with front(tmp_path / "proxy", nginx_site, [server.port], NO_HOST, is_up=answers) as site:
        status, answer = site.request("GET", "/")
        assert status == 421
        assert "does not go by the name hubbub" in answer["error"]["message"]
        assert "let the proxy pass Host on as it came" in answer["error"]["message"]


def test_nginx_without_upgrade_is_told_what_is_wrong(tmp_path: Path, server: ServerProcess) -> None:
    with front(tmp_path / "proxy", nginx_site, [server.port], NO_UPGRADE) as site:
        status, answer = site.knock(site.log_in("percy"))
        assert status == 426
        assert "proxies must pass these on" in answer["error"]["message"]
    assert "a proxy on the way does not pass it on" in server.log()
