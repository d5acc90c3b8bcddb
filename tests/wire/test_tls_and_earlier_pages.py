"""TLS, and clients that speak over it exactly as the pages of the two earlier servers do."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import ssl
import stat
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from servers import ServerProcess, running
from wire.raw_clients import DEADLINE_S, Raw, Tickets, ask, page

# TLS


def handshake(server: ServerProcess, context: ssl.SSLContext, name: str = "127.0.0.1") -> str | None:
    """The version of TLS that was agreed."""
    with (
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as sock,
        context.wrap_socket(sock, server_hostname=name) as secure,
    ):
        return secure.version()


def permissive() -> ssl.SSLContext:
    """A client that would take anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_2_and_1_3_are_served_and_1_1_is_not(tls_server: ServerProcess) -> None:
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = permissive()
        context.minimum_version = context.maximum_version = version
        assert handshake(tls_server, context) == name
    context = permissive()
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(tls_server, context)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", socket.gethostname()])
def test_who_trusts_the_ca_file_trusts_every_name_of_this_machine(tls_server: ServerProcess, name: str) -> None:
    assert tls_server.tls is not None
    strict = ssl.create_default_context(cafile=printed(tls_server, "trust its CA"))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(tls_server, strict, name)


def printed(server: ServerProcess, what: str) -> str:
    """What the server has announced under this heading."""
    found = re.search(rf"^\s*{re.escape(what)}[^:]*: (.+)$", server.log(), re.MULTILINE)
    assert found, server.log()
    return found[1]


def test_no_other_name_is_trusted(tls_server: ServerProcess) -> None:
    assert tls_server.tls is not None
    for name in ("example.com", "localhost.example.com", "127.0.0.2"):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(tls_server, tls_server.tls, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls_server, ssl.create_default_context())


def test_the_fingerprint_printed_is_the_ca_files(tls_server: ServerProcess) -> None:
    der = ssl.PEM_cert_to_DER_cert(Path(printed(tls_server, "trust its CA")).read_text())
    assert printed(tls_server, "CA fingerprint").replace(":", "").lower() == hashlib.sha256(der).hexdigest()


def test_keys_are_for_their_owner_alone_and_a_second_start_keeps_the_ca(tmp_path: Path) -> None:
    with running(tmp_path, tls=True) as server:
        ca = Path(printed(server, "trust its CA"))
        first = {file.name: file.read_bytes() for file in ca.parent.iterdir()}
        keys = list(ca.parent.glob("*.key"))
        assert len(keys) == 2
        assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    with running(tmp_path, tls=True):
        assert {file.name: file.read_bytes() for file in ca.parent.iterdir()} == first


def test_a_broken_leaf_is_made_anew_by_the_same_ca(tmp_path: Path) -> None:
    with running(tmp_path, tls=True) as server:
        ca = Path(printed(server, "trust its CA"))
    before = ca.read_bytes()
    (ca.parent / "localhost.pem").write_text("broken")
    with running(tmp_path, tls=True):
        assert ca.read_bytes() == before


def test_a_certificate_of_ones_own_is_served(tmp_path: Path) -> None:
    with running(tmp_path, tls=True):
        pass
    data = tmp_path / "data"
    own = ("--tls-cert", str(data / "localhost.pem"), "--tls-key", str(data / "localhost.key"))
    with running(tmp_path, *own, tls=True) as server:
        assert ask(server, "GET", "/healthz").status == 200
        assert "CA" not in server.log().split("\n")[1]


def test_plain_http_on_the_tls_port_is_no_answer_and_no_noise(tls_server: ServerProcess) -> None:
    trusted, tls_server.tls = tls_server.tls, None
    try:
        for words in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00" * 100, b""):
            with Raw(tls_server) as raw:
                raw.send(words)
                if words:
                    assert not raw.read_to_end().startswith(b"HTTP")
    finally:
        tls_server.tls = trusted
    assert ask(tls_server, "GET", "/healthz").status == 200
    assert "Traceback" not in tls_server.log()


def test_frames_of_every_size_pass_through_tls(tls_server: ServerProcess, tls_tickets: Tickets, room: str) -> None:
    with page(tls_server, tls_tickets.otp(), room=room) as percy:
        for size in (1, 125, 126, 1000, 4000):
            percy.say("x" * size)
            percy.assert_hears("x" * size, "percy")


# The earlier pages


