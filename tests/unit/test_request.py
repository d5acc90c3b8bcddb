"""Requests and answers, as values."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.wire.denial import Denied
from hubbub.wire.request import MAX_QUERY_FIELDS, MAX_TOKENS, Request, Response, read_target


def request(query: str = "", **headers: list[str]) -> Request:
    return Request("GET", "/", query, headers)


def test_a_header_has_one_value_or_none() -> None:
    assert request(host=["a"]).header("host") == "a"
    assert request().header("host") is None
    with pytest.raises(Denied) as denied:
        request(host=["a", "b"]).header("host")
    assert denied.value.status == 400


def test_the_members_of_a_list_may_stand_in_several_headers() -> None:
    asked = request(upgrade=["websocket , h2c,,", " x "])
    assert asked.tokens("upgrade") == ["websocket", "h2c", "x"]
    assert asked.tokens("connection") == []


def test_a_list_has_so_many_members() -> None:
    most = ["x"] * MAX_TOKENS
    assert request(upgrade=most).tokens("upgrade") == request(upgrade=[",".join(most)]).tokens("upgrade") == most
    for too_many in ([*most, "x"], [",".join([*most, "x"])], ["," * 60_000]):
        with pytest.raises(Denied) as denied:
            request(upgrade=too_many).tokens("upgrade")
        assert denied.value.status == 400


def test_the_fields_of_a_query() -> None:
    assert request("a=1&b=&c&a=%20%C3%A9+").query_fields() == {"a": ["1", " \u00e9 "], "b": [""], "c": [""]}
    assert request().query_fields() == {}


def test_a_query_has_so_many_fields() -> None:
    most = "&".join(["x=y"] * MAX_QUERY_FIELDS)
    assert len(request(most).query_fields()["x"]) == MAX_QUERY_FIELDS
    with pytest.raises(Denied) as denied:
        request(most + "&x=y").query_fields()
    assert denied.value.status == 400


@pytest.mark.parametrize(
    ("target", "path", "query", "authority"),
    [
        ("/", "/", "", None),
        ("/a?b=c", "/a", "b=c", None),
        ("/a?b?c", "/a", "b?c", None),
        ("//a/b", "//a/b", "", None),
        ("/http://a/b", "/http://a/b", "", None),
        ("http://a", "/", "", "a"),
        ("http://a/", "/", "", "a"),
        ("HTTPS://a:1/b/c?d/e", "/b/c", "d/e", "a:1"),
        ("http://a?b", "/", "b", "a"),
        ("http://[::1/b", "/b", "", "[::1"),
        ("http:///b", "/b", "", ""),
        ("/%77s?%77", "/ws", "%77", None),
        ("/%2577s", "/%77s", "", None),
        ("/%C3%BC%2f", "/\u00fc/", "", None),
    ],
)
def test_targets(target: str, path: str, query: str, authority: str | None) -> None:
    assert read_target(target, "GET") == (path, query, authority)


def test_a_star_stands_for_the_server() -> None:
    assert read_target("*", "OPTIONS") == ("*", "", None)
    with pytest.raises(Denied) as denied:
        read_target("*", "GET")
    assert denied.value.status == 400


@pytest.mark.parametrize(
    "target",
    [
        *("", "a", "example.org:443", "ftp://a/b", "?a", "://a/b", "mailto:a", "/#a", "http://a#b"),
        *("/%", "/%4", "/%4x", "/%ff", "/%00", "/%0a", "/%7F", "/%C2%80"),
    ],
)
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(Denied) as denied:
        read_target(target, "GET")
    assert denied.value.status == 400


@given(st.text())
def test_any_target_is_read_or_refused(target: str) -> None:
    try:
        path, query, _authority = read_target(target, "OPTIONS")
    except Denied:
        return
    assert path == "*" or path.startswith("/")
    assert target.endswith(query)


COMMON = b"Date: now\r\n"


def test_a_whole_answer() -> None:
    answer = Response(200, b"hello", "text/plain", {"ETag": '"1"'})
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n'
    assert answer.to_bytes(COMMON, keep_alive=True) == head + COMMON + b"\r\nhello"
    assert answer.to_bytes(COMMON, keep_alive=True, head_only=True) == head + COMMON + b"\r\n"
    assert answer.to_bytes(b"", keep_alive=False) == head + b"Connection: close\r\n\r\nhello"


@pytest.mark.parametrize(("status", "length"), [(200, b"Content-Length: 0\r\n"), (204, b""), (304, b"")])
def test_an_answer_without_a_body(status: int, length: bytes) -> None:
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    assert Response(status).to_bytes(COMMON, keep_alive=True) == line + length + COMMON + b"\r\n"


def test_what_may_be_upgraded_to_is_for_the_next_hop() -> None:
    answer = Response(426, headers={"Upgrade": "websocket"})
    assert b"\r\nConnection: upgrade\r\n" in answer.to_bytes(COMMON, keep_alive=True)
    assert b"\r\nConnection: upgrade, close\r\n" in answer.to_bytes(COMMON, keep_alive=False)
    denied = Denied(HTTPStatus.UPGRADE_REQUIRED, "bad_request", "no", "Upgrade: websocket")
    assert b"\r\nConnection: upgrade, close\r\n" in denied.to_bytes(COMMON)


def test_a_denial_is_a_whole_answer_too() -> None:
    denied = Denied(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "full", "Retry-After: 5")
    head, _, body = denied.to_bytes(COMMON).partition(b"\r\n\r\n")
    assert body == b'{"error":{"code":"unavailable","message":"full"}}'
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 503 Service Unavailable",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Connection: close",
        b"Retry-After: 5",
        b"Date: now",
    ]
    assert denied.to_bytes(COMMON, head_only=True) == head + b"\r\n\r\n"
