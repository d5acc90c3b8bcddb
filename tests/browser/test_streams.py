"""Streams in Chromium: its own EventSource on a room, and the JavaScript SDK of the second door without WebSockets."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, Page

from clients.node import library
from servers import free_port, running

SECRET = "the secret of the door, of many bytes"

KEY = "the key of a program, of many bytes"

OPTIONS = {
    "client": {"token": {"hmac_secret_key": SECRET}, "allowed_origins": ["http://localhost:*"]},
    "http_api": {"key": KEY},
    "http_stream": {"enabled": True},
    "sse": {"enabled": True},
    "channel": {
        "without_namespace": {
            "history_size": 1000,
            "history_ttl": "1h",
            "force_recovery": True,
            "allow_subscribe_for_client": True,
            "allow_publish_for_client": True,
            "allow_history_for_client": True,
        }
    },
}

# A page of another origin that has the SDK.
PAGE = "<!doctype html><title>another site</title><script src='centrifuge.js'></script>"

SPEAK = """async ([origin, transport, token]) => {
    const path = transport === "sse" ? "/connection/sse" : "/connection/http_stream";
    window.heard = [];
    window.client = new Centrifuge([{ transport, endpoint: origin + path }],
        { token, emulationEndpoint: origin + "/emulation", maxReconnectDelay: 200 });
    client.on("disconnected", ({ code }) => heard.push(`closed ${code}`));
    client.connect();
    await client.ready(20000);
    window.room = client.newSubscription(`room-of-${transport}`);
    room.on("publication", ({ data }) => heard.push(data));
    room.subscribe();
    await room.ready(20000);
    await Promise.all(Array.from({ length: 20 }, (_, i) => room.publish(i)));
    return (await room.history({ limit: -1 })).publications.map(({ data }) => data);
}"""

LISTEN = """async ([url]) => {
    window.told = [];
    window.events = new EventSource(url);
    const note = (event) => told.push([event.type, JSON.parse(event.data), event.lastEventId]);
    for (const type of ["joined", "reset", "publication", "reconnect", "closed"]) events.addEventListener(type, note);
    await new Promise((resolve) => events.addEventListener("joined", resolve, { once: true }));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a page that has the SDK."""
    folder = tmp_path_factory.mktemp("site")
    code = library("centrifuge") / "node_modules" / "centrifuge" / "dist" / "centrifuge.js"
    (folder / "centrifuge.js").write_bytes(code.read_bytes())
    (folder / "index.html").write_text(PAGE)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_args: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class LastingServer:
    """A server with streams that keeps its port and its messages over a restart; it takes tokens of one secret."""

    def __init__(self, folder: Path, site: str) -> None:
        (folder / "centrifugo.json").write_text(json.dumps(OPTIONS))
        self._folder = folder
        self._port = free_port()
        self._options = ("--centrifugo", str(folder / "centrifugo.json"), "--jwt-key", SECRET, "--allow-origin", site)
        self._running = ExitStack()
        self.origin = f"http://localhost:{self._port}"

    def start(self) -> None:
        engine = f"sqlite:///{self._folder / 'lasting.db'}"
        port = str(self._port)
        self._running.enter_context(running(self._folder, "--port", port, "--engine", engine, *self._options))

    def stop(self) -> None:
        self._running.close()

    def call(self, method: str, **fields: object) -> None:
        """Use the server API."""
        request = urllib.request.Request(f"{self.origin}/api/{method}", json.dumps(fields).encode(), {"X-API-Key": KEY})
        with urllib.request.urlopen(request) as answer:
            assert "result" in json.loads(answer.read())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, site: str) -> Iterator[LastingServer]:
    server = LastingServer(tmp_path_factory.mktemp("door"), site)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """A page of another origin than the server's."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    yield page
    context.close()


def token_of(user: str) -> str:
    return jwt.encode({"sub": user}, SECRET, "HS256")


@pytest.mark.parametrize("transport", ["http_stream", "sse"])
def test_the_sdk_speaks_without_a_websocket(transport: str, page: Page, door: LastingServer) -> None:
    said = page.evaluate(SPEAK, [door.origin, transport, token_of("zoe")])
    assert sorted(said) == list(range(20))
    page.wait_for_function("heard.length >= 20")
    assert page.evaluate("heard") == said  # in the order of the log
    page.evaluate("client.disconnect()")
    assert page.evaluate("heard.at(-1)") == "closed 0"


def test_an_event_source_goes_on_where_it_was_and_stays_away_when_it_is_put_out(
    page: Page, door: LastingServer
) -> None:
    page.evaluate(LISTEN, [f"{door.origin}/rooms/lunch/events?jwt={token_of('zoe')}"])
    [[_, joined, place]] = page.evaluate("told")
    assert (joined["members"], place) == (["zoe"], f"{joined['epoch']}:0")
    door.call("publish", channel="lunch", data="soup")
    page.wait_for_function("told.length === 2")
    door.stop()
    door.start()
    door.call("publish", channel="lunch", data="bread")
    page.wait_for_function("told.some(([type, payload]) => payload.data === 'bread')")
    told = page.evaluate("told")
    assert [(type_, payload.get("data", payload.get("recovered"))) for type_, payload, _ in told] == [
        ("joined", False),
        ("publication", "soup"),
        ("reconnect", None),
        ("closed", None),
        ("joined", True),
        ("publication", "bread"),
    ]
    door.call("disconnect", user="zoe")
    page.wait_for_function("events.readyState === EventSource.CLOSED")  # it has come back, and was refused
    assert page.evaluate("told.at(-1)")[1]["code"] == 4101
