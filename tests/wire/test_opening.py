"""Upgrade requests: who gets a 101, who is refused, and in which order the server looks."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from servers import ServerProcess, running
from wire.raw_clients import (
    DEADLINE_S,
    TEXT,
    Answer,
    Raw,
    Tickets,
    ask,
    frame,
    memory,
    page,
    say,
    upgrade_head,
    wait_until,
)

LISTED = "https://chat.example.com"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MIB = 1 << 20


def knock(
    server: ServerProcess, target: str, headers: Mapping[str, str | None] | None = None, *, extra: tuple[str, ...] = ()
) -> Answer:
    """The answer to an upgrade request, on a connection that is closed afterwards."""
    with Raw(server) as raw:
        raw.send(upgrade_head(target, headers, extra=extra))
        return raw.read_answer()


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    assert answer.error
    assert answer.headers["Upgrade"] != "websocket" or status == 426


def assert_good(server: ServerProcess, otp: str) -> None:
    """The one-time password has not been used up."""
    with page(server, otp) as percy:
        percy.assert_up()


# Let in


@pytest.mark.parametrize("path", ["/ws", "/"])
def test_a_ticket_opens_a_websocket(server: ServerProcess, tickets: Tickets, path: str) -> None:
    key = base64.b64encode(b"sixteen bytes...").decode()
    answer = knock(server, f"{path}?otp={tickets.otp()}", {"Sec-WebSocket-Key": key})
    assert answer.status == 101
    assert answer.headers["Upgrade"].lower() == "websocket"
    assert answer.headers["Connection"].lower() == "upgrade"
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    assert answer.headers["Sec-WebSocket-Accept"] == accept
    assert answer.headers["Sec-WebSocket-Protocol"] is None
    assert answer.headers["Sec-WebSocket-Extensions"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "keep-alive,upgrade", "Upgrade": "WebSocket"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"Origin": None},
        {"Cookie": "a=b", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
    ],
    ids=["Firefox", "other case", "extension", "no origin", "cookie"],
)
def test_the_requests_of_browsers_and_programs_are_let_in(
    server: ServerProcess, tickets: Tickets, headers: dict[str, str | None]
) -> None:
    assert knock(server, f"/ws?otp={tickets.otp()}", headers).status == 101


def test_header_names_are_of_any_case(server: ServerProcess, tickets: Tickets) -> None:
    head = upgrade_head(f"/ws?otp={tickets.otp()}").decode()
    request, _, fields = head.partition("\r\n")
    with Raw(server) as raw:
        raw.send(f"{request}\r\n{fields.replace('Sec-WebSocket', 'SEC-WEBSOCKET').replace('Host', 'hOST')}".encode())
        assert raw.read_answer().status == 101


def test_a_request_may_come_a_byte_at_a_time(server: ServerProcess, tickets: Tickets) -> None:
    with Raw(server) as raw:
        for byte in upgrade_head(f"/ws?otp={tickets.otp()}"):
            raw.send(bytes([byte]))
        assert raw.read_answer().status == 101


def test_a_kept_alive_connection_can_be_upgraded(server: ServerProcess, tickets: Tickets) -> None:
    with Raw(server) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.read_answer().status == 200
        raw.send(upgrade_head(f"/ws?otp={tickets.otp()}"))
        assert raw.read_answer().status == 101
        raw.assert_up()


def test_the_v1_dialect_is_echoed(server: ServerProcess, tickets: Tickets) -> None:
    with connect(
        f"{server.ws_url}?otp={tickets.otp()}",
        subprotocols=[Subprotocol("hubbub.v1")],
        proxy=None,
        open_timeout=DEADLINE_S,
    ) as connection:
        assert connection.subprotocol == "hubbub.v1"
        assert '"welcome"' in connection.recv(DEADLINE_S)


@pytest.mark.parametrize("spelling", ["hubbub.v1, otp.{}", "hubbub.v1,otp.{}", "otp.{}, hubbub.v1"])
def test_the_ticket_can_be_a_subprotocol_that_is_never_echoed(
    server: ServerProcess, tickets: Tickets, spelling: str
) -> None:
    answer = knock(server, "/ws", {"Sec-WebSocket-Protocol": spelling.format(tickets.otp())})
    assert answer.status == 101
    assert answer.headers["Sec-WebSocket-Protocol"] == "hubbub.v1"


def test_subprotocols_in_two_headers_are_one_list(server: ServerProcess, tickets: Tickets) -> None:
    extra = ("Sec-WebSocket-Protocol: hubbub.v1", f"Sec-WebSocket-Protocol: otp.{tickets.otp()}")
    assert knock(server, "/ws", extra=extra).status == 101


def test_a_ticket_in_the_url_can_be_escaped(server: ServerProcess, tickets: Tickets) -> None:
    escaped = "".join(f"%{ord(letter):02x}" for letter in tickets.otp())
    assert knock(server, f"/ws?otp={escaped}").status == 101


# Tickets


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?otp=",
        "?otp=nonsense",
        "?otp",
        "?OTP=x",
        "?otp=%00",
        "?otp=%ff%fe",
        "?otp=" + "x" * 2000,
        "?otp=a&otp=b",
        "?name=percy",
    ],
)
def test_no_ticket_or_an_unknown_one_is_401(server: ServerProcess, query: str) -> None:
    assert_refused(knock(server, f"/ws{query}"), 401)


def test_a_used_ticket_is_401(server: ServerProcess, tickets: Tickets) -> None:
    otp = tickets.otp()
    assert knock(server, f"/ws?otp={otp}").status == 101
    assert_refused(knock(server, f"/ws?otp={otp}"), 401)
    assert_refused(knock(server, "/ws", {"Sec-WebSocket-Protocol": f"hubbub.v1, otp.{otp}"}), 401)


def test_an_expired_ticket_is_401_before_any_sweep(tmp_path: Path) -> None:
    with running(tmp_path, "--otp-ttl", "0.5") as server:
        login = server.login()
        older = server.otp(login["token"])
        # The next one is issued after the older one's life: nothing else tells the time.
        died = time.monotonic() + 0.5
        while time.monotonic() < died:
            assert ask(server, "GET", "/healthz").status == 200
        assert_refused(knock(server, f"/ws?otp={older}"), 401)


def test_of_two_racing_connections_with_one_ticket_one_gets_in(server: ServerProcess, tickets: Tickets) -> None:
    with ThreadPoolExecutor(2) as two:
        for _ in range(50):
            otp = tickets.otp()
            start = Barrier(2)

            def race(otp: str = otp, start: Barrier = start) -> int:
                with Raw(server) as raw:
                    start.wait(DEADLINE_S)
                    raw.send(upgrade_head(f"/ws?otp={otp}"))
                    return raw.read_answer().status

            assert sorted(racer.result() for racer in [two.submit(race), two.submit(race)]) == [101, 401]


# Refused, and the ticket still good


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that one other origin may use, and that has a name of its own."""
    options = ("--allow-origin", LISTED, "--allow-host", "example.org", "--allow-host", "*.example.net")
    with running(tmp_path_factory.mktemp("origins"), *options, "--otp-ttl", "120") as server:
        yield server


