"""Getting in over HTTP: /login, /otp, /logout, and what every answer carries."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from servers import ServerProcess, running
from wire.raw_clients import Answer, Raw, Tickets, ask, page, upgrade_head, wait_until

GOOD = b'{"username":"percy","password":"123"}'
JSON_TYPE = {"Content-Type": "application/json"}
LISTED = "https://chat.example.com"
LOOK_ALIKES = (
    f"{LISTED}.evil.org",
    "https://chatxexample.com",
    "https://evil-chat.example.com",
    "https://evil.org/https://chat.example.com",
    "http://chat.example.com",
    f"{LISTED}:8443",
    "null",
)
SECURITY = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Logging in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        JSON_TYPE,
        {"Content-Type": "text/plain;charset=UTF-8"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=["no content type", "json", "text", "form"],
)
def test_a_login_is_read_whatever_its_content_type(server: ServerProcess, headers: dict[str, str]) -> None:
    answer = ask(server, "POST", "/login", GOOD, headers)
    assert answer.status == 200
    assert set(answer.json) == {"otp", "token", "expires_in"}
    assert answer.json["expires_in"] > 0


def test_a_chunked_login_is_read(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in GOOD:
            raw.send(b"1\r\n%c\r\n" % byte)
        raw.send(b"0\r\n\r\n")
        assert raw.read_answer().status == 200


def test_each_login_gives_a_secret_of_its_own(server: ServerProcess) -> None:
    answers = [ask(server, "POST", "/login", GOOD).json for _ in range(3)]
    secrets = [answer[name] for answer in answers for name in ("otp", "token")]
    assert len(set(secrets)) == 6
    # 128 random bits are 22 letters of the 64 that need no escaping.
    assert all(len(secret) >= 22 and secret.isascii() for secret in secrets)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"percy"',
        b"{}",
        b'{"username":"percy"}',
        b'{"password":"123"}',
        b'{"username":null,"password":"123"}',
        b'{"username":"percy","password":123}',
        b'{"username":["percy"],"password":"123"}',
        b'{"username":"percy","password":"123"} trailing',
        b'{"username":"percy","password":"\xff"}',
        b'{"username":"\\ud800","password":"123"}',
        b'{"username":"percy","password":"123","more":' + b"[" * 4000,
        b"username=percy&password=123",
    ],
    ids=lambda body: body[:40].decode("latin-1") or "empty",
)
def test_a_malformed_login_is_400(server: ServerProcess, body: bytes) -> None:
    answer = ask(server, "POST", "/login", body, JSON_TYPE)
    assert answer.status == 400, answer
    assert answer.error == "bad_request"


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(server: ServerProcess) -> None:
    wrong_password = ask(server, "POST", "/login", b'{"username":"percy","password":"1234"}')
    wrong_name = ask(server, "POST", "/login", b'{"username":"nobody","password":"123"}')
    assert wrong_password.status == wrong_name.status == 401
    assert wrong_password.body == wrong_name.body
    assert wrong_password.error == "unauthorized"
    assert sorted(wrong_password.headers.keys()) == sorted(wrong_name.headers.keys())


@pytest.mark.parametrize("name", ["", "PERCY", " percy", "percy\x00", "p" * 4000, "pe\nrcy", "\uff50ercy"])
def test_a_name_that_is_almost_right_is_wrong(server: ServerProcess, name: str) -> None:
    answer = ask(server, "POST", "/login", json.dumps({"username": name, "password": "123"}).encode())
    assert answer.status == 401
    assert answer.error == "unauthorized"


@pytest.mark.parametrize("path", ["/login", "/otp", "/logout"])
def test_a_body_over_8_kib_is_413(server: ServerProcess, path: str) -> None:
    body = json.dumps({"username": "percy", "password": "3" * 8192}).encode()
    answer = ask(server, "POST", path, body)
    assert answer.status == 413
    assert answer.error == "too_large"


def test_a_chunked_body_over_8_kib_is_413(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        raw.send(b"2400\r\n" + b"x" * 0x2400 + b"\r\n")
        assert raw.read_answer().status == 413


def test_a_body_of_a_gigabyte_is_413_before_it_is_sent(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n")
        assert raw.read_answer().status == 413


def test_an_unused_ticket_too_many_of_one_account_is_429(tmp_path: Path) -> None:
    with running(tmp_path, "--max-otps-per-account", "2", "--otp-ttl", "120") as server:
        token = server.login()["token"]
        assert ask(server, "POST", "/otp", headers=bearer(token)).status == 200
        for refused in (ask(server, "POST", "/otp", headers=bearer(token)), ask(server, "POST", "/login", GOOD)):
            assert_told_to_wait(refused)
        # Others are not held up, and one that is used makes room.
        assert server.login("alice")


def test_a_used_ticket_makes_room_for_another(tmp_path: Path) -> None:
    with running(tmp_path, "--max-otps-per-account", "1", "--otp-ttl", "120") as server:
        login = server.login()
        assert_told_to_wait(ask(server, "POST", "/otp", headers=bearer(login["token"])))
        with page(server, login["otp"]):
            assert ask(server, "POST", "/otp", headers=bearer(login["token"])).status == 200


def test_an_expired_ticket_makes_room_for_another(tmp_path: Path) -> None:
    with running(tmp_path, "--max-otps-per-account", "1", "--otp-ttl", "0.01") as server:
        token = server.login()["token"]
        wait_until(lambda: ask(server, "POST", "/otp", headers=bearer(token)).status == 200)


def test_an_unused_ticket_too_many_in_all_is_429(tmp_path: Path) -> None:
    with running(tmp_path, "--max-otps", "2", "--otp-ttl", "120") as server:
        server.login()
        server.login("alice")
        assert_told_to_wait(ask(server, "POST", "/login", b'{"username":"bob","password":"123"}'))
        assert ask(server, "POST", "/login", b'{"username":"bob","password":"wrong"}').status == 401


def assert_told_to_wait(answer: Answer) -> None:
    assert answer.status == 429
    assert answer.error == "rate_limited"
    assert int(answer.headers["Retry-After"]) >= 1


def test_others_are_served_while_passwords_are_checked(server: ServerProcess) -> None:
    wrong = b'{"username":"percy","password":"wrong"}'
    with ThreadPoolExecutor(8) as crowd:
        answers = [crowd.submit(ask, server, "POST", "/login", wrong) for _ in range(8)]
        assert ask(server, "GET", "/healthz").status == 200
        assert {answer.result().status for answer in answers} == {401}


# Tickets


def test_a_token_buys_tickets(server: ServerProcess, tickets: Tickets) -> None:
    answer = ask(server, "POST", "/otp", headers=bearer(tickets.token("percy")))
    assert answer.status == 200
    assert set(answer.json) == {"otp"}


@pytest.mark.parametrize("path", ["/otp", "/logout"])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic cGVyY3k6MTIz", "bearer \xff", "nonsense"],
    ids=repr,
)
def test_without_a_live_token_it_is_401(server: ServerProcess, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = ask(server, "POST", path, headers=headers)
    assert answer.status == 401
    assert answer.error == "unauthorized"


def test_what_follows_the_last_chunk_is_no_header(server: ServerProcess, tickets: Tickets) -> None:
    # RFC 9110 section 6.5.1: whoever looked at the headers on the way has not seen it.
    with Raw(server) as raw:
        raw.send(b"POST /otp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        raw.send(f"0\r\nAuthorization: Bearer {tickets.token('percy')}\r\n\r\n".encode())
        assert raw.read_answer().status == 401


def test_a_ticket_is_no_token_and_a_token_is_no_ticket(server: ServerProcess) -> None:
    login = server.login()
    assert ask(server, "POST", "/otp", headers=bearer(login["otp"])).status == 401
    with Raw(server) as raw:
        raw.send(upgrade_head(f"/ws?otp={login['token']}"))
        assert raw.read_answer().status == 401


def test_an_expired_token_is_401(tmp_path: Path) -> None:
    with running(tmp_path, "--session-ttl", "0.05", "--max-otps-per-account", "0") as server:
        token = server.login()["token"]
        wait_until(lambda: ask(server, "POST", "/otp", headers=bearer(token)).status == 401)


def test_a_client_that_has_said_all_and_closed_its_half_gets_its_answers(server: ServerProcess) -> None:
    wrong = b'{"username":"percy","password":"wrong"}'
    login = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(wrong), wrong)
    with Raw(server) as raw:
        raw.send(login + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.read_answer().status == 401
        assert raw.read_answer().status == 200
        raw.read_to_end()


# Leaving


def test_logout_ends_the_token_its_tickets_and_its_connections_at_once(server: ServerProcess) -> None:
    login = server.login()
    unused = server.otp(login["token"])
    with page(server, login["otp"]) as first, page(server, server.otp(login["token"])) as second:
        first.assert_up()
        answer = ask(server, "POST", "/logout", headers=bearer(login["token"]))
        assert (answer.status, answer.body) == (204, b"")
        assert ask(server, "POST", "/otp", headers=bearer(login["token"])).status == 401
        assert ask(server, "POST", "/logout", headers=bearer(login["token"])).status == 401
        with Raw(server) as raw:
            raw.send(upgrade_head(f"/ws?otp={unused}"))
            assert raw.read_answer().status == 401
        first.assert_closed(4100)
        second.assert_closed(4100)


def test_logout_of_one_login_leaves_the_users_others_alone(server: ServerProcess, tickets: Tickets, room: str) -> None:
    login = server.login()
    with page(server, tickets.otp(), room=room) as other:
        assert ask(server, "POST", "/logout", headers=bearer(login["token"])).status == 204
        other.assert_up()
    assert server.otp(tickets.token("percy"))


def test_a_logged_out_connection_hears_nothing_more(server: ServerProcess, tickets: Tickets) -> None:
    login = server.login()
    with Raw.websocket(server, login["otp"]) as raw, page(server, tickets.otp("alice"), "alice") as alice:
        raw.say("before")
        assert raw.read_message() == "before"
        alice.assert_hears("before", "percy")
        assert ask(server, "POST", "/logout", headers=bearer(login["token"])).status == 204
        raw.say("said after the logout")
        alice.say("a secret")
        alice.assert_hears("a secret", "alice")
        # It neither answers the close nor reads: whatever was written to it is there to be read now.
        raw.assert_ended(4100)


# Other routes


def test_debug_counts_connected_clients_as_plain_text(tmp_path: Path) -> None:
    with running(tmp_path, "--otp-ttl", "120") as server:
        tickets = Tickets(server)
        assert_counted(server, 0)
        with page(server, tickets.otp()) as first:
            assert_counted(server, 1)
            with page(server, tickets.otp("alice"), "alice"):
                assert_counted(server, 2)
            left(server, 1)
            first.assert_up()


def assert_counted(server: ServerProcess, clients: int) -> None:
    answer = ask(server, "GET", "/debug")
    assert answer.status == 200
    assert answer.headers.get_content_type() == "text/plain"
    assert answer.body == b"%d" % clients


def left(server: ServerProcess, clients: int) -> None:
    """Wait until so many clients are left."""
    wait_until(lambda: ask(server, "GET", "/debug").body == b"%d" % clients)


def test_healthz_is_ok(server: ServerProcess) -> None:
    answer = ask(server, "GET", "/healthz")
    assert (answer.status, answer.body) == (200, b"ok")


def test_a_plain_get_of_the_websocket_is_426(server: ServerProcess, tickets: Tickets) -> None:
    answer = ask(server, "GET", f"/ws?otp={tickets.otp()}")
    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert answer.error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/login", 405), ("POST", "/healthz", 405), ("GET", "/web/../settings.py", 404)],
)
def test_other_requests_are_errors_of_the_same_form(server: ServerProcess, method: str, path: str, status: int) -> None:
    answer = ask(server, method, path)
    assert answer.status == status
    assert answer.error


@pytest.mark.parametrize(
    "path",
    ["/web/..%2f..%2fsettings.py", "/web/%2e%2e/settings.py", "/web//etc/passwd", "/web/..%5csettings.py", "/web/"],
)
def test_nothing_but_the_page_can_be_read(server: ServerProcess, path: str) -> None:
    assert ask(server, "GET", path).status == 404


def test_thousands_of_requests_at_once_are_answered_in_their_order(server: ServerProcess) -> None:
    paths = [f"/{number}" for number in range(3000)]
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    with Raw(server) as raw, ThreadPoolExecutor(1) as sender:
        sent = sender.submit(raw.send, requests.encode())
        for path in paths:
            assert f"'{path}'".encode() in raw.read_answer().body
        sent.result()


def test_a_client_of_http_1_0_is_not_told_to_continue(server: ServerProcess) -> None:
    # RFC 9110 section 10.1.1.
    with Raw(server) as raw:
        raw.send(b"POST /login HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}")
        assert raw.read_answer().status == 400


def test_a_request_that_is_not_http_is_an_error_of_the_same_form(server: ServerProcess) -> None:
    with Raw(server) as raw:
        raw.send(b"NONSENSE\r\n\r\n")
        answer = raw.read_answer()
    assert answer.status == 400
    assert answer.error


# What every answer carries


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/ws", 426),
        ("GET", "/nowhere", 404),
        ("GET", "/login", 405),
        ("POST", "/login", 400),
        ("POST", "/otp", 401),
        ("OPTIONS", "/login", 204),
    ],
)
def test_every_answer_carries_the_security_headers(
    server: ServerProcess, tls_server: ServerProcess, method: str, path: str, status: int
) -> None:
    plain, secure = ask(server, method, path), ask(tls_server, method, path)
    assert plain.status == secure.status == status
    for answer in (plain, secure):
        assert {name: answer.headers[name] for name in SECURITY} == SECURITY
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    assert plain.headers["strict-transport-security"] is None
    assert secure.headers["strict-transport-security"].startswith("max-age=")


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that one other origin may use."""
    with running(tmp_path_factory.mktemp("cors"), "--allow-origin", LISTED, "--otp-ttl", "120") as server:
        yield server