def fetch_login(server: ServerProcess, user: str) -> str:
    """fetch("login", {method: "post", body: JSON.stringify(...), mode: "cors"}): a string body has this type."""
    assert server.tls is not None
    connection = http.client.HTTPSConnection("localhost", server.port, timeout=DEADLINE_S, context=server.tls)
    connection.sock = server.tls.wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_S), server_hostname="localhost"
    )
    headers = {
        "Content-Type": "text/plain;charset=UTF-8",
        "Origin": f"https://localhost:{server.port}",
        "Referer": f"https://localhost:{server.port}/",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
    }
    try:
        connection.request("POST", "/login", json.dumps({"username": user, "password": "123"}), headers)
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] is None  # not needed by a page of our own
        return str(json.loads(response.read())["otp"])
    finally:
        connection.close()


def open_as_browser(server: ServerProcess, target: str) -> ClientConnection:
    """new WebSocket("wss://localhost:port" + target), with the headers of a browser on the server's own page."""
    return connect(
        f"wss://localhost:{server.port}{target}",
        sock=socket.create_connection(("127.0.0.1", server.port), DEADLINE_S),
        ssl=server.tls,
        origin=Origin(f"https://localhost:{server.port}"),
        open_timeout=DEADLINE_S,
        ping_interval=None,
        proxy=None,
    )


class EarlierPage:
    """What both earlier pages do with what arrives: show a new_message, and raise an alert at all else."""

    def __init__(self, connection: ClientConnection, user: str) -> None:
        self.connection = connection
        self.user = user

    def send_event(self, type_: str, **payload: str) -> None:
        self.connection.send(json.dumps({"type": type_, "payload": payload}))

    def say(self, text: str) -> None:
        self.send_event("send_message", message=text, **{"from": self.user})

    def route(self) -> tuple[str, str]:
        """The next event as it is shown: who, and what."""
        event = json.loads(self.connection.recv(DEADLINE_S))
        assert event["type"] == "new_message", f"alert: unsupported message type {event['type']}"
        assert re.match(r"\d{4}-", event["payload"]["sent"]), "new Date(sent) is a date"
        return event["payload"]["from"], event["payload"]["message"]


def test_the_go_page_works_unmodified(tls_server: ServerProcess) -> None:
    with (
        open_as_browser(tls_server, f"/ws?otp={fetch_login(tls_server, 'percy')}") as first,
        open_as_browser(tls_server, f"/ws?otp={fetch_login(tls_server, 'alice')}") as second,
    ):
        percy, alice = EarlierPage(first, "percy"), EarlierPage(second, "somebody else")
        percy.say("hello")
        assert percy.route() == ("percy", "hello")
        assert alice.route() == ("percy", "hello")
        alice.say("hello yourself")
        assert percy.route() == alice.route() == ("alice", "hello yourself")
        # Nothing tells a page that it has changed rooms but what it hears there.
        alice.send_event("change_room", name="football")
        alice.say("kick-off")
        assert alice.route() == ("alice", "kick-off")
        percy.send_event("change_room", name="football")
        percy.send_event("a_type_of_the_future", x="y")
        percy.say("here I am")
        assert percy.route() == alice.route() == ("percy", "here I am")
        alice.say("goal")
        assert alice.route() == ("alice", "goal")
        assert percy.route() == ("alice", "goal")


def test_the_node_page_works_unmodified(tls_server: ServerProcess) -> None:
    with (
        open_as_browser(tls_server, f"/?otp={fetch_login(tls_server, 'percy')}&name=percy") as first,
        open_as_browser(tls_server, f"/?name=alice&otp={fetch_login(tls_server, 'alice')}") as second,
    ):
        percy, alice = EarlierPage(first, "percy"), EarlierPage(second, "alice")
        percy.say("hello")
        assert alice.route() == ("percy", "hello")
        alice.say("hello yourself")
        # The page shows its own words by itself: nothing of percy's came back before this.
        assert percy.route() == ("alice", "hello yourself")


def test_the_pages_of_both_servers_meet_in_one_room(tls_server: ServerProcess) -> None:
    with (
        open_as_browser(tls_server, f"/ws?otp={fetch_login(tls_server, 'percy')}") as first,
        open_as_browser(tls_server, f"/?otp={fetch_login(tls_server, 'bob')}&name=bob") as second,
    ):
        go, node = EarlierPage(first, "percy"), EarlierPage(second, "bob")
        node.say("from Node")
        assert go.route() == ("bob", "from Node")
        go.say("from Go")
        assert go.route() == node.route() == ("percy", "from Go")