@pytest.fixture(scope="module")
def listing_tickets(listing: ServerProcess) -> Tickets:
    return Tickets(listing)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (LISTED, "localhost"),
        ("HTTPS://Chat.Example.COM", "localhost"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://LocalHost:8080", "localhost:8080"),
        ("http://example.org", "example.org"),
        ("https://a.example.net", "a.example.net"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_pages_of_the_servers_own_and_of_a_listed_origin_are_let_in(
    listing: ServerProcess, listing_tickets: Tickets, origin: str, host: str
) -> None:
    answer = knock(listing, f"/ws?otp={listing_tickets.otp()}", {"Origin": origin, "Host": host})
    assert answer.status == 101


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.org",
        f"{LISTED}.evil.org",
        "https://chatxexample.com",
        "https://evil-chat.example.com",
        "http://chat.example.com",
        f"{LISTED}:8443",
        f"{LISTED}/",
        f"{LISTED}, https://evil.org",
        "http://localhost",
        "http://localhost:8081",
        "http://localhost:8080.evil.org",
        "http://localhost:8080@evil.org",
        "ws://localhost:8080",
        "file://",
        "localhost:8080",
    ],
)
def test_a_page_of_a_foreign_origin_is_403_and_burns_no_ticket(
    listing: ServerProcess, listing_tickets: Tickets, origin: str
) -> None:
    otp = listing_tickets.otp()
    assert_refused(knock(listing, f"/ws?otp={otp}", {"Origin": origin, "Host": "localhost:8080"}), 403)
    assert_good(listing, otp)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("evil.example", 421), ("localhost.evil.example", 421), ("192.0.2.1", 421), ("a.example.org", 421)),
        *(("local host", 400), ("localhost:x", 400), ("", 400)),
    ],
)
def test_another_host_is_refused_before_the_origin_and_burns_no_ticket(
    listing: ServerProcess, listing_tickets: Tickets, host: str, status: int
) -> None:
    otp = listing_tickets.otp()
    for origin in (None, f"http://{host}", "https://foreign.example"):
        answer = knock(listing, f"/ws?otp={otp}", {"Origin": origin, "Host": host})
        assert_refused(answer, status)
        assert (b"--allow-host" in answer.body) is (status == 421)
        assert answer.headers["Content-Security-Policy"]
        assert answer.headers["Date"]
    assert_good(listing, otp)