@pytest.mark.parametrize(("body", "status"), [(GOOD, 200), (b'{"username":"percy","password":""}', 401), (b"", 400)])
def test_a_listed_origin_can_read_answers_and_errors(open_server: ServerProcess, body: bytes, status: int) -> None:
    answer = ask(open_server, "POST", "/login", body, {"Origin": LISTED})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert "Origin" in answer.headers["Vary"]


def test_a_listed_origin_is_let_through_the_preflight(open_server: ServerProcess) -> None:
    for path, header in (("/login", "content-type"), ("/otp", "authorization"), ("/logout", "authorization")):
        headers = {"Origin": LISTED, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": header}
        answer = ask(open_server, "OPTIONS", path, headers=headers)
        assert answer.status in (200, 204)
        assert answer.headers["Access-Control-Allow-Origin"] == LISTED
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert header in answer.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_an_origin_that_looks_like_a_listed_one_can_read_nothing(open_server: ServerProcess, origin: str) -> None:
    for method, headers in (("POST", {}), ("OPTIONS", {"Access-Control-Request-Method": "POST"})):
        answer = ask(open_server, method, "/login", GOOD, headers | {"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] is None


def test_no_origin_is_listed_unless_configured(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/login", GOOD, {"Origin": LISTED})
    assert answer.headers["Access-Control-Allow-Origin"] is None