def test_the_host_of_a_whole_url_counts(listing: ServerProcess, listing_tickets: Tickets) -> None:
    target = f"/ws?otp={listing_tickets.otp()}"
    assert_refused(knock(listing, f"http://evil.example{target}"), 421)
    headers = {"Host": "evil.example", "Origin": "http://example.org"}
    assert knock(listing, f"http://example.org{target}", headers).status == 101


def test_two_origins_are_refused(server: ServerProcess, tickets: Tickets) -> None:
    otp = tickets.otp()
    extra = ("Origin: http://localhost", "Origin: https://evil.org")
    assert knock(server, f"/ws?otp={otp}", extra=extra).status in (400, 403)
    assert_good(server, otp)


@pytest.mark.parametrize("path", ["/wss", "/ws/", "//ws", "/ws/x", "/login", "/healthz", "/ws%25", "/%77s/"])
def test_another_path_is_404_and_burns_no_ticket(server: ServerProcess, tickets: Tickets, path: str) -> None:
    otp = tickets.otp()
    assert_refused(knock(server, f"{path}?otp={otp}"), 404)
    assert_good(server, otp)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": "14"},
        {"Sec-WebSocket-Version": None},
        {"Upgrade": None, "Connection": "keep-alive"},
        {"Upgrade": None},
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
    ],
    ids=repr,
)
def test_no_upgrade_or_one_to_another_version_is_426(
    server: ServerProcess, tickets: Tickets, headers: dict[str, str | None]
) -> None:
    otp = tickets.otp()
    answer = knock(server, f"/ws?otp={otp}", headers)
    assert_refused(answer, 426)
    # RFC 9110 section 15.5.22 and RFC 6455 section 4.4.
    assert answer.headers["Upgrade"] == "websocket"
    if "Sec-WebSocket-Version" in headers:
        assert answer.headers["Sec-WebSocket-Version"] == "13"
    assert_good(server, otp)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"Sec-WebSocket-Key": base64.b64encode(b"fifteen bytes..").decode()},
        {"Sec-WebSocket-Key": base64.b64encode(b"seventeen bytes..").decode()},
        {"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="},
        {"Sec-WebSocket-Key": "\xe9" * 22 + "=="},
        {"Host": None},
    ],
    ids=repr,
)
def test_a_bad_key_or_no_host_is_400_and_burns_no_ticket(
    server: ServerProcess, tickets: Tickets, headers: dict[str, str | None]
) -> None:
    otp = tickets.otp()
    assert_refused(knock(server, f"/ws?otp={otp}", headers), 400)
    assert_good(server, otp)


@pytest.mark.parametrize(
    "line",
    ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "Host: evil.org", "Host: localhost"],
)
def test_a_header_that_comes_twice_is_400_and_burns_no_ticket(
    server: ServerProcess, tickets: Tickets, line: str
) -> None:
    otp = tickets.otp()
    assert_refused(knock(server, f"/ws?otp={otp}", extra=(line,)), 400)
    assert_good(server, otp)


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_a_websocket_opens_with_get_alone(server: ServerProcess, tickets: Tickets, method: str) -> None:
    otp = tickets.otp()
    with Raw(server) as raw:
        raw.send(upgrade_head(f"/ws?otp={otp}").replace(b"GET", method.encode(), 1))
        assert raw.read_answer().status in (400, 405)
    assert_good(server, otp)


def test_http_1_0_cannot_be_upgraded(server: ServerProcess, tickets: Tickets) -> None:
    # RFC 6455 section 4.2.1: "an HTTP/1.1 or higher GET request".
    with Raw(server) as raw:
        raw.send(upgrade_head(f"/ws?otp={tickets.otp()}").replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert raw.read_answer().status in (400, 426, 505)


def test_seventy_fields_in_the_query_are_an_answer_not_an_error_of_ours(
    server: ServerProcess, tickets: Tickets
) -> None:
    fields = "&".join(f"f{number}=x" for number in range(70))
    assert knock(server, f"/ws?{fields}&otp={tickets.otp()}").status in (101, 400, 414)


@pytest.mark.parametrize("character", [b"\x00", b"\x7f", b"\x0b", b"\xff"])
def test_a_strange_byte_in_the_url_is_an_answer_not_an_error_of_ours(
    server: ServerProcess, tickets: Tickets, character: bytes
) -> None:
    head = upgrade_head(f"/ws?otp={tickets.otp()}&x=@").replace(b"@", character)
    with Raw(server) as raw:
        raw.send(head)
        assert raw.read_answer().status in (101, 400)


def test_a_header_of_100_kb_is_answered_or_cut_off(server: ServerProcess, tickets: Tickets) -> None:
    with Raw(server) as raw:
        try:
            raw.send(upgrade_head(f"/ws?otp={tickets.otp()}", {"Cookie": "c" * 100_000}))
            assert raw.read_answer().status in (101, 400, 431)
        except (EOFError, ConnectionError):
            pass
    with page(server, tickets.otp()) as percy:
        percy.assert_up()


CHUNKED = b"POST /otp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "beginning",
    [b"GET /ws HTTP/1.1\r\nHost: localhost\r\nCookie: ", CHUNKED + b"1;", CHUNKED + b"0\r\nx: "],
    ids=["header", "chunk extension", "trailer"],
)
def test_an_endless_header_is_cut_off_before_it_fills_the_memory(tmp_path: Path, beginning: bytes) -> None:
    with running(tmp_path) as server:
        before = memory(server)
        with Raw(server) as raw:
            raw.send(beginning)
            with pytest.raises(OSError):
                for _ in range(100):
                    raw.send(b"c" * MIB)
                    assert memory(server) - before < 40 * MIB


# The order


def test_the_path_comes_before_the_origin_and_the_origin_before_the_ticket(
    server: ServerProcess, tickets: Tickets
) -> None:
    foreign = {"Origin": "https://evil.org"}
    assert_refused(knock(server, "/elsewhere?otp=unknown", foreign), 404)
    assert_refused(knock(server, "/ws?otp=unknown", foreign), 403)
    assert_refused(knock(server, "/ws?otp=unknown"), 401)


def test_a_full_server_is_503_before_all_else_and_burns_no_ticket(tmp_path: Path) -> None:
    with running(tmp_path, "--max-clients", "1", "--otp-ttl", "120") as server:
        tickets = Tickets(server)
        otp = tickets.otp()
        with page(server, tickets.otp()) as percy:
            for target in (f"/ws?otp={otp}", f"/elsewhere?otp={otp}", "/ws?otp=unknown"):
                answer = knock(server, target, {"Origin": "https://evil.org"})
                assert_refused(answer, 503)
                assert int(answer.headers["Retry-After"]) >= 1
            assert_refused(knock(server, f"/ws?otp={otp}"), 503)
            percy.assert_up()
        wait_for_room(server)
        assert_good(server, otp)


def wait_for_room(server: ServerProcess) -> None:
    """A place is free again: a request without a ticket gets as far as the ticket."""
    wait_until(lambda: knock(server, "/ws").status == 401)


def test_refused_and_broken_off_connections_give_their_place_back(tmp_path: Path) -> None:
    with running(tmp_path, "--max-clients", "1", "--otp-ttl", "120", "--max-otps-per-account", "0") as server:
        tickets = Tickets(server)
        for headers in ({"Origin": "https://evil.org"}, {"Sec-WebSocket-Key": ""}, {"Sec-WebSocket-Version": "1"}, {}):
            assert knock(server, "/ws?otp=unknown", headers).status in (400, 401, 403, 426)
        for _ in range(30):
            break_off(server, upgrade_head(f"/ws?otp={tickets.otp()}"))
            break_off(server, upgrade_head("/ws?otp=unknown"))
        wait_for_room(server)
        assert_good(server, tickets.otp())


CANCELLING = """
import asyncio
from hubbub import Hub

hub = Hub()

@hub.on_connect
async def wait_for_what_was_cancelled(client):
    if client.user == "alice":
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
"""


def test_a_hook_that_is_cancelled_gives_the_place_back(tmp_path: Path) -> None:
    (tmp_path / "cancelling.py").write_text(CANCELLING)
    with running(tmp_path, "--max-clients", "1", target="cancelling:hub") as server:
        tickets = Tickets(server)
        assert_refused(knock(server, f"/ws?otp={tickets.otp('alice')}"), 500)
        assert_good(server, tickets.otp())


def break_off(server: ServerProcess, data: bytes) -> None:
    """Send something and reset the connection without a look at the answer."""
    with Raw(server) as raw:
        raw.send(data)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# What comes too early


def test_frames_sent_with_the_request_are_taken_whole_or_end_the_connection(
    server: ServerProcess, tickets: Tickets
) -> None:
    # RFC 6455 section 4.1: a client waits for the answer.  Of one that does not, no byte may be lost in between.
    early = frame(TEXT, say("too early").encode())
    with Raw(server) as raw:
        raw.send(upgrade_head(f"/ws?otp={tickets.otp()}") + early)
        try:
            if raw.read_answer().status == 101:
                raw.say("after")
                assert raw.read_message() == "too early"
        except (EOFError, ConnectionError):
            pass


def test_half_a_frame_with_the_request_is_never_taken_for_the_start_of_another(
    server: ServerProcess, tickets: Tickets
) -> None:
    inner = frame(TEXT, say("smuggled").encode(), masked=False)
    early = frame(TEXT, b"x" * 20)
    with Raw(server) as raw:
        raw.send(upgrade_head(f"/ws?otp={tickets.otp()}") + early[:6])
        try:
            answer = raw.read_answer()
            raw.send(early[6:] + inner)
            assert answer.status != 101 or raw.read_close()[0] == 1002
        except (EOFError, ConnectionError):
            pass


def test_a_request_behind_another_is_served_after_it_or_not_at_all(server: ServerProcess, tickets: Tickets) -> None:
    login = b'{"username":"percy","password":"wrong"}'
    first = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(login), login)
    with Raw(server) as raw:
        raw.send(first + upgrade_head(f"/ws?otp={tickets.otp()}"))
        try:
            statuses = [raw.read_answer().status]
            statuses.append(raw.read_answer().status)
        except (EOFError, ConnectionError):
            pass
    assert statuses in ([401], [401, 400], [401, 101])
